#include "api/s3_sign.h"

#include "api/s3_canonical.h"
#include "api/s3_sign_parts.h"
#include "api/s3_text.h"
#include "mkv/uri.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define ALGORITHM          "AWS4-HMAC-SHA256"
#define EMPTY_SHA256       "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SIGNED_HEADERS_MAX 128  /* names                                       */
#define QUERY_FIELD_MAX    2048 /* decoded bytes of one X-Amz-... of the query */

/* What the Authorization header or the query says; borrowed. */
struct v4_fields {
    struct mkv_slice credential, signed_headers, signature, date;
    int64_t expires; /* seconds; of the query only */
};

struct v4 {
    struct v4_fields f;
    struct mkv_slice access, scope;
    uint8_t signature[MKV_SHA256_LEN];
    int64_t when;
    bool presigned;
    enum s3_error malformed;  /* what to answer where a field is wrong */
    struct mkv_slice payload; /* the canonical request's last line */
};

/* ---- shared ------------------------------------------------------------------ */

struct mkv_slice s3_sign_header(const struct s3_sign_request *r, struct mkv_slice name)
{
    for (size_t i = 0; i < r->nheaders; i++)
        if (mkv_slice_ieq(r->headers[i].name, name)) return r->headers[i].value;
    return mkv_slice(NULL, 0);
}

unsigned s3_sign_parameter(struct mkv_slice query, struct mkv_slice name, struct mkv_slice *value)
{
    struct mkv_slice one, its_value;
    unsigned n = 0;

    while (mkv_query_next(&query, &one, &its_value)) {
        if (!mkv_slice_eq(one, name)) continue;
        *value = its_value;
        n++;
    }
    return n;
}

enum s3_error s3_sign_fail(struct s3_signature *out, enum s3_error err, const char *why)
{
    out->why = why;
    return err;
}

enum s3_error s3_sign_secret(const struct s3_signer *signer, struct mkv_slice access,
                             struct s3_signature *out, struct mkv_slice *secret)
{
    memcpy(out->access, access.data, access.len);
    out->access[access.len] = '\0';
    out->access_len = access.len;
    if (!signer->secret_of(access, secret, signer->arg) || secret->len > S3_SECRET_MAX)
        return S3_INVALID_ACCESS_KEY_ID;
    return S3_OK;
}

/* ---- the payload ------------------------------------------------------------- */

static enum s3_error payload_kind(struct mkv_slice text, enum s3_payload *kind,
                                  uint8_t sha256[MKV_SHA256_LEN])
{
    /* clang-format off */
    static const struct {
        struct mkv_slice text;
        enum s3_payload kind;
    } names[] = {
#define TEXT(literal) {literal, sizeof(literal) - 1}
        {TEXT("UNSIGNED-PAYLOAD"), S3_PAYLOAD_UNSIGNED},
        {TEXT("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), S3_PAYLOAD_STREAMING},
        {TEXT("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"), S3_PAYLOAD_STREAMING_TRAILER},
        {TEXT("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), S3_PAYLOAD_STREAMING_UNSIGNED_TRAILER},
#undef TEXT
    };
    /* clang-format on */

    *kind = S3_PAYLOAD_ABSENT;
    if (!text.data) return S3_OK;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!mkv_slice_eq(text, names[i].text)) continue;
        *kind = names[i].kind;
        return S3_OK;
    }
    if (mkv_slice_begins(text, MKV_SLICE("STREAMING-AWS4-ECDSA-"))) return S3_NOT_IMPLEMENTED;
    if (!mkv_unhex(sha256, MKV_SHA256_LEN, text)) return S3_INVALID_ARGUMENT;
    *kind = S3_PAYLOAD_HASH;
    return S3_OK;
}

/* A presigned URL may name it in the query, where AWS's JavaScript puts it. */
static struct mkv_slice payload_text(const struct s3_sign_request *r)
{
    struct mkv_slice text = s3_sign_header(r, MKV_SLICE("x-amz-content-sha256")), value;

    if (!text.data && s3_sign_parameter(r->query, MKV_SLICE("X-Amz-Content-Sha256"), &value) == 1 &&
        value.data)
        text = value;
    return text;
}

enum s3_error s3_sign_payload(const struct s3_sign_request *r, enum s3_payload *payload,
                              uint8_t sha256[MKV_SHA256_LEN])
{
    return payload_kind(payload_text(r), payload, sha256);
}

/* ---- fields of version 4 ------------------------------------------------------- */

/* "Credential=..., SignedHeaders=..., Signature=...", in any order, each once. */
static const char *split_authorization(struct mkv_slice rest, struct v4_fields *f)
{
    const struct {
        struct mkv_slice name;
        struct mkv_slice *value;
    } fields[] = {
        {MKV_SLICE("Credential="),    &f->credential    },
        {MKV_SLICE("SignedHeaders="), &f->signed_headers},
        {MKV_SLICE("Signature="),     &f->signature     },
    };
    const size_t count = sizeof(fields) / sizeof(fields[0]);
    struct mkv_slice piece;

    while (s3_list_next(&rest, ',', &piece)) {
        size_t i = 0;

        piece = mkv_slice_trim(piece);
        while (i < count && !mkv_slice_begins(piece, fields[i].name))
            i++;
        if (i == count)
            return "Authorization holds something other than Credential, SignedHeaders, Signature.";
        if (fields[i].value->data) return "Authorization names a field twice.";
        *fields[i].value =
            mkv_slice(piece.data + fields[i].name.len, piece.len - fields[i].name.len);
    }
    for (size_t i = 0; i < count; i++)
        if (!fields[i].value->len)
            return "Authorization needs Credential, SignedHeaders and Signature.";
    return NULL;
}

/* One decoded parameter; buffer holds QUERY_FIELD_MAX bytes. */
static bool query_field(struct mkv_slice query, struct mkv_slice name, char *buffer,
                        struct mkv_slice *out)
{
    struct mkv_slice value = {NULL, 0};
    size_t len;

    if (s3_sign_parameter(query, name, &value) != 1 || !value.len || value.len > QUERY_FIELD_MAX ||
        !mkv_percent_decode(value, true, buffer, &len))
        return false;
    *out = mkv_slice(buffer, len);
    return true;
}

struct query_fields {
    char algorithm[QUERY_FIELD_MAX], credential[QUERY_FIELD_MAX], date[QUERY_FIELD_MAX],
        expires[QUERY_FIELD_MAX], signed_headers[QUERY_FIELD_MAX], signature[QUERY_FIELD_MAX];
};

static const char *split_query(struct mkv_slice query, struct query_fields *b, struct v4_fields *f)
{
    struct mkv_slice algorithm, expires;
    unsigned long long seconds;

    if (!query_field(query, MKV_SLICE("X-Amz-Algorithm"), b->algorithm, &algorithm) ||
        !query_field(query, MKV_SLICE("X-Amz-Credential"), b->credential, &f->credential) ||
        !query_field(query, MKV_SLICE("X-Amz-Date"), b->date, &f->date) ||
        !query_field(query, MKV_SLICE("X-Amz-Expires"), b->expires, &expires) ||
        !query_field(query, MKV_SLICE("X-Amz-SignedHeaders"), b->signed_headers,
                     &f->signed_headers) ||
        !query_field(query, MKV_SLICE("X-Amz-Signature"), b->signature, &f->signature))
        return "A presigned URL needs X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date, "
               "X-Amz-Expires, X-Amz-SignedHeaders and X-Amz-Signature, each once.";
    if (!mkv_slice_eq(algorithm, MKV_SLICE(ALGORITHM)))
        return "X-Amz-Algorithm only supports AWS4-HMAC-SHA256.";
    if (!mkv_slice_number(expires, S3_EXPIRES_MAX, &seconds) || seconds == 0)
        return "X-Amz-Expires must be a number of seconds from 1 to 604800.";
    f->expires = (int64_t)seconds;
    return NULL;
}

/* Lower-case names, each once, Host among them. */
static const char *check_signed_headers(struct mkv_slice list)
{
    struct mkv_slice names[SIGNED_HEADERS_MAX], name;
    size_t n = 0;
    bool host = false;

    while (s3_list_next(&list, ';', &name)) {
        if (!name.len) return "SignedHeaders holds an empty name.";
        if (n == SIGNED_HEADERS_MAX) return "SignedHeaders holds too many names.";
        for (size_t i = 0; i < name.len; i++)
            if (name.data[i] >= 'A' && name.data[i] <= 'Z')
                return "SignedHeaders must be in lower case.";
        for (size_t i = 0; i < n; i++)
            if (mkv_slice_eq(names[i], name)) return "SignedHeaders names a header twice.";
        host = host || mkv_slice_eq(name, MKV_SLICE("host"));
        names[n++] = name;
    }
    return host ? NULL : "SignedHeaders must hold host.";
}

/* The time of the request in out->date and v->when; the field that the header
 * form lacks is x-amz-date, or Date. */
static const char *find_date(const struct s3_sign_request *r, struct v4 *v,
                             struct s3_signature *out)
{
    struct mkv_slice date = v->f.date;
    bool found;

    if (!v->presigned) date = s3_sign_header(r, MKV_SLICE("x-amz-date"));
    found = date.data && s3_parse_amz_date(date, &v->when);
    if (!found && !date.data) {
        date = s3_sign_header(r, MKV_SLICE("date"));
        found = s3_parse_http_date(date, &v->when) || s3_parse_amz_date(date, &v->when);
    }
    if (!found) return "The request needs a valid date in x-amz-date or Date.";
    s3_amz_date(out->date, v->when);
    if (memcmp(out->date, v->scope.data, 8) != 0)
        return "The credential's day is not that of the request's date.";
    return NULL;
}

/* What the signature says of itself, before anything secret is looked at. */
static enum s3_error read_fields(const struct s3_sign_request *r, struct v4 *v,
                                 struct s3_signature *out)
{
    const char *why = s3_credential(v->f.credential, &v->access, &v->scope);
    enum s3_error err;

    if (!why && !mkv_unhex(v->signature, sizeof(v->signature), v->f.signature))
        why = "The signature is not 64 hexadecimal digits.";
    if (!why) why = check_signed_headers(v->f.signed_headers);
    if (!why) why = find_date(r, v, out);
    if (why) return s3_sign_fail(out, v->malformed, why);
    memcpy(out->scope, v->scope.data, v->scope.len);
    out->scope[v->scope.len] = '\0';
    v->payload = payload_text(r);
    err = payload_kind(v->payload, &out->payload, out->sha256);
    if (err)
        return s3_sign_fail(out, err,
                            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, one of the "
                            "STREAMING-... names, or 64 hexadecimal digits.");
    if (!v->payload.data)
        v->payload = v->presigned ? MKV_SLICE("UNSIGNED-PAYLOAD") : MKV_SLICE(EMPTY_SHA256);
    return S3_OK;
}

/* ---- the check ------------------------------------------------------------------ */

static enum s3_error check_time(const struct s3_sign_request *r, const struct v4 *v,
                                struct s3_signature *out)
{
    if (!v->presigned) {
        if (v->when < r->now - S3_SKEW_MAX || v->when > r->now + S3_SKEW_MAX)
            return S3_REQUEST_TIME_TOO_SKEWED;
        return S3_OK;
    }
    if (v->when > r->now + S3_SKEW_MAX)
        return s3_sign_fail(out, S3_ACCESS_DENIED, "Request is not valid yet");
    if (v->when + v->f.expires < r->now)
        return s3_sign_fail(out, S3_ACCESS_DENIED, "Request has expired");
    return S3_OK;
}

static bool list_holds(struct mkv_slice list, struct mkv_slice name)
{
    struct mkv_slice item;

    while (s3_list_next(&list, ';', &item))
        if (mkv_slice_ieq(item, name)) return true;
    return false;
}

/* An x-amz-... that is not signed could have been added by anybody. */
static enum s3_error check_all_signed(const struct s3_sign_request *r, const struct v4 *v,
                                      struct s3_signature *out)
{
    static const size_t prefix = sizeof("x-amz-") - 1;

    for (size_t i = 0; i < r->nheaders; i++) {
        struct mkv_slice name = r->headers[i].name;

        if (name.len > prefix && mkv_slice_ieq(mkv_slice(name.data, prefix), MKV_SLICE("x-amz-")) &&
            !list_holds(v->f.signed_headers, name))
            return s3_sign_fail(out, S3_ACCESS_DENIED,
                                "There are x-amz-... headers in the request that were not signed");
    }
    return S3_OK;
}

static bool matches(const uint8_t *a, const uint8_t *b)
{
    return CRYPTO_memcmp(a, b, MKV_SHA256_LEN) == 0;
}

/* The signature over one form of the head. */
static enum s3_error sign_form(const struct s3_sign_request *r, const struct v4 *v,
                               const struct s3_signature *out, enum s3_canonical_form form,
                               uint8_t signature[MKV_SHA256_LEN])
{
    char text[sizeof(ALGORITHM) + sizeof(out->date) + S3_SCOPE_MAX + 2 * MKV_SHA256_LEN + 4];
    char hex[2 * MKV_SHA256_LEN + 1], *canonical;
    uint8_t hash[MKV_SHA256_LEN];
    size_t len;
    enum s3_error err = s3_canonical_request(r, v->f.signed_headers, v->payload, v->presigned, form,
                                             &canonical, &len);

    if (err) return err;
    mkv_sha256(mkv_slice(canonical, len), hash);
    free(canonical);
    mkv_hex(hex, hash, sizeof(hash));
    len =
        (size_t)snprintf(text, sizeof(text), ALGORITHM "\n%s\n%s\n%s", out->date, out->scope, hex);
    mkv_hmac_sha256(mkv_slice((const char *)out->key, sizeof(out->key)), mkv_slice(text, len),
                    signature);
    return S3_OK;
}

static enum s3_error check_signature(const struct s3_sign_request *r, const struct v4 *v,
                                     const struct s3_signature *out)
{
    uint8_t computed[MKV_SHA256_LEN];
    enum s3_error err = sign_form(r, v, out, S3_CANONICAL, computed);

    if (!err && matches(computed, v->signature)) return S3_OK;
    if (err && err != S3_INVALID_URI) return err;
    err = sign_form(r, v, out, S3_AS_SENT, computed);
    if (err) return err;
    return matches(computed, v->signature) ? S3_OK : S3_SIGNATURE_DOES_NOT_MATCH;
}

static enum s3_error check_v4(const struct s3_signer *signer, const struct s3_sign_request *r,
                              struct v4 *v, struct s3_signature *out)
{
    struct mkv_slice secret;
    bool cached;
    enum s3_error err = read_fields(r, v, out);

    if (!err) err = s3_sign_secret(signer, v->access, out, &secret);
    if (!err) err = check_time(r, v, out);
    if (!err) err = check_all_signed(r, v, out);
    if (err) return err;
    cached = signer->cache && s3_key_cache_find(signer->cache, secret, v->scope, out->key);
    if (!cached && !s3_signing_key(secret, v->scope, out->key)) return v->malformed;
    err = check_signature(r, v, out);
    if (err) {
        OPENSSL_cleanse(out->key, sizeof(out->key));
        return err;
    }
    if (signer->cache && !cached) s3_key_cache_add(signer->cache, secret, v->scope, out->key);
    mkv_hex(out->seed, v->signature, sizeof(v->signature));
    return S3_OK;
}

static enum s3_error check_v4_header(const struct s3_signer *signer,
                                     const struct s3_sign_request *r, struct s3_signature *out)
{
    static const size_t name_len = sizeof(ALGORITHM) - 1;
    struct mkv_slice value = s3_sign_header(r, MKV_SLICE("authorization"));
    struct v4 v = {.malformed = S3_AUTHORIZATION_HEADER_MALFORMED};
    const char *why =
        split_authorization(mkv_slice(value.data + name_len, value.len - name_len), &v.f);

    if (why) return s3_sign_fail(out, v.malformed, why);
    return check_v4(signer, r, &v, out);
}

static enum s3_error check_v4_query(const struct s3_signer *signer, const struct s3_sign_request *r,
                                    struct s3_signature *out)
{
    struct v4 v = {.presigned = true, .malformed = S3_AUTHORIZATION_QUERY_PARAMETERS_ERROR};
    struct query_fields buffers;
    const char *why = split_query(r->query, &buffers, &v.f);

    if (why) return s3_sign_fail(out, v.malformed, why);
    return check_v4(signer, r, &v, out);
}

/* ---- which kind ------------------------------------------------------------------- */

enum s3_sign_kind s3_sign_kind(const struct s3_sign_request *r)
{
    struct mkv_slice value = s3_sign_header(r, MKV_SLICE("authorization")), ignored;

    if (mkv_slice_begins(value, MKV_SLICE(ALGORITHM " "))) return S3_SIGN_V4_HEADER;
    if (mkv_slice_begins(value, MKV_SLICE("AWS "))) return S3_SIGN_V2_HEADER;
    if (s3_sign_parameter(r->query, MKV_SLICE("X-Amz-Signature"), &ignored) ||
        s3_sign_parameter(r->query, MKV_SLICE("X-Amz-Algorithm"), &ignored) ||
        s3_sign_parameter(r->query, MKV_SLICE("X-Amz-Credential"), &ignored))
        return S3_SIGN_V4_QUERY;
    if (s3_sign_parameter(r->query, MKV_SLICE("AWSAccessKeyId"), &ignored)) return S3_SIGN_V2_QUERY;
    return S3_SIGN_NONE;
}

/* A second signature would leave open which of them was meant. */
static enum s3_error check_only_one(const struct s3_sign_request *r, struct s3_signature *out)
{
    struct s3_sign_request without_headers = *r;
    unsigned headers = 0;

    without_headers.nheaders = 0;
    for (size_t i = 0; i < r->nheaders; i++)
        headers += mkv_slice_ieq(r->headers[i].name, MKV_SLICE("authorization"));
    if (headers > 1 || (headers && s3_sign_kind(&without_headers) != S3_SIGN_NONE))
        return s3_sign_fail(out, S3_INVALID_ARGUMENT,
                            "Only one way of signing a request is allowed at a time.");
    if (headers && out->kind == S3_SIGN_NONE)
        return s3_sign_fail(out, S3_INVALID_ARGUMENT,
                            "The Authorization header is of a type that is not supported.");
    return S3_OK;
}

/* "%75ploadId" is signed as "uploadId" is, and yet the handlers look for the names
 * as they are: who holds a URL could hide a parameter in it.  Ours are all of
 * characters that no client encodes. */
static enum s3_error check_names(struct mkv_slice query, struct s3_signature *out)
{
    struct mkv_slice name, value;

    while (mkv_query_next(&query, &name, &value))
        for (size_t i = 0; i + 3 <= name.len; i++) {
            char byte[3], encoded[3];
            size_t len;

            if (mkv_percent_decode(mkv_slice(name.data + i, 3), false, byte, &len) && len == 1 &&
                s3_uri_encode(mkv_slice(byte, 1), false, encoded) == 1)
                return s3_sign_fail(out, S3_INVALID_ARGUMENT,
                                    "The name of a parameter is encoded without need.");
        }
    return S3_OK;
}

enum s3_error s3_sign_check(const struct s3_signer *signer, const struct s3_sign_request *r,
                            struct s3_signature *out)
{
    enum s3_error err;

    memset(out, 0, sizeof(*out));
    out->kind = s3_sign_kind(r);
    err = check_only_one(r, out);
    if (!err && out->kind != S3_SIGN_NONE) err = check_names(r->query, out);
    if (err) return err;
    switch (out->kind) {
    case S3_SIGN_V4_HEADER: return check_v4_header(signer, r, out);
    case S3_SIGN_V4_QUERY: return check_v4_query(signer, r, out);
    case S3_SIGN_V2_HEADER: return s3_sign_v2_header(signer, r, out);
    case S3_SIGN_V2_QUERY: return s3_sign_v2_query(signer, r, out);
    case S3_SIGN_NONE: break;
    }
    return s3_sign_fail(out, S3_ACCESS_DENIED, "The request is not signed.");
}
