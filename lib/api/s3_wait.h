/* lib/api/s3_wait.h - waiting for a key that another request is writing.
 *
 * S3 has no word for "busy" that its clients would try again at once, and among
 * several writers the last one wins: so one waits for the other. */
#ifndef MKV_API_S3_WAIT_H
#define MKV_API_S3_WAIT_H

#include "api/route.h"

#include <event2/event_struct.h>

#define S3_WAIT_EACH_MS 20    /* how often it is tried again       */
#define S3_WAIT_MAX_MS  20000 /* then SlowDown is the answer       */

/* Zeroed before first use. */
struct s3_wait {
    struct event event;
    bool assigned;
    uint64_t until;        /* on the loop's clock */
    struct mkv_request *r; /* borrowed; or NULL   */
    void (*again)(void *arg);
    void *arg;
};

/* again(arg) runs soon, which may wait once more; false where it has waited long
 * enough.  r is whose client waits: if that is gone by then, gone() runs instead.  NULL:
 * it is done all the same. */
bool s3_wait(struct s3_wait *w, const struct mkv_api *api, struct mkv_request *r,
             void (*again)(void *arg), void *arg) MKV_MUSTUSE;
/* In gone(), too: a call is freed at the end of the turn, and the time may be up before. */
void s3_wait_cancel(struct s3_wait *w);

#endif
