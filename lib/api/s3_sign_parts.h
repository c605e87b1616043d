/* lib/api/s3_sign_parts.h - what the two versions of signatures share.
 *
 * Inside the signature code only; everybody else includes s3_sign.h. */
#ifndef MKV_API_S3_SIGN_PARTS_H
#define MKV_API_S3_SIGN_PARTS_H

#include "api/s3_sign.h"

/* First header of that name; {NULL, 0} where there is none. */
struct mkv_slice s3_sign_header(const struct s3_sign_request *r, struct mkv_slice name);

/* Of a query: how often the name occurs, and its last value, still encoded. */
unsigned s3_sign_parameter(struct mkv_slice query, struct mkv_slice name, struct mkv_slice *value);

/* Sets out->why and returns err. */
enum s3_error s3_sign_fail(struct s3_signature *out, enum s3_error err, const char *why);

/* Keeps access in out and finds its secret. */
enum s3_error s3_sign_secret(const struct s3_signer *signer, struct mkv_slice access,
                             struct s3_signature *out, struct mkv_slice *secret) MKV_MUSTUSE;

enum s3_error s3_sign_v2_header(const struct s3_signer *signer, const struct s3_sign_request *r,
                                struct s3_signature *out) MKV_MUSTUSE;
enum s3_error s3_sign_v2_query(const struct s3_signer *signer, const struct s3_sign_request *r,
                               struct s3_signature *out) MKV_MUSTUSE;

/* The cache of signing keys; add() takes the place of the oldest where all are used. */
bool s3_key_cache_find(const struct s3_key_cache *cache, struct mkv_slice secret,
                       struct mkv_slice scope, uint8_t key[MKV_SHA256_LEN]);
void s3_key_cache_add(struct s3_key_cache *cache, struct mkv_slice secret, struct mkv_slice scope,
                      const uint8_t key[MKV_SHA256_LEN]);

#endif
