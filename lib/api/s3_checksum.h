/* lib/api/s3_checksum.h - the additional checksums of S3 objects: CRC32,
 * CRC32C, CRC64NVME, SHA1, SHA256; their names, headers, and base64.  Pure. */
#ifndef MKV_API_S3_CHECKSUM_H
#define MKV_API_S3_CHECKSUM_H

#include "api/s3_error.h"
#include "api/s3_text.h"
#include "mkv/digest.h"
#include "mkv/err.h"
#include "net/http1.h"

#include <stdbool.h>
#include <stdint.h>

/* The numbers are stored in records: append only. */
enum s3_checksum {
    S3_CHECKSUM_NONE,
    S3_CHECKSUM_CRC32,
    S3_CHECKSUM_CRC32C,
    S3_CHECKSUM_CRC64NVME,
    S3_CHECKSUM_SHA1,
    S3_CHECKSUM_SHA256,
    S3_CHECKSUM_COUNT
};

#define S3_CHECKSUM_MAX 32 /* bytes of the longest */
/* Base64 of it, "-10000", NUL. */
#define S3_CHECKSUM_TEXT_MAX (S3_BASE64_MAX(S3_CHECKSUM_MAX) + 6)

/* A sum and how it is meant. */
struct s3_checksum_value {
    enum s3_checksum kind;
    uint8_t bytes[S3_CHECKSUM_MAX]; /* s3_checksum_len(kind) of them; CRCs big-endian */
    unsigned parts; /* composite of so many parts' sums; 0: of the bytes themselves */
};

/* ---- names ---- */

size_t s3_checksum_len(enum s3_checksum kind);               /* 4, 4, 8, 20, 32; 0 for none    */
struct mkv_slice s3_checksum_name(enum s3_checksum kind);    /* "CRC32C"; "" for none          */
struct mkv_slice s3_checksum_header(enum s3_checksum kind);  /* "x-amz-checksum-crc32c"        */
struct mkv_slice s3_checksum_element(enum s3_checksum kind); /* "ChecksumCRC32C", as XML has it */

/* Of the value of x-amz-sdk-checksum-algorithm or x-amz-checksum-algorithm, in
 * either case.  False where it is none of the five. */
bool s3_checksum_by_name(struct mkv_slice name, enum s3_checksum *kind);
/* Of a header's or trailer's name, or of what x-amz-trailer announces. */
bool s3_checksum_by_header(struct mkv_slice name, enum s3_checksum *kind);
/* Of an XML element's name. */
bool s3_checksum_by_element(struct mkv_slice name, enum s3_checksum *kind);

/* The checksum headers of a request: want holds what the body must be.
 * S3_CHECKSUM_NONE: none was sent.  *trailer: the kind that x-amz-trailer says
 * will come after the body, or NONE (other announced trailers are let pass).
 * S3_OK, or S3_INVALID_REQUEST and *why (static text) for a value that is no
 * base64 of that length, several sums, a sum beside a trailer, an unknown
 * x-amz-sdk-checksum-algorithm or one that is not the sum's.  Where only the
 * algorithm is named, want->kind stays NONE and *algorithm is set. */
enum s3_error s3_checksum_of_headers(const struct mkv_header *headers, size_t n,
                                     struct s3_checksum_value *want, enum s3_checksum *trailer,
                                     enum s3_checksum *algorithm, const char **why) MKV_MUSTUSE;

/* ---- text ---- */

/* "yZRlqg==" or "yZRlqg==-3"; NUL behind.  Returns the length. */
size_t s3_checksum_text(const struct s3_checksum_value *v, char out[S3_CHECKSUM_TEXT_MAX]);
/* False where it is no base64 of the kind's length, with "-N" (1 to 10,000) or
 * without. */
bool s3_checksum_parse(enum s3_checksum kind, struct mkv_slice text, struct s3_checksum_value *out);
bool s3_checksum_equal(const struct s3_checksum_value *a, const struct s3_checksum_value *b);

/* ---- sums ---- */

/* Of a stream.  init() first; final() fills *out and clears. */
struct s3_sum {
    enum s3_checksum kind;
    uint64_t crc;
    struct mkv_digest *sha; /* owned; NULL for the CRCs */
};
enum mkv_err s3_sum_init(struct s3_sum *s, enum s3_checksum kind) MKV_MUSTUSE;
void s3_sum_add(struct s3_sum *s, const void *data, size_t len);
void s3_sum_final(struct s3_sum *s, struct s3_checksum_value *out);
void s3_sum_clear(struct s3_sum *s);

/* Of a multipart upload, COMPOSITE: the sum of the parts' sums, which are fed
 * in order; final() gives it "-N".  Uses a struct s3_sum: init as above. */
void s3_sum_add_part(struct s3_sum *s, const struct s3_checksum_value *part);
void s3_sum_final_parts(struct s3_sum *s, unsigned parts, struct s3_checksum_value *out);

/* FULL_OBJECT of a CRC: the sum of a and, behind it, len_b bytes with sum b;
 * into *a.  Both of the same CRC kind, neither composite. */
void s3_checksum_join(struct s3_checksum_value *a, const struct s3_checksum_value *b,
                      uint64_t len_b);

#endif
