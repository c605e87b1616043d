#include "api/s3_complete_request.h"

#include "api/s3_text.h"

#include <stdlib.h>

/* ---- the head ------------------------------------------------------------------------------ */

static struct mkv_slice keep(char **at, struct mkv_slice value)
{
    struct mkv_slice kept = mkv_slice(value.data ? *at : NULL, value.len);

    if (value.len) memcpy(*at, value.data, value.len);
    *at += value.len;
    return kept;
}

/* They are compared after the head has gone. */
static enum s3_error keep_headers(struct s3_complete_request *q, const struct s3_call *c)
{
    struct mkv_slice type = s3_header(c, "x-amz-checksum-type"), host = s3_header(c, "host");
    struct s3_conditions found;
    char *at;

    if (!s3_conditions_find(c->r->headers, c->r->nheaders, false, &found))
        return S3_INVALID_REQUEST;
    q->text = at = malloc(found.if_match.len + found.if_none_match.len +
                          found.if_unmodified_since.len + type.len + host.len + c->r->path.len + 1);
    if (!at) return S3_INTERNAL_ERROR;
    q->conditions.if_match = keep(&at, found.if_match);
    q->conditions.if_none_match = keep(&at, found.if_none_match);
    q->conditions.if_unmodified_since = keep(&at, found.if_unmodified_since);
    q->type = keep(&at, type);
    q->host = keep(&at, host);
    q->path = keep(&at, c->r->path);
    return S3_OK;
}

static enum s3_error read_size(struct s3_complete_request *q, const struct s3_call *c,
                               const char **why)
{
    struct mkv_slice text = s3_header(c, "x-amz-mp-object-size");
    unsigned long long size;

    q->size = -1;
    if (!text.data) return S3_OK;
    if (!mkv_slice_number(text, INT64_MAX, &size)) {
        *why = "x-amz-mp-object-size is not a number.";
        return S3_INVALID_ARGUMENT;
    }
    q->size = (int64_t)size;
    return S3_OK;
}

/* The checksum headers are about the object, not about the XML: they are taken
 * out before the body's own are looked for. */
static enum s3_error read_sums(struct s3_complete_request *q, const struct s3_call *c,
                               const char **why)
{
    struct mkv_header others[HTTP1_HEADERS_MAX];
    struct mkv_request bare = *c->r;
    enum s3_checksum kind;
    size_t n = 0;
    enum s3_error err;

    for (size_t i = 0; i < c->r->nheaders; i++) {
        const struct mkv_header *h = &c->r->headers[i];

        if (!s3_checksum_by_header(h->name, &kind)) {
            if (n < HTTP1_HEADERS_MAX) others[n++] = *h;
        } else if (q->sum.kind || !s3_checksum_parse(kind, h->value, &q->sum)) {
            *why = "There may be one x-amz-checksum- header, and its value must be a checksum.";
            return S3_INVALID_REQUEST;
        }
    }
    bare.headers = others;
    bare.nheaders = n;
    err = s3_input_init(&q->input, &bare, &c->signature, c->checked, S3_INPUT_MD5_CHECKED);
    if (err) *why = q->input.why;
    return err;
}

enum s3_error s3_complete_request_init(struct s3_complete_request *q, const struct s3_call *c,
                                       const char **why)
{
    enum s3_error err = read_sums(q, c, why);

    if (!err) err = read_size(q, c, why);
    if (!err) err = keep_headers(q, c);
    return err ? err : s3_body_open(&q->body, S3_BODY_COMPLETE);
}

void s3_complete_request_clear(struct s3_complete_request *q)
{
    s3_input_clear(&q->input);
    s3_complete_request_read(q);
    free(q->text);
}

void s3_complete_request_read(struct s3_complete_request *q)
{
    s3_body_close(q->body);
    q->body = NULL;
    memset(&q->named, 0, sizeof(q->named));
}

/* ---- the body ------------------------------------------------------------------------------ */

struct sink {
    struct s3_body *body;
    enum s3_error err;
};

static void sink(struct mkv_bytes piece, void *arg)
{
    struct sink *s = arg;

    if (!s->err) s->err = s3_body_add(s->body, (const char *)piece.data, piece.len);
}

enum s3_error s3_complete_request_add(struct s3_complete_request *q, struct mkv_bytes piece)
{
    struct sink to = {q->body, S3_OK};
    enum s3_error err = s3_input_add(&q->input, piece, sink, &to);

    return err ? err : to.err;
}

enum s3_error s3_complete_request_end(struct s3_complete_request *q, const struct mkv_request *r)
{
    enum s3_error err = s3_input_end(&q->input, r->trailers, r->ntrailers);

    if (!err) err = s3_body_end(q->body, &q->named);
    if (!err) err = s3_plan_check_order(q->named.parts, q->named.n);
    if (!err && !s3_plan_etag(q->named.parts, q->named.n, q->etag)) err = S3_INVALID_PART;
    return err;
}

/* ---- what it should be --------------------------------------------------------------------- */

enum s3_error s3_complete_check(const struct s3_complete_request *q, const struct s3_plan *plan,
                                const char **why)
{
    struct s3_checksum_value sum = q->sum;

    if (q->size >= 0 && (uint64_t)q->size != plan->size)
        *why = "The parts do not add up to x-amz-mp-object-size.";
    else if (q->type.data && !mkv_slice_eq(q->type, s3_upload_sum_type(plan->wanted)))
        *why = "x-amz-checksum-type is not the one that the upload was created with.";
    else if (sum.kind && sum.kind != plan->wanted.kind)
        *why = "The checksum is not of the algorithm that the upload was created with.";
    if (*why) return S3_INVALID_REQUEST;
    if (!sum.kind) return S3_OK;
    if (!sum.parts) sum.parts = plan->sum.parts; /* "-N" may be left out */
    if (s3_checksum_equal(&sum, &plan->sum)) return S3_OK;
    *why = "The x-amz-checksum you sent is not that of the object.";
    return S3_BAD_DIGEST;
}

void s3_complete_location(const struct s3_complete_request *q, struct s3_xml *x)
{
    static const struct mkv_slice scheme = {"http://", 7};
    size_t before = q->host.len ? scheme.len + q->host.len : 0;
    char *url = malloc(before + q->path.len + 1);

    if (!url) {
        x->failed = true;
        return;
    }
    if (before) {
        memcpy(url, scheme.data, scheme.len);
        memcpy(url + scheme.len, q->host.data, q->host.len);
    }
    memcpy(url + before, q->path.data, q->path.len);
    s3_xml_text(x, "Location", mkv_slice(url, before + q->path.len));
    free(url);
}
