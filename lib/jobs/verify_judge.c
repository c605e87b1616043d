/* What the answers about the copies of one value mean.  Pure. */
#include "jobs/verify.h"

/* What the record alone can say of a file; COPY_UNKNOWN: nothing. */
static enum verdict by_record(const struct mkv_record *rec, const struct seen_copy *seen)
{
    if (rec->size >= 0 && seen->size != rec->size) return COPY_WRONG_SIZE;
    if (rec->has_md5 && seen->has_md5)
        return memcmp(seen->md5, rec->md5, MKV_MD5_LEN) == 0 ? COPY_GOOD : COPY_DAMAGED;
    return COPY_UNKNOWN;
}

static bool alike(const struct seen_copy *a, const struct seen_copy *b)
{
    if (a->size != b->size) return false;
    return !a->has_md5 || !b->has_md5 || memcmp(a->md5, b->md5, MKV_MD5_LEN) == 0;
}

void verify_judge(const struct mkv_record *rec, const struct seen_copy *seen,
                  enum verdict *verdicts, unsigned counts[VERDICTS])
{
    const struct seen_copy *first = NULL;
    bool open[MKV_REPLICAS_MAX] = {false}, all_alike = true;

    for (unsigned i = 0; i < rec->nreplicas; i++) {
        verdicts[i] = seen[i].seen == SEEN_NO_FILE ? COPY_MISSING : COPY_UNKNOWN;
        if (seen[i].seen != SEEN_FILE) continue;
        verdicts[i] = by_record(rec, &seen[i]);
        open[i] = verdicts[i] == COPY_UNKNOWN;
        if (!open[i]) continue;
        if (!first) first = &seen[i];
        all_alike = all_alike && alike(first, &seen[i]);
    }
    memset(counts, 0, VERDICTS * sizeof(*counts));
    for (unsigned i = 0; i < rec->nreplicas; i++) {
        if (open[i]) verdicts[i] = all_alike ? COPY_GOOD : COPY_DIFFERENT;
        counts[verdicts[i]]++;
    }
}
