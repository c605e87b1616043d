/* CreateMultipartUpload and AbortMultipartUpload. */
#include "api/s3_bucket.h"
#include "api/s3_handlers.h"
#include "api/s3_meta.h"
#include "api/s3_multipart.h"
#include "api/s3_wait.h"
#include "mkv/spool.h"

#include <stdlib.h>
#include <sys/random.h>

struct upload_call {
    struct mkv_upload upload;
    struct s3_upload_sum sum; /* create                                     */
    struct s3_wait wait;      /* abort: for a Complete                      */
    struct s3_ending ending;  /* abort: on the list while the index is asked */
    bool asked;               /* the index owes us its callback             */
    bool gone;                /* nobody waits any more                      */
};

static void clear_upload(struct s3_call *c)
{
    struct upload_call *u = c->state;

    s3_wait_cancel(&u->wait);
    mkv_record_clear(&u->upload.what);
    free(u);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct upload_call *u = c->state;

    (void)why;
    if (u->asked) {
        u->gone = true; /* it is done all the same */
    } else {
        s3_wait_cancel(&u->wait);
        s3_call_end(c);
    }
}

/* NULL: it has been answered. */
static struct upload_call *begin(struct s3_call *c)
{
    static const struct mkv_request_events events = {.gone = on_gone};
    struct upload_call *u = calloc(1, sizeof(*u));

    if (!u) {
        s3_reply_error(c, S3_INTERNAL_ERROR, NULL);
        return NULL;
    }
    mkv_record_init(&u->upload.what);
    c->state = u;
    c->clear = clear_upload;
    c->r->events = &events;
    return u;
}

/* ---- create -------------------------------------------------------------------------------- */

static void reply_created(struct s3_call *c)
{
    struct upload_call *u = c->state;
    char id[S3_UPLOAD_ID_TEXT + 1];
    struct s3_head h;
    struct s3_xml x;

    s3_upload_id_text(u->upload.id, id);
    s3_head_begin(&h, c);
    if (u->sum.kind) {
        s3_head_add(&h, MKV_SLICE("x-amz-checksum-algorithm"), s3_checksum_name(u->sum.kind));
        s3_head_add(&h, MKV_SLICE("x-amz-checksum-type"), s3_upload_sum_type(u->sum));
    }
    s3_xml_init(&x, 16 * 1024);
    s3_xml_root(&x, "InitiateMultipartUploadResult");
    s3_xml_text(&x, "Bucket", c->bucket);
    s3_xml_text(&x, "Key", c->key);
    s3_xml_text(&x, "UploadId", mkv_slice_of(id));
    s3_xml_close(&x, "InitiateMultipartUploadResult");
    s3_reply_xml(c, 200, &h, &x);
}

static void on_created(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct upload_call *u = c->state;

    if (u->gone)
        s3_call_end(c);
    else if (err)
        s3_reply_failure(c, err);
    else
        reply_created(c);
}

static enum s3_error fill_upload(struct s3_call *c, struct upload_call *u, const char **why)
{
    struct mkv_upload *upload = &u->upload;
    enum s3_error err = s3_meta_of_headers(c->r->headers, c->r->nheaders, &upload->what, why);

    if (!err) err = s3_upload_sum_of_headers(c, &u->sum, why);
    if (err) return err;
    if (s3_upload_set_sum(&upload->what, u->sum) ||
        getrandom(upload->id, sizeof(upload->id), 0) != sizeof(upload->id))
        return S3_INTERNAL_ERROR;
    memcpy(upload->key, c->object.data, c->object.len);
    upload->key_len = c->object.len;
    upload->what.mtime = mkv_loop_wall(c->api->loop);
    return S3_OK;
}

void s3_create_upload(struct s3_call *c)
{
    struct upload_call *u = begin(c);
    enum mkv_err failed = mkv_store_check_key(c->object);
    const char *why = NULL;
    enum s3_error err;

    if (!u) return;
    err = failed ? s3_error_of(failed) : fill_upload(c, u, &why);
    if (!err) err = s3_bucket_for_write(c->api, c->bucket);
    if (err) {
        s3_reply_error(c, err, failed ? mkv_strerror(failed) : why);
        return;
    }
    failed = mkv_index_upload_put(mkv_store_index(c->api->store), &u->upload, on_created, c);
    u->asked = !failed;
    if (failed) s3_reply_failure(c, failed);
}

/* ---- abort --------------------------------------------------------------------------------- */

static void on_aborted(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct upload_call *u = c->state;

    s3_ending_end(&u->ending);
    if (!err) mkv_spool_remove(mkv_store_spool(c->api->store), u->upload.id);
    if (u->gone)
        s3_call_end(c);
    else if (err)
        s3_reply_failure(c, err);
    else
        s3_reply_empty(c, 204);
}

/* One that is just being completed is waited for: it will be gone, or be left. */
static void start_abort(void *arg)
{
    struct s3_call *c = arg;
    struct upload_call *u = c->state;
    enum s3_error err;
    enum mkv_err failed;

    if (s3_upload_is_ending(c->api->s3, u->upload.id)) {
        if (!s3_wait(&u->wait, c->api, c->r, start_abort, c))
            s3_reply_error(c, S3_OPERATION_ABORTED, NULL);
        return;
    }
    err = s3_upload_get(c, u->upload.id, &u->upload);
    if (err) {
        s3_reply_error(c, err, NULL);
        return;
    }
    failed = mkv_index_upload_remove(mkv_store_index(c->api->store), c->object, u->upload.id,
                                     on_aborted, c);
    if (failed) {
        s3_reply_failure(c, failed);
        return;
    }
    s3_ending_begin(&u->ending, c->api->s3, u->upload.id, NULL, NULL);
    u->asked = true;
}

void s3_abort_upload(struct s3_call *c)
{
    struct upload_call *u = begin(c);
    enum s3_error err;

    if (!u) return;
    err = s3_upload_id(c, u->upload.id);
    if (err)
        s3_reply_error(c, err, NULL);
    else
        start_abort(c);
}
