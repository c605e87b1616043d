/* The master: what is opened, in which order, and how it stops. */
#include "mkv/server.h"

#include "api/route.h"
#include "mkv/log.h"
#include "mkv/store.h"
#include "net/http1_server.h"
#include "server/admin.h"
#include "server/listen.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WHY_MAX    1024
#define DRAIN_MS   20 /* how often it is looked whether everything has ended */

struct server {
    const struct mkv_config *cfg; /* borrowed */
    struct mkv_loop *loop;        /* owned, as all below */
    struct listen_port *port;
    struct mkv_store *store;
    struct http1_server *front;
    struct admin *admin;
    struct mkv_api api;
    struct mkv_metrics metrics;
    struct event signals[2];
    struct event drain;
    bool has_events;
    bool stopping;
    uint64_t stop_by;             /* on the loop's clock */
};

/* ---- stopping ---------------------------------------------------------------------- */

static void on_drain(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    const struct timeval soon = {0, DRAIN_MS * 1000};
    size_t open = http1_server_connections(s->front), busy = mkv_store_busy(s->store);

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
    listen_close(s->port);
    s->port = NULL;
    http1_server_drain(s->front);
    on_drain(-1, 0, s);
}

/* ---- opening ----------------------------------------------------------------------- */

static void on_accepted(int fd, void *arg)
{
    struct server *s = arg;

    http1_server_accept(s->front, fd);
}

static size_t connections(void *arg)
{
    struct server *s = arg;

    return http1_server_connections(s->front);
}

static enum mkv_err open_front(struct server *s)
{
    const struct http1_server_options opt = {.loop = s->loop,
                                             .blocks = mkv_store_blocks(s->store),
                                             .metrics = &s->metrics,
                                             .handler = mkv_route,
                                             .handler_arg = &s->api};

    s->api.store = s->store;
    s->api.cfg = s->cfg;
    s->api.loop = s->loop;
    return http1_server_open(&s->front, &opt);
}

static enum mkv_err watch_signals(struct server *s)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct event_base *base = mkv_loop_base(s->loop);

    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of write(2) */
    event_assign(&s->drain, base, -1, 0, on_drain, s);
    for (size_t i = 0; i < 2; i++) {
        event_assign(&s->signals[i], base, numbers[i], EV_SIGNAL | EV_PERSIST, on_signal, s);
        if (event_add(&s->signals[i], NULL)) return MKV_ENOMEM;
    }
    s->has_events = true;
    return MKV_OK;
}

/* The port comes first: its number goes into the index's lock. */
static enum mkv_err open_all(struct server *s, char *why)
{
    static const struct listen_events port_events = {on_accepted, connections};
    const struct mkv_config *cfg = s->cfg;
    size_t connections_max = listen_raise_limit();
    char address[128];
    enum mkv_err err = mkv_loop_open(&s->loop);

    if (err) return err;
    err = watch_signals(s); /* first: who can connect may also stop us, and cleanly */
    if (err) return err;
    err = listen_open(&s->port, s->loop, cfg->bind, (unsigned)cfg->port, &port_events, s, why,
                      WHY_MAX);
    if (err) return err;
    listen_address(s->port, address, sizeof(address));
    err = mkv_store_open(&s->store, s->loop, cfg, &s->metrics, address, why, WHY_MAX);
    if (err) return err;
    err = open_front(s);
    if (err) return err;
    if (cfg->admin) {
        err = admin_open(&s->admin, s->loop, s->store, &s->metrics, cfg->admin, why, WHY_MAX);
        if (err) return err;
    }
    err = listen_start(s->port, connections_max, why, WHY_MAX);
    if (err) return err;
    fprintf(stderr, "mkv-server %s: listening on %s; %zu volumes, %llu replicas; index %s\n",
            MKV_VERSION, address, cfg->nvolumes, (unsigned long long)cfg->replicas, cfg->db);
    return MKV_OK;
}

static void close_all(struct server *s)
{
    if (s->has_events) {
        event_del(&s->drain);
        event_del(&s->signals[0]);
        event_del(&s->signals[1]);
    }
    listen_close(s->port);
    admin_close(s->admin);
    http1_server_close(s->front);
    mkv_store_close(s->store);
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
