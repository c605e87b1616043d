/* lib/jobs/digester.h - MD5s taken by threads beside the loop.
 *
 * One core digests less than the loop can read; so the loop copies what is to
 * be digested into pieces, and threads take these.  The pieces of one stream
 * are digested one after the other, those of several side by side, by one
 * thread too (base/md5_lanes.h).  Calls and
 * callbacks are the loop's thread's. */
#ifndef MKV_JOBS_DIGESTER_H
#define MKV_JOBS_DIGESTER_H

#include "mkv/digest.h"
#include "mkv/loop.h"

#include <stddef.h>

#define DIGESTER_PIECE   (256 * 1024) /* a stream has two: one fills while one is digested */
#define DIGESTER_SMALL   (16 * 1024)  /* so little is digested by the loop itself          */
#define DIGESTER_GATHER_MS 5         /* so long a piece may wait for others to go with it  */
#define DIGESTER_THREADS 4            /* at most; one fewer than there are processors      */

struct digester;
struct digest_stream;

/* None runs inside a call on the stream. */
struct digest_events {
    void (*room)(void *arg); /* digest_stream_add() took less than it was given */
    /* After digest_stream_end(); the stream is gone.  md5: during the call. */
    void (*done)(const uint8_t md5[MKV_MD5_LEN], void *arg);
};

enum mkv_err digester_open(struct digester **out, struct mkv_loop *loop) MKV_MUSTUSE;
/* Its streams end without calling back.  NULL is fine. */
void digester_close(struct digester *d);

/* events are borrowed: they outlive the stream. */
enum mkv_err digest_stream_open(struct digest_stream **out, struct digester *d,
                                const struct digest_events *events, void *arg) MKV_MUSTUSE;
/* Copies as much as there is room for; returns how much.  Where that is not
 * all, room() follows. */
size_t digest_stream_add(struct digest_stream *s, const void *data, size_t len);
void digest_stream_end(struct digest_stream *s);    /* that was all: done() follows */
void digest_stream_cancel(struct digest_stream *s); /* no callback; NULL is fine    */

#endif
