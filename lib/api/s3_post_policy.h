/* lib/api/s3_post_policy.h - uploads by HTML forms: the signed policy that says
 * what may be sent.  Pure. */
#ifndef MKV_API_S3_POST_POLICY_H
#define MKV_API_S3_POST_POLICY_H

#include "api/s3_sign.h"

#define S3_POLICY_MAX (20 * 1024) /* bytes of the policy as the form has it (base64) */

/* The fields before the file, decoded, "${filename}" replaced in key; with the
 * bucket of the request as a field "bucket".  Names in either case. */
struct s3_post_form {
    const struct mkv_header *fields; /* borrowed for the call */
    size_t nfields;
    int64_t now; /* seconds since 1970 */
};

/* What the file's length must be. */
struct s3_post_limits {
    uint64_t min, max; /* 0 and UINT64_MAX where the policy names none */
};

/* S3_OK: the form was signed (version 4 or 2; out->kind says which way: as a
 * query's), has not expired, and every field is as the policy demands, none
 * beside.  Else the error to answer with: S3_ACCESS_DENIED, S3_INVALID_ACCESS_KEY_ID,
 * S3_SIGNATURE_DOES_NOT_MATCH, S3_INVALID_POLICY_DOCUMENT, S3_INVALID_ARGUMENT,
 * S3_INTERNAL_ERROR; out->why. */
enum s3_error s3_post_check(const struct s3_signer *signer, const struct s3_post_form *form,
                            struct s3_signature *out, struct s3_post_limits *limits) MKV_MUSTUSE;

#endif
