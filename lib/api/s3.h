/* lib/api/s3.h - the S3 API beside the native one: which requests are its own,
 * and what it keeps for all of them.
 *
 * A request is S3 if it is signed, carries an x-amz-* or amz-sdk-* header or one
 * of S3's sub-resources in its query, or came in on -s3-port; the methods and
 * operations that only the native API has stay native. */
#ifndef MKV_API_S3_H
#define MKV_API_S3_H

#include "api/route.h"
#include "api/s3_error.h"
#include "mkv/config.h"
#include "mkv/store.h"

/* The access keys, the signing keys in use, the chores of multipart uploads. */
struct mkv_s3;

/* All borrowed: they outlive it.  On an error, why names the file of -keys or
 * the flag and says what to do. */
enum mkv_err mkv_s3_open(struct mkv_s3 **out, struct mkv_loop *loop, struct mkv_store *store,
                         const struct mkv_config *cfg, char *why, size_t why_size) MKV_MUSTUSE;
/* Before the store is closed, and after the fronts: what went on without a client is
 * dropped.  What asked the index is called back while the store closes. */
void mkv_s3_stop(struct mkv_s3 *s3);
void mkv_s3_close(struct mkv_s3 *s3); /* after the store; both: NULL is fine */

/* Reads the file of -keys again; where it can not be read the old keys stay, and
 * the log says why. */
void mkv_s3_reload(struct mkv_s3 *s3);

/* Whether there are -keys. */
bool s3_checks_signatures(const struct mkv_api *api);
bool s3_is_s3(const struct mkv_request *r, const struct mkv_api *api);
/* Answers r, at once or later. */
void s3_handle(struct mkv_request *r, const struct mkv_api *api);

/* Whether a native request may go on: true without -keys, and *signature is left
 * alone.  Else r must be signed by a key that may do it, and *signature says what
 * its body must be; where it is not, it has been answered. */
struct s3_signature;
bool s3_allows_native(struct mkv_request *r, const struct mkv_api *api,
                      struct s3_signature *signature);
/* Whether the bucket of a native key that gets a value is there, as -keys demand:
 * S3_OK also where the key is in none, or the name is none that a bucket can have.
 * Asked again just before the commit. */
enum s3_error s3_native_bucket(const struct mkv_api *api, struct mkv_slice key) MKV_MUSTUSE;

#endif
