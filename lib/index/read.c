/* Reading one thing.  All reads of one turn of the loop share one read
 * transaction; a renewal costs less than a lookup. */
#include "index/index_impl.h"
#include "mkv/log.h"

/* ---- the read transaction ---------------------------------------------------- */

void index_read_end(struct mkv_index *ix)
{
    if (ix->reading) mdb_txn_reset(ix->txn);
    ix->reading = false;
}

static int renew(struct mkv_index *ix)
{
    int rc = ix->txn ? mdb_txn_renew(ix->txn)
                     : mdb_txn_begin(ix->env.mdb, NULL, MDB_RDONLY, &ix->txn);

    if (rc != MDB_MAP_RESIZED) return rc;
    /* The writer, another process, was restarted with a larger map. */
    rc = mdb_env_set_mapsize(ix->env.mdb, 0);
    if (rc) return rc;
    return ix->txn ? mdb_txn_renew(ix->txn)
                   : mdb_txn_begin(ix->env.mdb, NULL, MDB_RDONLY, &ix->txn);
}

/* After a failed write of LMDB's own head pages it refuses reads as well.  What
 * was committed before is sound: open it anew, for reading. */
static int reopen_for_reading(struct mkv_index *ix)
{
    enum mkv_err err;
    char why[512];

    pthread_mutex_lock(&ix->write_lock); /* the committer has left LMDB, and stays out */
    atomic_store(&ix->broken, true);
    ix->reopened = true;
    if (ix->txn) mdb_txn_abort(ix->txn);
    ix->txn = NULL;
    env_close(&ix->env);
    err = env_open(ix, true, why, sizeof(why));
    pthread_mutex_unlock(&ix->write_lock);
    if (err) {
        mkv_log_error("%s", why);
        return MDB_PANIC;
    }
    return renew(ix);
}

enum mkv_err index_read(struct mkv_index *ix, MDB_txn **txn)
{
    int rc = 0;

    if (!ix->reading) {
        rc = ix->env.mdb ? renew(ix) : MDB_PANIC;
        if (rc == MDB_PANIC && !ix->reopened) rc = reopen_for_reading(ix);
        if (rc) return index_read_failed(rc);
        ix->reading = true;
        mkv_loop_at_end(ix->loop, &ix->end_reading);
    }
    *txn = ix->txn;
    return MKV_OK;
}

enum mkv_err index_read_failed(int rc)
{
    if (rc == MDB_NOTFOUND) return MKV_ENOKEY;
    mkv_log_error("the index can not be read: %s", mdb_strerror(rc));
    return MKV_EINDEX;
}

/* ---- one record ---------------------------------------------------------------- */

/* The encoded record of key; body is LMDB's memory. */
static enum mkv_err find(struct mkv_index *ix, struct mkv_slice key, MDB_val *body)
{
    uint8_t buf[STORED_MAX];
    struct mkv_slice whole;
    MDB_val stored, value;
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    if (key.len == 0 || key.len > MKV_KEY_MAX) return MKV_ENOKEY;
    err = index_read(ix, &txn);
    if (err) return err;
    stored = stored_key(key, buf);
    rc = mdb_get(txn, ix->env.dbi[RECORDS], &stored, &value);
    if (rc) return index_read_failed(rc);
    if (!stored_entry(&stored, &value, &whole, body)) return MKV_ECORRUPT;
    return mkv_slice_eq(whole, key) ? MKV_OK : MKV_ENOKEY;
}

enum mkv_err mkv_index_get(struct mkv_index *ix, struct mkv_slice key, struct mkv_record *rec,
                           mkv_done *done, void *arg)
{
    MDB_val body;
    enum mkv_err err = find(ix, key, &body);

    (void)done; /* LMDB answers at once */
    (void)arg;
    return err ? err : mkv_record_decode(rec, body.mv_data, body.mv_size);
}

/* ---- generations ----------------------------------------------------------------- */

struct highest {
    bool any;
    uint64_t generation;
};

static void raise_to(struct highest *h, uint64_t generation)
{
    if (!h->any || generation > h->generation) h->generation = generation;
    h->any = true;
}

static enum mkv_err highest_of_mark(struct mkv_index *ix, struct mkv_slice key, struct highest *h)
{
    struct mkv_slice whole, data;
    struct mkv_record mark;
    enum mkv_err err;

    if (ix->read_only || !marks_get(&ix->marks, marks_find(&ix->marks, key), &whole, &data))
        return MKV_OK;
    mkv_record_init(&mark);
    err = mkv_record_decode(&mark, (const uint8_t *)data.data, data.len);
    if (!err) raise_to(h, mark.generation);
    mkv_record_clear(&mark);
    return err;
}

static bool is_going(const struct mkv_index *ix, uint64_t id)
{
    for (const struct change *c = ix->going; c; c = c->going)
        if (c->id == id) return true;
    return false;
}

static bool is_of_key(const MDB_val *at, const uint8_t md5[MKV_MD5_LEN])
{
    return at->mv_size == BY_KEY_LEN && memcmp(at->mv_data, md5, MKV_MD5_LEN) == 0;
}

/* The last entry of garbage-by-key that begins with the key's MD5 and is to stay. */
static enum mkv_err highest_of_garbage(struct mkv_index *ix, MDB_txn *txn, struct mkv_slice key,
                                       struct highest *h)
{
    uint8_t md5[MKV_MD5_LEN], last[BY_KEY_LEN];
    MDB_val at = {sizeof(last), last}, value;
    MDB_cursor *cursor;
    int rc;

    if (env_entries(&ix->env, txn, GARBAGE_BY_KEY) == 0) return MKV_OK; /* the usual case */
    mkv_md5(key, md5);
    put_by_key(last, md5, UINT64_MAX, UINT64_MAX);
    rc = mdb_cursor_open(txn, ix->env.dbi[GARBAGE_BY_KEY], &cursor);
    if (rc) return index_read_failed(rc);
    rc = mdb_cursor_get(cursor, &at, &value, MDB_SET_RANGE);
    if (rc == 0)
        rc = mdb_cursor_get(cursor, &at, &value, MDB_PREV);
    else if (rc == MDB_NOTFOUND)
        rc = mdb_cursor_get(cursor, &at, &value, MDB_LAST);
    while (rc == 0 && is_of_key(&at, md5) &&
           is_going(ix, get_be64((const uint8_t *)at.mv_data + sizeof(md5) + 8)))
        rc = mdb_cursor_get(cursor, &at, &value, MDB_PREV);
    if (rc == 0 && is_of_key(&at, md5))
        raise_to(h, get_be64((const uint8_t *)at.mv_data + sizeof(md5)));
    mdb_cursor_close(cursor);
    return rc == 0 || rc == MDB_NOTFOUND ? MKV_OK : index_read_failed(rc);
}

enum mkv_err mkv_index_next_generation(struct mkv_index *ix, struct mkv_slice key,
                                       const struct mkv_record *rec, uint64_t *generation,
                                       mkv_done *done, void *arg)
{
    struct highest h = {.any = false};
    enum mkv_err err;
    MDB_txn *txn;

    (void)done;
    (void)arg;
    if (rec) raise_to(&h, rec->generation);
    err = index_read(ix, &txn);
    if (!err) err = highest_of_mark(ix, key, &h);
    if (!err) err = highest_of_garbage(ix, txn, key, &h);
    if (err) return err;
    if (h.any && h.generation >= MKV_GENERATION_MAX) return MKV_EINVAL;
    *generation = h.any ? h.generation + 1 : 0;
    return MKV_OK;
}

/* ---- garbage ---------------------------------------------------------------------- */

static bool garbage_decode(const MDB_val *stored, const MDB_val *value, struct mkv_garbage *out)
{
    struct mkv_slice key;
    MDB_val body;

    if (!get_garbage_key(stored, &out->due, &out->id) || !get_key_head(value, &key, &body))
        return false;
    memcpy(out->key, key.data, key.len);
    out->key_len = key.len;
    mkv_record_init(&out->files);
    return mkv_record_decode(&out->files, body.mv_data, body.mv_size) == MKV_OK;
}

enum mkv_err mkv_index_garbage_next(struct mkv_index *ix, int64_t after_due, uint64_t after_id,
                                    int64_t now, struct mkv_garbage *out)
{
    uint8_t after[GARBAGE_KEY_LEN];
    MDB_val at = {sizeof(after), after}, value;
    MDB_cursor *cursor;
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    err = index_read(ix, &txn);
    if (err) return err;
    rc = mdb_cursor_open(txn, ix->env.dbi[GARBAGE], &cursor);
    if (rc) return index_read_failed(rc);
    put_garbage_key(after, after_due, after_id);
    rc = mdb_cursor_get(cursor, &at, &value, MDB_SET_RANGE);
    if (rc == 0 && at.mv_size == sizeof(after) && !memcmp(at.mv_data, after, sizeof(after)))
        rc = mdb_cursor_get(cursor, &at, &value, MDB_NEXT);
    while (rc == 0 && !garbage_decode(&at, &value, out)) {
        mkv_log_error("the index holds a garbage entry that can not be decoded: left alone");
        rc = mdb_cursor_get(cursor, &at, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (rc) return index_read_failed(rc);
    if (out->due <= now) return MKV_OK;
    mkv_record_clear(&out->files);
    return MKV_ENOKEY;
}
