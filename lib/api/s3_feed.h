/* lib/api/s3_feed.h - the parts of an upload, one behind the other, out of the
 * spool.  While one flows the beginning of the next is read already. */
#ifndef MKV_API_S3_FEED_H
#define MKV_API_S3_FEED_H

#include "api/s3_plan.h"
#include "mkv/spool.h"
#include "net/block.h"

struct s3_feed;

struct s3_feed_events {
    void (*body)(struct mkv_bytes piece, void *arg); /* none while paused              */
    void (*done)(enum mkv_err err, void *arg);       /* once, unless cancelled; MKV_OK: all of
                                                        them were given                */
};

/* One part that is open. */
struct s3_feed_slot {
    struct s3_feed *feed;
    struct mkv_spool_file *file; /* owned until it calls back */
    bool ended;
    enum mkv_err err;            /* how it ended              */
};

#define S3_FEED_OPEN 2

/* Zeroed before first use. */
struct s3_feed {
    struct mkv_spool *spool;    /* borrowed, as the next two */
    const uint8_t *id;
    const struct s3_plan *plan;
    size_t at;                  /* the part that flows */
    bool paused;
    struct s3_feed_slot slots[S3_FEED_OPEN]; /* part i is in slot i % S3_FEED_OPEN */
    const struct s3_feed_events *events;     /* borrowed */
    void *arg;
};

enum mkv_err s3_feed_start(struct s3_feed *f, struct mkv_spool *spool, const uint8_t *id,
                           const struct s3_plan *plan, const struct s3_feed_events *events,
                           void *arg) MKV_MUSTUSE;
void s3_feed_pause(struct s3_feed *f, bool paused);
void s3_feed_cancel(struct s3_feed *f); /* no callback; not started, or over: no-op */

#endif
