/* Multipart uploads and their parts in the index. */
#include "index_helper.h"

#include "index/entries.h"

#include <lmdb.h>

#define ID_LEN MKV_UPLOAD_ID_LEN

static void make_id(uint8_t id[ID_LEN], unsigned n)
{
    memset(id, 0, ID_LEN);
    id[0] = (uint8_t)(n * 37);
    id[ID_LEN - 1] = (uint8_t)n;
}

static enum mkv_err put_upload(struct fixture *f, struct mkv_slice key, unsigned n)
{
    struct mkv_upload u = {.key_len = key.len};
    struct waiting w = {.left = 1};
    enum mkv_err err;

    make_id(u.id, n);
    memcpy(u.key, key.data, key.len);
    mkv_record_init(&u.what);
    u.what.mtime = 1000 + n;
    err = mkv_index_upload_put(f->ix, &u, on_done, &w);
    if (err) return err;
    assert_int_equal(w.left, 1);
    settle(f, &w);
    return w.last;
}

static enum mkv_err remove_upload(struct fixture *f, struct mkv_slice key, unsigned n)
{
    struct waiting w = {.left = 1};
    uint8_t id[ID_LEN];
    enum mkv_err err;

    make_id(id, n);
    err = mkv_index_upload_remove(f->ix, key, id, on_done, &w);
    if (err) return err;
    settle(f, &w);
    return w.last;
}

static void queue_part(struct fixture *f, struct mkv_slice key, unsigned n, unsigned number,
                       uint64_t serial, struct waiting *w)
{
    struct mkv_part p = {.number = number, .serial = serial};
    uint8_t id[ID_LEN];

    make_id(id, n);
    mkv_record_init(&p.what);
    p.what.size = number * INT64_C(1000);
    p.what.has_md5 = true;
    memset(p.what.md5, (int)number, sizeof(p.what.md5));
    assert_int_equal(mkv_record_set_field(&p.what, MKV_FIELD_CHECKSUMS, text("crc32-of-it")), MKV_OK);
    w->left++;
    assert_int_equal(mkv_index_part_put(f->ix, key, id, &p, on_done, w), MKV_OK);
    mkv_record_clear(&p.what);
}

static enum mkv_err put_part(struct fixture *f, struct mkv_slice key, unsigned n, unsigned number,
                             uint64_t serial)
{
    struct waiting w = {0};

    queue_part(f, key, n, number, serial, &w);
    settle(f, &w);
    return w.last;
}

static unsigned count_parts(struct fixture *f, unsigned n)
{
    struct mkv_part p = {.number = 0};
    uint8_t id[ID_LEN];
    unsigned count = 0;

    make_id(id, n);
    mkv_record_init(&p.what);
    while (!mkv_index_part_next(f->ix, id, p.number, &p)) count++;
    mkv_record_clear(&p.what);
    return count;
}

static bool has_upload(struct fixture *f, struct mkv_slice key, unsigned n)
{
    struct mkv_upload u;
    uint8_t id[ID_LEN];
    enum mkv_err err;

    make_id(id, n);
    mkv_record_init(&u.what);
    err = mkv_index_upload_get(f->ix, key, id, &u);
    if (!err) {
        assert_slice(mkv_slice(u.key, u.key_len), key);
        assert_memory_equal(u.id, id, ID_LEN);
        assert_int_equal(u.what.mtime, 1000 + n);
    }
    mkv_record_clear(&u.what);
    return !err;
}

/* ---- one upload ----------------------------------------------------------------------- */

static void an_upload_comes_back_whole(void **state)
{
    struct fixture *f = *state;
    struct mkv_upload u = {.key_len = 4, .key = "/b/k"}, back;
    struct waiting w = {.left = 1};
    struct mkv_slice value;

    make_id(u.id, 200);
    mkv_record_init(&u.what);
    u.what.mtime = 1793786400;
    assert_int_equal(mkv_record_set_field(&u.what, MKV_FIELD_CONTENT_TYPE, text("a/b")), MKV_OK);
    assert_int_equal(mkv_record_set_field(&u.what, MKV_FIELD_USER_METADATA, text("x")), MKV_OK);
    assert_int_equal(mkv_index_upload_put(f->ix, &u, on_done, &w), MKV_OK);
    settle(f, &w);
    assert_int_equal(w.last, MKV_OK);
    close_index(f);
    open_index(f);
    mkv_record_init(&back.what);
    assert_int_equal(mkv_index_upload_get(f->ix, text("/b/k"), u.id, &back), MKV_OK);
    assert_slice(mkv_slice(back.key, back.key_len), text("/b/k"));
    assert_memory_equal(back.id, u.id, ID_LEN);
    assert_int_equal(back.what.mtime, 1793786400);
    assert_true(mkv_record_field(&back.what, MKV_FIELD_CONTENT_TYPE, &value));
    assert_slice(value, text("a/b"));
    assert_int_equal(stats_of(f).uploads, 1);
    u.id[3] ^= 1;
    assert_int_equal(mkv_index_upload_get(f->ix, text("/b/k"), u.id, &back), MKV_ENOKEY);
    assert_int_equal(mkv_index_upload_get(f->ix, text("/b/"), back.id, &back), MKV_ENOKEY);
    mkv_record_clear(&back.what);
    mkv_record_clear(&u.what);
}

static void keys_of_every_length(void **state)
{
    static const size_t lengths[] = {1, 461, 462, 463, 464, 479, 480, 511, 1089};
    struct fixture *f = *state;
    char buf[MKV_KEY_MAX];

    for (unsigned i = 0; i < COUNT(lengths); i++)
        assert_int_equal(put_upload(f, long_key(buf, "/", 'k', lengths[i]), i), MKV_OK);
    for (unsigned i = 0; i < COUNT(lengths); i++) {
        assert_true(has_upload(f, long_key(buf, "/", 'k', lengths[i]), i));
        assert_false(has_upload(f, long_key(buf, "/", 'k', lengths[i]), i + 1));
        buf[lengths[i] - 1] = 'l';
        assert_false(has_upload(f, mkv_slice(buf, lengths[i]), i));
        assert_int_equal(put_part(f, long_key(buf, "/", 'k', lengths[i]), i, 1, 1), MKV_OK);
    }
    for (unsigned i = 0; i < COUNT(lengths); i++) {
        assert_int_equal(remove_upload(f, long_key(buf, "/", 'k', lengths[i]), i), MKV_OK);
        assert_int_equal(count_parts(f, i), 0);
        assert_int_equal(stats_of(f).uploads, COUNT(lengths) - i - 1);
    }
}

static void what_can_not_be(void **state)
{
    struct fixture *f = *state;
    struct mkv_upload u = {.key_len = MKV_KEY_MAX + 1};
    struct mkv_part p = {.number = 0};
    uint8_t id[ID_LEN] = {0};

    mkv_record_init(&u.what);
    mkv_record_init(&p.what);
    assert_int_equal(mkv_index_upload_put(f->ix, &u, on_done, NULL), MKV_EKEYLONG);
    u.key_len = 0;
    assert_int_equal(mkv_index_upload_put(f->ix, &u, on_done, NULL), MKV_EINVAL);
    u.key_len = 2; /* two NULs */
    assert_int_equal(mkv_index_upload_put(f->ix, &u, on_done, NULL), MKV_EKEYNUL);
    assert_int_equal(mkv_index_part_put(f->ix, text("/k"), id, &p, on_done, NULL), MKV_EINVAL);
    p.number = MKV_PARTS_MAX + 1;
    assert_int_equal(mkv_index_part_put(f->ix, text("/k"), id, &p, on_done, NULL), MKV_EINVAL);
    assert_int_equal(mkv_index_part_get(f->ix, id, 0, &p), MKV_ENOKEY);
    assert_int_equal(mkv_index_part_get(f->ix, id, MKV_PARTS_MAX + 1, &p), MKV_ENOKEY);
    assert_int_equal(mkv_index_part_next(f->ix, id, UINT32_MAX, &p), MKV_ENOKEY);
    assert_int_equal(mkv_index_upload_get(f->ix, text(""), id, &u), MKV_ENOKEY);
}

/* ---- order ----------------------------------------------------------------------------- */

struct pair {
    struct mkv_slice key;
    uint8_t id[ID_LEN];
};

static int by_key_and_id(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = mkv_slice_cmp(x->key, y->key);

    return order ? order : memcmp(x->id, y->id, ID_LEN);
}

/* Short keys, some of which begin others, and groups of long ones; three ids each. */
static size_t make_pairs(struct fixture *f, struct pair *pairs, size_t keys, char *store)
{
    static const char *const short_keys[] = {"/", "/a", "/a/b", "/a\x01", "/ab", "/b", "\xff"};
    uint32_t seed = 5;
    size_t n = 0;

    for (size_t i = 0; i < keys; i++) {
        char *key = store + i * MKV_KEY_MAX;
        struct mkv_slice made = long_key(key, i % 2 ? "/a/" : "/b", 'l', 455 + i);

        if (i < COUNT(short_keys)) made = mkv_slice(key, strlen(short_keys[i]));
        if (i < COUNT(short_keys)) memcpy(key, short_keys[i], made.len);
        if (made.len > 464) key[463 + next_random(&seed) % (made.len - 463)] = 'a' + (char)(i % 26);
        for (unsigned k = 0; k < 3; k++, n++) {
            unsigned number = next_random(&seed) % 250;

            for (size_t other = n - k; other < n; other++)
                while (pairs[other].id[ID_LEN - 1] == number) number++;
            pairs[n].key = made;
            make_id(pairs[n].id, number);
            assert_int_equal(put_upload(f, made, number), MKV_OK);
        }
    }
    qsort(pairs, n, sizeof(*pairs), by_key_and_id);
    return n;
}

/* The next one alone. */
static enum mkv_err next_upload(struct fixture *f, struct mkv_slice prefix, struct mkv_slice key,
                                const uint8_t *id, struct mkv_upload *u)
{
    const struct mkv_upload_query q = {.prefix = prefix, .key = key, .id = id};
    size_t n;
    enum mkv_err err = mkv_index_upload_list(f->ix, &q, u, 1, &n);

    assert_int_equal(n, err ? 0 : 1);
    return err;
}

/* All with prefix, from the place on that is at pairs[from]; NULL id where skip. */
static void check_list(struct fixture *f, const struct pair *pairs, size_t n,
                       struct mkv_slice prefix, size_t from, bool skip)
{
    struct mkv_slice key = from < n ? pairs[from].key : text("");
    const uint8_t *id = from < n && !skip ? pairs[from].id : NULL;
    struct mkv_upload u;

    mkv_record_init(&u.what);
    for (size_t i = 0; i < n; i++) {
        if (!mkv_slice_begins(pairs[i].key, prefix)) continue;
        if (from < n && (skip ? mkv_slice_cmp(pairs[i].key, key) <= 0 : i <= from)) continue;
        assert_int_equal(next_upload(f, prefix, key, id, &u), MKV_OK);
        assert_slice(mkv_slice(u.key, u.key_len), pairs[i].key);
        assert_memory_equal(u.id, pairs[i].id, ID_LEN);
        key = mkv_slice(u.key, u.key_len); /* what comes out goes in again */
        id = u.id;
        from = n;
    }
    assert_int_equal(next_upload(f, prefix, key, id, &u), MKV_ENOKEY);
    mkv_record_clear(&u.what);
}

static void listed_in_order(void **state)
{
    enum { KEYS = 60 };
    static const char *const prefixes[] = {"", "/", "/a", "/a/", "/b", "/c", "\xff", "/b/"};
    struct fixture *f = *state;
    struct pair *pairs = calloc(3 * KEYS, sizeof(*pairs));
    char *store = calloc(KEYS, MKV_KEY_MAX);
    size_t n;

    assert_non_null(pairs);
    assert_non_null(store);
    n = make_pairs(f, pairs, KEYS, store);
    for (size_t p = 0; p < COUNT(prefixes) + 8; p++) {
        struct mkv_slice prefix =
            p < COUNT(prefixes) ? text(prefixes[p]) : pairs[(p * 41 + 70) % n].key;

        if (p >= COUNT(prefixes) + 4) prefix.len -= prefix.len / 99; /* around the limit */
        check_list(f, pairs, n, prefix, n, false);
        for (size_t from = 0; from < n; from += 4) {
            if (mkv_slice_begins(pairs[from].key, prefix)) {
                check_list(f, pairs, n, prefix, from, false);
                check_list(f, pairs, n, prefix, from, true);
            }
        }
    }
    free(store);
    free(pairs);
}

/* However many are asked for at a time, none is left out and none comes twice. */
static void listed_some_at_a_time(void **state)
{
    enum { KEYS = 60, ROOM = 40 };
    struct fixture *f = *state;
    struct pair *pairs = calloc(3 * KEYS, sizeof(*pairs));
    struct mkv_upload *out = calloc(ROOM, sizeof(*out));
    char *store = calloc(KEYS, MKV_KEY_MAX);
    bool several = false;
    size_t n;

    assert_true(pairs && out && store);
    for (size_t i = 0; i < ROOM; i++) mkv_record_init(&out[i].what);
    n = make_pairs(f, pairs, KEYS, store);
    for (size_t max = 1; max <= ROOM; max += 3) {
        struct mkv_upload_query q = {.id = NULL};
        size_t at = 0, got;

        while (!mkv_index_upload_list(f->ix, &q, out, max, &got)) {
            assert_in_range(got, 1, max);
            several = several || got > 1;
            for (size_t i = 0; i < got; i++, at++) {
                assert_slice(mkv_slice(out[i].key, out[i].key_len), pairs[at].key);
                assert_memory_equal(out[i].id, pairs[at].id, ID_LEN);
            }
            q.key = mkv_slice(out[got - 1].key, out[got - 1].key_len);
            q.id = out[got - 1].id;
        }
        assert_int_equal(at, n);
    }
    assert_true(several); /* of a group of long keys */
    for (size_t i = 0; i < ROOM; i++) mkv_record_clear(&out[i].what);
    free(store);
    free(out);
    free(pairs);
}

static size_t up_to_second_slash(struct mkv_slice key, void *arg)
{
    const char *slash = memchr(key.data + 1, '/', key.len - 1);

    (void)arg;
    return slash ? (size_t)(slash - key.data) + 1 : 0;
}

/* Of a group of long keys with common prefixes the first of each is enough. */
static void one_for_each_common_prefix(void **state)
{
    const struct mkv_upload_query q = {.common = up_to_second_slash};
    struct fixture *f = *state;
    char key[700] = {'/'};
    struct mkv_upload out[4];
    size_t n;

    memset(key + 1, 'x', sizeof(key) - 1);
    for (unsigned i = 0; i < 90; i++) {
        key[500] = (char)('a' + i % 3);
        key[501] = i % 3 == 2 ? 'x' : '/'; /* those with 'c' stand for themselves */
        key[600] = (char)('A' + (i * 7) % 30);
        assert_int_equal(put_upload(f, mkv_slice(key, sizeof(key)), 100 - i), MKV_OK);
    }
    for (size_t i = 0; i < COUNT(out); i++) mkv_record_init(&out[i].what);
    assert_int_equal(mkv_index_upload_list(f->ix, &q, out, COUNT(out), &n), MKV_OK);
    assert_int_equal(n, COUNT(out));
    for (size_t i = 0; i < n; i++) assert_int_equal(out[i].key[500], "abcc"[i]);
    for (size_t i = 0; i < 2; i++) /* the first of those */
        assert_int_equal(out[i].key[600], "AB"[i]);
    for (size_t i = 0; i < COUNT(out); i++) mkv_record_clear(&out[i].what);
}

/* Each once, in whatever order, also where the one at hand goes meanwhile. */
static void gone_through(void **state)
{
    enum { KEYS = 40 };
    struct fixture *f = *state;
    struct pair *pairs = calloc(3 * KEYS, sizeof(*pairs));
    bool seen[3 * KEYS] = {false};
    char *store = calloc(KEYS, MKV_KEY_MAX);
    struct mkv_upload u = {.key_len = 0};
    size_t n, count = 0;

    assert_true(pairs && store);
    mkv_record_init(&u.what);
    n = make_pairs(f, pairs, KEYS, store);
    while (!mkv_index_upload_after(f->ix, mkv_slice(u.key, u.key_len), u.id, &u)) {
        size_t i = 0;

        while (i < n && (!mkv_slice_eq(pairs[i].key, mkv_slice(u.key, u.key_len)) ||
                         memcmp(pairs[i].id, u.id, ID_LEN) != 0))
            i++;
        assert_true(i < n && !seen[i]);
        seen[i] = true;
        if (count++ % 2) assert_int_equal(remove_upload(f, pairs[i].key, pairs[i].id[ID_LEN - 1]), MKV_OK);
    }
    assert_int_equal(count, n);
    mkv_record_clear(&u.what);
    free(store);
    free(pairs);
}

/* Where one goes on need not be an upload, nor a key that could be one. */
static void from_any_place(void **state)
{
    static const struct {
        const char *prefix, *key;
        const char *next; /* NULL: none */
    } rows[] = {
        {"", "", "/a"},     {"", "/", "/a"},    {"", "/a", "/c"},   {"", "/b", "/c"},
        {"/c", "", "/c"},   {"/c", "/a", "/c"}, {"/c", "/c", NULL}, {"/b", "", NULL},
        {"/a", "/b", NULL}, {"", "/d", NULL},
    };
    struct fixture *f = *state;
    char longer[2 * MKV_KEY_MAX];
    struct mkv_upload u;

    assert_int_equal(put_upload(f, text("/a"), 1), MKV_OK);
    assert_int_equal(put_upload(f, text("/c"), 2), MKV_OK);
    mkv_record_init(&u.what);
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum mkv_err err =
            next_upload(f, text(rows[i].prefix), text(rows[i].key), NULL, &u);

        assert_int_equal(err, rows[i].next ? MKV_OK : MKV_ENOKEY);
        if (!err) assert_slice(mkv_slice(u.key, u.key_len), text(rows[i].next));
    }
    assert_int_equal(
        next_upload(f, text(""), long_key(longer, "/a", 'x', sizeof(longer)), NULL, &u),
        MKV_OK);
    assert_slice(mkv_slice(u.key, u.key_len), text("/c"));
    assert_int_equal(next_upload(f, text(""), mkv_slice("/a\0", 3), NULL, &u), MKV_OK);
    assert_slice(mkv_slice(u.key, u.key_len), text("/c"));
    mkv_record_clear(&u.what);
}

/* ---- parts -------------------------------------------------------------------------------- */

static void parts_in_order(void **state)
{
    static const unsigned numbers[] = {10000, 1, 300, 2, 256, 255, 9999};
    static const unsigned sorted[] = {1, 2, 255, 256, 300, 9999, 10000};
    struct fixture *f = *state;
    struct mkv_part p = {.number = 0};
    struct mkv_slice value;
    uint8_t id[ID_LEN];

    for (unsigned n = 1; n < 4; n++) assert_int_equal(put_upload(f, text("/k"), n), MKV_OK);
    for (size_t i = 0; i < COUNT(numbers); i++)
        assert_int_equal(put_part(f, text("/k"), 2, numbers[i], UINT64_MAX - i), MKV_OK);
    assert_int_equal(put_part(f, text("/k"), 1, 7, 1), MKV_OK);
    assert_int_equal(put_part(f, text("/k"), 3, 7, 1), MKV_OK);
    mkv_record_init(&p.what);
    make_id(id, 2);
    for (size_t i = 0; i < COUNT(sorted); i++) {
        assert_int_equal(mkv_index_part_next(f->ix, id, p.number, &p), MKV_OK);
        assert_int_equal(p.number, sorted[i]);
        assert_int_equal(p.what.size, sorted[i] * 1000);
        assert_int_equal(p.what.md5[5], (uint8_t)sorted[i]);
        assert_true(mkv_record_field(&p.what, MKV_FIELD_CHECKSUMS, &value));
        assert_slice(value, text("crc32-of-it"));
    }
    assert_int_equal(mkv_index_part_next(f->ix, id, p.number, &p), MKV_ENOKEY);
    assert_int_equal(mkv_index_part_get(f->ix, id, 300, &p), MKV_OK);
    assert_true(p.serial == UINT64_MAX - 2);
    assert_int_equal(put_part(f, text("/k"), 2, 300, 12), MKV_OK); /* in its place */
    assert_int_equal(mkv_index_part_get(f->ix, id, 300, &p), MKV_OK);
    assert_int_equal(p.serial, 12);
    assert_int_equal(count_parts(f, 2), COUNT(numbers));
    assert_int_equal(mkv_index_part_get(f->ix, id, 301, &p), MKV_ENOKEY);
    mkv_record_clear(&p.what);
}

static void a_part_of_what_is_gone(void **state)
{
    struct fixture *f = *state;
    struct waiting parts = {0}, gone = {.left = 1};
    uint8_t id[ID_LEN];

    make_id(id, 1);
    assert_int_equal(put_part(f, text("/k"), 1, 1, 1), MKV_ENOKEY);
    assert_int_equal(put_upload(f, text("/k"), 1), MKV_OK);
    assert_int_equal(put_part(f, text("/other"), 1, 1, 1), MKV_ENOKEY);
    queue_part(f, text("/k"), 1, 1, 1, &parts); /* all three in one commit */
    assert_int_equal(mkv_index_upload_remove(f->ix, text("/k"), id, on_done, &gone), MKV_OK);
    queue_part(f, text("/k"), 1, 2, 1, &parts);
    settle(f, &parts);
    settle(f, &gone);
    assert_int_equal(parts.count[MKV_OK], 1);
    assert_int_equal(parts.count[MKV_ENOKEY], 1);
    assert_int_equal(gone.last, MKV_OK);
    assert_int_equal(count_parts(f, 1), 0);
    assert_int_equal(stats_of(f).uploads, 0);
    assert_int_equal(stats_of(f).failed, 0); /* no write failed */
    assert_int_equal(remove_upload(f, text("/k"), 1), MKV_OK); /* it may be asked for twice */
}

static void fill_upload(struct fixture *f, unsigned n, unsigned parts)
{
    struct waiting w = {0};

    assert_int_equal(put_upload(f, text("/big"), n), MKV_OK);
    for (unsigned i = 1; i <= parts; i++) queue_part(f, text("/big"), n, i, i, &w);
    settle(f, &w);
    assert_int_equal(w.count[MKV_OK], parts);
}

static void an_upload_goes_with_all_its_parts(void **state)
{
    struct fixture *f = *state;
    uint64_t commits;

    fill_upload(f, 1, 20);
    fill_upload(f, 2, MKV_PARTS_MAX);
    fill_upload(f, 3, 20);
    assert_int_equal(count_parts(f, 2), MKV_PARTS_MAX);
    commits = stats_of(f).commits;
    assert_int_equal(remove_upload(f, text("/big"), 2), MKV_OK);
    assert_int_equal(stats_of(f).commits, commits + 1);
    assert_int_equal(count_parts(f, 2), 0);
    assert_int_equal(count_parts(f, 1), 20);
    assert_int_equal(count_parts(f, 3), 20);
    close_index(f);
    open_index(f);
    assert_int_equal(stats_of(f).uploads, 2);
    assert_int_equal(count_parts(f, 2), 0);
}

/* ---- no space ------------------------------------------------------------------------------ */

static void a_full_index_lets_uploads_go(void **state)
{
    struct fixture *f = *state;
    struct waiting w = {0};
    unsigned n = 0;
    char buf[64];

    close_index(f);
    remove_tree(f->dir);
    f->opt.map_size = 5 << 20;
    open_index(f);
    fill_upload(f, 1, MKV_PARTS_MAX);
    while (!w.count[MKV_ENOSPACE]) {
        for (unsigned i = 0; i < 100; i++) {
            struct mkv_record r = record_of(MKV_LIVE, 0, 1);
            struct mkv_index_change c = {.record_op = MKV_SET, .record = &r};

            snprintf(buf, sizeof(buf), "/fill/%07u", n++);
            c.key = text(buf);
            queue_change(f, &c, &w);
        }
        settle(f, &w);
        assert_true(n < 1000000);
    }
    assert_true(stats_of(f).full);
    assert_int_equal(put_upload(f, text("/more"), 9), MKV_ENOSPACE);
    assert_int_equal(remove_upload(f, text("/big"), 1), MKV_OK);
    assert_int_equal(count_parts(f, 1), 0);
    assert_int_equal(put_size(f, text("/again"), 1), MKV_OK);
    assert_int_equal(put_upload(f, text("/more"), 9), MKV_OK);
    assert_false(stats_of(f).full);
    assert_false(stats_of(f).broken);
}

/* ---- bytes from the disk, copies -------------------------------------------------------------- */

static void damaged_entries_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct mkv_upload u;
    uint8_t id[ID_LEN];
    char value[64] = "\1\0\2/b\1";
    MDB_val k = {3 + ID_LEN, value + 32}, v = {5, value};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    assert_int_equal(put_upload(f, text("/a"), 1), MKV_OK);
    assert_int_equal(put_upload(f, text("/c"), 1), MKV_OK);
    close_index(f);
    memcpy(value + 32, "/b", 3);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, f->dir, 0, 0644), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "uploads", 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0); /* its record is cut off */
    value[32 + ID_LEN] = 'z'; /* another id */
    v.mv_size = 4;
    assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0); /* and its key */
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    open_index(f);
    mkv_record_init(&u.what);
    make_id(id, 1);
    assert_int_equal(next_upload(f, text(""), text("/a"), id, &u), MKV_OK);
    assert_slice(mkv_slice(u.key, u.key_len), text("/c"));
    memset(id, 0, sizeof(id));
    assert_int_equal(mkv_index_upload_get(f->ix, text("/b"), id, &u), MKV_ECORRUPT);
    mkv_record_clear(&u.what);
}

static void a_copy_has_none(void **state)
{
    struct fixture *f = *state;
    struct waiting w = {.left = 1};
    struct mkv_bucket b = {.name = "b", .name_len = 1};
    char dir[128];

    fill_upload(f, 1, 10);
    assert_int_equal(mkv_index_bucket_put(f->ix, &b, on_done, &w), MKV_OK);
    settle(f, &w);
    snprintf(dir, sizeof(dir), "%s/copy", f->dir);
    if (mkv_index_backup(f->ix, dir, f->why, sizeof(f->why))) fail_msg("%s", f->why);
    close_index(f);
    f->opt.dir = dir;
    open_index(f);
    assert_int_equal(stats_of(f).uploads, 0);
    assert_int_equal(count_parts(f, 1), 0);
    assert_int_equal(stats_of(f).buckets, 1);
}

int main(void)
{
#define WITH_INDEX(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_INDEX(an_upload_comes_back_whole),
        WITH_INDEX(keys_of_every_length),
        WITH_INDEX(what_can_not_be),
        WITH_INDEX(listed_in_order),
        WITH_INDEX(listed_some_at_a_time),
        WITH_INDEX(one_for_each_common_prefix),
        WITH_INDEX(gone_through),
        WITH_INDEX(from_any_place),
        WITH_INDEX(parts_in_order),
        WITH_INDEX(a_part_of_what_is_gone),
        WITH_INDEX(an_upload_goes_with_all_its_parts),
        WITH_INDEX(a_full_index_lets_uploads_go),
        WITH_INDEX(damaged_entries_are_left_out),
        WITH_INDEX(a_copy_has_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
