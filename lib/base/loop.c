#include "mkv/loop.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <time.h>

struct chore_list {
    struct mkv_chore *first;    /* borrowed: embedded in their objects */
    struct mkv_chore **end;
};

struct mkv_loop {
    struct event_base *base;    /* owned */
    struct chore_list chores;
    struct chore_list last;     /* run when there are no others */
    struct mkv_retired *retired;
    bool stopping;
    int crowd;                  /* see mkv_loop_gather() */
    struct timespec next_turn;  /* with a crowd: not before; on CLOCK_MONOTONIC */
    bool clock_read;            /* now and wall are of this turn */
    uint64_t now;
    int64_t wall;
    int64_t date_of;            /* the second that date says */
    char date[MKV_HTTP_DATE_MAX];
};

enum mkv_err mkv_loop_open(struct mkv_loop **out)
{
    struct mkv_loop *loop = calloc(1, sizeof(*loop));
    struct event_config *config = event_config_new();
    enum mkv_err err = MKV_ENOMEM;

    if (!loop || !config) goto out;
    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    loop->chores.end = &loop->chores.first;
    loop->last.end = &loop->last.first;
    loop->base = event_base_new_with_config(config);
    if (!loop->base) goto out;
    *out = loop;
    loop = NULL;
    err = MKV_OK;
out:
    if (config) event_config_free(config);
    free(loop);
    return err;
}

struct event_base *mkv_loop_base(struct mkv_loop *loop)
{
    return loop->base;
}

static bool has_chores(const struct mkv_loop *loop)
{
    return loop->chores.first || loop->last.first;
}

static void run_chores(struct mkv_loop *loop)
{
    struct mkv_chore *c;

    while ((c = loop->chores.first ? loop->chores.first : loop->last.first)) {
        mkv_loop_forget(loop, c);
        c->run(c->arg);
    }
}

static void free_retired(struct mkv_loop *loop)
{
    struct mkv_retired *r;

    while ((r = loop->retired)) {
        loop->retired = r->next;
        r->destroy(r->arg);
    }
}

void mkv_loop_settle(struct mkv_loop *loop)
{
    while (has_chores(loop) || loop->retired) { /* destroying may queue a chore */
        run_chores(loop);
        free_retired(loop);
    }
    loop->clock_read = false;
}

void mkv_loop_close(struct mkv_loop *loop)
{
    if (!loop) return;
    mkv_loop_settle(loop);
    assert(loop->crowd == 0);
    event_base_free(loop->base);
    free(loop);
}

void mkv_loop_gather(struct mkv_loop *loop, int more_or_fewer)
{
    loop->crowd += more_or_fewer;
    assert(loop->crowd >= 0);
}

/* A signal ends the sleep early: its handler has something for the loop to do. */
static void gather(struct mkv_loop *loop)
{
    long apart_us = loop->crowd < MKV_LOOP_THRONG ? MKV_LOOP_GATHER_US : MKV_LOOP_THRONG_US;
    struct timespec *next = &loop->next_turn;

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
    clock_gettime(CLOCK_MONOTONIC, next);
    next->tv_nsec += apart_us * 1000;
    next->tv_sec += next->tv_nsec / 1000000000;
    next->tv_nsec %= 1000000000;
}

void mkv_loop_turn(struct mkv_loop *loop)
{
    bool waiting = has_chores(loop) || loop->retired; /* queued outside of a turn */

    if (loop->crowd >= MKV_LOOP_CROWD && !waiting) gather(loop);
    /* NONBLOCK alone would go round until no event is active any more. */
    event_base_loop(loop->base, EVLOOP_ONCE | (waiting ? EVLOOP_NONBLOCK : EVLOOP_NO_EXIT_ON_EMPTY));
    mkv_loop_settle(loop);
}

void mkv_loop_run(struct mkv_loop *loop)
{
    loop->stopping = false;
    while (!loop->stopping) mkv_loop_turn(loop);
}

void mkv_loop_stop(struct mkv_loop *loop)
{
    loop->stopping = true;
}

static void read_clock(struct mkv_loop *loop)
{
    struct timespec t;

    if (loop->clock_read) return;
    clock_gettime(CLOCK_MONOTONIC, &t);
    loop->now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    loop->wall = t.tv_sec;
    loop->clock_read = true;
}

uint64_t mkv_loop_now(struct mkv_loop *loop)
{
    read_clock(loop);
    return loop->now;
}

int64_t mkv_loop_wall(struct mkv_loop *loop)
{
    read_clock(loop);
    return loop->wall;
}

void mkv_http_date(char out[MKV_HTTP_DATE_MAX], int64_t wall)
{
    time_t seconds = (time_t)wall;
    struct tm tm;

    out[0] = '\0';
    /* The C locale: no program of ours calls setlocale(). */
    if (gmtime_r(&seconds, &tm)) strftime(out, MKV_HTTP_DATE_MAX, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

const char *mkv_loop_http_date(struct mkv_loop *loop)
{
    read_clock(loop);
    if (loop->date_of != loop->wall || !loop->date[0]) {
        mkv_http_date(loop->date, loop->wall);
        loop->date_of = loop->wall;
    }
    return loop->date;
}

static void queue(struct chore_list *list, struct mkv_chore *c)
{
    if (c->prev) return;
    c->next = NULL;
    c->prev = list->end;
    *list->end = c;
    list->end = &c->next;
}

void mkv_loop_at_end(struct mkv_loop *loop, struct mkv_chore *c)
{
    queue(&loop->chores, c);
}

void mkv_loop_at_very_end(struct mkv_loop *loop, struct mkv_chore *c)
{
    queue(&loop->last, c);
}

void mkv_loop_forget(struct mkv_loop *loop, struct mkv_chore *c)
{
    if (!c->prev) return;
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else if (loop->last.end == &c->next)
        loop->last.end = c->prev;
    else
        loop->chores.end = c->prev;
    c->prev = NULL;
}

void mkv_loop_retire(struct mkv_loop *loop, struct mkv_retired *r, void (*destroy)(void *),
                     void *arg)
{
    r->destroy = destroy;
    r->arg = arg;
    r->next = loop->retired;
    loop->retired = r;
}
