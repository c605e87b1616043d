/* The verbs on one key, with three volumes and the index in this process: what
 * no client can provoke from outside. */
#include "store_helper.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* LMDB's head page: this pwrite() stands before libc's, and fails on demand. */
static atomic_int head_page_error;

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    if (at < 8192 && len < 4096 && atomic_load(&head_page_error)) {
        errno = atomic_load(&head_page_error);
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, len, at);
}

/* ---- the index fails ----------------------------------------------------------------- */

struct removal {
    bool inside;
    unsigned done;
    enum mkv_err err;
};

static void on_removed(enum mkv_err err, void *arg)
{
    struct removal *r = arg;

    assert_false(r->inside);
    r->done++;
    r->err = err;
}

typedef enum mkv_err verb(struct mkv_store *, struct mkv_slice, struct mkv_remove **, mkv_done *,
                          void *);

/* By a write whose mark is on the disk, and whose commit fails. */
static void break_index(struct world *w, const char *key, bool replace)
{
    struct write wr = {.value = "new", .hold = true};

    assert_int_equal(start_put(w, &wr, key, replace), MKV_OK);
    run_until(w, wr.ready && marks(w) == 1);
    atomic_store(&head_page_error, EIO);
    send_value(&wr);
    run_until(w, wr.done);
    assert_int_equal(wr.err, MKV_EINDEX);
    atomic_store(&head_page_error, 0);
}

/* A broken index refuses at once; whoever asked still hears later. */
static void refusals_come_later(void **state)
{
    static verb *const verbs[] = {mkv_store_delete, mkv_store_unlink};
    struct write wr = {.value = "value"};
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    break_index(&w, "/other", false);
    for (size_t i = 0; i < COUNT(verbs); i++) {
        struct removal r = {.inside = true};
        struct mkv_remove *removal;

        assert_int_equal(verbs[i](w.store, text("/key"), &removal, on_removed, &r), MKV_OK);
        r.inside = false;
        run_until(&w, r.done);
        assert_int_equal(r.err, MKV_EINDEX);
    }
    write_value(&w, &wr, "/key", true);
    assert_int_equal(wr.err, MKV_EINDEX);
    assert_int_equal(wr.done, 1);
    assert_int_equal(mkv_store_busy(w.store), 0);
    finish(&w);
}

/* Closed in the same turn: nobody is called back. */
static void a_refusal_is_dropped_at_close(void **state)
{
    struct removal r = {.inside = true};
    struct mkv_remove *removal;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    break_index(&w, "/other", false);
    assert_int_equal(mkv_store_delete(w.store, text("/key"), &removal, on_removed, &r), MKV_OK);
    finish(&w);
    assert_int_equal(r.done, 0);
}

/* A commit that failed may have reached the disk: its files are not deleted
 * before the next start has seen whether it did. */
static void a_doubtful_commit_leaves_its_files(void **state)
{
    struct mkv_record rec;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    break_index(&w, "/key", true);
    assert_int_equal(all_files(&w), 6);
    mkv_store_close(w.store);
    open_store(&w);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
    assert_int_equal(rec.generation, 0);
    run_until(&w, all_files(&w) == 3); /* the sweeper takes what no record names */
    assert_int_equal(marks(&w), 0);
    finish(&w);
}

/* ---- writes ---------------------------------------------------------------------------- */

/* Complete with its head: volumes may have stored it before its end was said. */
static void an_empty_value(void **state)
{
    struct write wr = {.value = ""};
    struct mkv_record rec;
    struct world w;

    (void)state;
    begin(&w, 4, "3");
    write_value(&w, &wr, "/empty", false);
    assert_int_equal(wr.err, MKV_OK);
    assert_int_equal(wr.nreplicas, 3);
    assert_int_equal(read_record(&w, "/empty", &rec), MKV_OK);
    assert_int_equal(rec.size, 0);
    assert_int_equal(all_files(&w), 3);
    finish(&w);
}

/* A front that was paused behind the last byte says the end late: by then the
 * volumes have answered. */
static void an_end_that_comes_late(void **state)
{
    static const char *const values[] = {"", "value"};

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        struct write wr = {.value = values[i], .leave_open = true};
        struct mkv_record rec;
        struct world w;

        begin(&w, 3, "3");
        assert_int_equal(start_put(&w, &wr, "/key", false), MKV_OK);
        run_until(&w, wr.ready && all_files(&w) == 3);
        for (unsigned n = 0; n < 5; n++) mkv_loop_turn(w.loop); /* their answers arrive */
        assert_int_equal(wr.done, 0);
        mkv_put_end(wr.put);
        run_until(&w, wr.done);
        assert_int_equal(wr.err, MKV_OK);
        assert_int_equal(all_files(&w), 3);
        assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
        assert_true(rec.has_md5);
        assert_int_equal(rec.size, strlen(values[i]));
        finish(&w);
    }
}

static void an_empty_value_cancelled(void **state)
{
    struct write wr = {.value = "", .leave_open = true};
    struct mkv_record rec;
    struct world w;

    (void)state;
    begin(&w, 4, "3");
    assert_int_equal(start_put(&w, &wr, "/empty", false), MKV_OK);
    run_until(&w, wr.ready && all_files(&w) == 3);
    for (unsigned i = 0; i < 5; i++) mkv_loop_turn(w.loop);
    mkv_put_cancel(wr.put);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(wr.done, 0);
    assert_int_equal(read_record(&w, "/empty", &rec), MKV_ENOKEY);
    run_until(&w, all_files(&w) == 0);
    finish(&w);
}

static void cancelled_before_the_body(void **state)
{
    struct write wr = {.value = "value", .cancel_at_ready = true};
    struct mkv_record rec;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    assert_int_equal(start_put(&w, &wr, "/key", false), MKV_OK);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(wr.done, 0);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_ENOKEY);
    assert_int_equal(all_files(&w) + marks(&w), 0);
    put_well(&w, "/key");
    finish(&w);
}

/* The whole body is with the volumes, which may still be storing it: deleting
 * it at once could come too early. */
static void cancelled_behind_the_last_byte(void **state)
{
    struct write wr = {.value = "value", .leave_open = true};
    struct mkv_garbage g;
    struct world w;
    int64_t now;

    (void)state;
    begin(&w, 3, "3");
    assert_int_equal(start_put(&w, &wr, "/key", false), MKV_OK);
    run_until(&w, wr.ready);
    now = (int64_t)time(NULL);
    mkv_loop_settle(w.loop); /* the body goes to the kernel, no volume has read it */
    mkv_put_cancel(wr.put);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(w.volumes[0].deletes + w.volumes[1].deletes + w.volumes[2].deletes, 0);
    assert_int_equal(mkv_index_garbage_next(mkv_store_index(w.store), INT64_MIN, 0, INT64_MAX, &g),
                     MKV_OK);
    assert_int_equal(g.files.nreplicas, 3);
    assert_true(g.due >= now + 20);
    finish(&w);
}

/* ---- repairs ------------------------------------------------------------------------------ */

/* A mark holds 16 volumes: one that failed makes room for the next. */
static void sixteen_replicas_and_a_failure(void **state)
{
    struct write wr = {.value = "value"};
    struct toy_volume *ordered[VOLUMES_MAX];
    struct world w;

    (void)state;
    begin(&w, 18, "16");
    by_placement(&w, "/key", ordered);
    ordered[3]->refuse_puts = 507;
    write_value(&w, &wr, "/key", false);
    assert_int_equal(wr.err, MKV_OK);
    assert_int_equal(wr.nreplicas, 16);
    assert_int_equal(ordered[3]->nfiles + ordered[17]->nfiles, 0);
    assert_int_equal(all_files(&w), 16);
    assert_int_equal(w.metrics.puts_repaired, 1);
    finish(&w);
}

/* The only volume left gets its copy from the second source. */
static void a_source_that_can_not_be_read(void **state)
{
    struct write wr = {.value = "value"};
    struct toy_volume *ordered[VOLUMES_MAX];
    struct world w;

    (void)state;
    begin(&w, 4, "3");
    by_placement(&w, "/key", ordered);
    ordered[0]->unreadable = true;
    ordered[2]->refuse_puts = 500;
    write_value(&w, &wr, "/key", false);
    assert_int_equal(wr.err, MKV_OK);
    assert_int_equal(wr.nreplicas, 3);
    assert_int_equal(ordered[3]->nfiles, 1);
    finish(&w);
}

/* ---- DELETE --------------------------------------------------------------------------- */

static struct mkv_index_stats figures(struct world *w)
{
    struct mkv_index_stats stats;

    mkv_index_stats(mkv_store_index(w->store), &stats);
    return stats;
}

static enum mkv_err delete_key(struct world *w, const char *key)
{
    struct mkv_remove *removal;
    struct removal r = {.done = 0};

    assert_int_equal(mkv_store_delete(w->store, text(key), &removal, on_removed, &r), MKV_OK);
    run_until(w, r.done);
    return r.err;
}

/* One commit is waited for; what the garbage list names meanwhile goes with the next. */
static void a_delete_waits_for_one_commit(void **state)
{
    struct mkv_record rec;
    struct world w;
    uint64_t commits;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    commits = figures(&w).commits;
    assert_int_equal(delete_key(&w, "/key"), MKV_OK);
    assert_int_equal(all_files(&w), 0);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_ENOKEY);
    assert_int_equal(figures(&w).commits, commits + 1);
    assert_int_equal(figures(&w).garbage, 1);
    put_well(&w, "/key"); /* its name is free at once */
    assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
    assert_int_equal(rec.generation, 0);
    run_until(&w, figures(&w).garbage == 0);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(all_files(&w), 3);
    finish(&w);
}

/* The record is there again, unlinked, with the files that are left; none of them is
 * garbage, however often the sweeper comes by. */
static void a_volume_that_refuses_to_delete(void **state)
{
    struct mkv_record rec;
    struct world w;
    time_t then;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    w.volumes[1].refuse_deletes = 500;
    for (int i = 0; i < 2; i++) { /* live, then unlinked */
        assert_int_equal(delete_key(&w, "/key"), MKV_EVOLUME);
        assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
        assert_int_equal(rec.state, MKV_UNLINKED);
        assert_int_equal(rec.nreplicas, 1);
        assert_int_equal(figures(&w).garbage, 0);
    }
    w.volumes[1].refuse_deletes = 0;
    then = time(NULL) + 2;
    run_until(&w, time(NULL) > then);
    assert_int_equal(w.volumes[1].nfiles, 1);
    assert_int_equal(delete_key(&w, "/key"), MKV_OK);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_ENOKEY);
    assert_int_equal(all_files(&w), 0);
    finish(&w);
}

/* Cut off between the two commits: the next start deletes what is left. */
static void a_delete_cut_off(void **state)
{
    struct removal r = {.done = 0};
    struct mkv_remove *removal;
    struct mkv_record rec;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    assert_int_equal(mkv_store_delete(w.store, text("/key"), &removal, on_removed, &r), MKV_OK);
    run_until(&w, figures(&w).garbage == 1);
    mkv_store_close(w.store);
    assert_int_equal(r.done, 0);
    open_store(&w);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_ENOKEY);
    run_until(&w, all_files(&w) == 0 && figures(&w).garbage == 0);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delete_waits_for_one_commit),
        cmocka_unit_test(a_volume_that_refuses_to_delete),
        cmocka_unit_test(a_delete_cut_off),
        cmocka_unit_test(refusals_come_later),
        cmocka_unit_test(a_refusal_is_dropped_at_close),
        cmocka_unit_test(a_doubtful_commit_leaves_its_files),
        cmocka_unit_test(an_empty_value),
        cmocka_unit_test(an_end_that_comes_late),
        cmocka_unit_test(an_empty_value_cancelled),
        cmocka_unit_test(cancelled_before_the_body),
        cmocka_unit_test(cancelled_behind_the_last_byte),
        cmocka_unit_test(sixteen_replicas_and_a_failure),
        cmocka_unit_test(a_source_that_can_not_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
