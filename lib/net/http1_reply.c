/* lib/net/http1_reply.c - answers: the transport verbs of the HTTP/1.1 front.
 *
 * Heads are written straight into the front's gather buffer.  The answers of
 * the connection being served stay there until its round is over (one write
 * for a whole pipeline); all others go to their stream at once. */
#include "mkv/log.h"
#include "net/http1_conn.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define NUMBER_MAX 20 /* digits of 2^64 - 1 */

/* ---- bytes out ----------------------------------------------------------- */

/* No memory inside a verb: a handler must not hear gone() there. */
static void give_up(struct conn *c)
{
    c->no_memory = true;
    conn_resume_later(c);
}

void reply_flush(struct http1_server *s)
{
    size_t n = s->gathered;

    s->gathered = 0;
    if (n > 0 && stream_send(&s->serving->stream, s->gather, n)) give_up(s->serving);
}

/* Everything for c that is in the gather buffer goes to its queue, so that more
 * can be queued behind it and leave in the same write. */
static void queue_gathered(struct conn *c)
{
    struct http1_server *s = c->server;

    if (s->serving != c || s->gathered == 0) return;
    if (stream_add(&c->stream, s->gather, s->gathered)) give_up(c);
    s->gathered = 0;
}

/* Room for need bytes of c's output: in the gather buffer, else *owned*. */
static char *out_begin(struct conn *c, size_t need, char **owned)
{
    struct http1_server *s = c->server;

    *owned = NULL;
    if (need > GATHER_MAX - s->gathered) reply_flush(s);
    if (need <= GATHER_MAX) return s->gather + s->gathered;
    *owned = malloc(need);
    if (!*owned) give_up(c);
    return *owned;
}

static void out_end(struct conn *c, char *begin, size_t len, char *owned)
{
    struct http1_server *s = c->server;

    c->stream.progress_ms = mkv_loop_now(s->opt.loop);
    if (!owned && s->serving == c)
        s->gathered += len;
    else if (stream_send(&c->stream, begin, len))
        give_up(c);
    free(owned);
}

/* ---- heads --------------------------------------------------------------- */

struct head_text {
    int status;
    const struct mkv_header *h;
    size_t n;
    enum answer_step kind;
    bool has_length; /* a Content-Length line, maybe without a body behind it */
    uint64_t length;
};

static bool no_content(int status)
{
    return status == 204 || status == 304 || status < 200;
}

static char *put(char *p, struct mkv_slice s)
{
    if (s.len) memcpy(p, s.data, s.len);
    return p + s.len;
}

static char *put_number(char *p, uint64_t n)
{
    char digits[NUMBER_MAX];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return put(p, mkv_slice(digits + at, sizeof(digits) - at));
}

/* A line break in a header would let a key forge headers; with a NUL in it no
 * client would take the answer. */
static bool is_safe(const struct mkv_header *h)
{
    return h->value.len == 0 || (!memchr(h->value.data, '\r', h->value.len) &&
                                 !memchr(h->value.data, '\n', h->value.len) &&
                                 !memchr(h->value.data, '\0', h->value.len));
}

/* The most that put_head can write. */
static size_t head_max(const struct head_text *t)
{
    size_t n = 256; /* status line, length or coding, date, connection, empty line */

    for (size_t i = 0; i < t->n; i++)
        n += t->h[i].name.len + t->h[i].value.len + 4;
    return n;
}

static char *put_head(const struct conn *c, char *p, const struct head_text *t)
{
    struct mkv_slice line = http1_status_line(t->status);

    assert(line.data); /* a status that is missing in http1.c */
    p = put(p, line.data ? line : http1_status_line(500));
    for (size_t i = 0; i < t->n; i++) {
        if (!is_safe(&t->h[i])) continue;
        p = put(p, t->h[i].name);
        p = put(p, MKV_SLICE(": "));
        p = put(p, t->h[i].value);
        p = put(p, MKV_SLICE("\r\n"));
    }
    if (t->has_length) {
        p = put(p, MKV_SLICE("Content-Length: "));
        p = put_number(p, t->length);
        p = put(p, MKV_SLICE("\r\n"));
    } else if (t->kind == ANSWER_CHUNKED) {
        p = put(p, MKV_SLICE("Transfer-Encoding: chunked\r\n"));
    }
    p = put(p, MKV_SLICE("Date: "));
    p = put(p, mkv_slice(mkv_loop_http_date(c->server->opt.loop), 29));
    if (!c->keep)
        p = put(p, MKV_SLICE("\r\nConnection: close\r\n\r\n"));
    else if (c->minor == 0)
        p = put(p, MKV_SLICE("\r\nConnection: keep-alive\r\n\r\n"));
    else
        p = put(p, MKV_SLICE("\r\n\r\n"));
    return p;
}

/* Head and body in one go. */
static void write_whole(struct conn *c, int status, const struct mkv_header *h, size_t n,
                        struct mkv_slice body)
{
    struct head_text t = {status, h, n, ANSWER_NO_BODY, !no_content(status), body.len};
    char *begin, *end, *owned;

    if (c->r.method == MKV_HEAD || !t.has_length) body.len = 0;
    begin = out_begin(c, head_max(&t) + body.len, &owned);
    if (!begin) return;
    end = put(put_head(c, begin, &t), body);
    out_end(c, begin, (size_t)(end - begin), owned);
}

/* ---- the verbs -----------------------------------------------------------
 *
 * Who expects 100 Continue gets it before anything else, also where the body is
 * empty, or else an answer that ends the connection: aws and boto3 take the next
 * answer on it for the one that they have seen. */

static bool awaits_continue(const struct conn *c)
{
    return c->expects && c->in_len == 0;
}

static void verb_reply(struct mkv_request *r, int status, const struct mkv_header *h, size_t n,
                       struct mkv_slice body)
{
    struct conn *c = conn_of(r);

    assert(c->step == CONN_REQUEST && c->answer == ANSWER_NONE);
    if (awaits_continue(c) || !conn_drop_body(c) || c->server->draining) c->keep = false;
    c->status = status;
    write_whole(c, status, h, n, body);
    conn_request_over(c);
}

static void verb_head(struct mkv_request *r, int status, const struct mkv_header *h, size_t n,
                      int64_t length)
{
    struct conn *c = conn_of(r);
    bool known = length != MKV_LENGTH_UNKNOWN;
    struct head_text t = {
        status, h, n, ANSWER_NO_BODY, known && !no_content(status), known ? (uint64_t)length : 0};
    char *begin, *end, *owned;

    assert(c->step == CONN_REQUEST && c->answer == ANSWER_NONE);
    c->status = status;
    if (c->body != BODY_OVER && (c->chunked || c->body_left > c->in_len)) c->keep = false;
    if (awaits_continue(c) || c->server->draining) c->keep = false;
    if (no_content(status)) {
        c->answer = ANSWER_NO_BODY;
    } else {
        c->answer = known ? ANSWER_LENGTH : c->minor > 0 ? ANSWER_CHUNKED : ANSWER_RAW;
        if (r->method == MKV_HEAD)
            c->answer = ANSWER_NO_BODY;
        else if (c->answer == ANSWER_RAW)
            c->keep = false;
        t.kind = known || c->minor == 0 ? ANSWER_LENGTH : ANSWER_CHUNKED;
    }
    c->answer_left = t.length;
    begin = out_begin(c, head_max(&t), &owned);
    if (!begin) return;
    end = put_head(c, begin, &t);
    if (c->server->serving != c && !owned) { /* the body will leave with it */
        if (stream_add(&c->stream, begin, (size_t)(end - begin))) give_up(c);
        return;
    }
    out_end(c, begin, (size_t)(end - begin), owned);
}

static enum mkv_err add_chunk(struct stream *s, struct evbuffer *bytes)
{
    char size[NUMBER_MAX];
    int n = snprintf(size, sizeof(size), "%zx\r\n", evbuffer_get_length(bytes));
    enum mkv_err err = stream_add(s, size, (size_t)n);

    if (!err) err = stream_add_buffer(s, bytes);
    return err ? err : stream_add(s, "\r\n", 2);
}

static size_t verb_unsent(struct mkv_request *r)
{
    struct conn *c = conn_of(r);

    return stream_unsent(&c->stream) + (c->server->serving == c ? c->server->gathered : 0);
}

/* Whether drained() will be owed. */
static void note_unsent(struct conn *c)
{
    if (stream_unsent(&c->stream) > (c->shares ? 0 : MKV_OUTPUT_HIGH)) c->above_high = true;
}

static void verb_body(struct mkv_request *r, struct evbuffer *bytes)
{
    struct conn *c = conn_of(r);
    size_t len = evbuffer_get_length(bytes);
    enum mkv_err err = MKV_OK;

    assert(c->step == CONN_REQUEST && c->answer != ANSWER_NONE);
    assert(c->answer != ANSWER_LENGTH || len <= c->answer_left);
    if (len == 0) return;
    if (c->answer == ANSWER_NO_BODY) {
        evbuffer_drain(bytes, len);
        return;
    }
    queue_gathered(c);
    if (stream_unsent(&c->stream) == 0) c->stream.progress_ms = mkv_loop_now(c->server->opt.loop);
    if (c->answer == ANSWER_CHUNKED)
        err = add_chunk(&c->stream, bytes);
    else
        err = stream_add_buffer(&c->stream, bytes);
    c->answer_left -= len;
    if (err) give_up(c);
    note_unsent(c);
}

static bool verb_share(struct mkv_request *r, struct mkv_pipe *pipe)
{
    struct conn *c = conn_of(r);
    size_t len = mkv_pipe_len(pipe);

    assert(c->step == CONN_REQUEST && c->answer != ANSWER_NONE);
    if (c->answer != ANSWER_LENGTH || c->no_memory) return false;
    c->shares = true; /* so that the next one can be, even if this one can not */
    if (verb_unsent(r) > 0) return false;
    assert(len <= c->answer_left);
    c->stream.progress_ms = mkv_loop_now(c->server->opt.loop);
    if (!stream_share(&c->stream, pipe)) return false;
    c->answer_left -= len;
    conn_count_sent(c);
    note_unsent(c);
    return true;
}

static bool verb_alive(struct mkv_request *r)
{
    struct conn *c = conn_of(r);
    int err = 0;
    socklen_t len = sizeof(err);

    assert(c->step == CONN_REQUEST);
    if (getsockopt(c->stream.fd, SOL_SOCKET, SO_ERROR, &err, &len) || !err) return true;
    conn_close(c, strerror(err));
    return false;
}

static void verb_abort(struct mkv_request *r, const char *why)
{
    struct conn *c = conn_of(r);
    struct linger at_once = {1, 0};

    /* A reset, since the end of a connection may be the end of an answer. */
    setsockopt(c->stream.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    mkv_log_about(MKV_LOG_INFO, r->id, "answer broken off: %s", why);
    r->events = NULL; /* the handler ends it: no gone() */
    conn_close(c, why);
}

static void verb_end(struct mkv_request *r)
{
    struct conn *c = conn_of(r);

    assert(c->step == CONN_REQUEST && c->answer != ANSWER_NONE);
    if (c->answer == ANSWER_LENGTH && c->answer_left > 0) {
        verb_abort(r, "the answer is shorter than announced");
        return;
    }
    if (c->answer == ANSWER_CHUNKED) {
        queue_gathered(c);
        if (stream_add(&c->stream, "0\r\n\r\n", 5)) give_up(c);
    }
    conn_request_over(c);
}

static void send_continue(struct conn *c)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char *owned, *begin = out_begin(c, sizeof(line) - 1, &owned);

    if (!begin) return;
    memcpy(begin, line, sizeof(line) - 1);
    out_end(c, begin, sizeof(line) - 1, owned);
}

static void verb_read_body(struct mkv_request *r, bool on)
{
    struct conn *c = conn_of(r);

    assert(c->step == CONN_REQUEST);
    if (!on) {
        if (c->body == BODY_FLOWS) c->body = BODY_PAUSED; /* on_readable() disarms */
        return;
    }
    if (c->body == BODY_FLOWS || c->body == BODY_OVER) return;
    if (awaits_continue(c) && c->answer == ANSWER_NONE) send_continue(c);
    c->expects = false;
    c->body = BODY_FLOWS;
    c->stream.progress_ms = mkv_loop_now(c->server->opt.loop);
    if (c->server->serving == c) return; /* serve() goes on */
    if (c->in_len > 0 || (!c->chunked && c->body_left == 0))
        conn_feed_soon(c);
    else
        conn_want_read(c);
}

const struct mkv_transport http1_transport = {
    .reply = verb_reply,
    .head = verb_head,
    .body = verb_body,
    .share = verb_share,
    .end = verb_end,
    .read_body = verb_read_body,
    .unsent = verb_unsent,
    .alive = verb_alive,
    .abort = verb_abort,
};

/* ---- in the handler's place ---------------------------------------------- */

void reply_refuse(struct conn *c, int status, const char *why)
{
    struct mkv_metrics *m = c->server->opt.metrics;
    bool under_way = c->step == CONN_REQUEST;
    char line[256];
    int n = snprintf(line, sizeof(line), "%s\n", why);
    const struct mkv_header type = {MKV_SLICE("Content-Type"), MKV_SLICE("text/plain")};

    m->bad_requests++;
    if (c->answer != ANSWER_NONE) {
        conn_close(c, why);
        return;
    }
    mkv_log_about(MKV_LOG_INFO, c->r.id, "refused with %d: %s", status, why);
    mkv_metrics_request(m, c->r.method, status);
    c->keep = false;
    write_whole(c, status, &type, 1, mkv_slice(line, (size_t)n));
    c->step = CONN_LINGER;
    if (under_way && c->r.events && c->r.events->gone) c->r.events->gone(&c->r, why);
}
