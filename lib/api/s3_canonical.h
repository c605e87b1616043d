/* lib/api/s3_canonical.h - the text that signature version 4 signs.
 *
 * Inside the signature code only; everybody else includes s3_sign.h. */
#ifndef MKV_API_S3_CANONICAL_H
#define MKV_API_S3_CANONICAL_H

#include "api/s3_sign.h"

enum s3_canonical_form {
    S3_CANONICAL, /* path and query decoded and encoded again, query sorted, spaces collapsed */
    S3_AS_SENT    /* path, query and values as they came                                      */
};

/* The canonical request.  signed_headers: "host;x-amz-date", each name once.
 * payload: the last line.  X-Amz-Signature is left out of the query where
 * presigned.  *out is owned by the caller (free).
 * S3_OK, S3_INVALID_URI (a '%' without two digits), S3_INTERNAL_ERROR (memory). */
enum s3_error s3_canonical_request(const struct s3_sign_request *r, struct mkv_slice signed_headers,
                                   struct mkv_slice payload, bool presigned,
                                   enum s3_canonical_form form, char **out,
                                   size_t *len) MKV_MUSTUSE;

/* "a;b;c" one by one, empty names included: start with *rest the whole list,
 * which must not be empty; false at the end (rest->data is NULL then). */
bool s3_list_next(struct mkv_slice *rest, char separator, struct mkv_slice *item);

#endif
