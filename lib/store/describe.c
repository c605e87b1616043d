/* Other typed fields, and another time, for a value that stays: one change of the
 * index. */
#include "store/store.h"

#include <stdlib.h>

struct mkv_describe {
    struct store_op op;
    struct mkv_store *store;  /* borrowed */
    struct keylock lock;
    char key[MKV_KEY_MAX];
    size_t key_len;
    enum mkv_err result;      /* why the index took no change */
    bool asking_index, dropped;
    struct mkv_record record; /* as it shall be */
    struct mkv_chore refused; /* the index took no change: told at the end of the turn */
    mkv_done *done;           /* NULL: nobody waits */
    void *arg;
    struct mkv_retired retired;
};

static void destroy(void *arg)
{
    struct mkv_describe *d = arg;

    mkv_record_clear(&d->record);
    free(d);
}

/* The store knows of it no more. */
static void leave(struct mkv_describe *d)
{
    mkv_index_writers(d->store->index, -1);
    store_op_end(d->store, &d->op);
}

/* ---- the change ------------------------------------------------------------------ */

static void finish(struct mkv_describe *d, enum mkv_err err)
{
    keylock_release(&d->lock); /* before the answer: its reader may write at once */
    if (d->done) d->done(err, d->arg);
    leave(d);
    mkv_loop_retire(d->store->loop, &d->retired, destroy, d);
}

static void on_changed(enum mkv_err err, void *arg)
{
    struct mkv_describe *d = arg;

    d->asking_index = false;
    if (d->dropped)
        mkv_loop_retire(d->store->loop, &d->retired, destroy, d);
    else
        finish(d, err);
}

static void on_refused(void *arg)
{
    struct mkv_describe *d = arg;

    finish(d, d->result);
}

/* This is inside the call that started it all: the caller hears later. */
static void commit(struct mkv_describe *d)
{
    const struct mkv_index_change change = {.key = mkv_slice(d->key, d->key_len),
                                            .record_op = MKV_SET,
                                            .record = &d->record};

    d->result = mkv_index_apply(d->store->index, &change, on_changed, d);
    d->asking_index = !d->result;
    if (d->asking_index) return;
    d->refused = (struct mkv_chore){.run = on_refused, .arg = d};
    mkv_loop_at_end(d->store->loop, &d->refused);
}

/* ---- from outside ------------------------------------------------------------------ */

static void drop(struct store_op *op)
{
    struct mkv_describe *d = (struct mkv_describe *)op;

    d->dropped = true;
    mkv_loop_forget(d->store->loop, &d->refused);
    keylock_release(&d->lock);
    leave(d);
    if (!d->asking_index) mkv_loop_retire(d->store->loop, &d->retired, destroy, d);
}

/* The record as it is, which must be the one that the caller saw, then as it
 * shall be. */
static enum mkv_err look_up(struct mkv_describe *d, const struct mkv_describe_options *opt)
{
    enum mkv_err err = mkv_index_get(d->store->index, opt->key, &d->record, NULL, NULL);

    if (err) return err;
    if (d->record.state != MKV_LIVE) return MKV_ENOKEY;
    if (opt->expected->state != d->record.state || !store_same_value(opt->expected, &d->record))
        return MKV_EBUSY;
    d->record.mtime = opt->mtime;
    return store_take_fields(&d->record, opt->fields);
}

enum mkv_err mkv_store_describe(struct mkv_store *store, const struct mkv_describe_options *opt,
                                struct mkv_describe **out, mkv_done *done, void *arg)
{
    uint8_t md5[MKV_MD5_LEN];
    struct mkv_describe *d;
    enum mkv_err err;

    if (opt->key.len > MKV_KEY_MAX) return MKV_ENOKEY;
    mkv_md5(opt->key, md5);
    if (keylock_held(&store->locks, opt->key, md5)) return MKV_EBUSY;
    d = calloc(1, sizeof(*d));
    if (!d) return MKV_ENOMEM;
    mkv_record_init(&d->record);
    d->store = store;
    memcpy(d->key, opt->key.data, opt->key.len);
    d->key_len = opt->key.len;
    d->done = done;
    d->arg = arg;
    err = look_up(d, opt);
    if (err) {
        destroy(d);
        return err;
    }
    keylock_take(&store->locks, &d->lock, mkv_slice(d->key, d->key_len), md5);
    store_op_begin(store, &d->op, drop);
    mkv_index_writers(store->index, 1);
    *out = d;
    commit(d);
    return MKV_OK;
}

void mkv_describe_forget(struct mkv_describe *d)
{
    d->done = NULL;
}
