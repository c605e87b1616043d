/* At start: what of the spool belongs to no upload of the index goes. */
#include "store/store.h"

#include "mkv/log.h"
#include "mkv/spool.h"

#include <stdlib.h>

struct uploads {
    uint8_t (*ids)[MKV_UPLOAD_ID_LEN]; /* owned; in order once all are there */
    size_t n, room;
};

static enum mkv_err add(struct uploads *u, const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    if (u->n == u->room) {
        size_t room = u->room ? 2 * u->room : 64;
        void *more = realloc(u->ids, room * sizeof(*u->ids));

        if (!more) return MKV_ENOMEM;
        u->ids = more;
        u->room = room;
    }
    memcpy(u->ids[u->n++], id, sizeof(*u->ids));
    return MKV_OK;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, MKV_UPLOAD_ID_LEN);
}

static enum mkv_err list(struct mkv_index *ix, struct uploads *u)
{
    struct mkv_upload upload = {.key_len = 0};
    enum mkv_err err = MKV_OK;

    mkv_record_init(&upload.what);
    while (!err) {
        err = mkv_index_upload_after(ix, mkv_slice(upload.key, upload.key_len), upload.id, &upload);
        if (!err) err = add(u, upload.id);
    }
    mkv_record_clear(&upload.what);
    if (u->n) qsort(u->ids, u->n, sizeof(*u->ids), compare);
    return err == MKV_ENOKEY ? MKV_OK : err; /* there are no more */
}

static bool is_known(const uint8_t id[MKV_UPLOAD_ID_LEN], void *arg)
{
    const struct uploads *u = arg;

    return u->n && bsearch(id, u->ids, u->n, sizeof(*u->ids), compare);
}

enum mkv_err store_sweep_spool(struct mkv_store *s)
{
    struct uploads u = {.n = 0};
    enum mkv_err err = MKV_OK;
    size_t gone;

    if (!s->spool) return MKV_OK;
    err = list(s->index, &u);
    if (err) goto out;
    gone = mkv_spool_sweep(s->spool, is_known, &u);
    if (gone)
        mkv_log_warn("removed %zu parts and uploads that were left unfinished in the spool", gone);
out:
    free(u.ids);
    return err;
}
