/* lib/store/fanout.h - one body to several replicas at once.
 *
 * The slowest copy sets the pace.  A copy that fails leaves; the others go on. */
#ifndef MKV_STORE_FANOUT_H
#define MKV_STORE_FANOUT_H

#include "mkv/loop.h"
#include "mkv/name.h"
#include "mkv/record.h"
#include "net/block.h"
#include "net/pipe.h"

#include <stdbool.h>
#include <stdint.h>

#define COPY_HIGH (1024 * 1024) /* a copy this far behind stops the sender (one that has left a
                                   byte of what it shares: at once)... */
/* ...until no copy is behind any more (mkv_exchange_behind()). */

struct mkv_store;
struct mkv_exchange;
struct fanout;

enum copy_state {
    COPY_FREE,    /* no copy in this slot                                     */
    COPY_OPENING, /* connecting                                               */
    COPY_READY,   /* takes the body                                           */
    COPY_STORED,  /* the volume has answered 201 or 204 to the whole body; where the
                     length is known, maybe before fanout_end()               */
    COPY_REFUSED, /* failed before it was sent a byte of the body: no file    */
    COPY_FAILED   /* failed later: a file may be there                        */
};

struct fanout_copy {
    struct fanout *fanout;
    struct mkv_replica replica;
    struct mkv_exchange *x;  /* owned until it calls back */
    enum copy_state state;
    bool ambiguous;          /* failed without an answer after the whole body */
    bool missed;             /* a piece that the others share: fanout_catch_up() */
};

struct fanout_events {
    void (*opened)(void *arg);   /* no copy is opening any more               */
    void (*drained)(void *arg);  /* fanout_full() was true and no longer is   */
    void (*finished)(void *arg); /* no copy is under way any more             */
};

/* Embedded in the machine that needs it. */
struct fanout {
    struct mkv_store *store;
    char path[MKV_PATH_MAX]; /* of the key: "/xx/yy/NAME" */
    size_t path_len;
    int64_t length;          /* bytes; -1: not known beforehand */
    uint64_t given;          /* bytes sent on so far */
    char date[MKV_HTTP_DATE_MAX]; /* the same for every copy: their mtime and ETag are equal */
    struct fanout_copy copies[MKV_REPLICAS_MAX];
    bool streaming, ended, full;
    const struct fanout_events *events;
    void *arg;
};

void fanout_init(struct fanout *f, struct mkv_store *store, struct mkv_slice key_path,
                 int64_t length, int64_t mtime, const struct fanout_events *events, void *arg);
/* One more copy, in a free slot or one that was refused.  False where there is
 * no slot, or it could not even be tried: then look for another volume. */
bool fanout_add(struct fanout *f, struct mkv_replica replica);
unsigned fanout_count(const struct fanout *f, enum copy_state state);
void fanout_send(struct fanout *f, struct mkv_bytes piece); /* to every copy that is ready */
/* The same with a piece that lies in a pipe, which stays as it is.  False: some
 * copies could not take it like that; read it, and all of it goes to
 * fanout_catch_up(), which gives it to those.  Not while fanout_full(). */
bool fanout_share(struct fanout *f, struct mkv_pipe *pipe) MKV_MUSTUSE;
void fanout_catch_up(struct fanout *f, struct mkv_bytes piece);
void fanout_end(struct fanout *f);                          /* the body is complete */
bool fanout_full(const struct fanout *f);
/* Breaks off what is under way, without calling back; those copies then count
 * as failed.  Safe at any time. */
void fanout_cancel(struct fanout *f);

#endif
