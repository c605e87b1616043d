/* lib/api/s3_name.h - which bucket and key a request is about.  Pure. */
#ifndef MKV_API_S3_NAME_H
#define MKV_API_S3_NAME_H

#include "api/s3_error.h"
#include "mkv/err.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>

#define S3_BUCKET_MAX 63   /* bytes of a bucket's name */
#define S3_KEY_MAX    1024 /* bytes of a key           */
/* What x-amz-copy-source may hold: both percent-encoded, and "?versionId=null". */
#define S3_COPY_SOURCE_MAX (3 * (S3_BUCKET_MAX + S3_KEY_MAX) + 64)

/* Whether a bucket may be created under that name: 3 to 63 small letters,
 * digits, '.' and '-', beginning and ending with a letter or digit, no "..", no
 * ".-", no "-.", no IPv4 address, none of AWS's own prefixes and suffixes. */
bool s3_bucket_name_valid(struct mkv_slice name);

struct s3_name {
    struct mkv_slice bucket; /* empty: the service itself (ListBuckets) */
    struct mkv_slice key;    /* empty: the bucket itself                */
    bool of_host;            /* the bucket stood in Host                */
};

/* path: decoded, with its leading '/'.  host: of the Host header, port and all;
 * may be empty.  domain: of -s3-domain, or empty: then Host says nothing.  A
 * Host "BUCKET.DOMAIN" names the bucket, and the whole path is the key.
 * S3_OK; S3_INVALID_URI (no '/' first); S3_KEY_TOO_LONG; S3_INVALID_BUCKET_NAME
 * (longer than any may be, or "." or "..").  The slices point into path and
 * host. */
enum s3_error s3_name_split(struct mkv_slice path, struct mkv_slice host, struct mkv_slice domain,
                            struct s3_name *out) MKV_MUSTUSE;

/* x-amz-copy-source: "bucket/key", "/bucket/key", percent-decoded once, with or
 * without "?versionId=null".  buffer takes the decoded text; out points into
 * it.  S3_OK, S3_INVALID_ARGUMENT, S3_NO_SUCH_VERSION (another version),
 * S3_KEY_TOO_LONG, S3_INVALID_BUCKET_NAME. */
enum s3_error s3_copy_source(struct mkv_slice value, char buffer[S3_COPY_SOURCE_MAX],
                             struct s3_name *out) MKV_MUSTUSE;

#endif
