/* lib/api/s3_sign.h - who sent a request: AWS signatures, version 4 and 2, in
 * the Authorization header or in the query (presigned URLs).
 *
 * A request goes in as it was sent, a verdict comes out; no I/O, no clock of
 * its own.  What a signature covers beyond the head - the body's hash, the
 * chunks - is for the caller to check with what struct s3_signature says.
 *
 * Version 4: the path is decoded and encoded again as AWS does, the query
 * sorted.  Where that does not match, the head is taken once more exactly as it
 * was sent: curl 7.88 signs so, and such a text is just as unambiguous.  Host
 * and every x-amz-* header must be signed.  Any region is accepted.
 *
 * Names of parameters may not be encoded without need: what is signed would not
 * be what is looked for.  Version 2 signs of the query only what S3 knew then. */
#ifndef MKV_API_S3_SIGN_H
#define MKV_API_S3_SIGN_H

#include "api/s3_error.h"
#include "mkv/digest.h"
#include "mkv/slice.h"
#include "net/http1.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S3_ACCESS_MAX  128    /* bytes of an access key id                 */
#define S3_SECRET_MAX  128    /* bytes of its secret                       */
#define S3_REGION_MAX  64     /* bytes of a region's name                  */
#define S3_SKEW_MAX    900    /* seconds that a client's clock may be off  */
#define S3_EXPIRES_MAX 604800 /* seconds that a presigned URL may live     */
/* "20130524/us-east-1/s3/aws4_request" and its NUL */
#define S3_SCOPE_MAX (8 + 1 + S3_REGION_MAX + sizeof("/s3/aws4_request"))

enum s3_sign_kind {
    S3_SIGN_NONE,
    S3_SIGN_V4_HEADER,
    S3_SIGN_V4_QUERY,
    S3_SIGN_V2_HEADER,
    S3_SIGN_V2_QUERY
};

/* What x-amz-content-sha256 announces. */
enum s3_payload {
    S3_PAYLOAD_ABSENT,                    /* nothing: the body is not checked           */
    S3_PAYLOAD_UNSIGNED,                  /* UNSIGNED-PAYLOAD                           */
    S3_PAYLOAD_HASH,                      /* 64 hex digits                              */
    S3_PAYLOAD_STREAMING,                 /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD         */
    S3_PAYLOAD_STREAMING_TRAILER,         /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER */
    S3_PAYLOAD_STREAMING_UNSIGNED_TRAILER /* STREAMING-UNSIGNED-PAYLOAD-TRAILER        */
};

/* All borrowed for the call. */
struct s3_sign_request {
    struct mkv_slice method;
    struct mkv_slice path;  /* before the '?', as sent */
    struct mkv_slice query; /* behind it, as sent      */
    const struct mkv_header *headers;
    size_t nheaders;
    struct mkv_slice host_bucket; /* the bucket that Host names (version 2 signs it); else empty */
    int64_t now;                  /* seconds since 1970 */
};

/* The secret of an access key: false where there is none.  *secret is borrowed
 * until the check returns. */
typedef bool s3_secret_of(struct mkv_slice access, struct mkv_slice *secret, void *arg);

/* Version 4's signing keys of a day and region, which cost four HMACs.  Only
 * keys whose signature held are kept, so that nobody can push out those of
 * others by guessing; a secret that changes finds no old key.  Zero to begin;
 * clear() wipes. */
#define S3_KEY_CACHE_SIZE 64
struct s3_key_cache {
    struct s3_cached_key {
        char secret[S3_SECRET_MAX];
        size_t secret_len;
        char scope[S3_SCOPE_MAX];
        uint8_t key[MKV_SHA256_LEN];
    } keys[S3_KEY_CACHE_SIZE];
    size_t used, next; /* next: what is overwritten once all are used */
};
void s3_key_cache_clear(struct s3_key_cache *cache);

struct s3_signer {
    s3_secret_of *secret_of;
    void *arg;                  /* the caller's */
    struct s3_key_cache *cache; /* borrowed; NULL: none */
};

struct s3_signature {
    enum s3_sign_kind kind;
    char access[S3_ACCESS_MAX + 1];
    size_t access_len;
    enum s3_payload payload;
    uint8_t sha256[MKV_SHA256_LEN]; /* of S3_PAYLOAD_HASH */
    /* Version 4: what the chunks' signatures grow from (s3_chunked.h). */
    char date[17];            /* "20130524T000000Z"                       */
    char scope[S3_SCOPE_MAX]; /* "20130524/us-east-1/s3/aws4_request"     */
    uint8_t key[MKV_SHA256_LEN];
    char seed[2 * MKV_SHA256_LEN + 1]; /* the head's signature, lower-case hex */
    const char *why;                   /* static text for people; NULL: the error's own message */
};

/* Which signature the request carries, if any; nothing else is looked at. */
enum s3_sign_kind s3_sign_kind(const struct s3_sign_request *r);

/* S3_OK: the request was signed by the owner of out->access.  Else the error
 * to answer with, and out->why.  A request without a signature gets
 * S3_ACCESS_DENIED with out->kind S3_SIGN_NONE. */
enum s3_error s3_sign_check(const struct s3_signer *signer, const struct s3_sign_request *r,
                            struct s3_signature *out) MKV_MUSTUSE;

/* Only what the body will look like, for a server that checks no signatures.
 * S3_OK, S3_INVALID_ARGUMENT, S3_NOT_IMPLEMENTED (ECDSA). */
enum s3_error s3_sign_payload(const struct s3_sign_request *r, enum s3_payload *payload,
                              uint8_t sha256[MKV_SHA256_LEN]) MKV_MUSTUSE;

/* ---- pieces that the other signed forms share ---- */

/* "20130524/us-east-1/s3/aws4_request" -> the signing key of secret.  False
 * where scope is not of that form. */
bool s3_signing_key(struct mkv_slice secret, struct mkv_slice scope, uint8_t key[MKV_SHA256_LEN]);

/* "ACCESS/DAY/REGION/s3/aws4_request" in its parts; slices into credential.
 * NULL, or what is wrong with it. */
const char *s3_credential(struct mkv_slice credential, struct mkv_slice *access,
                          struct mkv_slice *scope);

#endif
