/* lib/api/s3_write.h - what every write of an object shares: its conditions, and
 * the first thing that went wrong with it. */
#ifndef MKV_API_S3_WRITE_H
#define MKV_API_S3_WRITE_H

#include "api/s3_call.h"
#include "api/s3_conditions.h"

/* Zeroed before first use. */
struct s3_write {
    struct s3_conditions conditions; /* borrowed: as long as s3_write_allow() may be called */
    bool conditional;                /* there are some: then it does not wait for a busy key */
    enum s3_error err;               /* the first failure; S3_OK until then */
    const char *why;                 /* static text, or NULL */
};

/* If-Match, If-None-Match and If-Unmodified-Since of the head.  S3_OK or
 * S3_INVALID_REQUEST. */
enum s3_error s3_write_conditions(struct s3_write *w, const struct mkv_header *headers,
                                  size_t n) MKV_MUSTUSE;
/* The same of a copy of them that the caller keeps. */
void s3_write_take(struct s3_write *w, const struct s3_conditions *conditions);
/* For the store's allow(): whether they hold for what is there. */
enum mkv_err s3_write_allow(struct s3_write *w, const struct s3_call *c,
                            const struct mkv_record *old) MKV_MUSTUSE;
/* Remembers err, if it is the first; the error with which the store is told to
 * take the write back, and which no client sees. */
enum mkv_err s3_write_refuse(struct s3_write *w, enum s3_error err, const char *why);

#endif
