/* One exchange with a volume: PUT, and the silent retry. */
#include "volume_fixture.h"

#include "net/volume_internal.h"

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

static void script_praise_early(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, ANSWER_201);
    wait_for_stage(f, 1);
    close(fd);
}

/* 201 for a body that it can not have: not to be believed. */
static void test_early_success_is_a_failure(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    fake_start(&f->fake, script_praise_early);
    begin_exchange(&t, MKV_VOLUME_PUT, "/x", 1000000);
    run_until(f, t.done);
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_non_null(strstr(t.why, "before it has the whole body"));
    assert_int_equal(stats_of(f).idle + stats_of(f).busy, 0);
    atomic_store(&f->fake.stage, 1);
    trace_clear(&t);
}

/* Answers, and closes with the body unread: what we write meets a reset. */
static void script_answer_and_reset(struct fake *f)
{
    int fd = serve(f);

    hear_head(f, fd);
    wait_for_stage(f, 1);
    say(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    close(fd);
    atomic_store(&f->stage, 2);
}

/* Also where writing fails before anybody has looked for an answer. */
static void test_answer_before_a_reset_counts(void **state)
{
    struct fixture *f = *state;

    for (int write_first = 0; write_first < 2; write_first++) {
        struct trace t;

        trace_init(&t, f);
        fake_start(&f->fake, script_answer_and_reset);
        begin_exchange(&t, MKV_VOLUME_PUT, "/x", 1000000);
        run_until(f, t.ready);
        send_text(&t, "unread");
        mkv_loop_turn(f->loop);
        atomic_store(&f->fake.stage, 1);
        wait_for_stage(&f->fake, 2);
        send_text(&t, "more");
        if (write_first) {
            struct mkv_chore *flush = &t.x->connection->stream.flush;

            flush->run(flush->arg);
            assert_int_equal(t.done, 1);
        }
        run_until(f, t.done);
        assert_int_equal(t.err, MKV_OK);
        assert_int_equal(t.status, 413);
        fake_join(&f->fake);
        trace_clear(&t);
    }
}

#define SLOW_PIECE  (256 * 1024)
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
        for (int i = 0; i < 3; i++)
            mkv_loop_turn(f->loop);
    }
    unsent = mkv_exchange_unsent(t.x);
    for (int i = 0; i < 5; i++)
        mkv_loop_turn(f->loop);
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

int main(void)
{
#define WITH(test)       cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITH_QUICK(test) cmocka_unit_test_setup_teardown(test, set_up_quick, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_retry_head_closed_before),
        WITH(test_retry_head_closed_after),
        WITH(test_retry_put_closed_before),
        WITH(test_retry_put_closed_after),
        WITH(test_retry_chunked_put),
        WITH(test_retry_put_of_60_kb),
        WITH(test_no_retry_of_a_long_put),
        WITH(test_retry_only_once),
        WITH(test_early_answer),
        WITH(test_early_success_is_a_failure),
        WITH(test_answer_before_a_reset_counts),
        WITH(test_slow_reader),
        WITH(test_body_of_the_wrong_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
