/* The index: what is written is there, counted, and found again. */
#include "index_helper.h"

static void a_record_comes_back_whole(void **state)
{
    struct fixture *f = *state;
    struct mkv_record r = record_of(MKV_LIVE, 3, 12345), back;
    struct mkv_slice field;

    r.mtime = 1793786400;
    r.has_md5 = true;
    memset(r.md5, 0xab, sizeof(r.md5));
    assert_int_equal(
        mkv_record_set_field(&r, MKV_FIELD_CONTENT_TYPE, MKV_SLICE("text/plain")), MKV_OK);
    assert_int_equal(put(f, text("/a"), &r), MKV_OK);
    mkv_record_init(&back);
    assert_int_equal(mkv_index_get(f->ix, text("/a"), &back, NULL, NULL), MKV_OK);
    assert_int_equal(back.state, MKV_LIVE);
    assert_int_equal(back.generation, 3);
    assert_int_equal(back.size, 12345);
    assert_int_equal(back.mtime, 1793786400);
    assert_memory_equal(back.md5, r.md5, sizeof(r.md5));
    assert_int_equal(back.nreplicas, 3);
    assert_int_equal(back.replicas[2].subvolume, 9);
    assert_true(mkv_record_field(&back, MKV_FIELD_CONTENT_TYPE, &field));
    assert_slice(field, text("text/plain"));
    /* ENOKEY leaves the record as it was. */
    assert_int_equal(mkv_index_get(f->ix, text("/b"), &back, NULL, NULL), MKV_ENOKEY);
    assert_int_equal(back.size, 12345);
    mkv_record_clear(&back);
    mkv_record_clear(&r);
}

static void keys_of_every_length(void **state)
{
    static const size_t lengths[] = {1, 2, 478, 479, 480, 481, 510, 511, 512, 1088, 1089};
    struct fixture *f = *state;
    struct waiting w = {0};
    char buf[MKV_KEY_MAX + 1];

    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct mkv_record r = record_of(MKV_LIVE, 0, (int64_t)lengths[i]);
        struct mkv_index_change c = {.record_op = MKV_SET, .record = &r};

        c.key = long_key(buf, "/", 'k', lengths[i]);
        queue_change(f, &c, &w);
    }
    settle(f, &w);
    assert_int_equal(w.count[MKV_OK], COUNT(lengths));
    for (size_t i = 0; i < COUNT(lengths); i++)
        assert_int_equal(size_of(f, long_key(buf, "/", 'k', lengths[i])), lengths[i]);
    /* Neighbours of the long ones are not taken for them. */
    assert_int_equal(size_of(f, long_key(buf, "/", 'k', 1000)), -1);
    long_key(buf, "/", 'k', 1089);
    buf[1088] = 'l';
    assert_int_equal(size_of(f, mkv_slice(buf, 1089)), -1);
    for (size_t i = 0; i < COUNT(lengths); i++) {
        assert_int_equal(take_away(f, long_key(buf, "/", 'k', lengths[i])), MKV_OK);
        assert_int_equal(size_of(f, long_key(buf, "/", 'k', lengths[i])), -1);
    }
    assert_int_equal(stats_of(f).live, 0);
}

static void keys_that_can_not_be(void **state)
{
    struct fixture *f = *state;
    char buf[MKV_KEY_MAX + 1];
    struct mkv_record r = record_of(MKV_LIVE, 0, 1);
    struct mkv_index_change c = {.record_op = MKV_SET, .record = &r};
    struct waiting w = {0};

    c.key = long_key(buf, "/", 'k', MKV_KEY_MAX + 1);
    assert_int_equal(mkv_index_apply(f->ix, &c, on_done, &w), MKV_EKEYLONG);
    assert_int_equal(size_of(f, c.key), -1);
    c.key = mkv_slice("", 0);
    assert_int_equal(mkv_index_apply(f->ix, &c, on_done, &w), MKV_EINVAL);
    assert_int_equal(size_of(f, c.key), -1);
}

static void any_bytes(void **state)
{
    static const char *const keys[] = {"/\xff\xfe", "/a b%\n", "\x01", "/\xc3\xa9"};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(keys); i++)
        assert_int_equal(put_size(f, text(keys[i]), (int64_t)i), MKV_OK);
    assert_int_equal(put_size(f, mkv_slice("/\0\0", 3), 77), MKV_OK);
    for (size_t i = 0; i < COUNT(keys); i++) assert_int_equal(size_of(f, text(keys[i])), i);
    assert_int_equal(size_of(f, mkv_slice("/\0\0", 3)), 77);
    assert_int_equal(size_of(f, mkv_slice("/\0", 2)), -1);
}

static void keys_are_counted_by_state(void **state)
{
    static const struct {
        const char *key;
        enum mkv_change_op record_op;
        enum mkv_state record_state;
        enum mkv_change_op mark_op;
        unsigned live, unlinked, writing;
    } rows[] = {
        {"/a", MKV_SET,    MKV_LIVE,     MKV_KEEP,   1, 0, 0},
        {"/b", MKV_SET,    MKV_UNLINKED, MKV_KEEP,   1, 1, 0},
        {"/b", MKV_SET,    MKV_UNLINKED, MKV_KEEP,   1, 1, 0},
        {"/a", MKV_SET,    MKV_UNLINKED, MKV_KEEP,   0, 2, 0},
        {"/a", MKV_KEEP,   MKV_LIVE,     MKV_SET,    0, 2, 1},
        {"/a", MKV_KEEP,   MKV_LIVE,     MKV_SET,    0, 2, 1},
        {"/a", MKV_SET,    MKV_LIVE,     MKV_REMOVE, 1, 1, 0},
        {"/c", MKV_REMOVE, MKV_LIVE,     MKV_REMOVE, 1, 1, 0},
        {"/b", MKV_REMOVE, MKV_LIVE,     MKV_KEEP,   1, 0, 0},
        {"/a", MKV_REMOVE, MKV_LIVE,     MKV_KEEP,   0, 0, 0},
    };
    struct fixture *f = *state;
    char buf[600];

    for (unsigned twice = 0; twice < 2; twice++) { /* plain keys, then long ones */
        for (size_t i = 0; i < COUNT(rows); i++) {
            struct mkv_record r = record_of(rows[i].record_state, 0, 1);
            struct mkv_record mark = record_of(MKV_WRITING, 0, -1);
            struct mkv_index_change c = {
                .key = twice ? long_key(buf, rows[i].key, 'x', 600) : text(rows[i].key),
                .record_op = rows[i].record_op,
                .record = &r,
                .mark_op = rows[i].mark_op,
                .mark = &mark,
            };
            struct mkv_index_stats s;

            assert_int_equal(apply(f, &c), MKV_OK);
            if (i % 3 == 0) { /* the counts are on disk, not in memory */
                close_index(f);
                open_index(f);
            }
            s = stats_of(f);
            assert_int_equal(s.live, rows[i].live);
            assert_int_equal(s.unlinked, rows[i].unlinked);
            assert_int_equal(s.writing, rows[i].writing);
        }
    }
}

static void changes_of_one_group_keep_their_order(void **state)
{
    struct fixture *f = *state;
    struct waiting w = {0};

    for (int i = 0; i < 500; i++) {
        struct mkv_record r = record_of(i % 3 ? MKV_LIVE : MKV_UNLINKED, 0, i);
        struct mkv_index_change c = {.key = text(i % 2 ? "/odd" : "/even"), .record = &r};

        c.record_op = i % 7 == 6 ? MKV_REMOVE : MKV_SET;
        queue_change(f, &c, &w);
    }
    settle(f, &w);
    assert_int_equal(w.count[MKV_OK], 500);
    assert_int_equal(size_of(f, text("/odd")), 499);
    assert_int_equal(size_of(f, text("/even")), 498);
    assert_int_equal(stats_of(f).live, 1);     /* 499 % 3 is 1 */
    assert_int_equal(stats_of(f).unlinked, 1); /* 498 % 3 is 0 */
    assert_true(stats_of(f).commits < 50); /* they went in groups */
    assert_int_equal(stats_of(f).changes, 500);
}

struct reader {
    struct fixture *f;
    unsigned called;
};

static void read_what_was_committed(enum mkv_err err, void *arg)
{
    struct reader *r = arg;

    assert_int_equal(err, MKV_OK);
    assert_int_equal(size_of(r->f, text("/k")), 1);
    r->called++;
}

static void a_callback_reads_its_commit(void **state)
{
    struct fixture *f = *state;
    struct mkv_record rec = record_of(MKV_LIVE, 0, 1);
    struct mkv_index_change c = {.key = text("/k"), .record_op = MKV_SET, .record = &rec};
    struct reader r = {.f = f};

    assert_int_equal(mkv_index_apply(f->ix, &c, read_what_was_committed, &r), MKV_OK);
    assert_int_equal(size_of(f, text("/k")), -1); /* queued is not written */
    while (!r.called) {
        size_of(f, text("/k")); /* a read earlier in the turn must not hold the old state */
        mkv_loop_turn(f->loop);
    }
    assert_int_equal(r.called, 1);
}

static void closing_commits_and_calls_back(void **state)
{
    struct fixture *f = *state;
    struct mkv_record rec = record_of(MKV_LIVE, 0, 5);
    struct mkv_index_change c = {.key = text("/k"), .record_op = MKV_SET, .record = &rec};
    struct waiting w = {0};

    queue_change(f, &c, &w);
    close_index(f);
    assert_int_equal(w.left, 0);
    assert_int_equal(w.last, MKV_OK);
    open_index(f);
    assert_int_equal(size_of(f, text("/k")), 5);
}

static void write_again(enum mkv_err err, void *arg)
{
    struct fixture *f = arg;
    struct mkv_index_change c = {.key = text("/late"), .record_op = MKV_REMOVE};

    assert_int_equal(err, MKV_OK);
    assert_int_equal(mkv_index_apply(f->ix, &c, write_again, f), MKV_ESHUTDOWN);
}

static void closing_takes_no_more(void **state)
{
    struct fixture *f = *state;
    struct mkv_index_change c = {.key = text("/k"), .record_op = MKV_REMOVE};

    assert_int_equal(mkv_index_apply(f->ix, &c, write_again, f), MKV_OK);
    close_index(f);
}

/* ---- volumes -------------------------------------------------------------------------- */

static void volume_ids_are_given_once(void **state)
{
    static const char *const names[] = {"localhost:3001", "localhost:3002", "h:1/dir"};
    struct fixture *f = *state;
    char longest[256];
    uint32_t id;

    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT(names); i++) {
            assert_int_equal(mkv_index_volume_id(f->ix, text(names[i]), &id), MKV_OK);
            assert_int_equal(id, i);
        }
        close_index(f);
        open_index(f);
        assert_int_equal(mkv_index_volume_count(f->ix), COUNT(names));
        assert_slice(mkv_index_volume_name(f->ix, 2), text("h:1/dir"));
    }
    assert_null(mkv_index_volume_name(f->ix, 3).data);
    assert_int_equal(mkv_index_volume_id(f->ix, text(""), &id), MKV_EINVAL);
    assert_int_equal(mkv_index_volume_id(f->ix, long_key(longest, "h", 'x', 256), &id), MKV_EINVAL);
    assert_int_equal(mkv_index_volume_id(f->ix, long_key(longest, "h", 'x', 255), &id), MKV_OK);
    assert_int_equal(id, 3);
}

/* ---- garbage and generations ------------------------------------------------------------ */

static uint64_t next_generation(struct fixture *f, const char *key, const struct mkv_record *rec)
{
    uint64_t generation = 999;

    assert_int_equal(
        mkv_index_next_generation(f->ix, text(key), rec, &generation, NULL, NULL), MKV_OK);
    return generation;
}

static void collect(struct fixture *f, const char *key, uint64_t generation, int64_t due)
{
    struct mkv_record files = record_of(MKV_LIVE, generation, 5);
    struct mkv_index_change c = {.key = text(key), .garbage = &files, .garbage_due = due};

    assert_int_equal(apply(f, &c), MKV_OK);
}

static void garbage_done(struct fixture *f, const struct mkv_garbage *g)
{
    struct waiting w = {.left = 1};

    assert_int_equal(mkv_index_garbage_done(f->ix, g, on_done, &w), MKV_OK);
    settle(f, &w);
    assert_int_equal(w.last, MKV_OK);
}

static void garbage_comes_when_it_is_due(void **state)
{
    static const struct {
        const char *key;
        int64_t due;
    } rows[] = {{"/c", 300}, {"/a", 100}, {"/b", 200}, {"/a2", 100}, {"/old", -5}};
    static const char *const order[] = {"/old", "/a", "/a2", "/b"};
    struct fixture *f = *state;
    struct mkv_garbage g;
    int64_t due = INT64_MIN;
    uint64_t id = 0;

    for (size_t i = 0; i < COUNT(rows); i++) collect(f, rows[i].key, i, rows[i].due);
    assert_int_equal(stats_of(f).garbage, COUNT(rows));
    for (size_t i = 0; i < COUNT(order); i++) {
        assert_int_equal(mkv_index_garbage_next(f->ix, due, id, 200, &g), MKV_OK);
        assert_slice(mkv_slice(g.key, g.key_len), text(order[i]));
        assert_int_equal(g.files.nreplicas, 3);
        due = g.due;
        id = g.id;
        mkv_record_clear(&g.files);
    }
    assert_int_equal(mkv_index_garbage_next(f->ix, due, id, 200, &g), MKV_ENOKEY);
    assert_int_equal(mkv_index_garbage_next(f->ix, INT64_MIN, 0, -6, &g), MKV_ENOKEY);
    assert_int_equal(mkv_index_garbage_next(f->ix, INT64_MIN, 0, 500, &g), MKV_OK);
    garbage_done(f, &g);
    garbage_done(f, &g); /* twice does no harm */
    mkv_record_clear(&g.files);
    assert_int_equal(stats_of(f).garbage, COUNT(rows) - 1);
}

static void delayed_garbage_keeps_what_is_left(void **state)
{
    struct fixture *f = *state;
    struct mkv_record left = record_of(MKV_LIVE, 0, 5);
    struct mkv_garbage g, again;
    struct waiting w = {.left = 2};

    collect(f, "/k", 4, 100);
    assert_int_equal(mkv_index_garbage_next(f->ix, INT64_MIN, 0, 100, &g), MKV_OK);
    left.nreplicas = 1;
    assert_int_equal(mkv_index_garbage_delay(f->ix, &g, 500, &left, on_done, &w), MKV_OK);
    /* Delayed once more, by one who still knows the old time: the entry is gone. */
    assert_int_equal(mkv_index_garbage_delay(f->ix, &g, 900, NULL, on_done, &w), MKV_OK);
    settle(f, &w);
    assert_int_equal(stats_of(f).garbage, 1);
    assert_int_equal(mkv_index_garbage_next(f->ix, INT64_MIN, 0, 499, &again), MKV_ENOKEY);
    assert_int_equal(mkv_index_garbage_next(f->ix, INT64_MIN, 0, 500, &again), MKV_OK);
    assert_int_equal(again.files.nreplicas, 1);
    assert_int_equal(again.files.generation, 4);
    assert_int_equal(again.id, g.id);
    assert_int_equal(next_generation(f, "/k", NULL), 5); /* the name is still taken */
    w.left = 1;
    assert_int_equal(mkv_index_garbage_delay(f->ix, &again, 600, NULL, on_done, &w), MKV_OK);
    settle(f, &w);
    mkv_record_clear(&again.files);
    assert_int_equal(mkv_index_garbage_next(f->ix, INT64_MIN, 0, 600, &again), MKV_OK);
    assert_int_equal(again.files.nreplicas, 1);
    garbage_done(f, &again);
    assert_int_equal(next_generation(f, "/k", NULL), 0);
    mkv_record_clear(&again.files);
    mkv_record_clear(&g.files);
}

/* A deletion: the record gives way to an entry, of which the caller learns the id. */
static void condemn(struct fixture *f, const char *key, struct mkv_garbage *g)
{
    struct mkv_record files = record_of(MKV_LIVE, 4, 5);
    struct mkv_index_change c = {.key = text(key), .record_op = MKV_REMOVE, .garbage = &files,
                                 .garbage_due = 100, .garbage_id = &g->id};

    assert_int_equal(put_size(f, text(key), 5), MKV_OK);
    memset(g, 0, sizeof(*g));
    g->id = UINT64_MAX;
    assert_int_equal(apply(f, &c), MKV_OK);
    g->due = 100;
    g->files.generation = 4;
    memcpy(g->key, key, strlen(key));
    g->key_len = strlen(key);
}

static void an_entry_can_go_back_to_its_record(void **state)
{
    struct fixture *f = *state;
    struct mkv_record r = record_of(MKV_UNLINKED, 4, 5);
    struct mkv_index_change c = {.key = text("/k"), .record_op = MKV_SET, .record = &r};
    struct mkv_garbage g, other;
    struct waiting w = {0};

    condemn(f, "/other", &other);
    condemn(f, "/k", &g);
    assert_int_not_equal(g.id, other.id);
    assert_int_equal(size_of(f, text("/k")), -1);
    assert_int_equal(stats_of(f).garbage, 2);
    c.spared = &g;
    assert_int_equal(apply(f, &c), MKV_OK);
    assert_int_equal(stats_of(f).garbage, 1);
    assert_int_equal(stats_of(f).unlinked, 1);
    assert_int_equal(next_generation(f, "/k", NULL), 0); /* of garbage: none */
    assert_int_equal(next_generation(f, "/other", NULL), 5);
    c.garbage = &r;
    assert_int_equal(mkv_index_apply(f->ix, &c, on_done, &w), MKV_EINVAL);
}

static void go_later(struct fixture *f, const struct mkv_garbage *g, struct waiting *w)
{
    w->left++;
    assert_int_equal(mkv_index_garbage_done_later(f->ix, g, on_done, w), MKV_OK);
}

/* It waits for another change, and does not wait for ever; its name is free at once. */
static void an_entry_that_may_go_later(void **state)
{
    struct fixture *f = *state;
    struct waiting w = {0};
    struct mkv_garbage g, more;
    uint64_t commits;

    condemn(f, "/k", &g);
    collect(f, "/k", 2, 900); /* of an older generation */
    assert_int_equal(next_generation(f, "/k", NULL), 5);
    commits = stats_of(f).commits;
    go_later(f, &g, &w);
    mkv_loop_settle(f->loop);
    assert_int_equal(next_generation(f, "/k", NULL), 3);
    assert_int_equal(stats_of(f).commits, commits);
    assert_int_equal(put_size(f, text("/other"), 1), MKV_OK);
    settle(f, &w);
    assert_int_equal(w.last, MKV_OK);
    assert_int_equal(stats_of(f).commits, commits + 1); /* one for both */
    assert_int_equal(stats_of(f).garbage, 1);
    condemn(f, "/a", &g);
    condemn(f, "/b", &more);
    commits = stats_of(f).commits;
    go_later(f, &g, &w);
    go_later(f, &more, &w);
    settle(f, &w);
    assert_int_equal(stats_of(f).commits, commits + 1);
    assert_int_equal(stats_of(f).garbage, 1);
    assert_int_equal(next_generation(f, "/a", NULL), 0);
    assert_int_equal(next_generation(f, "/k", NULL), 3);
}

/* Two changes of two turns, while two writes are about to bring some. */
static uint64_t commits_of_two(struct fixture *f)
{
    struct mkv_record r = record_of(MKV_LIVE, 0, 1);
    struct mkv_index_change c = {.record_op = MKV_SET, .record = &r};
    struct waiting w = {0};
    uint64_t commits = stats_of(f).commits;

    mkv_index_writers(f->ix, 2);
    c.key = text("/a");
    queue_change(f, &c, &w);
    mkv_loop_settle(f->loop); /* handed over */
    mkv_index_writers(f->ix, -1);
    c.key = text("/b");
    queue_change(f, &c, &w);
    mkv_index_writers(f->ix, -1);
    settle(f, &w);
    return stats_of(f).commits - commits;
}

/* Writes that are about to bring changes are waited for, but only a moment. */
static void a_commit_gathers(void **state)
{
    struct fixture *f = *state;
    bool together = false;

    /* On a machine that is busy the second one may be too late. */
    for (int tries = 0; tries < 100 && !together; tries++) together = commits_of_two(f) == 1;
    assert_true(together);
    mkv_index_writers(f->ix, 1); /* it never brings any */
    assert_int_equal(put_size(f, text("/c"), 1), MKV_OK);
    mkv_index_writers(f->ix, -1);
}

static void no_write_takes_a_name_in_use(void **state)
{
    struct fixture *f = *state;
    struct mkv_record rec = record_of(MKV_LIVE, 0, 1), mark = record_of(MKV_WRITING, 7, -1);
    struct mkv_index_change c = {.key = text("/k"), .mark_op = MKV_SET, .mark = &mark};
    struct mkv_garbage g;

    assert_int_equal(next_generation(f, "/k", NULL), 0);
    assert_int_equal(next_generation(f, "/k", &rec), 1);
    collect(f, "/k", 0, 10);
    assert_int_equal(next_generation(f, "/k", NULL), 1);
    collect(f, "/k", 9, 30);
    collect(f, "/k", 4, 20); /* the highest is not the newest */
    collect(f, "/other", 50, 20);
    assert_int_equal(next_generation(f, "/k", NULL), 10);
    assert_int_equal(next_generation(f, "/other", NULL), 51);
    assert_int_equal(next_generation(f, "/none", NULL), 0);
    rec.generation = 12;
    assert_int_equal(next_generation(f, "/k", &rec), 13);
    assert_int_equal(apply(f, &c), MKV_OK);
    assert_int_equal(next_generation(f, "/k", NULL), 10);
    assert_int_equal(next_generation(f, "/none", NULL), 0);
    /* As the garbage goes, the names become free; the mark holds its own. */
    while (mkv_index_garbage_next(f->ix, INT64_MIN, 0, 100, &g) == MKV_OK) {
        garbage_done(f, &g);
        mkv_record_clear(&g.files);
    }
    assert_int_equal(next_generation(f, "/k", NULL), 8);
    c.mark_op = MKV_REMOVE;
    assert_int_equal(apply(f, &c), MKV_OK);
    assert_int_equal(next_generation(f, "/k", NULL), 0);
    rec.generation = MKV_GENERATION_MAX;
    uint64_t generation;
    assert_int_equal(mkv_index_next_generation(f->ix, text("/k"), &rec, &generation, NULL, NULL),
                     MKV_EINVAL);
}

static void recovery_turns_marks_into_garbage(void **state)
{
    enum { MARKED = 3000 }; /* more than one batch */
    struct fixture *f = *state;
    struct mkv_record mark = record_of(MKV_WRITING, 2, -1);
    struct mkv_index_change c = {.mark_op = MKV_SET, .mark = &mark};
    struct waiting w = {0};
    struct mkv_garbage g;
    char head[16], buf[700];
    size_t found;

    assert_int_equal(put_size(f, text("/m5"), 55), MKV_OK);
    for (unsigned i = 0; i < MARKED; i++) {
        snprintf(head, sizeof(head), "/m%u", i);
        c.key = i % 100 ? text(head) : long_key(buf, head, 'l', 700);
        queue_change(f, &c, &w);
    }
    settle(f, &w);
    close_index(f);
    open_index(f);
    assert_int_equal(mkv_index_recover(f->ix, &found), MKV_OK);
    assert_int_equal(found, MARKED);
    assert_int_equal(stats_of(f).writing, 0);
    assert_int_equal(stats_of(f).garbage, MARKED);
    assert_int_equal(size_of(f, text("/m5")), 55); /* the old value stays */
    assert_int_equal(next_generation(f, "/m7", NULL), 3);
    assert_int_equal(
        mkv_index_garbage_next(f->ix, INT64_MIN, 0, mkv_loop_wall(f->loop), &g), MKV_OK);
    assert_int_equal(g.files.generation, 2);
    mkv_record_clear(&g.files);
    assert_int_equal(mkv_index_recover(f->ix, &found), MKV_OK);
    assert_int_equal(found, 0);
}

int main(void)
{
#define WITH_INDEX(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_INDEX(a_record_comes_back_whole),
        WITH_INDEX(keys_of_every_length),
        WITH_INDEX(keys_that_can_not_be),
        WITH_INDEX(any_bytes),
        WITH_INDEX(keys_are_counted_by_state),
        WITH_INDEX(changes_of_one_group_keep_their_order),
        WITH_INDEX(a_callback_reads_its_commit),
        WITH_INDEX(closing_commits_and_calls_back),
        WITH_INDEX(closing_takes_no_more),
        WITH_INDEX(volume_ids_are_given_once),
        WITH_INDEX(garbage_comes_when_it_is_due),
        WITH_INDEX(delayed_garbage_keeps_what_is_left),
        WITH_INDEX(an_entry_can_go_back_to_its_record),
        WITH_INDEX(an_entry_that_may_go_later),
        WITH_INDEX(a_commit_gathers),
        WITH_INDEX(no_write_takes_a_name_in_use),
        WITH_INDEX(recovery_turns_marks_into_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
