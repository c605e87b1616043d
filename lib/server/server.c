/* The master: what is opened, in which order, and how it stops. */
#include "mkv/server.h"

#include "api/route.h"
#include "api/s3.h"
#include "mkv/log.h"
#include "mkv/store.h"
#include "net/http1_server.h"
#include "server/admin.h"
#include "server/listen.h"
#include "server/priority.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WHY_MAX    1024
#define SIGNALS    3
#define DRAIN_MS   20 /* how often it is looked whether everything has ended */

/* A port and the front behind it. */
struct door {
    struct server *server;
    struct listen_port *port;   /* owned; NULL: not open, or closed again */
    struct http1_server *front; /* owned */
    struct mkv_api api;
};

enum { DATA, S3, DOORS };

struct server {
    const struct mkv_config *cfg; /* borrowed */
    struct mkv_loop *loop;        /* owned, as all below */
    struct mkv_store *store;
    struct mkv_s3 *s3;
    struct door doors[DOORS];
    struct admin *admin;
    struct priority *priority;    /* or NULL */
    struct mkv_metrics metrics;
    struct event signals[SIGNALS];
    struct event drain;
    bool has_events;
    bool stopping;
    uint64_t stop_by;             /* on the loop's clock */
};

static size_t connections(void *arg)
{
    struct server *s = arg;
    size_t n = 0;

    for (int i = 0; i < DOORS; i++)
        if (s->doors[i].front) n += http1_server_connections(s->doors[i].front);
    return n;
}

/* ---- stopping ---------------------------------------------------------------------- */

static void on_drain(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    const struct timeval soon = {0, DRAIN_MS * 1000};
    size_t open = connections(s), busy = mkv_store_busy(s->store);

    (void)fd;
    (void)what;
    if ((!open && !busy) || mkv_loop_now(s->loop) >= s->stop_by) {
        if (open || busy)
            mkv_log_warn("stopping with %zu connections and %zu requests unfinished", open, busy);
        mkv_loop_stop(s->loop);
        return;
    }
    event_add(&s->drain, &soon);
}

static void on_hangup(evutil_socket_t number, short what, void *arg)
{
    struct server *s = arg;

    (void)number;
    (void)what;
    mkv_s3_reload(s->s3);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct server *s = arg;

    (void)what;
    if (s->stopping) {
        mkv_log_warn("signal %d again: stopping at once", (int)number);
        mkv_loop_stop(s->loop);
        return;
    }
    mkv_log_info("signal %d: stopping", (int)number);
    s->stopping = true;
    s->stop_by = mkv_loop_now(s->loop) + SERVER_GRACE_MS;
    for (int i = 0; i < DOORS; i++) {
        listen_close(s->doors[i].port);
        s->doors[i].port = NULL;
        if (s->doors[i].front) http1_server_drain(s->doors[i].front);
    }
    on_drain(-1, 0, s);
}

/* ---- opening ----------------------------------------------------------------------- */

static void on_accepted(int fd, void *arg)
{
    struct door *d = arg;

    http1_server_accept(d->front, fd);
}

static size_t all_connections(void *arg)
{
    return connections(((struct door *)arg)->server);
}

static enum mkv_err open_port(struct server *s, int which, unsigned port, char *why)
{
    static const struct listen_events events = {on_accepted, all_connections};
    struct door *d = &s->doors[which];

    d->server = s;
    d->api.only_s3 = which == S3;
    return listen_open(&d->port, s->loop, s->cfg->bind, port, &events, d, why, WHY_MAX);
}

static enum mkv_err open_ports(struct server *s, char *why)
{
    enum mkv_err err = open_port(s, DATA, (unsigned)s->cfg->port, why);

    if (!err && s->cfg->s3_port) err = open_port(s, S3, (unsigned)s->cfg->s3_port, why);
    return err;
}

static enum mkv_err open_fronts(struct server *s)
{
    for (int i = 0; i < DOORS; i++) {
        struct door *d = &s->doors[i];
        const struct http1_server_options opt = {.loop = s->loop,
                                                 .blocks = mkv_store_blocks(s->store),
                                                 .pipes = mkv_store_pipes(s->store),
                                                 .metrics = &s->metrics,
                                                 .handler = mkv_route,
                                                 .handler_arg = &d->api};
        enum mkv_err err;

        if (!d->port) continue;
        d->api.store = s->store;
        d->api.cfg = s->cfg;
        d->api.loop = s->loop;
        d->api.s3 = s->s3;
        err = http1_server_open(&d->front, &opt);
        if (err) return err;
    }
    return MKV_OK;
}

static enum mkv_err start_ports(struct server *s, size_t connections_max, char *why)
{
    for (int i = 0; i < DOORS; i++) {
        enum mkv_err err = MKV_OK;

        if (s->doors[i].port) err = listen_start(s->doors[i].port, connections_max, why, WHY_MAX);
        if (err) return err;
    }
    return MKV_OK;
}

static enum mkv_err watch_signals(struct server *s)
{
    static const struct {
        int number;
        event_callback_fn call;
    } signals[] = {
        {SIGTERM, on_signal},
        {SIGINT,  on_signal},
        {SIGHUP,  on_hangup}
    };
    struct event_base *base = mkv_loop_base(s->loop);

    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of write(2) */
    event_assign(&s->drain, base, -1, 0, on_drain, s);
    for (size_t i = 0; i < SIGNALS; i++) {
        event_assign(&s->signals[i], base, signals[i].number, EV_SIGNAL | EV_PERSIST,
                     signals[i].call, s);
        if (event_add(&s->signals[i], NULL)) return MKV_ENOMEM;
    }
    s->has_events = true;
    return MKV_OK;
}

/* The port comes first: its number goes into the index's lock. */
static enum mkv_err open_all(struct server *s, char *why)
{
    const struct mkv_config *cfg = s->cfg;
    size_t connections_max = listen_raise_limit();
    char address[128];
    enum mkv_err err = mkv_loop_open(&s->loop);

    if (err) return err;
    err = watch_signals(s); /* first: who can connect may also stop us, and cleanly */
    if (err) return err;
    err = open_ports(s, why);
    if (err) return err;
    listen_address(s->doors[DATA].port, address, sizeof(address));
    err = mkv_store_open(&s->store, s->loop, cfg, &s->metrics, address, why, WHY_MAX);
    if (err) return err;
    err = mkv_s3_open(&s->s3, s->loop, s->store, cfg, why, WHY_MAX);
    if (err) return err;
    err = open_fronts(s);
    if (err) return err;
    if (cfg->admin) {
        err = admin_open(&s->admin, s->loop, s->store, &s->metrics, cfg->admin, why, WHY_MAX);
        if (err) return err;
    }
    if (!cfg->keys)
        mkv_log_warn("without -keys every request is served, and S3 signatures are not checked");
    err = start_ports(s, connections_max, why);
    if (err) return err;
    fprintf(stderr, "mkv-server %s: listening on %s; %zu volumes, %llu replicas; index %s\n",
            MKV_VERSION, address, cfg->nvolumes, (unsigned long long)cfg->replicas, cfg->db);
    /* Last, so that the other threads keep theirs. */
    return priority_open(&s->priority, s->loop, mkv_store_index(s->store));
}

static void close_all(struct server *s)
{
    if (s->has_events) {
        event_del(&s->drain);
        for (size_t i = 0; i < SIGNALS; i++)
            event_del(&s->signals[i]);
    }
    for (int i = 0; i < DOORS; i++)
        listen_close(s->doors[i].port);
    priority_close(s->priority);
    admin_close(s->admin);
    for (int i = 0; i < DOORS; i++)
        http1_server_close(s->doors[i].front);
    mkv_s3_stop(s->s3);
    mkv_store_close(s->store);
    mkv_s3_close(s->s3);
    mkv_loop_close(s->loop);
}

int mkv_server_run(const struct mkv_config *cfg)
{
    struct server *s = calloc(1, sizeof(*s)); /* the metrics are too large for a stack */
    char why[WHY_MAX] = "";
    enum mkv_err err = MKV_ENOMEM;

    if (s) {
        s->cfg = cfg;
        err = open_all(s, why);
        if (!err) mkv_loop_run(s->loop);
        close_all(s);
        free(s);
    }
    if (err) fprintf(stderr, "mkv-server: %s\n", why[0] ? why : mkv_strerror(err));
    return err ? 1 : 0;
}
