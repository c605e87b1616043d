/* lib/api/s3_head.h - the headers of an answer, gathered one by one.  Pure. */
#ifndef MKV_API_S3_HEAD_H
#define MKV_API_S3_HEAD_H

#include "mkv/slice.h"
#include "net/http1.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A record's headers came in one request's head, so this holds them and ours. */
#define S3_HEAD_LINES (HTTP1_HEADERS_MAX + 28)
#define S3_HEAD_TEXT  (HTTP1_HEAD_MAX + 4096)

struct s3_head {
    struct mkv_header h[S3_HEAD_LINES];
    size_t n;
    size_t used; /* of text */
    bool full;   /* something was left out */
    char text[S3_HEAD_TEXT];
};

void s3_head_init(struct s3_head *h);
/* Name and value are copied. */
void s3_head_add(struct s3_head *h, struct mkv_slice name, struct mkv_slice value);
/* The name is prefix and name, one behind the other: "x-amz-meta-" and "mtime". */
void s3_head_add_two(struct s3_head *h, struct mkv_slice prefix, struct mkv_slice name,
                     struct mkv_slice value);
void s3_head_number(struct s3_head *h, struct mkv_slice name, uint64_t n);
void s3_head_etag(struct s3_head *h, struct mkv_slice etag); /* adds the quotes */
/* Takes the place of one of that name, or is added. */
void s3_head_set(struct s3_head *h, struct mkv_slice name, struct mkv_slice value);

#endif
