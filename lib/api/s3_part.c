/* UploadPart: the body goes through its checks into the spool, and its pace back. */
#include "api/s3_handlers.h"
#include "api/s3_input.h"
#include "api/s3_meta.h"
#include "api/s3_part_file.h"

#include <stdlib.h>

struct upload_part {
    struct s3_input input;
    struct s3_part_file file;
    bool gone; /* nobody waits any more */
};

static void clear_part(struct s3_call *c)
{
    struct upload_part *p = c->state;

    s3_input_clear(&p->input);
    s3_part_clear(&p->file);
    free(p);
}

static void reply_stored(struct s3_call *c)
{
    struct upload_part *p = c->state;
    const struct s3_checksum_value *sum = &p->input.sum_is;
    char etag[2 * MKV_MD5_LEN + 1], text[S3_CHECKSUM_TEXT_MAX];
    struct s3_head h;

    mkv_hex(etag, p->input.md5_is, MKV_MD5_LEN);
    s3_head_begin(&h, c);
    s3_head_etag(&h, mkv_slice_of(etag));
    if (sum->kind)
        s3_head_add(&h, s3_checksum_header(sum->kind),
                    mkv_slice(text, s3_checksum_text(sum, text)));
    s3_reply_head(c, 200, &h);
}

static void on_done(enum s3_error err, void *arg)
{
    struct s3_call *c = arg;
    struct upload_part *p = c->state;

    if (p->gone)
        s3_call_end(c);
    else if (err)
        s3_reply_error(c, err, NULL);
    else
        reply_stored(c);
}

static void on_drained(void *arg)
{
    struct s3_call *c = arg;

    c->r->transport->read_body(c->r, true);
}

/* ---- the body ------------------------------------------------------------------------------ */

static void sink(struct mkv_bytes piece, void *arg)
{
    s3_part_add(arg, piece);
}

static void refuse(struct s3_call *c, enum s3_error err, const char *why)
{
    struct upload_part *p = c->state;

    s3_part_cancel(&p->file);
    s3_reply_error(c, err, why);
}

static void on_body(struct mkv_request *r, struct mkv_bytes piece)
{
    struct s3_call *c = r->state;
    struct upload_part *p = c->state;
    enum s3_error err = s3_input_add(&p->input, piece, sink, &p->file);

    if (!err && p->input.received > S3_PART_MAX) err = S3_ENTITY_TOO_LARGE;
    if (err)
        refuse(c, err, p->input.why);
    else if (s3_part_full(&p->file))
        r->transport->read_body(r, false);
}

static void on_body_end(struct mkv_request *r)
{
    struct s3_call *c = r->state;
    struct upload_part *p = c->state;
    enum s3_error err = s3_input_end(&p->input, r->trailers, r->ntrailers);

    if (!err) err = s3_part_end(&p->file, p->input.md5_is, &p->input.sum_is);
    if (err) refuse(c, err, p->input.why);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct upload_part *p = c->state;

    (void)why;
    p->gone = true;
    if (s3_part_cancel(&p->file)) s3_call_end(c);
}

/* ---- the beginning ------------------------------------------------------------------------- */

/* The upload's checksum is taken of each part, sent or not. */
static enum s3_error choose_sum(struct upload_part *p, const char **why)
{
    enum s3_checksum wanted = p->file.sum.kind, sent = p->input.sum.kind;

    if (!wanted || sent == wanted) return S3_OK;
    if (!sent) return s3_sum_init(&p->input.sum, wanted) ? S3_INTERNAL_ERROR : S3_OK;
    *why = "The part's checksum is not of the algorithm that the upload was created with.";
    return S3_INVALID_REQUEST;
}

static enum s3_error prepare(struct s3_call *c, struct upload_part *p, const char **why)
{
    static const struct s3_part_events events = {.drained = on_drained, .done = on_done};
    enum s3_error err =
        s3_input_init(&p->input, c->r, &c->signature, c->checked, S3_INPUT_MD5_TAKEN);

    if (err) {
        *why = p->input.why;
        return err;
    }
    if (!c->r->has_body && p->input.length < 0) return S3_MISSING_CONTENT_LENGTH;
    if (p->input.length > S3_PART_MAX) return S3_ENTITY_TOO_LARGE;
    err = s3_part_find(&p->file, c, why);
    if (!err) err = choose_sum(p, why);
    return err ? err : s3_part_open(&p->file, &events, c);
}

void s3_upload_part(struct s3_call *c)
{
    static const struct mkv_request_events events = {
        .body = on_body, .body_end = on_body_end, .gone = on_gone};
    struct upload_part *p = calloc(1, sizeof(*p));
    enum s3_error err = S3_INTERNAL_ERROR;
    const char *why = NULL;

    if (p) {
        s3_part_init(&p->file);
        c->state = p;
        c->clear = clear_part;
        err = prepare(c, p, &why);
    }
    if (err) {
        s3_reply_error(c, err, why);
        return;
    }
    c->r->events = &events;
    c->r->transport->read_body(c->r, true);
}
