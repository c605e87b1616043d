/* Multipart uploads and their parts: read at once, written as changes.
 *
 * LMDB's order is that of keys and then ids, but for keys longer than
 * UPLOAD_PLAIN that share their beginning: those lie side by side in the order
 * of their hashes.  A listing goes through all of such a group and keeps the first
 * ones that it wants, in order: as many as it has room for, so that a page costs
 * a few times the group, however large, and not the group for each entry. */
#include "index/entries.h"
#include "index/index_impl.h"
#include "mkv/log.h"

#include <stdlib.h>

/* ---- one upload ------------------------------------------------------------------- */

static enum mkv_err check_key(struct mkv_slice key)
{
    if (key.len == 0) return MKV_EINVAL;
    if (key.len > MKV_KEY_MAX) return MKV_EKEYLONG;
    return memchr(key.data, '\0', key.len) ? MKV_EKEYNUL : MKV_OK;
}

/* The record first: key and id may be what the caller's key and id point to. */
static enum mkv_err copy_out(const struct upload_entry *e, struct mkv_upload *out)
{
    enum mkv_err err = mkv_record_decode(&out->what, e->record.mv_data, e->record.mv_size);

    if (err) return err;
    memcpy(out->key, e->key.data, e->key.len);
    out->key_len = e->key.len;
    memcpy(out->id, e->id, MKV_UPLOAD_ID_LEN);
    return MKV_OK;
}

enum mkv_err mkv_index_upload_get(struct mkv_index *ix, struct mkv_slice key,
                                  const uint8_t id[MKV_UPLOAD_ID_LEN], struct mkv_upload *out)
{
    uint8_t buf[STORED_MAX];
    struct upload_entry e;
    MDB_val stored, value;
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    if (check_key(key)) return MKV_ENOKEY;
    err = index_read(ix, &txn);
    if (err) return err;
    if (ix->env.dbi[UPLOADS] == NO_TABLE) return MKV_ENOKEY;
    stored = stored_upload(key, id, buf);
    rc = mdb_get(txn, ix->env.dbi[UPLOADS], &stored, &value);
    if (rc) return index_read_failed(rc);
    err = get_upload(&stored, &value, &e);
    if (err) return err;
    return mkv_slice_eq(e.key, key) ? copy_out(&e, out) : MKV_ENOKEY;
}

/* ---- listing ------------------------------------------------------------------------ */

struct search {
    MDB_cursor *cursor;         /* owned                                              */
    MDB_val key, value;         /* under it                                           */
    struct mkv_upload_query q;  /* behind (q.key, q.id) and not before                */
    struct upload_entry *found; /* owned; in order, room for max                      */
    size_t n, max;
};

static bool is_wanted(const struct search *s, const struct upload_entry *e)
{
    int order = mkv_slice_cmp(e->key, s->q.key);

    if (!mkv_slice_begins(e->key, s->q.prefix)) return false;
    return order ? order > 0 : s->q.id && memcmp(e->id, s->q.id, MKV_UPLOAD_ID_LEN) > 0;
}

static bool is_before(const struct upload_entry *a, const struct upload_entry *b)
{
    int order = mkv_slice_cmp(a->key, b->key);

    return order ? order < 0 : memcmp(a->id, b->id, MKV_UPLOAD_ID_LEN) < 0;
}

static bool share_prefix(const struct search *s, const struct upload_entry *a,
                         const struct upload_entry *b)
{
    size_t len = s->q.common ? s->q.common(a->key, s->q.arg) : 0;

    return len && mkv_slice_begins(b->key, mkv_slice(a->key.data, len));
}

/* Into its place, unless it comes behind all that there is room for, or behind one
 * that stands for it. */
static void add_found(struct search *s, const struct upload_entry *e)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (is_before(&s->found[middle], e))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == s->max || (low && share_prefix(s, e, &s->found[low - 1]))) return;
    if (low == s->n || !share_prefix(s, e, &s->found[low])) {
        if (s->n < s->max) s->n++;
        memmove(&s->found[low + 1], &s->found[low], (s->n - 1 - low) * sizeof(*e));
    }
    s->found[low] = *e;
}

static int next(struct search *s)
{
    return mdb_cursor_get(s->cursor, &s->key, &s->value, MDB_NEXT);
}

static void log_left_out(void)
{
    mkv_log_error("the index holds an upload that can not be decoded: left out");
}

/* What is under the cursor, if it is wanted. */
static void look_at(struct search *s)
{
    struct upload_entry e;

    if (get_upload(&s->key, &s->value, &e))
        log_left_out();
    else if (is_wanted(s, &e))
        add_found(s, &e);
}

/* To the first entry that may be wanted: the key, or the prefix where that comes
 * later; of a long one, the first of its group. */
static int seek(struct search *s)
{
    bool at_prefix = mkv_slice_cmp(s->q.key, s->q.prefix) < 0;
    struct mkv_slice from = at_prefix ? s->q.prefix : s->q.key;
    size_t len = from.len < UPLOAD_PLAIN ? from.len : UPLOAD_PLAIN;
    uint8_t buf[STORED_MAX];

    if (!len) return mdb_cursor_get(s->cursor, &s->key, &s->value, MDB_FIRST);
    memcpy(buf, from.data, len);
    if (from.len > UPLOAD_PLAIN || (!at_prefix && !s->q.id)) {
        buf[len++] = UPLOAD_GROUP; /* also behind "key, NUL, id" for each id */
    } else if (!at_prefix) {
        buf[len++] = 0;
        memcpy(buf + len, s->q.id, MKV_UPLOAD_ID_LEN);
        len += MKV_UPLOAD_ID_LEN;
    }
    s->key = (MDB_val){len, buf};
    return mdb_cursor_get(s->cursor, &s->key, &s->value, MDB_SET_RANGE);
}

/* With the cursor on a group's first entry: what is wanted of the group.  Leaves the
 * cursor behind it. */
static int search_group(struct search *s)
{
    const uint8_t *head = s->key.mv_data; /* LMDB's: stays where it is */
    int rc = 0;

    for (; !rc; rc = next(s)) {
        if (!stored_upload_is_long(&s->key) || memcmp(s->key.mv_data, head, UPLOAD_PLAIN) != 0)
            break;
        look_at(s);
    }
    return rc;
}

/* May an entry from here on begin with the prefix? */
static bool is_within(const struct search *s)
{
    struct mkv_slice prefix = s->q.prefix;

    if (prefix.len > UPLOAD_PLAIN) prefix.len = UPLOAD_PLAIN;
    return mkv_slice_begins(mkv_slice(s->key.mv_data, s->key.mv_size), prefix);
}

/* The next entry, or what is wanted of the next group; MDB_NOTFOUND. */
static int search(struct search *s)
{
    int rc = seek(s);

    s->n = 0;
    while (!rc && is_within(s)) {
        if (stored_upload_is_long(&s->key)) {
            rc = search_group(s);
        } else {
            look_at(s);
            if (!s->n) rc = next(s);
        }
        if (s->n) return 0;
    }
    return rc ? rc : MDB_NOTFOUND;
}

static enum mkv_err copy_found(struct search *s, struct mkv_upload *out, size_t *n)
{
    for (size_t i = 0; i < s->n; i++) {
        enum mkv_err err = copy_out(&s->found[i], &out[*n]);

        if (err == MKV_ENOMEM) return err;
        if (err)
            log_left_out();
        else
            ++*n;
    }
    s->q.key = s->found[s->n - 1].key;
    s->q.id = s->found[s->n - 1].id;
    return MKV_OK;
}

enum mkv_err mkv_index_upload_list(struct mkv_index *ix, const struct mkv_upload_query *q,
                                   struct mkv_upload *out, size_t max, size_t *n)
{
    struct search s = {.q = *q, .max = max};
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    *n = 0;
    err = index_read(ix, &txn);
    if (err) return err;
    if (ix->env.dbi[UPLOADS] == NO_TABLE) return MKV_ENOKEY;
    s.found = malloc(max * sizeof(*s.found));
    if (!s.found) return MKV_ENOMEM;
    rc = mdb_cursor_open(txn, ix->env.dbi[UPLOADS], &s.cursor);
    if (!rc) {
        while (!err && !*n && !(rc = search(&s)))
            err = copy_found(&s, out, n);
        mdb_cursor_close(s.cursor);
    }
    free(s.found);
    return rc ? index_read_failed(rc) : err;
}

/* ---- all of them ---------------------------------------------------------------------- */

/* As they lie there: no group has to be gone through. */
enum mkv_err mkv_index_upload_after(struct mkv_index *ix, struct mkv_slice key, const uint8_t *id,
                                    struct mkv_upload *out)
{
    MDB_val from, stored, value;
    uint8_t buf[STORED_MAX];
    MDB_cursor *cursor;
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    err = index_read(ix, &txn);
    if (err) return err;
    if (ix->env.dbi[UPLOADS] == NO_TABLE) return MKV_ENOKEY;
    rc = mdb_cursor_open(txn, ix->env.dbi[UPLOADS], &cursor);
    if (rc) return index_read_failed(rc);
    if (key.len) from = stored = stored_upload(key, id, buf);
    rc = mdb_cursor_get(cursor, &stored, &value, key.len ? MDB_SET_RANGE : MDB_FIRST);
    if (!rc && key.len && stored.mv_size == from.mv_size &&
        memcmp(stored.mv_data, from.mv_data, from.mv_size) == 0)
        rc = mdb_cursor_get(cursor, &stored, &value, MDB_NEXT);
    for (; !rc; rc = mdb_cursor_get(cursor, &stored, &value, MDB_NEXT)) {
        struct upload_entry e;

        err = get_upload(&stored, &value, &e);
        if (!err) err = copy_out(&e, out);
        if (!err || err == MKV_ENOMEM) break;
        log_left_out();
    }
    mdb_cursor_close(cursor);
    return rc ? index_read_failed(rc) : err;
}

/* ---- parts -------------------------------------------------------------------------- */

enum mkv_err mkv_index_part_get(struct mkv_index *ix, const uint8_t id[MKV_UPLOAD_ID_LEN],
                                unsigned number, struct mkv_part *out)
{
    uint8_t at[PART_KEY_LEN];
    MDB_val key = {sizeof(at), at}, value;
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    if (number == 0 || number > MKV_PARTS_MAX) return MKV_ENOKEY;
    err = index_read(ix, &txn);
    if (err) return err;
    if (ix->env.dbi[PARTS] == NO_TABLE) return MKV_ENOKEY;
    put_part_key(at, id, number);
    rc = mdb_get(txn, ix->env.dbi[PARTS], &key, &value);
    return rc ? index_read_failed(rc) : get_part(&key, &value, out);
}

enum mkv_err mkv_index_part_next(struct mkv_index *ix, const uint8_t id[MKV_UPLOAD_ID_LEN],
                                 unsigned after, struct mkv_part *out)
{
    uint8_t at[PART_KEY_LEN];
    MDB_val key = {sizeof(at), at}, value;
    MDB_cursor *cursor;
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    if (after >= MKV_PARTS_MAX) return MKV_ENOKEY;
    err = index_read(ix, &txn);
    if (err) return err;
    if (ix->env.dbi[PARTS] == NO_TABLE) return MKV_ENOKEY;
    rc = mdb_cursor_open(txn, ix->env.dbi[PARTS], &cursor);
    if (rc) return index_read_failed(rc);
    put_part_key(at, id, after + 1);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (!rc && (key.mv_size != PART_KEY_LEN || memcmp(key.mv_data, id, MKV_UPLOAD_ID_LEN) != 0))
        rc = MDB_NOTFOUND;
    mdb_cursor_close(cursor);
    return rc ? index_read_failed(rc) : get_part(&key, &value, out);
}

/* ---- making changes ------------------------------------------------------------------ */

enum mkv_err change_new_upload(struct change **out, const struct mkv_upload *upload)
{
    struct mkv_slice key = mkv_slice(upload->key, upload->key_len);
    enum mkv_err err = check_key(key);
    size_t len = upload_value_len(upload);
    uint8_t buf[STORED_MAX];
    MDB_val stored;
    struct change *c;

    if (err) return err;
    stored = stored_upload(key, upload->id, buf);
    c = change_alloc(CHANGE_PUT, stored.mv_size + len);
    if (!c) return MKV_ENOMEM;
    c->table = UPLOADS;
    memcpy(c->bytes, stored.mv_data, stored.mv_size);
    c->key = (MDB_val){stored.mv_size, c->bytes};
    c->record = (MDB_val){len, c->bytes + stored.mv_size};
    put_upload_value(c->record.mv_data, upload);
    *out = c;
    return MKV_OK;
}

/* A change beside an upload: its stored key first, then key_len bytes for c->key,
 * then len for c->record. */
static enum mkv_err new_beside(struct change **out, enum change_kind kind, struct mkv_slice key,
                               const uint8_t id[MKV_UPLOAD_ID_LEN], size_t key_len, size_t len)
{
    enum mkv_err err = check_key(key);
    uint8_t buf[STORED_MAX];
    MDB_val stored;
    struct change *c;

    if (err) return err;
    stored = stored_upload(key, id, buf);
    c = change_alloc(kind, stored.mv_size + key_len + len);
    if (!c) return MKV_ENOMEM;
    memcpy(c->bytes, stored.mv_data, stored.mv_size);
    c->upload = (MDB_val){stored.mv_size, c->bytes};
    c->key = (MDB_val){key_len, c->bytes + stored.mv_size};
    c->record = (MDB_val){len, c->bytes + stored.mv_size + key_len};
    *out = c;
    return MKV_OK;
}

enum mkv_err change_new_part(struct change **out, struct mkv_slice key,
                             const uint8_t id[MKV_UPLOAD_ID_LEN], const struct mkv_part *part)
{
    enum mkv_err err;

    if (part->number == 0 || part->number > MKV_PARTS_MAX) return MKV_EINVAL;
    err = new_beside(out, CHANGE_PART, key, id, PART_KEY_LEN, part_value_len(part));
    if (err) return err;
    put_part_key((*out)->key.mv_data, id, part->number);
    put_part_value((*out)->record.mv_data, part);
    return MKV_OK;
}

/* ---- writing them --------------------------------------------------------------------- */

int change_write_part(struct change *c, const struct env *env, MDB_txn *txn, bool tight)
{
    MDB_val upload = c->upload, key = c->key, value;
    int rc = mdb_get(txn, env->dbi[UPLOADS], &upload, &value);

    if (rc == MDB_NOTFOUND) {
        c->err = MKV_ENOKEY;
        return 0;
    }
    if (!rc) rc = mdb_get(txn, env->dbi[PARTS], &key, &value);
    if (rc && rc != MDB_NOTFOUND) return rc;
    c->adds = rc == MDB_NOTFOUND;
    if (tight && c->adds) {
        c->err = MKV_ENOSPACE;
        return 0;
    }
    value = c->record;
    return mdb_put(txn, env->dbi[PARTS], &key, &value, 0);
}

/* From the first to the last: a page that gets empty is used again at once, so
 * this needs few pages however many parts there are. */
static int drop_parts(const struct env *env, MDB_txn *txn, const MDB_val *id)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, env->dbi[PARTS], &cursor);

    if (rc) return rc;
    for (;;) {
        MDB_val key = *id, value;

        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (rc || key.mv_size < id->mv_size || memcmp(key.mv_data, id->mv_data, id->mv_size) != 0)
            break;
        rc = mdb_cursor_del(cursor, 0);
        if (rc) break;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* An upload that is gone stays gone: it may have been asked for twice. */
int change_write_upload_end(struct change *c, const struct env *env, MDB_txn *txn)
{
    MDB_val upload = c->upload;
    int rc = mdb_del(txn, env->dbi[UPLOADS], &upload, NULL);

    if (rc) return rc == MDB_NOTFOUND ? 0 : rc;
    return drop_parts(env, txn, &c->key);
}

/* ---- the doors -------------------------------------------------------------------------- */

enum mkv_err mkv_index_upload_put(struct mkv_index *ix, const struct mkv_upload *upload,
                                  mkv_done *done, void *arg)
{
    enum mkv_err err = index_may_write(ix);
    struct change *c;

    if (!err) err = change_new_upload(&c, upload);
    if (!err) index_queue(ix, c, done, arg);
    return err;
}

enum mkv_err mkv_index_upload_remove(struct mkv_index *ix, struct mkv_slice key,
                                     const uint8_t id[MKV_UPLOAD_ID_LEN], mkv_done *done,
                                     void *arg)
{
    enum mkv_err err = index_may_write(ix);
    struct change *c;

    if (!err) err = new_beside(&c, CHANGE_UPLOAD_END, key, id, MKV_UPLOAD_ID_LEN, 0);
    if (err) return err;
    memcpy(c->key.mv_data, id, MKV_UPLOAD_ID_LEN);
    index_queue(ix, c, done, arg);
    return MKV_OK;
}

enum mkv_err mkv_index_part_put(struct mkv_index *ix, struct mkv_slice key,
                                const uint8_t id[MKV_UPLOAD_ID_LEN], const struct mkv_part *part,
                                mkv_done *done, void *arg)
{
    enum mkv_err err = index_may_write(ix);
    struct change *c;

    if (!err) err = change_new_part(&c, key, id, part);
    if (!err) index_queue(ix, c, done, arg);
    return err;
}
