/* DELETE, UNLINK and RELINK: a key leaves, or comes back. */
#include "store/store.h"

#include "mkv/log.h"
#include "store/erase.h"

#include <stdlib.h>

enum remove_step {
    REMOVE_UNLINK,  /* UNLINK: index: nobody finds the key any more                */
    REMOVE_RELINK,  /* RELINK: index: the key is live again                        */
    REMOVE_CONDEMN, /* index: the record is gone, the garbage list names its files */
    REMOVE_ERASE,   /* the replicas' files are deleted                             */
    REMOVE_FORGET,  /* index: the record of an unlinked key is gone                */
    REMOVE_KEEP,    /* a volume failed: index: unlinked, naming only what is left  */
    REMOVE_CLEAR,   /* caller told; index: the garbage list forgets the files      */
    REMOVE_DONE     /* caller told; freed at the end of this loop turn             */
};

struct mkv_remove {
    struct store_op op;
    struct mkv_store *store;  /* borrowed */
    struct keylock lock;
    struct keylock spare;     /* the sweeper leaves the condemned files to us */
    char key[MKV_KEY_MAX];
    size_t key_len;
    enum remove_step step;
    enum mkv_err result;
    bool asking_index, dropped;
    bool gathers;             /* counted by mkv_loop_gather() */
    struct mkv_record record;
    bool condemned;
    struct mkv_garbage garbage; /* condemned: the entry that names the files */
    struct erase erase;
    struct mkv_chore refused; /* the index took no change: told at the end of the turn */
    mkv_done *done;           /* NULL: nobody waits */
    void *arg;
    struct mkv_retired retired;
};

static void remove_go(struct mkv_remove *r, enum remove_step next);

static struct mkv_slice key_of(const struct mkv_remove *r)
{
    return mkv_slice(r->key, r->key_len);
}

static void destroy(void *arg)
{
    struct mkv_remove *r = arg;

    mkv_record_clear(&r->record);
    free(r);
}

/* Nobody has to wait for it any more. */
static void let_go(struct mkv_remove *r)
{
    if (r->gathers) mkv_loop_gather(r->store->loop, -1);
    r->gathers = false;
    keylock_release(&r->lock);
}

/* The store knows of it no more. */
static void leave(struct mkv_remove *r)
{
    let_go(r);
    keylock_release(&r->spare);
    store_op_end(r->store, &r->op);
}

static void finish(struct mkv_remove *r, enum mkv_err err)
{
    r->result = err;
    remove_go(r, REMOVE_DONE);
}

/* ---- the steps ------------------------------------------------------------------- */

static void on_changed(enum mkv_err err, void *arg)
{
    struct mkv_remove *r = arg;

    r->asking_index = false;
    if (r->dropped)
        mkv_loop_retire(r->store->loop, &r->retired, destroy, r);
    else if (r->step == REMOVE_CLEAR)
        remove_go(r, REMOVE_DONE); /* where the entry has stayed, the sweeper takes it up */
    else if (err)
        finish(r, err);
    else if (r->step == REMOVE_CONDEMN)
        remove_go(r, REMOVE_ERASE);
    else if (r->step == REMOVE_KEEP)
        finish(r, MKV_EVOLUME);
    else
        finish(r, MKV_OK);
}

static void on_refused(void *arg)
{
    struct mkv_remove *r = arg;

    finish(r, r->result);
}

/* This may be inside the call that started it all: the caller hears later. */
static void apply(struct mkv_remove *r, const struct mkv_index_change *change)
{
    r->result = mkv_index_apply(r->store->index, change, on_changed, r);
    r->asking_index = !r->result;
    if (r->asking_index) return;
    r->refused = (struct mkv_chore){.run = on_refused, .arg = r};
    mkv_loop_at_end(r->store->loop, &r->refused);
}

static void set_record(struct mkv_remove *r, enum mkv_state state)
{
    const struct mkv_index_change change = {.key = key_of(r),
                                            .record_op = MKV_SET,
                                            .record = &r->record,
                                            .spared = r->condemned ? &r->garbage : NULL};

    r->record.state = state;
    apply(r, &change);
}

static void enter_unlink(struct mkv_remove *r)
{
    set_record(r, MKV_UNLINKED);
}

static void enter_relink(struct mkv_remove *r)
{
    set_record(r, MKV_LIVE);
}

/* Due at once, for whoever comes after a crash; until then the files are ours. */
static void enter_condemn(struct mkv_remove *r)
{
    struct mkv_garbage *g = &r->garbage;
    struct mkv_record files = r->record; /* borrows the fields */
    struct mkv_index_change change = {.key = key_of(r),
                                      .record_op = MKV_REMOVE,
                                      .garbage = &files,
                                      .garbage_id = &g->id};

    g->due = change.garbage_due = files.mtime = mkv_loop_wall(r->store->loop); /* since when */
    g->files.generation = files.generation;
    memcpy(g->key, r->key, r->key_len);
    g->key_len = r->key_len;
    r->condemned = true;
    keylock_join(&r->store->moves, &r->spare, key_of(r), r->lock.md5);
    apply(r, &change);
}

static void on_erased(struct erase *e, void *arg)
{
    struct mkv_remove *r = arg;

    if (e->files.nreplicas)
        remove_go(r, REMOVE_KEEP);
    else
        remove_go(r, r->condemned ? REMOVE_CLEAR : REMOVE_FORGET);
}

static void enter_erase(struct mkv_remove *r)
{
    erase_start(&r->erase, r->store, key_of(r), &r->record, on_erased, r);
}

static void enter_forget(struct mkv_remove *r)
{
    const struct mkv_index_change change = {.key = key_of(r), .record_op = MKV_REMOVE};

    apply(r, &change);
}

/* Files that are gone must not be named: the key may be linked again. */
static void enter_keep(struct mkv_remove *r)
{
    probe_forget(r->store->probes, r->lock.md5); /* it counts the replicas of before */
    r->record.nreplicas = r->erase.files.nreplicas;
    memcpy(r->record.replicas, r->erase.files.replicas, sizeof(r->record.replicas));
    set_record(r, MKV_UNLINKED);
}

static void tell(struct mkv_remove *r)
{
    mkv_done *done = r->done;

    r->done = NULL;
    let_go(r); /* before the answer: its reader may write at once */
    if (done) done(r->result, r->arg);
}

/* The files are gone, whatever comes of this: nobody has to wait for it.  A write
 * may take their name again, so the sweeper stays away until the list forgets them. */
static void enter_clear(struct mkv_remove *r)
{
    r->result = MKV_OK;
    tell(r);
    r->asking_index =
        !mkv_index_garbage_done_later(r->store->index, &r->garbage, on_changed, r);
    if (!r->asking_index) remove_go(r, REMOVE_DONE);
}

static void enter_done(struct mkv_remove *r)
{
    tell(r);
    leave(r);
    mkv_loop_retire(r->store->loop, &r->retired, destroy, r);
}

static void remove_go(struct mkv_remove *r, enum remove_step next)
{
    static void (*const enter[])(struct mkv_remove *) = {
        [REMOVE_UNLINK] = enter_unlink,   [REMOVE_RELINK] = enter_relink,
        [REMOVE_CONDEMN] = enter_condemn, [REMOVE_ERASE] = enter_erase,
        [REMOVE_FORGET] = enter_forget,   [REMOVE_KEEP] = enter_keep,
        [REMOVE_CLEAR] = enter_clear,     [REMOVE_DONE] = enter_done};

    r->step = next;
    enter[next](r);
}

/* ---- from outside ------------------------------------------------------------------ */

static void drop(struct store_op *op)
{
    struct mkv_remove *r = (struct mkv_remove *)op;

    r->dropped = true;
    erase_cancel(&r->erase);
    mkv_loop_forget(r->store->loop, &r->refused);
    leave(r);
    if (!r->asking_index) mkv_loop_retire(r->store->loop, &r->retired, destroy, r);
}

/* A machine that holds the key and its record; MKV_EBUSY, MKV_ENOKEY. */
static enum mkv_err begin(struct mkv_remove **out, struct mkv_store *s, struct mkv_slice key,
                          mkv_done *done, void *arg)
{
    uint8_t md5[MKV_MD5_LEN];
    struct mkv_remove *r;
    enum mkv_err err;

    turns_asked(s);
    if (key.len > MKV_KEY_MAX) return MKV_ENOKEY;
    mkv_md5(key, md5);
    if (keylock_held(&s->locks, key, md5)) return MKV_EBUSY;
    r = calloc(1, sizeof(*r));
    if (!r) return MKV_ENOMEM;
    mkv_record_init(&r->record);
    mkv_record_init(&r->garbage.files);
    r->store = s;
    memcpy(r->key, key.data, key.len);
    r->key_len = key.len;
    r->done = done;
    r->arg = arg;
    err = mkv_index_get(s->index, key, &r->record, NULL, NULL);
    if (err) {
        destroy(r);
        return err;
    }
    keylock_take(&s->locks, &r->lock, key_of(r), md5);
    mkv_loop_gather(s->loop, 1);
    r->gathers = true;
    store_op_begin(s, &r->op, drop);
    *out = r;
    return MKV_OK;
}

/* For a machine that found nothing to do. */
static enum mkv_err give_up(struct mkv_remove *r, enum mkv_err err)
{
    drop(&r->op);
    return err;
}

enum mkv_err mkv_store_delete(struct mkv_store *store, struct mkv_slice key,
                              struct mkv_remove **out, mkv_done *done, void *arg)
{
    enum mkv_err err = begin(out, store, key, done, arg);

    if (err) return err;
    if ((*out)->record.state != MKV_LIVE)
        remove_go(*out, REMOVE_ERASE); /* unlinked already, on disk */
    else if (store->cfg->protect)
        return give_up(*out, MKV_EPROTECTED);
    else
        remove_go(*out, REMOVE_CONDEMN);
    return MKV_OK;
}

enum mkv_err mkv_store_unlink(struct mkv_store *store, struct mkv_slice key,
                              struct mkv_remove **out, mkv_done *done, void *arg)
{
    enum mkv_err err = begin(out, store, key, done, arg);

    if (err) return err;
    if ((*out)->record.state != MKV_LIVE) return give_up(*out, MKV_ENOKEY);
    remove_go(*out, REMOVE_UNLINK);
    return MKV_OK;
}

enum mkv_err mkv_store_relink(struct mkv_store *store, struct mkv_slice key,
                              struct mkv_remove **out, mkv_done *done, void *arg)
{
    enum mkv_err err = begin(out, store, key, done, arg);

    if (err) return err;
    if ((*out)->record.state != MKV_UNLINKED) return give_up(*out, MKV_ENOKEY);
    remove_go(*out, REMOVE_RELINK);
    return MKV_OK;
}

void mkv_remove_forget(struct mkv_remove *r)
{
    r->done = NULL;
}
