/* lib/net/http1_server.c - the connections of the front, and its clock. */
#include "net/http1_server.h"
#include "mkv/log.h"
#include "net/http1_conn.h"

#include <stdlib.h>
#include <unistd.h>

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct http1_server *s = arg;
    uint64_t now = mkv_loop_now(s->opt.loop);
    struct conn *c, *next;

    (void)fd;
    (void)what;
    /* A connection closed on the way stays readable until the end of the turn,
     * its link too. */
    for (c = LIST_FIRST(&s->all); c; c = next) {
        next = LIST_NEXT(c, all);
        conn_check_time(c, now);
    }
}

static void arm_resume(struct http1_server *s)
{
    static const struct timeval at_once = {0, 0};

    if (event_add(s->resume, &at_once)) mkv_log_error("a connection stalls: out of memory");
}

void conn_resume_later(struct conn *c)
{
    struct http1_server *s = c->server;

    if (c->is_waiting || c->step == CONN_CLOSED) return;
    if (TAILQ_EMPTY(&s->waiting)) arm_resume(s);
    TAILQ_INSERT_TAIL(&s->waiting, c, waiting);
    s->nwaiting++;
    c->is_waiting = true;
}

static void on_feed(void *arg)
{
    struct conn *c = arg;

    c->is_fed = false;
    conn_resume(c);
}

void conn_feed_soon(struct conn *c)
{
    if (c->step == CONN_CLOSED) return;
    c->feed.run = on_feed;
    c->feed.arg = c;
    c->is_fed = true;
    mkv_loop_at_end(c->server->opt.loop, &c->feed);
}

void conn_forget_resume(struct conn *c)
{
    mkv_loop_forget(c->server->opt.loop, &c->feed);
    c->is_fed = false;
    if (!c->is_waiting) return;
    TAILQ_REMOVE(&c->server->waiting, c, waiting);
    c->server->nwaiting--;
    c->is_waiting = false;
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct http1_server *s = arg;
    size_t n = s->nwaiting; /* who is queued from here on waits for the turn after */

    (void)fd;
    (void)what;
    while (n-- > 0 && !TAILQ_EMPTY(&s->waiting)) {
        struct conn *c = TAILQ_FIRST(&s->waiting);

        conn_forget_resume(c);
        conn_resume(c);
    }
    if (!TAILQ_EMPTY(&s->waiting)) arm_resume(s);
}

enum mkv_err http1_server_open(struct http1_server **out, const struct http1_server_options *opt)
{
    static const struct timeval second = {1, 0};
    struct event_base *base = mkv_loop_base(opt->loop);
    struct http1_server *s = calloc(1, sizeof(*s));
    enum mkv_err err = MKV_ENOMEM;

    if (!s) goto out;
    s->opt = *opt;
    LIST_INIT(&s->all);
    TAILQ_INIT(&s->waiting);
    s->resume = event_new(base, -1, 0, on_resume, s);
    s->tick = event_new(base, -1, EV_PERSIST, on_tick, s);
    if (!s->resume || !s->tick || event_add(s->tick, &second)) goto out;
    *out = s;
    s = NULL;
    err = MKV_OK;
out:
    http1_server_close(s);
    return err;
}

void http1_server_accept(struct http1_server *s, int fd)
{
    struct conn *c = conn_open(s, fd);

    if (!c) {
        mkv_log_error("a connection is closed at once: out of memory");
        close(fd);
    }
}

void http1_server_drain(struct http1_server *s)
{
    struct conn *c, *next;

    s->draining = true;
    for (c = LIST_FIRST(&s->all); c; c = next) {
        next = LIST_NEXT(c, all);
        if (c->step != CONN_IDLE || c->in_len > 0) continue;
        if (stream_unsent(&c->stream) > 0)
            c->step = CONN_FLUSH;
        else
            conn_close(c, "the server is shutting down");
    }
}

size_t http1_server_connections(const struct http1_server *s)
{
    return s->count;
}

static void destroy(void *arg)
{
    free(arg);
}

void http1_server_close(struct http1_server *s)
{
    struct conn *c;

    if (!s) return;
    while ((c = LIST_FIRST(&s->all)))
        conn_close(c, "the server is closing");
    if (s->tick) event_free(s->tick);
    if (s->resume) event_free(s->resume);
    mkv_loop_retire(s->opt.loop, &s->retired, destroy, s);
}
