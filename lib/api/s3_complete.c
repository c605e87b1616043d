/* CompleteMultipartUpload: the parts become one value, which is then all there
 * is.  From the moment when the parts are looked up it goes on to its end, with
 * or without a client. */
#include "api/s3_bucket.h"
#include "api/s3_complete_request.h"
#include "api/s3_feed.h"
#include "api/s3_handlers.h"
#include "api/s3_slow.h"
#include "api/s3_wait.h"
#include "api/s3_write.h"
#include "mkv/log.h"

#include <event2/event.h>
#include <stdlib.h>

#define LOOK_SLICE 500 /* parts looked up in one turn */

enum complete_step {
    COMPLETE_READ,   /* the request's XML arrives                                      */
    COMPLETE_WAIT,   /* somebody else is ending this upload                            */
    COMPLETE_LOOK,   /* index: one part after the other, in slices                     */
    COMPLETE_START,  /* the store takes the key, which another request may be writing  */
    COMPLETE_STREAM, /* the parts flow from the spool to the replicas                  */
    COMPLETE_FORGET, /* index: the object is there, the upload goes                    */
    COMPLETE_DONE    /* the client has been told, if there still is one                */
};

struct completion {
    enum complete_step step;
    struct s3_complete_request request;
    struct mkv_upload upload;
    struct s3_plan plan;
    struct s3_ending ending;  /* on the list from LOOK to DONE         */
    bool is_ending;
    struct s3_feed feed;
    struct mkv_put *put;      /* owned until it calls back             */
    struct event turn;        /* the next slice, or the next look      */
    struct s3_wait wait;      /* for the key                           */
    struct s3_slow slow;
    struct s3_write write;
    bool gone;                /* nobody waits any more                 */
};

static void complete_go(struct s3_call *c, enum complete_step next);

static struct mkv_slice id_of(const struct completion *m)
{
    return mkv_slice((const char *)m->upload.id, MKV_UPLOAD_ID_LEN);
}

static void clear_completion(struct s3_call *c)
{
    struct completion *m = c->state;

    event_del(&m->turn);
    s3_wait_cancel(&m->wait);
    s3_complete_request_clear(&m->request);
    s3_plan_clear(&m->plan);
    mkv_record_clear(&m->upload.what);
    free(m);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void reply_completed(struct s3_call *c, const struct s3_checksum_value *sum)
{
    struct completion *m = c->state;
    char text[S3_CHECKSUM_TEXT_MAX];
    struct s3_xml x;

    s3_xml_init(&x, 64 * 1024);
    s3_slow_root(&m->slow, &x, "CompleteMultipartUploadResult");
    s3_complete_location(&m->request, &x);
    s3_xml_text(&x, "Bucket", c->bucket);
    s3_xml_text(&x, "Key", c->key);
    s3_xml_etag(&x, "ETag", mkv_slice_of(m->request.etag));
    if (sum->kind) {
        s3_xml_text(&x, s3_checksum_element(sum->kind).data,
                    mkv_slice(text, s3_checksum_text(sum, text)));
        s3_xml_text(&x, "ChecksumType",
                    sum->parts ? MKV_SLICE("COMPOSITE") : MKV_SLICE("FULL_OBJECT"));
    }
    s3_xml_close(&x, "CompleteMultipartUploadResult");
    s3_slow_reply(&m->slow, c, &x);
}

static void stop_ending(struct completion *m)
{
    if (m->is_ending) s3_ending_end(&m->ending);
    m->is_ending = false;
}

static void succeed(struct s3_call *c, const struct s3_checksum_value *sum)
{
    struct completion *m = c->state;

    complete_go(c, COMPLETE_DONE);
    if (m->gone)
        s3_call_end(c);
    else
        reply_completed(c, sum);
}

/* For the log: a key may hold line breaks. */
static const char *show_object(const struct s3_call *c, char *out, size_t size)
{
    return mkv_log_bytes(out, size, c->object.data, c->object.len);
}

static void fail(struct s3_call *c, enum s3_error err, const char *why)
{
    struct completion *m = c->state;
    char shown[512];

    mkv_log_info("s3: completing %s: %s", show_object(c, shown, sizeof(shown)), s3_error_code(err));
    complete_go(c, COMPLETE_DONE);
    if (m->gone)
        s3_call_end(c);
    else
        s3_slow_error(&m->slow, c, err, why);
}

static void fail_store(struct s3_call *c, enum mkv_err err)
{
    struct completion *m = c->state;

    if (m->write.err)
        fail(c, m->write.err, m->write.why);
    else
        fail(c, s3_error_of(err), s3_error_of(err) == S3_INTERNAL_ERROR ? mkv_strerror(err) : NULL);
}

/* ---- forget -------------------------------------------------------------------------------- */

/* Where that fails the object is there all the same, and the upload expires. */
static void on_forgotten(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct completion *m = c->state;
    char shown[512];

    if (err)
        mkv_log_warn("s3: an upload of %s stays behind: %s", show_object(c, shown, sizeof(shown)),
                     mkv_strerror(err));
    else
        mkv_spool_remove(mkv_store_spool(c->api->store), m->upload.id);
    succeed(c, &m->plan.sum);
}

static void enter_forget(struct s3_call *c)
{
    struct completion *m = c->state;
    enum mkv_err err;

    m->ending.drop = NULL; /* from here on the index calls back in any case */
    err = mkv_index_upload_remove(mkv_store_index(c->api->store), c->object, m->upload.id,
                                  on_forgotten, c);
    if (err) on_forgotten(err, c);
}

/* ---- stream -------------------------------------------------------------------------------- */

static void on_piece(struct mkv_bytes piece, void *arg)
{
    struct completion *m = ((struct s3_call *)arg)->state;

    mkv_put_body(m->put, piece);
    if (mkv_put_full(m->put)) s3_feed_pause(&m->feed, true);
}

static void on_fed(enum mkv_err err, void *arg)
{
    struct completion *m = ((struct s3_call *)arg)->state;

    if (err)
        mkv_put_refuse(m->put,
                       s3_write_refuse(&m->write, s3_error_of(err), "A part can not be read."));
    else
        mkv_put_end(m->put);
}

static void on_ready(void *arg)
{
    complete_go(arg, COMPLETE_STREAM);
}

static void enter_stream(struct s3_call *c)
{
    static const struct s3_feed_events events = {.body = on_piece, .done = on_fed};
    struct completion *m = c->state;
    enum mkv_err err = s3_feed_start(&m->feed, mkv_store_spool(c->api->store), m->upload.id,
                                     &m->plan, &events, c);

    if (err) mkv_put_refuse(m->put, s3_write_refuse(&m->write, s3_error_of(err), NULL));
}

static void on_drained(void *arg)
{
    struct completion *m = ((struct s3_call *)arg)->state;

    s3_feed_pause(&m->feed, false);
}

static enum mkv_err on_allow(const struct mkv_record *old, void *arg)
{
    struct s3_call *c = arg;
    struct completion *m = c->state;

    return s3_write_allow(&m->write, c, old);
}

/* The bucket may have gone while the parts were on their way. */
static enum s3_error check_bucket(const struct s3_call *c)
{
    if (s3_is_dying(c->api->s3, c->bucket)) return S3_NO_SUCH_BUCKET;
    return s3_bucket_check(c->api, c->bucket);
}

static enum mkv_err on_verify(struct mkv_record *stored, void *arg)
{
    struct s3_call *c = arg;
    struct completion *m = c->state;
    enum s3_error err = check_bucket(c);

    enum mkv_err failed;

    if (err) return s3_write_refuse(&m->write, err, NULL);
    failed = mkv_record_set_field(stored, MKV_FIELD_UPLOAD_ID, id_of(m));
    return failed ? failed : s3_plan_fields(&m->plan, m->request.etag, stored);
}

static void on_stored(enum mkv_err err, const struct mkv_record *stored, void *arg)
{
    struct s3_call *c = arg;
    struct completion *m = c->state;

    (void)stored;
    m->put = NULL;
    s3_feed_cancel(&m->feed);
    if (err)
        fail_store(c, err);
    else
        complete_go(c, COMPLETE_FORGET);
}

/* ---- start --------------------------------------------------------------------------------- */

/* A conditional one does not wait for a busy key, so that what it compares is
 * still there. */
static void start(void *arg)
{
    static const struct mkv_put_events events = {.ready = on_ready,
                                                 .drained = on_drained,
                                                 .done = on_stored,
                                                 .allow = on_allow,
                                                 .verify = on_verify};
    struct s3_call *c = arg;
    struct completion *m = c->state;
    const struct mkv_put_options opt = {.key = c->object,
                                        .length = (int64_t)m->plan.size,
                                        .replace = true,
                                        .allow_empty = true,
                                        .fields = &m->upload.what};
    enum mkv_err err = mkv_put_start(&m->put, c->api->store, &opt, &events, c);

    if (!err) return;
    m->put = NULL;
    if (err == MKV_EBUSY && m->write.conditional)
        fail(c, S3_CONDITIONAL_REQUEST_CONFLICT, NULL);
    else if (err != MKV_EBUSY || !s3_wait(&m->wait, c->api, NULL, start, c))
        fail_store(c, err);
}

static void enter_start(struct s3_call *c)
{
    struct completion *m = c->state;

    if (!m->gone) s3_slow_start(&m->slow, c, S3_SLOW_FIRST_MS);
    start(c);
}

/* ---- look ---------------------------------------------------------------------------------- */

static bool field_is(const struct mkv_record *rec, enum mkv_field field, struct mkv_slice wanted)
{
    struct mkv_slice value;

    return mkv_record_field(rec, field, &value) && mkv_slice_eq(value, wanted);
}

/* The same Complete again: the object is what this upload made.  *sum: its
 * checksum. */
static bool is_made(struct s3_call *c, struct s3_checksum_value *sum)
{
    struct completion *m = c->state;
    struct mkv_record rec;
    bool made;

    mkv_record_init(&rec);
    made = !mkv_index_get(mkv_store_index(c->api->store), c->object, &rec, NULL, NULL) &&
           rec.state == MKV_LIVE && field_is(&rec, MKV_FIELD_UPLOAD_ID, id_of(m)) &&
           field_is(&rec, MKV_FIELD_MULTIPART_ETAG, mkv_slice_of(m->request.etag));
    s3_meta_checksum(&rec, sum);
    mkv_record_clear(&rec);
    return made;
}

static enum s3_error look_up(struct s3_call *c, const struct s3_body_part *named)
{
    struct completion *m = c->state;
    struct mkv_part part = {.number = 0};
    enum s3_error err;
    enum mkv_err failed;

    mkv_record_init(&part.what);
    failed = mkv_index_part_get(mkv_store_index(c->api->store), m->upload.id, named->number, &part);
    if (failed && failed != MKV_ENOKEY)
        err = S3_INTERNAL_ERROR;
    else
        err = s3_plan_add(&m->plan, named, failed ? NULL : &part);
    mkv_record_clear(&part.what);
    return err;
}

static void look(struct s3_call *c)
{
    static const struct timeval at_once = {0, 0};
    struct completion *m = c->state;
    const struct s3_body_result *named = &m->request.named;
    enum s3_error err = S3_OK;

    for (size_t i = 0; i < LOOK_SLICE && !err && m->plan.n < named->n; i++)
        err = look_up(c, &named->parts[m->plan.n]);
    if (!err && m->plan.n < named->n) {
        event_add(&m->turn, &at_once);
        return;
    }
    if (!err) {
        s3_plan_end(&m->plan);
        err = s3_complete_check(&m->request, &m->plan, &m->write.why);
    }
    if (err) {
        fail(c, err, m->write.why);
        return;
    }
    s3_complete_request_read(&m->request);
    complete_go(c, COMPLETE_START);
}

/* The server stops, and nobody waits: the upload stays as it is. */
static void drop(void *arg)
{
    struct s3_call *c = arg;
    struct completion *m = c->state;

    s3_slow_stop(&m->slow);
    s3_feed_cancel(&m->feed);
    if (m->put) mkv_put_cancel(m->put);
    stop_ending(m);
    s3_call_end(c);
}

static void enter_look(struct s3_call *c)
{
    struct completion *m = c->state;
    struct s3_checksum_value sum;
    enum s3_error err = check_bucket(c);
    bool made = !err && is_made(c, &sum);

    if (!err) err = s3_upload_get(c, m->upload.id, &m->upload);
    if (made && err == S3_NO_SUCH_UPLOAD) {
        succeed(c, &sum);
        return;
    }
    if (!err && made) {
        /* The master was stopped between the object's commit and the upload's. */
        m->plan.sum = sum;
        s3_ending_begin(&m->ending, c->api->s3, m->upload.id, drop, c);
        m->is_ending = true;
        complete_go(c, COMPLETE_FORGET);
        return;
    }
    if (!err) err = s3_plan_open(&m->plan, m->request.named.n, s3_upload_sum(&m->upload.what));
    if (err) {
        fail(c, err, NULL);
        return;
    }
    s3_ending_begin(&m->ending, c->api->s3, m->upload.id, drop, c);
    m->is_ending = true;
    look(c);
}

/* ---- wait ---------------------------------------------------------------------------------- */

static void enter_wait(struct s3_call *c)
{
    static const struct timeval soon = {0, S3_WAIT_EACH_MS * 1000};
    struct completion *m = c->state;

    if (!s3_upload_is_ending(c->api->s3, m->upload.id)) {
        complete_go(c, COMPLETE_LOOK);
        return;
    }
    s3_slow_start(&m->slow, c, S3_SLOW_FIRST_MS);
    event_add(&m->turn, &soon);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct s3_call *c = arg;
    struct completion *m = c->state;

    (void)fd;
    (void)what;
    if (m->step == COMPLETE_WAIT)
        enter_wait(c);
    else
        look(c);
}

static void enter_done(struct s3_call *c)
{
    stop_ending(c->state);
}

static void complete_go(struct s3_call *c, enum complete_step next)
{
    static void (*const enter[])(struct s3_call *) = {
        [COMPLETE_WAIT] = enter_wait,     [COMPLETE_LOOK] = enter_look,
        [COMPLETE_START] = enter_start,   [COMPLETE_STREAM] = enter_stream,
        [COMPLETE_FORGET] = enter_forget, [COMPLETE_DONE] = enter_done};
    struct completion *m = c->state;

    m->step = next;
    enter[next](c);
}

/* ---- the request --------------------------------------------------------------------------- */

static void on_body(struct mkv_request *r, struct mkv_bytes piece)
{
    struct s3_call *c = r->state;
    struct completion *m = c->state;
    enum s3_error err = s3_complete_request_add(&m->request, piece);

    if (err) s3_reply_error(c, err, m->request.input.why);
}

static void on_body_end(struct mkv_request *r)
{
    struct s3_call *c = r->state;
    struct completion *m = c->state;
    enum s3_error err = s3_complete_request_end(&m->request, r);

    if (err)
        s3_reply_error(c, err, m->request.input.why);
    else
        complete_go(c, COMPLETE_WAIT);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct completion *m = c->state;

    (void)why;
    m->gone = true;
    s3_slow_stop(&m->slow);
    if (m->step != COMPLETE_READ && m->step != COMPLETE_WAIT) return;
    event_del(&m->turn);
    s3_call_end(c);
}

void s3_complete_upload(struct s3_call *c)
{
    static const struct mkv_request_events events = {
        .body = on_body, .body_end = on_body_end, .gone = on_gone};
    struct completion *m = calloc(1, sizeof(*m));
    enum s3_error err = S3_INTERNAL_ERROR;
    const char *why = NULL;

    if (m) {
        mkv_record_init(&m->upload.what);
        event_assign(&m->turn, mkv_loop_base(c->api->loop), -1, 0, on_turn, c);
        c->state = m;
        c->clear = clear_completion;
        err = s3_upload_id(c, m->upload.id);
        if (!err) err = s3_complete_request_init(&m->request, c, &why);
    }
    if (err) {
        s3_reply_error(c, err, why);
        return;
    }
    s3_write_take(&m->write, &m->request.conditions);
    c->r->events = &events;
    c->r->transport->read_body(c->r, true);
}
