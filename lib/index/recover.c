/* What a crash left: marks of writes that nobody will finish. */
#include "index/index_impl.h"
#include "mkv/log.h"

#include <stdlib.h>

#define RECOVER_BATCH 1024 /* marks in one transaction */

/* The change that makes the mark's files garbage; NULL with *err MKV_OK where
 * the slot is free. */
static struct change *change_of(struct mkv_index *ix, uint32_t slot, enum mkv_err *err)
{
    struct mkv_index_change change = {.garbage_due = mkv_loop_wall(ix->loop)};
    struct mkv_record mark;
    struct mkv_slice data;
    struct change *c = NULL;

    if (!marks_get(&ix->marks, slot, &change.key, &data)) return NULL;
    mkv_record_init(&mark);
    if (mkv_record_decode(&mark, (const uint8_t *)data.data, data.len)) {
        mkv_log_error("a half-written key's mark can not be decoded: left alone");
        return NULL;
    }
    change.garbage = &mark;
    *err = change_new(&c, &change);
    mkv_record_clear(&mark);
    if (*err) return NULL;
    c->unmark = slot;
    return c;
}

/* Commits the batch and frees it; takes off the marks whose files are garbage now. */
static enum mkv_err commit_batch(struct mkv_index *ix, struct change_list *changes, size_t *found)
{
    enum mkv_err err = MKV_OK;
    struct change *c;

    if (changes->first) index_commit(ix, changes);
    while ((c = list_take(changes))) {
        if (c->err) err = c->err;
        if (!c->err) {
            marks_clear(&ix->marks, c->unmark);
            ++*found;
        }
        free(c);
    }
    index_read_end(ix);
    return err;
}

enum mkv_err mkv_index_recover(struct mkv_index *ix, size_t *found)
{
    enum mkv_err err = MKV_OK;
    struct change_list changes;

    *found = 0;
    if (ix->read_only) return MKV_EINVAL;
    list_init(&changes);
    for (uint32_t slot = 0; slot < ix->marks.nslots && !err; slot++) {
        struct change *c = change_of(ix, slot, &err);

        if (c) list_add(&changes, c);
        if (changes.count == RECOVER_BATCH) err = commit_batch(ix, &changes, found);
    }
    if (changes.first) {
        enum mkv_err last = commit_batch(ix, &changes, found);

        if (!err) err = last;
    }
    return err;
}
