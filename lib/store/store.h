/* lib/store/store.h - inside the store: what its verbs share. */
#ifndef MKV_STORE_STORE_H
#define MKV_STORE_STORE_H

#include "mkv/name.h"
#include "mkv/store.h"
#include "net/digester.h"
#include "net/volume.h"
#include "store/keylock.h"
#include "store/probe.h"
#include "store/turns.h"

#define STORE_PATH_MAX (sizeof("/svFFFF") + MKV_PATH_MAX)

/* One thing under way; embedded first in each machine.  drop() ends it at
 * close: cancels its exchanges, calls nobody back.  A machine that waits for
 * the index then stays until the index has answered. */
struct store_op {
    struct store_op *next, **prev;
    void (*drop)(struct store_op *op);
};

struct store_sweeper;

struct mkv_store {
    struct mkv_loop *loop;         /* borrowed */
    const struct mkv_config *cfg;  /* borrowed */
    struct mkv_metrics *metrics;   /* borrowed */
    struct mkv_index *index;       /* owned */
    struct mkv_blocks *blocks;     /* owned */
    struct mkv_pipes *pipes;       /* owned */
    struct digester *digester;     /* owned */
    struct mkv_volumes *volumes;   /* owned */
    struct mkv_spool *spool;       /* owned; NULL but in the server */
    uint32_t *ids;                 /* owned: of cfg->volumes, in that order */
    struct mkv_volume **by_id;     /* owned array of borrowed servers; NULL: not asked for yet */
    size_t nby_id;
    struct probe_cache *probes;    /* owned */
    struct keylocks locks;         /* being written, deleted or moved: 409 for others */
    struct keylocks moves;         /* those being moved or deleted: the sweeper passes them by */
    struct keylocks sweeps;        /* those whose garbage is being deleted: a move waits */
    struct store_sweeper *sweeper; /* owned */
    struct store_op *ops;
    size_t nops;
    struct turns turns;            /* of moves, which give way to all others */
    uint64_t random;               /* state of the generator */
    size_t stale_marks;            /* marks that could not be taken off: the index was full */
    bool closing;
};

void store_op_begin(struct mkv_store *s, struct store_op *op, void (*drop)(struct store_op *));
void store_op_end(struct mkv_store *s, struct store_op *op);

/* The server with this id of the index's table; NULL where it can not be used. */
struct mkv_volume *store_volume(struct mkv_store *s, uint32_t id);

/* Every configured volume in placement order for key; .volume is an id.
 * ordered must hold cfg->nvolumes entries. */
void store_place(struct mkv_store *s, struct mkv_slice key, struct mkv_replica *ordered);
/* Whether replicas are exactly what placement wants. */
bool store_balanced(struct mkv_store *s, struct mkv_slice key, const struct mkv_record *rec);

static inline bool store_same_replica(struct mkv_replica a, struct mkv_replica b)
{
    return a.volume == b.volume && a.subvolume == b.subvolume;
}
/* Replaces to's typed fields by a copy of from's.  MKV_ENOMEM: to is as it was. */
enum mkv_err store_take_fields(struct mkv_record *to, const struct mkv_record *from) MKV_MUSTUSE;
/* Whether both speak of one value, whatever they say of its replicas, fields and
 * state.  A name is used again once its key is gone: without an MD5 the time tells
 * the values apart. */
bool store_same_value(const struct mkv_record *a, const struct mkv_record *b);
/* Same generation, same replicas in the same order. */
bool store_same_files(const struct mkv_record *a, const struct mkv_record *b);

/* "/svXX/xx/yy/NAME" from the replica and the key's path; returns its length. */
size_t store_file_path(char out[STORE_PATH_MAX], struct mkv_replica r, struct mkv_slice key_path);

/* At start, with index and spool open: removes what no upload of the index names.
 * Where the index can not be read nothing goes. */
enum mkv_err store_sweep_spool(struct mkv_store *s) MKV_MUSTUSE;

/* How good a replica is to ask, 0 the best: up, suspect, down, unknown server. */
unsigned store_rank(struct mkv_store *s, struct mkv_replica r);
/* The indexes of rec's replicas, the best to ask first, random within each rank. */
void store_order(struct mkv_store *s, const struct mkv_record *rec,
                 unsigned order[MKV_REPLICAS_MAX]);
/* Below n, for spreading reads; not for secrets. */
uint32_t store_random(struct mkv_store *s, uint32_t n);

#endif
