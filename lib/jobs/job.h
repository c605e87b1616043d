/* lib/jobs/job.h - what jobs share: how they begin, find the master, walk all
 * keys, move one, complain, stop and sum up.
 *
 * Where a master holds the index, a job reads the index beside it and changes
 * keys only by asking it (online); else it opens the store itself, which takes
 * the lock (offline): no key is ever changed by two programs. */
#ifndef MKV_JOBS_JOB_H
#define MKV_JOBS_JOB_H

#include "jobs/progress.h"
#include "mkv/config.h"
#include "mkv/index.h"
#include "mkv/metrics.h"
#include "mkv/place.h"
#include "mkv/record.h"
#include "mkv/store.h"
#include "net/volume.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#define JOB_ERRORS_SHOWN  100   /* lines; the others are counted                   */
#define JOB_BUSY_MS       30000 /* a key that is busy for longer counts as failed  */
#define JOB_MASTER_MS     30000 /* a master that is away for longer ends the job   */
#define JOB_RETRY_MIN_MS  20
#define JOB_RETRY_MAX_MS  1000
#define JOB_ADDRESS_MAX   512

enum job_access {
    JOB_VOLUMES, /* no index: the volumes only                                    */
    JOB_READ,    /* the index read-only, whether or not a master runs             */
    JOB_WRITE    /* the index, and keys can be moved                              */
};

struct job {
    const struct mkv_config *cfg;  /* borrowed */
    const char *name;              /* "rebalance": a literal */
    struct mkv_loop *loop;         /* owned, as all below where nothing else is said */
    struct progress *progress;
    struct mkv_store *store;       /* offline with JOB_WRITE, else NULL */
    struct mkv_index *index;       /* the store's, or read-only; NULL with JOB_VOLUMES */
    struct mkv_blocks *blocks;     /* the store's, or our own */
    struct mkv_volumes *volumes;   /* the store's, or our own */
    struct mkv_volumes *masters;   /* a client of the one server "master"; NULL offline */
    struct mkv_volume *master;     /* borrowed from masters; NULL offline */
    char address[JOB_ADDRESS_MAX]; /* the master's, in words; "" offline */
    uint32_t *ids;                 /* of cfg->volumes, as in the index; where it does not know
                                      one: a number that no record holds */
    struct mkv_metrics *metrics;   /* what the store counts */
    struct event signals[2];
    bool has_signals;
    bool stopping;                 /* Ctrl-C, or the master is gone: begin nothing new */
    bool interrupted;              /* Ctrl-C */
    bool broken_off;               /* Ctrl-C again: what is in hand is dropped */
    uint64_t errors;
    struct job_walk *walk;         /* the latest */
    struct job_moving *moving;     /* the moves under way */
};

/* Everything is open, or a line on standard error has said why not.  The
 * caller closes in either case.  unit: "keys".  name, unit: literals. */
enum mkv_err job_open(struct job *job, const struct mkv_config *cfg, const char *name,
                      const char *unit, enum job_access access) MKV_MUSTUSE;
void job_close(struct job *job);

/* As after Ctrl-C: nothing new begins, what is in hand is finished, and the exit
 * status is 1.  For what the job has met and can not go on with. */
void job_stop(struct job *job);

/* A complaint about a key (data NULL: about none): one line on standard error,
 * "rebalance: /key: text".  The first JOB_ERRORS_SHOWN are shown. */
void job_error(struct job *job, struct mkv_slice key, const char *format, ...) MKV_PRINTF(3, 4);

/* ---- volumes and places -------------------------------------------------------- */

/* The server with that id of the index; NULL where there is none that can be used. */
struct mkv_volume *job_volume(struct job *job, uint32_t id);
/* "localhost:3001/sv07" for a message: NUL-ended. */
const char *job_replica_text(struct job *job, struct mkv_replica r,
                             char out[MKV_REPLICA_TEXT_MAX + 1]);
/* The replicas that placement wants for key, in order: cfg->replicas of them. */
void job_place(struct job *job, struct mkv_slice key, struct mkv_replica out[MKV_REPLICAS_MAX]);
/* Whether the record's replicas are those, in that order. */
bool job_is_placed(struct job *job, struct mkv_slice key, const struct mkv_record *rec);

/* ---- all keys ------------------------------------------------------------------- */

/* A key in hand.  The visitor owns it until job_item_done(). */
struct job_item {
    struct job *job;          /* borrowed */
    char key[MKV_KEY_MAX];
    size_t key_len;
    struct mkv_record record; /* owned: as the walk saw it */
    void *state;              /* the visitor's own memory, extra bytes, zeroed */
    struct job_item *next;
};
static inline struct mkv_slice job_item_key(const struct job_item *item)
{
    return mkv_slice(item->key, item->key_len);
}

/* Looks at the key; ends in job_item_done(), within the call or later. */
typedef void job_visit(struct job_item *item, void *arg);
/* Walks every record, live and unlinked, with as many keys in hand as make
 * -jobs requests (a key: one for each replica), and runs the loop until all are
 * done, or until the job is to stop and what is in hand is done.  After the
 * second Ctrl-C (broken_off) it returns with keys in hand: then only sum up and
 * close.  Adds each key to the progress.  An index that can not be read is
 * complained about. */
void job_each_key(struct job *job, size_t extra, job_visit *visit, void *arg);
void job_item_done(struct job_item *item); /* record and state are gone */

/* ---- one key ---------------------------------------------------------------------- */

/* why: for people; "" with MKV_OK. */
typedef void job_moved(enum mkv_err err, const char *why, void *arg);
/* Brings one key to where it belongs, through the master or in this process;
 * flags: MKV_MOVE_...  A busy key is tried again for JOB_BUSY_MS, and so is a
 * master that does not answer, for JOB_MASTER_MS: then the job stops.  Copies
 * key.  done runs exactly once, never inside this call - unless an error is
 * returned.  MKV_ENOKEY: there is no such key any more, or it is in the other
 * state (linked, unlinked) by now.  MKV_ESHUTDOWN: the job stops. */
enum mkv_err job_move(struct job *job, struct mkv_slice key, unsigned flags, job_moved *done,
                      void *arg) MKV_MUSTUSE;

/* ---- the end ------------------------------------------------------------------------ */

struct job_figure {
    const char *name; /* in JSON: "moved" */
    const char *text; /* in words: "keys moved" */
    uint64_t n;
    bool is_bytes;    /* in words with a unit */
};
/* Prints the summary: the figures, errors, seconds, whether it was interrupted;
 * with -json as one object.  The process's exit status: 0, or 1 after an error
 * or an interruption. */
int job_sum_up(struct job *job, const struct job_figure *figures, size_t n) MKV_MUSTUSE;

#endif
