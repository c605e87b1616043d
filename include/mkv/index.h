/* include/mkv/index.h - the index: key -> record, durable.
 *
 * Reads copy out: no engine memory outlives a call, and all reads of one turn
 * of the loop see one state.  Writes queue; at the end of the turn they go to
 * the committer thread, which commits everything it finds at once and then
 * calls back on the loop, when the data is on disk.
 *
 * Beside the records there are marks (a write in progress: which files it may
 * leave) and garbage (files that no record names any more, to be deleted from
 * their due time on).  A change touches record and garbage of one key in one
 * commit.  A mark outlives the process, not a power cut: setting one is done
 * when the call returns, and a change of nothing else costs no commit; one that
 * is removed goes once the rest of its change is on disk.
 *
 * docs/format.md describes the tables. */
#ifndef MKV_INDEX_H
#define MKV_INDEX_H

#include "mkv/err.h"
#include "mkv/loop.h"
#include "mkv/record.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mkv_index;
struct mkv_garbage;
typedef void mkv_done(enum mkv_err err, void *arg);

#define MKV_INDEX_MAP_DEFAULT (UINT64_C(1) << 40) /* address space, not disk */

struct mkv_index_options {
    const char *dir;     /* made if absent                                       */
    uint64_t map_size;   /* most bytes the index may grow to; 0: the default     */
    const char *address; /* how others reach this writer ("host:port"); goes into the lock */
    bool read_only;      /* no lock, no writes: mkv-index get, dump, stat        */
};

/* Opens and locks it.  Where it fails, why (NUL-ended text, at
 * most why_size bytes) names the directory and says what to do:
 * MKV_ELOCKED (why names the holder's address), MKV_ENEWER, MKV_EINDEX. */
enum mkv_err mkv_index_open(struct mkv_index **out, struct mkv_loop *loop,
                            const struct mkv_index_options *opt, char *why,
                            size_t why_size) MKV_MUSTUSE;
/* Commits what is queued and calls back, then closes.  NULL is fine. */
void mkv_index_close(struct mkv_index *ix);

/* The address of the program that holds dir's lock, if any: MKV_OK and
 * address filled; MKV_ENOKEY where nobody does. */
enum mkv_err mkv_index_holder(const char *dir, char *address, size_t size) MKV_MUSTUSE;

/* ---- volume names ---------------------------------------------------------
 * Records name volumes by id.  Ids are given once and never reused. */
/* The id of name, given durably (this call waits for the disk: at start only). */
enum mkv_err mkv_index_volume_id(struct mkv_index *ix, struct mkv_slice name,
                                 uint32_t *id) MKV_MUSTUSE;
/* Borrowed, valid until close; {NULL, 0} where the id is unknown. */
struct mkv_slice mkv_index_volume_name(struct mkv_index *ix, uint32_t id);
uint32_t mkv_index_volume_count(struct mkv_index *ix); /* ids are 0..count-1 */

/* ---- reading --------------------------------------------------------------
 * The answer comes at once: MKV_OK, or MKV_ENOKEY with *rec as it was.  An
 * engine on another machine returns MKV_PENDING instead: *rec must then live
 * until done(), which runs exactly once and never inside the call.  The LMDB
 * engine never does, and its callers may pass done NULL. */

/* rec must be initialised.  Any key length: one that can not be stored is
 * MKV_ENOKEY. */
enum mkv_err mkv_index_get(struct mkv_index *ix, struct mkv_slice key, struct mkv_record *rec,
                           mkv_done *done, void *arg) MKV_MUSTUSE;

/* The generation that a new write of key must take: 0 where neither record
 * (rec; NULL for none) nor mark nor garbage of the key holds a name, else one
 * more than the highest of them. */
enum mkv_err mkv_index_next_generation(struct mkv_index *ix, struct mkv_slice key,
                                       const struct mkv_record *rec, uint64_t *generation,
                                       mkv_done *done, void *arg) MKV_MUSTUSE;

/* ---- writing -------------------------------------------------------------- */
enum mkv_change_op { MKV_KEEP, MKV_SET, MKV_REMOVE };

struct mkv_index_change {
    struct mkv_slice key;            /* 1..MKV_KEY_MAX bytes                      */
    enum mkv_change_op record_op;
    const struct mkv_record *record; /* for MKV_SET                               */
    enum mkv_change_op mark_op;
    const struct mkv_record *mark;   /* for MKV_SET: state MKV_WRITING            */
    const struct mkv_record *garbage; /* not NULL: these files (generation, replicas)
                                         become garbage...                        */
    int64_t garbage_due;             /* ...to be deleted from then on (wall seconds) */
    uint64_t *garbage_id;            /* not NULL: the id of that entry, before done() */
    const struct mkv_garbage *spared; /* not NULL, and no garbage: this entry goes, its
                                         files are the record's again */
};

/* Copies everything before returning.  done() runs exactly once and never
 * inside this call - unless an error is returned: then not at all.
 * done(): MKV_OK - it is on disk; MKV_ENOSPACE - the disk or the map is full,
 * nothing changed, later calls may succeed; MKV_EINDEX - nothing changed and
 * no further write will be taken until restart. */
enum mkv_err mkv_index_apply(struct mkv_index *ix, const struct mkv_index_change *change,
                             mkv_done *done, void *arg) MKV_MUSTUSE;

/* How many writes are about to bring a change: more when one is, fewer once it
 * has called mkv_index_apply() or given up.  The committer waits a moment
 * (MKV_INDEX_GATHER_US at most) until it has three times as many changes as are
 * still to come, since a commit of many costs hardly more than a commit of one.
 * 0 until told: then it never waits, and neither does a write that is alone. */
#define MKV_INDEX_GATHER_US 2000
void mkv_index_writers(struct mkv_index *ix, int more_or_fewer);

/* ---- walking --------------------------------------------------------------
 * In byte order of keys.  A walk holds no lock and no transaction between
 * calls, so it may take as long as it likes: it sees each key that is there
 * throughout exactly once. */
enum mkv_table { MKV_TABLE_RECORDS, MKV_TABLE_MARKS };

struct mkv_walk {
    enum mkv_table table;
    enum mkv_state state;    /* only this state; 0: all.  Records only.          */
    struct mkv_slice prefix; /* borrowed; the caller keeps it during the walk    */
    char from[MKV_KEY_MAX];  /* where the next call begins                       */
    size_t from_len;
    bool after;              /* from itself has been seen                        */
    bool ended;
};
/* start: first key wanted (empty: the prefix).  A start or prefix longer than
 * MKV_KEY_MAX makes an ended walk. */
void mkv_walk_init(struct mkv_walk *w, enum mkv_table table, enum mkv_state state,
                   struct mkv_slice prefix, struct mkv_slice start);
/* data: the encoded record, for mkv_record_decode.  Key and data are valid
 * during the callback only.  False: stop, and begin with this key next time. */
typedef bool mkv_walk_visit(struct mkv_slice key, const uint8_t *data, size_t len, void *arg);
/* Examines at most budget keys; sets ended when there are no more. */
enum mkv_err mkv_index_walk(struct mkv_index *ix, struct mkv_walk *w, size_t budget,
                            mkv_walk_visit *visit, void *arg) MKV_MUSTUSE;

/* Goes on behind every key that begins with prefix: for a listing that shows
 * them as one.  The walk must stand at or before them. */
void mkv_walk_skip(struct mkv_walk *w, struct mkv_slice prefix);

/* ---- buckets ----------------------------------------------------------------
 * What S3 knows of a bucket beside its objects.  Writes: as mkv_index_apply. */
#define MKV_BUCKET_MAX 63  /* bytes of a name         */
#define MKV_OWNER_MAX  128 /* bytes of an access key  */
struct mkv_bucket {
    char name[MKV_BUCKET_MAX];
    size_t name_len;
    char owner[MKV_OWNER_MAX]; /* the access key that made it; empty: nobody's */
    size_t owner_len;
    int64_t created;           /* seconds since 1970 */
};
enum mkv_err mkv_index_bucket_get(struct mkv_index *ix, struct mkv_slice name,
                                  struct mkv_bucket *out) MKV_MUSTUSE; /* MKV_ENOKEY */
/* The first one in byte order that is not before from (after: that comes behind
 * it); MKV_ENOKEY where there is none. */
enum mkv_err mkv_index_bucket_next(struct mkv_index *ix, struct mkv_slice from, bool after,
                                   struct mkv_bucket *out) MKV_MUSTUSE;
enum mkv_err mkv_index_bucket_put(struct mkv_index *ix, const struct mkv_bucket *bucket,
                                  mkv_done *done, void *arg) MKV_MUSTUSE;
enum mkv_err mkv_index_bucket_remove(struct mkv_index *ix, struct mkv_slice name, mkv_done *done,
                                     void *arg) MKV_MUSTUSE;

/* ---- multipart uploads --------------------------------------------------------
 * An upload is a value to be: its key, its typed fields, when it was begun, and
 * its parts, whose bytes lie in the spool (mkv/spool.h).  Writes: as
 * mkv_index_apply. */
#define MKV_UPLOAD_ID_LEN 16
#define MKV_PARTS_MAX     10000
struct mkv_upload {
    uint8_t id[MKV_UPLOAD_ID_LEN]; /* random: unique among all keys            */
    char key[MKV_KEY_MAX];
    size_t key_len;
    struct mkv_record what; /* typed fields; mtime: when it was begun.  Initialised
                               and cleared by the caller                        */
};
struct mkv_part {
    unsigned number;        /* 1 to MKV_PARTS_MAX                               */
    uint64_t serial;        /* tells the files of one number apart              */
    struct mkv_record what; /* size, MD5, mtime, MKV_FIELD_CHECKSUMS; as above  */
};
enum mkv_err mkv_index_upload_get(struct mkv_index *ix, struct mkv_slice key,
                                  const uint8_t id[MKV_UPLOAD_ID_LEN],
                                  struct mkv_upload *out) MKV_MUSTUSE; /* MKV_ENOKEY */
/* A listing's view of them: those whose key begins with prefix and that come behind
 * (key, id); id NULL: behind every upload of key; key empty: all of them.  common,
 * if given, says how many bytes of a key are a common prefix, 0 for none: one
 * upload of those that share it is enough. */
struct mkv_upload_query {
    struct mkv_slice prefix, key;
    const uint8_t *id;
    size_t (*common)(struct mkv_slice key, void *arg);
    void *arg;
};
/* The first ones, in the order of keys and then ids, into out, whose records the
 * caller has initialised: as many, up to max, as are found without more work than
 * one takes.  MKV_ENOKEY where there is none. */
enum mkv_err mkv_index_upload_list(struct mkv_index *ix, const struct mkv_upload_query *q,
                                   struct mkv_upload *out, size_t max, size_t *n) MKV_MUSTUSE;
/* To go through all of them, in whatever order: the one behind (key, id), whether
 * that is still there or not; key empty: the first.  MKV_ENOKEY at the end. */
enum mkv_err mkv_index_upload_after(struct mkv_index *ix, struct mkv_slice key, const uint8_t *id,
                                    struct mkv_upload *out) MKV_MUSTUSE;
enum mkv_err mkv_index_upload_put(struct mkv_index *ix, const struct mkv_upload *upload,
                                  mkv_done *done, void *arg) MKV_MUSTUSE;
/* With all its parts, in one commit. */
enum mkv_err mkv_index_upload_remove(struct mkv_index *ix, struct mkv_slice key,
                                     const uint8_t id[MKV_UPLOAD_ID_LEN], mkv_done *done,
                                     void *arg) MKV_MUSTUSE;
enum mkv_err mkv_index_part_get(struct mkv_index *ix, const uint8_t id[MKV_UPLOAD_ID_LEN],
                                unsigned number, struct mkv_part *out) MKV_MUSTUSE;
/* The first one with a higher number than after; MKV_ENOKEY. */
enum mkv_err mkv_index_part_next(struct mkv_index *ix, const uint8_t id[MKV_UPLOAD_ID_LEN],
                                 unsigned after, struct mkv_part *out) MKV_MUSTUSE;
/* In place of one of the same number.  done: MKV_ENOKEY where the upload (key, id)
 * is gone by now: nothing was stored. */
enum mkv_err mkv_index_part_put(struct mkv_index *ix, struct mkv_slice key,
                                const uint8_t id[MKV_UPLOAD_ID_LEN], const struct mkv_part *part,
                                mkv_done *done, void *arg) MKV_MUSTUSE;

/* ---- garbage -------------------------------------------------------------- */
struct mkv_garbage {
    uint64_t id;             /* for done and delay                               */
    int64_t due;             /* wall seconds                                     */
    char key[MKV_KEY_MAX];
    size_t key_len;
    struct mkv_record files; /* generation and replicas; cleared by the caller   */
};
/* The entry with the smallest (due, id) beyond *after_due, *after_id that is
 * due by now; MKV_ENOKEY where there is none.  Start with INT64_MIN, 0. */
enum mkv_err mkv_index_garbage_next(struct mkv_index *ix, int64_t after_due, uint64_t after_id,
                                    int64_t now, struct mkv_garbage *out) MKV_MUSTUSE;
/* The files are gone: forget the entry.  Or: try again at new_due, with only
 * the replicas in left (may be NULL: as it was).  As mkv_index_apply. */
enum mkv_err mkv_index_garbage_done(struct mkv_index *ix, const struct mkv_garbage *g,
                                    mkv_done *done, void *arg) MKV_MUSTUSE;
/* As mkv_index_garbage_done(), for somebody who is in no hurry: it goes with the
 * next commit, and costs one of its own only where none comes for a while.  Writes
 * may take the files' name at once: until done() nobody may go and delete them. */
#define MKV_INDEX_LATER_MS 50
enum mkv_err mkv_index_garbage_done_later(struct mkv_index *ix, const struct mkv_garbage *g,
                                          mkv_done *done, void *arg) MKV_MUSTUSE;
enum mkv_err mkv_index_garbage_delay(struct mkv_index *ix, const struct mkv_garbage *g,
                                     int64_t new_due, const struct mkv_record *left,
                                     mkv_done *done, void *arg) MKV_MUSTUSE;

/* Turns every mark into garbage due now: what a crash left half-written.
 * Waits for the disk: at start only.  *found: how many there were. */
enum mkv_err mkv_index_recover(struct mkv_index *ix, size_t *found) MKV_MUSTUSE;

/* ---- looking at it -------------------------------------------------------- */
#define MKV_INDEX_BUCKETS 16
struct mkv_index_stats {
    uint64_t live, unlinked, writing, garbage; /* keys by state, entries; no scan */
    uint64_t buckets, uploads;
    uint64_t commits, changes, failed;         /* changes / commits: the group size */
    uint64_t commit_us_sum;                    /* time in commits, microseconds    */
    /* Histograms: bucket i counts commits of at most 2^i changes, and of at
     * most 100 us * 2^i; the last bucket takes the rest. */
    uint64_t sizes[MKV_INDEX_BUCKETS], durations[MKV_INDEX_BUCKETS];
    uint64_t bytes_used, bytes_max; /* of the map */
    bool broken;                    /* a failed fsync: no writes until restart */
    bool full;                      /* the last commit found no space */
};
void mkv_index_stats(struct mkv_index *ix, struct mkv_index_stats *out);

/* Writes a copy of the index as it is at this moment into dir (made if absent;
 * must hold no index), waiting for the disk.  Also while another program is
 * writing.  The copy has every record and every volume's name, but no mark and
 * no garbage: opened weeks later, those might name files that are in use again.
 * On an error why names the place, and nothing but an unfinished file is left. */
enum mkv_err mkv_index_backup(struct mkv_index *ix, const char *dir, char *why,
                              size_t why_size) MKV_MUSTUSE;

#endif
