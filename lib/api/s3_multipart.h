/* lib/api/s3_multipart.h - what the handlers of multipart uploads share: which
 * upload a request means, what is kept of it, and who is ending it. */
#ifndef MKV_API_S3_MULTIPART_H
#define MKV_API_S3_MULTIPART_H

#include "api/s3_call.h"
#include "api/s3_checksum.h"
#include "api/s3_server.h"
#include "mkv/index.h"

#define S3_PART_MAX (INT64_C(5) * 1024 * 1024 * 1024) /* bytes of one part             */
#define S3_PART_MIN (5 * 1024 * 1024)                 /* of each but the last          */
#define S3_UPLOAD_ID_TEXT (2 * MKV_UPLOAD_ID_LEN)     /* an id as clients see it: hex  */

void s3_upload_id_text(const uint8_t id[MKV_UPLOAD_ID_LEN], char out[S3_UPLOAD_ID_TEXT + 1]);
/* False where it is none that was ever given out. */
bool s3_upload_id_parse(struct mkv_slice text, uint8_t id[MKV_UPLOAD_ID_LEN]);

/* Of the request's uploadId; only during the handler's begin.  S3_OK,
 * S3_NO_SUCH_UPLOAD. */
enum s3_error s3_upload_id(const struct s3_call *c, uint8_t id[MKV_UPLOAD_ID_LEN]) MKV_MUSTUSE;
/* The upload of c's key with that id; out->what must be initialised.  S3_OK,
 * S3_NO_SUCH_UPLOAD, S3_INTERNAL_ERROR. */
enum s3_error s3_upload_get(const struct s3_call *c, const uint8_t id[MKV_UPLOAD_ID_LEN],
                            struct mkv_upload *out) MKV_MUSTUSE;
/* Both. */
enum s3_error s3_upload_find(const struct s3_call *c, struct mkv_upload *out) MKV_MUSTUSE;

/* ---- the checksum that its object will get --------------------------------------- */

struct s3_upload_sum {
    enum s3_checksum kind; /* NONE: none                                             */
    bool full;             /* FULL_OBJECT: of the bytes; else COMPOSITE: of the parts' */
};
/* By x-amz-checksum-algorithm and -type.  S3_OK, S3_INVALID_REQUEST and *why. */
enum s3_error s3_upload_sum_of_headers(const struct s3_call *c, struct s3_upload_sum *out,
                                       const char **why) MKV_MUSTUSE;
enum mkv_err s3_upload_set_sum(struct mkv_record *what, struct s3_upload_sum sum) MKV_MUSTUSE;
struct s3_upload_sum s3_upload_sum(const struct mkv_record *what);
struct mkv_slice s3_upload_sum_type(struct s3_upload_sum sum); /* "COMPOSITE", "FULL_OBJECT" */
/* <ChecksumAlgorithm> and <ChecksumType>; nothing where there is none. */
void s3_upload_sum_xml(struct s3_upload_sum sum, struct s3_xml *x);

/* <Initiator>, <Owner> and <StorageClass>, as both listings have them. */
void s3_upload_owner_xml(const struct s3_call *c, const struct mkv_record *what, struct s3_xml *x);

/* ---- ending it -------------------------------------------------------------------- */

/* Somebody completes or aborts it just now: wait, and look again. */
bool s3_upload_is_ending(const struct mkv_s3 *s3, const uint8_t id[MKV_UPLOAD_ID_LEN]);
/* e is on the list until s3_ending_end().  drop: see struct s3_ending. */
void s3_ending_begin(struct s3_ending *e, struct mkv_s3 *s3, const uint8_t id[MKV_UPLOAD_ID_LEN],
                     void (*drop)(void *arg), void *arg);
void s3_ending_end(struct s3_ending *e);

#endif
