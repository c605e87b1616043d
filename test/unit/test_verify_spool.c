/* mkv-verify -orphans and the spool: what nothing names is found, and what the
 * spool has not. */
#include "index_helper.h"

#include "jobs/verify.h"

#include <sys/time.h>

#define KNOWN   "00112233445566778899aabbccddeeff"
#define UNKNOWN "ffeeddccbbaa99887766554433221100"

struct store {
    struct fixture index;
    struct mkv_config cfg;
    struct verify v;
    char spool[80];
};

/* An index with one upload, whose parts 1 and 2 have the serials 7 and 8. */
static int set_up(void **state)
{
    struct store *s = calloc(1, sizeof(*s));
    struct mkv_upload u = {.key = "/b/k", .key_len = 4};
    struct mkv_part p = {.number = 1, .serial = 7};
    struct waiting w = {.left = 3};

    if (!s) return -1;
    prepare(&s->index);
    open_index(&s->index);
    assert_true(mkv_unhex(u.id, sizeof(u.id), text(KNOWN)));
    mkv_record_init(&u.what);
    mkv_record_init(&p.what);
    p.what.size = 5;
    assert_int_equal(mkv_index_upload_put(s->index.ix, &u, on_done, &w), MKV_OK);
    assert_int_equal(mkv_index_part_put(s->index.ix, text("/b/k"), u.id, &p, on_done, &w), MKV_OK);
    p = (struct mkv_part){.number = 2, .serial = 8, .what = p.what};
    assert_int_equal(mkv_index_part_put(s->index.ix, text("/b/k"), u.id, &p, on_done, &w), MKV_OK);
    settle(&s->index, &w);
    assert_int_equal(w.count[MKV_OK], 3);
    snprintf(s->spool, sizeof(s->spool), "%s/spool", s->index.dir);
    assert_int_equal(mkdir(s->spool, 0755), 0);
    s->cfg.db = s->index.dir;
    s->cfg.orphans = true;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct store *s = *state;
    struct fixture *f = &s->index;

    mkv_index_close(f->ix);
    mkv_loop_close(f->loop);
    remove_tree(f->dir);
    free(s);
    return 0;
}

static void path_in(char out[256], const struct store *s, const char *name)
{
    snprintf(out, 256, "%s/%s", s->spool, name);
}

static void make_directory(const struct store *s, const char *name)
{
    char path[256];

    path_in(path, s, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_file(const struct store *s, const char *name, const char *bytes)
{
    char path[256];
    FILE *f;

    path_in(path, s, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(bytes, f);
    fclose(f);
}

static void make_old(const struct store *s, const char *name)
{
    struct timeval times[2];
    char path[256];

    path_in(path, s, name);
    gettimeofday(&times[0], NULL);
    times[0].tv_sec -= 100;
    times[1] = times[0];
    assert_int_equal(utimes(path, times), 0);
}

static bool is_there(const struct store *s, const char *name)
{
    char path[256];

    path_in(path, s, name);
    return access(path, F_OK) == 0;
}

/* A run; the counts are of this one. */
static void check(struct store *s, bool beside, bool repair)
{
    s->cfg.repair = repair;
    memset(&s->v, 0, sizeof(s->v));
    s->v.beside = beside;
    s->v.job.cfg = &s->cfg;
    s->v.job.name = "verify";
    s->v.job.loop = s->index.loop;
    s->v.job.index = s->index.ix;
    assert_int_equal(progress_open(&s->v.job.progress, s->index.loop, "verify", "keys"), MKV_OK);
    verify_spool(&s->v);
    progress_close(s->v.job.progress);
}

static void expect(const struct store *s, uint64_t orphans, uint64_t deleted, uint64_t missing,
                   uint64_t foreign, uint64_t errors)
{
    assert_int_equal(s->v.counts[COUNT_SPOOL_ORPHANS], orphans);
    assert_int_equal(s->v.counts[COUNT_SPOOL_DELETED], deleted);
    assert_int_equal(s->v.counts[COUNT_PARTS_MISSING], missing);
    assert_int_equal(s->v.counts[COUNT_FOREIGN], foreign);
    assert_int_equal(s->v.job.errors, errors);
}

static void make_good(const struct store *s)
{
    make_directory(s, KNOWN);
    make_file(s, KNOWN "/1.7", "12345");
    make_file(s, KNOWN "/2.8", "12345");
}

static void nothing_is_wrong(void **state)
{
    struct store *s = *state;

    make_good(s);
    for (unsigned i = 0; i < 4; i++) {
        check(s, i & 1, i & 2);
        expect(s, 0, 0, 0, 0, 0);
    }
    assert_true(is_there(s, KNOWN "/1.7") && is_there(s, KNOWN "/2.8"));
}

static void missing_parts(void **state)
{
    struct store *s = *state;

    check(s, false, true);
    expect(s, 0, 0, 2, 0, 2); /* not even a directory */
    make_good(s);
    make_file(s, KNOWN "/2.8", "1234");
    check(s, true, false);
    expect(s, 0, 0, 1, 0, 1); /* a part cut off */
    remove_tree(s->spool);
    check(s, false, false);
    expect(s, 0, 0, 0, 0, 1); /* no spool, but uploads: is it another one? */
    s->cfg.spool = s->index.dir;
    check(s, false, false);
    assert_int_equal(s->v.counts[COUNT_PARTS_MISSING], 2);
}

static const char *const orphans[] = {KNOWN "/1.6", KNOWN "/3.1", KNOWN "/2.9~", UNKNOWN};

static void make_orphans(const struct store *s, bool old)
{
    make_file(s, KNOWN "/1.6", "superseded");
    make_file(s, KNOWN "/3.1", "");
    make_file(s, KNOWN "/2.9~", "half");
    make_directory(s, UNKNOWN);
    make_file(s, UNKNOWN "/1.1", "a");
    make_file(s, UNKNOWN "/10000.18446744073709551615~", "b");
    if (!old) return;
    for (size_t i = 0; i < COUNT(orphans); i++) make_old(s, orphans[i]);
    make_old(s, UNKNOWN "/1.1");
    make_old(s, UNKNOWN "/10000.18446744073709551615~");
    make_old(s, UNKNOWN);
}

static unsigned left(const struct store *s)
{
    unsigned n = 0;

    for (size_t i = 0; i < COUNT(orphans); i++) n += is_there(s, orphans[i]);
    return n;
}

static void orphans_without_a_master(void **state)
{
    struct store *s = *state;

    make_good(s);
    make_orphans(s, false);
    check(s, false, false);
    expect(s, 4, 0, 0, 0, 4);
    s->cfg.dry_run = true;
    check(s, false, true);
    expect(s, 4, 0, 0, 0, 4);
    s->cfg.dry_run = false;
    assert_int_equal(left(s), 4);
    check(s, false, true);
    expect(s, 4, 4, 0, 0, 0);
    assert_int_equal(left(s), 0);
    check(s, false, true);
    expect(s, 0, 0, 0, 0, 0);
    assert_true(is_there(s, KNOWN "/1.7") && is_there(s, KNOWN "/2.8"));
}

static void beside_a_master_only_what_is_old(void **state)
{
    struct store *s = *state;

    make_good(s);
    make_old(s, KNOWN "/1.7");
    make_orphans(s, false);
    check(s, true, true);
    expect(s, 0, 0, 0, 0, 0);
    assert_int_equal(left(s), 4);
    for (size_t i = 0; i < COUNT(orphans); i++) make_old(s, orphans[i]);
    make_old(s, UNKNOWN "/1.1");
    make_old(s, UNKNOWN);
    check(s, true, true);
    expect(s, 2, 2, 0, 0, 0); /* one file in the directory is new yet */
    assert_true(is_there(s, UNKNOWN "/1.1"));
    make_old(s, UNKNOWN "/10000.18446744073709551615~");
    check(s, true, true);
    expect(s, 1, 1, 0, 0, 0);
    assert_false(is_there(s, UNKNOWN));
    assert_true(is_there(s, KNOWN "/2.9~")); /* the master's */
}

static void what_is_foreign_stays(void **state)
{
    static const char *const names[] = {"notes", "00112233445566778899AABBCCDDEEFF", KNOWN "/01.7",
                                        KNOWN "/1.7.bak", KNOWN "/0.1", KNOWN "/10001.1",
                                        KNOWN "/1.", KNOWN "/~", KNOWN "/1.18446744073709551616"};
    struct store *s = *state;

    make_good(s);
    for (size_t i = 0; i < COUNT(names); i++) make_file(s, names[i], "x");
    check(s, false, true);
    expect(s, 0, 0, 0, COUNT(names), 0);
    make_directory(s, UNKNOWN);
    make_file(s, UNKNOWN "/mine", "x");
    make_file(s, UNKNOWN "/1.1", "x");
    check(s, false, true);
    expect(s, 1, 0, 0, COUNT(names) + 1, 1); /* the directory is not empty */
    for (size_t i = 0; i < COUNT(names); i++) assert_true(is_there(s, names[i]));
    assert_true(is_there(s, UNKNOWN "/mine"));
    assert_false(is_there(s, UNKNOWN "/1.1"));
}

static void a_link_is_not_followed(void **state)
{
    struct store *s = *state;
    char path[256], to[256];

    make_good(s);
    path_in(path, s, UNKNOWN);
    path_in(to, s, KNOWN);
    assert_int_equal(symlink(to, path), 0);
    check(s, false, true);
    expect(s, 0, 0, 0, 0, 1);
    assert_true(is_there(s, KNOWN "/1.7"));
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_STORE(nothing_is_wrong),
        WITH_STORE(missing_parts),
        WITH_STORE(orphans_without_a_master),
        WITH_STORE(beside_a_master_only_what_is_old),
        WITH_STORE(what_is_foreign_stays),
        WITH_STORE(a_link_is_not_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
