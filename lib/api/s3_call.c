/* Answers, and questions that handlers ask of their request. */
#include "api/s3_call.h"

#include "api/s3_server.h"
#include "mkv/log.h"
#include "mkv/uri.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the end ------------------------------------------------------------------- */

static void destroy(void *arg)
{
    struct s3_call *c = arg;

    if (c->clear) c->clear(c);
    free(c);
}

void s3_call_end(struct s3_call *c)
{
    c->r = NULL;
    mkv_loop_retire(c->api->loop, &c->retired, destroy, c);
}

/* ---- answers ------------------------------------------------------------------- */

void s3_head_begin(struct s3_head *h, const struct s3_call *c)
{
    s3_head_init(h);
    s3_head_add(h, MKV_SLICE("x-amz-request-id"), mkv_slice(c->id, S3_REQUEST_ID_LEN));
}

static void reply(struct s3_call *c, int status, const struct mkv_header *h, size_t n,
                  struct mkv_slice body)
{
    c->r->transport->reply(c->r, status, h, n, body);
    s3_call_end(c);
}

void s3_reply_head(struct s3_call *c, int status, const struct s3_head *h)
{
    reply(c, status, h->h, h->n, mkv_slice(NULL, 0));
}

void s3_reply_empty(struct s3_call *c, int status)
{
    const struct mkv_header id = {MKV_SLICE("x-amz-request-id"), {c->id, S3_REQUEST_ID_LEN}};

    reply(c, status, &id, 1, mkv_slice(NULL, 0));
}

void s3_reply_xml(struct s3_call *c, int status, const struct s3_head *h, struct s3_xml *x)
{
    struct mkv_header lines[S3_HEAD_LINES + 1];
    size_t n = 0, len;
    char *body = s3_xml_take(x, &len);

    if (!body) {
        s3_reply_error(c, S3_INTERNAL_ERROR, "There was no memory for the answer.");
        return;
    }
    lines[n++] = (struct mkv_header){MKV_SLICE("Content-Type"), MKV_SLICE("application/xml")};
    if (h) {
        memcpy(lines + n, h->h, h->n * sizeof(h->h[0]));
        n += h->n;
    } else {
        lines[n++] =
            (struct mkv_header){MKV_SLICE("x-amz-request-id"), {c->id, S3_REQUEST_ID_LEN}};
    }
    reply(c, status, lines, n, mkv_slice(body, len));
    free(body);
}

void s3_who_xml(struct s3_xml *x, const struct s3_call *c)
{
    struct mkv_slice who = c->checked ? s3_asker(c) : MKV_SLICE("mkv");

    s3_xml_text(x, "ID", who);
    s3_xml_text(x, "DisplayName", who);
}

/* ---- errors -------------------------------------------------------------------- */

#define ERROR_MAX (32 * 1024) /* a path of 1,024 bytes, each of them escaped */

void s3_error_xml(struct s3_xml *x, const struct s3_call *c, enum s3_error err, const char *why)
{
    s3_xml_text(x, "Code", mkv_slice_of(s3_error_code(err)));
    s3_xml_text(x, "Message", mkv_slice_of(why ? why : s3_error_message(err)));
    if (c->bucket.len) s3_xml_text(x, "BucketName", c->bucket);
    if (c->key.len) s3_xml_text(x, "Key", c->key);
    s3_xml_text(x, "Resource", c->object.len ? c->object : MKV_SLICE("/"));
    s3_xml_text(x, "RequestId", mkv_slice(c->id, S3_REQUEST_ID_LEN));
}

void s3_reply_error(struct s3_call *c, enum s3_error err, const char *why)
{
    s3_reply_error_with(c, err, why, NULL);
}

void s3_reply_error_with(struct s3_call *c, enum s3_error err, const char *why,
                         const struct mkv_header *more)
{
    const char *text = why ? why : s3_error_message(err);
    struct mkv_header h[4];
    struct s3_xml x;
    size_t n = 0, len;
    char *body;

    if (s3_error_http(err) == 500) mkv_log_about(MKV_LOG_WARN, c->r->id, "s3: %s", text);
    s3_xml_init(&x, ERROR_MAX);
    s3_xml_raw(&x, MKV_SLICE("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>"));
    s3_error_xml(&x, c, err, why);
    s3_xml_raw(&x, MKV_SLICE("</Error>"));
    body = c->is_head || err == S3_NOT_MODIFIED ? NULL : s3_xml_take(&x, &len);
    if (!body) len = 0;
    s3_xml_clear(&x);
    h[n++] = (struct mkv_header){MKV_SLICE("x-amz-request-id"), {c->id, S3_REQUEST_ID_LEN}};
    if (body)
        h[n++] = (struct mkv_header){MKV_SLICE("Content-Type"), MKV_SLICE("application/xml")};
    if (more) h[n++] = *more;
    if (s3_error_http(err) == 503)
        h[n++] = (struct mkv_header){MKV_SLICE("Retry-After"), MKV_SLICE("1")};
    reply(c, s3_error_http(err), h, n, mkv_slice(body, len));
    free(body);
}

enum s3_error s3_error_of(enum mkv_err err)
{
    switch (err) {
    case MKV_OK: return S3_OK;
    case MKV_ENOKEY: return S3_NO_SUCH_KEY;
    case MKV_EPROTECTED: return S3_ACCESS_DENIED;
    case MKV_EBUSY: return S3_SLOW_DOWN; /* which clients try again */
    case MKV_EKEYLONG: return S3_KEY_TOO_LONG;
    case MKV_EKEYNUL:
    case MKV_EKEYUTF8: return S3_INVALID_URI;
    case MKV_ECANNOTASK:
    case MKV_ETOOFEW:
    case MKV_ESHUTDOWN: return S3_SERVICE_UNAVAILABLE;
    case MKV_ENOSPACE: return S3_INSUFFICIENT_STORAGE;
    case MKV_ECLIENT: return S3_INCOMPLETE_BODY;
    default: return S3_INTERNAL_ERROR;
    }
}

const char *s3_failure_text(enum mkv_err err)
{
    /* AWS's words where they fit; else ours, which say what is wrong here. */
    bool ours = err == MKV_EKEYNUL || err == MKV_EKEYUTF8 ||
                err == MKV_EPROTECTED || err == MKV_EBUSY || err == MKV_ENOSPACE ||
                s3_error_of(err) == S3_INTERNAL_ERROR;

    return ours ? mkv_strerror(err) : NULL;
}

void s3_reply_failure(struct s3_call *c, enum mkv_err err)
{
    s3_reply_error(c, s3_error_of(err), s3_failure_text(err));
}

/* ---- questions ----------------------------------------------------------------- */

bool s3_param(const struct s3_call *c, const char *name, struct mkv_slice *value)
{
    struct mkv_slice rest = c->r->has_query ? c->r->query : mkv_slice(NULL, 0), found;

    while (mkv_query_next(&rest, &found, value))
        if (mkv_slice_eq(found, mkv_slice_of(name))) return true;
    return false;
}

bool s3_param_text(const struct s3_call *c, const char *name, char *out, size_t size,
                   size_t *out_len)
{
    struct mkv_slice value;
    char *decoded;
    bool ok;

    *out_len = 0;
    if (!s3_param(c, name, &value) || !value.len) return true;
    decoded = malloc(value.len); /* encoded it may be three times as long as it may be decoded */
    ok = decoded && mkv_percent_decode(value, true, decoded, out_len) && *out_len <= size;
    if (ok) memcpy(out, decoded, *out_len);
    free(decoded);
    return ok;
}

struct mkv_slice s3_header(const struct s3_call *c, const char *name)
{
    struct mkv_slice value;

    return mkv_request_header(c->r, mkv_slice_of(name), &value) ? value : mkv_slice(NULL, 0);
}

bool s3_may(const struct s3_call *c, struct mkv_slice bucket, enum s3_wish wish)
{
    const struct s3_keys *keys = c->api->s3->keys;
    const struct s3_key *key;

    if (!keys) return true;
    key = s3_keys_find(keys, mkv_slice(c->signature.access, c->signature.access_len));
    return key && s3_keys_allow(key, bucket, wish);
}

bool s3_object_key(struct mkv_slice bucket, struct mkv_slice key, char out[MKV_KEY_MAX],
                   size_t *len)
{
    if (2 + bucket.len + key.len > MKV_KEY_MAX) return false;
    out[0] = '/';
    memcpy(out + 1, bucket.data, bucket.len);
    out[1 + bucket.len] = '/';
    if (key.len) memcpy(out + 2 + bucket.len, key.data, key.len);
    *len = 2 + bucket.len + key.len;
    return true;
}

struct mkv_slice s3_asker(const struct s3_call *c)
{
    return c->checked ? mkv_slice(c->signature.access, c->signature.access_len)
                      : mkv_slice(NULL, 0);
}
