#include "api/s3_chunked.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE_DIGITS_MAX 16
#define SIGNATURE_NAME  ";chunk-signature="
#define TRAILER_NAME    "x-amz-trailer-signature"
#define EMPTY_SHA256    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static enum s3_error bad(struct s3_chunked *c, enum s3_error err, const char *why)
{
    c->step = S3_CHUNK_BAD;
    c->err = err;
    c->why = why;
    return err;
}

void s3_chunked_init(struct s3_chunked *c, enum s3_payload payload,
                     const struct s3_signature *signature)
{
    memset(c, 0, sizeof(*c));
    c->is_signed = payload != S3_PAYLOAD_STREAMING_UNSIGNED_TRAILER;
    c->has_trailer = payload != S3_PAYLOAD_STREAMING;
    if (!c->is_signed || !signature) return;
    c->signature = signature;
    memcpy(c->previous, signature->seed, sizeof(c->previous));
}

void s3_chunked_clear(struct s3_chunked *c)
{
    mkv_digest_free(c->hash);
    free(c->trailer);
    memset(c, 0, sizeof(*c));
}

/* ---- signatures -------------------------------------------------------------- */

/* Compares expected with the signature of what hash is of, and goes on from
 * it.  empty: the line that stands before the hash, or NULL. */
static enum s3_error verify(struct s3_chunked *c, const char *algorithm, const char *empty,
                            const uint8_t hash[MKV_SHA256_LEN])
{
    char text[64 + sizeof(c->signature->date) + S3_SCOPE_MAX + 3 * (2 * MKV_SHA256_LEN + 1)];
    char hex[2 * MKV_SHA256_LEN + 1];
    uint8_t computed[MKV_SHA256_LEN];
    int len;

    mkv_hex(hex, hash, MKV_SHA256_LEN);
    len = snprintf(text, sizeof(text), "%s\n%s\n%s\n%s\n%s%s%s", algorithm, c->signature->date,
                   c->signature->scope, c->previous, empty ? empty : "", empty ? "\n" : "", hex);
    mkv_hmac_sha256(mkv_slice((const char *)c->signature->key, MKV_SHA256_LEN),
                    mkv_slice(text, (size_t)len), computed);
    if (CRYPTO_memcmp(computed, c->expected, sizeof(computed)) != 0)
        return bad(c, S3_SIGNATURE_DOES_NOT_MATCH, NULL);
    mkv_hex(c->previous, computed, sizeof(computed));
    return S3_OK;
}

static enum s3_error verify_chunk(struct s3_chunked *c)
{
    uint8_t hash[MKV_SHA256_LEN];

    if (!c->signature) return S3_OK;
    mkv_digest_final(c->hash, hash);
    c->hash = NULL;
    return verify(c, "AWS4-HMAC-SHA256-PAYLOAD", EMPTY_SHA256, hash);
}

/* ---- a chunk ------------------------------------------------------------------- */

static int hex_value(char byte)
{
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

/* The whole first line is there, without its CRLF. */
static enum s3_error parse_head(struct s3_chunked *c)
{
    static const size_t name_len = sizeof(SIGNATURE_NAME) - 1;
    struct mkv_slice rest;
    size_t digits = 0;
    int digit;

    c->left = 0;
    while (digits < c->line_len && (digit = hex_value(c->line[digits])) >= 0) {
        if (++digits > SIZE_DIGITS_MAX)
            return bad(c, S3_INVALID_REQUEST, "A chunk's size has more than 16 digits.");
        c->left = c->left << 4 | (unsigned)digit;
    }
    if (!digits) return bad(c, S3_INVALID_REQUEST, "A chunk begins with no size.");
    rest = mkv_slice(c->line + digits, c->line_len - digits);
    if (!c->is_signed) {
        if (rest.len)
            return bad(c, S3_INVALID_REQUEST, "A chunk's size is followed by something else.");
        return S3_OK;
    }
    if (!mkv_slice_begins(rest, MKV_SLICE(SIGNATURE_NAME)) ||
        !mkv_unhex(c->expected, sizeof(c->expected),
                   mkv_slice(rest.data + name_len, rest.len - name_len)))
        return bad(c, S3_INVALID_REQUEST, "A chunk lacks its chunk-signature of 64 digits.");
    if (c->signature && mkv_digest_new_sha256(&c->hash)) return bad(c, S3_INTERNAL_ERROR, NULL);
    return S3_OK;
}

static enum s3_error after_head(struct s3_chunked *c)
{
    enum s3_error err = parse_head(c);

    c->line_len = 0;
    c->ends = 0;
    if (err) return err;
    if (c->left) {
        c->step = S3_CHUNK_DATA;
        return S3_OK;
    }
    /* The last chunk: its signature covers nothing, and so is complete here. */
    c->step = S3_CHUNK_TRAILER;
    return verify_chunk(c);
}

static enum s3_error head_byte(struct s3_chunked *c, char byte)
{
    if (c->ends) {
        if (byte != '\n')
            return bad(c, S3_INVALID_REQUEST, "A chunk's first line does not end with CRLF.");
        return after_head(c);
    }
    if (byte == '\r')
        c->ends = 1;
    else if (byte == '\n')
        return bad(c, S3_INVALID_REQUEST, "A chunk's first line ends with LF alone.");
    else if (c->line_len == sizeof(c->line))
        return bad(c, S3_INVALID_REQUEST, "A chunk's first line is too long.");
    else
        c->line[c->line_len++] = byte;
    return S3_OK;
}

static struct mkv_slice take_data(struct s3_chunked *c, const char *data, size_t len)
{
    size_t n = c->left < len ? (size_t)c->left : len;

    if (c->hash) mkv_digest_add(c->hash, data, n);
    c->left -= n;
    if (!c->left) c->step = S3_CHUNK_DATA_END;
    return mkv_slice(data, n);
}

static enum s3_error data_end_byte(struct s3_chunked *c, char byte)
{
    if (byte != "\r\n"[c->ends])
        return bad(c, S3_INVALID_REQUEST, "A chunk is longer than its size.");
    if (++c->ends < 2) return S3_OK;
    c->ends = 0;
    c->step = S3_CHUNK_HEAD;
    return verify_chunk(c);
}

/* ---- trailers --------------------------------------------------------------------- */

static enum s3_error verify_trailer(struct s3_chunked *c, struct mkv_slice hex)
{
    uint8_t hash[MKV_SHA256_LEN];

    if (!mkv_unhex(c->expected, sizeof(c->expected), hex))
        return bad(c, S3_MALFORMED_TRAILER, "The trailer's signature is not 64 digits.");
    c->trailer_verified = true;
    if (!c->signature) return S3_OK;
    mkv_sha256(mkv_slice(c->trailer, c->trailer_line), hash);
    return verify(c, "AWS4-HMAC-SHA256-TRAILER", NULL, hash);
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Small letters, and no space around the value: what is signed, and what the
 * caller compares. */
static bool split_line(char *line, size_t *len, struct mkv_slice *name, struct mkv_slice *value)
{
    char *colon = memchr(line, ':', *len), *from, *end = line + *len;
    size_t n;

    if (!colon || colon == line) return false;
    for (char *p = line; p < colon; p++) {
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + ('a' - 'A'));
        if (!is_name_byte(*p)) return false;
    }
    for (from = colon + 1; from < end && *from == ' '; from++)
        ;
    while (end > from && end[-1] == ' ')
        end--;
    n = (size_t)(end - from);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)from[i] < 0x20 || from[i] == 0x7f) return false;
    memmove(colon + 1, from, n);
    *name = mkv_slice(line, (size_t)(colon - line));
    *value = mkv_slice(colon + 1, n);
    *len = name->len + 1 + n;
    return true;
}

/* One line with something in it, up to its LF. */
static enum s3_error trailer_line(struct s3_chunked *c)
{
    char *line = c->trailer + c->trailer_line;
    size_t len = c->trailer_len - c->trailer_line;
    struct mkv_slice name, value;

    if (len && line[len - 1] == '\r') len--;
    if (!c->has_trailer || c->trailer_verified || !split_line(line, &len, &name, &value))
        return bad(c, S3_MALFORMED_TRAILER, "What follows the last chunk is no trailer.");
    if (c->is_signed && mkv_slice_eq(name, MKV_SLICE(TRAILER_NAME))) {
        enum s3_error err = verify_trailer(c, value);

        c->trailer_len = c->trailer_line; /* it is no trailer that the caller looks for */
        return err;
    }
    if (c->ntrailers == S3_TRAILERS_MAX)
        return bad(c, S3_MALFORMED_TRAILER, "There are too many trailers.");
    c->trailers[c->ntrailers++] = (struct mkv_header){name, value};
    line[len] = '\n';
    c->trailer_len = c->trailer_line += len + 1;
    return S3_OK;
}

/* An empty line ends the body, but for one between the trailers and their
 * signature, which minio-go sends. */
static enum s3_error empty_line(struct s3_chunked *c)
{
    c->trailer_len = c->trailer_line;
    if (c->has_trailer && c->is_signed && !c->trailer_verified) {
        if (c->ntrailers && c->ends++ == 0) return S3_OK;
        return bad(c, S3_MALFORMED_TRAILER, "The trailers lack their signature.");
    }
    c->ends = 0;
    c->step = S3_CHUNK_LAST;
    return S3_OK;
}

static enum s3_error trailer_byte(struct s3_chunked *c, char byte)
{
    size_t len = c->trailer_len - c->trailer_line;

    if (!c->trailer) c->trailer = malloc(S3_TRAILER_MAX);
    if (!c->trailer) return bad(c, S3_INTERNAL_ERROR, NULL);
    if (byte == '\n') {
        if (len == 1 && c->trailer[c->trailer_line] == '\r') return empty_line(c);
        if (len) return trailer_line(c);
        return bad(c, S3_MALFORMED_TRAILER, "The line after the last chunk ends with LF alone.");
    }
    if (c->trailer_len + 1 >= S3_TRAILER_MAX) /* the line's own LF needs a place */
        return bad(c, S3_MALFORMED_TRAILER, "The trailers are longer than 8192 bytes.");
    c->trailer[c->trailer_len++] = byte;
    return S3_OK;
}

static enum s3_error last_byte(struct s3_chunked *c, char byte)
{
    if (c->ends == 2 || byte != "\r\n"[c->ends])
        return bad(c, S3_INVALID_REQUEST, "Something follows the end of the body.");
    c->ends++;
    return S3_OK;
}

/* ---- all of it ------------------------------------------------------------------------ */

enum s3_error s3_chunked_next(struct s3_chunked *c, const char *data, size_t len, size_t *used,
                              struct mkv_slice *payload)
{
    enum s3_error err = c->err;
    size_t at = 0;

    *payload = mkv_slice(NULL, 0);
    while (at < len && !err && !payload->len) {
        switch (c->step) {
        case S3_CHUNK_HEAD: err = head_byte(c, data[at++]); break;
        case S3_CHUNK_DATA:
            *payload = take_data(c, data + at, len - at);
            at += payload->len;
            break;
        case S3_CHUNK_DATA_END: err = data_end_byte(c, data[at++]); break;
        case S3_CHUNK_TRAILER: err = trailer_byte(c, data[at++]); break;
        case S3_CHUNK_LAST: err = last_byte(c, data[at++]); break;
        case S3_CHUNK_BAD: break; /* left by the test above */
        }
    }
    *used = at;
    return err;
}

enum s3_error s3_chunked_end(struct s3_chunked *c)
{
    if (c->err) return c->err;
    if (c->step != S3_CHUNK_LAST || c->ends == 1)
        return bad(c, S3_INCOMPLETE_BODY, "The body ends before its last chunk does.");
    return S3_OK;
}
