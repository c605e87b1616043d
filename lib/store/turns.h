/* lib/store/turns.h - moves give way to clients.
 *
 * While clients ask for other things, or wait for them, only TURNS_BESIDE moves
 * are under way at once, of which none begins within TURNS_APART_MS of the one
 * before; the rest wait for their turn, first come first served.  When it has been
 * quiet for TURNS_QUIET_MS they all go on.
 *
 * The distance bounds what small values cost clients: two at once, without it, are
 * 450 to 700 moves a second, and the slowest hundredth of the GETs beside them takes
 * 2.5 times as long as without them; with it, 1.6 times.  Values of a megabyte and
 * more take longer than it in any case. */
#ifndef MKV_STORE_TURNS_H
#define MKV_STORE_TURNS_H

#include "mkv/loop.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define TURNS_BESIDE   2
#define TURNS_APART_MS 5
#define TURNS_QUIET_MS 100

struct mkv_store;

enum turn_step { TURN_NONE, TURN_WAITS, TURN_TAKEN };

/* Embedded in the machine that takes it; zero before first use. */
struct turn {
    enum turn_step step;
    TAILQ_ENTRY(turn) link;
    void (*begin)(void *arg); /* it has its turn after all; never inside turns_take() */
    void *arg;
};

TAILQ_HEAD(turn_queue, turn);

/* Of a store. */
struct turns {
    struct turn_queue waiting;
    size_t nwaiting, ntaken;
    uint64_t asked_ms;      /* when the last request of a client came */
    uint64_t begun_ms;      /* when the last turn was taken            */
    struct event tick;      /* while some wait: is it time for one?    */
    struct mkv_chore ended; /* a turn has                              */
};

void turns_open(struct mkv_store *s); /* its loop is set, the rest zero */
void turns_close(struct mkv_store *s); /* nobody has or awaits a turn */
/* For something that is under way (store_op_begin).  True: go on.  False: begin(arg)
 * will be called, unless turns_leave() comes first. */
bool turns_take(struct mkv_store *s, struct turn *t, void (*begin)(void *arg), void *arg);
void turns_leave(struct mkv_store *s, struct turn *t);
/* A client asks for something. */
void turns_asked(struct mkv_store *s);

#endif
