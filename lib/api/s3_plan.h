/* lib/api/s3_plan.h - what an object made of parts will be: whether the parts
 * are those that the client named, their order, the ETag, the checksum.  Pure. */
#ifndef MKV_API_S3_PLAN_H
#define MKV_API_S3_PLAN_H

#include "api/s3_body.h"
#include "api/s3_meta.h"
#include "api/s3_multipart.h"
#include "mkv/index.h"

/* The numbers ascend: else S3_INVALID_PART_ORDER. */
enum s3_error s3_plan_check_order(const struct s3_body_part *parts, size_t n) MKV_MUSTUSE;
/* "MD5(MD5s)-N" of the ETags that the client named.  False where one of them is no
 * MD5, or without memory. */
bool s3_plan_etag(const struct s3_body_part *parts, size_t n, char out[S3_ETAG_MAX]);

struct s3_plan_part {
    unsigned number;
    uint64_t serial, size;
};

struct s3_plan {
    struct s3_upload_sum wanted;  /* the object's checksum                         */
    struct s3_plan_part *parts;   /* owned; the first n are known                  */
    size_t n, max;
    uint64_t size;                /* of them all                                   */
    struct s3_sum composite;      /* of the parts' sums                            */
    struct s3_checksum_value sum; /* FULL_OBJECT: so far; after s3_plan_end() either */
};

/* max: how many parts will come.  S3_OK, S3_INTERNAL_ERROR. */
enum s3_error s3_plan_open(struct s3_plan *p, size_t max, struct s3_upload_sum wanted) MKV_MUSTUSE;
void s3_plan_clear(struct s3_plan *p); /* zeroed: fine */
/* The next one: named by the client, and as it is kept; NULL: it is not.  S3_OK;
 * S3_INVALID_PART; S3_ENTITY_TOO_SMALL for one below S3_PART_MIN that is not the last;
 * S3_INTERNAL_ERROR. */
enum s3_error s3_plan_add(struct s3_plan *p, const struct s3_body_part *named,
                          const struct mkv_part *kept) MKV_MUSTUSE;
void s3_plan_end(struct s3_plan *p);

/* ETag, sizes of the parts and checksum into the object's record. */
enum mkv_err s3_plan_fields(const struct s3_plan *p, const char *etag,
                            struct mkv_record *rec) MKV_MUSTUSE;

#endif
