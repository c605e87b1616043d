#include "api/s3_input.h"

#include "api/s3_text.h"

/* ---- the head -------------------------------------------------------------------- */

static enum s3_error fail(struct s3_input *in, enum s3_error err, const char *why)
{
    in->why = why;
    return err;
}

static bool header(const struct mkv_request *r, struct mkv_slice name, struct mkv_slice *value)
{
    return mkv_request_header(r, name, value);
}

/* How long the payload will be: aws-chunked says so in a header of its own. */
static enum s3_error read_length(struct s3_input *in, const struct mkv_request *r)
{
    struct mkv_slice value;
    unsigned long long n;

    in->length = r->body_length;
    if (!in->is_chunked) return S3_OK;
    in->length = -1;
    if (!header(r, MKV_SLICE("x-amz-decoded-content-length"), &value))
        return fail(in, S3_MISSING_CONTENT_LENGTH,
                    "An aws-chunked body needs x-amz-decoded-content-length.");
    if (!mkv_slice_number(value, INT64_MAX, &n))
        return fail(in, S3_INVALID_ARGUMENT, "x-amz-decoded-content-length is not a number.");
    in->length = (int64_t)n;
    return S3_OK;
}

static enum s3_error read_md5(struct s3_input *in, const struct mkv_request *r)
{
    struct mkv_slice value;
    size_t len;

    if (!header(r, MKV_SLICE("content-md5"), &value)) return S3_OK;
    if (!s3_unbase64(value, in->md5_want, sizeof(in->md5_want), &len) || len != MKV_MD5_LEN)
        return S3_INVALID_DIGEST;
    in->check_md5 = true;
    return S3_OK;
}

static bool is_streaming(enum s3_payload payload)
{
    return payload == S3_PAYLOAD_STREAMING || payload == S3_PAYLOAD_STREAMING_TRAILER ||
           payload == S3_PAYLOAD_STREAMING_UNSIGNED_TRAILER;
}

static enum s3_error read_head(struct s3_input *in, const struct mkv_request *r,
                               const struct s3_signature *signature,
                               const struct s3_signature *checked)
{
    enum s3_checksum algorithm, kind;
    enum s3_error err;

    in->is_chunked = is_streaming(signature->payload);
    if (in->is_chunked) s3_chunked_init(&in->chunked, signature->payload, checked);
    err = read_length(in, r);
    if (!err) err = read_md5(in, r);
    if (!err)
        err = s3_checksum_of_headers(r->headers, r->nheaders, &in->want, &in->trailer, &algorithm,
                                     &in->why);
    if (err) return err;
    in->check_sha256 = signature->payload == S3_PAYLOAD_HASH;
    memcpy(in->sha256_want, signature->sha256, MKV_SHA256_LEN);
    kind = in->want.kind ? in->want.kind : in->trailer ? in->trailer : algorithm;
    return s3_sum_init(&in->sum, kind) ? S3_INTERNAL_ERROR : S3_OK;
}

enum s3_error s3_input_init(struct s3_input *in, const struct mkv_request *r,
                            const struct s3_signature *signature,
                            const struct s3_signature *checked, enum s3_input_md5 md5)
{
    enum s3_error err;
    enum mkv_err failed = MKV_OK;

    memset(in, 0, sizeof(*in));
    err = read_head(in, r, signature, checked);
    if (!err && in->check_sha256) failed = mkv_digest_new_sha256(&in->sha256);
    if (!err && !failed &&
        (md5 == S3_INPUT_MD5_TAKEN || (md5 == S3_INPUT_MD5_CHECKED && in->check_md5)))
        failed = mkv_digest_new_md5(&in->md5);
    if (failed) err = S3_INTERNAL_ERROR;
    if (err) s3_input_clear(in);
    return err;
}

void s3_input_clear(struct s3_input *in)
{
    if (in->is_chunked) s3_chunked_clear(&in->chunked);
    mkv_digest_free(in->sha256);
    mkv_digest_free(in->md5);
    in->sha256 = in->md5 = NULL;
    s3_sum_clear(&in->sum);
}

/* ---- the body -------------------------------------------------------------------- */

enum s3_error s3_input_skip(struct s3_input *in, size_t len)
{
    in->received += len;
    if (in->length >= 0 && in->received > (uint64_t)in->length)
        return fail(in, S3_INCOMPLETE_BODY, "The body is longer than announced.");
    return S3_OK;
}

bool s3_input_is_plain(const struct s3_input *in)
{
    return !in->is_chunked && !in->sha256 && !in->md5 && !in->sum.kind;
}

static enum s3_error take_payload(struct s3_input *in, struct mkv_bytes piece, s3_sink *sink,
                                  void *arg)
{
    enum s3_error err = s3_input_skip(in, piece.len);

    if (err) return err;
    if (in->sha256) mkv_digest_add(in->sha256, piece.data, piece.len);
    if (in->md5) mkv_digest_add(in->md5, piece.data, piece.len);
    if (in->sum.kind) s3_sum_add(&in->sum, piece.data, piece.len);
    sink(piece, arg);
    return S3_OK;
}

enum s3_error s3_input_add(struct s3_input *in, struct mkv_bytes bytes, s3_sink *sink, void *arg)
{
    struct mkv_slice payload;
    size_t used;

    if (!in->is_chunked) return take_payload(in, bytes, sink, arg);
    while (bytes.len) {
        enum s3_error err = s3_chunked_next(&in->chunked, (const char *)bytes.data, bytes.len,
                                            &used, &payload);

        if (err) return fail(in, err, in->chunked.why);
        if (payload.len) {
            err = take_payload(
                in, (struct mkv_bytes){(const uint8_t *)payload.data, payload.len, bytes.block},
                sink, arg);
            if (err) return err;
        }
        bytes.data += used;
        bytes.len -= used;
    }
    return S3_OK;
}

/* ---- the end --------------------------------------------------------------------- */

/* The sum that x-amz-trailer announced. */
static enum s3_error find_trailer(struct s3_input *in, const struct mkv_header *trailers, size_t n)
{
    struct mkv_slice name = s3_checksum_header(in->trailer);

    for (size_t i = 0; i < n; i++) {
        if (!mkv_slice_ieq(trailers[i].name, name)) continue;
        if (s3_checksum_parse(in->trailer, trailers[i].value, &in->want) && !in->want.parts)
            return S3_OK;
        return fail(in, S3_INVALID_REQUEST, "The trailer's checksum is not valid.");
    }
    return fail(in, S3_MALFORMED_TRAILER, "The checksum that x-amz-trailer announced is missing.");
}

static enum s3_error compare(struct s3_input *in)
{
    uint8_t sha256[MKV_SHA256_LEN];

    if (in->sum.kind) s3_sum_final(&in->sum, &in->sum_is);
    if (in->md5) {
        mkv_digest_final(in->md5, in->md5_is);
        in->md5 = NULL;
        if (in->check_md5 && memcmp(in->md5_is, in->md5_want, MKV_MD5_LEN) != 0)
            return S3_BAD_DIGEST;
    }
    if (in->sha256) {
        mkv_digest_final(in->sha256, sha256);
        in->sha256 = NULL;
        if (memcmp(sha256, in->sha256_want, MKV_SHA256_LEN) != 0)
            return S3_CONTENT_SHA256_MISMATCH;
    }
    if (in->want.kind && !s3_checksum_equal(&in->want, &in->sum_is))
        return fail(in, S3_BAD_DIGEST, "The x-amz-checksum you sent is not that of the body.");
    return S3_OK;
}

enum s3_error s3_input_end(struct s3_input *in, const struct mkv_header *trailers,
                           size_t ntrailers)
{
    enum s3_error err = S3_OK;

    if (in->is_chunked) {
        err = s3_chunked_end(&in->chunked);
        if (err) return fail(in, err, in->chunked.why);
        trailers = in->chunked.trailers;
        ntrailers = in->chunked.ntrailers;
    }
    if (in->length >= 0 && in->received != (uint64_t)in->length)
        return fail(in, S3_INCOMPLETE_BODY, "The body is shorter than announced.");
    if (in->trailer) err = find_trailer(in, trailers, ntrailers);
    return err ? err : compare(in);
}
