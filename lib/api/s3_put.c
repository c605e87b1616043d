/* PutObject: the body goes through its checks to the store, and its pace back. */
#include "api/s3_bucket.h"
#include "api/s3_handlers.h"
#include "api/s3_input.h"
#include "api/s3_meta.h"
#include "api/s3_server.h"
#include "api/s3_wait.h"
#include "api/s3_write.h"

#include <stdlib.h>

struct put {
    struct s3_input input;
    struct mkv_record fields;
    struct mkv_put *store;           /* owned until it calls back; NULL: not yet */
    struct s3_wait wait;             /* for the key, while another request writes it */
    struct s3_write write;
};

static void clear_put(struct s3_call *c)
{
    struct put *p = c->state;

    s3_wait_cancel(&p->wait);
    s3_input_clear(&p->input);
    mkv_record_clear(&p->fields);
    free(p);
}

/* ---- the store's questions and its answer ------------------------------------------ */

static enum mkv_err on_allow(const struct mkv_record *old, void *arg)
{
    struct s3_call *c = arg;
    struct put *p = c->state;

    return s3_write_allow(&p->write, c, old);
}

static enum mkv_err on_verify(struct mkv_record *stored, void *arg)
{
    struct s3_call *c = arg;
    struct put *p = c->state;
    enum s3_error err = S3_OK;

    if (p->input.check_md5 && memcmp(stored->md5, p->input.md5_want, MKV_MD5_LEN) != 0)
        err = S3_BAD_DIGEST;
    if (!err) err = s3_bucket_for_write(c->api, c->bucket);
    if (err) return s3_write_refuse(&p->write, err, NULL);
    return p->input.sum_is.kind ? s3_meta_set_checksum(stored, &p->input.sum_is) : MKV_OK;
}

static void on_ready(void *arg)
{
    struct s3_call *c = arg;

    c->r->transport->read_body(c->r, true);
}

static void on_stored(enum mkv_err err, const struct mkv_record *stored, void *arg)
{
    struct s3_call *c = arg;
    struct put *p = c->state;
    char etag[S3_ETAG_MAX];
    struct s3_head h;

    p->store = NULL;
    if (p->write.err) {
        s3_reply_error(c, p->write.err, p->write.why);
        return;
    }
    if (err) {
        s3_reply_failure(c, err);
        return;
    }
    s3_head_begin(&h, c);
    s3_head_etag(&h, mkv_slice(etag, s3_etag(stored, c->object, etag)));
    s3_meta_checksum_headers(stored, &h);
    s3_reply_head(c, 200, &h);
}

/* ---- the body ------------------------------------------------------------------------ */

static void sink(struct mkv_bytes piece, void *arg)
{
    struct put *p = arg;

    mkv_put_body(p->store, piece);
}

/* The body is not what it should be: the store takes back what it has, and then
 * the client hears why. */
static void body_is_bad(struct s3_call *c, enum s3_error err, const char *why)
{
    struct put *p = c->state;

    mkv_put_refuse(p->store, s3_write_refuse(&p->write, err, why));
    c->r->transport->read_body(c->r, false);
}

static void on_body(struct mkv_request *r, struct mkv_bytes piece)
{
    struct s3_call *c = r->state;
    struct put *p = c->state;
    enum s3_error err = p->write.err ? S3_OK : s3_input_add(&p->input, piece, sink, p);

    if (err)
        body_is_bad(c, err, p->input.why);
    else if (mkv_put_full(p->store))
        r->transport->read_body(r, false);
}

/* Of a body that nobody has to look at. */
static void on_piped(struct mkv_request *r, struct mkv_pipe *pipe)
{
    struct s3_call *c = r->state;
    struct put *p = c->state;
    enum s3_error err = p->write.err ? S3_OK : s3_input_skip(&p->input, mkv_pipe_len(pipe));

    if (!err) mkv_put_piped(p->store, pipe);
    if (err)
        body_is_bad(c, err, p->input.why);
    else if (mkv_put_full(p->store))
        r->transport->read_body(r, false);
}

static void on_body_end(struct mkv_request *r)
{
    struct s3_call *c = r->state;
    struct put *p = c->state;
    enum s3_error err = p->write.err ? S3_OK : s3_input_end(&p->input, r->trailers, r->ntrailers);

    if (err)
        body_is_bad(c, err, p->input.why);
    else
        mkv_put_end(p->store);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct put *p = c->state;

    (void)why;
    s3_wait_cancel(&p->wait);
    if (p->store) mkv_put_cancel(p->store);
    s3_call_end(c);
}

/* ---- the beginning -------------------------------------------------------------------- */

static void start(void *arg)
{
    static const struct mkv_put_events events = {.ready = on_ready,
                                                 .drained = on_ready,
                                                 .done = on_stored,
                                                 .allow = on_allow,
                                                 .verify = on_verify};
    struct s3_call *c = arg;
    struct put *p = c->state;
    const struct mkv_put_options opt = {.key = c->object,
                                        .length = p->input.length,
                                        .replace = true,
                                        .allow_empty = true,
                                        .md5 = true,
                                        .fields = &p->fields};
    enum mkv_err err = mkv_put_start(&p->store, c->api->store, &opt, &events, c);

    if (!err) return;
    p->store = NULL;
    if (p->write.err)
        s3_reply_error(c, p->write.err, p->write.why);
    else if (err == MKV_EBUSY && p->write.conditional)
        s3_reply_error(c, S3_CONDITIONAL_REQUEST_CONFLICT, NULL);
    else if (err != MKV_EBUSY || !s3_wait(&p->wait, c->api, c->r, start, c))
        s3_reply_failure(c, err);
}

void s3_put_object(struct s3_call *c)
{
    static const struct mkv_request_events events = {
        .body = on_body, .body_end = on_body_end, .gone = on_gone};
    static const struct mkv_request_events plain = {
        .body = on_body, .piped = on_piped, .body_end = on_body_end, .gone = on_gone};
    struct put *p = calloc(1, sizeof(*p));
    const char *why = NULL;
    enum s3_error err;

    if (!p) {
        s3_reply_error(c, S3_INTERNAL_ERROR, NULL);
        return;
    }
    mkv_record_init(&p->fields);
    c->state = p;
    c->clear = clear_put;
    err = s3_input_init(&p->input, c->r, &c->signature, c->checked, S3_INPUT_MD5_ELSEWHERE);
    if (err) why = p->input.why;
    if (!err && !c->r->has_body && p->input.length < 0) err = S3_MISSING_CONTENT_LENGTH;
    if (!err) err = s3_write_conditions(&p->write, c->r->headers, c->r->nheaders);
    if (!err) err = s3_meta_of_headers(c->r->headers, c->r->nheaders, &p->fields, &why);
    if (!err) err = s3_bucket_may_write(c->api, c->bucket);
    if (err) {
        s3_reply_error(c, err, why);
        return;
    }
    c->r->events = s3_input_is_plain(&p->input) ? &plain : &events;
    start(c);
}
