/* lib/api/s3_body.h - reads the XML bodies of requests: Delete,
 * CompleteMultipartUpload, CreateBucketConfiguration.
 *
 * The body is pushed in as it arrives; memory is what it says, and 64 KB.
 * Strict where harm could come from: no document type, no entity declarations,
 * a depth, a number of entries and a length that end.  Lenient elsewhere: any
 * or no namespace, any order, elements that we do not know. */
#ifndef MKV_API_S3_BODY_H
#define MKV_API_S3_BODY_H

#include "api/s3_checksum.h"
#include "api/s3_error.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 1,000 keys of 1,024 bytes, or 10,000 parts with a SHA256 each, take more than
 * 1 MB with their tags: hence 4. */
#define S3_BODY_MAX         (4 * 1024 * 1024)
#define S3_BODY_SMALL_MAX   (64 * 1024) /* of CreateBucketConfiguration */
#define S3_BODY_OBJECTS_MAX 1000
#define S3_BODY_PARTS_MAX   10000
#define S3_BODY_TEXT_MAX    4096 /* bytes of one element's text */

enum s3_body_kind { S3_BODY_DELETE, S3_BODY_COMPLETE, S3_BODY_CREATE_BUCKET };

struct s3_body_object {
    struct mkv_slice key;
    struct mkv_slice version; /* {NULL, 0}: none */
    struct mkv_slice etag;    /* {NULL, 0}: none; without quotes */
};

struct s3_body_part {
    unsigned number;                   /* 1 to 10,000 */
    struct mkv_slice etag;             /* without quotes */
    struct s3_checksum_value checksum; /* kind NONE: none */
};

struct s3_body;

/* What a whole body said.  Borrowed: until s3_body_close. */
struct s3_body_result {
    bool quiet;                           /* Delete */
    const struct s3_body_object *objects; /* Delete: at least one */
    const struct s3_body_part *parts;     /* Complete: at least one, in the order they came in */
    size_t n;                             /* of either */
    struct mkv_slice location;            /* CreateBucket: LocationConstraint, or empty */
};

enum s3_error s3_body_open(struct s3_body **out, enum s3_body_kind kind) MKV_MUSTUSE;
void s3_body_close(struct s3_body *b); /* NULL is fine */

/* S3_OK, S3_MALFORMED_XML, S3_MAX_MESSAGE_LENGTH_EXCEEDED, S3_INTERNAL_ERROR
 * (memory); an error stays. */
enum s3_error s3_body_add(struct s3_body *b, const char *data, size_t len) MKV_MUSTUSE;
/* The body is over. */
enum s3_error s3_body_end(struct s3_body *b, struct s3_body_result *out) MKV_MUSTUSE;

#endif
