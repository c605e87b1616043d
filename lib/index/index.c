/* Opening and closing, the names of the volumes, figures, and the doors
 * through which writes come in. */
#include "index/index_impl.h"
#include "index/lock.h"
#include "mkv/log.h"
#include "mkv/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- volume names ------------------------------------------------------------------- */

static enum mkv_err add_name(struct mkv_index *ix, struct mkv_slice name)
{
    struct mkv_slice *names = realloc(ix->names, (ix->nnames + 1) * sizeof(*names));
    char *copy;

    if (!names) return MKV_ENOMEM;
    ix->names = names;
    copy = malloc(name.len + 1);
    if (!copy) return MKV_ENOMEM;
    memcpy(copy, name.data, name.len);
    copy[name.len] = '\0';
    names[ix->nnames++] = mkv_slice(copy, name.len);
    return MKV_OK;
}

/* Reads the names that are not known yet; ids have no gaps. */
static enum mkv_err load_names(struct mkv_index *ix)
{
    enum mkv_err err;
    MDB_txn *txn;

    err = index_read(ix, &txn);
    while (!err) {
        uint8_t at[4];
        MDB_val key = {sizeof(at), at}, value;
        int rc;

        put_be32(at, ix->nnames);
        rc = mdb_get(txn, ix->env.dbi[VOLUMES], &key, &value);
        if (rc == MDB_NOTFOUND) return MKV_OK;
        err = rc ? index_read_failed(rc)
                 : add_name(ix, mkv_slice(value.mv_data, value.mv_size));
    }
    return err;
}

enum mkv_err mkv_index_volume_id(struct mkv_index *ix, struct mkv_slice name, uint32_t *id)
{
    enum mkv_err err;

    for (uint32_t i = 0; i < ix->nnames; i++) {
        if (!mkv_slice_eq(ix->names[i], name)) continue;
        *id = i;
        return MKV_OK;
    }
    if (ix->read_only) return MKV_ENOKEY;
    if (name.len == 0 || name.len > MKV_VOLUME_NAME_MAX) return MKV_EINVAL;
    err = index_commit_volume(ix, ix->nnames, name);
    if (err) return err;
    index_read_end(ix);
    err = add_name(ix, name);
    if (!err) *id = ix->nnames - 1;
    return err;
}

struct mkv_slice mkv_index_volume_name(struct mkv_index *ix, uint32_t id)
{
    /* A reader beside a running server may meet a volume that came after it. */
    if (id >= ix->nnames && ix->read_only && load_names(ix)) return mkv_slice(NULL, 0);
    return id < ix->nnames ? ix->names[id] : mkv_slice(NULL, 0);
}

uint32_t mkv_index_volume_count(struct mkv_index *ix)
{
    return ix->nnames;
}

/* ---- open and close ------------------------------------------------------------------ */

static void on_end_of_turn(void *arg)
{
    index_read_end(arg);
}

static struct mkv_index *new_index(struct mkv_loop *loop, const struct mkv_index_options *opt)
{
    struct mkv_index *ix = calloc(1, sizeof(*ix));
    pthread_condattr_t monotonic;

    if (!ix) return NULL;
    ix->loop = loop;
    ix->map_size = opt->map_size ? opt->map_size : MKV_INDEX_MAP_DEFAULT;
    ix->read_only = opt->read_only;
    ix->lock_fd = -1;
    ix->marks.fd = -1;
    ix->end_reading.run = on_end_of_turn;
    ix->end_reading.arg = ix;
    ix->committer.wake_fd = -1;
    list_init(&ix->committer.turn);
    list_init(&ix->committer.later);
    list_init(&ix->committer.at_once);
    list_init(&ix->committer.queue);
    list_init(&ix->committer.finished);
    pthread_mutex_init(&ix->write_lock, NULL);
    pthread_mutex_init(&ix->stats_lock, NULL);
    pthread_mutex_init(&ix->committer.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ix->committer.work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    ix->dir = strdup(opt->dir);
    return ix;
}

enum mkv_err mkv_index_open(struct mkv_index **out, struct mkv_loop *loop,
                            const struct mkv_index_options *opt, char *why, size_t why_size)
{
    enum mkv_err err = MKV_ENOMEM;
    struct mkv_index *ix = new_index(loop, opt);

    snprintf(why, why_size, "out of memory");
    if (!ix || !ix->dir) goto out;
    err = env_prepare_dir(ix->dir, ix->read_only, why, why_size);
    if (err) goto out;
    if (!ix->read_only)
        err = index_lock_take(&ix->lock_fd, ix->dir, opt->address, why, why_size);
    if (err) goto out;
    err = env_open(ix, ix->read_only, why, why_size);
    if (err) goto out;
    err = load_names(ix);
    if (!err) err = marks_open(&ix->marks, ix->dir, ix->read_only);
    if (!err && !ix->read_only) err = committer_start(ix);
    if (err) {
        snprintf(why, why_size, "can not start the index %s: %s", ix->dir, mkv_strerror(err));
        goto out;
    }
    *out = ix;
    ix = NULL; /* now the caller's */
    if (why_size) why[0] = '\0';
out:
    mkv_index_close(ix);
    return err;
}

void mkv_index_close(struct mkv_index *ix)
{
    if (!ix) return;
    committer_stop(ix);
    mkv_loop_forget(ix->loop, &ix->end_reading);
    if (ix->txn) mdb_txn_abort(ix->txn);
    marks_close(&ix->marks);
    env_close(&ix->env);
    index_lock_release(ix->lock_fd);
    for (uint32_t i = 0; i < ix->nnames; i++) free((char *)ix->names[i].data);
    free(ix->names);
    pthread_cond_destroy(&ix->committer.work);
    pthread_mutex_destroy(&ix->committer.lock);
    pthread_mutex_destroy(&ix->stats_lock);
    pthread_mutex_destroy(&ix->write_lock);
    free(ix->dir);
    free(ix);
}

/* ---- writes come in --------------------------------------------------------------------- */

enum mkv_err index_may_write(struct mkv_index *ix)
{
    if (atomic_load(&ix->broken)) return MKV_EINDEX;
    if (ix->read_only) return MKV_EINVAL;
    return ix->committer.closing ? MKV_ESHUTDOWN : MKV_OK;
}

void index_queue(struct mkv_index *ix, struct change *c, mkv_done *done, void *arg)
{
    c->done = done;
    c->arg = arg;
    committer_add(ix, c);
}

enum mkv_err mkv_index_apply(struct mkv_index *ix, const struct mkv_index_change *change,
                             mkv_done *done, void *arg)
{
    enum mkv_err err = index_may_write(ix);
    struct change *c;

    if (!err) err = change_new(&c, change);
    if (err) return err;
    c->done = done;
    c->arg = arg;
    if (change->mark_op == MKV_SET) err = marks_set(&ix->marks, change->key, change->mark);
    if (change->mark_op == MKV_REMOVE) c->unmark = marks_find(&ix->marks, change->key);
    if (err)
        free(c);
    else if (change->record_op != MKV_KEEP || change->garbage)
        committer_add(ix, c);
    else
        committer_skip(ix, c);
    return err;
}

typedef void queue_change(struct mkv_index *ix, struct change *c);

static enum mkv_err garbage_done(struct mkv_index *ix, const struct mkv_garbage *g,
                                 queue_change *queue, mkv_done *done, void *arg)
{
    enum mkv_err err = index_may_write(ix);
    struct change *c;

    if (!err) err = change_new_garbage(&c, g, g->due, NULL);
    if (err) return err;
    c->done = done;
    c->arg = arg;
    queue(ix, c);
    return MKV_OK;
}

enum mkv_err mkv_index_garbage_done(struct mkv_index *ix, const struct mkv_garbage *g,
                                    mkv_done *done, void *arg)
{
    return garbage_done(ix, g, committer_add, done, arg);
}

enum mkv_err mkv_index_garbage_done_later(struct mkv_index *ix, const struct mkv_garbage *g,
                                          mkv_done *done, void *arg)
{
    return garbage_done(ix, g, committer_add_later, done, arg);
}

enum mkv_err mkv_index_garbage_delay(struct mkv_index *ix, const struct mkv_garbage *g,
                                     int64_t new_due, const struct mkv_record *left,
                                     mkv_done *done, void *arg)
{
    enum mkv_err err = index_may_write(ix);
    struct change *c;

    if (!err) err = change_new_garbage(&c, g, new_due, left ? left : &g->files);
    if (!err) index_queue(ix, c, done, arg);
    return err;
}

/* ---- figures ------------------------------------------------------------------------------ */

static void count_entries(struct mkv_index *ix, struct mkv_index_stats *out)
{
    const struct env *env = &ix->env;
    uint64_t records;
    MDB_txn *txn;

    if (index_read(ix, &txn)) return; /* logged; the figures stay 0 */
    records = env_entries(env, txn, RECORDS);
    out->unlinked = env_counters(env, txn).unlinked;
    out->live = records > out->unlinked ? records - out->unlinked : 0;
    marks_refresh(&ix->marks);
    out->writing = marks_count(&ix->marks);
    out->garbage = env_entries(env, txn, GARBAGE);
    out->buckets = env_entries(env, txn, BUCKETS);
    out->uploads = env_entries(env, txn, UPLOADS);
    out->bytes_used = env_used_pages(env) * env->page_size;
    out->bytes_max = (env->map_pages - RESERVE_PAGES) * env->page_size;
}

void mkv_index_stats(struct mkv_index *ix, struct mkv_index_stats *out)
{
    pthread_mutex_lock(&ix->stats_lock);
    *out = ix->stats;
    pthread_mutex_unlock(&ix->stats_lock);
    count_entries(ix, out);
    out->broken = atomic_load(&ix->broken);
    out->full = atomic_load(&ix->full);
}
