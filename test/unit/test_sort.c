#include "jobs/sort.h"

#include "table.h"

#include <dirent.h>
#include <unistd.h>

#define MEMORY (64 * 1024)

/* The n-th of many entries: few keys have many, keys are up to 1,089 bytes. */
static struct mkv_slice entry(uint32_t n, char key[MKV_KEY_MAX], struct merge_file *f)
{
    uint32_t chance = n * 2654435761u;
    size_t len = 1 + chance % 40;

    if (chance % 97 == 0) len = MKV_KEY_MAX - chance % 7;
    for (size_t i = 0; i < len; i++) key[i] = (char)(i < 4 ? chance >> (8 * i) : chance % 3);
    *f = (struct merge_file){.generation = chance % 5, .at = {chance % 11, (uint16_t)(n % 13)},
                             .size = n, .mtime = -1, .due = chance, .doomed = n % 2};
    return mkv_slice(key, len);
}

static int order(struct mkv_slice a, const struct merge_file *x, struct mkv_slice b,
                 const struct merge_file *y)
{
    int keys = mkv_slice_cmp(a, b);

    if (keys) return keys;
    if (x->generation != y->generation) return x->generation < y->generation ? -1 : 1;
    return x->at.volume < y->at.volume ? -1 : x->at.volume > y->at.volume;
}

static size_t files_in(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

/* count entries come back in order, each once; runs: whether that took files. */
static void sorts(uint32_t count, bool runs)
{
    char dir[] = "/tmp/mkv-test-sort-XXXXXX", prefix[64], key[MKV_KEY_MAX], last[MKV_KEY_MAX];
    struct merge_file f, want, before;
    uint8_t *seen = calloc(count + 1, 1);
    struct mkv_slice at, last_key = {last, 0};
    struct sort *s;
    enum mkv_err err;

    assert_non_null(mkdtemp(dir));
    snprintf(prefix, sizeof(prefix), "%s/run-", dir);
    assert_int_equal(sort_open(&s, prefix, MEMORY), MKV_OK);
    for (uint32_t n = 0; n < count; n++) {
        at = entry(n, key, &f);
        assert_int_equal(sort_add(s, at, &f), MKV_OK);
    }
    assert_int_equal(sort_end(s), MKV_OK);
    assert_int_equal(files_in(dir) > 0, runs);
    for (uint32_t n = 0; n < count; n++) {
        assert_int_equal(sort_next(s, &at, &f), MKV_OK);
        assert_true(f.size >= 0 && f.size < count && !seen[f.size]);
        seen[f.size] = 1;
        assert_slice(at, entry((uint32_t)f.size, key, &want));
        assert_true(f.generation == want.generation && f.due == want.due &&
                    f.doomed == want.doomed && f.at.volume == want.at.volume &&
                    f.at.subvolume == want.at.subvolume && f.mtime == want.mtime);
        if (n && order(last_key, &before, at, &f) > 0) fail_msg("entry %u is out of order", n);
        memcpy(last, at.data, at.len);
        last_key.len = at.len;
        before = f;
    }
    err = sort_next(s, &at, &f);
    assert_int_equal(err, MKV_ENOKEY);
    sort_close(s);
    assert_int_equal(files_in(dir), 0);
    assert_int_equal(rmdir(dir), 0);
    free(seen);
}

static void in_memory(void **state)
{
    (void)state;
    sorts(0, false);
    sorts(1, false);
    sorts(100, false);
}

/* Up to three levels of files. */
static void in_files(void **state)
{
    (void)state;
    sorts(3000, true);
    sorts(SORT_WAYS * (SORT_WAYS + 1) * (MEMORY / 100), true);
}

/* Closed in the midst of it, the files go too. */
static void is_closed_early(void **state)
{
    char dir[] = "/tmp/mkv-test-sort-XXXXXX", prefix[64], key[MKV_KEY_MAX];
    struct merge_file f;
    struct sort *s;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(prefix, sizeof(prefix), "%s/run-", dir);
    assert_int_equal(sort_open(&s, prefix, MEMORY), MKV_OK);
    for (uint32_t n = 0; n < 3000; n++) {
        struct mkv_slice at = entry(n, key, &f);

        assert_int_equal(sort_add(s, at, &f), MKV_OK);
    }
    assert_true(files_in(dir) > 0);
    sort_close(s);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(sort_open(&s, "/nowhere/run-", MEMORY), MKV_OK);
    for (uint32_t n = 0; n < 3000; n++) {
        struct mkv_slice at = entry(n, key, &f);
        enum mkv_err err = sort_add(s, at, &f);

        if (!err) continue;
        assert_int_equal(err, MKV_EIO);
        sort_close(s);
        return;
    }
    fail_msg("no error where no file can be made");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_memory), cmocka_unit_test(in_files),
                                       cmocka_unit_test(is_closed_early)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
