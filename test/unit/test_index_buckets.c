/* Buckets in the index; and indexes made before there were any. */
#include "index_helper.h"

#include "index/entries.h"

#include <lmdb.h>

static struct mkv_bucket bucket_of(const char *name, const char *owner, int64_t created)
{
    struct mkv_bucket b = {.name_len = strlen(name), .owner_len = strlen(owner), .created = created};

    memcpy(b.name, name, b.name_len);
    memcpy(b.owner, owner, b.owner_len);
    return b;
}

static enum mkv_err put_bucket(struct fixture *f, const char *name, const char *owner,
                               int64_t created)
{
    struct mkv_bucket b = bucket_of(name, owner, created);
    struct waiting w = {.left = 1};
    enum mkv_err err = mkv_index_bucket_put(f->ix, &b, on_done, &w);

    if (err) return err;
    assert_int_equal(w.left, 1); /* never inside the call */
    settle(f, &w);
    return w.last;
}

static enum mkv_err remove_bucket(struct fixture *f, const char *name)
{
    struct waiting w = {.left = 1};
    enum mkv_err err = mkv_index_bucket_remove(f->ix, text(name), on_done, &w);

    if (err) return err;
    settle(f, &w);
    return w.last;
}

static struct mkv_slice name_of(const struct mkv_bucket *b)
{
    return mkv_slice(b->name, b->name_len);
}

static const char longest[] = "a23456789-123456789-123456789-123456789-123456789-123456789-123";

static void a_bucket_comes_back_whole(void **state)
{
    struct fixture *f = *state;
    char owner[MKV_OWNER_MAX + 1];
    struct mkv_bucket b;

    memset(owner, 'k', MKV_OWNER_MAX);
    owner[MKV_OWNER_MAX] = '\0';
    assert_int_equal(put_bucket(f, longest, owner, 1793786400), MKV_OK);
    assert_int_equal(put_bucket(f, "nobodys", "", -7), MKV_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(mkv_index_bucket_get(f->ix, text(longest), &b), MKV_OK);
        assert_slice(name_of(&b), text(longest));
        assert_slice(mkv_slice(b.owner, b.owner_len), text(owner));
        assert_int_equal(b.created, 1793786400);
        assert_int_equal(mkv_index_bucket_get(f->ix, text("nobodys"), &b), MKV_OK);
        assert_int_equal(b.owner_len, 0);
        assert_int_equal(b.created, -7);
        assert_int_equal(stats_of(f).buckets, 2);
        close_index(f); /* and again from the disk */
        open_index(f);
    }
    assert_int_equal(put_bucket(f, "nobodys", "somebody", 8), MKV_OK); /* in its place */
    assert_int_equal(mkv_index_bucket_get(f->ix, text("nobodys"), &b), MKV_OK);
    assert_slice(mkv_slice(b.owner, b.owner_len), text("somebody"));
    assert_int_equal(stats_of(f).buckets, 2);
    assert_int_equal(stats_of(f).live, 0);
}

static void buckets_that_can_not_be(void **state)
{
    struct fixture *f = *state;
    struct mkv_bucket b = bucket_of("a", "k", 1), out;
    char name[MKV_BUCKET_MAX + 2] = {0};

    memset(name, 'n', MKV_BUCKET_MAX + 1);
    assert_int_equal(put_bucket(f, "", "k", 1), MKV_EINVAL);
    b.name_len = MKV_BUCKET_MAX + 1;
    assert_int_equal(mkv_index_bucket_put(f->ix, &b, on_done, NULL), MKV_EINVAL);
    b.name_len = 1;
    b.owner_len = MKV_OWNER_MAX + 1;
    assert_int_equal(mkv_index_bucket_put(f->ix, &b, on_done, NULL), MKV_EINVAL);
    assert_int_equal(remove_bucket(f, name), MKV_EINVAL);
    assert_int_equal(mkv_index_bucket_get(f->ix, text(name), &out), MKV_ENOKEY);
    assert_int_equal(mkv_index_bucket_get(f->ix, text(""), &out), MKV_ENOKEY);
    assert_int_equal(mkv_index_bucket_get(f->ix, text("a"), &out), MKV_ENOKEY);
}

static void removed_is_gone(void **state)
{
    struct fixture *f = *state;
    struct mkv_bucket b;

    assert_int_equal(put_bucket(f, "a", "k", 1), MKV_OK);
    assert_int_equal(put_bucket(f, "ab", "k", 1), MKV_OK);
    assert_int_equal(remove_bucket(f, "a"), MKV_OK);
    assert_int_equal(remove_bucket(f, "a"), MKV_OK); /* it may be asked for twice */
    assert_int_equal(mkv_index_bucket_get(f->ix, text("a"), &b), MKV_ENOKEY);
    assert_int_equal(mkv_index_bucket_get(f->ix, text("ab"), &b), MKV_OK);
    assert_int_equal(stats_of(f).buckets, 1);
    assert_int_equal(stats_of(f).failed, 0);
}

static void the_next_one_in_byte_order(void **state)
{
    static const char *const names[] = {"a", "a-b", "ab", "b", longest, "z"};
    char beyond[80];
    const struct {
        const char *from;
        bool after;
        const char *next; /* NULL: none */
    } rows[] = {
        {"", false, "a"},          {"", true, "a"},        {"a", false, "a"},
        {"a", true, "a-b"},        {"a-b", true, longest}, {"a-c", false, longest},
        {longest, false, longest}, {longest, true, "ab"},  {beyond, false, "ab"},
        {beyond, true, "ab"},      {"aa", false, "ab"},    {"ab", true, "b"},
        {"b", true, "z"},          {"z", false, "z"},      {"z", true, NULL},
        {"zz", false, NULL},
    };
    struct fixture *f = *state;
    struct mkv_bucket b;

    snprintf(beyond, sizeof(beyond), "%sx-and-more", longest);
    assert_int_equal(mkv_index_bucket_next(f->ix, text(""), false, &b), MKV_ENOKEY);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(put_bucket(f, names[i * 5 % COUNT(names)], "k", 1), MKV_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum mkv_err err = mkv_index_bucket_next(f->ix, text(rows[i].from), rows[i].after, &b);

        assert_int_equal(err, rows[i].next ? MKV_OK : MKV_ENOKEY);
        if (!err) assert_slice(name_of(&b), text(rows[i].next));
    }
    for (size_t n = 0;; n++) { /* with the slice in the same place as what comes out */
        enum mkv_err err = mkv_index_bucket_next(f->ix, n ? name_of(&b) : text(""), n > 0, &b);

        if (err) {
            assert_int_equal(n, COUNT(names));
            break;
        }
    }
}

/* ---- an index made before -------------------------------------------------------- */

static MDB_env *open_raw(struct fixture *f, MDB_txn **txn)
{
    MDB_env *env;

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, f->dir, 0, 0644), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, txn), 0);
    return env;
}

static void drop_new_tables(struct fixture *f)
{
    static const char *const names[] = {"buckets", "uploads", "parts"};
    MDB_txn *txn;
    MDB_env *env = open_raw(f, &txn);

    for (size_t i = 0; i < COUNT(names); i++) {
        MDB_dbi dbi;

        assert_int_equal(mdb_dbi_open(txn, names[i], 0, &dbi), 0);
        assert_int_equal(mdb_drop(txn, dbi, 1), 0);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void an_older_index(void **state)
{
    static const uint8_t id[MKV_UPLOAD_ID_LEN] = {0};
    struct fixture *f = *state;
    struct mkv_upload upload;
    struct mkv_bucket b;
    struct mkv_part part;
    size_t n;

    assert_int_equal(put_size(f, text("/a"), 7), MKV_OK);
    close_index(f);
    drop_new_tables(f);
    f->opt.read_only = true; /* shows none */
    open_index(f);
    mkv_record_init(&upload.what);
    mkv_record_init(&part.what);
    assert_int_equal(size_of(f, text("/a")), 7);
    assert_int_equal(mkv_index_bucket_get(f->ix, text("a"), &b), MKV_ENOKEY);
    assert_int_equal(mkv_index_bucket_next(f->ix, text(""), false, &b), MKV_ENOKEY);
    assert_int_equal(mkv_index_upload_get(f->ix, text("/a"), id, &upload), MKV_ENOKEY);
    assert_int_equal(mkv_index_upload_list(f->ix, &(struct mkv_upload_query){.id = NULL}, &upload, 1, &n),
                     MKV_ENOKEY);
    assert_int_equal(mkv_index_upload_after(f->ix, text(""), NULL, &upload), MKV_ENOKEY);
    assert_int_equal(mkv_index_part_get(f->ix, id, 1, &part), MKV_ENOKEY);
    assert_int_equal(mkv_index_part_next(f->ix, id, 0, &part), MKV_ENOKEY);
    assert_int_equal(stats_of(f).buckets, 0);
    assert_int_equal(stats_of(f).uploads, 0);
    assert_int_equal(put_bucket(f, "a", "k", 1), MKV_EINVAL);
    close_index(f);
    f->opt.read_only = false; /* makes them */
    open_index(f);
    assert_int_equal(size_of(f, text("/a")), 7);
    assert_int_equal(put_bucket(f, "a", "k", 1), MKV_OK);
    assert_int_equal(mkv_index_bucket_get(f->ix, text("a"), &b), MKV_OK);
}

static void a_copy_of_an_older_index(void **state)
{
    struct fixture *f = *state;
    char dir[128];

    assert_int_equal(put_size(f, text("/a"), 7), MKV_OK);
    close_index(f);
    drop_new_tables(f);
    f->opt.read_only = true;
    open_index(f);
    snprintf(dir, sizeof(dir), "%s/copy", f->dir);
    if (mkv_index_backup(f->ix, dir, f->why, sizeof(f->why))) fail_msg("%s", f->why);
    close_index(f);
    f->opt.dir = dir;
    open_index(f);
    assert_int_equal(size_of(f, text("/a")), 7);
}

/* ---- bytes from the disk ---------------------------------------------------------- */

static void damaged_entries_are_left_out(void **state)
{
    static const struct {
        const char *name, *value;
        size_t len;
        enum mkv_err err;
    } rows[] = {
        {"b-empty", "", 0, MKV_ECORRUPT},
        {"c-zero", "\0\0\0\0\0\0\0\0\1k", 10, MKV_ECORRUPT},
        {"d-newer", "\2\0\0\0\0\0\0\0\1k", 10, MKV_ENEWER},
        {"e-short", "\1\0\0\0\0\0\0\0", 8, MKV_ECORRUPT},
    };
    struct fixture *f = *state;
    struct mkv_bucket b;
    MDB_txn *txn;
    MDB_env *env;
    MDB_dbi dbi;

    assert_int_equal(put_bucket(f, "a", "k", 1), MKV_OK);
    assert_int_equal(put_bucket(f, "f", "k", 1), MKV_OK);
    close_index(f);
    env = open_raw(f, &txn);
    assert_int_equal(mdb_dbi_open(txn, "buckets", 0, &dbi), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        MDB_val key = {strlen(rows[i].name), (void *)rows[i].name};
        MDB_val value = {rows[i].len, (void *)rows[i].value};

        assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    open_index(f);
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(mkv_index_bucket_get(f->ix, text(rows[i].name), &b), rows[i].err);
    assert_int_equal(mkv_index_bucket_next(f->ix, text("a"), true, &b), MKV_OK);
    assert_slice(name_of(&b), text("f"));
}

int main(void)
{
#define WITH_INDEX(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_INDEX(a_bucket_comes_back_whole),
        WITH_INDEX(buckets_that_can_not_be),
        WITH_INDEX(removed_is_gone),
        WITH_INDEX(the_next_one_in_byte_order),
        WITH_INDEX(an_older_index),
        WITH_INDEX(a_copy_of_an_older_index),
        WITH_INDEX(damaged_entries_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
