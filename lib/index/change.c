/* One queued change: made on the loop, where its bytes are encoded, and
 * written into a transaction by whoever commits. */
#include "index/index_impl.h"

#include <errno.h>
#include <stdlib.h>

/* ---- making ----------------------------------------------------------------------- */

struct change *change_alloc(enum change_kind kind, size_t len)
{
    struct change *c = malloc(sizeof(*c) + len);

    if (!c) return NULL;
    memset(c, 0, sizeof(*c));
    c->kind = kind;
    c->unmark = MARK_NONE;
    c->len = len;
    return c;
}

/* What a garbage entry keeps of a record: where the files are. */
static struct mkv_record files_of(const struct mkv_record *r)
{
    struct mkv_record files = *r;

    files.has_md5 = false;
    files.size = -1;
    files.fields = NULL;
    files.fields_len = 0;
    return files;
}

/* Encodes r behind key's head, if any; returns the byte after it. */
static uint8_t *put_value(MDB_val *value, uint8_t *at, struct mkv_slice head,
                          const struct mkv_record *r)
{
    uint8_t *start = at;

    if (head.len) at = put_key_head(at, head);
    mkv_record_encode(r, at);
    at += mkv_record_encoded_len(r);
    *value = (MDB_val){(size_t)(at - start), start};
    return at;
}

static size_t value_len(struct mkv_slice head, const struct mkv_record *r)
{
    return (head.len ? KEY_HEAD(head.len) : 0) + mkv_record_encoded_len(r);
}

enum mkv_err change_new(struct change **out, const struct mkv_index_change *from)
{
    struct mkv_slice key = from->key, head = {NULL, 0};
    bool set = from->record_op == MKV_SET;
    struct mkv_record files;
    uint8_t buf[STORED_MAX];
    MDB_val stored;
    struct change *c;
    uint8_t *at;
    size_t len;

    if (key.len == 0 || (from->garbage && from->spared)) return MKV_EINVAL;
    if (key.len > MKV_KEY_MAX) return MKV_EKEYLONG;
    stored = stored_key(key, buf);
    if (stored_is_long(&stored)) head = key;
    len = stored.mv_size;
    if (set) len += value_len(head, from->record);
    if (from->garbage) {
        files = files_of(from->garbage);
        len += value_len(key, &files);
    }
    c = change_alloc(CHANGE_KEY, len);
    if (!c) return MKV_ENOMEM;
    c->record_op = from->record_op;
    c->unlinked = set && from->record->state == MKV_UNLINKED;
    c->key = (MDB_val){stored.mv_size, c->bytes};
    memcpy(c->bytes, stored.mv_data, stored.mv_size);
    at = c->bytes + stored.mv_size;
    if (set) at = put_value(&c->record, at, head, from->record);
    if (from->garbage) {
        c->collect = true;
        c->due = from->garbage_due;
        c->id_out = from->garbage_id;
        c->generation = files.generation;
        mkv_md5(key, c->md5);
        put_value(&c->garbage, at, key, &files);
    }
    if (from->spared) {
        c->spare = true;
        c->due = from->spared->due;
        c->id = from->spared->id;
        c->generation = from->spared->files.generation;
        mkv_md5(key, c->md5);
    }
    *out = c;
    return MKV_OK;
}

enum mkv_err change_new_garbage(struct change **out, const struct mkv_garbage *g, int64_t new_due,
                                const struct mkv_record *left)
{
    struct mkv_slice key = mkv_slice(g->key, g->key_len);
    struct mkv_record files;
    struct change *c;
    size_t len = 0;

    if (left) {
        files = files_of(left);
        files.generation = g->files.generation;
        len = value_len(key, &files);
    }
    c = change_alloc(left ? CHANGE_GARBAGE_DELAY : CHANGE_GARBAGE_DONE, len);
    if (!c) return MKV_ENOMEM;
    c->due = g->due;
    c->new_due = new_due;
    c->id = g->id;
    c->generation = g->files.generation;
    mkv_md5(key, c->md5);
    if (left) put_value(&c->garbage, c->bytes, key, &files);
    *out = c;
    return MKV_OK;
}

/* ---- writing ---------------------------------------------------------------------- */

/* What stands in a table under the change's key, before it. */
struct before {
    bool there;
    bool unlinked;
};

static int look_before(struct before *b, MDB_dbi dbi, const struct change *c, MDB_txn *txn)
{
    MDB_val key = c->key, value, body;
    struct mkv_slice whole;
    int rc = mdb_get(txn, dbi, &key, &value);

    b->there = rc == 0;
    b->unlinked = rc == 0 && stored_entry(&c->key, &value, &whole, &body) &&
                  mkv_record_peek_state(body.mv_data, body.mv_size) == MKV_UNLINKED;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Entries that op adds to a table (-1, 0 or 1). */
static int growth(enum mkv_change_op op, const struct before *b)
{
    return (op == MKV_SET && !b->there) - (op == MKV_REMOVE && b->there);
}

static int write_one(MDB_txn *txn, MDB_dbi dbi, enum mkv_change_op op, bool there,
                     const struct change *c, const MDB_val *value)
{
    MDB_val key = c->key, copy = *value;

    if (op == MKV_SET) return mdb_put(txn, dbi, &key, &copy, 0);
    if (op == MKV_REMOVE && there) return mdb_del(txn, dbi, &key, NULL);
    return 0;
}

static int add_garbage(struct change *c, const struct env *env, MDB_txn *txn, struct counters *n)
{
    uint8_t at[GARBAGE_KEY_LEN], by_key[BY_KEY_LEN];
    MDB_val key = {sizeof(at), at}, value = c->garbage;
    int rc;

    c->id = n->next_garbage++;
    put_garbage_key(at, c->due, c->id);
    rc = mdb_put(txn, env->dbi[GARBAGE], &key, &value, 0);
    if (rc) return rc;
    put_by_key(by_key, c->md5, c->generation, c->id);
    key = (MDB_val){sizeof(by_key), by_key};
    value = (MDB_val){0, NULL};
    return mdb_put(txn, env->dbi[GARBAGE_BY_KEY], &key, &value, 0);
}

/* An entry that is gone stays gone: it may have been asked for twice. */
static int write_garbage(const struct change *c, const struct env *env, MDB_txn *txn)
{
    uint8_t at[GARBAGE_KEY_LEN], by_key[BY_KEY_LEN];
    MDB_val key = {sizeof(at), at}, value = c->garbage;
    int rc;

    put_garbage_key(at, c->due, c->id);
    rc = mdb_del(txn, env->dbi[GARBAGE], &key, NULL);
    if (rc) return rc == MDB_NOTFOUND ? 0 : rc;
    if (c->kind == CHANGE_GARBAGE_DELAY) {
        put_garbage_key(at, c->new_due, c->id);
        return mdb_put(txn, env->dbi[GARBAGE], &key, &value, 0);
    }
    put_by_key(by_key, c->md5, c->generation, c->id);
    key = (MDB_val){sizeof(by_key), by_key};
    rc = mdb_del(txn, env->dbi[GARBAGE_BY_KEY], &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_key(struct change *c, const struct env *env, MDB_txn *txn, struct counters *n,
                     bool tight)
{
    struct before record = {.there = false};
    int rc = 0;

    if (c->record_op != MKV_KEEP) rc = look_before(&record, env->dbi[RECORDS], c, txn);
    if (rc) return rc;
    c->adds = growth(c->record_op, &record) + c->collect - c->spare > 0;
    if (tight && c->adds) {
        c->err = MKV_ENOSPACE;
        return 0;
    }
    rc = write_one(txn, env->dbi[RECORDS], c->record_op, record.there, c, &c->record);
    if (!rc && c->collect) rc = add_garbage(c, env, txn, n);
    if (!rc && c->spare) rc = write_garbage(c, env, txn);
    if (c->record_op != MKV_KEEP && record.unlinked && n->unlinked) n->unlinked--;
    if (c->unlinked) n->unlinked++;
    return rc;
}

static int write_entry(struct change *c, const struct env *env, MDB_txn *txn, bool tight)
{
    MDB_val key = c->key, value;
    int rc = mdb_get(txn, env->dbi[c->table], &key, &value);

    if (c->kind == CHANGE_DROP) {
        if (!rc) rc = mdb_del(txn, env->dbi[c->table], &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    if (rc && rc != MDB_NOTFOUND) return rc;
    c->adds = rc == MDB_NOTFOUND;
    if (tight && c->adds) {
        c->err = MKV_ENOSPACE;
        return 0;
    }
    value = c->record;
    return mdb_put(txn, env->dbi[c->table], &key, &value, 0);
}

int change_write(struct change *c, const struct env *env, MDB_txn *txn, struct counters *n,
                 bool tight)
{
    c->err = MKV_OK;
    switch (c->kind) {
    case CHANGE_KEY: return write_key(c, env, txn, n, tight);
    case CHANGE_GARBAGE_DONE:
    case CHANGE_GARBAGE_DELAY: return write_garbage(c, env, txn);
    case CHANGE_PUT:
    case CHANGE_DROP: return write_entry(c, env, txn, tight);
    case CHANGE_PART: return change_write_part(c, env, txn, tight);
    case CHANGE_UPLOAD_END: return change_write_upload_end(c, env, txn);
    }
    return EINVAL;
}
