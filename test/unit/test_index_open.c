/* Opening the index: who may, and what is said to who may not. */
#include "index_helper.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void assert_says(const struct fixture *f, const char *words)
{
    if (!strstr(f->why, words)) fail_msg("\"%s\" does not say \"%s\"", f->why, words);
}

static void make_file(const struct fixture *f, const char *name, const char *content)
{
    char path[128];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    out = fopen(path, "w");
    assert_non_null(out);
    fputs(content, out);
    fclose(out);
}

/* Runs body in a child, for LMDB can not open one file twice in one process;
 * the child's exit status is 0 where body returned true. */
static void in_child(struct fixture *f, bool (*body)(struct fixture *))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) _exit(body(f) ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- one writer ----------------------------------------------------------------------- */

static void a_second_writer_is_told_who_is_there(void **state)
{
    struct fixture *f = *state;
    struct mkv_index *first, *second = NULL;
    char words[64], address[64];

    open_index(f);
    first = f->ix;
    assert_int_equal(mkv_index_open(&second, f->loop, &f->opt, f->why, sizeof(f->why)),
                     MKV_ELOCKED);
    assert_null(second);
    assert_says(f, "127.0.0.1:3000");
    assert_says(f, f->dir);
    snprintf(words, sizeof(words), "process %ld", (long)getpid());
    assert_says(f, words);
    /* Neither that nor looking took the lock from the first. */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(mkv_index_holder(f->dir, address, sizeof(address)), MKV_OK);
        assert_string_equal(address, "127.0.0.1:3000");
    }
    assert_int_equal(mkv_index_holder(f->dir, address, 5), MKV_EINVAL);
    f->ix = first;
    assert_int_equal(put_size(f, text("/k"), 1), MKV_OK);
    close_index(f);
    assert_int_equal(mkv_index_holder(f->dir, address, sizeof(address)), MKV_ENOKEY);
    open_index(f);
}

static bool open_and_die(struct fixture *f)
{
    if (try_open(f) || put_size(f, text("/k"), 7)) return false;
    _exit(0); /* without closing */
}

static void the_lock_ends_with_its_process(void **state)
{
    struct fixture *f = *state;
    char address[64];

    assert_int_equal(mkv_index_holder(f->dir, address, sizeof(address)), MKV_ENOKEY);
    in_child(f, open_and_die);
    assert_int_equal(mkv_index_holder(f->dir, address, sizeof(address)), MKV_ENOKEY);
    open_index(f);
    assert_int_equal(size_of(f, text("/k")), 7);
}

static void a_writer_without_an_address(void **state)
{
    struct fixture *f = *state;
    struct mkv_index *second = NULL;
    char address[64];

    f->opt.address = NULL;
    open_index(f);
    assert_int_equal(mkv_index_holder(f->dir, address, sizeof(address)), MKV_OK);
    assert_string_equal(address, "");
    assert_int_equal(mkv_index_open(&second, f->loop, &f->opt, f->why, sizeof(f->why)),
                     MKV_ELOCKED);
    assert_says(f, "in use by another program (process");
}

/* ---- reading beside the writer ----------------------------------------------------------- */

static bool read_beside(struct fixture *f)
{
    struct mkv_index_change c = {.key = text("/k"), .record_op = MKV_REMOVE};
    struct fixture reader;
    uint32_t id;
    size_t found;

    memset(&reader, 0, sizeof(reader));
    if (mkv_loop_open(&reader.loop)) return false;
    reader.opt = f->opt;
    reader.opt.read_only = true;
    reader.opt.map_size = 1 << 20; /* smaller than what is there */
    if (try_open(&reader)) return false;
    if (size_of(&reader, text("/k")) != 11) return false;
    if (mkv_index_apply(reader.ix, &c, on_done, NULL) != MKV_EINVAL) return false;
    if (mkv_index_recover(reader.ix, &found) != MKV_EINVAL) return false;
    if (mkv_index_volume_id(reader.ix, text("h:1"), &id) || id != 0) return false;
    if (mkv_index_volume_id(reader.ix, text("h:2"), &id) != MKV_ENOKEY) return false;
    if (stats_of(&reader).live != 3001) return false;
    mkv_index_close(reader.ix);
    mkv_loop_close(reader.loop);
    return true;
}

static void readers_work_beside_the_writer(void **state)
{
    struct fixture *f = *state;
    struct waiting w = {0};
    char buf[MKV_KEY_MAX];
    uint32_t id;

    open_index(f);
    assert_int_equal(mkv_index_volume_id(f->ix, text("h:1"), &id), MKV_OK);
    assert_int_equal(put_size(f, text("/k"), 11), MKV_OK);
    for (int i = 0; i < 3000; i++) {
        struct mkv_record r = record_of(MKV_LIVE, 0, i);
        struct mkv_index_change c = {.record_op = MKV_SET, .record = &r};

        snprintf(buf, sizeof(buf), "/long%d", i);
        c.key = long_key(buf + 16, buf, 'k', 1000);
        memcpy(buf, buf + 16, 16);
        queue_change(f, &c, &w);
    }
    settle(f, &w);
    in_child(f, read_beside);
    assert_int_equal(put_size(f, text("/k"), 12), MKV_OK);
}

static void nothing_to_read(void **state)
{
    struct fixture *f = *state;

    f->opt.read_only = true;
    assert_int_equal(try_open(f), MKV_EINDEX);
    assert_says(f, "no index in");
}

/* ---- directories that can not be ------------------------------------------------------------ */

static void missing_directories_are_made(void **state)
{
    struct fixture *f = *state;
    char deep[128];

    snprintf(deep, sizeof(deep), "%s/a//b/c/", f->dir);
    f->opt.dir = deep;
    open_index(f);
    assert_int_equal(put_size(f, text("/k"), 1), MKV_OK);
    close_index(f);
}

static void a_file_in_the_way(void **state)
{
    struct fixture *f = *state;
    char path[128];

    make_file(f, "file", "");
    snprintf(path, sizeof(path), "%s/file", f->dir);
    f->opt.dir = path;
    assert_int_equal(try_open(f), MKV_EINDEX);
    assert_says(f, "not a directory");
    snprintf(path, sizeof(path), "%s/file/below", f->dir);
    assert_int_equal(try_open(f), MKV_EINDEX);
    assert_says(f, "can not make the directory");
    f->opt.dir = "";
    assert_int_equal(try_open(f), MKV_EINDEX);
}

static bool open_as_nobody(struct fixture *f)
{
    if (getuid() == 0 && (setgid(65534) || setuid(65534))) return false;
    return try_open(f) == MKV_EINDEX && strstr(f->why, "check -db") && strstr(f->why, f->dir);
}

static void a_directory_that_can_not_be_written(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(chmod(f->dir, 0555), 0);
    in_child(f, open_as_nobody);
    assert_int_equal(chmod(f->dir, 0755), 0);
}

static void the_originals_index_is_refused(void **state)
{
    struct fixture *f = *state;

    make_file(f, "CURRENT", "MANIFEST-000001\n");
    make_file(f, "MANIFEST-000001", "...");
    for (unsigned i = 0; i < 2; i++) {
        f->opt.read_only = i;
        assert_int_equal(try_open(f), MKV_EINDEX);
        assert_says(f, "original minikeyvalue");
        assert_says(f, "mkv-rebuild");
    }
}

static void other_files_are_refused(void **state)
{
    struct fixture *f = *state;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val one = {1, (void *)"x"};

    make_file(f, "data.mdb", "this is not a database, but long enough to look at: .............."
                             "......................................................................"
                             "......................................................................");
    assert_int_equal(try_open(f), MKV_EINDEX);
    assert_says(f, "not an index");
    remove_tree(f->dir);
    assert_int_equal(mkdir(f->dir, 0755), 0);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, f->dir, 0, 0644), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &one, &one, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    assert_int_equal(try_open(f), MKV_EINDEX);
    assert_says(f, "not an index");
}

static void set_version(struct fixture *f, uint8_t version)
{
    uint8_t bytes[4] = {0, 0, 0, version};
    MDB_val key = {7, (void *)"version"}, value = {4, bytes};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, f->dir, 0, 0644), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void a_newer_version_is_refused(void **state)
{
    struct fixture *f = *state;

    open_index(f);
    close_index(f);
    set_version(f, 2);
    assert_int_equal(try_open(f), MKV_ENEWER);
    assert_says(f, "newer version");
    set_version(f, 1);
    open_index(f);
}

/* ---- address space --------------------------------------------------------------------------- */

static bool open_with_little_room(struct fixture *f)
{
    struct rlimit most = {UINT64_C(1) << 32, UINT64_C(1) << 32};

    f->opt.map_size = UINT64_C(1) << 36;
    if (setrlimit(RLIMIT_AS, &most)) return false;
    return try_open(f) == MKV_EINDEX && strstr(f->why, "-db-size");
}

static void too_little_address_space(void **state)
{
    if (SANITIZED || getenv("MKV_VALGRIND")) skip(); /* their shadow memory goes over any limit */
    in_child(*state, open_with_little_room);
}

static void the_default_map(void **state)
{
    struct fixture *f = *state;

    if (getenv("MKV_VALGRIND")) skip(); /* it has no terabyte to give */
    f->opt.map_size = 0;
    open_index(f);
    assert_true(stats_of(f).bytes_max >= MKV_INDEX_MAP_DEFAULT);
    assert_true(stats_of(f).bytes_used < 1 << 20);
}

int main(void)
{
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, setup_closed, teardown)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(a_second_writer_is_told_who_is_there),
        IN_DIRECTORY(the_lock_ends_with_its_process),
        IN_DIRECTORY(a_writer_without_an_address),
        IN_DIRECTORY(readers_work_beside_the_writer),
        IN_DIRECTORY(nothing_to_read),
        IN_DIRECTORY(missing_directories_are_made),
        IN_DIRECTORY(a_file_in_the_way),
        IN_DIRECTORY(a_directory_that_can_not_be_written),
        IN_DIRECTORY(the_originals_index_is_refused),
        IN_DIRECTORY(other_files_are_refused),
        IN_DIRECTORY(a_newer_version_is_refused),
        IN_DIRECTORY(too_little_address_space),
        IN_DIRECTORY(the_default_map),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
