/* What a crash left: marks of writes that nobody will finish. */
#include "index/index_impl.h"
#include "mkv/log.h"

#include <stdlib.h>

#define RECOVER_BATCH 1024 /* marks in one transaction */

struct recovery {
    struct change_list changes;
    int64_t now;
    enum mkv_err err;
};

static bool add_mark(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct recovery *r = arg;
    struct mkv_index_change change = {.key = key, .mark_op = MKV_REMOVE, .garbage_due = r->now};
    struct mkv_record mark;
    struct change *c;

    mkv_record_init(&mark);
    if (mkv_record_decode(&mark, data, len)) {
        mkv_log_error("the index holds a half-written key that can not be decoded: left alone");
        return true;
    }
    change.garbage = &mark;
    r->err = change_new(&c, &change);
    mkv_record_clear(&mark);
    if (r->err) return false;
    list_add(&r->changes, c);
    return true;
}

/* Commits the batch and frees it; counts what was done. */
static void commit_batch(struct mkv_index *ix, struct recovery *r, size_t *found)
{
    struct change *c;

    if (r->changes.first) index_commit(ix, &r->changes);
    while ((c = list_take(&r->changes))) {
        if (c->err && !r->err) r->err = c->err;
        if (!c->err) ++*found;
        free(c);
    }
    index_read_end(ix);
}

enum mkv_err mkv_index_recover(struct mkv_index *ix, size_t *found)
{
    struct recovery r = {.now = mkv_loop_wall(ix->loop)};
    struct mkv_walk walk;

    *found = 0;
    if (ix->read_only) return MKV_EINVAL;
    list_init(&r.changes);
    mkv_walk_init(&walk, MKV_TABLE_MARKS, 0, mkv_slice(NULL, 0), mkv_slice(NULL, 0));
    while (!walk.ended && !r.err) {
        enum mkv_err err = mkv_index_walk(ix, &walk, RECOVER_BATCH, add_mark, &r);

        commit_batch(ix, &r, found);
        if (!r.err) r.err = err;
    }
    return r.err;
}
