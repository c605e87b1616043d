/* MD5s taken by threads: the same as the loop would take, in any order of events. */
#include "jobs/digester.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define STREAMS  9

struct fixture {
    struct mkv_loop *loop;
    struct digester *digester;
    uint8_t *data;
    size_t size;
};

struct feed {
    struct fixture *f;
    struct digest_stream *stream;
    size_t len, step;      /* bytes in all; at once */
    size_t given;
    bool full, done;
    uint8_t md5[MKV_MD5_LEN];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f || mkv_loop_open(&f->loop) || digester_open(&f->digester, f->loop)) return -1;
    f->size = 5 * DIGESTER_PIECE;
    f->data = malloc(f->size);
    if (!f->data) return -1;
    for (size_t i = 0; i < f->size; i++) f->data[i] = (uint8_t)(i * 2654435761u >> 16);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    digester_close(f->digester);
    mkv_loop_close(f->loop);
    free(f->data);
    free(f);
    return 0;
}

static void on_room(void *arg)
{
    struct feed *feed = arg;

    assert_true(feed->full);
    feed->full = false;
}

static void on_done(const uint8_t md5[MKV_MD5_LEN], void *arg)
{
    struct feed *feed = arg;

    assert_false(feed->done);
    feed->done = true;
    memcpy(feed->md5, md5, MKV_MD5_LEN);
}

static const struct digest_events events = {on_room, on_done};

static void open_feed(struct feed *feed, struct fixture *f, size_t len, size_t step)
{
    *feed = (struct feed){.f = f, .len = len, .step = step};
    assert_int_equal(digest_stream_open(&feed->stream, f->digester, &events, feed), MKV_OK);
}

/* Gives one step; false once all has been given. */
static bool give(struct feed *feed)
{
    size_t n = feed->len - feed->given, taken;

    if (n > feed->step) n = feed->step;
    if (!n) return false;
    taken = digest_stream_add(feed->stream, feed->f->data + feed->given, n);
    assert_true(taken <= n);
    feed->full = taken < n;
    feed->given += taken;
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

static void any_length(void **state)
{
    static const size_t lengths[] = {1, DIGESTER_SMALL, DIGESTER_SMALL + 1, DIGESTER_PIECE - 1,
                                     DIGESTER_PIECE, DIGESTER_PIECE + 1, 2 * DIGESTER_PIECE,
                                     2 * DIGESTER_PIECE + 1, 5 * DIGESTER_PIECE};
    static const size_t steps[] = {4093, DIGESTER_PIECE, 5 * DIGESTER_PIECE};

    for (size_t i = 0; i < COUNT(lengths) * COUNT(steps); i++) {
        struct feed feed;

        open_feed(&feed, *state, lengths[i % COUNT(lengths)], steps[i / COUNT(lengths)]);
        finish(&feed);
    }
}

static void nothing_at_all(void **state)
{
    struct feed feed;

    open_feed(&feed, *state, 0, 1);
    digest_stream_end(feed.stream);
    assert_false(feed.done);
    finish(&feed);
}

static void side_by_side(void **state)
{
    struct fixture *f = *state;
    struct feed feeds[STREAMS];
    size_t open = STREAMS;

    for (size_t i = 0; i < STREAMS; i++) open_feed(&feeds[i], f, f->size - 100 * i, 70000 + 999 * i);
    while (open) {
        bool more = true;

        while (more) { /* a step of each in turn, as long as anybody takes more */
            more = false;
            for (size_t i = 0; i < STREAMS; i++) more = (!feeds[i].full && give(&feeds[i])) || more;
        }
        mkv_loop_turn(f->loop);
        open = 0;
        for (size_t i = 0; i < STREAMS; i++) open += !feeds[i].done;
    }
    for (size_t i = 0; i < STREAMS; i++) expect(&feeds[i]);
}

/* In every state that a stream can be in; the next ones get its memory. */
static void cancelled(void **state)
{
    struct fixture *f = *state;
    struct feed feed, other;

    for (size_t given = 0; given <= f->size; given += DIGESTER_PIECE / 2) {
        open_feed(&feed, f, f->size, given ? given : 1);
        if (given) give(&feed);
        digest_stream_cancel(feed.stream);
        open_feed(&other, f, 1000, 1000);
        finish(&other);
        assert_false(feed.done);
    }
    open_feed(&feed, f, 1000, 1000);
    give(&feed); /* ended: done() would run at the end of this turn */
    digest_stream_cancel(feed.stream);
    mkv_loop_settle(f->loop);
    assert_false(feed.done);
    digest_stream_cancel(NULL);
}

static void closed_in_the_midst(void **state)
{
    struct fixture *f = *state;
    struct feed feeds[3];

    for (size_t i = 0; i < COUNT(feeds); i++) {
        open_feed(&feeds[i], f, f->size, f->size / (i + 1));
        give(&feeds[i]);
    }
    digester_close(f->digester);
    f->digester = NULL;
    for (size_t i = 0; i < COUNT(feeds); i++) assert_false(feeds[i].done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_at_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(side_by_side, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed_in_the_midst, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
