/* lib/net/http1_conn.c - the reading side of a connection: heads, bodies, the
 * end.
 *
 * Everything that was read is served by serve(), which goes round until a
 * handler is at work, input is missing or the turn's share is used up.  Verbs
 * that a handler calls inside of it only record; verbs called at other times
 * ask for another round with conn_resume_later(). */
#include "net/http1_conn.h"
#include "mkv/log.h"
#include "net/socket.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- input that has been read -------------------------------------------- */

static void take(struct conn *c, size_t n)
{
    if (n == 0) return; /* in may be NULL */
    c->in += n;
    c->in_len -= n;
}

static void drop_input(struct conn *c)
{
    c->in_len = 0;
}

/* At the end of a callback: what is unread moves to memory of the connection,
 * and a connection with nothing unread has none. */
static enum mkv_err hold_input(struct conn *c)
{
    if (c->in_len == 0 || c->in_len > c->held_size) { /* then in is not within held */
        free(c->held);
        c->held_size = c->in_len;
        c->held = c->in_len ? malloc(c->in_len) : NULL;
        if (c->in_len && !c->held) return MKV_ENOMEM;
    }
    if (c->in_len && c->in != c->held) memmove(c->held, c->in, c->in_len);
    c->in = c->held;
    return MKV_OK;
}

void conn_count_sent(struct conn *c)
{
    c->server->opt.metrics->bytes_out += c->stream.sent - c->counted;
    c->counted = c->stream.sent;
}

/* ---- the end ------------------------------------------------------------- */

static void destroy(void *arg)
{
    struct conn *c = arg;

    free(c->held);
    free(c->target);
    http1_chunks_clear(&c->chunks);
    free(c);
}

void conn_close(struct conn *c, const char *why)
{
    struct http1_server *s = c->server;
    bool under_way = c->step == CONN_REQUEST;

    if (c->step == CONN_CLOSED) return;
    mkv_log_debug("connection %d closed: %s", c->stream.fd, why);
    c->step = CONN_CLOSED;
    conn_forget_resume(c);
    LIST_REMOVE(c, all);
    s->count--;
    s->opt.metrics->connections_open--;
    conn_count_sent(c);
    if (s->serving == c) s->gathered = 0;
    stream_close(&c->stream);
    mkv_loop_retire(s->opt.loop, &c->retired, destroy, c);
    if (under_way) {
        mkv_log_about(MKV_LOG_INFO, c->r.id, "cut short: %s", why);
        if (c->r.events && c->r.events->gone) c->r.events->gone(&c->r, why);
    }
}

void conn_want_read(struct conn *c)
{
    bool want = false;

    switch (c->step) {
    case CONN_IDLE: want = c->in_len == 0 && stream_unsent(&c->stream) == 0; break;
    case CONN_HEAD: want = stream_unsent(&c->stream) == 0; break;
    case CONN_REQUEST: want = c->body == BODY_FLOWS && c->in_len == 0; break;
    case CONN_LINGER: want = c->dropped <= HTTP1_LINGER_BYTES; break;
    case CONN_FLUSH:
    case CONN_CLOSED: break;
    }
    if (want && !c->stream.reading && stream_read_on(&c->stream, true))
        conn_close(c, "out of memory");
}

/* After the last answer: whether it is out, and what then. */
static void finish_last(struct conn *c)
{
    if (stream_unsent(&c->stream) > 0) return;
    if (c->step == CONN_FLUSH || (c->step == CONN_LINGER && c->dropped > HTTP1_LINGER_BYTES)) {
        conn_close(c, "after the last answer");
    } else if (c->step == CONN_LINGER && !c->shut) {
        c->shut = true;
        c->since_ms = mkv_loop_now(c->server->opt.loop);
        shutdown(c->stream.fd, SHUT_WR);
    }
}

/* At the end of a callback: the input kept, the last answer followed up. */
static void settle(struct conn *c)
{
    conn_count_sent(c);
    if (c->step == CONN_LINGER) drop_input(c);
    finish_last(c);
    if (c->step == CONN_CLOSED) return;
    if (hold_input(c)) {
        conn_close(c, "out of memory");
        return;
    }
    if (c->step == CONN_IDLE && c->in_len > 0 && stream_unsent(&c->stream) == 0)
        conn_resume_later(c); /* else on_written() does */
    conn_want_read(c);
}

/* ---- a request is over --------------------------------------------------- */

static void log_request(struct conn *c, uint64_t us)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    char name[128] = "-";

    if (getpeername(c->stream.fd, (struct sockaddr *)&peer, &len) == 0)
        getnameinfo((struct sockaddr *)&peer, len, name, sizeof(name), NULL, 0, NI_NUMERICHOST);
    mkv_log_about(MKV_LOG_INFO, c->r.id, "%s %s %d %llu.%03llu ms", name,
                  c->target ? c->target : "-", c->status, (unsigned long long)(us / 1000),
                  (unsigned long long)(us % 1000));
}

void conn_request_over(struct conn *c)
{
    struct http1_server *s = c->server;
    uint64_t us = conn_clock_us() - c->started_us;
    bool whole = conn_drop_body(c);

    mkv_metrics_request(s->opt.metrics, c->r.method, c->status);
    mkv_histogram_add(&s->opt.metrics->latency[c->r.method], us);
    if (mkv_log_enabled(MKV_LOG_INFO)) log_request(c, us);
    free(c->target);
    c->target = NULL;
    http1_chunks_clear(&c->chunks);
    c->above_high = c->shares = c->much = false;
    c->answer = ANSWER_NONE;

    if (c->keep && whole && !s->draining)
        c->step = CONN_IDLE;
    else if (whole && c->in_len == 0)
        c->step = CONN_FLUSH;
    else
        c->step = CONN_LINGER;
    if (s->serving != c) settle(c); /* else serve() goes on */
}

/* ---- bodies -------------------------------------------------------------- */

static bool body_flows(const struct conn *c)
{
    return c->step == CONN_REQUEST && c->body == BODY_FLOWS;
}

static void pass_on(struct conn *c, const char *data, size_t len, struct mkv_block *block)
{
    struct mkv_bytes piece = {(const uint8_t *)data, len, block};

    if (c->r.events && c->r.events->body) c->r.events->body(&c->r, piece);
}

static void body_ends(struct conn *c)
{
    c->body = BODY_OVER;
    c->r.trailers = c->chunks.trailers;
    c->r.ntrailers = c->chunks.ntrailers;
    if (c->r.events && c->r.events->body_end) c->r.events->body_end(&c->r);
}

static size_t feed_chunked(struct conn *c, const char *data, size_t len, struct mkv_block *block)
{
    size_t at = 0;

    while (at < len && body_flows(c)) {
        struct mkv_slice payload;
        size_t used;
        enum http1_progress progress =
            http1_chunks_next(&c->chunks, data + at, len - at, &used, &payload);

        at += used;
        if (progress == HTTP1_BAD)
            reply_refuse(c, 400, c->chunks.reason_bad);
        else if (progress == HTTP1_DONE)
            body_ends(c);
        else if (payload.len > 0)
            pass_on(c, payload.data, payload.len, block);
    }
    return at;
}

/* Gives the handler what it takes of the body; returns how much that was. */
static size_t feed(struct conn *c, const char *data, size_t len, struct mkv_block *block)
{
    size_t n;

    if (c->chunked) return feed_chunked(c, data, len, block);
    n = c->body_left < len ? (size_t)c->body_left : len;
    c->body_left -= n;
    if (n > 0) pass_on(c, data, n, block);
    if (c->body_left == 0 && body_flows(c)) body_ends(c);
    return n;
}

bool conn_drop_body(struct conn *c)
{
    size_t n;

    if (!c->chunked) {
        n = c->body_left < c->in_len ? (size_t)c->body_left : c->in_len;
        take(c, n);
        c->body_left -= n;
        if (c->body_left == 0) c->body = BODY_OVER;
    }
    while (c->body != BODY_OVER) {
        struct mkv_slice payload;
        enum http1_progress progress;

        if (!c->chunked || c->in_len == 0) return false;
        progress = http1_chunks_next(&c->chunks, c->in, c->in_len, &n, &payload);
        take(c, n);
        if (progress == HTTP1_BAD) return false;
        if (progress == HTTP1_DONE) c->body = BODY_OVER;
    }
    return true;
}

static void serve(struct conn *c);

/* What a read of the body said; true: n bytes have come. */
static bool has_read(struct conn *c, ssize_t n)
{
    struct http1_server *s = c->server;

    if (n > 0) {
        s->opt.metrics->bytes_in += (uint64_t)n;
        c->stream.progress_ms = mkv_loop_now(s->opt.loop);
        c->much = n >= MKV_PIPE_WORTH;
    } else if (n == 0) {
        conn_close(c, "the client closed in the middle of a body");
    } else if (errno != EAGAIN && errno != EINTR) {
        conn_close(c, strerror(errno));
    }
    return n > 0;
}

/* The handler takes pipes, the client is fast, and much is left. */
static bool wants_pipe(const struct conn *c)
{
    return c->r.events && c->r.events->piped && !c->chunked && c->much &&
           c->body_left >= MKV_PIPE_WORTH;
}

static void read_into_pipe(struct conn *c, struct mkv_pipe *pipe)
{
    ssize_t n = mkv_pipe_fill(pipe, c->stream.fd, (size_t)c->body_left);

    if (!has_read(c, n)) return;
    c->body_left -= (uint64_t)n;
    c->server->serving = c;
    c->r.events->piped(&c->r, pipe);
    if (c->body_left == 0 && body_flows(c)) body_ends(c);
    serve(c);
}

static void read_into_block(struct conn *c)
{
    struct http1_server *s = c->server;
    size_t max = c->chunked                      ? CHUNKED_MAX
                 : c->body_left < MKV_BLOCK_SIZE ? (size_t)c->body_left
                                                 : MKV_BLOCK_SIZE;
    struct mkv_bytes bytes;
    size_t used;

    if (!has_read(c, mkv_blocks_read(s->opt.blocks, c->stream.fd, max, &bytes))) return;
    s->serving = c;
    used = feed(c, (const char *)bytes.data, bytes.len, bytes.block);
    c->in = (const char *)bytes.data + used;
    c->in_len = bytes.len - used;
    serve(c);
}

static void read_body(struct conn *c)
{
    struct mkv_pipe *pipe = wants_pipe(c) ? mkv_pipe_take(c->server->opt.pipes) : NULL;

    if (pipe)
        read_into_pipe(c, pipe);
    else
        read_into_block(c);
    mkv_pipe_release(pipe);
}

/* ---- heads --------------------------------------------------------------- */

/* False: more input is needed. */
static bool parse_head(struct conn *c)
{
    struct http1_server *s = c->server;
    size_t used;

    switch (http1_parse_request(&s->head, c->in, c->in_len, &c->scanned, &used)) {
    case HTTP1_MORE:
        if (c->step == CONN_IDLE) c->since_ms = mkv_loop_now(s->opt.loop);
        c->step = CONN_HEAD;
        return false;
    case HTTP1_BAD:
        c->scanned = 0;
        c->r.id = ++s->last_id;
        c->r.method = MKV_METHOD_OTHER;
        reply_refuse(c, s->head.bad_status, s->head.reason_bad);
        return true;
    case HTTP1_DONE: break;
    }
    c->scanned = 0;
    take(c, used);
    begin_request(c);
    return true;
}

/* ---- serving ------------------------------------------------------------- */

/* One round; false: nothing more to do for now. */
static bool serve_once(struct conn *c)
{
    switch (c->step) {
    case CONN_IDLE:
    case CONN_HEAD: return c->in_len > 0 && stream_unsent(&c->stream) == 0 && parse_head(c);
    case CONN_REQUEST:
        if (c->body != BODY_FLOWS) return false;
        if (!c->chunked && c->body_left == 0) {
            body_ends(c); /* an empty one */
            return true;
        }
        if (c->in_len == 0) return false;
        take(c, feed(c, c->in, c->in_len, NULL));
        return true;
    case CONN_LINGER:
    case CONN_FLUSH: drop_input(c); return false;
    case CONN_CLOSED: return false;
    }
    return false;
}

static void serve(struct conn *c)
{
    struct http1_server *s = c->server;
    unsigned share = TURN_MAX;

    s->serving = c;
    while (serve_once(c))
        if (c->step == CONN_IDLE && --share == 0) break; /* settle() asks for the next turn */
    reply_flush(s);
    s->serving = NULL;
    if (c->step != CONN_CLOSED) settle(c);
}

static bool owes_drained(const struct conn *c)
{
    return c->above_high && stream_unsent(&c->stream) < (c->shares ? 1 : MKV_OUTPUT_LOW);
}

void conn_resume(struct conn *c)
{
    struct http1_server *s = c->server;

    if (c->no_memory) {
        conn_close(c, "out of memory");
        return;
    }
    if (owes_drained(c)) {
        c->above_high = false;
        s->serving = c;
        if (c->r.events && c->r.events->drained) c->r.events->drained(&c->r);
    }
    serve(c);
}

/* ---- events of the socket ------------------------------------------------ */

/* Room behind the part of a head that is held. */
static char *more_room(struct conn *c, size_t *room)
{
    if (c->held_size - c->in_len < 512) {
        size_t size = 2 * c->in_len + 1024;
        char *held = realloc(c->held, size);

        if (!held) return NULL;
        c->in = c->held = held;
        c->held_size = size;
    }
    *room = c->held_size - c->in_len;
    return c->held + c->in_len;
}

static void read_head(struct conn *c)
{
    struct http1_server *s = c->server;
    size_t room = READ_MAX;
    char *to = c->in_len > 0 ? more_room(c, &room) : s->scratch;
    ssize_t n;

    if (!to) {
        conn_close(c, "out of memory");
        return;
    }
    n = read(c->stream.fd, to, room);
    if (n <= 0) {
        if (n == 0)
            conn_close(c, c->in_len ? "the client closed in the middle of a head"
                                    : "the client closed");
        else if (errno != EAGAIN && errno != EINTR)
            conn_close(c, strerror(errno));
        return;
    }
    s->opt.metrics->bytes_in += (uint64_t)n;
    c->stream.progress_ms = mkv_loop_now(s->opt.loop);
    if (c->in_len == 0) c->in = to;
    c->in_len += (size_t)n;
    serve(c);
}

static void read_and_drop(struct conn *c)
{
    struct http1_server *s = c->server;
    ssize_t n = read(c->stream.fd, s->scratch, sizeof(s->scratch));

    if (n > 0) {
        s->opt.metrics->bytes_in += (uint64_t)n;
        c->dropped += (size_t)n;
        finish_last(c);
    } else if (n == 0) {
        c->step = CONN_FLUSH;
        finish_last(c);
    } else if (errno != EAGAIN && errno != EINTR) {
        conn_close(c, strerror(errno));
    }
}

static struct conn *of_stream(struct stream *stream)
{
    return (struct conn *)(void *)((char *)stream - offsetof(struct conn, stream));
}

static void on_readable(struct stream *stream)
{
    struct conn *c = of_stream(stream);
    bool waits = c->is_waiting || c->is_fed, idle = stream_unsent(stream) == 0 && !waits;

    if (idle && (c->step == CONN_HEAD || (c->step == CONN_IDLE && c->in_len == 0))) {
        read_head(c);
    } else if (body_flows(c) && c->in_len == 0 && !waits) {
        read_body(c); /* not while waiting: a body that is complete would be read on */
    } else if (c->step == CONN_LINGER && c->dropped <= HTTP1_LINGER_BYTES) {
        read_and_drop(c);
    } else if (stream_read_on(stream, false)) {
        conn_close(c, "out of memory");
    }
}

/* Only asks for the next turn: a handler that fills what has just been emptied
 * must not keep everybody else waiting. */
static void on_written(struct stream *stream)
{
    struct conn *c = of_stream(stream);
    size_t unsent = stream_unsent(stream);

    conn_count_sent(c);
    if (owes_drained(c)) conn_resume_later(c);
    if (unsent > 0) return;
    stream_trim(stream);
    finish_last(c);
    if ((c->step == CONN_IDLE || c->step == CONN_HEAD) && c->in_len > 0) conn_resume_later(c);
    conn_want_read(c);
}

static void on_failed(struct stream *stream, int err)
{
    conn_close(of_stream(stream), strerror(err));
}

struct conn *conn_open(struct http1_server *s, int fd)
{
    static const struct stream_events events = {on_readable, on_written, on_failed};
    struct conn *c = calloc(1, sizeof(*c));

    if (!c) return NULL;
    stream_init(&c->stream, s->opt.loop, fd, &events);
    if (stream_read_on(&c->stream, true)) {
        free(c);
        return NULL;
    }
    socket_accepted(fd);
    c->server = s;
    c->step = CONN_IDLE;
    LIST_INSERT_HEAD(&s->all, c, all);
    s->count++;
    s->opt.metrics->connections_open++;
    s->opt.metrics->connections_total++;
    return c;
}

/* ---- the clock ----------------------------------------------------------- */

void conn_check_time(struct conn *c, uint64_t now)
{
    uint64_t still = now - c->stream.progress_ms;

    if (c->step == CONN_CLOSED) return;
    if (stream_unsent(&c->stream) > 0) {
        if (still > HTTP1_BODY_TIMEOUT_MS) conn_close(c, "the client does not read the answer");
        return;
    }
    switch (c->step) {
    case CONN_IDLE:
        if (still > HTTP1_IDLE_TIMEOUT_MS) conn_close(c, "idle");
        break;
    case CONN_HEAD:
        if (now - c->since_ms <= HTTP1_HEAD_TIMEOUT_MS) break;
        c->r.id = ++c->server->last_id;
        c->r.method = MKV_METHOD_OTHER;
        reply_refuse(c, 408, "the head was not complete within 30 seconds");
        settle(c);
        break;
    case CONN_REQUEST:
        if (c->body != BODY_FLOWS || still <= HTTP1_BODY_TIMEOUT_MS) break;
        reply_refuse(c, 408, "the body did not move for 60 seconds");
        settle(c);
        break;
    case CONN_LINGER:
        if (now - c->since_ms > HTTP1_LINGER_MS) conn_close(c, "the client kept sending");
        break;
    case CONN_FLUSH:
    case CONN_CLOSED: break;
    }
}
