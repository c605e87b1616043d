#include "store/turns.h"

#include "store/store.h"

#include <event2/event.h>
#include <string.h>

/* Who has a turn, or waits for one, is among those under way; the others are clients. */
static bool is_quiet(const struct mkv_store *s)
{
    return s->nops <= s->turns.ntaken + s->turns.nwaiting &&
           mkv_loop_now(s->loop) >= s->turns.asked_ms + TURNS_QUIET_MS;
}

/* ---- volumes ------------------------------------------------------------------------- */

void turn_will_use(struct turn *t, uint32_t volume)
{
    t->volumes[t->nvolumes++] = volume;
}

void turn_used_none(struct turn *t)
{
    t->nvolumes = 0;
}

static bool uses_any(const struct turn *t, const uint32_t *volumes, unsigned n)
{
    for (unsigned i = 0; i < t->nvolumes; i++)
        for (unsigned k = 0; k < n; k++)
            if (t->volumes[i] == volumes[k]) return true;
    return false;
}

/* Whether one of its volumes is in use, rests, or is awaited by the first in the queue. */
static bool lacks_volume(const struct mkv_store *s, const struct turn *t)
{
    const struct turns *all = &s->turns;
    uint64_t now = mkv_loop_now(s->loop);
    const struct turn *other;

    TAILQ_FOREACH(other, &all->taken, link)
        if (uses_any(t, other->volumes, other->nvolumes)) return true;
    for (size_t i = 0; i < TURNS_RESTS_MAX; i++) {
        const struct turn_rest *rest = &all->rests[i];

        if (rest->until_ms > now && uses_any(t, rest->volumes, rest->nvolumes)) return true;
    }
    other = TAILQ_FIRST(&all->waiting);
    return other != t && uses_any(t, other->volumes, other->nvolumes);
}

static uint64_t rest_after(uint64_t took_ms)
{
    if (took_ms < TURNS_REST_MIN_MS) return TURNS_REST_MIN_MS;
    return took_ms < TURNS_REST_MAX_MS ? took_ms : TURNS_REST_MAX_MS;
}

/* In the place of the rest that is over, or is over first. */
static void begin_rest(struct mkv_store *s, const struct turn *t)
{
    uint64_t now = mkv_loop_now(s->loop), took = now - t->begun_ms;
    struct turn_rest *rest = &s->turns.rests[0];

    if (t->nvolumes == 0) return;
    for (size_t i = 1; i < TURNS_RESTS_MAX; i++)
        if (s->turns.rests[i].until_ms < rest->until_ms) rest = &s->turns.rests[i];
    rest->until_ms = now + rest_after(took);
    rest->nvolumes = t->nvolumes;
    memcpy(rest->volumes, t->volumes, t->nvolumes * sizeof(t->volumes[0]));
}

/* ---- whose turn it is ---------------------------------------------------------------- */

/* The first of those that wait that may begin now; NULL: none. */
static struct turn *find_next(const struct mkv_store *s)
{
    const struct turns *all = &s->turns;
    size_t looked_at = 0;
    struct turn *t;

    if (is_quiet(s)) return TAILQ_FIRST(&all->waiting);
    if (all->ntaken >= TURNS_BESIDE) return NULL;
    if (mkv_loop_now(s->loop) < all->begun_ms + TURNS_APART_MS) return NULL;
    TAILQ_FOREACH(t, &all->waiting, link) {
        if (looked_at++ == TURNS_LOOKED_AT) break;
        if (!lacks_volume(s, t)) return t;
    }
    return NULL;
}

static void leave_queue(struct turns *all, struct turn *t)
{
    TAILQ_REMOVE(&all->waiting, t, link);
    if (--all->nwaiting == 0) event_del(&all->tick);
}

static void take(struct mkv_store *s, struct turn *t)
{
    struct turns *all = &s->turns;

    leave_queue(all, t);
    TAILQ_INSERT_TAIL(&all->taken, t, link);
    all->ntaken++;
    t->step = TURN_TAKEN;
    t->begun_ms = all->begun_ms = mkv_loop_now(s->loop);
}

/* ---- when to look again -------------------------------------------------------------- */

static void sooner(uint64_t *at, uint64_t candidate, uint64_t now)
{
    if (candidate > now && candidate < *at) *at = candidate;
}

/* At the next moment at which one may begin although none ends.  False: there is no memory. */
static bool set_tick(struct mkv_store *s)
{
    struct turns *all = &s->turns;
    uint64_t now = mkv_loop_now(s->loop), at = now + TURNS_QUIET_MS;
    struct timeval wait = {0};

    sooner(&at, all->asked_ms + TURNS_QUIET_MS, now);
    sooner(&at, all->begun_ms + TURNS_APART_MS, now);
    for (size_t i = 0; i < TURNS_RESTS_MAX; i++)
        sooner(&at, all->rests[i].until_ms, now);
    wait.tv_usec = (suseconds_t)(at - now) * 1000; /* TURNS_QUIET_MS at most */
    return event_add(&all->tick, &wait) == 0;
}

/* Whose turn it is; NULL: nobody's, and there will be a tick for those that wait.
 * Without one they go now, since nobody would call them later. */
static struct turn *next_or_wait(struct mkv_store *s)
{
    struct turn *t = find_next(s);

    if (t || !s->turns.nwaiting || set_tick(s)) return t;
    return TAILQ_FIRST(&s->turns.waiting);
}

static void give_turns(void *arg)
{
    struct mkv_store *s = arg;
    struct turn *t;

    while ((t = next_or_wait(s))) {
        take(s, t);
        t->begin(t->arg);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    give_turns(arg);
}

/* ---- from outside -------------------------------------------------------------------- */

void turns_open(struct mkv_store *s)
{
    struct turns *all = &s->turns;

    TAILQ_INIT(&all->waiting);
    TAILQ_INIT(&all->taken);
    event_assign(&all->tick, mkv_loop_base(s->loop), -1, 0, on_tick, s);
    all->ended.run = give_turns;
    all->ended.arg = s;
}

void turns_close(struct mkv_store *s)
{
    mkv_loop_forget(s->loop, &s->turns.ended);
}

bool turns_take(struct mkv_store *s, struct turn *t, void (*begin)(void *arg), void *arg)
{
    struct turn *next;

    t->step = TURN_WAITS;
    t->begin = begin;
    t->arg = arg;
    TAILQ_INSERT_TAIL(&s->turns.waiting, t, link);
    s->turns.nwaiting++;
    next = find_next(s);
    if (next && next != t) {
        mkv_loop_at_end(s->loop, &s->turns.ended); /* that one first */
        return false;
    }
    if (!next && set_tick(s)) return false;
    take(s, t);
    return true;
}

void turns_leave(struct mkv_store *s, struct turn *t)
{
    struct turns *all = &s->turns;

    if (t->step == TURN_TAKEN) {
        TAILQ_REMOVE(&all->taken, t, link);
        all->ntaken--;
        begin_rest(s, t);
    } else if (t->step == TURN_WAITS) {
        leave_queue(all, t);
    }
    t->step = TURN_NONE;
    if (all->nwaiting) mkv_loop_at_end(s->loop, &all->ended);
}

void turns_asked(struct mkv_store *s)
{
    s->turns.asked_ms = mkv_loop_now(s->loop);
}
