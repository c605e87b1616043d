/* lib/jobs/rebuild_internal.h - what the files of the rebuild share.
 *
 *   rebuild.c       its life: gather, join, swap; the summary
 *   rebuild_join.c  what was gathered and the old index, key by key, into the new one
 *   rebuild_md5.c   -md5sum: one value is read
 *   rebuild_tell.c  what people hear of it */
#ifndef MKV_JOBS_REBUILD_INTERNAL_H
#define MKV_JOBS_REBUILD_INTERNAL_H

#include "index/build.h"
#include "jobs/crawl.h"
#include "jobs/job.h"
#include "jobs/merge.h"
#include "jobs/sort.h"

#define REBUILD_FOREIGN_SHOWN 20   /* lines; the others are counted */
#define REBUILD_WHY_MAX       1024

struct rebuild_counts {
    uint64_t keys, unlinked, garbage, superseded, foreign, lost, away, differ, damaged, newer;
    uint64_t left, buckets, uploads, md5_read, md5_bytes;
};

struct rebuild_join;

struct rebuild {
    struct job job;
    const struct mkv_config *cfg; /* borrowed */
    struct build *build;          /* owned, as all below where nothing else is said */
    struct mkv_index *old;        /* borrowed from build; NULL: none */
    uint32_t *ids;                /* of cfg->volumes, in the new index */
    struct sort *sort;
    struct crawl *crawl;
    bool crawled;
    struct rebuild_join *join;
    bool joined;
    enum mkv_err failed;          /* the first error that ends it; why says what to do */
    char why[REBUILD_WHY_MAX];
    struct rebuild_counts counts;
};

/* Ends it: the old index stays. */
void rebuild_fail(struct rebuild *r, enum mkv_err err, const char *why);

/* ---- rebuild_join.c -------------------------------------------------------------- */
/* What is in r->sort, and the old records, become the new index, in later turns
 * of the loop; then r->joined. */
enum mkv_err join_start(struct rebuild *r) MKV_MUSTUSE;
void join_close(struct rebuild *r);
/* A key is ready; rec is the caller's. */
void join_write(struct rebuild *r, struct mkv_slice key, const struct mkv_record *rec);

/* ---- rebuild_md5.c ----------------------------------------------------------------- */
/* The value of one key is read, from the first copy that is whole, and its MD5
 * put into the record.  done(): the record is ready, whatever came of it. */
struct md5_read {
    struct rebuild *rebuild;      /* borrowed */
    void (*done)(struct md5_read *m);
    bool busy;
    char key[MKV_KEY_MAX];
    size_t key_len;
    struct mkv_record record;     /* owned */
    unsigned at;                  /* replica being read */
    bool whole;                   /* a whole copy was read */
    int64_t size;                 /* read so far */
    struct mkv_digest *digest;    /* owned */
    struct mkv_exchange *x;       /* owned; NULL: none */
};
/* record is taken over. */
void md5_start(struct md5_read *m, struct mkv_slice key, struct mkv_record *record);
void md5_cancel(struct md5_read *m);

/* ---- rebuild_tell.c ---------------------------------------------------------------- */
/* "localhost:3001/sv07", NUL-ended. */
const char *tell_place(struct rebuild *r, struct mkv_replica at, char out[MKV_REPLICA_TEXT_MAX + 1]);
struct mkv_slice tell_volume(struct rebuild *r, uint32_t id);
void tell_foreign(struct rebuild *r, size_t volume, uint16_t subvolume, struct mkv_slice path);
void tell_unlisted(struct rebuild *r, size_t volume, struct mkv_slice path, const char *why);
/* What the merge found out about a key, and what becomes of its files: counts too. */
void tell_merged(struct rebuild *r, struct mkv_slice key, const struct merge_input *in,
                 const struct merge_result *out);
int tell_summary(struct rebuild *r, bool swapped) MKV_MUSTUSE;

#endif
