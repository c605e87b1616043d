/* The volume client against a server that says what each test wants. */
#include "volume_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#define QUICK_MS 300 /* -voltimeout and stall where a test waits for them */

static int set_up_with(void **state, uint64_t timeout_ms, uint64_t stall_ms)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(fake_listen(&f->fake, AF_INET, 200), 0);
    fixture_open(f, timeout_ms, stall_ms);
    fixture_use(f, "localhost", f->fake.port);
    *state = f;
    return 0;
}

/* Patient: no deadline fires, however busy the machine. */
static int set_up(void **state)
{
    return set_up_with(state, PATIENCE_MS, PATIENCE_MS);
}

static int set_up_quick(void **state)
{
    return set_up_with(state, QUICK_MS, QUICK_MS);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    fixture_close(f);
    atomic_store(&f->fake.stage, 1000);
    if (f->fake.listener >= 0) shutdown(f->fake.listener, SHUT_RDWR);
    fake_join(&f->fake);
    if (f->fake.listener >= 0) close(f->fake.listener);
    free(f);
    return 0;
}

/* ---- names --------------------------------------------------------------- */

static void test_names(void **state)
{
    static const struct {
        const char *name;
        enum mkv_err err;
    } rows[] = {
        {"localhost:3001", MKV_OK},    {"localhost", MKV_OK},      {"a.b-c_d:1", MKV_OK},
        {"127.0.0.1:65535", MKV_OK},   {"[::1]:3001", MKV_OK},     {"[::1]", MKV_OK},
        {"host:80/dir", MKV_OK},       {"host/dir/sub/", MKV_OK},  {"[fe80::1]:1/d", MKV_OK},
        {"", MKV_EINVAL},              {":3001", MKV_EINVAL},      {"host:", MKV_EINVAL},
        {"host:0", MKV_EINVAL},        {"host:65536", MKV_EINVAL}, {"host:1x", MKV_EINVAL},
        {"ho st:1", MKV_EINVAL},       {"host:1/a b", MKV_EINVAL}, {"host:1/a?b", MKV_EINVAL},
        {"host:1/a\r\nb", MKV_EINVAL}, {"::1:3001", MKV_EINVAL},   {"[::1:3001", MKV_EINVAL},
        {"[host]:1", MKV_EINVAL},      {"[1.2.3.4]", MKV_EINVAL},  {"[]:1", MKV_EINVAL},
        {"http://host:1", MKV_EINVAL}, {"[::1]x:1", MKV_EINVAL},   {"u@host:1", MKV_EINVAL},
    };
    struct fixture *f = *state;
    struct mkv_volume *v, *again;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_slice name = mkv_slice_of(rows[i].name);

        if (mkv_volumes_get(f->volumes, name, &v) != rows[i].err) fail_msg("%s", rows[i].name);
        if (rows[i].err) continue;
        assert_true(mkv_slice_eq(mkv_volume_name(v), name));
        assert_int_equal(mkv_volumes_get(f->volumes, name, &again), MKV_OK);
        assert_ptr_equal(v, again);
        assert_int_equal(mkv_volume_state(v), MKV_VOLUME_UP);
    }
}

static void test_every_volume_is_listed(void **state)
{
    struct fixture *f = *state;
    struct mkv_volume *v = NULL;
    int n = 0;

    fixture_use(f, "b", 1);
    fixture_use(f, "a", 2);
    while ((v = mkv_volumes_next(f->volumes, v))) n++;
    assert_int_equal(n, 3);
}

/* ---- what goes out ------------------------------------------------------- */

static void script_note_request(struct fake *f)
{
    int fd = serve(f);

    while (hear_head(f, fd)) {
        bool is_put = memcmp(f->request, "PUT", 3) == 0;

        if (is_put) hear_body(f, fd, strstr(f->request, "chunked") ? strlen("5\r\nhello\r\n0\r\n\r\n") : 5);
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
        uint64_t from;
        const char *expected; /* %d: the port */
    } rows[] = {
        {MKV_VOLUME_HEAD, 0, NULL, 0, "HEAD /dir/sv01/aa/bb/eA== HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"},
        {MKV_VOLUME_GET, 0, NULL, 0, "GET /dir/sv01/aa/bb/eA== HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"},
        {MKV_VOLUME_GET, 0, NULL, 77, "GET /dir/sv01/aa/bb/eA== HTTP/1.1\r\nHost: localhost:%d\r\n"
                                      "Range: bytes=77-\r\n\r\n"},
        {MKV_VOLUME_DELETE, 0, NULL, 0, "DELETE /dir/sv01/aa/bb/eA== HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"},
        {MKV_VOLUME_PUT, 5, NULL, 0, "PUT /dir/sv01/aa/bb/eA== HTTP/1.1\r\nHost: localhost:%d\r\n"
                                     "Content-Length: 5\r\n\r\n"},
        {MKV_VOLUME_PUT, -1, "Sun, 22 Nov 2026 10:00:00 GMT", 0,
         "PUT /dir/sv01/aa/bb/eA== HTTP/1.1\r\nHost: localhost:%d\r\nTransfer-Encoding: chunked\r\n"
         "Date: Sun, 22 Nov 2026 10:00:00 GMT\r\n\r\n"},
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
                                                 .range_from = rows[i].from};
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
        assert_int_equal(t.heads, rows[i].method == MKV_VOLUME_GET || rows[i].method == MKV_VOLUME_HEAD);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(expected, sizeof(expected), rows[i].expected, f->fake.port);
#pragma GCC diagnostic pop
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
    assert_int_equal(stats_of(f).exchanges, 0);
    trace_clear(&t);
}

/* ---- answers ------------------------------------------------------------- */

static const char *answer_text; /* set before the thread starts */

static void script_answer(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, answer_text);
    close(fd);
}

static void script_answer_byte_by_byte(struct fake *f)
{
    int fd = serve(f), yes = 1;

    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &yes, sizeof(yes));
    if (hear_head(f, fd))
        for (const char *p = answer_text; *p; p++) {
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
    {MKV_VOLUME_GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", MKV_OK, 200, "hello"},
    {MKV_VOLUME_GET, "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nhello", MKV_OK, 206,
     "hello"},
    {MKV_VOLUME_GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", MKV_OK, 200, ""},
    {MKV_VOLUME_GET,
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: v\r\n\r\n",
     MKV_OK, 200, "hello"},
    {MKV_VOLUME_GET, "HTTP/1.0 200 OK\r\n\r\nhello to the end", MKV_OK, 200, "hello to the end"},
    {MKV_VOLUME_GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\nX: y\r\n\r\n"
                     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
     MKV_OK, 200, "hi"},
    {MKV_VOLUME_GET, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", MKV_OK, 404, ""},
    {MKV_VOLUME_GET, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nno", MKV_OK, 404, ""},
    {MKV_VOLUME_GET, "HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\nno", MKV_OK, 404, ""},
    {MKV_VOLUME_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n", MKV_OK, 200, ""},
    {MKV_VOLUME_HEAD, "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", MKV_OK, 404, ""},
    {MKV_VOLUME_DELETE, "HTTP/1.1 204 No Content\r\n\r\n", MKV_OK, 204, ""},
    {MKV_VOLUME_GET, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", MKV_EVOLUME, 0,
     "connection closed within the body"},
    {MKV_VOLUME_GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", MKV_EVOLUME,
     0, "connection closed within the body"},
    {MKV_VOLUME_GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", MKV_EVOLUME, 0,
     "malformed body: "},
    {MKV_VOLUME_GET, "HTTP/1.1 200 OK\r\nContent-Le", MKV_EVOLUME, 0,
     "connection closed within the head of the answer"},
    {MKV_VOLUME_GET, "", MKV_EVOLUME, 0, "connection closed before an answer"},
    {MKV_VOLUME_HEAD, "SSH-2.0-OpenSSH_9.2\r\n", MKV_EVOLUME, 0, "malformed answer: "},
    {MKV_VOLUME_HEAD, "HTTP/1.1 101 Switching\r\n\r\n", MKV_EVOLUME, 0, "it answers with 1xx"},
};

static void check_answers(struct fixture *f, void (*script)(struct fake *))
{
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct answer_row *row = &answers[i];
        struct trace t;

        trace_init(&t, f);
        answer_text = row->answer;
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
        {MKV_VOLUME_GET, ANSWER_200 "hello", 1},
        {MKV_VOLUME_GET, ANSWER_200 "hello!", 0},
        {MKV_VOLUME_HEAD, ANSWER_200, 1},
        {MKV_VOLUME_HEAD, ANSWER_200 "hello", 0},
        {MKV_VOLUME_GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", 0},
        {MKV_VOLUME_GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1},
        {MKV_VOLUME_GET, "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone", 1},
        {MKV_VOLUME_GET, "HTTP/1.1 404 No\r\nContent-Length: 400000\r\n\r\nnone", 0},
        {MKV_VOLUME_DELETE, "HTTP/1.1 204 No\r\n\r\n", 1},
        {MKV_VOLUME_DELETE, "HTTP/1.0 204 No\r\n\r\n", 0},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace t;

        trace_init(&t, f);
        answer_text = rows[i].answer;
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

/* ---- failures and states ------------------------------------------------- */

static void script_always_201(struct fake *f)
{
    int fd;

    while ((fd = serve(f)) >= 0) {
        while (hear_head(f, fd)) say(fd, ANSWER_201);
        close(fd);
    }
}

static void test_refused_then_back(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    close(f->fake.listener);
    f->fake.listener = -1;
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_string_equal(t.why, "connection refused");
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    assert_string_equal(stats_of(f).last_error, "connection refused");
    assert_int_equal(stats_of(f).failures, 1);

    /* A probe fails, and a later one finds it back. */
    run_until(f, stats_of(f).failures >= 2);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    assert_int_equal(fake_listen(&f->fake, AF_INET, 200), 0);
    fake_start(&f->fake, script_always_201);
    run_until(f, mkv_volume_state(f->volume) == MKV_VOLUME_UP);
    assert_memory_equal(f->fake.request, "HEAD / HTTP/1.1\r\n", 17);
    trace_clear(&t);
}

/* Down, but asked all the same: an answer brings it back at once. */
static void test_an_answer_brings_it_back(void **state)
{
    struct fixture *f = *state;
    struct trace t, second;

    trace_init(&t, f);
    trace_init(&second, f);
    close(f->fake.listener);
    f->fake.listener = -1;
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    assert_int_equal(fake_listen(&f->fake, AF_INET, 200), 0);
    fake_start(&f->fake, script_always_201);
    ask(&second, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(second.status, 201);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
    trace_clear(&t);
    trace_clear(&second);
}

/* Accepts (the kernel does) and never answers. */
static void test_hanging(void **state)
{
    struct fixture *f = *state;

    for (int i = 1; i <= VOLUME_DOWN_AFTER; i++) {
        struct trace t;
        uint64_t began = test_now_ms();

        trace_init(&t, f);
        ask(&t, i == 2 ? MKV_VOLUME_GET : MKV_VOLUME_HEAD, "/x");
        assert_int_equal(t.err, MKV_EVOLUME);
        assert_string_equal(t.why, "no answer within 300 ms");
        assert_true(test_now_ms() - began >= QUICK_MS - 1);
        assert_true(mkv_volume_state(f->volume) != MKV_VOLUME_UP);
        trace_clear(&t);
    }
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    run_until(f, stats_of(f).busy + stats_of(f).idle == 0); /* a probe may be under way */
}

static void test_hanging_put_and_delete(void **state)
{
    struct fixture *f = *state;
    struct trace t, second, third;

    trace_init(&t, f);
    trace_init(&second, f);
    trace_init(&third, f);
    put(&t, "/x", "hello", false);
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_string_equal(t.why, "no progress for 300 ms");
    assert_true(t.sent_all);
    ask(&second, MKV_VOLUME_DELETE, "/x");
    assert_string_equal(second.why, "no progress for 300 ms");

    /* A client that does not send is not the volume's fault. */
    begin_exchange(&third, MKV_VOLUME_PUT, "/x", 100);
    run_until(f, third.ready);
    for (uint64_t end = test_now_ms() + 2 * QUICK_MS; test_now_ms() < end;) mkv_loop_turn(f->loop);
    assert_false(third.done);
    assert_false(mkv_exchange_sent_all(third.x));
    mkv_exchange_cancel(third.x);
    trace_clear(&t);
    trace_clear(&second);
    trace_clear(&third);
}

/* A listener whose queue is full: the kernel drops what else comes. */
static void test_no_connection_in_time(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fds[8];
    struct trace t;

    assert_int_equal(listen(f->fake.listener, 0), 0);
    a.sin_port = htons((uint16_t)f->fake.port);
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&a, sizeof(a));
    }
    trace_init(&t, f);
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_string_equal(t.why, "no connection within 300 ms");
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_SUSPECT);
    for (size_t i = 0; i < COUNT(fds); i++) close(fds[i]);
    trace_clear(&t);
}

static void test_unknown_host(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    fixture_use(f, "no-such-host.invalid", 80);
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_true(t.why[0] != '\0');
    assert_true(mkv_volume_state(f->volume) != MKV_VOLUME_UP);
    trace_clear(&t);
}

static void script_500_then_200(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops");
    if (hear_head(f, fd)) say(fd, "HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n");
    if (hear_head(f, fd)) say(fd, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    hear_head(f, fd);
    close(fd);
}

static void test_5xx_makes_suspect(void **state)
{
    static const struct {
        int status;
        enum mkv_volume_state expected;
    } rows[] = {{500, MKV_VOLUME_SUSPECT}, {507, MKV_VOLUME_SUSPECT}, {404, MKV_VOLUME_UP}};
    struct fixture *f = *state;

    fake_start(&f->fake, script_500_then_200);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace t;

        trace_init(&t, f);
        ask(&t, MKV_VOLUME_GET, "/x");
        assert_int_equal(t.err, MKV_OK);
        assert_int_equal(t.status, rows[i].status);
        assert_int_equal(mkv_volume_state(f->volume), rows[i].expected);
        trace_clear(&t);
    }
    assert_int_equal(stats_of(f).connects, 1);
}

/* ---- the silent retry ---------------------------------------------------- */

static void script_close_idle(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, ANSWER_201);
    wait_for_stage(f, 1);
    close(fd);
    atomic_store(&f->stage, 2);
    fd = serve(f);
    while (hear_head(f, fd)) {
        const char *length = strstr(f->request, "Content-Length: ");

        if (length) hear_body(f, fd, strtoul(length + 16, NULL, 10));
        say(fd, ANSWER_201);
    }
    close(fd);
}

/* Reads the second request whole, and closes without a word. */
static void script_close_after_request(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, ANSWER_201);
    if (hear_head(f, fd)) {
        const char *length = strstr(f->request, "Content-Length: ");

        if (length) hear_body(f, fd, strtoul(length + 16, NULL, 10));
    }
    f->body_len = 0;
    close(fd);
    fd = serve(f);
    while (hear_head(f, fd)) {
        const char *length = strstr(f->request, "Content-Length: ");

        if (length) hear_body(f, fd, strtoul(length + 16, NULL, 10));
        if (strstr(f->request, "chunked")) hear_body(f, fd, strlen("5\r\nhello\r\n0\r\n\r\n"));
        say(fd, ANSWER_201);
    }
    close(fd);
}

static void retry_with(struct fixture *f, void (*script)(struct fake *),
                       enum mkv_exchange_method method, const char *body, bool chunked)
{
    struct trace t, second;

    trace_init(&t, f);
    trace_init(&second, f);
    f->fake.body_len = 0;
    fake_start(&f->fake, script);
    ask(&t, MKV_VOLUME_DELETE, "/first");
    assert_int_equal(t.status, 201);
    assert_int_equal(stats_of(f).idle, 1);
    if (script == script_close_idle) {
        atomic_store(&f->fake.stage, 1);
        wait_for_stage(&f->fake, 2);
    }
    if (method == MKV_VOLUME_PUT)
        put(&second, "/second", body, chunked);
    else
        ask(&second, method, "/second");
    assert_int_equal(second.err, MKV_OK);
    assert_int_equal(second.status, 201);
    assert_true(second.ready <= 1);
    assert_int_equal(stats_of(f).retries, 1);
    assert_int_equal(stats_of(f).connects, 2);
    assert_int_equal(stats_of(f).failures, 0);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
    assert_non_null(strstr(f->fake.request, " /second HTTP/1.1\r\n"));
    if (body && !chunked) assert_int_equal(f->fake.body_len, strlen(body));
    trace_clear(&t);
    trace_clear(&second);
}

static void test_retry_head_closed_before(void **state)
{
    retry_with(*state, script_close_idle, MKV_VOLUME_HEAD, NULL, false);
}

static void test_retry_head_closed_after(void **state)
{
    retry_with(*state, script_close_after_request, MKV_VOLUME_HEAD, NULL, false);
}

static void test_retry_put_closed_before(void **state)
{
    retry_with(*state, script_close_idle, MKV_VOLUME_PUT, "hello", false);
}

static void test_retry_put_closed_after(void **state)
{
    retry_with(*state, script_close_after_request, MKV_VOLUME_PUT, "hello", false);
}

static void test_retry_chunked_put(void **state)
{
    retry_with(*state, script_close_after_request, MKV_VOLUME_PUT, "hello", true);
}

static void test_retry_put_of_60_kb(void **state)
{
    char *body = malloc(60001);

    assert_non_null(body);
    memset(body, 'x', 60000);
    body[60000] = '\0';
    retry_with(*state, script_close_after_request, MKV_VOLUME_PUT, body, false);
    free(body);
}

/* What is no longer kept can not be sent again: a failure, as it is. */
static void test_no_retry_of_a_long_put(void **state)
{
    struct fixture *f = *state;
    struct trace t, second;
    char *body = malloc(100001);

    assert_non_null(body);
    memset(body, 'x', 100000);
    body[100000] = '\0';
    trace_init(&t, f);
    trace_init(&second, f);
    fake_start(&f->fake, script_close_after_request);
    ask(&t, MKV_VOLUME_DELETE, "/first");
    put(&second, "/second", body, false);
    assert_int_equal(second.err, MKV_EVOLUME);
    assert_true(second.sent_all);
    assert_int_equal(stats_of(f).retries, 0);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_SUSPECT);
    free(body);
    trace_clear(&t);
    trace_clear(&second);
    shutdown(f->fake.listener, SHUT_RDWR);
}

/* A fresh connection that fails is a failure, also after a retry. */
static void script_close_twice(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, ANSWER_201);
    hear_head(f, fd);
    close(fd);
    fd = serve(f);
    hear_head(f, fd);
    close(fd);
}

static void test_retry_only_once(void **state)
{
    struct fixture *f = *state;
    struct trace t, second;

    trace_init(&t, f);
    trace_init(&second, f);
    fake_start(&f->fake, script_close_twice);
    ask(&t, MKV_VOLUME_DELETE, "/first");
    ask(&second, MKV_VOLUME_HEAD, "/second");
    assert_int_equal(second.err, MKV_EVOLUME);
    assert_string_equal(second.why, "connection closed before an answer");
    assert_int_equal(stats_of(f).retries, 1);
    assert_int_equal(stats_of(f).failures, 1);
    trace_clear(&t);
    trace_clear(&second);
}

/* ---- PUT ----------------------------------------------------------------- */

static void script_answer_early(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 9\r\n\r\n");
    atomic_store(&f->stage, 1);
    wait_for_stage(f, 2);
    close(fd);
}

static void test_early_answer(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    fake_start(&f->fake, script_answer_early);
    begin_exchange(&t, MKV_VOLUME_PUT, "/x", 1000000);
    run_until(f, t.ready);
    send_text(&t, "hello");
    run_until(f, t.done);
    assert_int_equal(t.err, MKV_OK);
    assert_int_equal(t.status, 507);
    assert_false(t.sent_all);
    assert_int_equal(stats_of(f).idle + stats_of(f).busy, 0);
    atomic_store(&f->fake.stage, 2);
    trace_clear(&t);
}

/* Answers, and closes with the body unread: what we write meets a reset. */
static void script_answer_and_reset(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    wait_for_stage(f, 1);
    close(fd);
    atomic_store(&f->stage, 2);
}

static void test_answer_before_a_reset_counts(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    fake_start(&f->fake, script_answer_and_reset);
    begin_exchange(&t, MKV_VOLUME_PUT, "/x", 1000000);
    run_until(f, t.ready);
    send_text(&t, "unread");
    mkv_loop_turn(f->loop);
    atomic_store(&f->fake.stage, 1);
    wait_for_stage(&f->fake, 2);
    if (!t.done) send_text(&t, "more");
    run_until(f, t.done);
    assert_int_equal(t.err, MKV_OK);
    assert_int_equal(t.status, 413);
    trace_clear(&t);
}

#define SLOW_PIECE (256 * 1024)
#define SLOW_PIECES 64 /* 16 MB: more than the kernel's buffers take */

static void script_slow_reader(struct fake *f)
{
    int fd = serve(f);

    hear_head(f, fd);
    wait_for_stage(f, 1);
    hear_body(f, fd, (size_t)SLOW_PIECE * SLOW_PIECES);
    say(fd, ANSWER_201);
    hear_head(f, fd);
    close(fd);
}

static void test_slow_reader(void **state)
{
    struct fixture *f = *state;
    struct trace t;
    uint8_t *piece = calloc(1, SLOW_PIECE);
    size_t unsent;
    int given = 0;

    assert_non_null(piece);
    trace_init(&t, f);
    fake_start(&f->fake, script_slow_reader);
    begin_exchange(&t, MKV_VOLUME_PUT, "/x", (int64_t)SLOW_PIECE * SLOW_PIECES);
    run_until(f, t.ready);
    while (given < SLOW_PIECES && mkv_exchange_unsent(t.x) < 2 * MKV_SEND_LOW) {
        size_t before = mkv_exchange_unsent(t.x);

        INSIDE(f, mkv_exchange_send(t.x, (struct mkv_bytes){piece, SLOW_PIECE, NULL}));
        assert_int_equal(mkv_exchange_unsent(t.x), before + SLOW_PIECE);
        given++;
        for (int i = 0; i < 3; i++) mkv_loop_turn(f->loop);
    }
    unsent = mkv_exchange_unsent(t.x);
    for (int i = 0; i < 5; i++) mkv_loop_turn(f->loop);
    assert_int_equal(mkv_exchange_unsent(t.x), unsent); /* and nothing grows by itself */
    assert_int_equal(t.drained, 0);
    assert_true(given < SLOW_PIECES);

    atomic_store(&f->fake.stage, 1);
    run_until(f, t.drained);
    while (given < SLOW_PIECES) {
        INSIDE(f, mkv_exchange_send(t.x, (struct mkv_bytes){piece, SLOW_PIECE, NULL}));
        if (++given < SLOW_PIECES) run_until(f, mkv_exchange_unsent(t.x) < MKV_SEND_LOW);
    }
    assert_false(mkv_exchange_sent_all(t.x));
    INSIDE(f, mkv_exchange_send_end(t.x));
    run_until(f, t.done);
    assert_int_equal(t.err, MKV_OK);
    assert_int_equal(t.status, 201);
    assert_true(t.sent_all);
    assert_int_equal(f->fake.body_len, (size_t)SLOW_PIECE * SLOW_PIECES);
    assert_int_equal(stats_of(f).idle, 1);
    assert_true(stats_of(f).bytes_sent > (size_t)SLOW_PIECE * SLOW_PIECES);
    free(piece);
    trace_clear(&t);
}

static void script_swallow(struct fake *f)
{
    int fd = serve(f);

    hear_head(f, fd);
    hear_body(f, fd, SIZE_MAX);
    close(fd);
}

static void test_body_of_the_wrong_length(void **state)
{
    struct fixture *f = *state;

    for (int longer = 0; longer < 2; longer++) {
        struct trace t;

        trace_init(&t, f);
        fake_start(&f->fake, script_swallow);
        begin_exchange(&t, MKV_VOLUME_PUT, "/x", 5);
        run_until(f, t.ready);
        send_text(&t, "hell");
        if (longer)
            send_text(&t, "ow");
        else
            INSIDE(f, mkv_exchange_send_end(t.x));
        run_until(f, t.done);
        assert_int_equal(t.err, MKV_EVOLUME);
        assert_non_null(strstr(t.why, longer ? "longer" : "shorter"));
        assert_false(t.sent_all);
        assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
        fake_join(&f->fake);
        trace_clear(&t);
    }
}

/* ---- pause --------------------------------------------------------------- */

#define PIECES 200

static void script_many_chunks(struct fake *f)
{
    char text[PIECES * 16 + 200] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
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
            for (int turn = 0; turn < 3; turn++) mkv_loop_turn(f->loop);
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
    for (uint64_t end = test_now_ms() + 2 * QUICK_MS; test_now_ms() < end;) mkv_loop_turn(f->loop);
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

static const char *cancel_at;

static void cancel_there(struct trace *t, const char *event)
{
    if (strcmp(event, cancel_at) != 0) return;
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
        {"ready", MKV_VOLUME_PUT, script_swallow},
        {"head", MKV_VOLUME_HEAD, script_many_chunks},
        {"head", MKV_VOLUME_GET, script_many_chunks},
        {"body", MKV_VOLUME_GET, script_many_chunks},
        {"body", MKV_VOLUME_GET, script_long_body},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace t;

        trace_init(&t, f);
        t.act = cancel_there;
        cancel_at = rows[i].event;
        fake_start(&f->fake, rows[i].script);
        begin_exchange(&t, rows[i].method, "/x", -1);
        run_until(f, t.done);
        for (int turn = 0; turn < 3; turn++) mkv_loop_turn(f->loop);
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

    for (size_t i = 0; i < n; i++) trace_init(&t[i], f);
    for (size_t i = 0; i < n; i++) begin_exchange(&t[i], MKV_VOLUME_HEAD, "/x", 0);
    mkv_exchange_cancel(t[n - 1].x); /* had not had its turn */
    mkv_exchange_cancel(t[0].x);     /* frees one            */
    for (int turn = 0; turn < 3; turn++) mkv_loop_turn(f->loop);
    mkv_exchange_cancel(t[1].x);
    mkv_exchange_cancel(t[n - 2].x);
    mkv_loop_turn(f->loop);

    begin_exchange(&t[0], MKV_VOLUME_PUT, "/x", 5); /* not brief: no turn to wait for */
    run_until(f, t[0].ready);
    send_text(&t[0], "too long");
    mkv_exchange_cancel(t[0].x);
    begin_exchange(&t[1], MKV_VOLUME_PUT, "/x", 5);
    for (int turn = 0; turn < 3; turn++) mkv_loop_turn(f->loop);
    for (size_t i = 0; i < n; i++) assert_int_equal(t[i].done, 0);
    mkv_volumes_close(f->volumes);
    f->volumes = NULL;
    for (int turn = 0; turn < 3; turn++) mkv_loop_turn(f->loop);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(t[i].done, 0);
        trace_clear(&t[i]);
    }
}

/* ---- descriptors --------------------------------------------------------- */

/* Takes descriptors until there are none; returns how many. */
static size_t exhaust(int *fds, size_t max)
{
    size_t n = 0;

    while (n < max && (fds[n] = dup(0)) >= 0) n++;
    return n;
}

/* Keeps its descriptor when the other end closes. */
static void script_one_connection(struct fake *f)
{
    int fd = serve(f);

    while (hear_head(f, fd)) say(fd, ANSWER_201);
    wait_for_stage(f, 1);
    close(fd);
}

static void test_no_descriptors(void **state)
{
    struct fixture *f = *state;
    struct mkv_volume *first = f->volume;
    struct mkv_volume_stats stats;
    struct rlimit before, few;
    struct trace t, second, third;
    int fds[256];
    size_t n;

    trace_init(&t, f);
    trace_init(&second, f);
    trace_init(&third, f);
    fake_start(&f->fake, script_one_connection);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(stats_of(f).idle, 1);

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 200;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    n = exhaust(fds, COUNT(fds));

    /* Another volume gets the descriptor of the first one's idle connection. */
    fixture_use(f, "127.0.0.1", f->fake.port);
    begin_exchange(&second, MKV_VOLUME_PUT, "/x", 5);
    run_until(f, second.ready);
    mkv_volume_stats(first, &stats);
    assert_int_equal(stats.idle, 0);
    assert_int_equal(stats_of(f).connects, 1);

    /* Now there is nothing to give up. */
    begin_exchange(&third, MKV_VOLUME_HEAD, "/x", 0);
    run_until(f, third.done);
    assert_int_equal(third.err, MKV_EVOLUME);
    assert_non_null(strstr(third.why, "descriptors"));
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
    mkv_exchange_cancel(second.x);

    atomic_store(&f->fake.stage, 1);
    while (n) close(fds[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    trace_clear(&t);
    trace_clear(&second);
    trace_clear(&third);
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

static void test_ipv6(void **state)
{
    struct fixture *f = *state;
    struct fake six = {.port = 0};
    struct trace t;

    if (fake_listen(&six, AF_INET6, 4)) skip(); /* a machine without IPv6 */
    trace_init(&t, f);
    fake_start(&six, script_always_201);
    fixture_use(f, "[::1]", six.port);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(t.status, 201);
    trace_clear(&t);
    mkv_volumes_close(f->volumes);
    f->volumes = NULL;
    shutdown(six.listener, SHUT_RDWR);
    fake_join(&six);
    close(six.listener);
}

int main(void)
{
#define WITH(test)       cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITH_QUICK(test) cmocka_unit_test_setup_teardown(test, set_up_quick, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_names),
        WITH(test_every_volume_is_listed),
        WITH(test_requests_on_the_wire),
        WITH(test_bad_requests_are_not_begun),
        WITH(test_answers),
        WITH(test_answers_byte_by_byte),
        WITH(test_reuse),
        WITH(test_unasked_answer),
        WITH(test_refused_then_back),
        WITH(test_an_answer_brings_it_back),
        WITH_QUICK(test_hanging),
        WITH_QUICK(test_hanging_put_and_delete),
        WITH_QUICK(test_no_connection_in_time),
        WITH(test_unknown_host),
        WITH(test_5xx_makes_suspect),
        WITH(test_retry_head_closed_before),
        WITH(test_retry_head_closed_after),
        WITH(test_retry_put_closed_before),
        WITH(test_retry_put_closed_after),
        WITH(test_retry_chunked_put),
        WITH(test_retry_put_of_60_kb),
        WITH(test_no_retry_of_a_long_put),
        WITH(test_retry_only_once),
        WITH(test_early_answer),
        WITH(test_answer_before_a_reset_counts),
        WITH(test_slow_reader),
        WITH(test_body_of_the_wrong_length),
        WITH(test_pause_holds_every_piece),
        WITH_QUICK(test_pause_stops_reading),
        WITH_QUICK(test_body_stalls),
        WITH(test_cancel_inside_callbacks),
        WITH(test_cancel_between_turns),
        WITH(test_no_descriptors),
        WITH(test_one_connection_serves_5000),
        WITH(test_ipv6),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
