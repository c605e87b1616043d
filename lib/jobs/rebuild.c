/* The rebuild: gather what the volumes have, join it with what the old index
 * knows, swap.  Nothing of the old index changes before the swap. */
#include "jobs/rebuild_internal.h"

#include "mkv/jobs.h"
#include "mkv/name.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum rebuild_step {
    REBUILD_CARRY,  /* buckets and uploads of the old index, into the new one */
    REBUILD_RECALL, /* garbage and marks of the old index, into the sort   */
    REBUILD_CRAWL,  /* every file of every volume, into the sort           */
    REBUILD_JOIN,   /* key by key: merged, written                         */
    REBUILD_SWAP    /* the new index is on the disk and in the old one's place */
};

void rebuild_fail(struct rebuild *r, enum mkv_err err, const char *why)
{
    if (r->failed) return;
    r->failed = err;
    snprintf(r->why, sizeof(r->why), "%s", why && why[0] ? why : mkv_strerror(err));
}

static void gather(struct rebuild *r, struct mkv_slice key, const struct merge_file *file)
{
    enum mkv_err err = sort_add(r->sort, key, file);

    if (err == MKV_ENOSPACE)
        rebuild_fail(r, err, "no space left beside the index: free disk space");
    else if (err)
        rebuild_fail(r, err, "a file beside the index can not be written");
}

/* ---- what only the old index knows ------------------------------------------------------- */

/* The parts of unfinished uploads lie in the spool, and are still good. */
static void carry(struct rebuild *r)
{
    enum mkv_err err = build_carry(r->build, &r->counts.buckets, &r->counts.uploads);
    char why[REBUILD_WHY_MAX];

    if (!err) return;
    build_why(r->build, why, sizeof(why));
    rebuild_fail(r, err, why);
}

/* ---- what the old index doomed ----------------------------------------------------------- */

static void doom(struct rebuild *r, struct mkv_slice key, const struct mkv_record *files,
                 int64_t written_by, int64_t due)
{
    for (unsigned i = 0; i < files->nreplicas; i++) {
        const struct merge_file file = {.generation = files->generation,
                                        .at = files->replicas[i],
                                        .doomed = true,
                                        .mtime = written_by,
                                        .due = due};

        gather(r, key, &file);
    }
}

/* A write that nobody was told had succeeded; the server would undo it too. */
static bool doom_mark(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct rebuild *r = arg;
    struct mkv_record mark;

    mkv_record_init(&mark);
    if (mkv_record_decode(&mark, data, len))
        job_error(&r->job, key, "the old index's mark of a write is damaged and not used");
    else
        doom(r, key, &mark, mark.mtime < 0 ? INT64_MAX : mark.mtime, mkv_loop_wall(r->job.loop));
    mkv_record_clear(&mark);
    return !r->failed;
}

static void recall(struct rebuild *r)
{
    struct mkv_garbage g = {.due = INT64_MIN};
    struct mkv_walk walk;
    enum mkv_err err = MKV_OK;

    if (!r->old) return;
    mkv_record_init(&g.files);
    mkv_walk_init(&walk, MKV_TABLE_MARKS, 0, mkv_slice(NULL, 0), mkv_slice(NULL, 0));
    while (!err && !walk.ended && !r->failed)
        err = mkv_index_walk(r->old, &walk, 1024, doom_mark, r);
    while (!err && !r->failed) {
        err = mkv_index_garbage_next(r->old, g.due, g.id, INT64_MAX, &g);
        if (err) break;
        doom(r, mkv_slice(g.key, g.key_len), &g.files, g.due, g.due);
        mkv_record_clear(&g.files);
    }
    if (err && err != MKV_ENOKEY) rebuild_fail(r, err, "the old index can not be read");
}

/* ---- what the volumes have ------------------------------------------------------------------ */

static void on_file(const struct crawl_file *f, void *arg)
{
    struct rebuild *r = arg;
    struct merge_file file = {.at = {r->ids[f->volume], f->subvolume},
                              .size = f->size,
                              .mtime = f->mtime,
                              .due = mkv_loop_wall(r->job.loop)};
    char key[MKV_KEY_MAX];
    size_t len;

    progress_add(r->job.progress, 1, 0);
    if (!mkv_path_key(f->path, key, &len, &file.generation))
        tell_foreign(r, f->volume, f->subvolume, f->path);
    else if (!r->failed)
        gather(r, mkv_slice(key, len), &file);
}

static void on_foreign(size_t volume, struct mkv_slice path, void *arg)
{
    tell_foreign(arg, volume, MKV_NO_SUBVOLUME, path);
}

static void on_unlisted(size_t volume, struct mkv_slice path, const char *why, void *arg)
{
    tell_unlisted(arg, volume, path, why);
}

static void on_crawled(void *arg)
{
    struct rebuild *r = arg;

    r->crawled = true;
}

static enum mkv_err start_crawl(struct rebuild *r)
{
    static const struct crawl_events events = {on_file, on_foreign, on_unlisted, on_crawled};
    const struct crawl_options opt = {.loop = r->job.loop,
                                      .volumes = r->job.volumes,
                                      .names = r->cfg->volumes,
                                      .nnames = r->cfg->nvolumes,
                                      .jobs = r->cfg->jobs};

    return crawl_start(&r->crawl, &opt, &events, r);
}

/* ---- its life ----------------------------------------------------------------------------------- */

static bool is_over(const struct rebuild *r)
{
    return r->failed || r->job.stopping;
}

static void run_until(struct rebuild *r, const bool *there)
{
    while (!*there && !is_over(r)) mkv_loop_turn(r->job.loop);
}

/* With what the old index has as a guess at how much there will be. */
static void guess_total(struct rebuild *r)
{
    struct mkv_index_stats stats;

    if (!r->old) return;
    mkv_index_stats(r->old, &stats);
    progress_total(r->job.progress, (stats.live + stats.unlinked) * r->cfg->replicas);
}

static void do_step(struct rebuild *r, enum rebuild_step step)
{
    struct crawl_stats crawl;
    enum mkv_err err = MKV_OK;
    char why[REBUILD_WHY_MAX] = "";

    switch (step) {
    case REBUILD_CARRY: carry(r); break;
    case REBUILD_RECALL: recall(r); break;
    case REBUILD_CRAWL:
        guess_total(r);
        err = start_crawl(r);
        if (!err) run_until(r, &r->crawled);
        break;
    case REBUILD_JOIN:
        crawl_stats(r->crawl, &crawl);
        progress_total(r->job.progress, 0);
        err = sort_end(r->sort);
        if (!err) err = join_start(r);
        if (!err) run_until(r, &r->joined);
        break;
    case REBUILD_SWAP:
        r->old = NULL;
        err = build_swap(r->build, why, sizeof(why));
        break;
    }
    if (err) rebuild_fail(r, err, why);
}

/* Where a listing failed, keys would be missing: then nothing is swapped. */
static bool all_listed(const struct rebuild *r)
{
    struct crawl_stats crawl;

    crawl_stats(r->crawl, &crawl);
    return crawl.failed == 0;
}

static bool run_steps(struct rebuild *r)
{
    for (enum rebuild_step step = REBUILD_CARRY; step <= REBUILD_SWAP; step++) {
        do_step(r, step);
        if (is_over(r) || (step == REBUILD_CRAWL && !all_listed(r))) return false;
    }
    return true;
}

static enum mkv_err open_all(struct rebuild *r)
{
    const struct build_options opt = {
        .dir = r->cfg->db, .map_size = r->cfg->db_size, .fresh = r->cfg->fresh};
    char prefix[PATH_MAX];
    enum mkv_err err = build_open(&r->build, r->job.loop, &opt, r->why, sizeof(r->why));

    if (err) return err;
    r->old = build_old(r->build);
    r->ids = calloc(r->cfg->nvolumes, sizeof(*r->ids));
    if (!r->ids) return MKV_ENOMEM;
    for (size_t i = 0; i < r->cfg->nvolumes; i++) {
        err = build_volume_id(r->build, r->cfg->volumes[i], &r->ids[i]);
        if (err) return err;
    }
    if (snprintf(prefix, sizeof(prefix), "%s/" BUILD_RUN, build_dir(r->build)) >= PATH_MAX)
        return MKV_EINVAL;
    return sort_open(&r->sort, prefix, SORT_MEMORY);
}

static void close_all(struct rebuild *r)
{
    join_close(r);
    crawl_close(r->crawl);
    sort_close(r->sort);
    build_close(r->build);
    free(r->ids);
    job_close(&r->job);
}

int mkv_rebuild_run(const struct mkv_config *cfg)
{
    struct rebuild r = {.cfg = cfg};
    enum mkv_err err;
    bool swapped;
    int status = 1;

    if (job_open(&r.job, cfg, "rebuild", "files", JOB_VOLUMES)) goto out;
    err = open_all(&r);
    if (err) {
        fprintf(stderr, "mkv-rebuild: %s\n", r.why[0] ? r.why : mkv_strerror(err));
        goto out;
    }
    swapped = run_steps(&r);
    if (r.failed) job_error(&r.job, mkv_slice(NULL, 0), "%s", r.why);
    status = tell_summary(&r, swapped);
out:
    close_all(&r);
    return status;
}
