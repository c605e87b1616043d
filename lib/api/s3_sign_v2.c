/* lib/api/s3_sign_v2.c - signature version 2: HMAC-SHA1 over method, a few
 * headers, the x-amz-... headers, and the path with its sub-resources. */
#include "api/s3_canonical.h"
#include "api/s3_sign_parts.h"
#include "api/s3_text.h"
#include "mkv/uri.h"

#include <openssl/crypto.h>
#include <stdlib.h>

/* Only these parameters are signed; in the order in which they are. */
static const char *const sub_resources[] = {
    "acl",
    "cors",
    "delete",
    "lifecycle",
    "location",
    "logging",
    "notification",
    "partNumber",
    "policy",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
};

struct text {
    char *data; /* owned */
    size_t len;
};

static void put(struct text *t, struct mkv_slice s)
{
    if (s.len) memcpy(t->data + t->len, s.data, s.len);
    t->len += s.len;
}

static void put_line(struct text *t, struct mkv_slice s)
{
    put(t, s);
    t->data[t->len++] = '\n';
}

/* ---- the x-amz-... headers ------------------------------------------------------ */

static bool is_amz(struct mkv_slice name)
{
    static const size_t prefix = sizeof("x-amz-") - 1;

    return name.len > prefix && mkv_slice_ieq(mkv_slice(name.data, prefix), MKV_SLICE("x-amz-"));
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* By lower-case name; lines of one name stay in the order they came in. */
static int by_name(const void *a, const void *b)
{
    const struct mkv_header *x = *(const struct mkv_header *const *)a;
    const struct mkv_header *y = *(const struct mkv_header *const *)b;
    size_t common = x->name.len < y->name.len ? x->name.len : y->name.len;

    for (size_t i = 0; i < common; i++) {
        int order = lower(x->name.data[i]) - lower(y->name.data[i]);

        if (order) return order;
    }
    if (x->name.len != y->name.len) return x->name.len < y->name.len ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* False where there are too many: one that is left out would not be signed. */
static bool put_amz_headers(struct text *t, const struct s3_sign_request *r)
{
    const struct mkv_header *amz[HTTP1_HEADERS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < r->nheaders; i++) {
        if (!is_amz(r->headers[i].name)) continue;
        if (n == HTTP1_HEADERS_MAX) return false;
        amz[n++] = &r->headers[i];
    }
    qsort(amz, n, sizeof(amz[0]), by_name);
    for (size_t i = 0; i < n; i++) {
        if (i && mkv_slice_ieq(amz[i]->name, amz[i - 1]->name)) {
            t->data[t->len - 1] = ','; /* instead of the end of the line */
        } else {
            for (size_t k = 0; k < amz[i]->name.len; k++)
                t->data[t->len++] = lower(amz[i]->name.data[k]);
            t->data[t->len++] = ':';
        }
        put_line(t, amz[i]->value);
    }
    return true;
}

/* ---- the resource ------------------------------------------------------------------ */

/* False where one is named twice, which would leave open which one was meant,
 * or can not be decoded. */
static bool put_sub_resources(struct text *t, struct mkv_slice query)
{
    char separator = '?';

    for (size_t i = 0; i < sizeof(sub_resources) / sizeof(sub_resources[0]); i++) {
        struct mkv_slice name = mkv_slice_of(sub_resources[i]), value;
        unsigned times = s3_sign_parameter(query, name, &value);
        size_t len;

        if (times == 0) continue;
        if (times > 1) return false;
        t->data[t->len++] = separator;
        separator = '&';
        put(t, name);
        if (!value.len) continue; /* "uploads" and "uploads=" are signed alike */
        t->data[t->len++] = '=';
        if (!mkv_percent_decode(value, true, t->data + t->len, &len)) return false;
        t->len += len;
    }
    return true;
}

/* date: what stands on the fourth line. */
static enum s3_error sign(const struct s3_sign_request *r, struct mkv_slice secret,
                          struct mkv_slice date, uint8_t signature[MKV_SHA1_LEN])
{
    size_t room = r->method.len + date.len + r->host_bucket.len + r->path.len + r->query.len + 8;
    struct text t = {NULL, 0};
    bool ok;

    for (size_t i = 0; i < r->nheaders; i++)
        room += r->headers[i].name.len + r->headers[i].value.len + 2;
    t.data = malloc(room);
    if (!t.data) return S3_INTERNAL_ERROR;
    put_line(&t, r->method);
    put_line(&t, s3_sign_header(r, MKV_SLICE("content-md5")));
    put_line(&t, s3_sign_header(r, MKV_SLICE("content-type")));
    put_line(&t, date);
    ok = put_amz_headers(&t, r);
    if (r->host_bucket.len) {
        put(&t, MKV_SLICE("/"));
        put(&t, r->host_bucket);
    }
    put(&t, r->path);
    ok = ok && put_sub_resources(&t, r->query);
    if (ok) mkv_hmac_sha1(secret, mkv_slice(t.data, t.len), signature);
    free(t.data);
    return ok ? S3_OK : S3_INVALID_REQUEST;
}

/* ---- the check ---------------------------------------------------------------------- */

static enum s3_error check(const struct s3_signer *signer, const struct s3_sign_request *r,
                           struct mkv_slice access, struct mkv_slice base64, struct mkv_slice date,
                           struct s3_signature *out)
{
    uint8_t sent[MKV_SHA1_LEN], computed[MKV_SHA1_LEN];
    struct mkv_slice secret;
    size_t len;
    enum s3_error err = s3_sign_payload(r, &out->payload, out->sha256);

    if (!err && out->payload >= S3_PAYLOAD_STREAMING &&
        out->payload != S3_PAYLOAD_STREAMING_UNSIGNED_TRAILER)
        return s3_sign_fail(out, S3_INVALID_ARGUMENT, "Signed chunks need signature version 4.");
    if (!err) err = s3_sign_secret(signer, access, out, &secret);
    if (!err) err = sign(r, secret, date, computed);
    if (err) return err;
    if (!s3_unbase64(base64, sent, sizeof(sent), &len) || len != sizeof(sent) ||
        CRYPTO_memcmp(sent, computed, sizeof(sent)) != 0)
        return S3_SIGNATURE_DOES_NOT_MATCH;
    return S3_OK;
}

enum s3_error s3_sign_v2_header(const struct s3_signer *signer, const struct s3_sign_request *r,
                                struct s3_signature *out)
{
    static const size_t prefix = sizeof("AWS ") - 1;
    struct mkv_slice value = s3_sign_header(r, MKV_SLICE("authorization"));
    struct mkv_slice amz_date = s3_sign_header(r, MKV_SLICE("x-amz-date"));
    struct mkv_slice date = s3_sign_header(r, MKV_SLICE("date"));
    struct mkv_slice shown = amz_date.data ? amz_date : date, access, signature;
    const char *colon = memchr(value.data, ':', value.len);
    int64_t when;

    if (!colon)
        return s3_sign_fail(out, S3_INVALID_ARGUMENT,
                            "Authorization must be AWS ACCESS:SIGNATURE.");
    access = mkv_slice(value.data + prefix, (size_t)(colon - value.data) - prefix);
    signature = mkv_slice(colon + 1, value.len - prefix - access.len - 1);
    if (!access.len || access.len > S3_ACCESS_MAX)
        return s3_sign_fail(out, S3_INVALID_ARGUMENT, "The access key is empty or too long.");
    if (!s3_parse_http_date(shown, &when) && !s3_parse_amz_date(shown, &when))
        return s3_sign_fail(out, S3_ACCESS_DENIED,
                            "The request needs a valid date in x-amz-date or Date.");
    if (when < r->now - S3_SKEW_MAX || when > r->now + S3_SKEW_MAX)
        return S3_REQUEST_TIME_TOO_SKEWED;
    /* x-amz-date is among the x-amz-... headers already, and Date then counts as empty */
    return check(signer, r, access, signature, amz_date.data ? mkv_slice(NULL, 0) : date, out);
}

static bool decoded(struct mkv_slice query, struct mkv_slice name, char *buffer, size_t max,
                    struct mkv_slice *out)
{
    struct mkv_slice value = {NULL, 0};
    size_t len;

    if (s3_sign_parameter(query, name, &value) != 1 || !value.len || value.len > max ||
        !mkv_percent_decode(value, false, buffer, &len))
        return false;
    *out = mkv_slice(buffer, len);
    return true;
}

enum s3_error s3_sign_v2_query(const struct s3_signer *signer, const struct s3_sign_request *r,
                               struct s3_signature *out)
{
    char access_buffer[3 * S3_ACCESS_MAX], signature_buffer[128], expires_buffer[32];
    struct mkv_slice access, signature, expires;
    unsigned long long until;

    if (!decoded(r->query, MKV_SLICE("AWSAccessKeyId"), access_buffer, sizeof(access_buffer),
                 &access) ||
        !decoded(r->query, MKV_SLICE("Signature"), signature_buffer, sizeof(signature_buffer),
                 &signature) ||
        !decoded(r->query, MKV_SLICE("Expires"), expires_buffer, sizeof(expires_buffer),
                 &expires) ||
        access.len > S3_ACCESS_MAX || !mkv_slice_number(expires, INT64_MAX, &until))
        return s3_sign_fail(
            out, S3_ACCESS_DENIED,
            "A presigned URL needs AWSAccessKeyId, Expires and Signature, each once.");
    if (until < (unsigned long long)(r->now > 0 ? r->now : 0))
        return s3_sign_fail(out, S3_ACCESS_DENIED, "Request has expired");
    return check(signer, r, access, signature, expires, out);
}
