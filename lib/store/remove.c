/* DELETE, UNLINK and RELINK: a key leaves, or comes back. */
#include "store/store.h"

#include "mkv/log.h"
#include "store/erase.h"

#include <stdlib.h>

enum remove_step {
    REMOVE_UNLINK, /* index: nobody finds the key any more                       */
    REMOVE_ERASE,  /* the replicas' files are deleted                            */
    REMOVE_FORGET, /* index: the record is gone                                  */
    REMOVE_KEEP,   /* a volume failed: index: unlinked, naming only what is left */
    REMOVE_RELINK, /* index: the key is live again                               */
    REMOVE_DONE    /* caller told; freed at the end of this loop turn            */
};

struct mkv_remove {
    struct store_op op;
    struct mkv_store *store;  /* borrowed */
    struct keylock lock;
    char key[MKV_KEY_MAX];
    size_t key_len;
    enum remove_step step;
    enum mkv_err result;
    bool only_unlink;         /* UNLINK: stop after the first step */
    bool asking_index, dropped;
    struct mkv_record record;
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

/* The store knows of it no more. */
static void leave(struct mkv_remove *r)
{
    mkv_index_writers(r->store->index, -1);
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
    else if (err)
        finish(r, err);
    else if (r->step == REMOVE_UNLINK && !r->only_unlink)
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
static void change_index(struct mkv_remove *r, enum mkv_change_op op)
{
    const struct mkv_index_change change = {
        .key = key_of(r), .record_op = op, .record = &r->record};

    r->result = mkv_index_apply(r->store->index, &change, on_changed, r);
    r->asking_index = !r->result;
    if (r->asking_index) return;
    r->refused = (struct mkv_chore){.run = on_refused, .arg = r};
    mkv_loop_at_end(r->store->loop, &r->refused);
}

static void enter_unlink(struct mkv_remove *r)
{
    r->record.state = MKV_UNLINKED;
    change_index(r, MKV_SET);
}

static void on_erased(struct erase *e, void *arg)
{
    struct mkv_remove *r = arg;

    remove_go(r, e->files.nreplicas ? REMOVE_KEEP : REMOVE_FORGET);
}

static void enter_erase(struct mkv_remove *r)
{
    erase_start(&r->erase, r->store, key_of(r), &r->record, on_erased, r);
}

static void enter_forget(struct mkv_remove *r)
{
    change_index(r, MKV_REMOVE);
}

/* Files that are gone must not be named: the key may be linked again. */
static void enter_keep(struct mkv_remove *r)
{
    probe_forget(r->store->probes, r->lock.md5); /* it counts the replicas of before */
    r->record.nreplicas = r->erase.files.nreplicas;
    memcpy(r->record.replicas, r->erase.files.replicas, sizeof(r->record.replicas));
    change_index(r, MKV_SET);
}

static void enter_relink(struct mkv_remove *r)
{
    r->record.state = MKV_LIVE;
    change_index(r, MKV_SET);
}

static void enter_done(struct mkv_remove *r)
{
    keylock_release(&r->lock); /* before the answer: its reader may write at once */
    if (r->done) r->done(r->result, r->arg);
    leave(r);
    mkv_loop_retire(r->store->loop, &r->retired, destroy, r);
}

static void remove_go(struct mkv_remove *r, enum remove_step next)
{
    static void (*const enter[])(struct mkv_remove *) = {
        [REMOVE_UNLINK] = enter_unlink, [REMOVE_ERASE] = enter_erase,
        [REMOVE_FORGET] = enter_forget, [REMOVE_KEEP] = enter_keep,
        [REMOVE_RELINK] = enter_relink, [REMOVE_DONE] = enter_done};

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
    keylock_release(&r->lock);
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

    if (key.len > MKV_KEY_MAX) return MKV_ENOKEY;
    mkv_md5(key, md5);
    if (keylock_held(&s->locks, key, md5)) return MKV_EBUSY;
    r = calloc(1, sizeof(*r));
    if (!r) return MKV_ENOMEM;
    mkv_record_init(&r->record);
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
    store_op_begin(s, &r->op, drop);
    mkv_index_writers(s->index, 1);
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
        remove_go(*out, REMOVE_UNLINK);
    return MKV_OK;
}

enum mkv_err mkv_store_unlink(struct mkv_store *store, struct mkv_slice key,
                              struct mkv_remove **out, mkv_done *done, void *arg)
{
    enum mkv_err err = begin(out, store, key, done, arg);

    if (err) return err;
    if ((*out)->record.state != MKV_LIVE) return give_up(*out, MKV_ENOKEY);
    (*out)->only_unlink = true;
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
