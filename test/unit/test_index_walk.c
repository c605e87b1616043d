/* Walks of the index: byte order, every key once, from wherever one begins. */
#include "index_helper.h"

struct seen {
    struct mkv_slice *keys; /* owned, and each key */
    size_t n, room;
    size_t stop_after;      /* the visitor says no at that many; 0: never */
};

static bool see(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct seen *s = arg;
    struct mkv_record r;
    char *copy;

    if (s->stop_after && s->n == s->stop_after) return false;
    mkv_record_init(&r);
    assert_int_equal(mkv_record_decode(&r, data, len), MKV_OK);
    assert_int_equal(r.size, key.len); /* each record says how long its key is */
    mkv_record_clear(&r);
    if (s->n == s->room) {
        s->room = s->room ? s->room * 2 : 64;
        s->keys = realloc(s->keys, s->room * sizeof(*s->keys));
        assert_non_null(s->keys);
    }
    copy = malloc(key.len + 1);
    assert_non_null(copy);
    memcpy(copy, key.data, key.len);
    copy[key.len] = '\0';
    s->keys[s->n++] = mkv_slice(copy, key.len);
    return true;
}

static void forget(struct seen *s)
{
    for (size_t i = 0; i < s->n; i++) free((char *)s->keys[i].data);
    free(s->keys);
    memset(s, 0, sizeof(*s));
}

static int by_bytes(const void *a, const void *b)
{
    return mkv_slice_cmp(*(const struct mkv_slice *)a, *(const struct mkv_slice *)b);
}

static void queue_key(struct fixture *f, struct mkv_slice key, enum mkv_state state,
                      struct waiting *w)
{
    struct mkv_record r = record_of(state, 0, (int64_t)key.len);
    struct mkv_index_change c = {.key = key, .record_op = MKV_SET, .record = &r};

    queue_change(f, &c, w);
}

/* Keys of all kinds: short, around 479 bytes, long ones of a few groups. */
static void make_keys(struct seen *all, unsigned n)
{
    static const size_t around[] = {478, 479, 480, 511, 600, 1089};
    uint32_t seed = 7;
    char buf[MKV_KEY_MAX];

    for (unsigned i = 0; i < n; i++) {
        struct mkv_slice key;
        uint8_t data[MKV_RECORD_ENCODED_MAX];
        struct mkv_record r;

        if (i % 3 == 0) {
            int len = snprintf(buf, sizeof(buf), "/%x", next_random(&seed) % 5000);

            key = mkv_slice(buf, (size_t)len);
        } else {
            key = long_key(buf, i % 2 ? "/aa" : "/z", 'm', around[next_random(&seed) % 6]);
            if (key.len > 482) buf[481 + next_random(&seed) % (key.len - 481)] = 'a' + (char)(i % 26);
            if (i % 7 == 0 && key.len > 479) buf[478] = 'b'; /* another group */
        }
        r = record_of(MKV_LIVE, 0, (int64_t)key.len);
        mkv_record_encode(&r, data);
        see(key, data, mkv_record_encoded_len(&r), all);
    }
}

/* Sorts, and drops what is there twice. */
static void sort_keys(struct seen *s)
{
    size_t kept = 0;

    qsort(s->keys, s->n, sizeof(*s->keys), by_bytes);
    for (size_t i = 0; i < s->n; i++) {
        if (kept && mkv_slice_eq(s->keys[kept - 1], s->keys[i]))
            free((char *)s->keys[i].data);
        else
            s->keys[kept++] = s->keys[i];
    }
    s->n = kept;
}

static void fill(struct fixture *f, struct seen *all, unsigned n)
{
    struct waiting w = {0};

    make_keys(all, n);
    sort_keys(all);
    for (size_t i = 0; i < all->n; i++) /* not in their order */
        queue_key(f, all->keys[i * 7919 % all->n], MKV_LIVE, &w);
    settle(f, &w);
    assert_int_equal(stats_of(f).live, all->n);
}

static void walk_all(struct fixture *f, struct mkv_walk *w, size_t budget, struct seen *got)
{
    for (unsigned calls = 0; !w->ended; calls++) {
        assert_true(calls < 100000);
        assert_int_equal(mkv_index_walk(f->ix, w, budget, see, got), MKV_OK);
        mkv_loop_settle(f->loop); /* no transaction from call to call */
    }
}

/* got must be all the keys of all with prefix, from start on. */
static void check(const struct seen *got, const struct seen *all, struct mkv_slice prefix,
                  struct mkv_slice start)
{
    size_t n = 0;

    for (size_t i = 0; i < all->n; i++) {
        if (!mkv_slice_begins(all->keys[i], prefix)) continue;
        if (mkv_slice_cmp(all->keys[i], start) < 0) continue;
        assert_true(n < got->n);
        assert_slice(got->keys[n++], all->keys[i]);
    }
    assert_int_equal(n, got->n);
}

static void any_budget_sees_all_in_order(void **state)
{
    static const size_t budgets[] = {1, 2, 3, 10, 97, 1000, 1000000};
    struct fixture *f = *state;
    struct seen all = {0}, got = {0};

    fill(f, &all, 900);
    for (size_t i = 0; i < COUNT(budgets); i++) {
        struct mkv_walk w;

        mkv_walk_init(&w, MKV_TABLE_RECORDS, 0, text(""), text(""));
        walk_all(f, &w, budgets[i], &got);
        check(&got, &all, text(""), text(""));
        forget(&got);
    }
    forget(&all);
}

static void prefixes_and_starts(void **state)
{
    static const char *const prefixes[] = {"", "/", "/1", "/aa", "/zm", "/q", "/\xff", "0"};
    struct fixture *f = *state;
    struct seen all = {0}, got = {0};

    fill(f, &all, 600);
    for (size_t p = 0; p < COUNT(prefixes) + 12; p++) {
        /* Some prefixes are keys, or the beginnings of long keys. */
        struct mkv_slice prefix = p < COUNT(prefixes) ? text(prefixes[p]) : all.keys[p * 29 % all.n];

        if (p >= COUNT(prefixes) && prefix.len > 520) prefix.len = 460 + p * 3;
        for (size_t i = 0; i < all.n; i += 13) {
            struct mkv_walk w;

            mkv_walk_init(&w, MKV_TABLE_RECORDS, MKV_LIVE, prefix, all.keys[i]);
            walk_all(f, &w, 50, &got);
            check(&got, &all, prefix, all.keys[i]);
            forget(&got);
        }
    }
    forget(&all);
}

static void a_walk_stops_where_it_is_told(void **state)
{
    struct fixture *f = *state;
    struct seen all = {0}, got = {0};
    struct mkv_walk w;

    fill(f, &all, 400);
    mkv_walk_init(&w, MKV_TABLE_RECORDS, 0, text(""), text(""));
    for (size_t next = 1; !w.ended; next++) {
        got.stop_after = next; /* one key further each time */
        assert_int_equal(mkv_index_walk(f->ix, &w, 1000000, see, &got), MKV_OK);
        if (!w.ended) /* ?limit=N: the key left out is where the next page begins */
            assert_slice(mkv_slice(w.from, w.from_len), all.keys[next]);
    }
    check(&got, &all, text(""), text(""));
    forget(&got);
    forget(&all);
}

static void impossible_walks_are_over(void **state)
{
    struct fixture *f = *state;
    char buf[MKV_KEY_MAX + 1];
    struct mkv_slice too_long = long_key(buf, "/", 'k', sizeof(buf));
    struct mkv_walk w;

    assert_int_equal(put_size(f, text("/a"), 2), MKV_OK);
    mkv_walk_init(&w, MKV_TABLE_RECORDS, 0, too_long, text(""));
    assert_true(w.ended);
    mkv_walk_init(&w, MKV_TABLE_RECORDS, 0, text(""), too_long);
    assert_true(w.ended);
    mkv_walk_init(&w, MKV_TABLE_RECORDS, 0, text("/a"), text("/b"));
    assert_true(w.ended);
    assert_int_equal(mkv_index_walk(f->ix, &w, 10, see, NULL), MKV_OK);
    mkv_walk_init(&w, MKV_TABLE_RECORDS, 0, text("/b"), text("/a"));
    assert_false(w.ended); /* begins at the prefix */
}

static void keys_that_come_and_go_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct seen all = {0}, got = {0};
    struct waiting changes = {0};
    struct mkv_walk w;
    size_t n = 0, at = 0;

    fill(f, &all, 600);
    mkv_walk_init(&w, MKV_TABLE_RECORDS, 0, text(""), text(""));
    while (!w.ended) {
        /* Every third key goes in the midst of it, the one just seen among them. */
        assert_int_equal(mkv_index_walk(f->ix, &w, 9, see, &got), MKV_OK);
        for (unsigned i = 0; i < 8 && at < all.n; i++, at += 3) {
            struct mkv_index_change c = {.key = all.keys[at], .record_op = MKV_REMOVE};

            queue_change(f, &c, &changes);
        }
        settle(f, &changes);
    }
    for (size_t i = 0; i < got.n; i++) {
        if (i) assert_true(mkv_slice_cmp(got.keys[i - 1], got.keys[i]) < 0);
        while (!mkv_slice_eq(got.keys[i], all.keys[n])) {
            assert_int_equal(n % 3, 0); /* only one that went may be missing */
            n++;
        }
        n++;
    }
    assert_true(n + 3 >= all.n);
    forget(&got);
    forget(&all);
}

static void states_and_tables(void **state)
{
    struct fixture *f = *state;
    struct waiting w = {0};
    struct seen live = {0}, unlinked = {0}, marks = {0};
    struct mkv_walk walk;
    char buf[32];

    for (unsigned i = 0; i < 300; i++) {
        struct mkv_record mark;
        struct mkv_index_change c = {.mark_op = MKV_SET, .mark = &mark};

        snprintf(buf, sizeof(buf), "/%03u", i);
        if (i % 3 < 2) queue_key(f, text(buf), i % 3 ? MKV_UNLINKED : MKV_LIVE, &w);
        mark = record_of(MKV_WRITING, 0, 4);
        c.key = text(buf);
        if (i % 3 == 2) queue_change(f, &c, &w);
    }
    settle(f, &w);
    mkv_walk_init(&walk, MKV_TABLE_RECORDS, MKV_LIVE, text(""), text(""));
    walk_all(f, &walk, 7, &live);
    mkv_walk_init(&walk, MKV_TABLE_RECORDS, MKV_UNLINKED, text(""), text(""));
    walk_all(f, &walk, 7, &unlinked);
    mkv_walk_init(&walk, MKV_TABLE_MARKS, MKV_LIVE, text("/1"), text(""));
    walk_all(f, &walk, 7, &marks);
    assert_int_equal(live.n, 100);
    assert_slice(live.keys[1], text("/003"));
    assert_int_equal(unlinked.n, 100);
    assert_slice(unlinked.keys[1], text("/004"));
    assert_int_equal(marks.n, 33);
    assert_slice(marks.keys[0], text("/101"));
    forget(&live);
    forget(&unlinked);
    forget(&marks);
}

/* More long keys in one group than one pass picks. */
static void a_large_group(void **state)
{
    enum { KEYS = 9000 };
    struct fixture *f = *state;
    struct waiting waiting = {0};
    struct mkv_walk w;
    struct seen got = {0};
    char buf[520];

    for (unsigned i = 0; i < KEYS; i++) {
        long_key(buf, "/deep/", 'd', sizeof(buf));
        snprintf(buf + 500, 20, "%08u", i * 7919 % KEYS);
        queue_key(f, mkv_slice(buf, 508), MKV_LIVE, &waiting);
    }
    queue_key(f, text("/deeq"), MKV_LIVE, &waiting);
    settle(f, &waiting);
    mkv_walk_init(&w, MKV_TABLE_RECORDS, 0, text("/d"), text(""));
    walk_all(f, &w, 2500, &got);
    assert_int_equal(got.n, KEYS + 1);
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(strtoul(got.keys[i].data + 500, NULL, 10), i * UINT64_C(1));
    forget(&got);
}

static long resident_kb(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    long kb = -1;

    while (status && fgets(line, sizeof(line), status))
        if (!strncmp(line, "VmRSS:", 6)) kb = strtol(line + 6, NULL, 10);
    if (status) fclose(status);
    return kb;
}

static bool count(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    (void)key;
    (void)data;
    (void)len;
    ++*(size_t *)arg;
    return true;
}

static void a_walk_gives_memory_back(void **state)
{
    enum { KEYS = 200000 }; /* some 25 MB */
    struct fixture *f = *state;
    struct waiting waiting = {0};
    struct mkv_walk w;
    long before, most;
    size_t n = 0;
    char buf[96];

    if (resident_kb() < 0) skip(); /* no /proc */
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(buf, sizeof(buf), "/a-directory-of-some-length/%08x/and-a-name-as-they-are.jpg", (unsigned)(i * 2654435761u));
        queue_key(f, text(buf), MKV_LIVE, &waiting);
        if (waiting.left == 10000) settle(f, &waiting);
    }
    settle(f, &waiting);
    assert_true(stats_of(f).bytes_used > 16 << 20);
    close_index(f); /* nothing of the map is in memory */
    open_index(f);
    before = most = resident_kb();
    mkv_walk_init(&w, MKV_TABLE_RECORDS, MKV_LIVE, text(""), text(""));
    while (!w.ended) {
        assert_int_equal(mkv_index_walk(f->ix, &w, 500, count, &n), MKV_OK);
        if (resident_kb() > most) most = resident_kb();
        mkv_loop_turn(f->loop);
    }
    assert_int_equal(n, KEYS);
    assert_true(most - before < 8 * 1024);
}

int main(void)
{
#define WITH_INDEX(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_INDEX(any_budget_sees_all_in_order),
        WITH_INDEX(prefixes_and_starts),
        WITH_INDEX(a_walk_stops_where_it_is_told),
        WITH_INDEX(impossible_walks_are_over),
        WITH_INDEX(keys_that_come_and_go_meanwhile),
        WITH_INDEX(states_and_tables),
        WITH_INDEX(a_large_group),
        WITH_INDEX(a_walk_gives_memory_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
