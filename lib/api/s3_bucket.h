/* lib/api/s3_bucket.h - which buckets there are.
 *
 * A bucket has a record of its own in the index.  Without -keys one also is
 * there as long as it holds a live key, so that values written natively have a
 * bucket, too. */
#ifndef MKV_API_S3_BUCKET_H
#define MKV_API_S3_BUCKET_H

#include "api/route.h"
#include "api/s3_error.h"
#include "mkv/index.h"

/* S3_OK, S3_NO_SUCH_BUCKET, S3_INTERNAL_ERROR. */
enum s3_error s3_bucket_check(const struct mkv_api *api, struct mkv_slice bucket) MKV_MUSTUSE;

/* Whether something may be written into it: without -keys also where it is not
 * there yet.  Also S3_INVALID_BUCKET_NAME, and S3_NO_SUCH_BUCKET for a bucket
 * that is just being deleted. */
enum s3_error s3_bucket_may_write(const struct mkv_api *api, struct mkv_slice bucket) MKV_MUSTUSE;
/* The same just before the commit, since the bucket may have gone while the body
 * came; without -keys it comes into being now (its record is queued, and the
 * object's commit follows it). */
enum s3_error s3_bucket_for_write(const struct mkv_api *api, struct mkv_slice bucket) MKV_MUSTUSE;

/* Its record; whether a live key lies in it.  Errors as above. */
enum s3_error s3_bucket_find(const struct mkv_api *api, struct mkv_slice bucket,
                             struct mkv_bucket *out) MKV_MUSTUSE;
enum s3_error s3_bucket_holds_keys(const struct mkv_api *api, struct mkv_slice bucket) MKV_MUSTUSE;

#endif
