/* include/mkv/digest.h - MD5, SHA-1, SHA-256 and HMAC by libcrypto, fetched once. */
#ifndef MKV_DIGEST_H
#define MKV_DIGEST_H

#include "mkv/err.h"
#include "mkv/slice.h"

#include <stdint.h>

#define MKV_MD5_LEN    16
#define MKV_SHA1_LEN   20
#define MKV_SHA256_LEN 32

/* Of a few bytes, at once.  Aborts where libcrypto offers no MD5. */
void mkv_md5(struct mkv_slice a, uint8_t out[MKV_MD5_LEN]);
/* Of a and b, one after the other, without joining them. */
void mkv_md5_two(struct mkv_slice a, struct mkv_slice b, uint8_t out[MKV_MD5_LEN]);
void mkv_sha256(struct mkv_slice a, uint8_t out[MKV_SHA256_LEN]);
/* RFC 2104.  The key may have any length. */
void mkv_hmac_sha256(struct mkv_slice key, struct mkv_slice a, uint8_t out[MKV_SHA256_LEN]);
void mkv_hmac_sha1(struct mkv_slice key, struct mkv_slice a, uint8_t out[MKV_SHA1_LEN]);

/* Of a stream.  final() writes as many bytes as the algorithm has, and frees;
 * free(NULL) is fine. */
struct mkv_digest;
enum mkv_err mkv_digest_new_md5(struct mkv_digest **out) MKV_MUSTUSE;
enum mkv_err mkv_digest_new_sha1(struct mkv_digest **out) MKV_MUSTUSE;
enum mkv_err mkv_digest_new_sha256(struct mkv_digest **out) MKV_MUSTUSE;
void mkv_digest_add(struct mkv_digest *d, const void *data, size_t len);
void mkv_digest_final(struct mkv_digest *d, uint8_t *out); /* d is gone */
void mkv_digest_free(struct mkv_digest *d);

/* Lower-case hex, 2 * len characters and a NUL. */
void mkv_hex(char *out, const uint8_t *bytes, size_t len);
/* Either case, exactly 2 * len digits.  False otherwise. */
bool mkv_unhex(uint8_t *out, size_t len, struct mkv_slice hex);

#endif
