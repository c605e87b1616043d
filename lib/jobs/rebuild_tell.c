/* What people hear of a rebuild. */
#include "jobs/rebuild_internal.h"

#include "mkv/log.h"

#include <inttypes.h>
#include <stdio.h>

struct mkv_slice tell_volume(struct rebuild *r, uint32_t id)
{
    for (size_t i = 0; i < r->cfg->nvolumes; i++)
        if (r->ids[i] == id) return r->cfg->volumes[i];
    return r->old ? mkv_index_volume_name(r->old, id) : mkv_slice(NULL, 0);
}

const char *tell_place(struct rebuild *r, struct mkv_replica at, char out[MKV_REPLICA_TEXT_MAX + 1])
{
    out[mkv_replica_text(out, tell_volume(r, at.volume), at.subvolume)] = '\0';
    return out;
}

void tell_foreign(struct rebuild *r, size_t volume, uint16_t subvolume, struct mkv_slice path)
{
    char where[MKV_REPLICA_TEXT_MAX + 1], shown[512];

    if (++r->counts.foreign > REBUILD_FOREIGN_SHOWN) return;
    where[mkv_replica_text(where, r->cfg->volumes[volume], subvolume)] = '\0';
    progress_say(r->job.progress, "rebuild: %s%s is no value of this store: left alone", where,
                 mkv_log_bytes(shown, sizeof(shown), path.data, path.len));
    if (r->counts.foreign == REBUILD_FOREIGN_SHOWN)
        progress_say(r->job.progress, "rebuild: more foreign files are only counted");
}

void tell_unlisted(struct rebuild *r, size_t volume, struct mkv_slice path, const char *why)
{
    struct mkv_slice name = r->cfg->volumes[volume];

    job_error(&r->job, mkv_slice(NULL, 0), "%.*s%.*s can not be listed: %s", (int)name.len,
              name.data, (int)path.len, path.data, why);
}

/* "7 bytes on a/sv01, 3 bytes on b/sv02": the copies of the record's generation. */
static const char *sizes_text(struct rebuild *r, const struct merge_input *in, uint64_t generation,
                              char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < in->nfiles && n < size; i++) {
        const struct merge_file *f = &in->files[i];
        char place[MKV_REPLICA_TEXT_MAX + 1];
        int more;

        if (f->doomed || f->verdict == MERGE_NOTHING || f->generation != generation) continue;
        more = snprintf(out + n, size - n, "%s%" PRId64 " bytes on %s", n ? ", " : "", f->size,
                        tell_place(r, f->at, place));
        if (more > 0) n += (size_t)more;
    }
    return out;
}

static void tell_findings(struct rebuild *r, struct mkv_slice key, const struct merge_input *in,
                          const struct merge_result *out)
{
    char sizes[640];

    sizes_text(r, in, out->record.generation, sizes, sizeof(sizes));
    if (out->findings & MERGE_LOST)
        job_error(&r->job, key,
                  "lost: no volume has a file of it; the old record is kept, GET answers 410");
    if (out->findings & MERGE_DAMAGED)
        job_error(&r->job, key, "damaged: no copy has the %" PRId64 " bytes that the index knows: %s",
                  out->record.size, sizes);
    else if (out->findings & MERGE_DIFFER)
        job_error(&r->job, key,
                  "copies differ: %s; those of %" PRId64 " bytes are taken, the others left alone",
                  sizes, out->record.size);
    if (out->findings & MERGE_CROWDED)
        job_error(&r->job, key, "more than %d volumes have it: the others are left alone",
                  MKV_REPLICAS_MAX);
}

void tell_merged(struct rebuild *r, struct mkv_slice key, const struct merge_input *in,
                 const struct merge_result *out)
{
    struct rebuild_counts *n = &r->counts;

    if (out->has_record) {
        n->keys++;
        n->unlinked += out->record.state == MKV_UNLINKED;
    }
    n->lost += (out->findings & MERGE_LOST) != 0;
    n->away += (out->findings & MERGE_AWAY) != 0;
    n->differ += (out->findings & MERGE_DIFFER) != 0;
    n->damaged += (out->findings & MERGE_DAMAGED) != 0;
    n->newer += (out->findings & MERGE_NEWER) != 0;
    for (size_t i = 0; i < in->nfiles; i++) {
        const struct merge_file *f = &in->files[i];

        n->garbage += f->verdict == MERGE_GARBAGE;
        n->superseded += f->verdict == MERGE_GARBAGE && !f->doomed;
        n->left += f->verdict == MERGE_LEFT;
    }
    if (out->findings) tell_findings(r, key, in, out);
}

int tell_summary(struct rebuild *r, bool swapped)
{
    const struct rebuild_counts *n = &r->counts;
    struct crawl_stats crawl = {0};
    size_t md5 = r->cfg->md5sum ? 2 : 0; /* figures, the last ones */

    if (r->crawl) crawl_stats(r->crawl, &crawl);
    const struct job_figure figures[] = {
        {"listings", "directories listed", crawl.listings, false},
        {"listings_failed", "not listed", crawl.failed, false},
        {"files", "files seen", crawl.files, false},
        {"foreign", "foreign, left alone", n->foreign, false},
        {"keys", "keys", n->keys, false},
        {"unlinked", "of them unlinked", n->unlinked, false},
        {"lost", "of them lost", n->lost, false},
        {"away", "on other volumes", n->away, false},
        {"newer", "newer than the old index", n->newer, false},
        {"differ", "whose copies differ", n->differ, false},
        {"damaged", "damaged", n->damaged, false},
        {"garbage", "files to be deleted", n->garbage, false},
        {"superseded", "of them superseded", n->superseded, false},
        {"left", "files left alone", n->left, false},
        {"buckets", "buckets kept", n->buckets, false},
        {"uploads", "unfinished uploads kept", n->uploads, false},
        {"swapped", "new index in place", swapped, false},
        {"md5_read", "values read", n->md5_read, false},
        {"md5_bytes", "bytes read", n->md5_bytes, true},
    };

    if (!swapped)
        progress_say(r->job.progress,
                     "rebuild: the index in %s is as it was: %s", r->cfg->db,
                     r->job.interrupted ? "run it again"
                                        : "put right what is said above, then run it again");
    return job_sum_up(&r->job, figures, sizeof(figures) / sizeof(figures[0]) - 2 + md5);
}
