/* DeleteBucket: only an empty one goes, and nothing gets in while it goes. */
#include "api/s3_bucket.h"
#include "api/s3_handlers.h"
#include "api/s3_scan.h"
#include "api/s3_server.h"
#include "mkv/log.h"
#include "mkv/spool.h"

#include <stdlib.h>

enum deletion_step {
    DELETION_LOOK,    /* is it empty?                                              */
    DELETION_FORGET,  /* index: its record goes                                    */
    DELETION_AGAIN,   /* is it still?  A write may have been on its way before     */
    DELETION_RESTORE, /* it is not: its record comes back                          */
    DELETION_UPLOADS  /* its unfinished uploads go, one after the other            */
};

struct deletion {
    struct s3_scan scan;
    struct s3_dying_bucket dying;
    struct mkv_bucket record;
    bool had_record;
    enum deletion_step step;
    struct mkv_upload upload; /* the one that goes */
    bool found; /* a live key */
    bool gone;  /* nobody waits any more */
};

static void deletion_go(struct s3_call *c, enum deletion_step next);

static void clear_deletion(struct s3_call *c)
{
    struct deletion *d = c->state;

    LIST_REMOVE(&d->dying, all);
    s3_scan_cancel(&d->scan);
    mkv_record_clear(&d->upload.what);
    free(d);
}

static void deletion_answer(struct s3_call *c, enum s3_error err)
{
    struct deletion *d = c->state;

    if (d->gone)
        s3_call_end(c);
    else if (err)
        s3_reply_error(c, err, NULL);
    else
        s3_reply_empty(c, 204);
}

static enum s3_scan_step find_any(struct mkv_slice key, const uint8_t *data, size_t len,
                                  size_t *skip, void *arg)
{
    struct s3_call *c = arg;

    (void)key;
    (void)data;
    (void)len;
    (void)skip;
    ((struct deletion *)c->state)->found = true;
    return S3_SCAN_STOP;
}

static void on_looked(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct deletion *d = c->state;

    if (d->step == DELETION_AGAIN && (err || d->found) && d->had_record)
        deletion_go(c, DELETION_RESTORE);
    else if (err)
        deletion_answer(c, s3_error_of(err));
    else if (d->found)
        deletion_answer(c, S3_BUCKET_NOT_EMPTY);
    else if (d->step == DELETION_LOOK)
        deletion_go(c, DELETION_FORGET);
    else
        deletion_go(c, DELETION_UPLOADS);
}

static void look(struct s3_call *c)
{
    struct deletion *d = c->state;
    char prefix[MKV_KEY_MAX];
    size_t len;
    enum mkv_err err = MKV_EINVAL;

    d->found = false;
    if (s3_object_key(c->bucket, mkv_slice(NULL, 0), prefix, &len))
        err = s3_scan_start(&d->scan, c->api, mkv_slice(prefix, len), mkv_slice(NULL, 0), false,
                            find_any, on_looked, c);
    if (err != MKV_PENDING) on_looked(err, c);
}

static void on_forgotten(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;

    if (err)
        deletion_answer(c, s3_error_of(err));
    else
        deletion_go(c, DELETION_AGAIN);
}

static void on_restored(enum mkv_err err, void *arg)
{
    deletion_answer(arg, err ? s3_error_of(err) : S3_BUCKET_NOT_EMPTY);
}

static void forget_uploads(struct s3_call *c);

static void on_upload_forgotten(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct deletion *d = c->state;

    if (err) {
        mkv_log_warn("s3: uploads of a deleted bucket stay until they are looked for again: %s",
                     mkv_strerror(err));
        deletion_answer(c, S3_OK);
        return;
    }
    mkv_spool_remove(mkv_store_spool(c->api->store), d->upload.id);
    forget_uploads(c);
}

/* Whoever makes a bucket of that name must not find them. */
static void forget_uploads(struct s3_call *c)
{
    struct mkv_index *ix = mkv_store_index(c->api->store);
    struct deletion *d = c->state;
    char prefix[MKV_KEY_MAX];
    struct mkv_upload_query q = {.id = NULL};
    size_t len, n;
    enum mkv_err err = MKV_EINVAL;

    if (s3_object_key(c->bucket, mkv_slice(NULL, 0), prefix, &len)) {
        q.prefix = mkv_slice(prefix, len);
        err = mkv_index_upload_list(ix, &q, &d->upload, 1, &n);
    }
    if (!err)
        err = mkv_index_upload_remove(ix, mkv_slice(d->upload.key, d->upload.key_len),
                                      d->upload.id, on_upload_forgotten, c);
    if (err == MKV_ENOKEY)
        deletion_answer(c, S3_OK); /* that was the last one */
    else if (err)
        on_upload_forgotten(err, c);
}

static void deletion_go(struct s3_call *c, enum deletion_step next)
{
    struct mkv_index *ix = mkv_store_index(c->api->store);
    struct deletion *d = c->state;
    enum mkv_err err = MKV_OK;

    d->step = next;
    switch (next) {
    case DELETION_LOOK:
    case DELETION_AGAIN: look(c); break;
    case DELETION_FORGET: err = mkv_index_bucket_remove(ix, c->bucket, on_forgotten, c); break;
    case DELETION_UPLOADS: forget_uploads(c); break;
    case DELETION_RESTORE: err = mkv_index_bucket_put(ix, &d->record, on_restored, c); break;
    }
    if (err) deletion_answer(c, s3_error_of(err));
}

static void deletion_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct deletion *d = c->state;

    (void)why;
    if (d->step != DELETION_LOOK) {
        d->gone = true; /* it is finished all the same */
        return;
    }
    s3_scan_cancel(&d->scan);
    s3_call_end(c);
}

void s3_delete_bucket(struct s3_call *c)
{
    static const struct mkv_request_events events = {.gone = deletion_gone};
    struct mkv_bucket record = {.name_len = 0};
    enum s3_error err = s3_bucket_find(c->api, c->bucket, &record);
    bool had_record = !err;
    struct deletion *d;

    if (err == S3_NO_SUCH_BUCKET && !c->checked) err = s3_bucket_holds_keys(c->api, c->bucket);
    if (!err && s3_is_dying(c->api->s3, c->bucket)) err = S3_OPERATION_ABORTED;
    d = err ? NULL : calloc(1, sizeof(*d));
    if (!d) {
        s3_reply_error(c, err ? err : S3_INTERNAL_ERROR, NULL);
        return;
    }
    mkv_record_init(&d->upload.what);
    d->record = record;
    d->had_record = had_record;
    memcpy(d->dying.name, c->bucket.data, c->bucket.len);
    d->dying.name_len = c->bucket.len;
    LIST_INSERT_HEAD(&c->api->s3->dying, &d->dying, all);
    c->state = d;
    c->clear = clear_deletion;
    c->r->events = &events;
    deletion_go(c, DELETION_LOOK);
}
