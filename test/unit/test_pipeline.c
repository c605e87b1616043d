/* Exchanges of one turn that share a connection: who may, and what becomes of
 * the others when one of them goes wrong. */
#include "volume_fixture.h"

#include "net/volume_internal.h"

#include <poll.h>

#define DEPTH VOLUME_PIPELINE_MAX
#define VALUE "some bytes" /* of a small PUT */
#define STEADY_MS 450      /* between two answers */

/* ---- the server's side ---------------------------------------------------- */

static void hear_request(struct fake *f, int fd)
{
    const char *length = hear_head(f, fd) ? strstr(f->request, "Content-Length: ") : NULL;

    if (length) hear_body(f, fd, strtoul(length + 16, NULL, 10));
}

static size_t warm; /* connections that serve a request and stay; set before the script starts */

/* Returns the one of them on which more comes then. */
static int serve_first(struct fake *f)
{
    struct pollfd fds[DEPTH];

    for (size_t i = 0; i < warm; i++) {
        fds[i] = (struct pollfd){.fd = serve(f), .events = POLLIN};
        hear_request(f, fds[i].fd);
        say(fds[i].fd, ANSWER_201);
    }
    poll(fds, warm, PATIENCE_MS);
    for (size_t i = 0; i < warm; i++)
        if (fds[i].revents) return fds[i].fd;
    return -1;
}

/* One request for each connection, until the listener is shut down. */
static void serve_the_rest(struct fake *f)
{
    int fd;

    while ((fd = serve(f)) >= 0) {
        hear_request(f, fd);
        atomic_fetch_add(&f->stage, 1);
        say(fd, "HTTP/1.1 299 Again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        close(fd);
    }
}

/* Answers nothing before it has got DEPTH requests, then says f->text. */
static void script_shared(struct fake *f)
{
    int fd = serve_first(f);

    for (int i = 0; i < DEPTH; i++)
        hear_request(f, fd);
    say(fd, f->text);
    if (!strstr(f->text, "close")) hear_head(f, fd);
    close(fd);
    serve_the_rest(f);
}

static void script_shared_byte_by_byte(struct fake *f)
{
    int fd = serve_first(f);

    for (int i = 0; i < DEPTH; i++)
        hear_request(f, fd);
    for (const char *at = f->text; *at; at++) {
        (void)!send(fd, at, 1, MSG_NOSIGNAL);
        nap();
    }
    hear_head(f, fd);
    close(fd);
}

/* Does not answer the first of them. */
static void script_silent(struct fake *f)
{
    int fd = serve_first(f);

    serve_the_rest(f);
    close(fd);
}

/* Answers what came together one by one: in more than -voltimeout, all of them. */
static void script_steady(struct fake *f)
{
    int fd = serve_first(f);

    for (int i = 0; i < DEPTH; i++) hear_request(f, fd);
    for (int i = 0; i < DEPTH; i++) {
        nanosleep(&(struct timespec){0, STEADY_MS * 1000000}, NULL);
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    }
    hear_head(f, fd);
    close(fd);
}

/* ---- the client's side ---------------------------------------------------- */

static void begin_one(struct trace *t, struct fixture *f, enum mkv_exchange_method method)
{
    trace_init(t, f);
    t->brief = method == MKV_VOLUME_GET;
    if (method == MKV_VOLUME_PUT) {
        t->act = send_everything;
        t->data = VALUE;
        t->len = strlen(VALUE);
    }
    begin_exchange(t, method, "/x", method == MKV_VOLUME_PUT ? (int64_t)strlen(VALUE) : 0);
}

static void end_all(struct trace *t, size_t n, struct fixture *f)
{
    for (size_t i = 0; i < n; i++)
        run_until(f, t[i].done);
}

static void clear_all(struct trace *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        trace_clear(&t[i]);
}

/* So many connections that have served, and may be shared now. */
static void warm_up(struct fixture *f, size_t n, void (*script)(struct fake *))
{
    struct trace first[DEPTH];

    warm = n;
    fake_start(&f->fake, script);
    for (size_t i = 0; i < n; i++)
        begin_one(&first[i], f, MKV_VOLUME_DELETE);
    end_all(first, n, f);
    assert_int_equal(stats_of(f).idle, n);
    clear_all(first, n);
}

/* n exchanges in one turn.  A PUT has a connection of its own until its body is
 * there. */
static void begin_all(struct trace *t, size_t n, struct fixture *f, enum mkv_exchange_method method,
                      void (*script)(struct fake *))
{
    warm_up(f, method == MKV_VOLUME_PUT ? DEPTH : 1, script);
    for (size_t i = 0; i < n; i++)
        begin_one(&t[i], f, method);
}

static void close_idle(struct fixture *f)
{
    while (stats_of(f).idle)
        volume_close_connection(TAILQ_FIRST(&f->volume->idle));
}

/* Ends the script, and makes way for the next one. */
static void end_script(struct fixture *f)
{
    close_idle(f);
    shutdown(f->fake.listener, SHUT_RDWR);
    fake_join(&f->fake);
    close(f->fake.listener);
    assert_int_equal(fake_listen(&f->fake, AF_INET, 200), 0);
}

static void close_listener(struct fixture *f)
{
    shutdown(f->fake.listener, SHUT_RDWR);
}

/* ---- all goes well -------------------------------------------------------- */

#define EMPTY(status)       "HTTP/1.1 " status " X\r\nContent-Length: 0\r\n\r\n"
#define WITH_LENGTH(status) "HTTP/1.1 " status " X\r\nContent-Length: 5\r\n\r\n"
#define WITH_BODY(status)   WITH_LENGTH(status) "hello"
#define WITH_CHUNKS(status)                                                                        \
    "HTTP/1.1 " status " X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
#define BODILESS(status) "HTTP/1.1 " status " X\r\n\r\n"

static const struct {
    enum mkv_exchange_method method;
    const char *answers; /* 401 to 408 */
} rows[] = {
    {MKV_VOLUME_HEAD,   WITH_LENGTH("401") EMPTY("402") WITH_LENGTH("403") WITH_LENGTH("404")
                          EMPTY("405") WITH_LENGTH("406") EMPTY("407") WITH_LENGTH("408")      },
    {MKV_VOLUME_DELETE, WITH_BODY("401") EMPTY("402") WITH_CHUNKS("403") WITH_BODY("404")
                            WITH_BODY("405") WITH_CHUNKS("406") EMPTY("407") WITH_BODY("408")},
    {MKV_VOLUME_PUT,
     EMPTY("401") "HTTP/1.1 100 Continue\r\n\r\n" EMPTY("402") WITH_BODY("403") EMPTY("404")
         WITH_CHUNKS("405") EMPTY("406") EMPTY("407") WITH_BODY("408")                                              },
};

static void check_shared(struct fixture *f, void (*script)(struct fake *))
{
    for (size_t row = 0; row < COUNT(rows); row++) {
        struct trace t[DEPTH];
        uint64_t before = stats_of(f).connects;

        f->fake.text = rows[row].answers;
        f->fake.body_len = 0;
        begin_all(t, DEPTH, f, rows[row].method, script);
        end_all(t, DEPTH, f);
        for (size_t i = 0; i < DEPTH; i++) {
            if (t[i].err || t[i].status != 401 + (int)i)
                fail_msg("row %zu, %zu: %d %s", row, i, t[i].status, t[i].why);
            assert_int_equal(t[i].heads, rows[row].method == MKV_VOLUME_HEAD);
        }
        if (rows[row].method == MKV_VOLUME_PUT)
            assert_int_equal(f->fake.body_len, DEPTH * strlen(VALUE));
        assert_int_equal(stats_of(f).connects, before + warm);
        assert_int_equal(stats_of(f).idle, warm);
        assert_int_equal(stats_of(f).busy, 0);
        end_script(f);
        clear_all(t, DEPTH);
    }
}

static void test_they_share(void **state)
{
    check_shared(*state, script_shared);
}

static void test_they_share_byte_by_byte(void **state)
{
    check_shared(*state, script_shared_byte_by_byte);
}

/* Listings.  One that is paused keeps its answer, and those behind it theirs. */
static void test_brief_gets_share(void **state)
{
    static const size_t paused = 3;
    struct fixture *f = *state;
    struct trace t[DEPTH];

    f->fake.text = WITH_BODY("200") WITH_CHUNKS("200") EMPTY("200") WITH_BODY("200")
        WITH_BODY("404") WITH_CHUNKS("200") WITH_BODY("206") WITH_BODY("200");
    begin_all(t, DEPTH, f, MKV_VOLUME_GET, script_shared);
    mkv_exchange_pause(t[paused].x, true);
    end_all(t, paused, f);
    mkv_loop_turn(f->loop);
    for (size_t i = paused; i < DEPTH; i++)
        assert_int_equal(t[i].bodies + t[i].done, 0);
    mkv_exchange_pause(t[paused].x, false);
    end_all(t, DEPTH, f);
    for (size_t i = 0; i < DEPTH; i++) {
        bool has_body = i != 2 && i != 4; /* the latter is dropped */

        assert_int_equal(t[i].status, i == 4 ? 404 : i == 6 ? 206 : 200);
        assert_int_equal(evbuffer_get_length(t[i].body), has_body ? 5 : 0);
        if (has_body) assert_memory_equal(evbuffer_pullup(t[i].body, 5), "hello", 5);
    }
    assert_int_equal(stats_of(f).connects, 1);
    assert_int_equal(stats_of(f).retries, 0);
    clear_all(t, DEPTH);
    end_script(f);
}

static bool is_last_piece(const struct trace *t, const char *event)
{
    return strcmp(event, "body") == 0 && evbuffer_get_length(t->body) == 5;
}

static void pause_at_the_end(struct trace *t, const char *event)
{
    if (is_last_piece(t, event)) mkv_exchange_pause(t->x, true);
}

static void pause_briefly_at_the_end(struct trace *t, const char *event)
{
    if (!is_last_piece(t, event)) return;
    mkv_exchange_pause(t->x, true);
    mkv_exchange_pause(t->x, false);
}

/* Its answer has ended then: the next one is read all the same. */
static void test_paused_inside_its_last_piece(void **state)
{
    static void (*const acts[])(struct trace *, const char *) = {pause_at_the_end,
                                                                 pause_briefly_at_the_end};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(acts); i++) {
        struct trace t[DEPTH];

        f->fake.text = WITH_BODY("200") WITH_BODY("200") WITH_BODY("200") WITH_CHUNKS("200")
            WITH_BODY("200") WITH_BODY("200") WITH_BODY("200") WITH_BODY("200");
        begin_all(t, DEPTH, f, MKV_VOLUME_GET, script_shared_byte_by_byte);
        t[0].act = t[2].act = acts[i];
        end_all(t, DEPTH, f);
        for (size_t j = 0; j < DEPTH; j++) assert_int_equal(t[j].status, 200);
        assert_int_equal(stats_of(f).retries, 0);
        clear_all(t, DEPTH);
        end_script(f);
    }
}

/* ---- who shares, and who does not ------------------------------------------ */

/* More than DEPTH, another method, another turn: each has a connection of its own. */
static void test_limits(void **state)
{
    struct fixture *f = *state;
    struct trace t[DEPTH + 3];

    f->fake.text = rows[0].answers;
    begin_all(t, DEPTH, f, MKV_VOLUME_HEAD, script_shared);
    begin_one(&t[DEPTH], f, MKV_VOLUME_HEAD);
    begin_one(&t[DEPTH + 1], f, MKV_VOLUME_DELETE);
    mkv_loop_turn(f->loop);
    begin_one(&t[DEPTH + 2], f, MKV_VOLUME_HEAD);
    end_all(t, DEPTH, f);
    run_until(f, stats_of(f).idle == 1);
    close_idle(f); /* the script goes on */
    end_all(t, COUNT(t), f);
    for (size_t i = DEPTH; i < COUNT(t); i++)
        assert_int_equal(t[i].status, 299);
    assert_int_equal(stats_of(f).connects, 1 + 3);
    clear_all(t, COUNT(t));
    close_listener(f);
}

static void test_a_suspect_volume_gets_one_by_one(void **state)
{
    struct fixture *f = *state;
    struct trace t[3];

    warm_up(f, 1, script_silent);
    f->volume->state = MKV_VOLUME_SUSPECT;
    for (size_t i = 0; i < COUNT(t); i++)
        begin_one(&t[i], f, MKV_VOLUME_HEAD);
    assert_int_equal(t[0].x->connection->depth, 1);
    run_until(f, t[1].done && t[2].done); /* on their own: the first waits in vain */
    assert_int_equal(t[0].done, 0);
    mkv_exchange_cancel(t[0].x);
    clear_all(t, COUNT(t));
    close_listener(f);
}

/* A PUT that has not got its body in this turn, or a large one, goes alone.  The
 * connection that another one then does not need is given back, as old as it was. */
static void test_only_small_whole_puts_share(void **state)
{
    static char body[VOLUME_SMALL_MAX + 1];
    static const size_t given[] = {0, VOLUME_SMALL_MAX, VOLUME_SMALL_MAX, VOLUME_SMALL_MAX + 1};
    struct fixture *f = *state;
    struct volume_connection *c;
    uint64_t oldest = UINT64_MAX;
    struct trace t[COUNT(given)];

    warm_up(f, COUNT(t), script_silent);
    TAILQ_FOREACH(c, &f->volume->idle, link)
    {
        c->idle_since_ms -= 5000;
        if (c->idle_since_ms < oldest) oldest = c->idle_since_ms;
    }
    for (size_t i = 0; i < COUNT(t); i++) {
        trace_init(&t[i], f);
        if (i) t[i].act = send_everything;
        t[i].data = body;
        t[i].len = given[i];
        begin_exchange(&t[i], MKV_VOLUME_PUT, "/x", i ? (int64_t)given[i] : 5);
    }
    mkv_loop_turn(f->loop);
    assert_ptr_equal(t[1].x->connection, t[2].x->connection);
    assert_int_equal(t[0].x->connection->depth, 1);
    assert_int_equal(t[1].x->connection->depth, 2);
    assert_int_equal(t[3].x->connection->depth, 1);
    assert_int_equal(stats_of(f).busy, 3);
    assert_int_equal(stats_of(f).idle, 1);
    assert_true(TAILQ_FIRST(&f->volume->idle)->idle_since_ms < oldest + 5000);
    assert_false(mkv_exchange_sent_all(t[0].x));
    send_text(&t[0], "hello");
    run_until(f, mkv_exchange_sent_all(t[0].x));
    mkv_volumes_close(f->volumes);
    f->volumes = NULL;
    clear_all(t, COUNT(t));
    close_listener(f);
}

/* ---- the volume closes in mid-pipeline -------------------------------------- */

static void test_closed_behind_an_answer(void **state)
{
    static const struct {
        enum mkv_exchange_method method;
        const char *answers;
        size_t answered;
    } cases[] = {
        {MKV_VOLUME_HEAD,   WITH_LENGTH("401") "HTTP/1.1 402 X\r\nConnection: close\r\n\r\n", 2},
        {MKV_VOLUME_GET,
         WITH_CHUNKS("200") "HTTP/1.1 402 X\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 2},
        {MKV_VOLUME_GET,    "HTTP/1.1 402 close\r\nContent-Length: 0\r\n\r\n",                1},
        {MKV_VOLUME_DELETE,
         BODILESS("204") "HTTP/1.1 402 X\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 2},
        {MKV_VOLUME_PUT,
         EMPTY("201") "HTTP/1.1 402 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",     2},
        {MKV_VOLUME_DELETE, "HTTP/1.1 402 close\r\nContent-Length: 0\r\n\r\n",                1},
        {MKV_VOLUME_PUT,    "HTTP/1.1 402 close\r\nContent-Length: 0\r\n\r\n",                1},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture *f = *state;
        struct trace t[DEPTH];
        uint64_t retries = stats_of(f).retries;

        f->fake.text = cases[i].answers;
        begin_all(t, DEPTH, f, cases[i].method, script_shared);
        end_all(t, DEPTH, f);
        for (size_t j = 0; j < DEPTH; j++)
            if (t[j].err || (t[j].status == 299) != (j >= cases[i].answered))
                fail_msg("row %zu, %zu: %d %s", i, j, t[j].status, t[j].why);
        assert_int_equal(stats_of(f).retries, retries + DEPTH - cases[i].answered);
        assert_int_equal(stats_of(f).failures, 0);
        assert_int_equal(stats_of(f).busy, 0);
        assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
        clear_all(t, DEPTH);
        end_script(f);
    }
}

/* It is gone for good: everyone has been sent twice at most, and whoever put
 * something knows that it may have arrived. */
static void script_gone(struct fake *f)
{
    int fd = serve_first(f);

    for (int i = 0; i < DEPTH; i++)
        hear_request(f, fd);
    shutdown(f->listener, SHUT_RDWR);
    close(fd);
}

static void test_closed_for_good(void **state)
{
    struct fixture *f = *state;
    struct trace t[DEPTH];

    begin_all(t, DEPTH, f, MKV_VOLUME_PUT, script_gone);
    end_all(t, DEPTH, f);
    for (size_t i = 0; i < DEPTH; i++) {
        assert_int_equal(t[i].err, MKV_EVOLUME);
        assert_int_equal(t[i].ready, 1);
        assert_true(t[i].sent_all);
    }
    assert_int_equal(stats_of(f).retries, DEPTH);
    assert_int_equal(stats_of(f).busy, 0);
    clear_all(t, DEPTH);
}

/* ---- somebody does not get his answer ---------------------------------------- */

static int set_up_4s(void **state)
{
    return set_up_with(state, 4000, QUICK_MS);
}

/* One slow file: those behind it are asked for elsewhere and in time. */
static void check_nobody_waits_for_one(struct fixture *f, enum mkv_exchange_method method)
{
    struct trace t[DEPTH];

    begin_all(t, DEPTH, f, method, script_silent);
    end_all(t, DEPTH, f);
    assert_int_equal(t[0].err, MKV_EVOLUME);
    assert_string_equal(t[0].why, "no answer within 4 s");
    for (size_t i = 1; i < DEPTH; i++)
        assert_int_equal(t[i].status, 299);
    assert_int_equal(stats_of(f).retries, DEPTH - 1);
    assert_int_equal(stats_of(f).failures, 1);
    assert_int_equal(stats_of(f).busy + stats_of(f).idle, 0);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_SUSPECT);
    clear_all(t, DEPTH);
    close_listener(f);
}

static void test_heads_do_not_wait_for_one(void **state)
{
    check_nobody_waits_for_one(*state, MKV_VOLUME_HEAD);
}

static void test_gets_do_not_wait_for_one(void **state)
{
    check_nobody_waits_for_one(*state, MKV_VOLUME_GET);
}

static int set_up_long(void **state)
{
    return set_up_with(state, 3000, PATIENCE_MS);
}

/* It is we who do not read: nobody's answer is late for that. */
static void test_a_pause_is_not_the_volume_s_fault(void **state)
{
    struct fixture *f = *state;
    uint64_t end = test_now_ms() + 3500; /* set_up_long, and a tick */
    struct trace t[DEPTH];

    f->fake.text = WITH_BODY("200") WITH_BODY("200") WITH_BODY("200") WITH_BODY("200")
        WITH_BODY("200") WITH_BODY("200") WITH_BODY("200") WITH_BODY("200");
    begin_all(t, DEPTH, f, MKV_VOLUME_GET, script_shared);
    mkv_exchange_pause(t[0].x, true);
    while (test_now_ms() < end) mkv_loop_turn(f->loop);
    for (size_t i = 0; i < DEPTH; i++) assert_int_equal(t[i].done, 0);
    mkv_exchange_pause(t[0].x, false);
    end_all(t, DEPTH, f);
    for (size_t i = 0; i < DEPTH; i++) assert_int_equal(t[i].status, 200);
    assert_int_equal(stats_of(f).retries, 0);
    clear_all(t, DEPTH);
    end_script(f);
}

/* Each of those before it is progress. */
static void test_brief_gets_are_not_late_behind_others(void **state)
{
    struct fixture *f = *state;
    struct trace t[DEPTH];

    begin_all(t, DEPTH, f, MKV_VOLUME_GET, script_steady);
    end_all(t, DEPTH, f);
    for (size_t i = 0; i < DEPTH; i++) assert_int_equal(t[i].status, 200);
    assert_int_equal(stats_of(f).retries, 0);
    clear_all(t, DEPTH);
    end_script(f);
}

/* The first one is answered after all; what comes behind belongs to nobody. */
static void script_late(struct fake *f)
{
    int fd = serve_first(f), again;

    for (int i = 0; i < DEPTH; i++)
        hear_request(f, fd);
    for (int i = 1; i < DEPTH; i++) {
        again = serve(f);
        hear_request(f, again);
        say(again, "HTTP/1.1 299 Again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        close(again);
    }
    wait_for_stage(f, 1);
    say(fd, EMPTY("401") EMPTY("402") EMPTY("403"));
    hear_head(f, fd);
    close(fd);
}

static void test_a_late_answer_counts(void **state)
{
    struct fixture *f = *state;
    struct trace t[DEPTH];

    begin_all(t, DEPTH, f, MKV_VOLUME_HEAD, script_late);
    end_all(t + 1, DEPTH - 1, f);
    assert_int_equal(t[0].done, 0);
    atomic_store(&f->fake.stage, 1);
    end_all(t, 1, f);
    assert_int_equal(t[0].status, 401);
    for (size_t i = 1; i < DEPTH; i++)
        assert_int_equal(t[i].status, 299);
    assert_int_equal(stats_of(f).failures, 0);
    assert_int_equal(stats_of(f).busy + stats_of(f).idle, 0); /* not to be used again */
    clear_all(t, DEPTH);
}

/* A DELETE or PUT that may still be carried out is not sent a second time. */
static void check_not_sent_again(struct fixture *f, enum mkv_exchange_method method)
{
    struct trace t[DEPTH];

    begin_all(t, DEPTH, f, method, script_silent);
    end_all(t, DEPTH, f);
    for (size_t i = 0; i < DEPTH; i++) {
        assert_int_equal(t[i].err, MKV_EVOLUME);
        assert_true(t[i].sent_all);
    }
    assert_int_equal(atomic_load(&f->fake.stage), 0);
    assert_int_equal(stats_of(f).retries, 0);
    /* One request hangs: that is one failure, and says what it was. */
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_SUSPECT);
    assert_int_equal(stats_of(f).failures, 1);
    assert_non_null(strstr(stats_of(f).last_error, "no progress"));
    clear_all(t, DEPTH);
    close_listener(f);
}

static void test_late_deletes(void **state)
{
    check_not_sent_again(*state, MKV_VOLUME_DELETE);
}

static void test_late_puts(void **state)
{
    check_not_sent_again(*state, MKV_VOLUME_PUT);
}

/* One answer that nobody understands costs the connection. */
static void check_nonsense(struct fixture *f, enum mkv_exchange_method method)
{
    struct trace t[DEPTH];
    bool again = method != MKV_VOLUME_DELETE;

    f->fake.text = EMPTY("201") "what?\r\n\r\n" EMPTY("403") "close";
    begin_all(t, DEPTH, f, method, script_shared);
    end_all(t, DEPTH, f);
    assert_int_equal(t[0].status, 201);
    assert_memory_equal(t[1].why, "malformed answer", 16);
    for (size_t i = 2; i < DEPTH; i++) {
        assert_int_equal(t[i].status, again ? 299 : 0);
        if (!again) assert_string_equal(t[i].why, "no answer came to the request before it");
    }
    assert_int_equal(stats_of(f).retries, again ? DEPTH - 2 : 0);
    assert_int_equal(stats_of(f).busy + stats_of(f).idle, 0);
    clear_all(t, DEPTH);
    close_listener(f);
}

static void test_nonsense_to_heads(void **state)
{
    check_nonsense(*state, MKV_VOLUME_HEAD);
}

static void test_nonsense_to_gets(void **state)
{
    check_nonsense(*state, MKV_VOLUME_GET);
}

static void test_nonsense_to_deletes(void **state)
{
    check_nonsense(*state, MKV_VOLUME_DELETE);
}

/* ---- cancelling --------------------------------------------------------------- */

/* The others get their own answers, and the connection serves on. */
static void test_cancel_one_of_them(void **state)
{
    static const size_t cancelled[] = {0, 3, DEPTH - 1};
    struct fixture *f = *state;
    struct trace t[DEPTH];

    f->fake.text = rows[1].answers;
    begin_all(t, DEPTH, f, MKV_VOLUME_DELETE, script_shared);
    for (size_t i = 0; i < COUNT(cancelled); i++)
        INSIDE(f, mkv_exchange_cancel(t[cancelled[i]].x));
    run_until(f, stats_of(f).busy == 0);
    for (size_t i = 0; i < DEPTH; i++) {
        bool gone = i == cancelled[0] || i == cancelled[1] || i == cancelled[2];

        assert_int_equal(t[i].done, !gone);
        if (!gone) assert_int_equal(t[i].status, 401 + (int)i);
    }
    assert_int_equal(stats_of(f).idle, 1);
    assert_int_equal(f->volume->brief, 0);
    clear_all(t, DEPTH);
    close_idle(f);
    close_listener(f);
}

/* From within another one's done(): every one behind it, to the last. */
static struct trace *others;

static void cancel_others(struct trace *t, const char *event)
{
    if (strcmp(event, "done") != 0) return;
    for (size_t i = 1; i < DEPTH; i++)
        INSIDE(t->f, mkv_exchange_cancel(others[i].x));
}

/* Its answer is let pass. */
static void test_cancel_one_that_is_paused(void **state)
{
    struct fixture *f = *state;
    struct trace t[DEPTH];

    f->fake.text = WITH_BODY("200") WITH_CHUNKS("200") WITH_BODY("200") WITH_BODY("200")
        WITH_BODY("200") WITH_CHUNKS("200") WITH_BODY("200") WITH_BODY("200");
    begin_all(t, DEPTH, f, MKV_VOLUME_GET, script_shared);
    mkv_exchange_pause(t[1].x, true);
    mkv_exchange_pause(t[3].x, true); /* its answer is not due yet */
    run_until(f, t[0].done);
    mkv_loop_turn(f->loop);
    INSIDE(f, mkv_exchange_cancel(t[1].x));
    INSIDE(f, mkv_exchange_cancel(t[3].x));
    run_until(f, stats_of(f).busy == 0);
    for (size_t i = 0; i < DEPTH; i++) {
        bool gone = i == 1 || i == 3;

        assert_int_equal(t[i].done, !gone);
        assert_int_equal(evbuffer_get_length(t[i].body), gone ? 0 : 5);
    }
    assert_int_equal(stats_of(f).idle, 1);
    clear_all(t, DEPTH);
    end_script(f);
}

/* Nobody waits for the end of a long answer that nobody wants. */
static void test_cancel_a_long_answer(void **state)
{
    static char text[3 * VOLUME_DROP_MAX];
    struct fixture *f = *state;
    struct trace t[DEPTH];
    int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");

    memset(text + n, 'x', sizeof(text) - (size_t)n - 1);
    f->fake.text = text;
    begin_all(t, DEPTH, f, MKV_VOLUME_GET, script_shared);
    INSIDE(f, mkv_exchange_cancel(t[0].x));
    end_all(t + 1, DEPTH - 1, f);
    assert_int_equal(t[0].done, 0);
    for (size_t i = 1; i < DEPTH; i++) assert_int_equal(t[i].status, 299);
    assert_int_equal(stats_of(f).retries, DEPTH - 1);
    assert_int_equal(stats_of(f).failures, 0);
    clear_all(t, DEPTH);
    close_listener(f);
}

static void test_cancel_all_behind(void **state)
{
    struct fixture *f = *state;
    struct trace t[DEPTH];

    others = t;
    f->fake.text = rows[0].answers;
    begin_all(t, DEPTH, f, MKV_VOLUME_HEAD, script_shared);
    t[0].act = cancel_others;
    run_until(f, t[0].done);
    run_until(f, stats_of(f).busy == 0);
    for (size_t i = 0; i < DEPTH; i++)
        assert_int_equal(t[i].done, i == 0);
    assert_int_equal(stats_of(f).failures, 0);
    mkv_volumes_close(f->volumes);
    f->volumes = NULL;
    clear_all(t, DEPTH);
    close_listener(f);
}

/* The client is closed while all of them wait. */
static void test_close(void **state)
{
    struct fixture *f = *state;
    struct trace t[DEPTH];

    begin_all(t, DEPTH, f, MKV_VOLUME_HEAD, script_silent);
    for (int turn = 0; turn < 3; turn++)
        mkv_loop_turn(f->loop);
    mkv_volumes_close(f->volumes);
    f->volumes = NULL;
    mkv_loop_turn(f->loop);
    for (size_t i = 0; i < DEPTH; i++)
        assert_int_equal(t[i].done, 0);
    clear_all(t, DEPTH);
    close_listener(f);
}

int main(void)
{
#define WITH(test)       cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITH_QUICK(test) cmocka_unit_test_setup_teardown(test, set_up_quick, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_they_share),
        WITH(test_they_share_byte_by_byte),
        WITH(test_limits),
        WITH(test_a_suspect_volume_gets_one_by_one),
        WITH(test_brief_gets_share),
        WITH(test_paused_inside_its_last_piece),
        WITH(test_only_small_whole_puts_share),
        WITH(test_closed_behind_an_answer),
        WITH(test_closed_for_good),
        cmocka_unit_test_setup_teardown(test_heads_do_not_wait_for_one, set_up_4s, tear_down),
        cmocka_unit_test_setup_teardown(test_gets_do_not_wait_for_one, set_up_4s, tear_down),
        cmocka_unit_test_setup_teardown(test_a_pause_is_not_the_volume_s_fault, set_up_long,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_brief_gets_are_not_late_behind_others, set_up_long,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_late_answer_counts, set_up_long, tear_down),
        WITH_QUICK(test_late_deletes),
        WITH_QUICK(test_late_puts),
        WITH(test_nonsense_to_heads),
        WITH(test_nonsense_to_gets),
        WITH(test_nonsense_to_deletes),
        WITH(test_cancel_one_of_them),
        WITH(test_cancel_one_that_is_paused),
        WITH(test_cancel_a_long_answer),
        WITH(test_cancel_all_behind),
        WITH(test_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
