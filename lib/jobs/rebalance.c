/* mkv-rebalance: every value to where placement wants it, and no copy missing. */
#include "jobs/job.h"
#include "mkv/jobs.h"

#include "mkv/name.h"
#include "net/look.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX   3     /* how often a record may change while it is looked at */
#define SWEEP_EVERY_MS 50  /* how often it is looked whether the old files are gone */
#define SWEEP_WAIT_MS 15000 /* without one of them going: the rest stays for later */

struct rebalance {
    struct job job;
    uint64_t keys, balanced, moved, restored, bytes, failed, left;
    bool trusts_master; /* it was seen to place keys where we do */
    struct event sweep_tick;
    uint64_t sweep_least, sweep_since_ms;
};

enum step {
    STEP_LOOK,   /* its copies are asked whether they are there            */
    STEP_RECHECK, /* one is not: is this still what the index says?        */
    STEP_MOVE,   /* the master, or the store, is at it                     */
    STEP_CHECK   /* it says that it is done: is the value where we want it? */
};

/* One key; an item's state. */
struct one {
    struct rebalance *all;  /* borrowed */
    struct job_item *item;  /* borrowed: owns us */
    enum step step;
    struct look look;
    struct event turn;      /* what waits for the next turn, in which the index is read anew */
    unsigned rounds;
    unsigned flags;         /* of the move */
    bool is_placed;
    uint64_t copies;        /* to be made, as far as is known */
    bool turned;            /* asked for in its other state, too */
};

static void look_at_key(struct one *o);

static void done(struct one *o)
{
    if (event_initialized(&o->turn)) event_del(&o->turn);
    o->all->keys++;
    job_item_done(o->item);
}

static void in_next_turn(struct one *o, enum step step)
{
    const struct timeval at_once = {0, 0};

    o->step = step;
    event_add(&o->turn, &at_once);
}

static uint64_t bytes_of(const struct one *o)
{
    return o->item->record.size > 0 ? o->copies * (uint64_t)o->item->record.size : 0;
}

/* ---- moving ------------------------------------------------------------------------- */

static void count_moved(struct one *o)
{
    struct rebalance *all = o->all;

    if (o->is_placed)
        all->restored++;
    else
        all->moved++;
    all->bytes += bytes_of(o);
    progress_add(all->job.progress, 0, bytes_of(o));
}

static void fail(struct one *o, const char *why)
{
    o->all->failed++;
    job_error(&o->all->job, job_item_key(o->item), "%s", why);
    done(o);
}

static void move(struct one *o);

static void on_moved(enum mkv_err err, const char *why, void *arg)
{
    struct one *o = arg;

    switch (err) {
    case MKV_OK:
        count_moved(o);
        if (o->all->job.master && !o->all->trusts_master)
            in_next_turn(o, STEP_CHECK);
        else
            done(o);
        break;
    case MKV_ENOKEY: /* unlinked or linked again meanwhile, or gone */
        o->flags ^= MKV_MOVE_UNLINKED;
        if (o->turned) {
            done(o);
        } else {
            o->turned = true;
            move(o);
        }
        break;
    case MKV_ESHUTDOWN:
        o->all->left++;
        done(o);
        break;
    default: fail(o, why[0] ? why : mkv_strerror(err));
    }
}

static void move(struct one *o)
{
    enum mkv_err err;

    o->step = STEP_MOVE;
    err = job_move(&o->all->job, job_item_key(o->item), o->flags, on_moved, o);
    if (err) on_moved(err, mkv_strerror(err), o);
}

/* The copies that are known to be lacking: where the record has none, or where
 * one was looked for and not found. */
static uint64_t count_copies(struct one *o)
{
    const struct mkv_record *rec = &o->item->record;
    struct mkv_replica wanted[MKV_REPLICAS_MAX];
    uint64_t n = 0;

    job_place(&o->all->job, job_item_key(o->item), wanted);
    for (uint64_t w = 0; w < o->all->job.cfg->replicas; w++) {
        bool has = false;

        for (unsigned i = 0; i < rec->nreplicas; i++)
            has |= rec->replicas[i].volume == wanted[w].volume &&
                   rec->replicas[i].subvolume == wanted[w].subvolume &&
                   (!o->is_placed || o->look.copies[i].verdict == LOOK_FOUND);
        n += !has;
    }
    return n;
}

/* The key is not as it should be. */
static void act(struct one *o)
{
    o->copies = count_copies(o);
    if (!o->all->job.cfg->dry_run) {
        move(o);
        return;
    }
    count_moved(o);
    done(o);
}

/* ---- looking ------------------------------------------------------------------------- */

static bool is_whole(const struct one *o, unsigned i)
{
    const struct look_copy *c = &o->look.copies[i];
    int64_t size = o->item->record.size;

    return c->verdict == LOOK_FOUND && (size < 0 || c->size == size);
}

static void on_looked(struct look *look, void *arg)
{
    struct one *o = arg;
    char text[MKV_REPLICA_TEXT_MAX + 1], why[sizeof(text) + LOOK_WHY_MAX + 32];

    for (unsigned i = 0; i < look->n; i++) {
        if (is_whole(o, i)) continue;
        if (look->copies[i].verdict == LOOK_UNASKED && o->all->job.cfg->dry_run) {
            job_replica_text(&o->all->job, o->item->record.replicas[i], text);
            snprintf(why, sizeof(why), "%s can not be asked: %s", text, look->copies[i].why);
            fail(o, why);
            return;
        }
        in_next_turn(o, STEP_RECHECK);
        return;
    }
    o->all->balanced++;
    done(o);
}

static void ask_copies(struct one *o)
{
    struct job *job = &o->all->job;
    const struct mkv_record *rec = &o->item->record;
    char text[MKV_REPLICA_TEXT_MAX + MKV_PATH_MAX], path[MKV_PATH_MAX];
    size_t len = mkv_key_path(path, job_item_key(o->item), rec->generation);

    o->step = STEP_LOOK;
    look_init(&o->look, job->loop, false, on_looked, o);
    for (unsigned i = 0; i < rec->nreplicas; i++) {
        size_t n = mkv_replica_text(text, mkv_slice(NULL, 0), rec->replicas[i].subvolume);

        memcpy(text + n, path, len);
        look_at(&o->look, job_volume(job, rec->replicas[i].volume), mkv_slice(text, n + len));
    }
    look_go(&o->look);
}

static void look_at_key(struct one *o)
{
    o->rounds++;
    o->flags = o->item->record.state == MKV_UNLINKED ? MKV_MOVE_UNLINKED : 0;
    o->is_placed = job_is_placed(&o->all->job, job_item_key(o->item), &o->item->record);
    if (o->is_placed)
        ask_copies(o);
    else
        act(o);
}

/* ---- what the index says by now --------------------------------------------------------- */

static bool is_same(const struct mkv_record *a, const struct mkv_record *b)
{
    if (a->generation != b->generation || a->nreplicas != b->nreplicas) return false;
    for (unsigned i = 0; i < a->nreplicas; i++)
        if (a->replicas[i].volume != b->replicas[i].volume ||
            a->replicas[i].subvolume != b->replicas[i].subvolume)
            return false;
    return true;
}

static void recheck(struct one *o, struct mkv_record *now)
{
    struct mkv_record *rec = &o->item->record;

    if (is_same(rec, now) || o->rounds == ROUNDS_MAX) {
        act(o);
        return;
    }
    mkv_record_clear(rec);
    *rec = *now; /* given away */
    mkv_record_init(now);
    look_at_key(o);
}

/* A master that says "done" and has put the value elsewhere was started with
 * other flags: it would do so with every key. */
static void check_place(struct one *o, const struct mkv_record *now)
{
    struct job *job = &o->all->job;

    if (now->generation != o->item->record.generation) { /* written meanwhile */
        done(o);
        return;
    }
    o->all->trusts_master = job_is_placed(job, job_item_key(o->item), now);
    if (!o->all->trusts_master && !job->stopping) {
        job_error(job, mkv_slice(NULL, 0),
                  "the master at %s wants values elsewhere: start both with the same -volumes, "
                  "-replicas and -subvolumes",
                  job->address);
        job_stop(job);
    }
    done(o);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct one *o = arg;
    struct mkv_record now;
    enum mkv_err err;

    (void)fd;
    (void)what;
    mkv_record_init(&now);
    err = mkv_index_get(o->all->job.index, job_item_key(o->item), &now, NULL, NULL);
    if (err == MKV_ENOKEY)
        done(o); /* deleted: that is not ours to mend */
    else if (err)
        fail(o, mkv_strerror(err));
    else if (o->step == STEP_RECHECK)
        recheck(o, &now);
    else
        check_place(o, &now);
    mkv_record_clear(&now);
}

static void visit(struct job_item *item, void *arg)
{
    struct one *o = item->state;

    o->all = arg;
    o->item = item;
    event_assign(&o->turn, mkv_loop_base(o->all->job.loop), -1, 0, on_turn, o);
    look_at_key(o);
}

/* ---- the old files ------------------------------------------------------------------------ */

static void on_sweep_tick(evutil_socket_t fd, short what, void *arg)
{
    struct rebalance *all = arg;
    struct job *job = &all->job;
    struct mkv_garbage next;
    struct mkv_index_stats stats;
    uint64_t now = mkv_loop_now(job->loop);
    enum mkv_err err;

    (void)fd;
    (void)what;
    mkv_index_stats(job->index, &stats);
    if (stats.garbage < all->sweep_least) {
        all->sweep_least = stats.garbage;
        all->sweep_since_ms = now;
    }
    mkv_record_init(&next.files);
    err = mkv_index_garbage_next(job->index, INT64_MIN, 0, mkv_loop_wall(job->loop), &next);
    mkv_record_clear(&next.files);
    if (err || job->interrupted || now - all->sweep_since_ms > SWEEP_WAIT_MS)
        mkv_loop_stop(job->loop);
}

/* Offline nobody else deletes what lies where it does not belong any more. */
static void wait_for_sweeper(struct rebalance *all)
{
    const struct timeval every = {0, SWEEP_EVERY_MS * 1000};
    struct job *job = &all->job;

    if (!job->store || job->interrupted) return;
    all->sweep_least = UINT64_MAX;
    all->sweep_since_ms = mkv_loop_now(job->loop);
    event_assign(&all->sweep_tick, mkv_loop_base(job->loop), -1, EV_PERSIST, on_sweep_tick, all);
    if (event_add(&all->sweep_tick, &every)) return;
    mkv_loop_run(job->loop);
    event_del(&all->sweep_tick);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int sum_up(struct rebalance *all)
{
    bool dry = all->job.cfg->dry_run;
    struct mkv_index_stats stats;
    const struct job_figure figures[] = {
        {"keys", "keys looked at", all->keys, false},
        {"balanced", "in place already", all->balanced, false},
        {"moved", dry ? "would be moved" : "moved", all->moved, false},
        {"restored", dry ? "would get copies anew" : "got copies anew", all->restored, false},
        {"bytes", dry ? "bytes to copy" : "bytes copied", all->bytes, true},
        {"failed", "failed", all->failed, false},
        {"left", "not begun", all->left, false}};

    mkv_index_stats(all->job.index, &stats);
    if (stats.garbage && all->job.store && !dry)
        progress_say(all->job.progress,
                     "rebalance: old files of %llu values are left: the master deletes them once "
                     "their volumes answer",
                     (unsigned long long)stats.garbage);
    return job_sum_up(&all->job, figures, sizeof(figures) / sizeof(figures[0]));
}

int mkv_rebalance_run(const struct mkv_config *cfg)
{
    struct rebalance *all = calloc(1, sizeof(*all));
    int status = 1;

    if (!all) {
        fprintf(stderr, "mkv-rebalance: %s\n", mkv_strerror(MKV_ENOMEM));
        return 1;
    }
    if (!job_open(&all->job, cfg, "rebalance", "keys", cfg->dry_run ? JOB_READ : JOB_WRITE)) {
        job_each_key(&all->job, sizeof(struct one), visit, all);
        wait_for_sweeper(all);
        status = sum_up(all);
    }
    job_close(&all->job);
    free(all);
    return status;
}
