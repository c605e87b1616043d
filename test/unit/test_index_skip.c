/* mkv_walk_skip(): a listing that shows all keys with one beginning as one goes
 * on behind them, with one look into the index. */
#include "index_helper.h"

#include <time.h>


static void queue_key(struct fixture *f, struct mkv_slice key, struct waiting *w)
{
    struct mkv_record r = record_of(MKV_LIVE, 0, (int64_t)key.len);
    struct mkv_index_change c = {.key = key, .record_op = MKV_SET, .record = &r};

    queue_change(f, &c, w);
}

struct one {
    char key[MKV_KEY_MAX];
    size_t len;
    bool refuse; /* the visitor does not take it */
    bool found;
};

static bool take(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct one *o = arg;

    (void)data;
    (void)len;
    if (o->found) return false;
    memcpy(o->key, key.data, key.len);
    o->len = key.len;
    o->found = true;
    return !o->refuse;
}

/* The next key of the walk, in o; false at its end. */
static bool next_key(struct fixture *f, struct mkv_walk *w, size_t budget, struct one *o)
{
    o->found = false;
    while (!w->ended && !o->found)
        assert_int_equal(mkv_index_walk(f->ix, w, budget, take, o), MKV_OK);
    return o->found;
}

/* ---- where the walk stands ------------------------------------------------------------ */

static void places(void **state)
{
    static const struct {
        const char *prefix, *from, *skip; /* of the walk; where it stands; what is skipped */
        const char *to;                   /* NULL: it has ended */
    } rows[] = {
        {"", "", "a/", "a0"},
        {"", "a/", "a/", "a0"},
        {"", "a/b", "a/", "a0"},
        {"", "", "a\xff", "b"},
        {"", "", "a\xff\xff\xff", "b"},
        {"", "", "a\xfe\xff", "a\xff"},
        {"", "", "\xff\xff", NULL},
        {"", "", "\xff", NULL},
        {"", "", "", NULL},
        {"b/", "b/", "b/a/", "b/a0"},
        {"b/", "b/", "b/", NULL},        /* all that was wanted  */
        {"b/", "b/x", "b", NULL},        /* and more than that   */
        {"b\xff", "b\xff", "b\xff\xff", NULL},
        {"", "b", "a/", "b"},            /* never back           */
        {"", "a0", "a/", "a0"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_walk w;

        mkv_walk_init(&w, MKV_TABLE_RECORDS, MKV_LIVE, text(rows[i].prefix), text(rows[i].from));
        w.after = true; /* what it stands on has been seen */
        mkv_walk_skip(&w, text(rows[i].skip));
        assert_int_equal(w.ended, rows[i].to == NULL);
        if (w.ended) continue;
        assert_slice(mkv_slice(w.from, w.from_len), text(rows[i].to));
        assert_int_equal(w.after, strcmp(rows[i].to, rows[i].from) == 0);
    }
}

static void longer_than_any_key(void **state)
{
    char buf[MKV_KEY_MAX + 1];
    struct mkv_walk w;

    (void)state;
    mkv_walk_init(&w, MKV_TABLE_RECORDS, MKV_LIVE, text("k"), text(""));
    mkv_walk_skip(&w, long_key(buf, "k", 'k', sizeof(buf)));
    assert_false(w.ended);
    assert_slice(mkv_slice(w.from, w.from_len), text("k"));
    mkv_walk_skip(&w, long_key(buf, "k", 'k', MKV_KEY_MAX));
    assert_int_equal(w.from_len, MKV_KEY_MAX);
    assert_int_equal(w.from[MKV_KEY_MAX - 1], 'l');
}

/* ---- a listing ---------------------------------------------------------------------------- */

/* What a listing of prefix shows: keys, and beginnings up to the delimiter. */
static struct mkv_slice shown(struct mkv_slice key, size_t prefix_len, char delimiter)
{
    const char *at = memchr(key.data + prefix_len, delimiter, key.len - prefix_len);

    return at ? mkv_slice(key.data, (size_t)(at - key.data) + 1) : key;
}

static int by_bytes(const void *a, const void *b)
{
    return mkv_slice_cmp(*(const struct mkv_slice *)a, *(const struct mkv_slice *)b);
}

/* Against what sorting and comparing all keys gives. */
static void check_listing(struct fixture *f, const struct mkv_slice *keys, size_t n,
                          struct mkv_slice prefix, char delimiter, size_t budget, bool refuse)
{
    struct one o = {.refuse = refuse};
    struct mkv_slice last = {NULL, 0};
    struct mkv_walk w;

    mkv_walk_init(&w, MKV_TABLE_RECORDS, MKV_LIVE, prefix, mkv_slice(NULL, 0));
    for (size_t i = 0; i < n; i++) {
        struct mkv_slice want, got;

        if (!mkv_slice_begins(keys[i], prefix)) continue;
        want = shown(keys[i], prefix.len, delimiter);
        if (last.data && mkv_slice_eq(want, last)) continue;
        last = want;
        assert_true(next_key(f, &w, budget, &o));
        got = shown(mkv_slice(o.key, o.len), prefix.len, delimiter);
        assert_slice(got, want);
        if (got.len < o.len || got.data[got.len - 1] == delimiter)
            mkv_walk_skip(&w, got);
        else if (refuse) /* a key that is no beginning: it is taken now */
            w.after = true;
    }
    assert_false(next_key(f, &w, budget, &o));
}

/* Short ones, ones that end in 0xff before the delimiter, and groups of long ones. */
static size_t make_keys(struct mkv_slice *keys, size_t room, char *store)
{
    static const char *const heads[] = {"/b/x", "/b/\xff\xff", "/b/y", "/a/", "/c\xff", "/b/"};
    uint32_t seed = 11;
    size_t n = 0, kept = 0;

    while (n < room) {
        char *key = store + n * MKV_KEY_MAX;
        size_t len;

        if (n % 2) {
            len = 470 + next_random(&seed) % 60;
            long_key(key, heads[next_random(&seed) % COUNT(heads)], 'l', len);
            key[462 + next_random(&seed) % (len - 462)] = "/\xff\x01"[next_random(&seed) % 3];
            key[len - 1] = (char)next_random(&seed);
        } else {
            len = (size_t)snprintf(key, MKV_KEY_MAX, "%s%x%c%x",
                                   heads[next_random(&seed) % COUNT(heads)],
                                   next_random(&seed) % 16, "/\xff-"[next_random(&seed) % 3],
                                   next_random(&seed) % 64);
        }
        if (!key[len - 1]) key[len - 1] = 'q';
        keys[n++] = mkv_slice(key, len);
    }
    qsort(keys, n, sizeof(*keys), by_bytes);
    for (size_t i = 0; i < n; i++)
        if (!kept || !mkv_slice_eq(keys[kept - 1], keys[i])) keys[kept++] = keys[i];
    return kept;
}

static void listings(void **state)
{
    enum { KEYS = 700 };
    static const char *const prefixes[] = {"", "/", "/b", "/b/", "/b/\xff", "/c\xff", "/z"};
    static const char delimiters[] = {'/', '\xff', 'l', '\x01', '-'};
    static const size_t budgets[] = {1, 3, 1000};
    struct fixture *f = *state;
    struct mkv_slice *keys = calloc(KEYS, sizeof(*keys));
    char *store = calloc(KEYS, MKV_KEY_MAX);
    struct waiting w = {0};
    size_t n;

    assert_non_null(keys);
    assert_non_null(store);
    n = make_keys(keys, KEYS, store);
    for (size_t i = 0; i < n; i++) queue_key(f, keys[i], &w);
    settle(f, &w);
    for (size_t p = 0; p < COUNT(prefixes) + 6; p++) {
        struct mkv_slice prefix = p < COUNT(prefixes) ? text(prefixes[p]) : keys[p * 53 % n];

        if (p >= COUNT(prefixes) && prefix.len > 475) prefix.len -= 5;
        for (size_t d = 0; d < COUNT(delimiters); d++)
            for (size_t b = 0; b < COUNT(budgets); b++)
                for (unsigned refuse = 0; refuse < 2; refuse++)
                    check_listing(f, keys, n, prefix, delimiters[d], budgets[b], refuse);
    }
    free(store);
    free(keys);
}

/* A prefix longer than what LMDB compares, and its keys the last of the table. */
static void within_a_group(void **state)
{
    struct fixture *f = *state;
    struct waiting waiting = {0};
    struct one o = {.refuse = true};
    struct mkv_walk w;
    char buf[520];

    for (unsigned i = 0; i < 100; i++) {
        long_key(buf, "/g", '\xff', sizeof(buf));
        buf[500] = (char)('0' + i % 5);
        buf[501] = '/';
        buf[510] = (char)(i + 1);
        queue_key(f, mkv_slice(buf, 511), &waiting);
    }
    settle(f, &waiting);
    mkv_walk_init(&w, MKV_TABLE_RECORDS, MKV_LIVE, text("/"), text(""));
    for (int i = 0; i < 5; i++) {
        assert_true(next_key(f, &w, 1000, &o)); /* stopped at a key within the prefix */
        assert_int_equal(o.key[500], '0' + i);
        mkv_walk_skip(&w, mkv_slice(o.key, 502));
        mkv_loop_settle(f->loop);
    }
    assert_false(next_key(f, &w, 1000, &o));
    assert_true(w.ended);
}

static void marks_too(void **state)
{
    static const char *const keys[] = {"/a/1", "/a/2", "/a\xff", "/b"};
    struct fixture *f = *state;
    struct waiting waiting = {0};
    struct one o = {.refuse = false};
    struct mkv_walk w;

    for (size_t i = 0; i < COUNT(keys); i++) {
        struct mkv_record mark = record_of(MKV_WRITING, 0, 1);
        struct mkv_index_change c = {.key = text(keys[i]), .mark_op = MKV_SET, .mark = &mark};

        queue_change(f, &c, &waiting);
    }
    settle(f, &waiting);
    mkv_walk_init(&w, MKV_TABLE_MARKS, 0, text("/"), text(""));
    mkv_walk_skip(&w, text("/a/"));
    assert_true(next_key(f, &w, 1, &o));
    assert_slice(mkv_slice(o.key, o.len), text("/a\xff"));
    mkv_walk_skip(&w, text("/a"));
    assert_true(next_key(f, &w, 1, &o));
    assert_slice(mkv_slice(o.key, o.len), text("/b"));
}

/* ---- what it costs ---------------------------------------------------------------------------- */

static double own_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void one_look_for_each_prefix(void **state)
{
    enum { PREFIXES = 1000, KEYS = 200 };
    struct fixture *f = *state;
    struct waiting waiting = {0};
    double best = 1e9;
    char buf[64];

    for (unsigned i = 0; i < PREFIXES * KEYS; i++) {
        snprintf(buf, sizeof(buf), "/bucket/dir%04u/file%04u.jpg", i / KEYS, i % KEYS);
        queue_key(f, text(buf), &waiting);
        if (waiting.left == 10000) settle(f, &waiting);
    }
    settle(f, &waiting);
    for (unsigned round = 0; round < 5; round++) {
        struct one o = {.refuse = false};
        double start = own_ms();
        struct mkv_walk w;
        unsigned n = 0;

        mkv_walk_init(&w, MKV_TABLE_RECORDS, MKV_LIVE, text("/bucket/"), text(""));
        while (next_key(f, &w, 1, &o)) {
            mkv_walk_skip(&w, shown(mkv_slice(o.key, o.len), 8, '/'));
            n++;
        }
        assert_int_equal(n, PREFIXES);
        if (own_ms() - start < best) best = own_ms() - start;
        mkv_loop_settle(f->loop);
    }
    print_message("%u common prefixes of %u keys: %.2f ms\n", PREFIXES, KEYS, best);
    if (!SANITIZED && !getenv("MKV_VALGRIND")) assert_true(best < 10);
}

int main(void)
{
#define WITH_INDEX(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places),
        cmocka_unit_test(longer_than_any_key),
        WITH_INDEX(listings),
        WITH_INDEX(within_a_group),
        WITH_INDEX(marks_too),
        WITH_INDEX(one_look_for_each_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
