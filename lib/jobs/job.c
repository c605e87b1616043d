/* How a job begins and ends. */
#include "jobs/job_internal.h"

#include "mkv/log.h"

#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WHY_MAX          1024
#define MASTER_TIMEOUT_MS 5000
/* While a volume waits for its disk, with one of several files, the kernel should have enough
 * of the others. */
#define READ_AHEAD (8 * 1024 * 1024)
/* A master that moves a large value says nothing until it is done.  Where it
 * dies the connection breaks: it is on this machine, as the index is. */
#define MASTER_PATIENCE_MS (UINT64_C(7) * 24 * 3600 * 1000)

/* ---- Ctrl-C ------------------------------------------------------------------------ */

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct job *job = arg;

    (void)number;
    (void)what;
    if (job->interrupted) {
        job->broken_off = true;
        mkv_loop_stop(job->loop);
        return;
    }
    job->interrupted = true;
    progress_say(job->progress,
                 "%s: stopping: what is under way is finished (once more: it is broken off)",
                 job->name);
    job_stop(job);
}

void job_stop(struct job *job)
{
    job->stopping = true;
    job_moves_stop(job);
    job_walk_stop(job);
}

static enum mkv_err watch_signals(struct job *job)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of write(2) */
    for (size_t i = 0; i < 2; i++)
        event_assign(&job->signals[i], mkv_loop_base(job->loop), numbers[i], EV_SIGNAL | EV_PERSIST,
                     on_signal, job);
    job->has_signals = true;
    return event_add(&job->signals[0], NULL) || event_add(&job->signals[1], NULL) ? MKV_ENOMEM
                                                                                  : MKV_OK;
}

/* ---- opening ------------------------------------------------------------------------- */

/* The index is somebody else's: the master's, or nobody's while we only read. */
static enum mkv_err open_read_only(struct job *job, char *why)
{
    const struct mkv_index_options opt = {
        .dir = job->cfg->db, .map_size = job->cfg->db_size, .read_only = true};

    return mkv_index_open(&job->index, job->loop, &opt, why, WHY_MAX);
}

static enum mkv_err open_volumes(struct job *job)
{
    struct mkv_volumes_options opt = {.loop = job->loop,
                                      .timeout_ms = job->cfg->voltimeout_ms,
                                      .ahead = job->cfg->deep ? READ_AHEAD : 0};
    enum mkv_err err = mkv_blocks_open(&job->blocks);

    opt.blocks = job->blocks;
    return err ? err : mkv_volumes_open(&job->volumes, &opt);
}

static enum mkv_err open_master(struct job *job, char *why)
{
    const struct mkv_volumes_options opt = {.loop = job->loop,
                                            .blocks = job->blocks,
                                            .timeout_ms = MASTER_TIMEOUT_MS,
                                            .stall_ms = MASTER_PATIENCE_MS};
    enum mkv_err err = mkv_volumes_open(&job->masters, &opt);

    if (err) return err;
    err = mkv_volumes_get(job->masters, mkv_slice_of(job->address), &job->master);
    if (err)
        snprintf(why, WHY_MAX, "the index %s is in use, but not by a master that says where it is",
                 job->cfg->db);
    return err;
}

/* Whether somebody holds the index; address is then filled, if it has one. */
static bool is_held(struct job *job)
{
    return mkv_index_holder(job->cfg->db, job->address, sizeof(job->address)) == MKV_OK;
}

static enum mkv_err open_index(struct job *job, enum job_access access, char *why)
{
    bool held = access == JOB_WRITE && is_held(job);
    enum mkv_err err;

    if (access == JOB_WRITE && !held) {
        job->address[0] = '\0';
        err = mkv_store_open(&job->store, job->loop, job->cfg, job->metrics, NULL, why, WHY_MAX);
        if (err) return err;
        job->index = mkv_store_index(job->store);
        job->blocks = mkv_store_blocks(job->store);
        job->volumes = mkv_store_volumes(job->store);
        return MKV_OK;
    }
    err = open_volumes(job);
    if (!err && access != JOB_VOLUMES) err = open_read_only(job, why);
    if (!err && held) err = open_master(job, why);
    return err;
}

/* Online, a volume that the master's index does not know is one that the
 * master does not use: it would move nothing there. */
static enum mkv_err learn_ids(struct job *job, char *why)
{
    const struct mkv_config *cfg = job->cfg;

    job->ids = calloc(cfg->nvolumes ? cfg->nvolumes : 1, sizeof(*job->ids));
    if (!job->ids) return MKV_ENOMEM;
    for (size_t i = 0; i < cfg->nvolumes && job->index; i++) {
        if (!mkv_index_volume_id(job->index, cfg->volumes[i], &job->ids[i])) continue;
        if (job->master) {
            snprintf(why, WHY_MAX,
                     "the master at %s does not know the volume %.*s: start both with the same "
                     "-volumes",
                     job->address, (int)cfg->volumes[i].len, cfg->volumes[i].data);
            return MKV_EINVAL;
        }
        job->ids[i] = UINT32_MAX - (uint32_t)i;
    }
    return MKV_OK;
}

/* A name that is no address is told now, not at the first request. */
static enum mkv_err check_volumes(struct job *job, char *why)
{
    struct mkv_volume *v;

    for (size_t i = 0; i < job->cfg->nvolumes; i++) {
        struct mkv_slice name = job->cfg->volumes[i];
        enum mkv_err err = mkv_volumes_get(job->volumes, name, &v);

        if (!err) continue;
        snprintf(why, WHY_MAX, "-volumes: %.*s is no host:port or host:port/dir", (int)name.len,
                 name.data);
        return err;
    }
    return MKV_OK;
}

enum mkv_err job_open(struct job *job, const struct mkv_config *cfg, const char *name,
                      const char *unit, enum job_access access)
{
    char why[WHY_MAX] = "";
    enum mkv_err err;

    memset(job, 0, sizeof(*job));
    job->cfg = cfg;
    job->name = name;
    err = mkv_loop_open(&job->loop);
    if (err) goto out;
    err = MKV_ENOMEM;
    job->metrics = calloc(1, sizeof(*job->metrics));
    if (!job->metrics) goto out;
    err = open_index(job, access, why);
    if (err) goto out;
    err = check_volumes(job, why);
    if (err) goto out;
    err = learn_ids(job, why);
    if (err) goto out;
    err = progress_open(&job->progress, job->loop, name, unit);
    if (err) goto out;
    err = watch_signals(job);
out:
    if (err) fprintf(stderr, "mkv-%s: %s\n", name, why[0] ? why : mkv_strerror(err));
    return err;
}

/* ---- closing ------------------------------------------------------------------------- */

void job_close(struct job *job)
{
    if (job->has_signals) {
        event_del(&job->signals[0]);
        event_del(&job->signals[1]);
    }
    if (job->loop) job_moves_drop(job);
    progress_close(job->progress);
    mkv_volumes_close(job->masters);
    if (job->store) {
        mkv_store_close(job->store);
    } else {
        mkv_volumes_close(job->volumes);
        mkv_index_close(job->index);
        if (job->loop) mkv_loop_settle(job->loop); /* what retired still holds blocks */
        mkv_blocks_close(job->blocks);
    }
    mkv_loop_close(job->loop);
    job_walk_free(job); /* last: requests that were under way pointed into it */
    free(job->metrics);
    free(job->ids);
    memset(job, 0, sizeof(*job));
}

/* ---- complaints ------------------------------------------------------------------------ */

void job_error(struct job *job, struct mkv_slice key, const char *format, ...)
{
    char text[1024], shown[512] = "";
    va_list args;

    if (++job->errors > JOB_ERRORS_SHOWN) return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (key.data) mkv_log_bytes(shown, sizeof(shown), key.data, key.len);
    progress_say(job->progress, "%s: %s%s%s", job->name, shown, key.data ? ": " : "", text);
    if (job->errors == JOB_ERRORS_SHOWN)
        progress_say(job->progress, "%s: more errors like these are only counted", job->name);
}

/* ---- volumes and places ------------------------------------------------------------------ */

struct mkv_volume *job_volume(struct job *job, uint32_t id)
{
    struct mkv_slice name = mkv_index_volume_name(job->index, id);
    struct mkv_volume *v;

    for (size_t i = 0; i < job->cfg->nvolumes && !name.data; i++)
        if (job->ids[i] == id) name = job->cfg->volumes[i];
    return name.data && !mkv_volumes_get(job->volumes, name, &v) ? v : NULL;
}

const char *job_replica_text(struct job *job, struct mkv_replica r,
                             char out[MKV_REPLICA_TEXT_MAX + 1])
{
    struct mkv_volume *v = job_volume(job, r.volume);
    struct mkv_slice name = v ? mkv_volume_name(v) : MKV_SLICE("a volume without a name");

    out[mkv_replica_text(out, name, r.subvolume)] = '\0';
    return out;
}

void job_place(struct job *job, struct mkv_slice key, struct mkv_replica out[MKV_REPLICAS_MAX])
{
    const struct mkv_config *cfg = job->cfg;
    struct mkv_replica ordered[MKV_VOLUMES_MAX];

    mkv_place(key, cfg->volumes, cfg->nvolumes, (unsigned)cfg->subvolumes, ordered);
    for (size_t i = 0; i < cfg->replicas; i++) {
        out[i].volume = job->ids[ordered[i].volume];
        out[i].subvolume = ordered[i].subvolume;
    }
}

bool job_is_placed(struct job *job, struct mkv_slice key, const struct mkv_record *rec)
{
    struct mkv_replica wanted[MKV_REPLICAS_MAX];

    if (rec->nreplicas != job->cfg->replicas) return false;
    job_place(job, key, wanted);
    for (unsigned i = 0; i < rec->nreplicas; i++)
        if (rec->replicas[i].volume != wanted[i].volume ||
            rec->replicas[i].subvolume != wanted[i].subvolume)
            return false;
    return true;
}

/* ---- the summary --------------------------------------------------------------------------- */

static void print_json(const struct job *job, const struct job_figure *figures, size_t n,
                       double seconds)
{
    printf("{\"job\":\"%s\"", job->name);
    for (size_t i = 0; i < n; i++) printf(",\"%s\":%" PRIu64, figures[i].name, figures[i].n);
    printf(",\"errors\":%" PRIu64 ",\"interrupted\":%s,\"seconds\":%.3f}\n", job->errors,
           job->interrupted ? "true" : "false", seconds);
}

static void print_words(const struct job *job, const struct job_figure *figures, size_t n,
                        double seconds)
{
    char bytes[PROGRESS_BYTES_MAX];

    for (size_t i = 0; i < n; i++) {
        printf("%-24s %" PRIu64, figures[i].text, figures[i].n);
        if (figures[i].is_bytes) printf(" (%s)", progress_bytes(bytes, (double)figures[i].n));
        printf("\n");
    }
    printf("%-24s %" PRIu64 "\n", "errors", job->errors);
    printf("%-24s %.1f%s\n", "seconds", seconds,
           job->interrupted ? ", interrupted: run it again for the rest" : "");
}

int job_sum_up(struct job *job, const struct job_figure *figures, size_t n)
{
    double seconds = progress_seconds(job->progress);

    progress_close(job->progress);
    job->progress = NULL;
    if (job->cfg->json)
        print_json(job, figures, n, seconds);
    else
        print_words(job, figures, n, seconds);
    if (fflush(stdout)) {
        fprintf(stderr, "mkv-%s: the summary can not be written to standard output\n", job->name);
        return 1;
    }
    return job->errors || job->stopping ? 1 : 0;
}
