/* The index where the world fails it: no space, failing disks, SIGKILL.
 *
 * This program's own fdatasync() and pwrite() stand before libc's for LMDB as
 * well, so that a disk can fail on demand. */
#include "index_helper.h"

#include <errno.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static atomic_int fdatasync_error, head_page_error;

int fdatasync(int fd)
{
    if (atomic_load(&fdatasync_error)) {
        errno = atomic_load(&fdatasync_error);
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* LMDB's head pages are the first two; it writes a part of one at a commit. */
ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    if (at < 8192 && len < 4096 && atomic_load(&head_page_error)) {
        errno = atomic_load(&head_page_error);
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, len, at);
}

static int setup_faults(void **state)
{
    atomic_store(&fdatasync_error, 0);
    atomic_store(&head_page_error, 0);
    return setup(state);
}

/* ---- a failing disk ---------------------------------------------------------------------- */

static void check_broken(struct fixture *f)
{
    struct mkv_record r = record_of(MKV_LIVE, 0, 2);
    struct mkv_index_change c = {.key = text("/new"), .record_op = MKV_SET, .record = &r};
    struct waiting w = {0};
    uint32_t id;

    assert_true(stats_of(f).broken);
    assert_int_equal(mkv_index_apply(f->ix, &c, on_done, &w), MKV_EINDEX);
    assert_int_equal(mkv_index_volume_id(f->ix, text("other:1"), &id), MKV_EINDEX);
    mkv_loop_turn(f->loop);
    assert_int_equal(w.left, 0);
    /* Reads go on. */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(size_of(f, text("/old")), 1);
        assert_int_equal(size_of(f, text("/new")), -1);
        assert_int_equal(stats_of(f).live, 1);
    }
    assert_slice(mkv_index_volume_name(f->ix, 0), text("h:1"));
    /* A restart writes again. */
    close_index(f);
    open_index(f);
    assert_int_equal(size_of(f, text("/old")), 1);
    assert_int_equal(size_of(f, text("/new")), -1);
    assert_int_equal(put_size(f, text("/new"), 3), MKV_OK);
    assert_int_equal(size_of(f, text("/new")), 3);
}

static void break_it(struct fixture *f, atomic_int *error, int with)
{
    struct mkv_record r = record_of(MKV_LIVE, 0, 2);
    struct mkv_index_change c = {.key = text("/new"), .record_op = MKV_SET, .record = &r};
    struct waiting w = {0};
    uint32_t id;

    assert_int_equal(mkv_index_volume_id(f->ix, text("h:1"), &id), MKV_OK);
    assert_int_equal(put_size(f, text("/old"), 1), MKV_OK);
    atomic_store(error, with);
    for (unsigned i = 0; i < 5; i++) queue_change(f, &c, &w);
    settle(f, &w);
    atomic_store(error, 0); /* what comes now would seem to work */
    assert_int_equal(w.count[MKV_EINDEX], 5);
    assert_int_equal(stats_of(f).failed, 5);
}

static void after_a_failed_fsync_no_more_writes(void **state)
{
    struct fixture *f = *state;

    break_it(f, &fdatasync_error, EIO);
    check_broken(f);
}

static void after_a_failed_head_page_reads_go_on(void **state)
{
    struct fixture *f = *state;

    break_it(f, &head_page_error, EIO);
    check_broken(f);
}

/* ---- no space ------------------------------------------------------------------------------- */

static void fill_up(struct fixture *f, unsigned *stored)
{
    struct waiting w = {0};
    unsigned n = 0;
    char buf[64];

    while (!w.count[MKV_ENOSPACE]) {
        assert_true(n < 1000000);
        for (unsigned i = 0; i < 100; i++) {
            struct mkv_record r = record_of(MKV_LIVE, 0, 1);
            struct mkv_index_change c = {.record_op = MKV_SET, .record = &r};

            snprintf(buf, sizeof(buf), "/fill/%07u", n++);
            c.key = text(buf);
            queue_change(f, &c, &w);
        }
        settle(f, &w);
    }
    assert_int_equal(w.count[MKV_OK] + w.count[MKV_ENOSPACE], n);
    *stored = w.count[MKV_OK];
    assert_true(stats_of(f).full);
    assert_false(stats_of(f).broken);
    assert_int_equal(stats_of(f).live, *stored);
}

/* What must work on an index without space: UNLINK, and emptying it. */
static void empty_it(struct fixture *f, unsigned stored)
{
    struct mkv_record unlinked = record_of(MKV_UNLINKED, 0, 1);
    struct mkv_record files = record_of(MKV_LIVE, 0, 1);
    struct waiting w = {0};
    unsigned n = 0;
    char buf[64];

    for (unsigned i = 0; n < stored; i++) {
        struct mkv_index_change c = {.record = &unlinked, .record_op = MKV_SET};

        assert_true(i < 1000000);
        snprintf(buf, sizeof(buf), "/fill/%07u", i);
        c.key = text(buf);
        if (size_of(f, text(buf)) < 0) continue; /* was refused */
        n++;
        if (n < 300) queue_change(f, &c, &w);
        c.record_op = MKV_REMOVE;
        if (n % 100 == 50) c.garbage = &files; /* instead of the record */
        queue_change(f, &c, &w);
        if (n % (n < 100 ? 3 : 211) == 0) settle(f, &w);
    }
    settle(f, &w);
    assert_int_equal(w.count[MKV_ENOSPACE], 0);
    assert_int_equal(w.count[MKV_EINDEX], 0);
    assert_int_equal(stats_of(f).live + stats_of(f).unlinked, 0);
    assert_int_equal(stats_of(f).garbage, stored / 100 + (stored % 100 >= 50));
    assert_int_equal(put_size(f, text("/again"), 1), MKV_OK);
    assert_false(stats_of(f).full);
}

static void a_full_map_can_be_emptied(void **state)
{
    struct fixture *f = *state;
    unsigned stored;

    for (unsigned round = 0; round < 2; round++) {
        close_index(f);
        remove_tree(f->dir);
        f->opt.map_size = 3 << 19;
        open_index(f);
        fill_up(f, &stored);
        assert_true(stored > 5000);
        assert_true(stats_of(f).bytes_used <= stats_of(f).bytes_max);
        if (round) { /* also after a restart */
            close_index(f);
            open_index(f);
            assert_int_equal(put_size(f, text("/more"), 1), MKV_ENOSPACE);
        }
        empty_it(f, stored);
    }
}

static void a_write_that_fits_does_not_fail_with_one_that_does_not(void **state)
{
    struct fixture *f = *state;
    struct mkv_record big = record_of(MKV_LIVE, 0, 1), small = record_of(MKV_LIVE, 0, 2);
    struct mkv_index_change b = {.key = text("/big"), .record_op = MKV_SET, .record = &big};
    struct mkv_index_change s = {.key = text("/small"), .record_op = MKV_SET, .record = &small};
    struct waiting wb = {0}, ws = {0};
    size_t len = 900 * 1024;
    char *bytes = calloc(1, len);

    assert_non_null(bytes);
    assert_int_equal(mkv_record_set_field(&big, 1, mkv_slice(bytes, len)), MKV_OK);
    close_index(f);
    remove_tree(f->dir);
    f->opt.map_size = 1 << 20;
    open_index(f);
    for (unsigned i = 0; i < 4; i++) {
        char key[16];

        snprintf(key, sizeof(key), "/big%u", i);
        b.key = text(key);
        queue_change(f, &b, &wb);
        queue_change(f, &s, &ws);
    }
    settle(f, &wb);
    settle(f, &ws);
    assert_int_equal(ws.count[MKV_OK], 4);
    assert_true(wb.count[MKV_ENOSPACE] >= 3);
    assert_int_equal(size_of(f, text("/small")), 2);
    mkv_record_clear(&big);
    free(bytes);
}

/* A disk that ends without a warning: the limit on the size of a file. */
static void a_file_that_can_not_grow(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, most;
    unsigned stored;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    most = before;
    most.rlim_cur = 600 * 1024;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &most), 0);
    fill_up(f, &stored);
    assert_int_equal(size_of(f, text("/fill/0000000")), 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    empty_it(f, stored);
}

static void a_full_disk(void **state)
{
    struct fixture *f = *state;
    unsigned stored;

    close_index(f);
    if (mount("none", f->dir, "tmpfs", 0, "size=6m")) {
        print_message("a_full_disk: not run, for tmpfs can not be mounted: %s\n", strerror(errno));
        open_index(f);
        skip();
    }
    open_index(f);
    fill_up(f, &stored);
    assert_true(stored > 5000);
    close_index(f);
    open_index(f); /* a restart on a full disk */
    empty_it(f, stored);
    close_index(f);
    assert_int_equal(umount(f->dir), 0);
}

/* ---- SIGKILL ----------------------------------------------------------------------------------- */

struct acknowledged {
    struct fixture *f;
    int out;
    uint32_t next;
};

static void acknowledge_and_go_on(enum mkv_err err, void *arg);

/* Each write has its own number as its size; /count is written beside it. */
static void write_next(struct acknowledged *a)
{
    struct mkv_record r = record_of(a->next % 2 ? MKV_LIVE : MKV_UNLINKED, 0, a->next);
    struct mkv_index_change c = {.record_op = MKV_SET, .record = &r};
    char key[32];

    snprintf(key, sizeof(key), "/k%u", a->next % 1000);
    c.key = text(key);
    if (mkv_index_apply(a->f->ix, &c, acknowledge_and_go_on, a)) _exit(1);
}

static void acknowledge_and_go_on(enum mkv_err err, void *arg)
{
    struct acknowledged *a = arg;

    if (err || write(a->out, &a->next, sizeof(a->next)) != sizeof(a->next)) _exit(1);
    a->next++;
    write_next(a);
}

/* Writes until it is killed; tells each number once it is on disk. */
static void write_for_ever(struct fixture *f, int out, uint32_t first)
{
    struct acknowledged a = {.f = f, .out = out, .next = first};

    if (try_open(f)) _exit(1);
    write_next(&a);
    for (;;) mkv_loop_turn(f->loop);
}

static uint32_t read_until_killed(int in, pid_t pid, unsigned n)
{
    uint32_t last = 0;

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(read(in, &last, sizeof(last)), sizeof(last));
    kill(pid, SIGKILL);
    while (read(in, &last, sizeof(last)) == sizeof(last)) continue; /* still in the pipe */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return last;
}

static void what_was_called_back_survives_sigkill(void **state)
{
    struct fixture *f = *state;
    uint32_t next = 1;

    close_index(f);
    for (unsigned round = 0; round < 8; round++) {
        struct mkv_index_stats s;
        uint64_t live = 0, unlinked = 0;
        uint32_t last;
        int pipe_fd[2];
        pid_t pid;

        assert_int_equal(pipe(pipe_fd), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(pipe_fd[0]);
            write_for_ever(f, pipe_fd[1], next);
        }
        close(pipe_fd[1]);
        last = read_until_killed(pipe_fd[0], pid, 20 + round * 7);
        close(pipe_fd[0]);
        open_index(f);
        for (uint32_t i = 0; i < 1000; i++) {
            /* The newest acknowledged write of key i, or the one after it. */
            int64_t least = (int64_t)last - (last + 1000 - i) % 1000;
            struct mkv_record r;
            char key[32];

            snprintf(key, sizeof(key), "/k%u", i);
            mkv_record_init(&r);
            if (mkv_index_get(f->ix, text(key), &r, NULL, NULL)) {
                assert_true(least <= 0);
                continue;
            }
            assert_true(r.size >= least && r.size <= (int64_t)last + 1);
            assert_int_equal(r.state, r.size % 2 ? MKV_LIVE : MKV_UNLINKED);
            live += r.state == MKV_LIVE;
            unlinked += r.state == MKV_UNLINKED;
            mkv_record_clear(&r);
        }
        s = stats_of(f); /* the counts are as durable as what they count */
        assert_int_equal(s.live, live);
        assert_int_equal(s.unlinked, unlinked);
        close_index(f);
        next = last + 1;
    }
    open_index(f);
}

int main(void)
{
#define WITH_INDEX(test) cmocka_unit_test_setup_teardown(test, setup_faults, teardown)
    const struct CMUnitTest tests[] = {
        WITH_INDEX(after_a_failed_fsync_no_more_writes),
        WITH_INDEX(after_a_failed_head_page_reads_go_on),
        WITH_INDEX(a_full_map_can_be_emptied),
        WITH_INDEX(a_write_that_fits_does_not_fail_with_one_that_does_not),
        WITH_INDEX(a_file_that_can_not_grow),
        WITH_INDEX(a_full_disk),
        WITH_INDEX(what_was_called_back_survives_sigkill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
