/* Marks in their file: what survives the process, and what a torn slot is. */
#include "index/marks.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[64];
    struct marks m;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/mkv-test-marks-XXXXXX");
    if (!mkdtemp(f->dir)) return -1;
    *state = f;
    return marks_open(&f->m, f->dir, false) ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];

    marks_close(&f->m);
    snprintf(path, sizeof(path), "%s/%s", f->dir, MARKS_FILE);
    unlink(path);
    rmdir(f->dir);
    free(f);
    return 0;
}

static struct mkv_record mark_of(uint64_t generation)
{
    struct mkv_record r;

    mkv_record_init(&r);
    r.state = MKV_WRITING;
    r.generation = generation;
    r.nreplicas = 3;
    for (unsigned i = 0; i < 3; i++) r.replicas[i] = (struct mkv_replica){i, (uint16_t)i};
    return r;
}

static void set(struct marks *m, const char *key, uint64_t generation)
{
    struct mkv_record r = mark_of(generation);

    assert_int_equal(marks_set(m, mkv_slice_of(key), &r), MKV_OK);
}

/* The generation that the key's mark says; -1 where there is none. */
static int64_t generation_of(const struct marks *m, const char *key)
{
    struct mkv_slice whole, data;
    struct mkv_record r;
    int64_t generation;

    if (!marks_get(m, marks_find(m, mkv_slice_of(key)), &whole, &data)) return -1;
    assert_true(mkv_slice_eq(whole, mkv_slice_of(key)));
    mkv_record_init(&r);
    assert_int_equal(mkv_record_decode(&r, (const uint8_t *)data.data, data.len), MKV_OK);
    generation = (int64_t)r.generation;
    mkv_record_clear(&r);
    return generation;
}

static void reopen(struct fixture *f)
{
    marks_close(&f->m);
    assert_int_equal(marks_open(&f->m, f->dir, false), MKV_OK);
}

static void set_replace_clear(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(generation_of(&f->m, "/a"), -1);
    set(&f->m, "/a", 1);
    set(&f->m, "/b", 2);
    set(&f->m, "/a", 3);
    assert_int_equal(marks_count(&f->m), 2);
    assert_int_equal(generation_of(&f->m, "/a"), 3);
    marks_clear(&f->m, marks_find(&f->m, MKV_SLICE("/a")));
    assert_int_equal(generation_of(&f->m, "/a"), -1);
    assert_int_equal(generation_of(&f->m, "/b"), 2);
    marks_clear(&f->m, MARK_NONE);
    reopen(f);
    assert_int_equal(marks_count(&f->m), 1);
    assert_int_equal(generation_of(&f->m, "/b"), 2);
}

/* Through several doublings, with slots that come free in between. */
static void grows_and_reuses(void **state)
{
    enum { KEYS = 5 * MARKS_FIRST };
    struct fixture *f = *state;
    uint32_t nslots;
    char key[32];

    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "/%u", i);
        set(&f->m, key, i);
    }
    nslots = f->m.nslots;
    assert_true(nslots >= KEYS);
    for (unsigned i = 0; i < KEYS; i += 2) {
        snprintf(key, sizeof(key), "/%u", i);
        marks_clear(&f->m, marks_find(&f->m, mkv_slice_of(key)));
    }
    for (unsigned i = 0; i < KEYS; i += 2) {
        snprintf(key, sizeof(key), "/again/%u", i);
        set(&f->m, key, i);
    }
    assert_int_equal(f->m.nslots, nslots);
    reopen(f);
    assert_int_equal(marks_count(&f->m), KEYS);
    assert_int_equal(generation_of(&f->m, "/1"), 1);
    assert_int_equal(generation_of(&f->m, "/0"), -1);
    assert_int_equal(generation_of(&f->m, "/again/4"), 4);
}

static void the_longest_key(void **state)
{
    struct fixture *f = *state;
    char key[MKV_KEY_MAX];
    struct mkv_record r = mark_of(MKV_GENERATION_MAX);

    memset(key, 'k', sizeof(key));
    r.nreplicas = MKV_REPLICAS_MAX;
    for (unsigned i = 0; i < MKV_REPLICAS_MAX; i++)
        r.replicas[i] = (struct mkv_replica){UINT32_MAX, MKV_SUBVOLUMES_MAX - 1};
    assert_int_equal(marks_set(&f->m, mkv_slice(key, sizeof(key)), &r), MKV_OK);
    reopen(f);
    assert_int_not_equal(marks_find(&f->m, mkv_slice(key, sizeof(key))), MARK_NONE);
}

/* A child that dies by SIGKILL in the midst of its work leaves whole marks. */
static void survives_sigkill(void **state)
{
    struct fixture *f = *state;
    int pipe_fd[2], status;
    char byte;
    pid_t child;

    marks_close(&f->m);
    assert_int_equal(pipe(pipe_fd), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct marks m;
        struct mkv_record r = mark_of(7);

        if (marks_open(&m, f->dir, false) || marks_set(&m, MKV_SLICE("/kept"), &r)) _exit(1);
        if (write(pipe_fd[1], "x", 1) != 1) _exit(1);
        for (;;) {
            if (marks_set(&m, MKV_SLICE("/coming and going"), &r)) _exit(1);
            marks_clear(&m, marks_find(&m, MKV_SLICE("/coming and going")));
        }
    }
    assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
    usleep(2000);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    assert_int_equal(marks_open(&f->m, f->dir, false), MKV_OK);
    assert_int_equal(generation_of(&f->m, "/kept"), 7);
    assert_in_range(marks_count(&f->m), 1, 2);
}

/* Any byte of a slot that is not what was written makes it free. */
static void a_damaged_slot_is_free(void **state)
{
    struct fixture *f = *state;
    size_t len = 8 + 4 + 2; /* head and key; then the record */

    set(&f->m, "/a", 5);
    for (size_t i = 0; i < len + 10; i++) {
        f->m.slots[i] ^= 0x40;
        reopen(f);
        assert_int_equal(marks_count(&f->m), 0);
        f->m.slots[i] ^= 0x40;
        reopen(f);
        assert_int_equal(generation_of(&f->m, "/a"), 5);
    }
}

static void a_reader_sees_what_is_there(void **state)
{
    struct fixture *f = *state;
    struct mkv_slice key, data;
    uint8_t copy[MARK_SLOT];
    struct marks reader;
    char name[32];

    assert_int_equal(marks_open(&reader, f->dir, true), MKV_OK);
    assert_int_equal(marks_count(&reader), 0);
    for (unsigned i = 0; i < 2 * MARKS_FIRST; i++) {
        snprintf(name, sizeof(name), "/%u", i);
        set(&f->m, name, i);
    }
    marks_refresh(&reader);
    assert_int_equal(marks_count(&reader), 2 * MARKS_FIRST);
    assert_true(marks_read(&reader, 0, copy, &key, &data));
    assert_true(mkv_slice_eq(key, MKV_SLICE("/0")));
    marks_close(&reader);
}

static void a_reader_without_a_file(void **state)
{
    struct fixture *f = *state;
    struct marks reader;

    (void)f;
    assert_int_equal(marks_open(&reader, "/tmp", true), MKV_OK);
    marks_refresh(&reader);
    assert_int_equal(marks_count(&reader), 0);
    marks_close(&reader);
    assert_int_not_equal(marks_open(&reader, "/no/such/directory", false), MKV_OK);
    marks_close(&reader);
}

#define WITH_MARKS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MARKS(set_replace_clear),      WITH_MARKS(grows_and_reuses),
        WITH_MARKS(the_longest_key),        WITH_MARKS(survives_sigkill),
        WITH_MARKS(a_damaged_slot_is_free), WITH_MARKS(a_reader_sees_what_is_there),
        WITH_MARKS(a_reader_without_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
