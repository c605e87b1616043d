#include "store/turns.h"

#include "store/store.h"

#include <event2/event.h>

/* Who has a turn, or waits for one, is among those under way; the others are clients. */
static bool is_quiet(const struct mkv_store *s)
{
    return s->nops <= s->turns.ntaken + s->turns.nwaiting &&
           mkv_loop_now(s->loop) >= s->turns.asked_ms + TURNS_QUIET_MS;
}

static bool may_begin(const struct mkv_store *s)
{
    return is_quiet(s) || (s->turns.ntaken < TURNS_BESIDE &&
                           mkv_loop_now(s->loop) >= s->turns.begun_ms + TURNS_APART_MS);
}

static void leave_queue(struct turns *all, struct turn *t)
{
    TAILQ_REMOVE(&all->waiting, t, link);
    if (--all->nwaiting == 0) event_del(&all->tick);
}

static void take(struct mkv_store *s, struct turn *t)
{
    t->step = TURN_TAKEN;
    s->turns.ntaken++;
    s->turns.begun_ms = mkv_loop_now(s->loop);
}

static void give_turns(void *arg)
{
    struct mkv_store *s = arg;
    struct turn *t;

    while ((t = TAILQ_FIRST(&s->turns.waiting)) && may_begin(s)) {
        leave_queue(&s->turns, t);
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

void turns_open(struct mkv_store *s)
{
    struct turns *all = &s->turns;

    TAILQ_INIT(&all->waiting);
    event_assign(&all->tick, mkv_loop_base(s->loop), -1, EV_PERSIST, on_tick, s);
    all->ended.run = give_turns;
    all->ended.arg = s;
}

void turns_close(struct mkv_store *s)
{
    mkv_loop_forget(s->loop, &s->turns.ended);
}

bool turns_take(struct mkv_store *s, struct turn *t, void (*begin)(void *arg), void *arg)
{
    static const struct timeval apart = {0, TURNS_APART_MS * 1000};
    struct turns *all = &s->turns;

    t->step = TURN_WAITS;
    t->begin = begin;
    t->arg = arg;
    TAILQ_INSERT_TAIL(&all->waiting, t, link);
    all->nwaiting++;
    if (all->nwaiting > 1) return false; /* behind the others */
    /* Without a timer nobody could be sure to be called. */
    if (!may_begin(s) && !event_add(&all->tick, &apart)) return false;
    leave_queue(all, t);
    take(s, t);
    return true;
}

void turns_leave(struct mkv_store *s, struct turn *t)
{
    struct turns *all = &s->turns;

    if (t->step == TURN_TAKEN)
        all->ntaken--;
    else if (t->step == TURN_WAITS)
        leave_queue(all, t);
    t->step = TURN_NONE;
    if (all->nwaiting) mkv_loop_at_end(s->loop, &all->ended);
}

void turns_asked(struct mkv_store *s)
{
    s->turns.asked_ms = mkv_loop_now(s->loop);
}
