/* test/unit/test_http1_bodies.c - the front: request bodies, wanted, unwanted,
 * too long, too short; 100-continue. */
#include "toy_front.h"

#define HEAD(line) "PUT " line " HTTP/1.1\r\nHost: a\r\n"
#define CONTINUE   "HTTP/1.1 100 Continue\r\n\r\n"

static void test_a_big_body(void **state)
{
    static const char *const heads[] = {HEAD("/sink") "Content-Length: 3000000\r\n\r\n",
                                        HEAD("/pausing") "Content-Length: 3000000\r\n\r\n",
                                        HEAD("/later") "Content-Length: 3000000\r\n\r\n"};
    struct toy *t = *state;
    char *body = malloc(3000000);

    assert_non_null(body);
    for (size_t i = 0; i < 3000000; i++)
        body[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct client c;

        client_open(&c, t);
        client_send(&c, heads[i], strlen(heads[i]));
        for (size_t at = 0; at < 3000000; at += 100000) {
            client_send(&c, body + at, 100000);
            toy_go(t);
        }
        client_wait(&c, 1);
        assert_true(client_has(&c, "201 Created"));
        assert_true(client_has(&c, "3000000 bytes, sum dc8adc372fe39ff8"));
        client_close(&c);
    }
    assert_int_equal(t->metrics.bytes_in,
                     3 * 3000000 + strlen(heads[0]) + strlen(heads[1]) + strlen(heads[2]));
    free(body);
}

/* From a client so fast that the socket is always full. */
static void send_at_once(struct client *c, const char *data, size_t len)
{
    for (int tries = 0; len > 0 && tries < 10000; tries++) {
        ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else {
            toy_turn(c->toy);
        }
    }
}

/* Large pieces come in pipes where the handler takes them, and nothing of the next
 * request does. */
static void test_a_body_in_pipes(void **state)
{
    static const char next[] = HEAD("/sink") "Content-Length: 3\r\n\r\nabc";
    struct toy *t = *state;
    size_t len = 3000000;
    char *body = malloc(len);
    struct client c;

    assert_non_null(body);
    for (size_t i = 0; i < len; i++) body[i] = (char)(i * 7 + i / 251);
    client_open(&c, t);
    client_send(&c, TEXT(HEAD("/piped") "Content-Length: 3000000\r\n\r\n"));
    send_at_once(&c, body, len);
    send_at_once(&c, next, sizeof(next) - 1);
    client_wait_for(&c, "3 bytes");
    assert_true(client_has(&c, "3000000 bytes, sum dc8adc372fe39ff8"));
    assert_true(t->piped > 1);
    assert_int_equal(t->gone, 0);
    t->piped = 0;

    client_send(&c, TEXT(HEAD("/piped") "Content-Length: 3000000\r\n\r\n"));
    send_at_once(&c, body, len - 1);
    toy_turns(t, 10);
    assert_true(t->piped > 0);
    client_close(&c);
    toy_turns(t, 10);
    assert_int_equal(t->gone, 1);
    free(body);
}

static void test_a_big_chunked_body(void **state)
{
    struct toy *t = *state;
    struct client c;
    static char chunk[100000 + 16];
    int head = snprintf(chunk, sizeof(chunk), "%x\r\n", 100000);

    memset(chunk + head, 'x', 100000);
    memcpy(chunk + head + 100000, "\r\n", 2);
    client_open(&c, t);
    client_send(&c, TEXT(HEAD("/sink") "Transfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 20; i++)
        client_send(&c, chunk, (size_t)head + 100002);
    client_send(&c, TEXT("0\r\nA: b\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_wait_for(&c, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_true(client_has(&c, "2000000 bytes"));
    assert_true(client_has(&c, "1 trailers"));
    client_close(&c);
}

/* More than announced is the next request, and a bad one. */
static void test_a_body_longer_than_announced(void **state)
{
    struct toy *t = *state;
    struct client c;

    client_open(&c, t);
    client_send(&c, TEXT(HEAD("/sink") "Content-Length: 3\r\n\r\nabc{\"more\": 1}"));
    client_wait_closed(&c);
    assert_true(client_has(&c, "HTTP/1.1 201 Created"));
    assert_true(client_has(&c, "HTTP/1.1 400 Bad Request"));
    assert_int_equal(t->begun, 1);
    assert_int_equal(t->gone, 0);
    client_close(&c);
}

static void test_a_body_shorter_than_announced(void **state)
{
    static const char *const requests[] = {
        HEAD("/sink") "Content-Length: 5\r\n\r\nabc",
        HEAD("/sink") "Content-Length: 5\r\n\r\n",
        HEAD("/sink") "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        HEAD("/sink") "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        HEAD("/sink") "Transfer-Encoding: chunked\r\n\r\n0\r\n",
        HEAD("/later") "Content-Length: 5\r\n\r\nabc",
        HEAD("/pausing") "Content-Length: 5\r\n\r\nabc",
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct client c;

        client_open(&c, t);
        client_send(&c, requests[i], strlen(requests[i]));
        assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
        client_wait_closed(&c);
        assert_int_equal(evbuffer_get_length(c.got), 0);
        assert_int_equal(t->gone, i + 1);
        assert_string_equal(t->gone_why, "the client closed in the middle of a body");
        client_close(&c);
    }
    assert_int_equal(t->body_ends, 0);
}

static void test_broken_chunks(void **state)
{
    static const char *const bodies[] = {"x", "3\r\nabcd\r\n", "3\nabc\r\n", "3\r\nabc\r\nz"};
    struct toy *t = *state;

    for (size_t i = 0; i < 2 * COUNT(bodies); i++) {
        struct client c;
        const char *body = bodies[i / 2];

        client_open(&c, t);
        client_send(&c, TEXT(HEAD("/sink") "Transfer-Encoding: chunked\r\n\r\n"));
        if (i % 2) /* in single bytes */
            for (size_t at = 0; body[at]; at++)
                client_send(&c, body + at, 1);
        else
            client_send(&c, body, strlen(body));
        client_wait_closed(&c);
        assert_true(client_has(&c, "HTTP/1.1 400 Bad Request"));
        assert_true(client_has(&c, "Connection: close"));
        assert_int_equal(t->gone, i + 1);
        client_close(&c);
    }
    assert_int_equal(t->body_ends, 0);
}

/* ---- bodies nobody wants ------------------------------------------------- */

static void test_an_unread_body_that_is_here_is_dropped(void **state)
{
    static const char *const requests[] = {
        HEAD("/refuse") "Content-Length: 3\r\n\r\nabc",
        HEAD("/refuse") "Content-Length: 0\r\n\r\n",
        HEAD("/refuse") "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n",
        HEAD("/known?3") "Content-Length: 3\r\n\r\nabc",
        HEAD("/refuse") "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct client c;
        char both[1024];
        int n =
            snprintf(both, sizeof(both), "%sGET /none HTTP/1.1\r\nHost: a\r\n\r\n", requests[i]);

        client_open(&c, t);
        client_send(&c, both, (size_t)n);
        client_wait_for(&c, "HTTP/1.1 204 No Content\r\n\r\n");
        assert_false(client_has(&c, "Connection: close"));
        assert_false(client_has(&c, "Continue"));
        client_close(&c);
    }
}

/* The status is seen, not a reset, though half a megabyte comes behind it. */
static void test_an_unread_body_that_still_comes(void **state)
{
    static const char *const heads[] = {
        HEAD("/refuse") "Content-Length: 500000\r\n\r\n",
        HEAD("/refuse") "Transfer-Encoding: chunked\r\n\r\n7a120\r\n",
        HEAD("/known?3") "Content-Length: 500000\r\n\r\n",
        HEAD("/stream?3") "Transfer-Encoding: chunked\r\n\r\n7a120\r\n",
    };
    struct toy *t = *state;
    static char body[500000];

    for (size_t i = 0; i < COUNT(heads); i++) {
        struct client c;

        client_open(&c, t);
        client_send(&c, heads[i], strlen(heads[i]));
        client_send(&c, body, sizeof(body));
        client_wait_closed(&c);
        assert_false(c.reset);
        assert_true(client_has(&c, i < 2 ? "HTTP/1.1 403 Forbidden" : "HTTP/1.1 200 OK"));
        assert_true(client_has(&c, "Connection: close"));
        client_close(&c);
        toy_turns(t, 50);
        assert_int_equal(http1_server_connections(t->server), 0);
    }
}

static void test_dropping_ends(void **state)
{
    struct toy *t = *state;
    struct client c;
    static char body[100000];

    client_open(&c, t);
    client_send(&c, TEXT(HEAD("/refuse") "Content-Length: 90000000\r\n\r\n"));
    for (int i = 0; i < 100 && http1_server_connections(t->server) > 0; i++) {
        client_send(&c, body, sizeof(body));
        if (i == 3) client_read(&c); /* there to be read long before the end */
    }
    assert_true(client_has(&c, "HTTP/1.1 403 Forbidden"));
    assert_int_equal(http1_server_connections(t->server), 0);
    assert_true(t->metrics.bytes_in > HTTP1_LINGER_BYTES);
    assert_true(t->metrics.bytes_in < 2 * HTTP1_LINGER_BYTES);
    client_close(&c);
}

/* Nor does it read on for a client that reads nothing itself. */
static void test_dropping_ends_while_the_answer_waits(void **state)
{
    struct toy *t = *state;
    struct client c;
    static char body[100000];

    client_open_sized(&c, t, 16 * 1024);
    client_send(&c, TEXT(HEAD("/known?200000") "Content-Length: 90000000\r\n\r\n"));
    for (int i = 0; i < 10000; i++) {
        if (send(c.fd, body, sizeof(body), MSG_NOSIGNAL) < 0) assert_int_equal(errno, EAGAIN);
        if (i % 10 == 0) toy_turn(t);
    }
    assert_int_equal(http1_server_connections(t->server), 1);
    assert_true(stream_unsent(&toy_conn(t)->stream) > 0);
    assert_true(t->metrics.bytes_in > HTTP1_LINGER_BYTES);
    assert_true(t->metrics.bytes_in < HTTP1_LINGER_BYTES + 2 * READ_MAX);
    client_close(&c);
}

/* A paused body is left with the kernel. */
static void test_a_paused_body_is_not_read(void **state)
{
    struct toy *t = *state;
    struct client c;
    static char body[100000];
    uint64_t read;

    client_open_sized(&c, t, 16 * 1024);
    client_send(&c, TEXT(HEAD("/pausing") "Content-Length: 90000000\r\n\r\nabc"));
    toy_turns(t, 3);
    read = t->metrics.bytes_in;
    for (int i = 0; i < 100; i++) {
        (void)!send(c.fd, body, sizeof(body), MSG_NOSIGNAL);
        toy_turn(t);
    }
    assert_int_equal(t->metrics.bytes_in, read);
    assert_false(toy_conn(t)->stream.reading);
    assert_true(toy_go(t));
    toy_turns(t, 3);
    assert_true(t->metrics.bytes_in > read);
    client_close(&c);
}

/* A body that was paused behind its last byte ends, and is not taken for one
 * that was cut short, where the next request arrives as it goes on. */
static void test_a_body_paused_at_its_end(void **state)
{
    struct toy *t = *state;
    struct client c;

    client_open(&c, t);
    client_send(&c, TEXT(HEAD("/pausing") "Content-Length: 3\r\n\r\n"));
    client_send(&c, TEXT("abc"));
    assert_non_null(t->held);
    assert_true(toy_conn(t)->stream.reading); /* still armed: the next event disarms it */
    assert_int_equal(send(c.fd, TEXT("GET /none HTTP/1.1\r\nHost: a\r\n\r\n"), MSG_NOSIGNAL), 31);
    assert_true(toy_go(t));
    client_wait_for(&c, "3 bytes");
    client_wait_for(&c, "204 No Content");
    assert_int_equal(t->gone, 0);
    client_close(&c);
}

/* ---- 100-continue -------------------------------------------------------- */

#define EXPECT "Expect: 100-continue\r\n"

static void test_continue_comes_before_the_body(void **state)
{
    static const char *const paths[] = {"/sink", "/later"};
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(paths); i++) {
        struct client c;
        char head[256];
        int n =
            snprintf(head, sizeof(head),
                     "PUT %s HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 3\r\n\r\n", paths[i]);

        client_open(&c, t);
        client_send(&c, head, (size_t)n);
        if (i == 1) {
            client_wait_nothing(&c);
            client_expect(&c, ""); /* the handler has not asked for the body yet */
            toy_go(t);
        }
        client_wait_nothing(&c);
        client_expect(&c, CONTINUE);
        client_send(&c, TEXT("abc"));
        client_wait_for(&c, "3 bytes");
        assert_false(client_has(&c, "Continue"));
        assert_false(client_has(&c, "Connection: close"));
        client_close(&c);
    }
}

static void test_no_continue(void **state)
{
    static const char *const requests[] = {
        HEAD("/sink") EXPECT "Content-Length: 3\r\n\r\nabc", /* it has not waited */
        HEAD("/sink") EXPECT "Content-Length: 3\r\n\r\na",   /* not quite */
        HEAD("/later") EXPECT "Content-Length: 3\r\n\r\nab",
        "PUT /sink HTTP/1.0\r\n" EXPECT "Content-Length: 3\r\n\r\n", /* does not know it */
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct client c;

        client_open(&c, t);
        client_send(&c, requests[i], strlen(requests[i]));
        client_wait_nothing(&c);
        if (i == 1) client_send(&c, TEXT("bc"));
        if (i == 2) client_send(&c, TEXT("c"));
        if (i == 3) client_send(&c, TEXT("abc"));
        client_wait(&c, 1);
        assert_false(client_has(&c, "Continue"));
        assert_true(client_has(&c, "HTTP/1.1 201 Created"));
        client_close(&c);
    }
}

/* An empty body is waited with as well: aws and boto3 do, and read a final answer
 * in place of 100 wrongly where another follows on the connection. */
static void test_continue_before_an_empty_body(void **state)
{
    static const char *const paths[] = {"/sink", "/later"};
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(paths); i++) {
        struct client c;
        char head[256];
        int n =
            snprintf(head, sizeof(head),
                     "PUT %s HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 0\r\n\r\n", paths[i]);

        client_open(&c, t);
        client_send(&c, head, (size_t)n);
        if (i == 1) {
            client_wait_nothing(&c);
            client_expect(&c, "");
            toy_go(t);
        }
        client_wait(&c, 1);
        assert_true(client_has(&c, CONTINUE "HTTP/1.1 201 Created"));
        assert_false(client_has(&c, "Connection: close"));
        client_close(&c);
    }
}

/* Whether the body still comes can not be known: the connection ends. */
static void test_a_final_status_instead_of_continue(void **state)
{
    static const char *const requests[] = {HEAD("/refuse") EXPECT "Content-Length: 3\r\n\r\n",
                                           HEAD("/refuse") EXPECT "Content-Length: 0\r\n\r\n"};
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct client c;

        client_open(&c, t);
        client_send(&c, requests[i], strlen(requests[i]));
        client_wait_closed(&c);
        assert_false(c.reset);
        client_expect(&c,
                      "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        client_close(&c);
    }
}

/* What came with the head needs no turn of its own: a small value leaves for the
 * volumes together with the head that is sent there. */
static void test_a_body_that_came_with_its_head(void **state)
{
    static const char *const requests[] = {
        HEAD("/later") "Content-Length: 3\r\n\r\nabc",
        HEAD("/later") "Content-Length: 0\r\n\r\n",
        HEAD("/later") "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct client c;

        client_open(&c, t);
        client_send(&c, requests[i], strlen(requests[i]));
        while (!t->held)
            toy_turn(t);
        toy_go(t);
        assert_int_equal(t->body_ends, i); /* not inside the call */
        mkv_loop_settle(t->loop);
        assert_int_equal(t->body_ends, i + 1);
        client_wait_for(&c, "201 Created");
        client_close(&c);
    }
    assert_int_equal(t->gone, 0);
}

/* The front closes just before. */
static void test_a_body_that_nobody_feeds_any_more(void **state)
{
    struct toy *t = *state;
    struct client c;

    client_open(&c, t);
    client_send(&c, TEXT(HEAD("/later") "Content-Length: 3\r\n\r\nabc"));
    while (!t->held)
        toy_turn(t);
    toy_go(t);
    http1_server_close(t->server);
    t->server = NULL;
    mkv_loop_settle(t->loop);
    assert_int_equal(t->body_ends, 0);
    assert_int_equal(t->gone, 1);
    client_close(&c);
}

#define TOY_TEST(name) cmocka_unit_test_setup_teardown(name, toy_setup, toy_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOY_TEST(test_a_big_body),
        TOY_TEST(test_a_body_in_pipes),
        TOY_TEST(test_a_big_chunked_body),
        TOY_TEST(test_a_body_longer_than_announced),
        TOY_TEST(test_a_body_shorter_than_announced),
        TOY_TEST(test_broken_chunks),
        TOY_TEST(test_an_unread_body_that_is_here_is_dropped),
        TOY_TEST(test_an_unread_body_that_still_comes),
        TOY_TEST(test_dropping_ends),
        TOY_TEST(test_dropping_ends_while_the_answer_waits),
        TOY_TEST(test_a_paused_body_is_not_read),
        TOY_TEST(test_a_body_paused_at_its_end),
        TOY_TEST(test_continue_comes_before_the_body),
        TOY_TEST(test_continue_before_an_empty_body),
        TOY_TEST(test_no_continue),
        TOY_TEST(test_a_final_status_instead_of_continue),
        TOY_TEST(test_a_body_that_came_with_its_head),
        TOY_TEST(test_a_body_that_nobody_feeds_any_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
