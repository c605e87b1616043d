/* lib/store/turns.h - moves give way to clients.
 *
 * While clients ask for other things, or wait for them, a volume serves one move at a
 * time, and then is left alone by moves for as long as that took, but for no less than
 * TURNS_REST_MIN_MS and no more than TURNS_REST_MAX_MS: small values cost it half of its
 * time at most, large ones one stream.  Volumes that have nothing to do with each
 * other do not wait for each other, so that a hundred of them get further than five;
 * but no more than TURNS_BESIDE moves are under way at once, and none begins within
 * TURNS_APART_MS of the one before, so that the master's loop has time for clients, too.
 * When it has been quiet for TURNS_QUIET_MS they all go on.
 *
 * The others wait in a queue.  They may overtake each other, but nobody takes a volume
 * that the first of them waits for: so each gets its turn.  Only the first
 * TURNS_LOOKED_AT are asked whether they may begin, however many there are. */
#ifndef MKV_STORE_TURNS_H
#define MKV_STORE_TURNS_H

#include "mkv/limits.h"
#include "mkv/loop.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define TURNS_BESIDE      8
#define TURNS_APART_MS    2
#define TURNS_QUIET_MS    100
#define TURNS_REST_MIN_MS 5
#define TURNS_REST_MAX_MS 50

#define TURN_VOLUMES_MAX (2 * MKV_REPLICAS_MAX) /* all that are read and all that are written */
#define TURNS_LOOKED_AT  32
#define TURNS_RESTS_MAX  32 /* at once; more than moves begin and end meanwhile */

struct mkv_store;

enum turn_step { TURN_NONE, TURN_WAITS, TURN_TAKEN };

/* Embedded in the machine that takes it; zero before first use. */
struct turn {
    enum turn_step step;
    unsigned nvolumes;
    uint32_t volumes[TURN_VOLUMES_MAX]; /* ids of the index's table */
    TAILQ_ENTRY(turn) link;
    uint64_t begun_ms;
    void (*begin)(void *arg); /* it has its turn after all; never inside turns_take() */
    void *arg;
};

TAILQ_HEAD(turn_queue, turn);

/* The volumes of a turn that is over, and until when no other may have them. */
struct turn_rest {
    uint64_t until_ms;
    unsigned nvolumes;
    uint32_t volumes[TURN_VOLUMES_MAX]; /* ids of the index's table */
};

/* Of a store. */
struct turns {
    struct turn_queue waiting, taken;
    size_t nwaiting, ntaken;
    struct turn_rest rests[TURNS_RESTS_MAX]; /* in no order */
    uint64_t asked_ms;                       /* when the last request of a client came      */
    uint64_t begun_ms;                       /* when the last turn was taken                */
    struct event tick;                       /* while some wait: when one may be able to go */
    struct mkv_chore ended;                  /* a turn has, or another reason to look again */
};

void turns_open(struct mkv_store *s);  /* its loop is set, the rest zero */
void turns_close(struct mkv_store *s); /* nobody has or awaits a turn */
/* One more volume, before turns_take(); TURN_VOLUMES_MAX of them at most. */
void turn_will_use(struct turn *t, uint32_t volume);
/* There was nothing to be done to any of them: they need no rest. */
void turn_used_none(struct turn *t);
/* For something that is under way (store_op_begin).  True: go on.  False: begin(arg)
 * will be called, unless turns_leave() comes first. */
bool turns_take(struct mkv_store *s, struct turn *t, void (*begin)(void *arg), void *arg);
void turns_leave(struct mkv_store *s, struct turn *t);
/* A client asks for something. */
void turns_asked(struct mkv_store *s);

#endif
