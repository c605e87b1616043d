/* Large values: in memory and in pipes; MD5s that are taken beside the loop are right,
 * awaited, and in nobody's way. */
#include "store_helper.h"

#include "store/store.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST  (3 * DIGESTER_HIGH)
#define FIRST (64 * 1024) /* comes in memory, as from the front */

/* ---- a body ------------------------------------------------------------------------ */

struct body {
    struct world *w;
    struct mkv_put *put;
    uint8_t *data;
    size_t len, step, given;
    int file; /* the data once more, to be read into blocks and pipes */
    enum carried { IN_MEMORY, IN_BLOCKS, IN_PIPES, CARRIED } carried;
    bool hold; /* begins when the test says so */
    bool full, done;
    unsigned ready, drained;
    enum mkv_err err;
    struct mkv_record stored; /* without fields */
};

static struct mkv_bytes next_bytes(struct body *b)
{
    size_t n = b->len - b->given < b->step ? b->len - b->given : b->step;
    struct mkv_bytes bytes = {b->data + b->given, n, NULL};

    if (b->carried == IN_MEMORY) return bytes;
    assert_int_equal(lseek(b->file, (off_t)b->given, SEEK_SET), b->given);
    assert_true(mkv_blocks_read(mkv_store_blocks(b->w->store), b->file, n, &bytes) > 0);
    return bytes;
}

static void give(struct body *b)
{
    struct mkv_bytes bytes = next_bytes(b);

    mkv_put_body(b->put, bytes);
    b->given += bytes.len;
}

static void give_pipe(struct body *b)
{
    struct mkv_pipe *pipe = mkv_pipe_take(mkv_store_pipes(b->w->store));
    ssize_t n;

    assert_non_null(pipe);
    assert_int_equal(lseek(b->file, (off_t)b->given, SEEK_SET), b->given);
    n = mkv_pipe_fill(pipe, b->file, b->step);
    assert_true(n > 0);
    mkv_put_piped(b->put, pipe);
    b->given += (size_t)n;
    mkv_pipe_release(pipe);
}

/* As the front does: until it is full, then after drained(). */
static void feed(struct body *b)
{
    b->full = false;
    while (b->given < b->len && !b->full) {
        if (b->carried == IN_PIPES && b->given >= FIRST)
            give_pipe(b);
        else
            give(b);
        b->full = mkv_put_full(b->put);
    }
    if (b->given == b->len) mkv_put_end(b->put);
}

static void body_ready(void *arg)
{
    struct body *b = arg;

    b->ready++;
    if (!b->hold) feed(b);
}

static void body_drained(void *arg)
{
    struct body *b = arg;

    assert_true(b->full);
    assert_false(mkv_put_full(b->put));
    b->drained++;
    if (b->given < b->len) feed(b);
}

static void body_stored(enum mkv_err err, const struct mkv_record *stored, void *arg)
{
    struct body *b = arg;

    assert_false(b->done);
    b->done = true;
    b->err = err;
    if (stored) b->stored = *stored;
}

static void begin_body(struct body *b, struct world *w, size_t len)
{
    memset(b, 0, sizeof(*b));
    b->w = w;
    b->len = len;
    b->step = 100000;
    b->data = malloc(len);
    assert_non_null(b->data);
    for (size_t i = 0; i < len; i++) b->data[i] = (uint8_t)(i * 2654435761u >> 13);
    b->file = memfd_create("body", MFD_CLOEXEC);
    assert_int_equal(write(b->file, b->data, len), len);
}

static void end_body(struct body *b)
{
    close(b->file);
    free(b->data);
}

static void put_body(struct body *b, const char *key)
{
    static const struct mkv_put_events events = {
        .ready = body_ready, .drained = body_drained, .done = body_stored};
    const struct mkv_put_options opt = {
        .key = text(key), .length = (int64_t)b->len, .replace = true};

    assert_int_equal(mkv_put_start(&b->put, b->w->store, &opt, &events, b), MKV_OK);
}

static void expect_stored(struct body *b)
{
    uint8_t md5[MKV_MD5_LEN];

    assert_int_equal(b->err, MKV_OK);
    mkv_md5(mkv_slice((const char *)b->data, b->len), md5);
    assert_int_equal(b->stored.size, b->len);
    assert_true(b->stored.has_md5);
    assert_memory_equal(b->stored.md5, md5, sizeof(md5));
}

/* ---- threads that are busy ------------------------------------------------------------ */

/* Streams of other people that keep every thread until it is opened. */
struct gate {
    pthread_t loop;
    atomic_bool open;
    atomic_uint held;
    struct digest_stream *streams[DIGESTER_THREADS];
    unsigned n;
};

static void gate_add(void *state, const void *data, size_t len)
{
    struct gate *g = state;

    (void)data;
    (void)len;
    if (pthread_equal(pthread_self(), g->loop)) return;
    g->held++;
    while (!g->open) usleep(100);
}

static void hold_threads(struct world *w, struct gate *g)
{
    static const struct digest_events nobody = {0};
    static const uint8_t some[DIGESTER_SHORT + DIGESTER_LEAST];
    const struct digest_sum sum = {.add = gate_add, .state = g};
    const struct digest_options opt = {.sums = &sum, .nsums = 1};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    *g = (struct gate){.loop = pthread_self()};
    do {
        struct digest_stream **s = &g->streams[g->n];

        assert_int_equal(digest_stream_open(s, w->store->digester, &opt, &nobody, NULL), MKV_OK);
        assert_int_equal(digest_stream_add(*s, (struct mkv_bytes){some, sizeof(some), NULL}),
                         MKV_OK);
        while (g->held == g->n) usleep(100);
        g->n++;
    } while (g->n < DIGESTER_THREADS && (long)g->n < processors - 1);
}

static void open_gate(struct gate *g)
{
    g->open = true;
    for (unsigned i = 0; i < g->n; i++) digest_stream_cancel(g->streams[i]);
    g->n = 0;
}

/* The loop goes round for so long. */
static void let_pass(struct world *w, unsigned ms)
{
    uint64_t until = mkv_loop_now(w->loop) + ms;

    while (mkv_loop_now(w->loop) < until) {
        usleep(1000);
        event_base_loop(mkv_loop_base(w->loop), EVLOOP_NONBLOCK);
        mkv_loop_settle(w->loop);
    }
}

/* ---- the tests -------------------------------------------------------------------------- */

static void every_size_has_its_md5(void **state)
{
    static const size_t sizes[] = {1,
                                   DIGESTER_SHORT - 1,
                                   DIGESTER_SHORT,
                                   DIGESTER_SHORT + 1,
                                   DIGESTER_SHORT + DIGESTER_LEAST - 1,
                                   DIGESTER_SHORT + DIGESTER_LEAST,
                                   MKV_BLOCK_SIZE + 1,
                                   DIGESTER_HIGH,
                                   DIGESTER_HIGH + 1,
                                   MOST};
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    for (size_t i = 0; i < CARRIED * COUNT(sizes); i++) {
        struct body b;

        begin_body(&b, &w, sizes[i / CARRIED]);
        b.carried = (enum carried)(i % CARRIED);
        put_body(&b, "/key");
        run_until(&w, b.done);
        expect_stored(&b);
        end_body(&b);
    }
    finish(&w);
}

/* The volumes take everything, the digest nothing: the sender has to wait. */
static void a_slow_digest_stops_the_sender(void **state)
{
    struct world w;
    struct gate g;
    struct body b;

    (void)state;
    begin(&w, 3, "3");
    hold_threads(&w, &g);
    begin_body(&b, &w, MOST);
    b.carried = IN_BLOCKS;
    put_body(&b, "/key");
    run_until(&w, b.ready);
    let_pass(&w, 200);
    assert_true(mkv_put_full(b.put));
    assert_true(b.given < DIGESTER_SHORT + 2 * DIGESTER_HIGH);
    open_gate(&g);
    run_until(&w, b.done);
    expect_stored(&b);
    assert_true(b.drained > 0);
    end_body(&b);
    finish(&w);
}

/* Every volume has answered; the index hears of it when the MD5 is there. */
static void the_commit_waits_for_the_digest(void **state)
{
    struct mkv_record rec;
    struct world w;
    struct gate g;
    struct body b;

    (void)state;
    begin(&w, 3, "3");
    hold_threads(&w, &g);
    begin_body(&b, &w, DIGESTER_HIGH / 2);
    put_body(&b, "/key");
    run_until(&w, all_files(&w) == 3);
    let_pass(&w, 100);
    assert_false(b.done);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_ENOKEY);
    open_gate(&g);
    run_until(&w, b.done);
    expect_stored(&b);
    end_body(&b);
    finish(&w);
}

/* The same where a copy has to be made good first: the MD5 is known by then. */
static void a_repair_waits_for_the_digest(void **state)
{
    struct toy_volume *ordered[VOLUMES_MAX];
    struct world w;
    struct gate g;
    struct body b;

    (void)state;
    begin(&w, 4, "3");
    by_placement(&w, "/key", ordered);
    ordered[1]->refuse_puts = 507;
    hold_threads(&w, &g);
    begin_body(&b, &w, DIGESTER_HIGH / 2);
    put_body(&b, "/key");
    run_until(&w, all_files(&w) == 2);
    let_pass(&w, 100);
    assert_int_equal(ordered[3]->puts, 0);
    open_gate(&g);
    run_until(&w, b.done); /* toy volumes hold no such value to copy from */
    assert_int_equal(b.err, MKV_ETOOFEW);
    end_body(&b);
    finish(&w);
}

static void cancelled_while_digesting(void **state)
{
    struct mkv_record rec;
    struct world w;
    struct gate g;
    struct body b;

    (void)state;
    begin(&w, 3, "3");
    hold_threads(&w, &g);
    begin_body(&b, &w, MOST);
    b.carried = IN_BLOCKS;
    put_body(&b, "/key");
    run_until(&w, b.ready);
    assert_true(b.given < MOST);
    mkv_put_cancel(b.put);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(all_files(&w), 0);
    open_gate(&g);
    let_pass(&w, 20);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_ENOKEY);
    assert_false(b.done);
    end_body(&b);
    finish(&w);
}

/* Behind its end the value is stored all the same, once the MD5 is there. */
static void cancelled_while_the_digest_is_awaited(void **state)
{
    struct mkv_record rec;
    struct world w;
    struct gate g;
    struct body b;

    (void)state;
    begin(&w, 3, "3");
    hold_threads(&w, &g);
    begin_body(&b, &w, DIGESTER_HIGH / 2);
    put_body(&b, "/key");
    run_until(&w, all_files(&w) == 3);
    mkv_put_cancel(b.put);
    open_gate(&g);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
    assert_true(rec.has_md5);
    mkv_record_clear(&rec);
    assert_false(b.done);
    end_body(&b);
    finish(&w);
}

/* In the middle of the body, behind it, and awaiting the MD5. */
static void closed_while_digesting(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct world w;
        struct body b;

        begin(&w, 3, "3");
        begin_body(&b, &w, how == 0 ? MOST : DIGESTER_HIGH / 2);
        b.carried = how != 1 ? IN_BLOCKS : IN_MEMORY;
        put_body(&b, "/key");
        run_until(&w, how < 2 ? b.ready : all_files(&w));
        assert_false(b.done);
        finish(&w);
        end_body(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_has_its_md5),
        cmocka_unit_test(a_slow_digest_stops_the_sender),
        cmocka_unit_test(the_commit_waits_for_the_digest),
        cmocka_unit_test(a_repair_waits_for_the_digest),
        cmocka_unit_test(cancelled_while_digesting),
        cmocka_unit_test(cancelled_while_the_digest_is_awaited),
        cmocka_unit_test(closed_while_digesting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
