/* lib/net/digester.h - digests of bodies, taken by threads beside the loop.
 *
 * One core digests less than the loop can move.  So the loop keeps references
 * to the blocks that it has read into, and threads read them.  The bytes of
 * one stream are digested one piece after the other, MD5s of several streams
 * side by side, by one thread too (base/md5_lanes.h).  What is short the loop
 * digests itself.  Calls and callbacks are the loop's thread's. */
#ifndef MKV_NET_DIGESTER_H
#define MKV_NET_DIGESTER_H

#include "mkv/digest.h"
#include "mkv/loop.h"
#include "net/block.h"

#include <stdbool.h>
#include <stddef.h>

#define DIGESTER_SHORT (64 * 1024)   /* so much of a stream is no work for a thread        */
#define DIGESTER_LEAST (32 * 1024)   /* of a longer one, a thread takes so much or more    */
/* A stream so far behind is full, until it has caught up by a quarter.  Threads that
 * share their cores with volumes digest in bursts: much less, and volumes run dry. */
#define DIGESTER_HIGH  (8 * 1024 * 1024) /* all streams together...                        */
#define DIGESTER_PART  (1024 * 1024)     /* ...but each so much, however many they are     */
#define DIGESTER_THREADS   4         /* at most; one fewer than there are processors       */
#define DIGESTER_SUMS_MAX  4

struct digester;
struct digest_stream;

/* Something else to be taken of the same bytes. */
struct digest_sum {
    /* In a thread or the loop's, one call at a time. */
    void (*add)(void *state, const void *data, size_t len);
    void (*destroy)(void *state); /* the loop's thread, after done() or a cancel; may be NULL */
    void *state; /* the stream's, from digest_stream_open() to destroy(); the caller reads it in done() */
};

struct digest_options {
    bool md5;
    const struct digest_sum *sums; /* copied; at most DIGESTER_SUMS_MAX */
    size_t nsums;
};

/* None runs inside a call on the stream. */
struct digest_events {
    void (*room)(void *arg); /* digest_stream_full() was true and no longer is */
    /* After digest_stream_end(); the stream is gone.  md5: during the call; NULL
     * where it was not asked for. */
    void (*done)(const uint8_t *md5, void *arg);
};

/* gather_ms: so long a piece may wait for others to go with it.  Longer costs
 * less for each byte, and whoever waits for the digests has them later. */
enum mkv_err digester_open(struct digester **out, struct mkv_loop *loop,
                           unsigned gather_ms) MKV_MUSTUSE;
/* Its streams end without calling back.  NULL is fine. */
void digester_close(struct digester *d);

/* events are borrowed: they outlive the stream.  On an error the states of the
 * sums stay the caller's. */
enum mkv_err digest_stream_open(struct digest_stream **out, struct digester *d,
                                const struct digest_options *opt,
                                const struct digest_events *events, void *arg) MKV_MUSTUSE;
/* Takes all of it, full or not; what lies in a block is kept by reference.
 * MKV_ENOMEM: the stream is of no more use. */
enum mkv_err digest_stream_add(struct digest_stream *s, struct mkv_bytes bytes) MKV_MUSTUSE;
/* Far behind: stop adding until room(). */
bool digest_stream_full(const struct digest_stream *s);
void digest_stream_end(struct digest_stream *s);    /* that was all: done() follows */
void digest_stream_cancel(struct digest_stream *s); /* no callback; NULL is fine    */

#endif
