/* lib/api/s3_source.h - the source of a copy: found, allowed, and as the
 * conditions of the request want it. */
#ifndef MKV_API_S3_SOURCE_H
#define MKV_API_S3_SOURCE_H

#include "api/s3_call.h"
#include "mkv/record.h"

struct s3_source {
    struct mkv_record rec;
    struct mkv_slice object; /* its native key; into text */
    char text[MKV_KEY_MAX];
};

void s3_source_init(struct s3_source *s);
void s3_source_clear(struct s3_source *s);

/* By the x-amz-copy-source... headers of c.  S3_OK; S3_INVALID_ARGUMENT,
 * S3_NO_SUCH_VERSION, S3_ACCESS_DENIED, S3_NO_SUCH_BUCKET, S3_NO_SUCH_KEY,
 * S3_PRECONDITION_FAILED and others; *why: static text or NULL. */
enum s3_error s3_source_find(struct s3_source *s, const struct s3_call *c,
                             const char **why) MKV_MUSTUSE;
/* Whether the key still has the value that was found: a later one may bear the
 * same name on the volumes. */
bool s3_source_is_there(const struct s3_source *s, const struct s3_call *c);
#define S3_SOURCE_CHANGED "The source was changed meanwhile: try again."

#endif
