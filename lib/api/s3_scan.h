/* lib/api/s3_scan.h - a walk over live keys in slices, with other requests in
 * between: a listing, a search, a count. */
#ifndef MKV_API_S3_SCAN_H
#define MKV_API_S3_SCAN_H

#include "api/route.h"
#include "mkv/index.h"

#include <event2/event_struct.h>

#define S3_SCAN_SLICE 2000 /* keys examined in one turn: about a millisecond */

enum s3_scan_step {
    S3_SCAN_ON,   /* and the next one                                     */
    S3_SCAN_SKIP, /* ...that does not begin with the first *skip bytes of this key */
    S3_SCAN_STOP  /* enough; this key has been seen                       */
};
/* data: the encoded record; both are valid during the call only. */
typedef enum s3_scan_step s3_scan_visit(struct mkv_slice key, const uint8_t *data, size_t len,
                                        size_t *skip, void *arg);
typedef void s3_scan_done(enum mkv_err err, void *arg);

struct s3_scan {
    struct mkv_walk walk;
    const struct mkv_api *api; /* borrowed */
    s3_scan_visit *visit;
    s3_scan_done *done;
    void *arg;
    char prefix[MKV_KEY_MAX];
    char skip[MKV_KEY_MAX];
    size_t skip_len;
    enum s3_scan_step step;
    size_t left; /* of this slice */
    struct event turn;
};

/* Live keys that begin with prefix, from start on (after: behind it).  MKV_OK: it
 * has ended; MKV_PENDING: done() follows; else an error.  prefix and start are
 * copied. */
enum mkv_err s3_scan_start(struct s3_scan *s, const struct mkv_api *api, struct mkv_slice prefix,
                           struct mkv_slice start, bool after, s3_scan_visit *visit,
                           s3_scan_done *done, void *arg) MKV_MUSTUSE;
/* Before done(), or never started but zeroed: no callback follows.  In gone(), too:
 * a call is freed at the end of the turn, and the next slice may come before. */
void s3_scan_cancel(struct s3_scan *s);

#endif
