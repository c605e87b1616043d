/* Buckets: read at once, written as changes. */
#include "index/entries.h"
#include "index/index_impl.h"
#include "mkv/log.h"

#include <stdlib.h>

/* ---- reading ---------------------------------------------------------------------- */

enum mkv_err mkv_index_bucket_get(struct mkv_index *ix, struct mkv_slice name,
                                  struct mkv_bucket *out)
{
    MDB_val stored = {name.len, (void *)name.data}, value;
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    if (name.len == 0 || name.len > MKV_BUCKET_MAX) return MKV_ENOKEY;
    err = index_read(ix, &txn);
    if (err) return err;
    if (ix->env.dbi[BUCKETS] == NO_TABLE) return MKV_ENOKEY;
    rc = mdb_get(txn, ix->env.dbi[BUCKETS], &stored, &value);
    return rc ? index_read_failed(rc) : get_bucket(&stored, &value, out);
}

/* from has at least one byte, at most one more than a name. */
static int seek(MDB_cursor *cursor, struct mkv_slice from, bool after, MDB_val *key, MDB_val *value)
{
    int rc;

    *key = (MDB_val){from.len, (void *)from.data};
    rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
    if (!rc && after && mkv_slice_eq(mkv_slice(key->mv_data, key->mv_size), from))
        rc = mdb_cursor_get(cursor, key, value, MDB_NEXT);
    return rc;
}

enum mkv_err mkv_index_bucket_next(struct mkv_index *ix, struct mkv_slice from, bool after,
                                   struct mkv_bucket *out)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    err = index_read(ix, &txn);
    if (err) return err;
    if (ix->env.dbi[BUCKETS] == NO_TABLE) return MKV_ENOKEY;
    rc = mdb_cursor_open(txn, ix->env.dbi[BUCKETS], &cursor);
    if (rc) return index_read_failed(rc);
    if (from.len > MKV_BUCKET_MAX) from.len = MKV_BUCKET_MAX + 1; /* no name is as long: same place */
    rc = from.len ? seek(cursor, from, after, &key, &value)
                  : mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (!rc && get_bucket(&key, &value, out)) {
        mkv_log_error("the index holds a bucket that can not be decoded: left out");
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc ? index_read_failed(rc) : MKV_OK;
}

/* ---- writing ---------------------------------------------------------------------- */

/* A change of that bucket with len bytes of value, which c->record is. */
static enum mkv_err new_change(struct change **out, enum change_kind kind, struct mkv_slice name,
                               size_t len)
{
    struct change *c;

    if (name.len == 0 || name.len > MKV_BUCKET_MAX) return MKV_EINVAL;
    c = change_alloc(kind, name.len + len);
    if (!c) return MKV_ENOMEM;
    c->table = BUCKETS;
    memcpy(c->bytes, name.data, name.len);
    c->key = (MDB_val){name.len, c->bytes};
    c->record = (MDB_val){len, c->bytes + name.len};
    *out = c;
    return MKV_OK;
}

enum mkv_err change_new_bucket(struct change **out, const struct mkv_bucket *bucket)
{
    enum mkv_err err;

    if (bucket->owner_len > MKV_OWNER_MAX) return MKV_EINVAL;
    err = new_change(out, CHANGE_PUT, mkv_slice(bucket->name, bucket->name_len),
                     bucket_value_len(bucket));
    if (!err) put_bucket_value((*out)->record.mv_data, bucket);
    return err;
}

enum mkv_err mkv_index_bucket_put(struct mkv_index *ix, const struct mkv_bucket *bucket,
                                  mkv_done *done, void *arg)
{
    enum mkv_err err = index_may_write(ix);
    struct change *c;

    if (!err) err = change_new_bucket(&c, bucket);
    if (!err) index_queue(ix, c, done, arg);
    return err;
}

enum mkv_err mkv_index_bucket_remove(struct mkv_index *ix, struct mkv_slice name, mkv_done *done,
                                     void *arg)
{
    enum mkv_err err = index_may_write(ix);
    struct change *c;

    if (!err) err = new_change(&c, CHANGE_DROP, name, 0);
    if (!err) index_queue(ix, c, done, arg);
    return err;
}
