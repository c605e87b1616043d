/* lib/api/s3_complete_request.h - what a CompleteMultipartUpload asks for: its XML,
 * and what its headers say of the object to be. */
#ifndef MKV_API_S3_COMPLETE_REQUEST_H
#define MKV_API_S3_COMPLETE_REQUEST_H

#include "api/s3_body.h"
#include "api/s3_conditions.h"
#include "api/s3_input.h"
#include "api/s3_plan.h"

/* Zeroed before first use. */
struct s3_complete_request {
    struct s3_input input;
    struct s3_body *body;             /* owned */
    struct s3_body_result named;      /* borrowed: lives as long as body */
    char etag[S3_ETAG_MAX];           /* of the object, as the named parts make it */
    struct s3_conditions conditions;  /* into text */
    char *text;                       /* owned */
    struct s3_checksum_value sum;     /* x-amz-checksum-*: the object's; kind NONE: not sent */
    struct mkv_slice type;            /* x-amz-checksum-type; into text */
    int64_t size;                     /* x-amz-mp-object-size; -1: not sent */
    struct mkv_slice host, path;      /* as the client wrote them; into text */
};

/* The head.  S3_OK, or the error and *why. */
enum s3_error s3_complete_request_init(struct s3_complete_request *q, const struct s3_call *c,
                                       const char **why) MKV_MUSTUSE;
void s3_complete_request_clear(struct s3_complete_request *q);
/* The body; errors as s3_input and s3_body have them; why is in q->input. */
enum s3_error s3_complete_request_add(struct s3_complete_request *q,
                                      struct mkv_bytes piece) MKV_MUSTUSE;
/* Also S3_INVALID_PART_ORDER, S3_INVALID_PART. */
enum s3_error s3_complete_request_end(struct s3_complete_request *q,
                                      const struct mkv_request *r) MKV_MUSTUSE;
/* The named parts have been read: their memory goes. */
void s3_complete_request_read(struct s3_complete_request *q);

/* Whether the object is what the headers say.  S3_OK; S3_INVALID_REQUEST, S3_BAD_DIGEST
 * and *why. */
enum s3_error s3_complete_check(const struct s3_complete_request *q, const struct s3_plan *plan,
                                const char **why) MKV_MUSTUSE;

/* <Location>: the object's URL, as the client wrote it. */
void s3_complete_location(const struct s3_complete_request *q, struct s3_xml *x);

#endif
