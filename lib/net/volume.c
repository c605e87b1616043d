#include "net/volume.h"

#include "mkv/log.h"
#include "net/volume_internal.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names --------------------------------------------------------------- */

struct parts {
    struct mkv_slice host; /* without brackets */
    struct mkv_slice dir;
    size_t authority; /* characters before dir */
    uint16_t port;
};

static bool is_host_character(char c, bool bracketed)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '.')
        return true;
    if (bracketed) return c == ':';
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

static bool take_host(struct mkv_slice *rest, struct mkv_slice *host)
{
    bool bracketed = rest->len && rest->data[0] == '[';
    size_t begin = bracketed, end = begin;

    while (end < rest->len && is_host_character(rest->data[end], bracketed))
        end++;
    *host = mkv_slice(rest->data + begin, end - begin);
    if (bracketed && (end == rest->len || rest->data[end++] != ']')) return false;
    rest->data += end;
    rest->len -= end;
    return host->len > 0 && host->len <= RESOLVE_HOST_MAX;
}

static bool take_port(struct mkv_slice *rest, uint16_t *port)
{
    size_t end = 1;
    unsigned long long n;

    *port = 80;
    if (rest->len == 0 || rest->data[0] != ':') return true;
    while (end < rest->len && rest->data[end] != '/')
        end++;
    if (!mkv_slice_number(mkv_slice(rest->data + 1, end - 1), 65535, &n) || n == 0) return false;
    *port = (uint16_t)n;
    rest->data += end;
    rest->len -= end;
    return true;
}

static bool is_directory(struct mkv_slice dir)
{
    if (dir.len && dir.data[0] != '/') return false;
    for (size_t i = 0; i < dir.len; i++)
        if (dir.data[i] <= ' ' || dir.data[i] >= 127 || memchr("?#,\"<>\\", dir.data[i], 7))
            return false;
    return true;
}

static bool parse_name(struct mkv_slice name, struct parts *out)
{
    struct mkv_slice rest = name;
    union resolve_address address;
    char text[INET6_ADDRSTRLEN];

    if (name.len > MKV_VOLUME_NAME_MAX || !take_host(&rest, &out->host)) return false;
    if (name.data[0] == '[') {
        if (out->host.len >= sizeof(text)) return false;
        memcpy(text, out->host.data, out->host.len);
        text[out->host.len] = '\0';
        if (!memchr(text, ':', out->host.len) || !resolve_numeric(text, 0, &address)) return false;
    }
    if (!take_port(&rest, &out->port) || !is_directory(rest)) return false;
    out->dir = rest;
    out->authority = name.len - rest.len;
    return true;
}

/* ---- the servers --------------------------------------------------------- */

static void on_tick(evutil_socket_t fd, short what, void *arg);

/* "no answer within 1.5 s" */
static void say_time(char *out, const char *what, uint64_t ms)
{
    if (ms % 1000 == 0)
        snprintf(out, VOLUME_WHY_MAX, "%s %" PRIu64 " s", what, ms / 1000);
    else
        snprintf(out, VOLUME_WHY_MAX, "%s %" PRIu64 " ms", what, ms);
}

enum mkv_err mkv_volumes_open(struct mkv_volumes **out, const struct mkv_volumes_options *opt)
{
    struct mkv_volumes *vs = calloc(1, sizeof(*vs));

    if (!vs) return MKV_ENOMEM;
    vs->opt = *opt;
    if (!vs->opt.stall_ms) vs->opt.stall_ms = VOLUME_STALL_MS;
    vs->tick_due_ms = UINT64_MAX;
    TAILQ_INIT(&vs->list);
    LIST_INIT(&vs->exchanges);
    event_assign(&vs->tick, mkv_loop_base(opt->loop), -1, 0, on_tick, vs);
    say_time(vs->no_answer, "no answer within", vs->opt.timeout_ms);
    say_time(vs->no_connection, "no connection within", vs->opt.timeout_ms);
    say_time(vs->no_turn, "other requests took all of", vs->opt.timeout_ms);
    say_time(vs->no_name, "host name not resolved within", vs->opt.timeout_ms);
    say_time(vs->no_progress, "no progress for", vs->opt.stall_ms);
    *out = vs;
    return MKV_OK;
}

void mkv_volumes_close(struct mkv_volumes *vs)
{
    struct volume_connection *c;
    struct mkv_exchange *x;
    struct mkv_volume *v;

    if (!vs) return;
    event_del(&vs->tick);
    while ((x = LIST_FIRST(&vs->exchanges)))
        exchange_discard(x);
    while ((v = TAILQ_FIRST(&vs->list))) {
        while ((c = TAILQ_FIRST(&v->idle)))
            volume_close_connection(c);
        resolve_name_clear(&v->address);
        TAILQ_REMOVE(&vs->list, v, link);
        mkv_loop_retire(vs->opt.loop, &v->retired, free, v);
    }
    mkv_loop_retire(vs->opt.loop, &vs->retired, free, vs);
}

static struct mkv_volume **bucket(struct mkv_volumes *vs, struct mkv_slice name)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ (unsigned char)name.data[i]) * 16777619u;
    return &vs->buckets[h % VOLUME_BUCKETS];
}

enum mkv_err mkv_volumes_get(struct mkv_volumes *vs, struct mkv_slice name, struct mkv_volume **out)
{
    struct mkv_volume **place = bucket(vs, name), *v;
    const struct resolver_options with = {.loop = vs->opt.loop};
    struct parts parts;

    for (v = *place; v; v = v->same_bucket) {
        if (mkv_slice_eq(mkv_volume_name(v), name)) {
            *out = v;
            return MKV_OK;
        }
    }
    if (!parse_name(name, &parts)) return MKV_EINVAL;
    v = calloc(1, sizeof(*v));
    if (!v) return MKV_ENOMEM;
    v->all = vs;
    memcpy(v->name, name.data, name.len);
    v->dir = mkv_slice(v->name + parts.authority, parts.dir.len);
    v->host_lines_len =
        (size_t)snprintf(v->host_lines, sizeof(v->host_lines), " HTTP/1.1\r\nHost: %.*s\r\n",
                         (int)parts.authority, v->name);
    resolve_name_init(&v->address, &with, parts.host, parts.port);
    TAILQ_INIT(&v->idle);
    TAILQ_INIT(&v->queue);
    TAILQ_INSERT_TAIL(&vs->list, v, link);
    v->same_bucket = *place;
    *place = v;
    *out = v;
    return MKV_OK;
}

struct mkv_volume *mkv_volumes_next(struct mkv_volumes *vs, struct mkv_volume *after)
{
    return after ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&vs->list);
}

struct mkv_slice mkv_volume_name(const struct mkv_volume *v)
{
    return mkv_slice_of(v->name);
}

enum mkv_volume_state mkv_volume_state(const struct mkv_volume *v)
{
    return v->state;
}

const char *mkv_volume_state_name(enum mkv_volume_state s)
{
    switch (s) {
    case MKV_VOLUME_UP: return "up";
    case MKV_VOLUME_SUSPECT: return "suspect";
    case MKV_VOLUME_DOWN: return "down";
    }
    return "?";
}

void mkv_volume_stats(const struct mkv_volume *v, struct mkv_volume_stats *out)
{
    *out = v->stats;
}

/* ---- states -------------------------------------------------------------- */

/* The one place where a state changes. */
static void set_state(struct mkv_volume *v, enum mkv_volume_state state, const char *why)
{
    enum mkv_volume_state before = v->state;
    uint64_t now = mkv_loop_now(v->all->opt.loop);

    if (state == before) return;
    v->state = state;
    /* A volume that hesitates under load must not flood the log of somebody
     * who did not ask for details: suspect and back is for -v. */
    mkv_log_at(state == MKV_VOLUME_DOWN || before == MKV_VOLUME_DOWN ? MKV_LOG_WARN : MKV_LOG_INFO,
               "volume %s is %s: %s", v->name, mkv_volume_state_name(state), why);
    if (before == MKV_VOLUME_UP) {
        v->backoff_ms = VOLUME_BACKOFF_MIN_MS;
        v->probe_at_ms = now + v->backoff_ms;
        volumes_wake(v->all, v->backoff_ms);
    }
}

void volume_answered(struct mkv_volume *v, int status)
{
    char why[VOLUME_WHY_MAX];

    if (status >= 500) {
        snprintf(why, sizeof(why), "it answered %d", status);
        snprintf(v->stats.last_error, sizeof(v->stats.last_error), "%s", why);
        if (v->state == MKV_VOLUME_UP) set_state(v, MKV_VOLUME_SUSPECT, why);
    } else {
        v->failures = 0;
        if (v->state != MKV_VOLUME_UP) set_state(v, MKV_VOLUME_UP, "it answers");
    }
}

void volume_failed(struct mkv_volume *v, enum volume_blame blame, const char *why)
{
    if (blame == BLAME_COUNTED) return;
    v->stats.failures++;
    snprintf(v->stats.last_error, sizeof(v->stats.last_error), "%s", why);
    if (blame == BLAME_NOBODY) {
        mkv_log_info("volume %s is not to blame: %s", v->name, why);
        return;
    }
    v->failures++;
    if (blame == BLAME_REFUSED || v->failures >= VOLUME_DOWN_AFTER)
        set_state(v, MKV_VOLUME_DOWN, why);
    else if (v->state == MKV_VOLUME_UP)
        set_state(v, MKV_VOLUME_SUSPECT, why);
}

static void on_probed(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct mkv_volume *v = arg;

    (void)x;
    v->probe = NULL;
    if (v->state == MKV_VOLUME_UP) return;
    v->backoff_ms *= 2;
    if (v->backoff_ms > VOLUME_BACKOFF_MAX_MS) v->backoff_ms = VOLUME_BACKOFF_MAX_MS;
    v->probe_at_ms = mkv_loop_now(v->all->opt.loop) + v->backoff_ms;
    volumes_wake(v->all, v->backoff_ms);
    mkv_log_debug("volume %s: probed: %s %d, again in %" PRIu64 " ms", v->name, mkv_strerror(err),
                  status, v->backoff_ms);
}

static void probe(struct mkv_volume *v, uint64_t now)
{
    static const struct mkv_exchange_events events = {.done = on_probed};
    const struct mkv_exchange_options opt = {
        .volume = v, .method = MKV_VOLUME_HEAD, .path = MKV_SLICE("/")};

    if (mkv_exchange_start(&v->probe, &opt, &events, v)) {
        v->probe = NULL;
        v->probe_at_ms = now + v->backoff_ms;
    }
}

/* ---- the tick ------------------------------------------------------------ */

void volumes_wake(struct mkv_volumes *vs, uint64_t within_ms)
{
    uint64_t due = mkv_loop_now(vs->opt.loop) + within_ms;
    struct timeval tv = {(time_t)(within_ms / 1000), (suseconds_t)(within_ms % 1000) * 1000};

    if (vs->tick_due_ms <= due) return;
    if (event_add(&vs->tick, &tv) == 0) vs->tick_due_ms = due;
}

/* One timer for all deadlines: it costs an exchange nothing, and a deadline is
 * late by a tick at most. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct mkv_volumes *vs = arg;
    uint64_t now = mkv_loop_now(vs->opt.loop);
    struct mkv_exchange *x, *next;
    struct mkv_volume *v;

    (void)fd;
    (void)what;
    vs->tick_due_ms = UINT64_MAX;
    TAILQ_FOREACH(v, &vs->list, link)
    {
        if (v->state == MKV_VOLUME_UP || v->probe) continue;
        if (now >= v->probe_at_ms) probe(v, now);
        if (!v->probe)
            volumes_wake(vs, v->probe_at_ms > now ? v->probe_at_ms - now : VOLUME_TICK_MS);
    }
    /* Nothing is called back from here: failures wait for the end of the turn. */
    for (x = LIST_FIRST(&vs->exchanges); x; x = next) {
        next = LIST_NEXT(x, link);
        exchange_check(x, now);
    }
    if (!LIST_EMPTY(&vs->exchanges)) volumes_wake(vs, VOLUME_TICK_MS);
}
