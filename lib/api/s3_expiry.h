/* lib/api/s3_expiry.h - uploads that nobody finishes: they go when they are older
 * than -multipart-expiry, or when their bucket is gone. */
#ifndef MKV_API_S3_EXPIRY_H
#define MKV_API_S3_EXPIRY_H

#include "api/s3_server.h"

#define S3_EXPIRY_EACH_MS (60 * 60 * 1000) /* how often they are looked for, at most      */
#define S3_EXPIRY_SLICE   500              /* uploads looked at in one turn               */

/* Looks for old uploads at once, and every now and then.  s3 is borrowed. */
enum mkv_err s3_expiry_open(struct s3_expiry **out, struct mkv_s3 *s3) MKV_MUSTUSE;
/* Looks no more; what the index was asked for comes to its end. */
void s3_expiry_stop(struct s3_expiry *e);  /* NULL is fine */
void s3_expiry_close(struct s3_expiry *e); /* after the index; NULL is fine */

#endif
