/* mkv-verify: is every copy of every value there, and as it should be? */
#include "jobs/verify.h"

#include "mkv/jobs.h"
#include "mkv/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- words --------------------------------------------------------------------------- */

void verify_say(struct verify *v, struct mkv_slice key, const char *format, ...)
{
    char text[1024], shown[512];
    va_list args;

    if (++v->said > VERIFY_SAID) return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    progress_say(v->job.progress, "verify: %s: %s",
                 mkv_log_bytes(shown, sizeof(shown), key.data, key.len), text);
    if (v->said == VERIFY_SAID)
        progress_say(v->job.progress, "verify: more lines like these are only counted");
}

/* ---- volumes that are away ------------------------------------------------------------- */

/* NULL: no memory, or an id that no volume has. */
static struct away *away_of(struct verify *v, uint32_t id)
{
    size_t n = mkv_index_volume_count(v->job.index);
    struct away *more;

    if (id < v->naway) return &v->away[id];
    if (id >= n) return NULL;
    more = realloc(v->away, n * sizeof(*more));
    if (!more) return NULL;
    memset(more + v->naway, 0, (n - v->naway) * sizeof(*more));
    v->away = more;
    v->naway = n;
    return &v->away[id];
}

static bool is_down(struct verify *v, uint32_t id)
{
    struct mkv_volume *volume = job_volume(&v->job, id);

    return volume && mkv_volume_state(volume) == MKV_VOLUME_DOWN;
}

void verify_answered(struct verify *v, uint32_t id, bool answered)
{
    struct away *a = away_of(v, id);

    if (!a) return;
    if (answered)
        *a = (struct away){0};
    else if (!a->since_ms && is_down(v, id))
        a->since_ms = mkv_loop_now(v->job.loop);
}

static bool is_patient(struct verify *v, const struct away *a)
{
    return mkv_loop_now(v->job.loop) - a->since_ms < VERIFY_AWAY_MS;
}

bool verify_is_away(struct verify *v, uint32_t id)
{
    const struct away *a = away_of(v, id);

    return a && a->since_ms && is_down(v, id) && is_patient(v, a);
}

bool verify_is_given_up(struct verify *v, uint32_t id)
{
    struct away *a = away_of(v, id);
    struct mkv_volume_stats stats;
    struct mkv_slice name;

    if (!a || !a->since_ms || !is_down(v, id) || is_patient(v, a)) return false;
    if (!a->told) {
        a->told = true;
        name = mkv_index_volume_name(v->job.index, id);
        mkv_volume_stats(job_volume(&v->job, id), &stats);
        job_error(&v->job, mkv_slice(NULL, 0), "%.*s is down (%s): its copies are not checked",
                  (int)name.len, name.data, stats.last_error);
    }
    return true;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static int sum_up(struct verify *v)
{
    static const struct {
        const char *name, *text;
    } words[COUNTS] = {
        [COUNT_KEYS] = {"keys", "keys checked"},
        [COUNT_COPIES] = {"copies", "copies checked"},
        [COUNT_BYTES] = {"bytes", "bytes read"},
        [COUNT_MISSING] = {"missing", "copies missing"},
        [COUNT_WRONG_SIZE] = {"wrong_size", "copies of wrong size"},
        [COUNT_DAMAGED] = {"damaged", "copies damaged"},
        [COUNT_DIFFERENT] = {"different", "copies that differ"},
        [COUNT_UNDER] = {"under_replicated", "keys with too few copies"},
        [COUNT_LOST] = {"lost", "keys lost"},
        [COUNT_UNKNOWN] = {"unchecked", "copies not checked"},
        [COUNT_UNBALANCED] = {"unbalanced", "keys unbalanced"},
        [COUNT_REPAIRED] = {"repaired", "keys repaired"},
        [COUNT_REPAIRABLE] = {"repairable", "keys to be repaired"},
        [COUNT_IN_USE] = {"in_use", "keys changing all the time"},
        [COUNT_FILES] = {"files", "files listed"},
        [COUNT_ORPHANS] = {"orphans", "orphans"},
        [COUNT_ORPHANS_DELETED] = {"orphans_deleted", "orphans deleted"},
        [COUNT_FOREIGN] = {"foreign", "foreign files"},
        [COUNT_SPOOL_ORPHANS] = {"spool_orphans", "orphans in the spool"},
        [COUNT_SPOOL_DELETED] = {"spool_orphans_deleted", "of them deleted"},
        [COUNT_PARTS_MISSING] = {"parts_missing", "parts missing"},
    };
    struct job_figure figures[COUNTS];

    for (size_t i = 0; i < COUNTS; i++)
        figures[i] = (struct job_figure){.name = words[i].name,
                                         .text = words[i].text,
                                         .n = v->counts[i],
                                         .is_bytes = i == COUNT_BYTES};
    return job_sum_up(&v->job, figures, COUNTS);
}

static int run(struct verify *v)
{
    if (v->job.cfg->deep && digester_open(&v->digester, v->job.loop, VERIFY_GATHER_MS)) {
        job_error(&v->job, mkv_slice(NULL, 0), "no thread can be started to take MD5s");
        return sum_up(v);
    }
    job_each_key(&v->job, 0, verify_key, v);
    if (v->job.broken_off) verify_keys_drop(v);
    if (v->job.cfg->orphans && !v->job.stopping) verify_orphans(v);
    if (v->job.cfg->orphans && !v->job.stopping) verify_spool(v);
    if (v->counts[COUNT_UNKNOWN] && !v->job.errors)
        job_error(&v->job, mkv_slice(NULL, 0), "some copies could not be checked");
    return sum_up(v);
}

int mkv_verify_run(const struct mkv_config *cfg)
{
    struct verify *v = calloc(1, sizeof(*v));
    bool changes = cfg->repair && !cfg->dry_run;
    char address[JOB_ADDRESS_MAX];
    int status = 1;

    if (!v) {
        fprintf(stderr, "mkv-verify: %s\n", mkv_strerror(MKV_ENOMEM));
        return 1;
    }
    v->beside = mkv_index_holder(cfg->db, address, sizeof(address)) != MKV_ENOKEY;
    if (!job_open(&v->job, cfg, "verify", "keys", changes ? JOB_WRITE : JOB_READ)) status = run(v);
    digester_close(v->digester);
    job_close(&v->job);
    free(v->away);
    free(v);
    return status;
}
