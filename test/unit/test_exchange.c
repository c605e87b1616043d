/* One exchange with a volume: requests, answers, pauses, cancelling. */
#include "volume_fixture.h"

/* ---- what goes out ------------------------------------------------------- */

static void script_note_request(struct fake *f)
{
    int fd = serve(f);

    while (hear_head(f, fd)) {
        bool is_put = memcmp(f->request, "PUT", 3) == 0;

        if (is_put)
            hear_body(f, fd, strstr(f->request, "chunked") ? strlen("5\r\nhello\r\n0\r\n\r\n") : 5);
        atomic_fetch_add(&f->stage, 1);
        if (is_put)
            say(fd, ANSWER_201);
        else if (memcmp(f->request, "GET", 3) == 0)
            say(fd, ANSWER_200 "hello");
        else
            say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    close(fd);
}

static void test_requests_on_the_wire(void **state)
{
    static const struct {
        enum mkv_exchange_method method;
        int64_t length;
        const char *date;
        uint64_t from, range;
        const char *word, *headers; /* expected, around the target and the Host */
    } rows[] = {
        {MKV_VOLUME_HEAD, 0, NULL, 0, 0, "HEAD", ""},
        {MKV_VOLUME_GET, 0, NULL, 0, 0, "GET", ""},
        {MKV_VOLUME_GET, 0, NULL, 77, 0, "GET", "Range: bytes=77-\r\n"},
        {MKV_VOLUME_GET, 0, NULL, 0, 1, "GET", "Range: bytes=0-0\r\n"},
        {MKV_VOLUME_GET, 0, NULL, 77, 23, "GET", "Range: bytes=77-99\r\n"},
        {MKV_VOLUME_GET, 0, NULL, UINT64_MAX, 1, "GET",
         "Range: bytes=18446744073709551615-18446744073709551615\r\n"},
        {MKV_VOLUME_DELETE, 0, NULL, 77, 23, "DELETE", ""},
        {MKV_VOLUME_PUT, 5, NULL, 0, 0, "PUT", "Content-Length: 5\r\n"},
        {MKV_VOLUME_PUT, -1, "Sun, 22 Nov 2026 10:00:00 GMT", 0, 0, "PUT",
         "Transfer-Encoding: chunked\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\n"},
    };
    struct fixture *f = *state;
    char name[80], expected[512];

    snprintf(name, sizeof(name), "localhost:%d/dir", f->fake.port);
    assert_int_equal(mkv_volumes_get(f->volumes, mkv_slice_of(name), &f->volume), MKV_OK);
    fake_start(&f->fake, script_note_request);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct mkv_exchange_options opt = {.volume = f->volume,
                                                 .method = rows[i].method,
                                                 .path = MKV_SLICE("/sv01/aa/bb/eA=="),
                                                 .body_length = rows[i].length,
                                                 .date = rows[i].date,
                                                 .range_from = rows[i].from,
                                                 .range_length = rows[i].range};
        struct trace t;

        trace_init(&t, f);
        t.act = send_everything;
        t.data = "hello";
        t.len = 5;
        INSIDE(f, assert_int_equal(mkv_exchange_start(&t.x, &opt, &trace_events, &t), MKV_OK));
        run_until(f, t.done);
        assert_int_equal(t.err, MKV_OK);
        assert_int_equal(t.status, rows[i].method == MKV_VOLUME_PUT ? 201 : 200);
        assert_int_equal(t.ready, rows[i].method == MKV_VOLUME_PUT);
        assert_int_equal(t.heads,
                         rows[i].method == MKV_VOLUME_GET || rows[i].method == MKV_VOLUME_HEAD);
        snprintf(expected, sizeof(expected),
                 "%s /dir/sv01/aa/bb/eA== HTTP/1.1\r\nHost: localhost:%d\r\n%s\r\n", rows[i].word,
                 f->fake.port, rows[i].headers);
        assert_string_equal(f->fake.request, expected);
        trace_clear(&t);
    }
}

static void test_bad_requests_are_not_begun(void **state)
{
    static const char *const paths[] = {"", "x", "/a b", "/a\r\nX: y", "/\x7f", "/\xc3\xa4"};
    struct fixture *f = *state;
    struct mkv_exchange_options opt = {.volume = f->volume, .method = MKV_VOLUME_HEAD};
    struct trace t;

    trace_init(&t, f);
    for (size_t i = 0; i < COUNT(paths); i++) {
        opt.path = mkv_slice_of(paths[i]);
        assert_int_equal(mkv_exchange_start(&t.x, &opt, &trace_events, &t), MKV_EINVAL);
    }
    opt.method = MKV_VOLUME_PUT;
    opt.path = MKV_SLICE("/a");
    opt.date = "yesterday\r\nX: y";
    assert_int_equal(mkv_exchange_start(&t.x, &opt, &trace_events, &t), MKV_EINVAL);
    opt.method = MKV_VOLUME_GET;
    opt.date = NULL;
    opt.range_from = 1;
    opt.range_length = UINT64_MAX;
    assert_int_equal(mkv_exchange_start(&t.x, &opt, &trace_events, &t), MKV_OK);
    mkv_exchange_cancel(t.x);
    opt.range_from = 2;
    assert_int_equal(mkv_exchange_start(&t.x, &opt, &trace_events, &t), MKV_EINVAL);
    assert_int_equal(stats_of(f).exchanges, 1);
    trace_clear(&t);
}

/* ---- answers ------------------------------------------------------------- */

static void script_answer(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, f->text);
    close(fd);
}

static void script_answer_byte_by_byte(struct fake *f)
{
    int fd = serve(f), yes = 1;

    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &yes, sizeof(yes));
    if (hear_head(f, fd))
        for (const char *p = f->text; *p; p++) {
            (void)!send(fd, p, 1, MSG_NOSIGNAL);
            if (p[0] == '\n') nap();
        }
    close(fd);
}

struct answer_row {
    enum mkv_exchange_method method;
    const char *answer;
    enum mkv_err err;
    int status;
    const char *body; /* or the reason of the failure */
};

static const struct answer_row answers[] = {
    {MKV_VOLUME_GET,    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",                   MKV_OK,      200, "hello"                             },
    {MKV_VOLUME_GET,    "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nhello",      MKV_OK,      206,
     "hello"                                                                                                                                         },
    {MKV_VOLUME_GET,    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",                        MKV_OK,      200, ""                                  },
    {MKV_VOLUME_GET,
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: "
     "v\r\n\r\n",                                                                              MKV_OK,      200, "hello"                             },
    {MKV_VOLUME_GET,    "HTTP/1.0 200 OK\r\n\r\nhello to the end",                             MKV_OK,      200, "hello to the end"                  },
    {MKV_VOLUME_GET,
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\nX: y\r\n\r\n"
     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",                                         MKV_OK,      200, "hi"                                },
    {MKV_VOLUME_GET,    "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",             MKV_OK,      404, ""                                  },
    {MKV_VOLUME_GET,    "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nno",               MKV_OK,      404, ""                                  },
    {MKV_VOLUME_GET,    "HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\nno",        MKV_OK,      404,
     ""                                                                                                                                              },
    {MKV_VOLUME_HEAD,   "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n",                   MKV_OK,      200, ""                                  },
    {MKV_VOLUME_HEAD,   "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n",        MKV_OK,      404,
     ""                                                                                                                                              },
    {MKV_VOLUME_DELETE, "HTTP/1.1 204 No Content\r\n\r\n",                                     MKV_OK,      204, ""                                  },
    {MKV_VOLUME_GET,    "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",                  MKV_EVOLUME, 0,
     "connection closed within the body"                                                                                                             },
    {MKV_VOLUME_GET,    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
     MKV_EVOLUME,                                                                                           0,   "connection closed within the body" },
    {MKV_VOLUME_GET,    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",        MKV_EVOLUME, 0,
     "malformed body: "                                                                                                                              },
    {MKV_VOLUME_GET,    "HTTP/1.1 200 OK\r\nContent-Le",                                       MKV_EVOLUME, 0,
     "connection closed within the head of the answer"                                                                                               },
    {MKV_VOLUME_GET,    "",                                                                    MKV_EVOLUME, 0,   "connection closed before an answer"},
    {MKV_VOLUME_HEAD,   "SSH-2.0-OpenSSH_9.2\r\n",                                             MKV_EVOLUME, 0,   "malformed answer: "                },
    {MKV_VOLUME_HEAD,   "HTTP/1.1 101 Switching\r\n\r\n",                                      MKV_EVOLUME, 0,   "it answers with 1xx"               },
};

static void check_answers(struct fixture *f, void (*script)(struct fake *))
{
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct answer_row *row = &answers[i];
        struct trace t;

        trace_init(&t, f);
        f->fake.text = row->answer;
        fake_start(&f->fake, script);
        ask(&t, row->method, "/x");
        if (t.err != row->err || t.status != row->status)
            fail_msg("row %zu: %d %d %s", i, t.err, t.status, t.why);
        evbuffer_add(t.body, "", 1);
        if (row->err)
            assert_memory_equal(t.why, row->body, strlen(row->body));
        else
            assert_string_equal((char *)evbuffer_pullup(t.body, -1), row->body);
        fake_join(&f->fake);
        trace_clear(&t);
    }
    assert_int_equal(stats_of(f).busy, 0);
}

static void test_answers(void **state)
{
    check_answers(*state, script_answer);
}

static void test_answers_byte_by_byte(void **state)
{
    check_answers(*state, script_answer_byte_by_byte);
}

/* Which answers leave a connection that may serve again. */
static void test_reuse(void **state)
{
    static const struct {
        enum mkv_exchange_method method;
        const char *answer;
        unsigned idle;
    } rows[] = {
        {MKV_VOLUME_GET,    ANSWER_200 "hello",                                                    1},
        {MKV_VOLUME_GET,    ANSWER_200 "hello!",                                                   0},
        {MKV_VOLUME_HEAD,   ANSWER_200,                                                            1},
        {MKV_VOLUME_HEAD,   ANSWER_200 "hello",                                                    0},
        {MKV_VOLUME_GET,    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", 0},
        {MKV_VOLUME_GET,    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",      1},
        {MKV_VOLUME_GET,    "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone",                    1},
        {MKV_VOLUME_GET,    "HTTP/1.1 404 No\r\nContent-Length: 400000\r\n\r\nnone",               0},
        {MKV_VOLUME_DELETE, "HTTP/1.1 204 No\r\n\r\n",                                             1},
        {MKV_VOLUME_DELETE, "HTTP/1.0 204 No\r\n\r\n",                                             0},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace t;

        trace_init(&t, f);
        f->fake.text = rows[i].answer;
        fake_start(&f->fake, script_answer);
        /* Looked at in the turn in which it ends: the server closes at once, and
         * the next turn would notice. */
        ask(&t, rows[i].method, "/x");
        assert_int_equal(t.err, MKV_OK);
        if (stats_of(f).idle != rows[i].idle) fail_msg("row %zu", i);
        fake_join(&f->fake);
        run_until(f, stats_of(f).idle == 0);
        trace_clear(&t);
    }
}

static void script_two_then_junk(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, ANSWER_201);
    wait_for_stage(f, 1);
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); /* nobody asked */
    atomic_store(&f->stage, 2);
    close(fd);
    fd = serve(f);
    if (hear_head(f, fd)) say(fd, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    close(fd);
}

/* Bytes that came unasked are not taken for the next answer. */
static void test_unasked_answer(void **state)
{
    struct fixture *f = *state;
    struct trace t, second;

    trace_init(&t, f);
    trace_init(&second, f);
    fake_start(&f->fake, script_two_then_junk);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(t.status, 201);
    assert_int_equal(stats_of(f).idle, 1);
    atomic_store(&f->fake.stage, 1);
    wait_for_stage(&f->fake, 2);
    ask(&second, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(second.status, 404);
    assert_int_equal(stats_of(f).connects, 2);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
    trace_clear(&t);
    trace_clear(&second);
}

/* ---- pause --------------------------------------------------------------- */

#define PIECES 200

static void script_many_chunks(struct fake *f)
{
    char text[PIECES * 16 + 200] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    size_t len = strlen(text);
    int fd = serve(f);

    for (int i = 0; i < PIECES; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "5\r\n%04d.\r\n", i);
    snprintf(text + len, sizeof(text) - len, "0\r\n\r\n");
    if (hear_head(f, fd)) say(fd, text);
    hear_head(f, fd);
    close(fd);
}

static void pause_at_each_piece(struct trace *t, const char *event)
{
    if (strcmp(event, "body") == 0) INSIDE(t->f, mkv_exchange_pause(t->x, true));
}

static void test_pause_holds_every_piece(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    t.act = pause_at_each_piece;
    fake_start(&f->fake, script_many_chunks);
    begin_exchange(&t, MKV_VOLUME_GET, "/x", 0);
    for (int i = 1; i <= PIECES; i++) {
        run_until(f, t.bodies == i);
        if (i % 50 == 0)
            for (int turn = 0; turn < 3; turn++)
                mkv_loop_turn(f->loop);
        assert_int_equal(t.bodies, i);
        INSIDE(f, mkv_exchange_pause(t.x, false));
        assert_int_equal(t.bodies, i);
        if (i == 7) { /* a change of mind */
            INSIDE(f, mkv_exchange_pause(t.x, true));
            mkv_loop_turn(f->loop);
            assert_int_equal(t.bodies, i);
            INSIDE(f, mkv_exchange_pause(t.x, false));
        }
    }
    run_until(f, t.done);
    assert_int_equal(t.err, MKV_OK);
    assert_int_equal(evbuffer_get_length(t.body), PIECES * 5);
    assert_memory_equal(evbuffer_pullup(t.body, -1), "0000.0001.0002.", 15);
    assert_int_equal(stats_of(f).idle, 1);
    trace_clear(&t);
}

#define LONG_BODY (24 * 1024 * 1024)

static void script_long_body(struct fake *f)
{
    static char zeros[65536];
    int fd = serve(f);

    if (hear_head(f, fd)) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 25165824\r\n\r\n");
        for (size_t sent = 0; sent < LONG_BODY; sent += sizeof(zeros))
            if (send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL) != sizeof(zeros)) break;
    }
    hear_head(f, fd);
    close(fd);
}

/* Paused for longer than the stall time, without reading: still no failure. */
static void test_pause_stops_reading(void **state)
{
    struct fixture *f = *state;
    struct trace t;
    uint64_t before;

    trace_init(&t, f);
    fake_start(&f->fake, script_long_body);
    begin_exchange(&t, MKV_VOLUME_GET, "/x", 0);
    run_until(f, t.bodies > 0);
    INSIDE(f, mkv_exchange_pause(t.x, true));
    before = stats_of(f).bytes_received;
    for (uint64_t end = test_now_ms() + 2 * QUICK_MS; test_now_ms() < end;)
        mkv_loop_turn(f->loop);
    assert_int_equal(stats_of(f).bytes_received, before);
    assert_false(t.done);
    INSIDE(f, mkv_exchange_pause(t.x, false));
    while (!t.done) {
        mkv_loop_turn(f->loop);
        assert_true(evbuffer_get_length(t.body) <= LONG_BODY);
    }
    if (t.err) fail_msg("%s", t.why);
    assert_int_equal(evbuffer_get_length(t.body), LONG_BODY);
    trace_clear(&t);
}

/* Paused before anything has come: the head is told, the body waits. */
static void test_pause_from_the_start(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    fake_start(&f->fake, script_long_body);
    begin_exchange(&t, MKV_VOLUME_GET, "/x", 0);
    INSIDE(f, mkv_exchange_pause(t.x, true));
    run_until(f, t.heads);
    for (uint64_t end = test_now_ms() + QUICK_MS; test_now_ms() < end;)
        mkv_loop_turn(f->loop);
    assert_int_equal(t.bodies, 0);
    assert_true(stats_of(f).bytes_received <= MKV_BLOCK_SIZE + 100); /* the head, one read */
    INSIDE(f, mkv_exchange_pause(t.x, false));
    run_until(f, t.done);
    assert_int_equal(t.err, MKV_OK);
    assert_int_equal(evbuffer_get_length(t.body), LONG_BODY);
    trace_clear(&t);
}

static void script_half_a_body(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    wait_for_stage(f, 1);
    close(fd);
}

static void test_body_stalls(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    fake_start(&f->fake, script_half_a_body);
    ask(&t, MKV_VOLUME_GET, "/x");
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_string_equal(t.why, "no progress for 300 ms");
    assert_int_equal(evbuffer_get_length(t.body), 5);
    atomic_store(&f->fake.stage, 1);
    trace_clear(&t);
}

/* ---- cancel, close ------------------------------------------------------- */

static void cancel_there(struct trace *t, const char *event)
{
    if (strcmp(event, t->cancel_at) != 0) return;
    INSIDE(t->f, mkv_exchange_cancel(t->x));
    t->x = NULL;
    t->done = 1;
}

static void test_cancel_inside_callbacks(void **state)
{
    static const struct {
        const char *event;
        enum mkv_exchange_method method;
        void (*script)(struct fake *);
    } rows[] = {
        {"ready", MKV_VOLUME_PUT,  script_swallow    },
        {"head",  MKV_VOLUME_HEAD, script_many_chunks},
        {"head",  MKV_VOLUME_GET,  script_many_chunks},
        {"body",  MKV_VOLUME_GET,  script_many_chunks},
        {"body",  MKV_VOLUME_GET,  script_long_body  },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace t;

        trace_init(&t, f);
        t.act = cancel_there;
        t.cancel_at = rows[i].event;
        fake_start(&f->fake, rows[i].script);
        begin_exchange(&t, rows[i].method, "/x", -1);
        run_until(f, t.done);
        for (int turn = 0; turn < 3; turn++)
            mkv_loop_turn(f->loop);
        assert_int_equal(stats_of(f).busy + stats_of(f).idle, 0);
        assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
        fake_join(&f->fake);
        trace_clear(&t);
    }
}

/* In one go: at once, connecting, waiting for its turn, waiting for an answer,
 * about to fail; and what is left when the client is closed. */
static void test_cancel_between_turns(void **state)
{
    struct fixture *f = *state;
    struct trace t[VOLUME_BRIEF_MAX + 8];
    size_t n = COUNT(t);

    for (size_t i = 0; i < n; i++)
        trace_init(&t[i], f);
    for (size_t i = 0; i < n; i++)
        begin_exchange(&t[i], MKV_VOLUME_HEAD, "/x", 0);
    mkv_exchange_cancel(t[n - 1].x); /* had not had its turn */
    mkv_exchange_cancel(t[0].x);     /* frees one            */
    for (int turn = 0; turn < 3; turn++)
        mkv_loop_turn(f->loop);
    mkv_exchange_cancel(t[1].x);
    mkv_exchange_cancel(t[n - 2].x);
    mkv_loop_turn(f->loop);

    begin_exchange(&t[0], MKV_VOLUME_PUT, "/x", 5); /* not brief: no turn to wait for */
    run_until(f, t[0].ready);
    send_text(&t[0], "too long");
    mkv_exchange_cancel(t[0].x);
    begin_exchange(&t[1], MKV_VOLUME_PUT, "/x", 5);
    for (int turn = 0; turn < 3; turn++)
        mkv_loop_turn(f->loop);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(t[i].done, 0);
    mkv_volumes_close(f->volumes);
    f->volumes = NULL;
    for (int turn = 0; turn < 3; turn++)
        mkv_loop_turn(f->loop);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(t[i].done, 0);
        trace_clear(&t[i]);
    }
}

/* ---- many ---------------------------------------------------------------- */

static void test_one_connection_serves_5000(void **state)
{
    struct fixture *f = *state;

    fake_start(&f->fake, script_always_201);
    for (int i = 0; i < 5000; i++) {
        struct trace t;

        trace_init(&t, f);
        ask(&t, i % 2 ? MKV_VOLUME_HEAD : MKV_VOLUME_DELETE, "/x");
        assert_int_equal(t.status, 201);
        trace_clear(&t);
    }
    assert_int_equal(stats_of(f).connects, 1);
    assert_int_equal(stats_of(f).exchanges, 5000);
    assert_int_equal(stats_of(f).failures, 0);
}

int main(void)
{
#define WITH(test)       cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITH_QUICK(test) cmocka_unit_test_setup_teardown(test, set_up_quick, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_requests_on_the_wire),
        WITH(test_bad_requests_are_not_begun),
        WITH(test_answers),
        WITH(test_answers_byte_by_byte),
        WITH(test_reuse),
        WITH(test_unasked_answer),
        WITH(test_pause_holds_every_piece),
        WITH_QUICK(test_pause_stops_reading),
        WITH(test_pause_from_the_start),
        WITH_QUICK(test_body_stalls),
        WITH(test_cancel_inside_callbacks),
        WITH(test_cancel_between_turns),
        WITH(test_one_connection_serves_5000),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
