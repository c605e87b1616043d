/* test/unit/test_http1_server.c - the front: pipelines, broken heads,
 * smuggling, the life of connections. */
#include "toy_front.h"

/* Every kind of request; the last one closes. */
#define PIPELINE                                                                                   \
    "GET /a%20b?c=%20 HTTP/1.1\r\nHost: x\r\n\r\n"                                                 \
    "HEAD /head HTTP/1.1\r\nHost: x\r\n\r\n"                                                       \
    "PUT /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"                              \
    "\r\n\r\nPUT /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"                           \
    "PUT /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"                          \
    "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nContent-Md5: z\r\n\r\n"                                       \
    "PUT /later HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"                       \
    "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"                                                        \
    "PUT /pausing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"                       \
    "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"                                                      \
    "GET /stream?40 HTTP/1.1\r\nHost: x\r\n\r\n"                                                   \
    "GET /known?12 HTTP/1.1\r\nHost: x\r\n\r\n"                                                    \
    "HEAD /known?12 HTTP/1.1\r\nHost: x\r\n\r\n"                                                   \
    "HEAD /stream?12 HTTP/1.1\r\nHost: x\r\n\r\n"                                                  \
    "DELETE /none HTTP/1.1\r\nHost: x\r\n\r\n"                                                     \
    "get /lower HTTP/1.1\r\nHost: x\r\n\r\n"                                                       \
    "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n"                                                        \
    "GET http://x:3000/absolute%2fkey?q HTTP/1.1\r\nHost: x\r\n\r\n"                               \
    "GET HTTPS://x HTTP/1.1\r\nHost: x\r\n\r\n"                                                    \
    "GET http://x?list HTTP/1.1\r\nHost: x\r\n\r\n"                                                \
    "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"                                                        \
    "PUT /sink HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n!"                   \
    "UNLINK //../. HTTP/1.1\r\nHost: x\r\n\r\n"                                                    \
    "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static const char answers[] = "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n"
                              "GET [/a b] [c=%20]"
                              "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"
                              "HTTP/1.1 201 Created\r\nContent-Length: 32\r\n\r\n"
                              "5 bytes, sum 5e918d2, 0 trailers"
                              "HTTP/1.1 201 Created\r\nContent-Length: 26\r\n\r\n"
                              "0 bytes, sum 0, 0 trailers"
                              "HTTP/1.1 201 Created\r\nContent-Length: 32\r\n\r\n"
                              "5 bytes, sum 5e918d2, 1 trailers"
                              "HTTP/1.1 201 Created\r\nContent-Length: 39\r\n\r\n"
                              "10 bytes, sum 4a98b5e774605, 0 trailers"
                              "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"
                              "held and answered"
                              "HTTP/1.1 201 Created\r\nContent-Length: 30\r\n\r\n"
                              "3 bytes, sum 17862, 0 trailers"
                              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n"
                              "ssssssssssssssssssssssssssssssssssssssss\r\n0\r\n\r\n"
                              "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
                              "ssssssssssss"
                              "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
                              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "HTTP/1.1 204 No Content\r\n\r\n"
                              "HTTP/1.1 501 Not Implemented\r\nContent-Length: 14\r\n\r\n"
                              "no such method"
                              "HTTP/1.1 501 Not Implemented\r\nContent-Length: 14\r\n\r\n"
                              "no such method"
                              "HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n"
                              "GET [/absolute/key] [q]"
                              "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
                              "GET [/] []"
                              "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n"
                              "GET [/] [list]"
                              "HTTP/1.1 501 Not Implemented\r\nContent-Length: 14\r\n\r\n"
                              "no such method"
                              "HTTP/1.1 201 Created\r\nContent-Length: 27\r\n"
                              "Connection: keep-alive\r\n\r\n"
                              "1 bytes, sum 21, 0 trailers"
                              "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n"
                              "UNLINK [//../.] []"
                              "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n"
                              "GET [/last] []";

static void send_cut(struct toy *t, size_t cut, char **text)
{
    static const char pipeline[] = PIPELINE;
    size_t len = sizeof(pipeline) - 1;
    struct client c;

    client_open(&c, t);
    if (cut == SIZE_MAX) {
        for (size_t i = 0; i < len; i++)
            client_send(&c, pipeline + i, 1);
    } else {
        client_send(&c, pipeline, cut);
        toy_turns(t, 2);
        toy_go(t);
        toy_turns(t, 2);
        client_send(&c, pipeline + cut, len - cut);
    }
    client_wait_closed(&c);
    assert_false(c.reset);
    *text = client_text(&c);
    client_close(&c);
}

static void test_a_pipeline_cut_anywhere_gets_the_same_answers(void **state)
{
    struct toy *t = *state;
    size_t len = sizeof(PIPELINE) - 1;
    char *whole, *cut;

    send_cut(t, len, &whole);
    assert_string_equal(whole, answers);
    for (size_t i = 1; i <= len; i++) {
        send_cut(t, i < len ? i : SIZE_MAX, &cut);
        assert_string_equal(cut, whole);
        free(cut);
    }
    free(whole);
    assert_int_equal(t->gone, 0);
    assert_int_equal(t->begun, 22 * (len + 1));
}

/* Many more requests than one turn serves, in one write: as many answers. */
static void test_a_long_pipeline(void **state)
{
    static const char one[] = "GET /none HTTP/1.1\r\nHost: x\r\n\r\n";
    static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
    struct toy *t = *state;
    struct client c;
    size_t n = 1000, len = sizeof(one) - 1;
    char *all = malloc(n * len), *text;

    assert_non_null(all);
    for (size_t i = 0; i < n; i++)
        memcpy(all + i * len, one, len);
    client_open(&c, t);
    assert_int_equal(send(c.fd, all, n * len, MSG_NOSIGNAL), n * len);
    toy_turn(t);
    assert_true(t->begun <= TURN_MAX);
    client_wait(&c,
                n * (sizeof(answer) - 1 + sizeof("Date: Sun, 22 Nov 2026 10:00:00 GMT\r\n") - 1));
    text = client_text(&c);
    assert_int_equal(strlen(text), n * (sizeof(answer) - 1));
    assert_int_equal(t->begun, n);
    assert_int_equal(t->metrics.requests[MKV_GET][2][4], n);
    assert_int_equal(t->metrics.latency[MKV_GET].count, n);
    free(text);
    free(all);
    client_close(&c);
}

/* ---- broken heads -------------------------------------------------------- */

/* Sends text and sees one refusal, after which the front closes. */
static void assert_refused(struct toy *t, const char *text, size_t len, int status)
{
    struct client c;
    char line[32], *got;

    client_open(&c, t);
    client_send(&c, text, len);
    client_wait_for(&c, "Connection: close\r\n\r\n");
    shutdown(c.fd, SHUT_WR);
    client_wait_closed(&c);
    assert_false(c.reset);
    got = client_text(&c);
    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    if (strncmp(got, line, strlen(line)) != 0) print_error("%s\n%s\n", text, got);
    assert_memory_equal(got, line, strlen(line));
    assert_null(strstr(got + 1, "HTTP/1.1 "));
    assert_int_equal(got[strlen(got) - 1], '\n'); /* one line that says why */
    free(got);
    client_close(&c);
    toy_turns(t, 20); /* what had been sent behind it is read and dropped */
    assert_int_equal(t->metrics.connections_open, 0);
}

static void test_broken_heads(void **state)
{
    static const struct {
        int status;
        const char *text;
        size_t len;
    } rows[] = {
        {400, TEXT("GET / HTTP/1.1\r\n\r\n")                                                   },
        {400, TEXT("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")                             },
        {400, TEXT("GET / HTTP/1.1\nHost: a\n\n")                                              },
        {400, TEXT("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n")                                     },
        {400, TEXT("GET /% HTTP/1.1\r\nHost: a\r\n\r\n")                                       },
        {400, TEXT("GET path HTTP/1.1\r\nHost: a\r\n\r\n")                                     },
        {400, TEXT("GET ** HTTP/1.1\r\nHost: a\r\n\r\n")                                       },
        {400, TEXT("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n")                                },
        {400, TEXT("GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n")                                },
        {400, TEXT("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n")                                },
        {400, TEXT("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n")                               },
        {400, TEXT("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")                             },
        {417, TEXT("PUT /sink HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n")},
        {501, TEXT("PUT /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n")         },
        {505, TEXT("GET / HTTP/3.0\r\nHost: a\r\n\r\n")                                        },
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(rows); i++)
        assert_refused(t, rows[i].text, rows[i].len, rows[i].status);
    assert_int_equal(t->metrics.bad_requests, COUNT(rows));
    assert_int_equal(t->begun, 0);
}

static void test_heads_that_are_too_long(void **state)
{
    struct toy *t = *state;
    static char text[3 * HTTP1_HEAD_MAX];
    size_t n;

    memset(text, 'x', sizeof(text));
    memcpy(text, "GET /", 5);
    assert_refused(t, text, sizeof(text), 414);
    n = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    text[n] = 'x';
    assert_refused(t, text, sizeof(text), 431);
    for (n = 0; n < 101; n++)
        memcpy(text + 25 + n * 6, "A: b\r\n", 6);
    memcpy(text, "GET / HTTP/1.1\r\nHost: a\r\n", 25);
    memcpy(text + 25 + n * 6, "\r\n", 2);
    assert_refused(t, text, 25 + n * 6 + 2, 431);
}

/* Each tries to be read as two requests; the second one must never be seen. */
#define SMUGGLED   "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
#define PUT(lines) TEXT("PUT /sink HTTP/1.1\r\nHost: a\r\n" lines "\r\n\r\n")

static void test_smuggling(void **state)
{
    static const struct {
        int status;
        const char *text;
        size_t len;
    } rows[] = {
        {400, PUT("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED)   },
        {400, PUT("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" SMUGGLED)   },
        {400, PUT("Content-Length: 0\r\nContent-Length: 44\r\n\r\n" SMUGGLED)                    },
        {400, PUT("Content-Length: 44\r\nContent-Length: 0\r\n\r\n" SMUGGLED)                    },
        {400, PUT("Content-Length: 0, 44\r\n\r\n" SMUGGLED)                                      },
        {400, PUT("Content-Length: +0\r\n\r\n" SMUGGLED)                                         },
        {400, PUT("Content-Length: 0x0\r\n\r\n" SMUGGLED)                                        },
        {400, PUT("Content-Length: 0 44\r\n\r\n" SMUGGLED)                                       },
        {400, PUT("Content-Length : 44\r\n\r\n" SMUGGLED)                                        },
        {400, PUT("X: y\r\n Content-Length: 44\r\n\r\n" SMUGGLED)                                },
        {400, PUT("Content-Length: 18446744073709551616\r\n\r\n" SMUGGLED)                       },
        {501, PUT("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" SMUGGLED)                       },
        {501, PUT("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" SMUGGLED)              },
        {400, PUT("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SMUGGLED)                       },
        {400, PUT("Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n" SMUGGLED)                       },
        {400, PUT("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" SMUGGLED)},
        {400, PUT("X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED)                  },
        {400, PUT("X: y\rContent-Length: 44\r\n\r\n" SMUGGLED)                                   },
        {400, PUT("X\0: y\r\n\r\n" SMUGGLED)                                                     },
        {400, TEXT("PUT /sink HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED) },
        {400, TEXT("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" SMUGGLED)                      },
        {400, TEXT("GET /\r\nHost: a\r\n\r\n" SMUGGLED)                                          },
        {400, TEXT("GET / HTTP/1.1\r\nHost: a\r\n\n" SMUGGLED)                                   },
 /* inside chunk framing */
        {400, PUT("Transfer-Encoding: chunked\r\n\r\n0\n\n" SMUGGLED)                            },
        {400, PUT("Transfer-Encoding: chunked\r\n\r\n0;\n" SMUGGLED)                             },
        {400, PUT("Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n" SMUGGLED)             },
        {400, PUT("Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n" SMUGGLED)                       },
        {400, PUT("Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" SMUGGLED)                      },
        {400, PUT("Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n" SMUGGLED)        },
        {400, PUT("Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n" SMUGGLED)                  },
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(rows); i++)
        assert_refused(t, rows[i].text, rows[i].len, rows[i].status);
    assert_int_equal(t->smuggled, 0);
}

/* ---- the life of a connection -------------------------------------------- */

static void test_versions_and_keep_alive(void **state)
{
    static const struct {
        const char *request, *answer;
        bool closed;
    } rows[] = {
        {"GET /none HTTP/1.1\r\nHost: a\r\n\r\n",                          "HTTP/1.1 204 No Content\r\n\r\n",                      false},
        {"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
         "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",                                                                   true },
        {"GET /none HTTP/1.0\r\n\r\n",                                     "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
         true                                                                                                                           },
        {"GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n",                                                              false},
        {"GET /stream?3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsss",                                                                        true },
        {"GET /known?3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nsss",                                              false},
        {"GET /stream?3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
         "3\r\nsss\r\n0\r\n\r\n",                                                                                                  true },
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct client c;

        client_open(&c, t);
        client_send(&c, rows[i].request, strlen(rows[i].request));
        client_wait(&c, strlen(rows[i].answer) + 37);
        client_wait_nothing(&c);
        client_expect(&c, rows[i].answer);
        assert_int_equal(c.closed, rows[i].closed);
        assert_int_equal(http1_server_connections(t->server), rows[i].closed ? 0 : 1);
        client_close(&c);
    }
}

static void test_an_idle_connection_is_small(void **state)
{
    struct toy *t = *state;
    struct client c;

    assert_true(sizeof(struct conn) <= 1024);
    client_open(&c, t);
    client_send(&c, TEXT("GET /stream?100000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_wait_for(&c, "\r\n0\r\n\r\n");
    client_send(&c, TEXT("GET / HT"));
    client_wait_nothing(&c);
    assert_true(toy_conn(t)->held_size < 64);
    client_send(&c, TEXT("TP/1.1\r\nHost: a\r\n\r\n"));
    client_wait_for(&c, "GET [/] []");
    toy_turns(t, 2);
    assert_null(toy_conn(t)->held);
    assert_null(toy_conn(t)->stream.out);
    assert_null(toy_conn(t)->target);
    client_close(&c);
}

static void test_half_close(void **state)
{
    static const char *const requests[] = {
        "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT /later HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "GET /stream?1000000 HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct client c;

        client_open(&c, t);
        assert_true(send(c.fd, requests[i], strlen(requests[i]), MSG_NOSIGNAL) > 0);
        assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
        toy_turns(t, 5); /* the end has been noticed before the answer is made */
        client_wait_closed(&c);
        assert_false(c.reset);
        assert_true(client_has(&c, "HTTP/1.1 20"));
        if (i == 2) assert_true(client_has(&c, "\r\n0\r\n\r\n"));
        client_close(&c);
        assert_int_equal(t->gone, 0);
    }
}

/* It pipelines and never reads: neither our output nor our input grows. */
static void test_a_client_that_never_reads(void **state)
{
    static const char one[] = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
    struct toy *t = *state;
    struct client c;
    struct conn *conn;
    size_t most = 0, sent = 0, begun;
    ssize_t n;

    client_open_sized(&c, t, 16 * 1024);
    conn = toy_conn(t);
    for (int i = 0; i < 50000; i++) {
        n = send(c.fd, one, sizeof(one) - 1, MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        if (i % 50 == 49) toy_turn(t);
        if (stream_unsent(&conn->stream) + conn->held_size > most)
            most = stream_unsent(&conn->stream) + conn->held_size;
    }
    assert_true(sent > 3 * READ_MAX);
    assert_true(most > 0 && most < 65536 + 1024 + READ_MAX);
    assert_false(conn->stream.reading);
    begun = t->begun;
    toy_turns(t, 100);
    assert_int_equal(t->begun, begun);
    client_read(&c); /* and goes on when it does read */
    toy_turns(t, 10);
    assert_true(t->begun > begun);
    client_close(&c);
    assert_int_equal(http1_server_connections(t->server), 0);
}

static void client_break(struct client *c)
{
    struct linger at_once = {1, 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(c->fd);
    c->fd = -1;
}

static void test_a_client_that_goes_away(void **state)
{
    struct toy *t = *state;
    struct client c;

    client_open_sized(&c, t, 16 * 1024);
    client_send(&c, TEXT("GET /stream?10000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(t->gone, 0);
    client_break(&c);
    toy_turns(t, 20);
    assert_int_equal(t->gone, 1);
    assert_int_equal(http1_server_connections(t->server), 0);
    client_close(&c);
}

/* Nothing is read or written meanwhile: the handler has to ask. */
static void test_a_client_that_breaks_off_while_a_handler_waits(void **state)
{
    static const char *const requests[] = {
        "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT /later HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nunread"};
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct client c;

        client_open(&c, t);
        client_send(&c, requests[i], strlen(requests[i]));
        toy_turns(t, 5);
        assert_non_null(t->held);
        assert_true(t->held->transport->alive(t->held));
        shutdown(c.fd, SHUT_WR); /* may still want the answer */
        toy_turns(t, 5);
        assert_true(t->held->transport->alive(t->held));
        client_break(&c);
        toy_turns(t, 5);
        assert_int_equal(t->gone, i);
        assert_false(t->held->transport->alive(t->held));
        assert_int_equal(t->gone, i + 1);
        assert_int_equal(http1_server_connections(t->server), 0);
        client_close(&c);
    }
}

static void test_back_pressure(void **state)
{
    struct toy *t = *state;
    struct client c;
    size_t size = 5000000;

    client_open_sized(&c, t, 16 * 1024);
    client_send(&c, TEXT("GET /known?5000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    toy_turns(t, 20);
    assert_true(t->max_unsent > MKV_OUTPUT_HIGH);
    assert_true(t->max_unsent <= MKV_OUTPUT_HIGH + STREAM_PIECE + 1024);
    client_wait(&c, size + 80);
    assert_true(t->drained > 5);
    assert_true(t->max_unsent <= MKV_OUTPUT_HIGH + STREAM_PIECE + 1024);
    assert_true(evbuffer_get_length(c.got) > size);
    client_close(&c);
}

/* An answer in pipes waits until the last one has left, and the next answer too. */
static void test_a_shared_answer(void **state)
{
    struct toy *t = *state;
    struct client c;
    size_t size = 5000000;

    client_open_sized(&c, t, 16 * 1024);
    client_send(&c, TEXT("GET /shared?5000000 HTTP/1.1\r\nHost: a\r\n\r\n"
                         "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
    toy_turns(t, 20);
    assert_int_equal(t->begun, 1);
    client_wait_for(&c, "GET [/hello] []");
    assert_true(t->shared > 5);
    assert_true(t->drained > 5);
    assert_true(evbuffer_get_length(c.got) > size);
    assert_true(evbuffer_get_length(c.got) < size + 500);
    client_send(&c, TEXT("GET /shared?5000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    toy_turns(t, 20);
    assert_int_equal(t->gone, 0);
    client_close(&c); /* in the midst of it */
    toy_turns(t, 20);
    assert_int_equal(t->gone, 1);
}

static void test_abort_cuts_the_answer(void **state)
{
    struct toy *t = *state;
    struct client c;

    client_open(&c, t);
    client_send(&c, TEXT("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_wait_closed(&c);
    assert_true(c.reset);
    assert_false(client_has(&c, "\r\n0\r\n\r\n"));
    assert_int_equal(t->gone, 0);
    client_close(&c);
}

static void test_closing_tells_the_handlers(void **state)
{
    struct toy *t = *state;
    struct client c;
    struct http1_server_options opt = {t->loop, t->blocks, NULL, &t->metrics, toy_handler, t};

    client_open(&c, t);
    client_send(&c, TEXT("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    http1_server_close(t->server);
    assert_int_equal(t->gone, 1);
    assert_int_equal(http1_server_open(&t->server, &opt), MKV_OK);
    client_close(&c);
}

static void test_drain(void **state)
{
    struct toy *t = *state;
    struct client idle, busy, partial;

    client_open(&idle, t);
    client_send(&idle, TEXT("GET /none HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_open(&busy, t);
    client_send(&busy, TEXT("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_open(&partial, t);
    client_send(&partial, TEXT("GET /none HTTP/1.1\r\n"));
    http1_server_drain(t->server);
    client_read(&idle);
    assert_true(idle.closed && !idle.reset);
    assert_int_equal(http1_server_connections(t->server), 2);
    client_wait_closed(&busy);
    assert_true(client_has(&busy, "held and answered"));
    assert_true(client_has(&busy, "Connection: close"));
    client_send(&partial, TEXT("Host: a\r\n\r\n"));
    client_wait_closed(&partial);
    assert_true(client_has(&partial, "204 No Content\r\nConnection: close"));
    assert_int_equal(http1_server_connections(t->server), 0);
    client_close(&idle);
    client_close(&busy);
    client_close(&partial);
}

/* An answer that has begun before the drain has not said that we close. */
static void test_drain_in_the_middle_of_an_answer(void **state)
{
    struct toy *t = *state;
    struct client c;

    client_open_sized(&c, t, 16 * 1024);
    client_send(&c, TEXT("GET /stream?3000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    toy_turns(t, 3);
    http1_server_drain(t->server);
    client_wait_closed(&c);
    assert_false(c.reset);
    assert_true(client_has(&c, "\r\n0\r\n\r\n"));
    client_close(&c);
}

static void test_a_key_can_not_forge_headers(void **state)
{
    struct toy *t = *state;
    struct client c;

    client_open(&c, t);
    client_send(&c, TEXT("GET /header/good HTTP/1.1\r\nHost: a\r\n\r\n"
                         "GET /header/x%0d%0aSet-Cookie:%20y HTTP/1.1\r\nHost: a\r\n\r\n"
                         "GET /header/x%0aSet-Cookie:%20y HTTP/1.1\r\nHost: a\r\n\r\n"
                         "GET /header/x%0d HTTP/1.0\r\n\r\n"));
    client_wait_closed(&c);
    client_expect(&c, "HTTP/1.1 200 OK\r\nX-Key: /header/good\r\nContent-Length: 0\r\n\r\n"
                      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client_close(&c);
}

/* ---- the clock ----------------------------------------------------------- */

static void after(struct toy *t, uint64_t ms)
{
    conn_check_time(toy_conn(t), mkv_loop_now(t->loop) + ms);
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *sent;
        uint64_t limit;
        const char *answer; /* NULL: closed without a word */
        size_t gone;
    } rows[] = {
        {"",                                                              HTTP1_IDLE_TIMEOUT_MS, NULL,            0},
        {"GET /none HTTP/1.1\r\nHost: a\r\n\r\n",                         HTTP1_IDLE_TIMEOUT_MS, NULL,            0},
        {"G",                                                             HTTP1_HEAD_TIMEOUT_MS, "HTTP/1.1 408 ", 0},
        {"PUT /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", HTTP1_BODY_TIMEOUT_MS,
         "HTTP/1.1 408 ",                                                                                         1},
        {"GET /stream?90000000 HTTP/1.1\r\nHost: a\r\n\r\n",              HTTP1_BODY_TIMEOUT_MS, NULL,            1},
    };
    struct toy *t = *state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct client c;

        client_open_sized(&c, t, 16 * 1024);
        t->gone = 0;
        client_send(&c, rows[i].sent, strlen(rows[i].sent));
        toy_turns(t, 3);
        after(t, rows[i].limit - 2000);
        toy_turns(t, 3);
        assert_int_equal(http1_server_connections(t->server), 1);
        assert_int_equal(t->gone, 0);
        after(t, rows[i].limit + 2000);
        assert_int_equal(t->gone, rows[i].gone);
        if (rows[i].answer) {
            client_wait_for(&c, rows[i].answer);
            after(t, HTTP1_LINGER_MS - 1000);
            assert_int_equal(http1_server_connections(t->server), 1);
            after(t, HTTP1_LINGER_MS + 1000);
        }
        assert_int_equal(http1_server_connections(t->server), 0);
        client_close(&c);
    }
}

/* A handler that thinks for long is not the client's fault. */
static void test_a_slow_handler_is_waited_for(void **state)
{
    struct toy *t = *state;
    struct client c;

    client_open(&c, t);
    client_send(&c, TEXT("PUT /later HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"));
    after(t, 10 * HTTP1_BODY_TIMEOUT_MS);
    assert_int_equal(t->gone, 0);
    toy_conn(t)->stream.progress_ms -= 10 * HTTP1_BODY_TIMEOUT_MS;
    assert_true(toy_go(t));
    after(t, 1000); /* the client's time begins only now */
    assert_int_equal(t->gone, 0);
    client_send(&c, TEXT("abc"));
    client_wait(&c, 1);
    assert_true(client_has(&c, "3 bytes"));
    client_close(&c);
}

#define TOY_TEST(name) cmocka_unit_test_setup_teardown(name, toy_setup, toy_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOY_TEST(test_a_pipeline_cut_anywhere_gets_the_same_answers),
        TOY_TEST(test_a_long_pipeline),
        TOY_TEST(test_broken_heads),
        TOY_TEST(test_heads_that_are_too_long),
        TOY_TEST(test_smuggling),
        TOY_TEST(test_versions_and_keep_alive),
        TOY_TEST(test_an_idle_connection_is_small),
        TOY_TEST(test_half_close),
        TOY_TEST(test_a_client_that_never_reads),
        TOY_TEST(test_a_client_that_goes_away),
        TOY_TEST(test_a_client_that_breaks_off_while_a_handler_waits),
        TOY_TEST(test_back_pressure),
        TOY_TEST(test_a_shared_answer),
        TOY_TEST(test_abort_cuts_the_answer),
        TOY_TEST(test_closing_tells_the_handlers),
        TOY_TEST(test_drain),
        TOY_TEST(test_drain_in_the_middle_of_an_answer),
        TOY_TEST(test_a_key_can_not_forge_headers),
        TOY_TEST(test_timeouts),
        TOY_TEST(test_a_slow_handler_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
