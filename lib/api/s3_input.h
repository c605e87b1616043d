/* lib/api/s3_input.h - the body of an S3 request: unwrapped and checked as it
 * arrives.
 *
 * Takes what the front reads, undoes aws-chunked, hands the payload on, and
 * computes what the request says of it: its length, its hash, Content-MD5, an
 * x-amz-checksum-*.  Nothing may be committed before s3_input_end() said S3_OK.
 * No I/O. */
#ifndef MKV_API_S3_INPUT_H
#define MKV_API_S3_INPUT_H

#include "api/s3_checksum.h"
#include "api/s3_chunked.h"
#include "api/s3_error.h"
#include "api/s3_sign.h"
#include "net/block.h"
#include "net/request.h"

struct s3_input {
    struct s3_chunked chunked;
    bool is_chunked;          /* aws-chunked                                     */
    int64_t length;           /* of the payload, as announced; -1: not           */
    uint64_t received;        /* bytes of payload so far                         */
    bool check_sha256, check_md5;
    uint8_t sha256_want[MKV_SHA256_LEN], md5_want[MKV_MD5_LEN];
    struct mkv_digest *sha256, *md5; /* owned; NULL where not needed             */
    uint8_t md5_is[MKV_MD5_LEN];     /* after s3_input_end(), where it was taken */
    struct s3_checksum_value want;   /* kind NONE: no sum was announced          */
    enum s3_checksum trailer;        /* the sum that comes behind the body       */
    struct s3_sum sum;               /* kind NONE: none is taken                 */
    struct s3_checksum_value sum_is; /* after s3_input_end(); kind NONE: none    */
    const char *why;                 /* static text; NULL: the error's own message */
};

enum s3_input_md5 {
    S3_INPUT_MD5_ELSEWHERE, /* the store takes it and the caller compares: md5_want, check_md5 */
    S3_INPUT_MD5_CHECKED,   /* taken here where Content-MD5 was sent                          */
    S3_INPUT_MD5_TAKEN      /* taken here in any case                                         */
};

/* Reads the head: what will come, and what it must be.  signature: of the call
 * (payload and sha256 are read); checked NULL: signatures of chunks are not
 * compared.  On an error: why, and nothing to clear. */
enum s3_error s3_input_init(struct s3_input *in, const struct mkv_request *r,
                            const struct s3_signature *signature,
                            const struct s3_signature *checked,
                            enum s3_input_md5 md5) MKV_MUSTUSE;
void s3_input_clear(struct s3_input *in);

/* Gives each piece of payload to sink, in order.  An error stays. */
typedef void s3_sink(struct mkv_bytes piece, void *arg);
enum s3_error s3_input_add(struct s3_input *in, struct mkv_bytes bytes, s3_sink *sink,
                           void *arg) MKV_MUSTUSE;
/* Whether the payload is the body as it is, and nothing is taken of its bytes: then
 * pieces need not be looked at, only counted, by s3_input_skip(). */
bool s3_input_is_plain(const struct s3_input *in);
enum s3_error s3_input_skip(struct s3_input *in, size_t len) MKV_MUSTUSE;
/* The body is over; trailers: those of HTTP's own chunked coding. */
enum s3_error s3_input_end(struct s3_input *in, const struct mkv_header *trailers,
                           size_t ntrailers) MKV_MUSTUSE;

#endif
