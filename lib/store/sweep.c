#include "store/sweep.h"

#include "mkv/log.h"
#include "store/erase.h"
#include "store/store.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

enum job_step {
    JOB_FREE,
    JOB_ERASE, /* deleting the files                            */
    JOB_SETTLE /* index: the entry is gone, or due again later  */
};

struct job {
    struct store_sweeper *sweeper;
    enum job_step step;
    struct mkv_garbage garbage;
    struct keylock lock; /* in the store's sweeps */
    struct erase erase;
};

/* One pass goes through all that is due, from the oldest on. */
struct store_sweeper {
    struct mkv_store *store; /* borrowed */
    struct event tick;
    struct job jobs[SWEEP_JOBS];
    unsigned busy;
    bool filling;            /* fill() is at work: a job that ends at once is its own to see */
    bool passing;            /* a pass is under way; jobs end before the next */
    int64_t at_due;          /* where the pass is */
    uint64_t at_id;
    bool closing;
};

static void fill(struct store_sweeper *sw);

static void job_end(struct job *j)
{
    struct store_sweeper *sw = j->sweeper;

    mkv_record_clear(&j->garbage.files);
    keylock_release(&j->lock);
    j->step = JOB_FREE;
    sw->busy--;
    if (!sw->closing) fill(sw);
}

/* An index that takes no writes just now is met again in the next pass. */
static void on_settled(enum mkv_err err, void *arg)
{
    (void)err;
    job_end(arg);
}

static void forget_entry(struct job *j)
{
    j->step = JOB_SETTLE;
    if (mkv_index_garbage_done(j->sweeper->store->index, &j->garbage, on_settled, j)) job_end(j);
}

/* The longer it has been waiting, the longer it waits: a volume that is away
 * for days is not asked for each file every second. */
static int64_t retry_at(const struct mkv_garbage *g, int64_t now)
{
    int64_t age = now - (g->files.mtime > 0 ? g->files.mtime : g->due);

    if (age < SWEEP_RETRY_MIN_S) age = SWEEP_RETRY_MIN_S;
    if (age > SWEEP_RETRY_MAX_S) age = SWEEP_RETRY_MAX_S;
    return now + age;
}

static void on_erased(struct erase *e, void *arg)
{
    struct job *j = arg;
    struct mkv_store *s = j->sweeper->store;
    unsigned gone = j->garbage.files.nreplicas - e->files.nreplicas;

    s->metrics->garbage_deleted += gone;
    s->metrics->garbage_failed += e->files.nreplicas;
    if (e->files.nreplicas == 0) {
        forget_entry(j);
        return;
    }
    j->step = JOB_SETTLE;
    if (mkv_index_garbage_delay(s->index, &j->garbage,
                                retry_at(&j->garbage, mkv_loop_wall(s->loop)), &e->files,
                                on_settled, j))
        job_end(j);
}

/* A copy may have been made again where an earlier attempt failed, or have come
 * back to where it was: then the file belongs to the record and stays. */
static void spare_what_lives(struct mkv_store *s, struct mkv_slice key, struct mkv_record *files)
{
    struct mkv_record live;
    unsigned kept = 0;

    mkv_record_init(&live);
    if (!mkv_index_get(s->index, key, &live, NULL, NULL) &&
        live.generation == files->generation) {
        for (unsigned i = 0; i < files->nreplicas; i++) {
            bool named = false;

            for (unsigned l = 0; l < live.nreplicas; l++)
                named |= store_same_replica(live.replicas[l], files->replicas[i]);
            if (!named) files->replicas[kept++] = files->replicas[i];
        }
        files->nreplicas = kept;
    }
    mkv_record_clear(&live);
}

static void job_start(struct job *j)
{
    struct mkv_slice key = mkv_slice(j->garbage.key, j->garbage.key_len);
    uint8_t md5[MKV_MD5_LEN];

    mkv_md5(key, md5);
    if (keylock_held(&j->sweeper->store->moves, key, md5)) { /* in the next pass */
        job_end(j);
        return;
    }
    keylock_join(&j->sweeper->store->sweeps, &j->lock, key, md5);
    spare_what_lives(j->sweeper->store, key, &j->garbage.files);
    if (j->garbage.files.nreplicas == 0) {
        forget_entry(j);
        return;
    }
    j->step = JOB_ERASE;
    erase_start(&j->erase, j->sweeper->store, key, &j->garbage.files, on_erased, j);
}

static struct job *free_job(struct store_sweeper *sw)
{
    for (size_t i = 0; i < SWEEP_JOBS; i++)
        if (sw->jobs[i].step == JOB_FREE) return &sw->jobs[i];
    return NULL;
}

/* Starts jobs until all are busy or the pass has seen everything due. */
static void fill(struct store_sweeper *sw)
{
    struct mkv_store *s = sw->store;
    struct job *j;

    if (sw->filling) return;
    sw->filling = true;
    while (sw->passing && (j = free_job(sw))) {
        mkv_record_init(&j->garbage.files);
        if (mkv_index_garbage_next(s->index, sw->at_due, sw->at_id, mkv_loop_wall(s->loop),
                                   &j->garbage)) {
            sw->passing = false;
            break;
        }
        sw->at_due = j->garbage.due;
        sw->at_id = j->garbage.id;
        sw->busy++;
        j->step = JOB_ERASE;
        job_start(j);
    }
    sw->filling = false;
}

/* ---- marks that could not be taken off ------------------------------------------- */

static void on_unmarked(enum mkv_err err, void *arg)
{
    struct mkv_store *s = arg;

    if (err) s->stale_marks++; /* in the next pass */
}

static bool unmark_one(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct mkv_store *s = arg;
    struct mkv_record mark;
    const struct mkv_index_change change = {.key = key, .mark_op = MKV_REMOVE, .garbage = &mark,
                                            .garbage_due = mkv_loop_wall(s->loop)};
    uint8_t md5[MKV_MD5_LEN];

    mkv_md5(key, md5);
    mkv_record_init(&mark);
    if (keylock_held(&s->locks, key, md5)) /* of a write under way, or behind one */
        s->stale_marks++;
    else if (!mkv_record_decode(&mark, data, len) &&
             mkv_index_apply(s->index, &change, on_unmarked, s))
        s->stale_marks++;
    mkv_record_clear(&mark);
    return true;
}

/* After the index was full: the marks of writes that were undone meanwhile. */
static void unmark_stale(struct mkv_store *s)
{
    struct mkv_walk walk;

    if (!s->stale_marks) return;
    s->stale_marks = 0;
    mkv_walk_init(&walk, MKV_TABLE_MARKS, 0, mkv_slice(NULL, 0), mkv_slice(NULL, 0));
    while (!walk.ended)
        if (mkv_index_walk(s->index, &walk, SWEEP_JOBS, unmark_one, s)) {
            s->stale_marks++;
            break;
        }
}

/* ---- open, close ------------------------------------------------------------------- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct store_sweeper *sw = arg;
    struct mkv_index_stats stats;

    (void)fd;
    (void)what;
    if (sw->passing || sw->busy) return;
    mkv_index_stats(sw->store->index, &stats);
    if (stats.broken) return; /* what was deleted could not be taken off the list */
    unmark_stale(sw->store);
    sw->passing = true;
    sw->at_due = INT64_MIN;
    sw->at_id = 0;
    fill(sw);
}

enum mkv_err sweep_open(struct store_sweeper **out, struct mkv_store *store)
{
    const struct timeval every = {SWEEP_EVERY_MS / 1000, SWEEP_EVERY_MS % 1000 * 1000};
    struct store_sweeper *sw = calloc(1, sizeof(*sw));

    if (!sw) return MKV_ENOMEM;
    sw->store = store;
    for (size_t i = 0; i < SWEEP_JOBS; i++) sw->jobs[i].sweeper = sw;
    event_assign(&sw->tick, mkv_loop_base(store->loop), -1, EV_PERSIST, on_tick, sw);
    if (event_add(&sw->tick, &every)) {
        free(sw);
        return MKV_ENOMEM;
    }
    *out = sw;
    return MKV_OK;
}

void sweep_stop(struct store_sweeper *sw)
{
    if (!sw) return;
    sw->closing = true;
    event_del(&sw->tick);
    for (size_t i = 0; i < SWEEP_JOBS; i++)
        if (sw->jobs[i].step == JOB_ERASE) {
            erase_cancel(&sw->jobs[i].erase);
            mkv_record_clear(&sw->jobs[i].garbage.files);
        }
}

void sweep_close(struct store_sweeper *sw)
{
    free(sw);
}
