/* lib/store/put_internal.h - what the three files of a PUT share.
 *
 *   put.c         the story: open the replicas, stream, settle, commit
 *   put_repair.c  a replica failed: its copy is made on another volume
 *   put_undo.c    nothing is to stay: what was stored is deleted
 *
 * Everybody else includes mkv/store.h. */
#ifndef MKV_STORE_PUT_INTERNAL_H
#define MKV_STORE_PUT_INTERNAL_H

#include "store/copy.h"
#include "store/erase.h"
#include "store/fanout.h"
#include "store/store.h"

enum put_step {
    PUT_MARK,   /* index: note which volumes may soon hold files of this write   */
    PUT_OPEN,   /* connect to them; who refuses is replaced, with a new mark      */
    PUT_STREAM, /* the body flows to every replica at once                        */
    PUT_SETTLE, /* body given; each replica still owes us its status, a thread the MD5 */
    PUT_REPAIR, /* a replica failed: its copy is made elsewhere, from a good one   */
    PUT_COMMIT, /* index: the key is live, the mark is gone, the old files are garbage */
    PUT_UNDO,   /* delete what was stored                                         */
    PUT_UNMARK, /* index: the mark is gone, what could not be deleted is garbage  */
    PUT_DONE    /* caller told; freed at the end of this loop turn                */
};

struct mkv_put {
    struct store_op op;
    struct mkv_store *store;           /* borrowed: outlives every request */
    struct keylock lock;
    char key[MKV_KEY_MAX];
    size_t key_len;
    uint8_t md5[MKV_MD5_LEN];          /* of the key */
    enum put_step step;
    enum mkv_err result;               /* the first failure; MKV_OK until then */
    bool allow_empty;
    bool asking_index;                 /* an index call owes us its callback */
    bool dropped;                      /* the store is closing: only that callback is awaited */
    struct mkv_record old;             /* the record before */
    bool had_old;
    struct mkv_record mark;            /* volumes that may hold files of this write */
    struct mkv_record record;          /* what will be stored; replicas: complete copies */
    struct mkv_replica *candidates;    /* owned: every volume, the best first */
    size_t next;                       /* candidates not tried yet start here */
    unsigned marked_before;            /* of the mark's replicas: those opened in an earlier round */
    unsigned source;                   /* repair: which good copy is read */
    unsigned bad_sources;              /* ...and how many could not be, for this target */
    struct digest_stream *digest;      /* owned until it calls back; NULL: no MD5 to wait for */
    bool answered;                     /* settle: every copy has its final state */
    struct fanout fan;
    struct copy *copy;                 /* owned until it calls back */
    struct erase erase;
    struct mkv_replica suspects[MKV_REPLICAS_MAX]; /* undo: not asked to delete, but garbage */
    unsigned nsuspects;
    bool ambiguous;                    /* a suspect may still be storing its file */
    const struct mkv_put_events *events;
    void *arg;
    bool is_writer;                    /* counted by mkv_index_writers() */
    bool gathers;                      /* counted by mkv_loop_gather() */
    bool cancelled;                    /* nobody listens any more */
    struct mkv_retired retired;
};

static inline struct mkv_slice put_key(const struct mkv_put *p)
{
    return mkv_slice(p->key, p->key_len);
}

static inline unsigned put_wanted(const struct mkv_put *p)
{
    return (unsigned)p->store->cfg->replicas;
}

/* ---- put.c --------------------------------------------------------------- */

/* The one place where the step changes. */
void put_go(struct mkv_put *p, enum put_step next);
/* Takes everything back; the first error is the one that done() is told. */
void put_fail(struct mkv_put *p, enum mkv_err err);
enum mkv_err put_ask_index(struct mkv_put *p, const struct mkv_index_change *change,
                           mkv_done *done) MKV_MUSTUSE;
/* Every index callback begins with this: true where the store is closing. */
bool put_answered(struct mkv_put *p);
/* Adds the next candidate to the mark; false where there are no more. */
bool put_mark_next(struct mkv_put *p);
/* Writes the mark as it stands in p->mark; then the step goes on. */
void put_write_mark(struct mkv_put *p);
/* The copy that the fanout sent there; NULL: none. */
const struct fanout_copy *put_copy_at(const struct mkv_put *p, struct mkv_replica r);
/* Whether the record names it: the whole value is there. */
bool put_is_stored(const struct mkv_put *p, struct mkv_replica r);

/* ---- put_repair.c -------------------------------------------------------- */

void put_enter_repair(struct mkv_put *p);
/* The mark names the target by now. */
void put_copy_to_marked(struct mkv_put *p);

/* ---- put_undo.c ---------------------------------------------------------- */

void put_enter_undo(struct mkv_put *p);
void put_enter_unmark(struct mkv_put *p);
/* The files of marked volumes that failed, as garbage. */
enum mkv_err put_discard_suspects(struct mkv_put *p) MKV_MUSTUSE;

#endif
