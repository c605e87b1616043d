/* lib/api/s3_slow.h - an answer that may take its time.
 *
 * What is known within a moment gets its own status.  After that 200 goes out,
 * and white space every few seconds, so that nobody on the way takes the
 * connection for dead; the result, or the error, is then in the body alone. */
#ifndef MKV_API_S3_SLOW_H
#define MKV_API_S3_SLOW_H

#include "api/s3_call.h"

#include <event2/event_struct.h>

/* Until the head goes out.  Not every client looks for an error in the body of a
 * copy: so those that do not take long have a status. */
#define S3_SLOW_FIRST_MS 1000
#define S3_SLOW_COPY_MS  5000
#define S3_SLOW_EACH_MS  3000 /* between two bits of white space                    */

/* Zeroed before first use. */
struct s3_slow {
    struct s3_call *c; /* borrowed; NULL: not started, or over */
    struct event tick;
    bool begun;        /* the head has gone out                */
    bool broken;       /* its beginning is lost: no memory     */
};

/* Started already: no-op. */
void s3_slow_start(struct s3_slow *s, struct s3_call *c, unsigned first_ms);
void s3_slow_stop(struct s3_slow *s); /* nobody waits any more; not started: no-op */

/* x as s3_xml_init left it: the root element of the answer. */
void s3_slow_root(const struct s3_slow *s, struct s3_xml *x, const char *name);
/* Each ends the call, as s3_reply_...() do, which they also serve where it was not
 * started. */
void s3_slow_reply(struct s3_slow *s, struct s3_call *c, struct s3_xml *x); /* x is cleared */
void s3_slow_error(struct s3_slow *s, struct s3_call *c, enum s3_error err, const char *why);
void s3_slow_failure(struct s3_slow *s, struct s3_call *c, enum mkv_err err);

#endif
