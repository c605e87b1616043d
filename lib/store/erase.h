/* lib/store/erase.h - deletes the files of one generation of a key, on all its
 * replicas at once.  A file that is not there counts as deleted. */
#ifndef MKV_STORE_ERASE_H
#define MKV_STORE_ERASE_H

#include "mkv/loop.h"
#include "mkv/record.h"
#include "mkv/slice.h"

struct mkv_store;
struct mkv_exchange;
struct erase;

struct erase_slot {
    struct erase *erase;       /* the one it belongs to */
    struct mkv_exchange *x;    /* owned until it calls back */
};

/* Embedded in the machine that needs it; zero before first use. */
struct erase {
    struct mkv_store *store;
    struct mkv_record files;   /* what to delete; afterwards: what could not be */
    struct erase_slot slots[MKV_REPLICAS_MAX];
    unsigned waiting;
    struct mkv_chore nothing_to_wait_for;
    /* files.nreplicas == 0: everything is gone. */
    void (*done)(struct erase *e, void *arg);
    void *arg;
};

/* Calls done exactly once, never inside this call.  key and files are copied
 * as far as needed; files need no fields. */
void erase_start(struct erase *e, struct mkv_store *store, struct mkv_slice key,
                 const struct mkv_record *files, void (*done)(struct erase *e, void *arg),
                 void *arg);
void erase_cancel(struct erase *e); /* no callback; not started or done: no-op */

#endif
