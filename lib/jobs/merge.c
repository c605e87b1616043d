#include "jobs/merge.h"

static bool same_place(struct mkv_replica a, struct mkv_replica b)
{
    return a.volume == b.volume && a.subvolume == b.subvolume;
}

static bool names(const struct mkv_record *r, uint64_t generation, struct mkv_replica at)
{
    if (!r || r->generation != generation) return false;
    for (unsigned i = 0; i < r->nreplicas; i++)
        if (same_place(r->replicas[i], at)) return true;
    return false;
}

static bool was_walked(const struct merge_input *in, uint32_t volume)
{
    for (size_t i = 0; i < in->nplacement; i++)
        if (in->placement[i].volume == volume) return true;
    return false;
}

/* Of all generations: seen, and not taken out of the game so far. */
static bool in_play(const struct merge_file *f)
{
    return !f->doomed && f->verdict == MERGE_LEFT;
}

/* ---- what the old index doomed --------------------------------------------------------- */

/* A file that the record names as well is spared, as the sweeper does. */
static void apply_doom(struct merge_input *in, struct merge_file *doom)
{
    doom->verdict = names(in->old, doom->generation, doom->at) ? MERGE_NOTHING : MERGE_GARBAGE;
    for (size_t i = 0; i < in->nfiles && doom->verdict == MERGE_GARBAGE; i++) {
        struct merge_file *f = &in->files[i];

        if (f->doomed || f->generation != doom->generation || !same_place(f->at, doom->at)) continue;
        if (f->mtime > doom->mtime)
            doom->verdict = MERGE_NOTHING;
        else
            f->verdict = MERGE_NOTHING; /* the doomed entry speaks of it */
    }
}

/* ---- sizes --------------------------------------------------------------------------------- */

static size_t count_size(const struct merge_input *in, uint64_t generation, int64_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < in->nfiles; i++) {
        const struct merge_file *f = &in->files[i];

        n += in_play(f) && f->generation == generation && f->size == size;
    }
    return n;
}

static size_t count_all(const struct merge_input *in, uint64_t generation)
{
    size_t n = 0;

    for (size_t i = 0; i < in->nfiles; i++)
        n += in_play(&in->files[i]) && in->files[i].generation == generation;
    return n;
}

/* A power cut leaves empty files, and shorter ones. */
static int64_t likely_size(const struct merge_input *in, uint64_t generation)
{
    int64_t best = -1;
    size_t best_count = 0;

    for (size_t i = 0; i < in->nfiles; i++) {
        const struct merge_file *f = &in->files[i];
        size_t count = f->size > 0 ? count_size(in, generation, f->size) : 0;

        if (!in_play(f) || f->generation != generation) continue;
        if (best >= 0 && (count < best_count || (count == best_count && f->size <= best))) continue;
        best = f->size;
        best_count = count;
    }
    return best;
}

/* Every copy was written after what the record knows, and they agree: the old
 * index is older than that write. */
static bool written_later(const struct merge_input *in)
{
    const struct mkv_record *old = in->old;
    int64_t size = -1;

    if (old->mtime < 0) return false;
    for (size_t i = 0; i < in->nfiles; i++) {
        const struct merge_file *f = &in->files[i];

        if (!in_play(f) || f->generation != old->generation) continue;
        if (f->mtime <= old->mtime || (size >= 0 && f->size != size)) return false;
        size = f->size;
    }
    return true;
}

/* ---- replicas ------------------------------------------------------------------------------- */

/* Where it belongs first; what lies elsewhere after it, in a fixed order. */
static size_t rank(const struct merge_input *in, struct mkv_replica r)
{
    for (size_t i = 0; i < in->nplacement; i++) {
        if (in->placement[i].volume != r.volume) continue;
        if (in->placement[i].subvolume == r.subvolume) return i;
        return in->nplacement + i;
    }
    return 2 * in->nplacement;
}

/* Keeps record->replicas in order of rank; returns false where it is full of
 * better ones, or lost one for this. */
static bool add_replica(const struct merge_input *in, struct mkv_record *record,
                        struct mkv_replica r)
{
    bool fits = record->nreplicas < MKV_REPLICAS_MAX;
    unsigned at = fits ? record->nreplicas++ : MKV_REPLICAS_MAX - 1;
    size_t own = rank(in, r);

    if (!fits && rank(in, record->replicas[at]) <= own) return false;
    for (; at > 0 && rank(in, record->replicas[at - 1]) > own; at--)
        record->replicas[at] = record->replicas[at - 1];
    record->replicas[at] = r;
    return fits;
}

/* size < 0: whatever its size. */
static void take_replicas(struct merge_input *in, struct merge_result *out, bool same, int64_t size)
{
    struct mkv_record *record = &out->record;

    record->nreplicas = 0;
    for (size_t i = 0; i < in->nfiles; i++) {
        struct merge_file *f = &in->files[i];

        if (!in_play(f) || f->generation != record->generation) continue;
        if (size >= 0 && f->size != size) continue;
        if (!add_replica(in, record, f->at)) out->findings |= MERGE_CROWDED;
    }
    /* Volumes that were not walked still have what they had. */
    for (unsigned i = 0; same && i < in->old->nreplicas; i++)
        if (!was_walked(in, in->old->replicas[i].volume) &&
            !add_replica(in, record, in->old->replicas[i]))
            out->findings |= MERGE_CROWDED;
    for (size_t i = 0; i < in->nfiles; i++) {
        struct merge_file *f = &in->files[i];

        if (in_play(f) && names(record, f->generation, f->at)) f->verdict = MERGE_REPLICA;
    }
}

/* The mtime that the volumes show for the first replica. */
static int64_t mtime_of(const struct merge_input *in, const struct mkv_record *record)
{
    for (size_t i = 0; record->nreplicas && i < in->nfiles; i++) {
        const struct merge_file *f = &in->files[i];

        if (f->verdict == MERGE_REPLICA && same_place(f->at, record->replicas[0])) return f->mtime;
    }
    return -1;
}

/* ---- the key ----------------------------------------------------------------------------------- */

static enum mkv_err keep_old(struct merge_input *in, struct merge_result *out)
{
    const struct mkv_record *old = in->old;
    bool away = false;

    for (unsigned i = 0; i < old->nreplicas; i++) away |= !was_walked(in, old->replicas[i].volume);
    out->has_record = true;
    out->findings |= away ? MERGE_AWAY : MERGE_LOST;
    return mkv_record_copy(&out->record, old);
}

static void collect_lower(struct merge_input *in, uint64_t generation)
{
    for (size_t i = 0; i < in->nfiles; i++) {
        struct merge_file *f = &in->files[i];

        if (in_play(f) && f->generation < generation) f->verdict = MERGE_GARBAGE;
    }
}

static enum mkv_err take(struct merge_input *in, struct merge_result *out, uint64_t generation)
{
    const struct mkv_record *old = in->old;
    bool same = old && old->generation == generation, certain, damaged = false;
    struct mkv_record *record = &out->record;
    int64_t size = same ? old->size : -1;

    if (same && size >= 0 && count_size(in, generation, size) == 0) {
        same = !written_later(in);
        damaged = same;
        size = -1;
    }
    certain = size >= 0;
    if (!certain) {
        size = likely_size(in, generation);
        certain = size > 0 && count_size(in, generation, size) == count_all(in, generation);
    }
    if (count_size(in, generation, size) < count_all(in, generation)) out->findings |= MERGE_DIFFER;
    if (damaged) out->findings |= MERGE_DAMAGED;
    if (old && !same) out->findings |= MERGE_NEWER;
    if (same && mkv_record_copy(record, old)) return MKV_ENOMEM;
    record->generation = generation;
    take_replicas(in, out, same, damaged ? -1 : size);
    if (!damaged) record->size = size; /* a damaged value keeps what it should be */
    if (record->mtime < 0) record->mtime = mtime_of(in, record);
    if (certain && !damaged) collect_lower(in, generation);
    out->has_record = true;
    return MKV_OK;
}

enum mkv_err merge_key(struct merge_input *in, struct merge_result *out)
{
    const struct merge_file *highest = NULL;

    out->has_record = false;
    out->findings = 0;
    mkv_record_init(&out->record);
    for (size_t i = 0; i < in->nfiles; i++) in->files[i].verdict = MERGE_LEFT;
    for (size_t i = 0; i < in->nfiles; i++)
        if (in->files[i].doomed) apply_doom(in, &in->files[i]);
    for (size_t i = 0; i < in->nfiles; i++) {
        const struct merge_file *f = &in->files[i];

        if (in_play(f) && (!highest || f->generation > highest->generation)) highest = f;
    }
    if (in->old && (!highest || highest->generation < in->old->generation))
        return keep_old(in, out);
    return highest ? take(in, out, highest->generation) : MKV_OK;
}
