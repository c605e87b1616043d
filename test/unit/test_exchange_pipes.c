/* One exchange with a volume whose body stays in the kernel: PUT and GET. */
#include "volume_fixture.h"
#include "net/volume_internal.h"

#include <sys/mman.h>

#define LEN   (12 * 1024 * 1024) /* more than the kernel's buffers take */
#define FIRST (64 * 1024)        /* comes in memory */

/* ---- the value, and what the volume does with it --------------------------- */

static uint8_t value[LEN], heard[LEN];

static int make_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN; i++) value[i] = (uint8_t)(i * 2654435761u >> 13);
    return 0;
}

/* Reads nothing of the body before stage 1. */
static void script_hears(struct fake *f)
{
    int fd = serve(f);
    ssize_t n;

    hear_head(f, fd);
    wait_for_stage(f, 1);
    while (f->body_len < LEN && (n = read(fd, heard + f->body_len, LEN - f->body_len)) > 0)
        f->body_len += (size_t)n;
    say(fd, ANSWER_201);
    hear_head(f, fd);
    close(fd);
}

static void script_leaves(struct fake *f)
{
    int fd = serve(f);

    hear_head(f, fd);
    wait_for_stage(f, 1);
    close(fd);
}

static void script_says(struct fake *f)
{
    int fd = serve(f);
    char head[80];

    hear_head(f, fd);
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LEN);
    say(fd, head);
    for (size_t sent = 0; sent < LEN; sent += FIRST)
        if (send(fd, value + sent, FIRST, MSG_NOSIGNAL) != FIRST) break;
    hear_head(f, fd);
    close(fd);
}

/* ---- PUT -------------------------------------------------------------------- */

/* A pipe with the next part of the value; at most a megabyte. */
static struct mkv_pipe *next_pipe(struct fixture *f, int file, size_t given)
{
    struct mkv_pipe *pipe = mkv_pipe_take(f->pipes);

    assert_non_null(pipe);
    assert_int_equal(lseek(file, (off_t)given, SEEK_SET), given);
    assert_true(mkv_pipe_fill(pipe, file, MKV_PIPE_SIZE) > 0);
    return pipe;
}

static void send_memory(struct trace *t, size_t given, size_t len)
{
    INSIDE(t->f, mkv_exchange_send(t->x, (struct mkv_bytes){value + given, len, NULL}));
}

/* Shared piece by piece; what the volume does not take holds up the next one. */
static void test_a_shared_body(void **state)
{
    struct fixture *f = *state;
    struct trace t;
    int file = memfd_create("value", MFD_CLOEXEC);
    size_t given = FIRST;
    unsigned behind = 0;
    bool shared;

    assert_int_equal(write(file, value, LEN), LEN);
    trace_init(&t, f);
    fake_start(&f->fake, script_hears);
    begin_exchange(&t, MKV_VOLUME_PUT, "/x", LEN);
    run_until(f, t.ready);
    send_memory(&t, 0, FIRST);
    while (given < LEN) {
        struct mkv_pipe *pipe = next_pipe(f, file, given);
        size_t len = mkv_pipe_len(pipe);

        INSIDE(f, shared = mkv_exchange_share(t.x, pipe));
        if (given == FIRST) {
            assert_false(shared); /* head and beginning are still to be sent */
            send_memory(&t, given, len);
        } else {
            assert_true(shared);
        }
        given += len;
        mkv_pipe_release(pipe);
        if (mkv_exchange_behind(t.x)) {
            int drained = t.drained;

            behind++;
            mkv_loop_turn(f->loop);
            if (shared) atomic_store(&f->fake.stage, 1);
            run_until(f, t.drained > drained);
            assert_int_equal(mkv_exchange_unsent(t.x), 0);
        }
        assert_false(mkv_exchange_behind(t.x));
    }
    atomic_store(&f->fake.stage, 1);
    INSIDE(f, mkv_exchange_send_end(t.x));
    run_until(f, t.done);
    assert_int_equal(t.err, MKV_OK);
    assert_int_equal(t.status, 201);
    assert_true(t.sent_all);
    assert_true(behind > 1);
    assert_int_equal(f->fake.body_len, LEN);
    assert_memory_equal(heard, value, LEN);
    assert_true(stats_of(f).bytes_sent > LEN);
    assert_int_equal(stats_of(f).idle, 1);
    close(file);
    trace_clear(&t);
}

/* Never in pipes: a chunked body, more than was announced, what may be sent again. */
static void test_not_shared(void **state)
{
    struct fixture *f = *state;
    int file = memfd_create("value", MFD_CLOEXEC);
    struct mkv_pipe *pipe;

    assert_int_equal(write(file, value, FIRST), FIRST);
    pipe = next_pipe(f, file, 0);
    fake_start(&f->fake, script_always_201);
    for (int i = 0; i < 3; i++) {
        static const int64_t lengths[] = {-1, FIRST - 1, FIRST};
        struct trace t;

        trace_init(&t, f);
        begin_exchange(&t, MKV_VOLUME_PUT, "/x", lengths[i]);
        run_until(f, t.ready && mkv_exchange_unsent(t.x) == 0);
        if (i == 2) assert_true(t.x->keeping); /* the connection has served before */
        assert_false(mkv_exchange_share(t.x, pipe));
        assert_int_equal(mkv_pipe_len(pipe), FIRST);
        mkv_exchange_cancel(t.x);
        trace_clear(&t);
        if (i < 2) put(&t, "/y", "value", false);
    }
    mkv_pipe_release(pipe);
    close(file);
}

/* With a share unsent. */
static void test_the_volume_leaves(void **state)
{
    struct fixture *f = *state;
    struct trace t;
    int file = memfd_create("value", MFD_CLOEXEC);
    size_t given = 0;

    assert_int_equal(write(file, value, LEN), LEN);
    trace_init(&t, f);
    fake_start(&f->fake, script_leaves);
    begin_exchange(&t, MKV_VOLUME_PUT, "/x", LEN);
    run_until(f, t.ready && mkv_exchange_unsent(t.x) == 0);
    while (given < LEN && !mkv_exchange_behind(t.x)) {
        struct mkv_pipe *pipe = next_pipe(f, file, given);

        given += mkv_pipe_len(pipe);
        assert_true(mkv_exchange_share(t.x, pipe));
        mkv_pipe_release(pipe);
    }
    assert_true(mkv_exchange_unsent(t.x) > 0);
    atomic_store(&f->fake.stage, 1);
    run_until(f, t.done);
    assert_int_equal(t.err, MKV_EVOLUME);
    close(file);
    trace_clear(&t);
}

/* ---- GET -------------------------------------------------------------------- */

struct taker {
    struct trace *t;
    unsigned pipes;
    bool pauses;
};

static void take_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    trace_body(x, piece, ((struct taker *)arg)->t);
}

static void take_pipe(struct mkv_exchange *x, struct mkv_pipe *pipe, void *arg)
{
    struct taker *taker = arg;
    struct mkv_bytes piece;

    assert_false(x->paused);
    taker->pipes++;
    while (mkv_pipe_read(pipe, taker->t->f->blocks, &piece) > 0) take_body(x, piece, arg);
    if (taker->pauses) mkv_exchange_pause(x, true);
}

static void take_end(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    trace_done(x, err, status, ((struct taker *)arg)->t);
}

static void test_an_answer_in_pipes(void **state)
{
    static const struct mkv_exchange_events events = {
        .body = take_body, .piped = take_pipe, .done = take_end};
    struct fixture *f = *state;

    for (int pauses = 0; pauses < 2; pauses++) {
        struct trace t;
        struct taker taker = {.t = &t, .pauses = pauses};
        const struct mkv_exchange_options opt = {
            .volume = f->volume, .method = MKV_VOLUME_GET, .path = MKV_SLICE("/x")};

        trace_init(&t, f);
        fake_start(&f->fake, script_says);
        assert_int_equal(mkv_exchange_start(&t.x, &opt, &events, &taker), MKV_OK);
        while (!t.done) {
            mkv_loop_turn(f->loop);
            if (!t.done && t.x->paused) mkv_exchange_pause(t.x, false);
        }
        assert_int_equal(t.err, MKV_OK);
        assert_true(taker.pipes > 1);
        assert_int_equal(evbuffer_get_length(t.body), LEN);
        assert_memory_equal(evbuffer_pullup(t.body, -1), value, LEN);
        trace_clear(&t);
        mkv_loop_turn(f->loop);
        fixture_close(f);
        fake_join(&f->fake);
        fixture_open(f, PATIENCE_MS, PATIENCE_MS);
        fixture_use(f, "localhost", f->fake.port);
    }
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_a_shared_body),
        WITH(test_not_shared),
        WITH(test_the_volume_leaves),
        WITH(test_an_answer_in_pipes),
    };

    return cmocka_run_group_tests(tests, make_value, NULL);
}
