/* lib/net/exchange.c - one exchange with a volume: its life and its request. */
#include "net/volume_internal.h"

#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 160 /* Content-Length or Transfer-Encoding, Date, Range, Authorization, the
                           last CRLF */
#define DATE_MAX    40

/* ---- the end ------------------------------------------------------------- */

static void destroy(void *arg)
{
    struct mkv_exchange *x = arg;

    if (x->kept) evbuffer_free(x->kept);
    if (x->held) evbuffer_free(x->held);
    if (x->framing == HTTP1_CHUNKED) http1_chunks_clear(&x->chunks);
    free(x->partial);
    free(x);
}

bool exchange_is_safe(const struct mkv_exchange *x)
{
    return x->method == MKV_VOLUME_HEAD || x->method == MKV_VOLUME_GET;
}

static bool is_brief_get(const struct mkv_exchange *x)
{
    return x->brief && x->method == MKV_VOLUME_GET;
}

static void begin(struct mkv_exchange *x);

static void next_turn(struct mkv_volume *v)
{
    struct mkv_exchange *x;

    while (v->brief < VOLUME_BRIEF_MAX && (x = TAILQ_FIRST(&v->queue))) {
        TAILQ_REMOVE(&v->queue, x, turn);
        begin(x);
    }
}

bool exchange_is_written(const struct mkv_exchange *x)
{
    return x->whole && x->connection->stream.sent >= x->ends_at;
}

/* What is among others' bytes can not be taken back. */
static bool is_sent(const struct mkv_exchange *x)
{
    return exchange_is_written(x) || (x->whole && x->connection->depth > 1);
}

void exchange_note_sent(struct mkv_exchange *x)
{
    if (x->connection && x->step >= EXCHANGE_ANSWER && is_sent(x)) x->sent_all = true;
}

/* The connection is of no more use. */
static void drop_connection(struct mkv_exchange *x)
{
    exchange_note_sent(x);
    if (x->connecting) volume_connect_cancel(x->connecting);
    if (x->connection) pipeline_break(x, false);
}

/* Takes x out of everything it is in; the memory lives to the end of the turn. */
static void leave(struct mkv_exchange *x)
{
    struct mkv_volume *v = x->volume;

    if (x->step == EXCHANGE_QUEUED) TAILQ_REMOVE(&v->queue, x, turn);
    x->step = EXCHANGE_GONE;
    LIST_REMOVE(x, link);
    mkv_loop_forget(v->all->opt.loop, &x->chore);
    mkv_loop_retire(v->all->opt.loop, &x->retired, destroy, x);
    if (x->counted) v->brief--;
    x->counted = false;
}

void exchange_discard(struct mkv_exchange *x)
{
    if (x->connecting) volume_connect_cancel(x->connecting);
    if (x->connection) volume_close_connection(x->connection);
    leave(x);
}

void exchange_fail(struct mkv_exchange *x, enum volume_blame blame, const char *why)
{
    x->why = why;
    drop_connection(x);
    volume_failed(x->volume, blame, why);
    leave(x);
    next_turn(x->volume);
    x->events.done(x, MKV_EVOLUME, 0, x->arg);
}

void exchange_complete(struct mkv_exchange *x, bool reuse)
{
    struct volume_connection *c = x->connection;

    exchange_note_sent(x);
    reuse = reuse && x->keep_alive;
    if (reuse && c->depth > 1 && stream_read_on(&c->stream, true) == MKV_OK) {
        pipeline_remove(x); /* the next answer is due */
    } else if (reuse && !c->spoilt && stream_unsent(&c->stream) == 0 &&
               stream_read_on(&c->stream, true) == MKV_OK) {
        pipeline_remove(x);
        volume_put_idle(c);
    } else {
        pipeline_break(x, !x->keep_alive);
    }
    volume_answered(x->volume, x->status);
    leave(x);
    next_turn(x->volume);
    x->events.done(x, MKV_OK, x->status, x->arg);
}

void exchange_fail_later(struct mkv_exchange *x, enum volume_blame blame, const char *why)
{
    if (x->step >= EXCHANGE_FAILED) return;
    exchange_note_sent(x);
    if (x->step == EXCHANGE_QUEUED) TAILQ_REMOVE(&x->volume->queue, x, turn);
    if (x->connecting) volume_connect_cancel(x->connecting);
    x->step = EXCHANGE_FAILED;
    x->blame = blame;
    x->why = why;
    mkv_loop_at_end(x->volume->all->opt.loop, &x->chore);
}

const char *exchange_errno(struct mkv_exchange *x, int err)
{
    switch (err) {
    case ECONNREFUSED: return "connection refused";
    case ECONNRESET: return "connection reset by the volume";
    case EPIPE: return "connection closed by the volume";
    case EMFILE: return "no file descriptors left (ulimit -n)";
    case ENFILE: return "the system has no file descriptors left";
    case EADDRNOTAVAIL: return "no local port left";
    default: break;
    }
    snprintf(x->why_text, sizeof(x->why_text), "%s", strerror(err));
    return x->why_text;
}

/* ---- the beginning ------------------------------------------------------- */

static void append(char **at, const char *data, size_t len)
{
    memcpy(*at, data, len);
    *at += len;
}

static void append_slice(char **at, struct mkv_slice s)
{
    append(at, s.data, s.len);
}

static struct mkv_slice method_text(enum mkv_exchange_method method)
{
    switch (method) {
    case MKV_VOLUME_HEAD: return MKV_SLICE("HEAD ");
    case MKV_VOLUME_GET: return MKV_SLICE("GET ");
    case MKV_VOLUME_PUT: return MKV_SLICE("PUT ");
    case MKV_VOLUME_DELETE: return MKV_SLICE("DELETE ");
    case MKV_VOLUME_REBALANCE: break;
    }
    return MKV_SLICE("REBALANCE ");
}

static void write_head(struct mkv_exchange *x, const struct mkv_exchange_options *opt)
{
    char *at = x->head, number[80];
    int n;

    append_slice(&at, method_text(opt->method));
    append_slice(&at, opt->volume->dir);
    append_slice(&at, opt->path);
    append(&at, opt->volume->host_lines, opt->volume->host_lines_len);
    if (opt->method == MKV_VOLUME_PUT && opt->body_length >= 0) {
        n = snprintf(number, sizeof(number), "Content-Length: %" PRId64 "\r\n", opt->body_length);
        append(&at, number, (size_t)n);
    } else if (opt->method == MKV_VOLUME_PUT) {
        append_slice(&at, MKV_SLICE("Transfer-Encoding: chunked\r\n"));
    }
    if (opt->method == MKV_VOLUME_PUT && opt->date) {
        append_slice(&at, MKV_SLICE("Date: "));
        append_slice(&at, mkv_slice_of(opt->date));
        append_slice(&at, MKV_SLICE("\r\n"));
    }
    if (opt->authorization) {
        append_slice(&at, MKV_SLICE("Authorization: "));
        append_slice(&at, mkv_slice_of(opt->authorization));
        append_slice(&at, MKV_SLICE("\r\n"));
    }
    if (opt->method == MKV_VOLUME_GET && opt->range_length) {
        n = snprintf(number, sizeof(number), "Range: bytes=%" PRIu64 "-%" PRIu64 "\r\n",
                     opt->range_from, opt->range_from + (opt->range_length - 1));
        append(&at, number, (size_t)n);
    } else if (opt->method == MKV_VOLUME_GET && opt->range_from) {
        n = snprintf(number, sizeof(number), "Range: bytes=%" PRIu64 "-\r\n", opt->range_from);
        append(&at, number, (size_t)n);
    }
    append_slice(&at, MKV_SLICE("\r\n"));
    x->head_len = (size_t)(at - x->head);
}

static bool is_path(struct mkv_slice path)
{
    if (path.len == 0 || path.data[0] != '/' || path.len > HTTP1_TARGET_MAX) return false;
    for (size_t i = 0; i < path.len; i++)
        if (path.data[i] <= ' ' || path.data[i] >= 127) return false;
    return true;
}

static void on_chore(void *arg);

enum mkv_err mkv_exchange_start(struct mkv_exchange **out, const struct mkv_exchange_options *opt,
                                const struct mkv_exchange_events *events, void *arg)
{
    struct mkv_volume *v = opt->volume;
    struct mkv_volumes *vs = v->all;
    struct mkv_exchange *x;

    if (!is_path(opt->path)) return MKV_EINVAL;
    if (opt->date && (strlen(opt->date) > DATE_MAX || strpbrk(opt->date, "\r\n")))
        return MKV_EINVAL;
    if (opt->authorization && strpbrk(opt->authorization, "\r\n")) return MKV_EINVAL;
    if (opt->range_length && opt->range_length - 1 > UINT64_MAX - opt->range_from)
        return MKV_EINVAL;
    x = calloc(1, sizeof(*x) + v->dir.len + opt->path.len + v->host_lines_len + HEADERS_MAX +
                      DATE_MAX + (opt->authorization ? strlen(opt->authorization) : 0));
    if (!x) return MKV_ENOMEM;
    x->method = opt->method;
    x->brief = (opt->brief && opt->method == MKV_VOLUME_GET) || opt->method == MKV_VOLUME_HEAD ||
               opt->method == MKV_VOLUME_DELETE;
    x->volume = v;
    x->events = *events;
    x->arg = arg;
    x->started_ms = mkv_loop_now(vs->opt.loop);
    x->body_length = opt->method == MKV_VOLUME_PUT ? opt->body_length : 0;
    x->whole = x->body_length == 0;
    x->low = MKV_SEND_LOW;
    x->why = "";
    x->chore.run = on_chore;
    x->chore.arg = x;
    write_head(x, opt);
    LIST_INSERT_HEAD(&vs->exchanges, x, link);
    v->stats.exchanges++;
    volumes_wake(vs, VOLUME_TICK_MS);
    *out = x;

    if (x->brief && v->brief >= VOLUME_BRIEF_MAX) {
        x->step = EXCHANGE_QUEUED;
        TAILQ_INSERT_TAIL(&v->queue, x, turn);
    } else {
        begin(x);
    }
    return MKV_OK;
}

static void send_request(struct mkv_exchange *x);

/* x has a connection now.  A PUT waits for the end of the turn, so that what is
 * handed over in ready() leaves together with the head. */
void exchange_connected(struct mkv_exchange *x)
{
    struct volume_connection *c = x->connection;

    x->keeping = c->answered && !x->retried;
    x->since_ms = mkv_loop_now(c->stream.loop);
    x->step = EXCHANGE_READY;
    if (x->method == MKV_VOLUME_PUT)
        mkv_loop_at_end(c->stream.loop, &x->chore);
    else
        send_request(x);
}

static void connect_afresh(struct mkv_exchange *x)
{
    x->step = EXCHANGE_CONNECT;
    volume_connect(x);
}

static void begin(struct mkv_exchange *x)
{
    struct mkv_volume *v = x->volume;
    struct volume_connection *c = NULL;

    if (x->brief) {
        x->counted = true;
        v->brief++;
        c = pipeline_to_join(x);
    }
    if (c)
        pipeline_add(c, x);
    else
        c = volume_take_idle(x);
    if (c) {
        if (x->brief) v->gathering = c;
        exchange_connected(x);
    } else {
        connect_afresh(x);
    }
}

void exchange_send_again(struct mkv_exchange *x)
{
    mkv_loop_forget(x->volume->all->opt.loop, &x->chore);
    x->keeping = false;
    x->retried = true;
    if (is_brief_get(x)) x->started_ms = mkv_loop_now(x->volume->all->opt.loop);
    x->volume->stats.retries++;
    connect_afresh(x);
}

void exchange_broken(struct mkv_exchange *x, const char *why)
{
    exchange_note_sent(x);
    pipeline_break(x, true);
    /* Still keeping: not retried yet, and nothing of a PUT's body is lost. */
    if (x->keeping && !x->begun)
        exchange_send_again(x);
    else
        exchange_fail(x, BLAME_VOLUME, why);
}

/* ---- the request --------------------------------------------------------- */

static enum mkv_err add_kept(struct mkv_exchange *x)
{
    struct stream *s = &x->connection->stream;
    const uint8_t *data;

    if (!x->kept) return MKV_OK;
    if (!x->keeping) return stream_add_buffer(s, x->kept);
    data = evbuffer_pullup(x->kept, -1);
    return data ? stream_add(s, data, evbuffer_get_length(x->kept)) : MKV_ENOMEM;
}

static void note_end(struct mkv_exchange *x)
{
    x->ends_at = x->connection->stream.sent + stream_unsent(&x->connection->stream);
}

static void send_request(struct mkv_exchange *x)
{
    struct stream *s = &x->connection->stream;

    x->step = EXCHANGE_ANSWER;
    x->begins_at = s->sent + stream_unsent(s);
    if (stream_add(s, x->head, x->head_len) || add_kept(x))
        exchange_fail_later(x, BLAME_NOBODY, "out of memory");
    note_end(x);
}

static void tell_ready(struct mkv_exchange *x)
{
    if (x->told_ready) return;
    x->told_ready = true;
    if (x->events.ready) x->events.ready(x, x->arg);
}

static bool is_small(const struct mkv_exchange *x)
{
    return x->keeping && x->body_length >= 0 && x->body_length <= VOLUME_SMALL_MAX;
}

/* The connection stands.  A small PUT is first given what its owner has by now. */
static void enter_ready(struct mkv_exchange *x)
{
    if (is_small(x)) {
        x->step = EXCHANGE_SMALL;
        mkv_loop_at_very_end(x->volume->all->opt.loop, &x->chore);
        tell_ready(x);
    } else {
        send_request(x);
        if (x->step == EXCHANGE_ANSWER) tell_ready(x);
    }
}

/* With others, where the body is there; the connection it had is not needed then. */
static void send_small(struct mkv_exchange *x)
{
    struct volume_connection *own = x->connection, *shared = NULL;

    if (x->whole) shared = pipeline_to_join(x);
    if (shared) {
        pipeline_remove(x);
        volume_put_idle(own);
        pipeline_add(shared, x);
    } else if (x->whole) {
        x->volume->gathering = own;
    }
    send_request(x);
}

static void on_chore(void *arg)
{
    struct mkv_exchange *x = arg;

    switch (x->step) {
    case EXCHANGE_READY: enter_ready(x); break;
    case EXCHANGE_SMALL: send_small(x); break;
    case EXCHANGE_BODY: exchange_resume(x); break;
    case EXCHANGE_FAILED: exchange_fail(x, x->blame, x->why); break;
    default: break;
    }
}

/* While the request may have to be repeated, what is given is also kept; while
 * a second connection is being made, it is only kept. */
static void put_bytes(struct mkv_exchange *x, struct mkv_bytes bytes)
{
    bool connected = x->step == EXCHANGE_ANSWER;
    enum mkv_err err = MKV_OK;

    if (x->keeping || !connected) {
        if (!x->kept) x->kept = evbuffer_new();
        err = x->kept ? mkv_bytes_append(x->kept, bytes) : MKV_ENOMEM;
    }
    if (!err && connected) {
        err = stream_add_bytes(&x->connection->stream, bytes);
        note_end(x);
    }
    if (err) exchange_fail_later(x, BLAME_NOBODY, "out of memory");
}

static void put_text(struct mkv_exchange *x, const char *text, size_t len)
{
    put_bytes(x, (struct mkv_bytes){(const uint8_t *)text, len, NULL});
}

static bool takes_body(const struct mkv_exchange *x)
{
    return x->told_ready && x->step <= EXCHANGE_ANSWER;
}

static void stop_keeping(struct mkv_exchange *x)
{
    x->keeping = false;
    if (x->kept) evbuffer_free(x->kept);
    x->kept = NULL;
}

/* After a piece was given. */
static void note_given(struct mkv_exchange *x)
{
    if (x->body_length >= 0) x->whole = x->handed == (uint64_t)x->body_length;
    if (mkv_exchange_unsent(x) > x->low) x->above = true;
}

void mkv_exchange_send(struct mkv_exchange *x, struct mkv_bytes piece)
{
    char size[24];

    if (!takes_body(x) || piece.len == 0) return;
    if (x->body_length >= 0 && piece.len > (uint64_t)x->body_length - x->handed) {
        exchange_fail_later(x, BLAME_NOBODY, "the body is longer than announced");
        return;
    }
    if (mkv_exchange_unsent(x) == 0) x->since_ms = mkv_loop_now(x->volume->all->opt.loop);
    x->handed += piece.len;
    if (x->keeping && x->handed > VOLUME_KEEP_MAX) stop_keeping(x);
    if (x->body_length < 0)
        put_text(x, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", piece.len));
    put_bytes(x, piece);
    if (x->body_length < 0) put_text(x, "\r\n", 2);
    note_given(x);
}

/* Not while bytes may be needed once more. */
static bool can_share(const struct mkv_exchange *x, size_t len)
{
    return takes_body(x) && x->step == EXCHANGE_ANSWER && !x->keeping && x->body_length >= 0 &&
           len <= (uint64_t)x->body_length - x->handed;
}

bool mkv_exchange_share(struct mkv_exchange *x, struct mkv_pipe *pipe)
{
    size_t len = mkv_pipe_len(pipe);

    if (!can_share(x, len)) return false;
    x->low = 0; /* so that the next one can be shared, even if this one can not */
    if (mkv_exchange_unsent(x) > 0) return false;
    x->since_ms = mkv_loop_now(x->volume->all->opt.loop);
    if (!stream_share(&x->connection->stream, pipe)) return false;
    x->handed += len;
    note_end(x);
    note_given(x);
    return true;
}

void mkv_exchange_send_end(struct mkv_exchange *x)
{
    if (!takes_body(x)) return;
    if (x->body_length >= 0) {
        if (!x->whole) exchange_fail_later(x, BLAME_NOBODY, "the body is shorter than announced");
    } else if (!x->whole) {
        if (mkv_exchange_unsent(x) == 0) x->since_ms = mkv_loop_now(x->volume->all->opt.loop);
        put_text(x, "0\r\n\r\n", 5);
        x->whole = true;
    }
}

size_t mkv_exchange_unsent(const struct mkv_exchange *x)
{
    if (x->step == EXCHANGE_ANSWER) return stream_unsent(&x->connection->stream);
    if (x->step < EXCHANGE_ANSWER && x->kept) return evbuffer_get_length(x->kept);
    return 0;
}

bool mkv_exchange_behind(const struct mkv_exchange *x)
{
    return x->above;
}

bool mkv_exchange_sent_all(const struct mkv_exchange *x)
{
    return x->sent_all || (x->step == EXCHANGE_ANSWER && is_sent(x));
}

void exchange_written(struct mkv_exchange *x)
{
    if (!x->above || mkv_exchange_unsent(x) > x->low) return;
    x->above = false;
    if (x->step == EXCHANGE_ANSWER && x->events.drained) x->events.drained(x, x->arg);
}

/* ---- the rest of the interface ------------------------------------------- */

void mkv_exchange_pause(struct mkv_exchange *x, bool paused)
{
    struct mkv_loop *loop = x->volume->all->opt.loop;

    if (x->paused == paused || x->step >= EXCHANGE_FAILED) return;
    x->paused = paused;
    if (x->step != EXCHANGE_BODY || x->drop) return;
    x->since_ms = mkv_loop_now(loop);
    if (!paused)
        mkv_loop_at_end(loop, &x->chore);
    else if (stream_read_on(&x->connection->stream, false))
        exchange_fail_later(x, BLAME_NOBODY, "out of memory");
}

static void tell_nobody(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    (void)x;
    (void)err;
    (void)status;
    (void)arg;
}

/* Where others share the connection, its answer is waited for, so that theirs
 * can be told from it. */
void mkv_exchange_cancel(struct mkv_exchange *x)
{
    struct mkv_volume *v = x->volume;

    if (x->step == EXCHANGE_GONE) return;
    if (x->connection && x->connection->depth > 1) {
        mkv_exchange_pause(x, false);
        x->unwanted = true;
        x->drop |= x->step == EXCHANGE_BODY;
        x->events = (struct mkv_exchange_events){.done = tell_nobody};
        return;
    }
    exchange_discard(x);
    next_turn(v);
}

const char *mkv_exchange_why(const struct mkv_exchange *x)
{
    return x->why;
}

/* ---- time ---------------------------------------------------------------- */

static uint64_t last_progress(const struct mkv_exchange *x)
{
    const struct stream *s = &x->connection->stream;

    return s->progress_ms > x->since_ms ? s->progress_ms : x->since_ms;
}

/* When nothing has moved since then, the volume is to blame.  UINT64_MAX: it is
 * not its turn. */
static uint64_t stall_deadline(const struct mkv_exchange *x)
{
    const struct stream *s = &x->connection->stream;

    if (x != TAILQ_FIRST(&x->connection->pipeline)) return UINT64_MAX;
    if (x->step == EXCHANGE_BODY && x->paused && !x->drop) return UINT64_MAX;
    if (x->step == EXCHANGE_ANSWER && !x->whole && stream_unsent(s) == 0) return UINT64_MAX;
    return last_progress(x) + x->volume->all->opt.stall_ms;
}

/* What comes first is paused by us, which is not the volume's fault. */
static bool is_held_up(const struct mkv_exchange *x)
{
    const struct mkv_exchange *first = TAILQ_FIRST(&x->connection->pipeline);

    return first != x && first->step == EXCHANGE_BODY && first->paused && !first->drop;
}

/* A HEAD or GET that others have kept from being answered for half of -voltimeout
 * has the other half for an attempt without them. */
static uint64_t patience_deadline(const struct mkv_exchange *x)
{
    if (TAILQ_FIRST(&x->connection->pipeline) == x) return UINT64_MAX;
    return last_progress(x) + x->volume->all->opt.timeout_ms / 2;
}

/* Of a HEAD or GET.  Brief GETs may be many: a volume that goes on answering those
 * before it is in time. */
static uint64_t answer_deadline(const struct mkv_exchange *x)
{
    uint64_t since = x->started_ms;

    if (is_brief_get(x) && last_progress(x) > since) since = last_progress(x);
    return since + x->volume->all->opt.timeout_ms;
}

void exchange_check(struct mkv_exchange *x, uint64_t now)
{
    const struct mkv_volumes *vs = x->volume->all;
    bool patient = !exchange_is_safe(x);

    switch (x->step) {
    case EXCHANGE_QUEUED:
        if (now >= x->started_ms + vs->opt.timeout_ms)
            exchange_fail_later(x, BLAME_NOBODY, vs->no_turn);
        break;
    case EXCHANGE_CONNECT: volume_connect_check(x->connecting, now); break;
    case EXCHANGE_ANSWER:
        if (is_held_up(x)) break;
        if (!patient && now >= answer_deadline(x))
            exchange_fail_later(x, BLAME_VOLUME, vs->no_answer);
        else if (patient && now >= stall_deadline(x))
            exchange_fail_later(x, BLAME_VOLUME, vs->no_progress);
        else if (!patient && now >= patience_deadline(x)) {
            pipeline_break(x, false);
            exchange_send_again(x);
        }
        break;
    case EXCHANGE_BODY:
        if (now >= stall_deadline(x)) exchange_fail_later(x, BLAME_VOLUME, vs->no_progress);
        break;
    case EXCHANGE_READY:
    case EXCHANGE_SMALL:
    case EXCHANGE_FAILED:
    case EXCHANGE_GONE: break;
    }
}
