/* Digests taken by threads: the same as the loop would take, in any order of events. */
#include "net/digester.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define STREAMS  9
#define MOST     (5 * DIGESTER_HIGH / 4)

/* What a test can do to the threads, not to the loop: they wait while it is shut. */
struct gate {
    pthread_t loop;
    atomic_bool shut;
    atomic_uint waiting, destroyed;
};

struct fixture {
    struct mkv_loop *loop;
    struct digester *digester;
    struct mkv_blocks *blocks;
    int file; /* the data once more, to be read into blocks */
    uint8_t *data;
    struct gate gate;
};

struct feed {
    struct fixture *f;
    struct digest_stream *stream;
    size_t len, step;      /* bytes in all; at once */
    size_t given;
    bool by_block;
    bool full, done;
    unsigned rooms;
    uint8_t md5[MKV_MD5_LEN];
    struct mkv_digest *sha256; /* the stream's */
    uint8_t sha256_sum[MKV_SHA256_LEN];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f || mkv_loop_open(&f->loop) || digester_open(&f->digester, f->loop, 2)) return -1;
    if (mkv_blocks_open(&f->blocks)) return -1;
    f->gate.loop = pthread_self();
    f->data = malloc(MOST);
    if (!f->data) return -1;
    for (size_t i = 0; i < MOST; i++) f->data[i] = (uint8_t)(i * 2654435761u >> 16);
    f->file = memfd_create("data", MFD_CLOEXEC);
    if (f->file < 0 || write(f->file, f->data, MOST) != MOST) return -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    digester_close(f->digester);
    mkv_blocks_close(f->blocks);
    mkv_loop_close(f->loop);
    close(f->file);
    free(f->data);
    free(f);
    return 0;
}

/* ---- streams and what they take ------------------------------------------------------ */

static void on_room(void *arg)
{
    struct feed *feed = arg;

    assert_true(feed->full);
    assert_false(digest_stream_full(feed->stream));
    feed->full = false;
    feed->rooms++;
}

static void on_done(const uint8_t *md5, void *arg)
{
    struct feed *feed = arg;

    assert_false(feed->done);
    feed->done = true;
    if (md5) memcpy(feed->md5, md5, MKV_MD5_LEN);
    if (feed->sha256) mkv_digest_final(feed->sha256, feed->sha256_sum);
    feed->sha256 = NULL;
}

static const struct digest_events events = {on_room, on_done};

static void sha256_add(void *state, const void *data, size_t len)
{
    struct feed *feed = state;

    mkv_digest_add(feed->sha256, data, len);
}

static void sha256_destroy(void *state)
{
    struct feed *feed = state;

    mkv_digest_free(feed->sha256);
    feed->sha256 = NULL;
}

static void gate_add(void *state, const void *data, size_t len)
{
    struct gate *gate = state;

    (void)data;
    (void)len;
    if (pthread_equal(pthread_self(), gate->loop)) return;
    gate->waiting++;
    while (gate->shut) usleep(100);
}

static void gate_destroy(void *state)
{
    struct gate *gate = state;

    gate->destroyed++;
}

static void open_feed(struct feed *feed, struct fixture *f, size_t len, size_t step)
{
    static const struct digest_options md5_only = {.md5 = true};

    *feed = (struct feed){.f = f, .len = len, .step = step};
    assert_int_equal(digest_stream_open(&feed->stream, f->digester, &md5_only, &events, feed),
                     MKV_OK);
}

/* With a thread that can be held up, where the stream is long. */
static void open_gated(struct feed *feed, struct fixture *f, size_t len, size_t step)
{
    const struct digest_sum sum = {.add = gate_add, .destroy = gate_destroy, .state = &f->gate};
    const struct digest_options opt = {.md5 = true, .sums = &sum, .nsums = 1};

    *feed = (struct feed){.f = f, .len = len, .step = step};
    assert_int_equal(digest_stream_open(&feed->stream, f->digester, &opt, &events, feed), MKV_OK);
}

static struct mkv_bytes next_bytes(struct feed *feed, size_t n)
{
    struct mkv_bytes bytes = {feed->f->data + feed->given, n, NULL};

    if (!feed->by_block) return bytes;
    assert_int_equal(lseek(feed->f->file, (off_t)feed->given, SEEK_SET), feed->given);
    assert_true(mkv_blocks_read(feed->f->blocks, feed->f->file, n, &bytes) > 0);
    return bytes;
}

/* Gives one step; false once all has been given. */
static bool give(struct feed *feed)
{
    size_t n = feed->len - feed->given;
    struct mkv_bytes bytes;

    if (n > feed->step) n = feed->step;
    if (n) {
        bytes = next_bytes(feed, n);
        assert_int_equal(digest_stream_add(feed->stream, bytes), MKV_OK);
        feed->given += bytes.len;
    }
    feed->full = digest_stream_full(feed->stream);
    if (feed->given == feed->len) digest_stream_end(feed->stream);
    return feed->given < feed->len;
}

static void expect(const struct feed *feed)
{
    uint8_t md5[MKV_MD5_LEN];

    assert_true(feed->done);
    mkv_md5(mkv_slice((const char *)feed->f->data, feed->len), md5);
    assert_memory_equal(feed->md5, md5, sizeof(md5));
}

static void finish(struct feed *feed)
{
    while (!feed->done) {
        while (!feed->full && feed->given < feed->len) give(feed);
        mkv_loop_turn(feed->f->loop);
    }
    expect(feed);
}

/* ---- the tests ------------------------------------------------------------------------- */

static const size_t lengths[] = {
    1,
    DIGESTER_LEAST,
    DIGESTER_SHORT - 1,
    DIGESTER_SHORT,
    DIGESTER_SHORT + 1,
    DIGESTER_SHORT + DIGESTER_LEAST - 1,
    DIGESTER_SHORT + DIGESTER_LEAST,
    DIGESTER_SHORT + DIGESTER_LEAST + 1,
    MKV_BLOCK_SIZE - 1,
    MKV_BLOCK_SIZE,
    MKV_BLOCK_SIZE + 1,
    DIGESTER_HIGH,
    DIGESTER_HIGH + 1,
    MOST,
};

static void any_length(void **state)
{
    static const size_t steps[] = {4093, MKV_COPY_MAX + 1, DIGESTER_SHORT, MOST};

    for (size_t i = 0; i < COUNT(lengths) * COUNT(steps); i++)
        for (int by_block = 0; by_block < 2; by_block++) {
            struct feed feed;

            open_feed(&feed, *state, lengths[i % COUNT(lengths)], steps[i / COUNT(lengths)]);
            feed.by_block = by_block;
            finish(&feed);
        }
}

/* More pieces than a thread takes at once, none of them in the block of the other. */
static void many_pieces(void **state)
{
    struct fixture *f = *state;
    struct feed feed;

    open_gated(&feed, f, MOST, 20000);
    feed.by_block = true;
    f->gate.shut = true;
    while (give(&feed)) {}
    f->gate.shut = false;
    feed.full = false; /* it is not waited for */
    while (!feed.done) mkv_loop_turn(f->loop);
    expect(&feed);
}

static void nothing_at_all(void **state)
{
    struct feed feed;

    open_feed(&feed, *state, 0, 1);
    give(&feed);
    assert_false(feed.done);
    finish(&feed);
}

/* MD5 and others, MD5 alone, others alone. */
static void several_sums(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(lengths); i++)
        for (int with_md5 = 0; with_md5 < 2; with_md5++) {
            struct feed feed = {.f = f, .len = lengths[i], .step = 50000};
            const struct digest_sum sums[] = {
                {.add = sha256_add, .destroy = sha256_destroy, .state = &feed},
                {.add = gate_add, .destroy = NULL, .state = &f->gate}};
            const struct digest_options opt = {.md5 = with_md5, .sums = sums, .nsums = 2};
            uint8_t sha256[MKV_SHA256_LEN];

            assert_int_equal(mkv_digest_new_sha256(&feed.sha256), MKV_OK);
            assert_int_equal(digest_stream_open(&feed.stream, f->digester, &opt, &events, &feed),
                             MKV_OK);
            while (!feed.done) {
                while (!feed.full && feed.given < feed.len) give(&feed);
                mkv_loop_turn(f->loop);
            }
            if (with_md5) expect(&feed);
            mkv_sha256(mkv_slice((const char *)f->data, feed.len), sha256);
            assert_memory_equal(feed.sha256_sum, sha256, sizeof(sha256));
        }
}

static void too_many_sums(void **state)
{
    struct fixture *f = *state;
    const struct digest_sum sums[DIGESTER_SUMS_MAX + 1] = {{gate_add, gate_destroy, &f->gate}};
    const struct digest_options opt = {.sums = sums, .nsums = COUNT(sums)};
    struct digest_stream *stream;

    assert_int_equal(digest_stream_open(&stream, f->digester, &opt, &events, NULL), MKV_EINVAL);
    assert_int_equal(f->gate.destroyed, 0);
}

static void side_by_side(void **state)
{
    struct fixture *f = *state;
    struct feed feeds[STREAMS];
    size_t open = STREAMS;

    for (size_t i = 0; i < STREAMS; i++) {
        open_feed(&feeds[i], f, MOST - 100 * i, 70000 + 999 * i);
        feeds[i].by_block = i % 3;
    }
    while (open) {
        bool more = true;

        while (more) { /* a step of each in turn, as long as anybody takes more */
            more = false;
            for (size_t i = 0; i < STREAMS; i++)
                more = (!feeds[i].full && feeds[i].given < feeds[i].len && give(&feeds[i])) || more;
        }
        mkv_loop_turn(f->loop);
        open = 0;
        for (size_t i = 0; i < STREAMS; i++) open += !feeds[i].done;
    }
    for (size_t i = 0; i < STREAMS; i++) expect(&feeds[i]);
}

/* A stream that has stopped bringing anything holds nobody up for long. */
static void beside_one_that_rests(void **state)
{
    struct fixture *f = *state;
    struct feed resting, feed;

    open_feed(&resting, f, MOST, 200000);
    give(&resting);
    for (int i = 0; i < 5; i++) {
        open_feed(&feed, f, MOST, 200000);
        finish(&feed);
    }
    assert_false(resting.done);
    finish(&resting);
}

static void wait_for_thread(struct fixture *f, unsigned before)
{
    for (int i = 0; f->gate.waiting == before; i++) {
        assert_true(i < 100000);
        usleep(100);
    }
}

/* The digest sets the pace: full beyond the high mark, and told once it is below the low one. */
static void back_pressure(void **state)
{
    struct fixture *f = *state;
    struct feed feed;

    open_gated(&feed, f, MOST, 100000);
    f->gate.shut = true;
    give(&feed);
    wait_for_thread(f, 0);
    while (!feed.full) {
        assert_true(give(&feed));
        assert_int_equal(feed.full, feed.given > DIGESTER_HIGH);
    }
    mkv_loop_settle(f->loop);
    assert_int_equal(feed.rooms, 0);
    f->gate.shut = false;
    finish(&feed);
    assert_int_equal(feed.rooms, 1);
    assert_int_equal(f->gate.destroyed, 1);
}

/* Several streams share what one alone may be behind. */
static void streams_share(void **state)
{
    struct fixture *f = *state;
    struct feed feeds[STREAMS];

    f->gate.shut = true;
    for (size_t i = 0; i < STREAMS; i++) {
        open_gated(&feeds[i], f, MOST, 100000);
        give(&feeds[i]); /* long by now */
    }
    for (size_t i = 0; i < STREAMS; i++) {
        while (!feeds[i].full) assert_true(give(&feeds[i]));
        assert_true(feeds[i].given > DIGESTER_PART);
        assert_true(feeds[i].given <= DIGESTER_PART + 100000);
    }
    for (size_t i = 1; i < STREAMS; i++) digest_stream_cancel(feeds[i].stream);
    f->gate.shut = false;
    finish(&feeds[0]);
    assert_true(feeds[0].rooms > 0);
    while (f->gate.destroyed < STREAMS) mkv_loop_turn(f->loop);
    f->gate.shut = true;
    open_gated(&feeds[0], f, MOST, 100000);
    while (!feeds[0].full) assert_true(give(&feeds[0]));
    assert_true(feeds[0].given > DIGESTER_HIGH);
    f->gate.shut = false;
    finish(&feeds[0]);
}

/* Ended while full: done(), and no room() before it. */
static void ended_while_full(void **state)
{
    struct fixture *f = *state;
    struct feed feed;

    open_gated(&feed, f, MOST, MOST);
    f->gate.shut = true;
    give(&feed);
    assert_true(feed.full);
    f->gate.shut = false;
    while (!feed.done) mkv_loop_turn(f->loop);
    expect(&feed);
    assert_int_equal(feed.rooms, 0);
}

/* While the loop digests, while it waits for more, in the queue, ended. */
static void cancelled(void **state)
{
    struct fixture *f = *state;
    struct feed feed, other;
    unsigned destroyed = 0;

    for (size_t given = 0; given <= MOST; given += DIGESTER_LEAST / 2) {
        open_gated(&feed, f, MOST, given ? given : 1);
        feed.by_block = given & DIGESTER_LEAST;
        if (given) give(&feed);
        digest_stream_cancel(feed.stream);
        open_feed(&other, f, MOST, 100000);
        finish(&other);
        assert_false(feed.done);
        destroyed++;
    }
    while (f->gate.destroyed < destroyed) mkv_loop_turn(f->loop);
    open_feed(&feed, f, 1000, 1000);
    give(&feed); /* ended: done() would run at the end of this turn */
    digest_stream_cancel(feed.stream);
    mkv_loop_settle(f->loop);
    assert_false(feed.done);
    digest_stream_cancel(NULL);
}

/* A thread has its bytes: they and the sums stay until it has finished. */
static void cancelled_in_a_thread(void **state)
{
    struct fixture *f = *state;
    struct feed feed;

    open_gated(&feed, f, MOST, MOST / 2);
    feed.by_block = true;
    f->gate.shut = true;
    give(&feed);
    wait_for_thread(f, 0);
    digest_stream_cancel(feed.stream);
    mkv_loop_settle(f->loop);
    assert_int_equal(f->gate.destroyed, 0);
    f->gate.shut = false;
    while (!f->gate.destroyed) mkv_loop_turn(f->loop);
    assert_false(feed.done);
}

static void closed_in_the_midst(void **state)
{
    struct fixture *f = *state;
    struct feed feeds[6];

    for (size_t i = 0; i < COUNT(feeds); i++) {
        open_gated(&feeds[i], f, MOST, i == 5 ? 1000 : MOST / (i + 1));
        feeds[i].by_block = i % 2;
        give(&feeds[i]);
    }
    digest_stream_cancel(feeds[2].stream);
    digester_close(f->digester);
    f->digester = NULL;
    for (size_t i = 0; i < COUNT(feeds); i++) assert_false(feeds[i].done);
    assert_int_equal(f->gate.destroyed, COUNT(feeds));
}

/* For one that had something to do lately, and for as long as the digester was told to. */
static void waits_for_others(void **state)
{
    struct fixture *f = *state;
    struct feed first, second;

    digester_close(f->digester);
    assert_int_equal(digester_open(&f->digester, f->loop, 60000), MKV_OK);
    open_gated(&first, f, 3 * DIGESTER_SHORT, DIGESTER_SHORT + 1);
    open_gated(&second, f, 3 * DIGESTER_SHORT, DIGESTER_SHORT + 1);
    give(&first);
    wait_for_thread(f, 0);
    mkv_loop_turn(f->loop); /* it is finished */
    give(&second);
    usleep(50000);
    assert_int_equal(f->gate.waiting, 1);
    give(&first);
    wait_for_thread(f, 1);
}

/* Seven that bring much are not held up by an eighth that brings little. */
static void not_held_up_by_one(void **state)
{
    struct fixture *f = *state;
    struct feed little, much[7];

    digester_close(f->digester);
    assert_int_equal(digester_open(&f->digester, f->loop, 60000), MKV_OK);
    open_gated(&little, f, 4 * DIGESTER_SHORT, DIGESTER_SHORT + 1);
    f->gate.shut = true;
    give(&little);
    wait_for_thread(f, 0);
    for (size_t i = 0; i < COUNT(much); i++) {
        open_feed(&much[i], f, MOST, MKV_BLOCK_SIZE);
        much[i].by_block = true; /* so that a thread takes all that has come at once */
        give(&much[i]);
    }
    for (size_t i = 0; i < COUNT(much); i++)
        while (!much[i].full) assert_true(give(&much[i]));
    f->gate.shut = false;
    mkv_loop_turn(f->loop); /* little's first bytes are finished; the others wait for more of it */
    give(&little);
    mkv_loop_turn(f->loop); /* the first block of each, ... */
    give(&little);
    mkv_loop_turn(f->loop); /* ...and all the others */
    for (size_t i = 0; i < COUNT(much); i++) assert_int_equal(much[i].rooms, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_length),      TEST(many_pieces),           TEST(nothing_at_all),
        TEST(several_sums),    TEST(too_many_sums),         TEST(side_by_side),
        TEST(back_pressure),   TEST(beside_one_that_rests), TEST(ended_while_full),
        TEST(streams_share),
        TEST(cancelled),       TEST(cancelled_in_a_thread), TEST(closed_in_the_midst),
        TEST(waits_for_others), TEST(not_held_up_by_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
