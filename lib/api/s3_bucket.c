/* Which buckets there are, and how one comes into being. */
#include "api/s3_bucket.h"

#include "api/s3_body.h"
#include "api/s3_handlers.h"
#include "api/s3_input.h"
#include "api/s3_meta.h"
#include "api/s3_server.h"

#include <stdlib.h>

/* ---- is it there ----------------------------------------------------------------- */

#define LOOK_MAX 4096 /* keys looked at: beyond so many unlinked ones it counts as being there */

static bool is_live(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    bool *found = arg;

    (void)key;
    (void)data;
    (void)len;
    *found = true;
    return false;
}

/* Whether a live key lies in it. */
enum s3_error s3_bucket_holds_keys(const struct mkv_api *api, struct mkv_slice bucket)
{
    char prefix[MKV_KEY_MAX];
    struct mkv_walk walk;
    bool found = false;
    size_t len;

    if (!s3_object_key(bucket, mkv_slice(NULL, 0), prefix, &len)) return S3_NO_SUCH_BUCKET;
    mkv_walk_init(&walk, MKV_TABLE_RECORDS, MKV_LIVE, mkv_slice(prefix, len), mkv_slice(NULL, 0));
    if (mkv_index_walk(mkv_store_index(api->store), &walk, LOOK_MAX, is_live, &found))
        return S3_INTERNAL_ERROR;
    return found || !walk.ended ? S3_OK : S3_NO_SUCH_BUCKET;
}

enum s3_error s3_bucket_find(const struct mkv_api *api, struct mkv_slice bucket,
                             struct mkv_bucket *out)
{
    enum mkv_err err = mkv_index_bucket_get(mkv_store_index(api->store), bucket, out);

    if (err == MKV_ENOKEY) return S3_NO_SUCH_BUCKET;
    return err ? S3_INTERNAL_ERROR : S3_OK;
}

enum s3_error s3_bucket_check(const struct mkv_api *api, struct mkv_slice bucket)
{
    struct mkv_bucket record;
    enum s3_error err = s3_bucket_find(api, bucket, &record);

    return err == S3_NO_SUCH_BUCKET && !api->s3->keys ? s3_bucket_holds_keys(api, bucket) : err;
}

bool s3_is_dying(const struct mkv_s3 *s3, struct mkv_slice bucket)
{
    struct s3_dying_bucket *one;

    LIST_FOREACH(one, &s3->dying, all)
        if (mkv_slice_eq(bucket, mkv_slice(one->name, one->name_len))) return true;
    return false;
}

static void fill_record(struct mkv_bucket *out, const struct mkv_api *api, struct mkv_slice bucket,
                        struct mkv_slice owner)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->name, bucket.data, bucket.len);
    out->name_len = bucket.len;
    if (owner.len) memcpy(out->owner, owner.data, owner.len);
    out->owner_len = owner.len;
    out->created = mkv_loop_wall(api->loop);
}

/* *makes: it has no record and shall get one. */
static enum s3_error look_for_write(const struct mkv_api *api, struct mkv_slice bucket,
                                    bool *makes)
{
    struct mkv_bucket record;
    enum s3_error err = s3_bucket_find(api, bucket, &record);

    *makes = false;
    if (s3_is_dying(api->s3, bucket)) return S3_NO_SUCH_BUCKET;
    if (err != S3_NO_SUCH_BUCKET || api->s3->keys) return err;
    *makes = s3_bucket_name_valid(bucket);
    if (*makes) return S3_OK;
    /* What native keys have made a bucket of need not have a bucket's name. */
    return s3_bucket_holds_keys(api, bucket) == S3_OK ? S3_OK : S3_INVALID_BUCKET_NAME;
}

enum s3_error s3_bucket_may_write(const struct mkv_api *api, struct mkv_slice bucket)
{
    bool makes;

    return look_for_write(api, bucket, &makes);
}

enum s3_error s3_bucket_for_write(const struct mkv_api *api, struct mkv_slice bucket)
{
    struct mkv_bucket record;
    enum mkv_err failed;
    bool makes;
    enum s3_error err = look_for_write(api, bucket, &makes);

    if (err || !makes) return err;
    fill_record(&record, api, bucket, mkv_slice(NULL, 0));
    failed = mkv_index_bucket_put(mkv_store_index(api->store), &record, NULL, NULL);
    return failed ? s3_error_of(failed) : S3_OK;
}

void s3_head_bucket(struct s3_call *c)
{
    struct s3_head h;

    s3_head_begin(&h, c);
    s3_head_add(&h, MKV_SLICE("x-amz-bucket-region"), mkv_slice_of(c->api->cfg->s3_region));
    s3_reply_head(c, 200, &h);
}

/* ---- create ---------------------------------------------------------------------- */

struct creation {
    struct s3_input input;
    struct s3_body *body; /* owned; NULL: none came */
    enum s3_error err;
    const char *why;
    bool queued;          /* the index owes us its callback */
    bool gone;            /* nobody waits any more          */
};

static void reply_created(struct s3_call *c)
{
    char location[S3_BUCKET_MAX + 1] = "/";
    struct s3_head h;

    memcpy(location + 1, c->bucket.data, c->bucket.len);
    s3_head_begin(&h, c);
    s3_head_add(&h, MKV_SLICE("Location"), mkv_slice(location, 1 + c->bucket.len));
    s3_reply_head(c, 200, &h);
}

static void clear_creation(struct s3_call *c)
{
    struct creation *n = c->state;

    s3_input_clear(&n->input);
    s3_body_close(n->body);
    free(n);
}

static void on_created(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct creation *n = c->state;

    if (n->gone)
        s3_call_end(c);
    else if (err)
        s3_reply_failure(c, err);
    else
        reply_created(c);
}

static void create(struct s3_call *c)
{
    struct creation *n = c->state;
    struct mkv_bucket record;
    enum s3_error err = s3_bucket_find(c->api, c->bucket, &record);
    enum mkv_err failed;

    if (!err) { /* again: fine for whoever made it, and where nobody did */
        bool own = !record.owner_len ||
                   mkv_slice_eq(mkv_slice(record.owner, record.owner_len), s3_asker(c));

        if (own || !c->checked)
            reply_created(c);
        else
            s3_reply_error(c, S3_BUCKET_ALREADY_EXISTS, NULL);
        return;
    }
    if (err == S3_NO_SUCH_BUCKET) err = S3_OK;
    if (!err && s3_is_dying(c->api->s3, c->bucket)) err = S3_OPERATION_ABORTED;
    if (!err && !s3_bucket_name_valid(c->bucket)) err = S3_INVALID_BUCKET_NAME;
    if (err) {
        s3_reply_error(c, err, NULL);
        return;
    }
    fill_record(&record, c->api, c->bucket, s3_asker(c));
    failed = mkv_index_bucket_put(mkv_store_index(c->api->store), &record, on_created, c);
    if (failed)
        s3_reply_failure(c, failed);
    else
        n->queued = true;
}

static void creation_sink(struct mkv_bytes piece, void *arg)
{
    struct creation *n = arg;

    if (!n->body && !n->err) n->err = s3_body_open(&n->body, S3_BODY_CREATE_BUCKET);
    if (!n->err) n->err = s3_body_add(n->body, (const char *)piece.data, piece.len);
}

static void creation_body(struct mkv_request *r, struct mkv_bytes piece)
{
    struct s3_call *c = r->state;
    struct creation *n = c->state;
    enum s3_error err = s3_input_add(&n->input, piece, creation_sink, n);

    if (!err) err = n->err;
    if (err) s3_reply_error(c, err, n->input.why);
}

static void creation_body_end(struct mkv_request *r)
{
    struct s3_call *c = r->state;
    struct creation *n = c->state;
    struct s3_body_result result;
    enum s3_error err = s3_input_end(&n->input, r->trailers, r->ntrailers);

    if (!err && n->body) err = s3_body_end(n->body, &result);
    if (err)
        s3_reply_error(c, err, n->input.why);
    else
        create(c); /* whatever region it wants: there is one place here */
}

static void creation_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct creation *n = c->state;

    (void)why;
    if (n->queued)
        n->gone = true; /* the bucket is made all the same */
    else
        s3_call_end(c);
}

/* What no bucket here can be must not be promised by silence. */
static enum s3_error check_creation(const struct s3_call *c, const char **why)
{
    struct mkv_slice lock = s3_header(c, "x-amz-bucket-object-lock-enabled");

    if (lock.data && !mkv_slice_ieq(lock, MKV_SLICE("false"))) {
        *why = "Object lock is not implemented.";
        return S3_NOT_IMPLEMENTED;
    }
    return s3_meta_check_headers(c->r->headers, c->r->nheaders, why);
}

void s3_create_bucket(struct s3_call *c)
{
    static const struct mkv_request_events events = {
        .body = creation_body, .body_end = creation_body_end, .gone = creation_gone};
    struct creation *n = calloc(1, sizeof(*n));
    const char *why = NULL;
    enum s3_error err = n ? check_creation(c, &why) : S3_INTERNAL_ERROR;

    if (!err) {
        err = s3_input_init(&n->input, c->r, &c->signature, c->checked, S3_INPUT_MD5_CHECKED);
        why = n->input.why;
    }
    if (err) {
        s3_reply_error(c, err, why);
        free(n);
        return;
    }
    c->state = n;
    c->clear = clear_creation;
    c->r->events = &events;
    c->r->transport->read_body(c->r, true);
}
