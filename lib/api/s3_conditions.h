/* lib/api/s3_conditions.h - what of an object is asked for, and whether it is
 * asked for at all: Range, If-Match and their kin (RFC 9110, sections 13, 14).
 * Pure. */
#ifndef MKV_API_S3_CONDITIONS_H
#define MKV_API_S3_CONDITIONS_H

#include "api/s3_error.h"
#include "mkv/err.h"
#include "mkv/slice.h"
#include "net/http1.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The headers' values; data is NULL where there is none.  Borrowed. */
struct s3_conditions {
    struct mkv_slice if_match, if_none_match, if_modified_since, if_unmodified_since;
    struct mkv_slice if_range, range;
};

/* What they are compared with. */
struct s3_object {
    struct mkv_slice etag; /* without quotes */
    int64_t mtime;         /* seconds since 1970 */
    uint64_t size;
};

/* Of a request's headers: its own ones, or the x-amz-copy-source-if-... ones
 * (without a range: that one is parsed by s3_copy_range).  False where one of
 * them comes twice: If-Match and If-None-Match are lists, but S3 and we take
 * them in one line. */
bool s3_conditions_find(const struct mkv_header *headers, size_t n, bool copy_source,
                        struct s3_conditions *out) MKV_MUSTUSE;

/* For GET and HEAD: S3_OK, S3_NOT_MODIFIED, S3_PRECONDITION_FAILED.  A date
 * that is none is ignored. */
enum s3_error s3_conditions_read(const struct s3_conditions *c,
                                 const struct s3_object *o) MKV_MUSTUSE;

/* For the source of a copy: S3_OK or S3_PRECONDITION_FAILED (never 304). */
enum s3_error s3_conditions_copy(const struct s3_conditions *c,
                                 const struct s3_object *o) MKV_MUSTUSE;

/* For PUT, DELETE and Complete; o is NULL where there is no object.  S3_OK,
 * S3_PRECONDITION_FAILED, S3_NO_SUCH_KEY (If-Match of nothing). */
enum s3_error s3_conditions_write(const struct s3_conditions *c,
                                  const struct s3_object *o) MKV_MUSTUSE;

/* ---- ranges ---- */

struct s3_range {
    uint64_t first, last; /* both included */
};

enum s3_range_kind {
    S3_RANGE_ALL,          /* no range, or one that S3 ignores: 200 with everything    */
    S3_RANGE_PART,         /* 206 with range                                           */
    S3_RANGE_UNSATISFIABLE /* 416: begins behind the end                               */
};

/* Of Range (and If-Range).  One range of bytes: first-last, first-, -suffix;
 * several, other units and nonsense are ignored. */
enum s3_range_kind s3_range(const struct s3_conditions *c, const struct s3_object *o,
                            struct s3_range *out);

/* x-amz-copy-source-range: only "bytes=first-last", both within the source.
 * S3_OK, S3_INVALID_ARGUMENT, S3_INVALID_RANGE. */
enum s3_error s3_copy_range(struct mkv_slice value, uint64_t size,
                            struct s3_range *out) MKV_MUSTUSE;

#endif
