/* include/mkv/loop.h - the one event loop, and what happens between its turns.
 *
 * A turn is one pass of libevent's loop.  At its end the chores queued during
 * the turn run (flush a connection's output, hand index writes to the
 * committer), then everything retired is freed: nothing is freed under its
 * own feet.  Single-threaded: every call is made on the loop's thread. */
#ifndef MKV_LOOP_H
#define MKV_LOOP_H

#include "mkv/err.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct mkv_loop;

enum mkv_err mkv_loop_open(struct mkv_loop **out) MKV_MUSTUSE;
void mkv_loop_close(struct mkv_loop *loop); /* runs what is queued; NULL is fine */

struct event_base *mkv_loop_base(struct mkv_loop *loop); /* borrowed */

/* Runs turns until mkv_loop_stop().  One turn: mkv_loop_turn(). */
void mkv_loop_run(struct mkv_loop *loop);
void mkv_loop_turn(struct mkv_loop *loop);
void mkv_loop_stop(struct mkv_loop *loop);
/* What a turn ends with, without waiting for events: for closing things down. */
void mkv_loop_settle(struct mkv_loop *loop);

/* How many pieces of work wait for something that costs hardly more for several than
 * for one - a commit, a write to a volume's connection, a wake-up: more when one begins
 * to, fewer once it does not any more.  While there are MKV_LOOP_CROWD of them, turns
 * begin MKV_LOOP_GATHER_US apart, so that each finds what several are waiting for; while
 * there are MKV_LOOP_THRONG, MKV_LOOP_THRONG_US do for that. */
#define MKV_LOOP_CROWD     8
#define MKV_LOOP_GATHER_US 800
#define MKV_LOOP_THRONG    32
#define MKV_LOOP_THRONG_US 400
void mkv_loop_gather(struct mkv_loop *loop, int more_or_fewer);

/* Milliseconds on a clock that never jumps; read once per turn. */
uint64_t mkv_loop_now(struct mkv_loop *loop);
/* Seconds since 1970; read once per turn. */
int64_t mkv_loop_wall(struct mkv_loop *loop);
/* The wall clock as an HTTP date ("Sun, 22 Nov 2026 10:00:00 GMT"), 29
 * characters and a NUL, made at most once a second. */
const char *mkv_loop_http_date(struct mkv_loop *loop);
/* Any time, in the same form. */
#define MKV_HTTP_DATE_MAX 30
void mkv_http_date(char out[MKV_HTTP_DATE_MAX], int64_t wall);

/* Embedded in the object that has something left to do at the end of the
 * turn.  Zeroed before first use.  run() may queue chores again, its own too:
 * those run in the same end of turn. */
struct mkv_chore {
    void (*run)(void *arg);
    void *arg;
    struct mkv_chore *next; /* the loop's */
    struct mkv_chore **prev;
};
void mkv_loop_at_end(struct mkv_loop *loop, struct mkv_chore *chore); /* queued already: no-op */
/* The same, after every chore that was queued with mkv_loop_at_end(), also by one of
 * those: for writing to a socket, so that all that there is leaves at once. */
void mkv_loop_at_very_end(struct mkv_loop *loop, struct mkv_chore *chore);
void mkv_loop_forget(struct mkv_loop *loop, struct mkv_chore *chore); /* not queued: no-op */

/* Embedded in an object that is finished; destroy(arg) runs exactly once,
 * after the chores of this turn. */
struct mkv_retired {
    void (*destroy)(void *arg);
    void *arg;
    struct mkv_retired *next; /* the loop's */
};
void mkv_loop_retire(struct mkv_loop *loop, struct mkv_retired *r, void (*destroy)(void *),
                     void *arg);

#endif
