/* lib/net/volume_pool.c - the connections of a volume: idle ones and new ones. */
#include "net/socket.h"
#include "net/volume_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a connection -------------------------------------------------------- */

static void on_readable(struct stream *s)
{
    struct volume_connection *c = (struct volume_connection *)s;

    if (c->depth)
        pipeline_readable(c);
    else
        volume_close_connection(c); /* the end, or bytes that nobody asked for */
}

static void on_written(struct stream *s)
{
    struct volume_connection *c = (struct volume_connection *)s;

    if (c->depth) exchange_written(TAILQ_FIRST(&c->pipeline));
}

/* A volume that refuses a body answers and closes: the answer may be there. */
static void on_failed(struct stream *s, int err)
{
    struct volume_connection *c = (struct volume_connection *)s;
    struct mkv_exchange *x;

    on_readable(s);
    x = TAILQ_FIRST(&c->pipeline);
    if (x && x->step == EXCHANGE_ANSWER) exchange_broken(x, exchange_errno(x, err));
}

static const struct stream_events connection_events = {on_readable, on_written, on_failed};

/* Adds what was sent for its pipeline to the volume's numbers. */
static void count_sent(struct volume_connection *c)
{
    c->volume->stats.bytes_sent += c->stream.sent - c->sent_before;
    c->sent_before = c->stream.sent;
}

void volume_close_connection(struct volume_connection *c)
{
    struct mkv_volume *v = c->volume;
    struct mkv_exchange *x;

    if (c->depth) {
        v->stats.busy--;
    } else {
        TAILQ_REMOVE(&v->idle, c, link);
        v->stats.idle--;
    }
    while ((x = TAILQ_FIRST(&c->pipeline)))
        pipeline_remove(x);
    if (v->gathering == c) v->gathering = NULL;
    count_sent(c);
    stream_close(&c->stream);
    mkv_loop_retire(c->stream.loop, &c->retired, free, c);
}

struct volume_connection *volume_take_idle(struct mkv_exchange *x)
{
    struct mkv_volume *v = x->volume;
    uint64_t now = mkv_loop_now(v->all->opt.loop);
    struct volume_connection *c;

    while ((c = TAILQ_FIRST(&v->idle)) && now - c->idle_since_ms > VOLUME_IDLE_MS)
        volume_close_connection(c);
    if (!c) return NULL;
    TAILQ_REMOVE(&v->idle, c, link);
    if (v->gathering == c) v->gathering = NULL;
    v->stats.idle--;
    v->stats.busy++;
    pipeline_add(c, x);
    return c;
}

void volume_put_idle(struct volume_connection *c)
{
    struct mkv_volume *v = c->volume;

    if (c->stream.sent != c->sent_before) c->idle_since_ms = mkv_loop_now(c->stream.loop);
    count_sent(c);
    c->answered = true;
    v->stats.busy--;
    v->stats.idle++;
    TAILQ_INSERT_HEAD(&v->idle, c, link);
    if (v->stats.idle > VOLUME_IDLE_MAX)
        volume_close_connection(TAILQ_LAST(&v->idle, volume_connections));
}

/* ---- connecting ---------------------------------------------------------- */

struct volume_connecting {
    struct mkv_exchange *exchange; /* borrowed: owns us                          */
    struct mkv_volume *volume;     /* borrowed                                   */
    struct resolve_wait wait;
    int fd;                /* owned until it is the connection's; or -1  */
    struct event writable; /* armed while fd >= 0                        */
    unsigned tried;        /* addresses                                  */
    bool refused, overdue; /* by one of them                             */
    int last_errno;
    uint64_t deadline_ms;         /* for all addresses                          */
    uint64_t address_deadline_ms; /* for this one: its share of the time left   */
    struct mkv_retired retired;
};

static void stop_attempt(struct volume_connecting *k)
{
    if (k->fd < 0) return;
    event_del(&k->writable);
    close(k->fd);
    k->fd = -1;
}

void volume_connect_cancel(struct volume_connecting *k)
{
    stop_attempt(k);
    resolve_forget(&k->volume->address, &k->wait);
    k->exchange->connecting = NULL;
    mkv_loop_retire(k->volume->all->opt.loop, &k->retired, free, k);
}

static void give_up(struct volume_connecting *k, enum volume_blame blame, const char *why)
{
    struct mkv_exchange *x = k->exchange;

    if (blame != BLAME_NOBODY) resolve_doubt(&k->volume->address);
    volume_connect_cancel(k);
    exchange_fail_later(x, blame, why);
}

/* No address is left. */
static void give_up_all(struct volume_connecting *k)
{
    if (k->overdue)
        give_up(k, BLAME_VOLUME, k->volume->all->no_connection);
    else if (k->refused)
        give_up(k, BLAME_REFUSED, "connection refused");
    else
        give_up(k, BLAME_VOLUME, exchange_errno(k->exchange, k->last_errno));
}

static bool is_local_shortage(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM ||
           err == EADDRNOTAVAIL;
}

/* Frees a descriptor: the idle connection that has waited longest, of any
 * volume. */
static bool spare_descriptor(struct mkv_volumes *vs)
{
    struct volume_connection *oldest = NULL, *c;
    struct mkv_volume *v;

    TAILQ_FOREACH(v, &vs->list, link)
    {
        c = TAILQ_LAST(&v->idle, volume_connections);
        if (c && (!oldest || c->idle_since_ms < oldest->idle_since_ms)) oldest = c;
    }
    if (oldest) volume_close_connection(oldest);
    return oldest != NULL;
}

/* A receive buffer never shrinks below what the low mark once needed, and goes
 * on growing by itself; SO_RCVBUF would fix its size, and at less than that. */
static void take_ahead(int fd, size_t bytes)
{
    int low = bytes < INT_MAX ? (int)bytes : INT_MAX, one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
}

static int new_socket(struct mkv_volumes *vs, const struct sockaddr *peer)
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(peer->sa_family, type, 0);

    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && spare_descriptor(vs))
        fd = socket(peer->sa_family, type, 0);
    if (fd < 0) return fd;
    socket_prepare(fd, peer);
    if (vs->opt.ahead) take_ahead(fd, vs->opt.ahead);
    return fd;
}

static void connection_stands(struct volume_connecting *k)
{
    struct mkv_exchange *x = k->exchange;
    struct mkv_volume *v = k->volume;
    struct volume_connection *c = calloc(1, sizeof(*c));

    if (!c) {
        give_up(k, BLAME_NOBODY, "out of memory");
        return;
    }
    event_del(&k->writable);
    stream_init(&c->stream, v->all->opt.loop, k->fd, &connection_events);
    k->fd = -1;
    c->volume = v;
    TAILQ_INIT(&c->pipeline);
    v->preferred = (v->preferred + k->tried - 1) % v->address.n;
    v->stats.connects++;
    volume_connect_cancel(k);
    pipeline_add(c, x);
    v->stats.busy++;
    if (stream_read_on(&c->stream, true)) {
        volume_close_connection(c);
        exchange_fail_later(x, BLAME_NOBODY, "out of memory");
        return;
    }
    exchange_connected(x);
}

static void try_next(struct volume_connecting *k);

static void attempt_failed(struct volume_connecting *k, int err)
{
    stop_attempt(k);
    k->last_errno = err;
    if (err == ECONNREFUSED) k->refused = true;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct volume_connecting *k = arg;
    int err = 0;
    socklen_t len = sizeof(err);

    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len)) err = errno;
    if (!err) {
        connection_stands(k);
    } else {
        attempt_failed(k, err);
        try_next(k);
    }
}

/* Begins with one address.  False where that has failed at once. */
static bool try_address(struct volume_connecting *k, const union resolve_address *address)
{
    struct event_base *base = mkv_loop_base(k->volume->all->opt.loop);
    socklen_t len = address->any.sa_family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);

    k->fd = new_socket(k->volume->all, &address->any);
    if (k->fd < 0) {
        k->last_errno = errno;
        return false;
    }
    event_assign(&k->writable, base, k->fd, EV_WRITE, on_writable, k);
    if (connect(k->fd, &address->any, len) && errno != EINPROGRESS) {
        attempt_failed(k, errno);
        return false;
    }
    if (event_add(&k->writable, NULL)) {
        attempt_failed(k, ENOMEM);
        return false;
    }
    return true;
}

/* The addresses in turn, from the one that worked last on.  Each has an equal
 * share of the time left, so that one that swallows packets does not hide the
 * next. */
static void try_next(struct volume_connecting *k)
{
    struct resolve_name *name = &k->volume->address;
    uint64_t now = mkv_loop_now(k->volume->all->opt.loop);

    while (k->tried < name->n && now < k->deadline_ms) {
        unsigned at = (k->volume->preferred + k->tried) % name->n;

        k->address_deadline_ms = now + (k->deadline_ms - now) / (name->n - k->tried);
        k->tried++;
        if (try_address(k, &name->addresses[at])) return;
        if (!is_local_shortage(k->last_errno)) continue;
        give_up(k, BLAME_NOBODY, exchange_errno(k->exchange, k->last_errno));
        return;
    }
    if (k->tried < name->n) k->overdue = true;
    give_up_all(k);
}

static void on_resolved(enum mkv_err err, void *arg)
{
    struct volume_connecting *k = arg;

    if (err)
        give_up(k, BLAME_REFUSED, k->volume->address.why);
    else
        try_next(k);
}

void volume_connect(struct mkv_exchange *x)
{
    struct mkv_volume *v = x->volume;
    struct volume_connecting *k = calloc(1, sizeof(*k));
    enum mkv_err err;

    if (!k) {
        exchange_fail_later(x, BLAME_NOBODY, "out of memory");
        return;
    }
    x->connecting = k;
    k->exchange = x;
    k->volume = v;
    k->fd = -1;
    /* A HEAD or GET has that long in all; a PUT or DELETE may have waited, or
     * have had a connection before. */
    if (exchange_is_safe(x))
        k->deadline_ms = x->started_ms + v->all->opt.timeout_ms;
    else
        k->deadline_ms = mkv_loop_now(v->all->opt.loop) + v->all->opt.timeout_ms;
    k->wait.done = on_resolved;
    k->wait.arg = k;
    err = resolve(&v->address, &k->wait);
    if (err != MKV_PENDING) on_resolved(err, k);
}

void volume_connect_check(struct volume_connecting *k, uint64_t now)
{
    if (k->wait.waiting) {
        if (now >= k->deadline_ms) give_up(k, BLAME_VOLUME, k->volume->all->no_name);
    } else if (now >= k->address_deadline_ms) {
        stop_attempt(k);
        k->overdue = true;
        try_next(k);
    }
}
