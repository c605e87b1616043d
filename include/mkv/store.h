/* include/mkv/store.h - the verbs on one key, and what is behind them.
 *
 * The store owns the index, the volume client and everything that is under
 * way.  Opened once and passed in.  Single-threaded, on the loop's thread.
 * Callbacks run exactly once, never inside the call that started the work, and
 * not at all after that call returned an error or after a cancel. */
#ifndef MKV_STORE_H
#define MKV_STORE_H

#include "mkv/config.h"
#include "mkv/err.h"
#include "mkv/index.h"
#include "mkv/loop.h"
#include "mkv/metrics.h"
#include "mkv/place.h"
#include "mkv/record.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mkv_store;
struct mkv_blocks;
struct mkv_pipe;
struct mkv_pipes;
struct mkv_volumes;
struct mkv_spool;
struct mkv_bytes;

/* cfg, loop and metrics are borrowed: they outlive the store.  address is how
 * other programs reach this one ("host:port"): it goes into the index's lock.
 * On an error, why says what to do.  Finishes or undoes what a crash left
 * half-written: the index's part before this returns, the files' part in the
 * background. */
enum mkv_err mkv_store_open(struct mkv_store **out, struct mkv_loop *loop,
                            const struct mkv_config *cfg, struct mkv_metrics *metrics,
                            const char *address, char *why, size_t why_size) MKV_MUSTUSE;
/* Drops what is under way without calling back; commits what the index has
 * queued.  NULL is fine. */
void mkv_store_close(struct mkv_store *store);

struct mkv_index *mkv_store_index(struct mkv_store *store);     /* borrowed */
struct mkv_volumes *mkv_store_volumes(struct mkv_store *store); /* borrowed */
struct mkv_spool *mkv_store_spool(struct mkv_store *store);     /* borrowed; NULL where none is used */
struct mkv_blocks *mkv_store_blocks(struct mkv_store *store);   /* borrowed */
struct mkv_pipes *mkv_store_pipes(struct mkv_store *store);     /* borrowed */
/* Requests on keys that are under way. */
size_t mkv_store_busy(const struct mkv_store *store);
/* Whether -min-replicas of the configured volumes are not known to be down. */
bool mkv_store_can_write(struct mkv_store *store);

/* Whether a value may be written under key: MKV_OK, MKV_EKEYLONG, MKV_EKEYNUL,
 * MKV_EKEYUTF8. */
enum mkv_err mkv_store_check_key(struct mkv_slice key) MKV_MUSTUSE;

/* ---- locate: GET, HEAD ------------------------------------------------------ */
struct mkv_location {
    char url[sizeof("http:///svFFFF") + MKV_VOLUME_NAME_MAX + 1536]; /* of one replica */
    size_t url_len;
    char md5[2 * MKV_MD5_LEN + 1]; /* hex; "" where not known */
    bool balanced;                 /* the replicas are where placement wants them */
    char volumes[MKV_REPLICAS_MAX * MKV_REPLICA_TEXT_MAX]; /* "a,b,c", as in the record */
    size_t volumes_len;
};
struct mkv_locate;
/* where is NULL on an error, else valid during the call. */
typedef void mkv_located(enum mkv_err err, const struct mkv_location *where, void *arg);

/* A replica that has the file: asked just now, or within -probe-ttl.
 * MKV_OK: *now is filled.  MKV_PENDING: done follows; *pending can be cancelled.
 * MKV_ENOKEY; MKV_EGONE: every replica says that it has not; MKV_ECANNOTASK. */
enum mkv_err mkv_store_locate(struct mkv_store *store, struct mkv_slice key,
                              struct mkv_location *now, struct mkv_locate **pending,
                              mkv_located *done, void *arg) MKV_MUSTUSE;
void mkv_locate_cancel(struct mkv_locate *l);

/* ---- put: PUT, REPLACE ------------------------------------------------------ */
struct mkv_put;

struct mkv_put_events {
    void (*ready)(void *arg);   /* the replicas are open: send the body        */
    void (*drained)(void *arg); /* mkv_put_full() was true and no longer is    */
    /* The end.  stored (with its MD5) is valid during the call; NULL on error. */
    void (*done)(enum mkv_err err, const struct mkv_record *stored, void *arg);
    /* May be NULL.  Whether the write may happen at all: called inside
     * mkv_put_start(), which returns its error, under the key's lock.  old: the
     * live record; NULL where there is none. */
    enum mkv_err (*allow)(const struct mkv_record *old, void *arg);
    /* May be NULL.  The replicas have stored the whole body and nothing has been
     * committed: size and MD5 are known, typed fields may still be set.  An
     * error takes the write back, and done() is told it.  May run inside
     * mkv_put_end(). */
    enum mkv_err (*verify)(struct mkv_record *stored, void *arg);
};

struct mkv_put_options {
    struct mkv_slice key; /* copied                                            */
    int64_t length;       /* bytes; -1: not known beforehand                   */
    bool replace;         /* overwrite a live key; else MKV_EEXISTS            */
    bool allow_empty;     /* else an empty body ends in MKV_EEMPTY             */
    bool md5;             /* take the MD5 also with -md5sum=false              */
    const struct mkv_record *fields; /* whose typed fields the value gets; copied; NULL: none */
};

/* At once: MKV_EKEY..., MKV_EBUSY, MKV_EEXISTS, MKV_EEMPTY, MKV_ETOOFEW. */
enum mkv_err mkv_put_start(struct mkv_put **out, struct mkv_store *store,
                           const struct mkv_put_options *opt, const struct mkv_put_events *events,
                           void *arg) MKV_MUSTUSE;
void mkv_put_body(struct mkv_put *put, struct mkv_bytes piece); /* after ready */
/* The same with a piece that lies in a pipe.  Not while mkv_put_full(). */
void mkv_put_piped(struct mkv_put *put, struct mkv_pipe *pipe);
bool mkv_put_full(const struct mkv_put *put); /* a replica, or the MD5, is far behind: pause */
void mkv_put_end(struct mkv_put *put);        /* the whole body has been given */
/* The client went away: nothing is stored unless the whole body was given, and
 * verify(), if any, has run. */
void mkv_put_cancel(struct mkv_put *put);
/* The body turned out wrong, before mkv_put_end(): what was stored is taken back,
 * then done() is told err, or why the write had failed by itself. */
void mkv_put_refuse(struct mkv_put *put, enum mkv_err err);

/* ---- read: the value itself ---------------------------------------------------
 * Streams a value, or a part of it, from a replica; where one fails in the middle
 * another goes on at the same byte.  All of it is of the one value that record
 * names, never partly of one that took its place. */
struct mkv_read;

struct mkv_read_options {
    struct mkv_slice key;            /* copied                                   */
    const struct mkv_record *record; /* copied: what the index says of it.  Where the record
                                        changes meanwhile, the old files are read as long as
                                        they are there                           */
    uint64_t first;                  /* from this byte on; behind the end: no bytes, which is
                                        no error                                 */
    uint64_t length;                 /* so many; fewer where the value ends before; UINT64_MAX:
                                        up to the end                            */
};

struct mkv_read_events {
    /* May be NULL.  A replica has it.  size: of the whole value, as the replica
     * says (the record may not know it).  Once, before any piece; also where no
     * byte is wanted. */
    void (*opened)(uint64_t size, void *arg);
    /* A piece; none while paused, but see piped().  Borrowed for the call. */
    void (*body)(struct mkv_bytes piece, void *arg);
    /* A large one, in a pipe; what is left in it is dropped.  NULL: all comes to
     * body().  Else up to MKV_PIPE_SIZE more may come to body() after a pause. */
    void (*piped)(struct mkv_pipe *pipe, void *arg);
    /* Once, last; r is gone.  MKV_OK: all of it was given.  MKV_EGONE: every
     * replica says that it has not; MKV_ECANNOTASK: none could go on, or the key
     * holds another value by now and the old files are gone; MKV_EVOLUME: a
     * replica holds a value of another size; MKV_ENOKEY: the key was removed or
     * unlinked, and no replica could go on; MKV_EINDEX.  Before opened() or
     * after. */
    void (*done)(enum mkv_err err, void *arg);
};
/* At once: MKV_ENOMEM, and the errors of done() where no replica could even be
 * tried. */
enum mkv_err mkv_store_read(struct mkv_read **out, struct mkv_store *store,
                            const struct mkv_read_options *opt,
                            const struct mkv_read_events *events, void *arg) MKV_MUSTUSE;
void mkv_read_pause(struct mkv_read *r, bool paused);
void mkv_read_cancel(struct mkv_read *r); /* no callback; NULL is fine */

/* ---- describe: other headers for a value that stays ----------------------------
 * In one commit, under the key's lock.  The files stay as they are: what they
 * show as their time is no longer the record's. */
struct mkv_describe_options {
    struct mkv_slice key;
    const struct mkv_record *expected; /* the record that the caller saw: the same value and
                                          state, else MKV_EBUSY                       */
    const struct mkv_record *fields;   /* whose typed fields it gets instead of its own */
    int64_t mtime;                     /* seconds since 1970                          */
};
/* Copies everything; runs to its end; done may be NULL.  MKV_ENOKEY (not live),
 * MKV_EBUSY at once. */
struct mkv_describe;
enum mkv_err mkv_store_describe(struct mkv_store *store, const struct mkv_describe_options *opt,
                                struct mkv_describe **out, mkv_done *done, void *arg) MKV_MUSTUSE;
void mkv_describe_forget(struct mkv_describe *d); /* nobody waits for done any more */

/* ---- remove: DELETE, UNLINK, RELINK ------------------------------------------
 * They run to their end whether or not anybody waits; done may be NULL. */
struct mkv_remove;
/* MKV_ENOKEY, MKV_EPROTECTED, MKV_EBUSY at once; MKV_EVOLUME by done: the key
 * stays unlinked. */
enum mkv_err mkv_store_delete(struct mkv_store *store, struct mkv_slice key,
                              struct mkv_remove **out, mkv_done *done, void *arg) MKV_MUSTUSE;
enum mkv_err mkv_store_unlink(struct mkv_store *store, struct mkv_slice key,
                              struct mkv_remove **out, mkv_done *done, void *arg) MKV_MUSTUSE;
enum mkv_err mkv_store_relink(struct mkv_store *store, struct mkv_slice key,
                              struct mkv_remove **out, mkv_done *done, void *arg) MKV_MUSTUSE;
void mkv_remove_forget(struct mkv_remove *r); /* nobody waits for done any more */

/* ---- move: REBALANCE ----------------------------------------------------------
 * Brings a key's files to where placement wants them and makes missing copies
 * anew from a good one.  MD5, state, generation and headers stay.  While clients
 * ask for other things, most moves wait for their turn; one that has begun runs to
 * its end whether or not anybody waits.  done may be NULL. */
struct mkv_move;
enum mkv_move_flags {
    MKV_MOVE_UNLINKED = 1, /* an unlinked key: else a live one                  */
    MKV_MOVE_DEEP = 2      /* copies are read and compared with the MD5; else a
                              copy of the right size counts as good            */
};
/* why: for people; "" with MKV_OK, never NULL.  MKV_ECANNOTMOVE: why says what
 * keeps it; the key is as it was. */
typedef void mkv_moved(enum mkv_err err, const char *why, void *arg);
/* MKV_ENOKEY, MKV_EBUSY at once, or by done after waiting. */
enum mkv_err mkv_store_move(struct mkv_store *store, struct mkv_slice key, unsigned flags,
                            struct mkv_move **out, mkv_moved *done, void *arg) MKV_MUSTUSE;
void mkv_move_forget(struct mkv_move *m); /* nobody waits for done: what has not begun does not */

#endif
