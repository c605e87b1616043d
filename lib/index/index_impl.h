/* lib/index/index_impl.h - what the files of the index share.
 *
 *   index.c      open, close, the names of the volumes, figures
 *   env.c        the LMDB environment: directory, tables, format version
 *   lock.c       one writer at a time
 *   keys.c       how keys and values lie in the tables
 *   entries.c    how buckets, uploads and parts do
 *   marks.c      writes under way, in a mapped file beside LMDB's
 *   read.c       one record, the next generation, the next garbage
 *   buckets.c    buckets, read and written
 *   uploads.c    uploads and their parts, likewise
 *   walk.c       many records, in order
 *   change.c     one queued change, and how it is written in a transaction
 *   commit.c     a group of changes in one transaction; a full disk
 *   committer.c  the thread that commits, and the queue in front of it
 *   recover.c    what a crash left
 *   build.c      a new index beside the old one
 *   backup.c     a copy
 *
 * Threads: the loop's thread reads, the committer's thread writes.  A write on
 * the loop's thread happens only at start (volume names, recovery). */
#ifndef MKV_INDEX_IMPL_H
#define MKV_INDEX_IMPL_H

#include "index/keys.h"
#include "index/marks.h"
#include "mkv/index.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#define FORMAT_VERSION 1 /* of the tables; in meta */
#define META_VERSION   "version"
#define META_COUNTERS  "counters"

/* Pages above map_size that only changes which add nothing may use: LMDB needs
 * free pages even to remove, and a full index must be able to shrink.  A
 * transaction takes at most FIRST_PAGES for its first change (four tables of
 * four levels, and the list of free pages) and seldom more than MORE_PAGES for
 * each one that follows; a wrong guess costs a retry, no more. */
#define RESERVE_PAGES 256
#define FIRST_PAGES   32
#define MORE_PAGES    8

enum table {
    RECORDS, GARBAGE, GARBAGE_BY_KEY, VOLUMES,
    BUCKETS, UPLOADS, PARTS, /* an index made before these has none until a writer opens it */
    META, TABLES
};

#define NO_TABLE 0 /* LMDB's own table of free pages, and never one of ours */

struct env {
    MDB_env *mdb; /* owned */
    bool alone;   /* set before opening: nobody else opens it, so there is no lock file */
    MDB_dbi dbi[TABLES];   /* NO_TABLE: it is not there                        */
    size_t page_size;
    uint64_t map_pages;    /* RESERVE_PAGES included                          */
    const uint8_t *map;    /* where the file is mapped; NULL: not known       */
    size_t map_len;
};

struct counters {       /* in meta: written with the changes that they count */
    uint64_t unlinked;
    uint64_t next_garbage;
};

struct change;
struct change_list {
    struct change *first, **end; /* linked by next */
    size_t count;
};

struct committer {
    /* The loop's. */
    struct change_list turn;      /* queued in this turn                        */
    struct change_list later;     /* nobody waits: they go with the next turn's */
    struct change_list at_once;   /* no commit needed: called back at its end   */
    struct mkv_chore call_back;
    struct mkv_chore hand_over;
    struct event *woken;          /* owned: wake_fd is readable                 */
    struct event *late;           /* owned: no commit came for those in later   */
    int wake_fd;
    bool started, closing;
    pthread_t thread;
    /* Both threads', under lock. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct change_list queue, finished;
    bool stop;
    bool idle;                    /* the thread has nothing to do               */
    bool gathering;               /* it waits for more changes                  */
    /* Without it. */
    atomic_int writers;           /* writes that are about to bring changes     */
};

struct mkv_index {
    struct mkv_loop *loop; /* borrowed: outlives the index */
    char *dir;             /* owned */
    uint64_t map_size;
    bool read_only;
    int lock_fd;
    struct env env;
    struct marks marks; /* the loop's */
    struct change *going; /* the loop's: garbage entries that are as good as gone */

    /* Reading: the loop's. */
    MDB_txn *txn;  /* owned; NULL before the first read */
    bool reading;  /* txn is live: until the end of this turn */
    bool reopened; /* for reading only, after LMDB gave up (broken is true then) */
    struct mkv_chore end_reading;
    uintptr_t window;     /* of the map, last touched by a walk      */
    unsigned windows;     /* touched since memory was last given back */
    size_t give_back_at;  /* where in the map to go on with that     */
    struct mkv_slice *names; /* owned, and each name; by volume id */
    uint32_t nnames;

    /* Writing: held by whoever commits, and by the loop to replace env. */
    pthread_mutex_t write_lock;
    atomic_bool broken, full;
    struct committer committer;

    pthread_mutex_t stats_lock;
    struct mkv_index_stats stats; /* commits..durations only */
};

/* ---- env.c ----------------------------------------------------------------- */
enum mkv_err env_open(struct mkv_index *ix, bool read_only, char *why,
                      size_t why_size) MKV_MUSTUSE;
void env_close(struct env *env);
enum mkv_err env_prepare_dir(const char *dir, bool read_only, char *why,
                             size_t why_size) MKV_MUSTUSE;
/* A new file or directory survives a power cut only once its parent is synced. */
int env_sync_parent(const char *path);
/* What rc means for the index in ix->dir, and what to do. */
enum mkv_err env_explain(const struct mkv_index *ix, int rc, char *why, size_t why_size);
/* Both in a transaction of the caller's; LMDB's code. */
int env_put_counters(const struct env *env, MDB_txn *txn, const struct counters *n);
int env_put_volume(const struct env *env, MDB_txn *txn, uint32_t id, struct mkv_slice name);
extern const char *const env_table_names[TABLES];
struct counters env_counters(const struct env *env, MDB_txn *txn);
uint64_t env_used_pages(const struct env *env);
uint64_t env_entries(const struct env *env, MDB_txn *txn, enum table table);

/* ---- index.c --------------------------------------------------------------- */
/* Whether changes are taken at all. */
enum mkv_err index_may_write(struct mkv_index *ix) MKV_MUSTUSE;
/* c is given away, to be committed. */
void index_queue(struct mkv_index *ix, struct change *c, mkv_done *done, void *arg);

/* ---- read.c ---------------------------------------------------------------- */
/* The read transaction of this turn; borrowed. */
enum mkv_err index_read(struct mkv_index *ix, MDB_txn **txn) MKV_MUSTUSE;
void index_read_end(struct mkv_index *ix); /* the next read sees the newest commit */
/* Logs rc and says what the caller of a read gets. */
enum mkv_err index_read_failed(int rc);

/* ---- change.c -------------------------------------------------------------- */
enum change_kind {
    CHANGE_KEY,           /* record and garbage of one key                    */
    CHANGE_GARBAGE_DONE,  /* the entry (due, id) goes                         */
    CHANGE_GARBAGE_DELAY, /* the entry (due, id) moves to new_due             */
    CHANGE_PUT,           /* key and record go into table                     */
    CHANGE_DROP,          /* key goes out of table                            */
    CHANGE_PART,          /* key and record, where the upload is there        */
    CHANGE_UPLOAD_END     /* the upload goes, and all parts whose keys begin with key */
};

struct change {
    struct change *next;
    struct change *going, **going_prev; /* the loop's: in index.going; prev NULL: not */
    mkv_done *done;
    void *arg;             /* the caller's                                      */
    enum mkv_err err;      /* what done() will be told                          */
    enum change_kind kind;
    enum mkv_change_op record_op;
    enum table table;      /* CHANGE_PUT, CHANGE_DROP                           */
    uint32_t unmark;       /* slot of the mark that goes with it, or MARK_NONE  */
    bool unlinked;         /* the new record's state                            */
    bool collect;          /* there is new garbage                              */
    bool spare;            /* the garbage entry (due, id) goes                  */
    bool adds;             /* found when written: more entries than before      */
    int64_t due, new_due;
    uint64_t id;           /* of the garbage entry                              */
    uint64_t *id_out;      /* the caller's, or NULL                             */
    uint64_t generation;   /* of the garbage                                    */
    uint8_t md5[MKV_MD5_LEN]; /* of the key; where garbage is concerned         */
    MDB_val key;           /* stored form; all four point into bytes            */
    MDB_val upload;        /* stored form, of a part's upload                   */
    MDB_val record, garbage; /* values, ready to be put                   */
    size_t len;            /* of bytes                                          */
    uint8_t bytes[];
};

/* Zero, with len bytes behind it. */
struct change *change_alloc(enum change_kind kind, size_t len);
/* One allocation; *out is the caller's, to free().  MKV_EINVAL, MKV_EKEYLONG,
 * MKV_ENOMEM. */
enum mkv_err change_new(struct change **out, const struct mkv_index_change *from) MKV_MUSTUSE;
/* left NULL: the entry goes; else it moves to new_due, with these files. */
enum mkv_err change_new_garbage(struct change **out, const struct mkv_garbage *g, int64_t new_due,
                                const struct mkv_record *left) MKV_MUSTUSE;
/* Where tight, a change that would add entries is refused: c->err becomes
 * MKV_ENOSPACE and nothing is written.  Returns LMDB's code. */
int change_write(struct change *c, const struct env *env, MDB_txn *txn, struct counters *n,
                 bool tight);

/* ---- buckets.c, uploads.c -------------------------------------------------- */
/* As change_new(); and MKV_EKEYNUL. */
enum mkv_err change_new_bucket(struct change **out, const struct mkv_bucket *bucket) MKV_MUSTUSE;
enum mkv_err change_new_upload(struct change **out, const struct mkv_upload *upload) MKV_MUSTUSE;
enum mkv_err change_new_part(struct change **out, struct mkv_slice key,
                             const uint8_t id[MKV_UPLOAD_ID_LEN],
                             const struct mkv_part *part) MKV_MUSTUSE;
/* The two kinds of change that only uploads have, as change_write(). */
int change_write_part(struct change *c, const struct env *env, MDB_txn *txn, bool tight);
int change_write_upload_end(struct change *c, const struct env *env, MDB_txn *txn);

static inline void list_init(struct change_list *l)
{
    *l = (struct change_list){.end = &l->first};
}

static inline void list_add(struct change_list *l, struct change *c)
{
    c->next = NULL;
    *l->end = c;
    l->end = &c->next;
    l->count++;
}

/* Moves all of from to the end of to. */
static inline void list_join(struct change_list *to, struct change_list *from)
{
    if (!from->first) return;
    *to->end = from->first;
    to->end = from->end;
    to->count += from->count;
    list_init(from);
}

static inline struct change *list_take(struct change_list *l)
{
    struct change *c = l->first;

    if (!c) return NULL;
    l->first = c->next;
    if (!l->first) l->end = &l->first;
    l->count--;
    return c;
}

/* ---- commit.c -------------------------------------------------------------- */
/* Commits them, waiting for the disk, and fills in each err. */
void index_commit(struct mkv_index *ix, struct change_list *changes);
/* Adds the volume's name; under write_lock and durable like a change. */
enum mkv_err index_commit_volume(struct mkv_index *ix, uint32_t id,
                                 struct mkv_slice name) MKV_MUSTUSE;

/* ---- committer.c ----------------------------------------------------------- */
enum mkv_err committer_start(struct mkv_index *ix) MKV_MUSTUSE;
void committer_stop(struct mkv_index *ix); /* commits and calls back first */
/* c is given away: to be committed; or, with nothing to commit, only to be
 * called back at the end of the turn.  Later: with the changes of another turn,
 * or when none have come for MKV_INDEX_LATER_MS. */
void committer_add(struct mkv_index *ix, struct change *c);
void committer_add_later(struct mkv_index *ix, struct change *c);
void committer_skip(struct mkv_index *ix, struct change *c);

#endif
