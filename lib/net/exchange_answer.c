/* lib/net/exchange_answer.c - one exchange with a volume: the answer. */
#include "net/volume_internal.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERIM_MAX 8 /* 1xx answers before the real one */

/* What is left of bytes behind the first used ones. */
static struct mkv_bytes rest_of(struct mkv_bytes bytes, size_t used)
{
    return (struct mkv_bytes){bytes.data + used, bytes.len - used, bytes.block};
}

/* ---- the body ------------------------------------------------------------ */

/* Hands on a piece of the decoded body.  False: x is over, or about to be. */
static bool deliver(struct mkv_exchange *x, struct mkv_bytes piece)
{
    if (piece.len == 0) return true;
    if (x->drop) {
        x->dropped += piece.len;
        if (x->dropped > VOLUME_DROP_MAX) exchange_complete(x, false);
    } else if (x->events.body) {
        x->events.body(x, piece, x->arg);
    }
    return x->step == EXCHANGE_BODY;
}

/* Decodes one piece; *used: its bytes.  HTTP1_BAD has been dealt with. */
static enum http1_progress decode(struct mkv_exchange *x, struct mkv_bytes bytes, size_t *used)
{
    struct mkv_slice payload = {NULL, 0};
    enum http1_progress progress = HTTP1_MORE;

    *used = bytes.len;
    if (x->framing == HTTP1_CHUNKED) {
        progress =
            http1_chunks_next(&x->chunks, (const char *)bytes.data, bytes.len, used, &payload);
        bytes.data = (const uint8_t *)payload.data;
        bytes.len = payload.len;
    } else if (x->framing == HTTP1_LENGTH) {
        if (bytes.len >= x->left) {
            progress = HTTP1_DONE;
            *used = bytes.len = (size_t)x->left;
        }
        x->left -= bytes.len;
    }
    if (progress == HTTP1_BAD) {
        snprintf(x->why_text, sizeof(x->why_text), "malformed body: %s", x->chunks.reason_bad);
        exchange_fail(x, BLAME_VOLUME, x->why_text);
        return HTTP1_BAD;
    }
    return deliver(x, bytes) ? progress : HTTP1_BAD;
}

/* A connection that has served its last byte may serve again; what is left
 * belongs to the next in the pipeline, or to nobody. */
static bool ends_cleanly(const struct mkv_exchange *x, size_t left)
{
    return left == 0 || x->connection->depth > 1;
}

/* Returns how many bytes were used: fewer than all only where paused, or where
 * the body has ended.  x may be over afterwards. */
static size_t decode_all(struct mkv_exchange *x, struct mkv_bytes bytes)
{
    size_t done = 0, used;

    while (done < bytes.len && (!x->paused || x->drop)) {
        struct mkv_bytes rest = rest_of(bytes, done);
        enum http1_progress progress = decode(x, rest, &used);

        done += used;
        if (progress == HTTP1_DONE) exchange_complete(x, ends_cleanly(x, rest.len - used));
        if (progress != HTTP1_MORE) break;
    }
    return done;
}

/* What comes behind a pause is held, others' answers too: one read at most, for then
 * reading stops.  Returns how many bytes were used or held. */
static size_t body(struct mkv_exchange *x, struct mkv_bytes bytes)
{
    size_t used = decode_all(x, bytes);

    if (x->step != EXCHANGE_BODY || !x->paused || x->drop) return used;
    if (stream_read_on(&x->connection->stream, false)) goto fail;
    if (used == bytes.len) return used;
    if (!x->held) x->held = evbuffer_new();
    if (!x->held || mkv_bytes_append(x->held, rest_of(bytes, used))) goto fail;
    return bytes.len;
fail:
    exchange_fail_later(x, BLAME_NOBODY, "out of memory");
    return bytes.len;
}

/* What was held may be other answers, too. */
void exchange_resume(struct mkv_exchange *x)
{
    struct volume_connection *c = x->connection;
    struct evbuffer *held = x->held;
    const uint8_t *data = NULL;
    size_t len;

    if (x->paused) return;
    x->held = NULL;
    len = held ? evbuffer_get_length(held) : 0;
    if (len) data = evbuffer_pullup(held, -1);
    if (stream_read_on(&c->stream, true) || (len && !data))
        exchange_fail(x, BLAME_NOBODY, "out of memory");
    else
        pipeline_answers(c, (struct mkv_bytes){data, len, NULL}); /* may be paused again */
    if (held) evbuffer_free(held);
}

/* ---- the head ------------------------------------------------------------ */

/* The head of the final answer; rest: what was read behind it.  Returns how
 * much of that was its own. */
static size_t got_head(struct mkv_exchange *x, const struct http1_head *head, struct mkv_bytes rest)
{
    bool good = head->status == 200 || head->status == 206, early;

    early = x->method == MKV_VOLUME_PUT && !exchange_is_written(x);
    x->status = head->status;
    x->framing = head->framing;
    x->keep_alive = head->keep_alive;
    x->left = head->length;
    x->drop = x->unwanted ||
              (!(x->method == MKV_VOLUME_GET && good) && x->method != MKV_VOLUME_REBALANCE);
    if (early) {
        if (x->status < 300)
            exchange_fail(x, BLAME_VOLUME, "it reports success before it has the whole body");
        else
            exchange_complete(x, false); /* it does not want the rest */
        return 0;
    }
    x->step = EXCHANGE_BODY;
    if (x->events.head && (x->method == MKV_VOLUME_GET || x->method == MKV_VOLUME_HEAD))
        x->events.head(x, head, x->arg);
    if (x->step != EXCHANGE_BODY) return 0;
    if (x->framing == HTTP1_NO_BODY || (x->framing == HTTP1_LENGTH && x->left == 0))
        exchange_complete(x, ends_cleanly(x, rest.len));
    else if (x->drop && x->framing == HTTP1_LENGTH && x->left > VOLUME_DROP_MAX)
        exchange_complete(x, false);
    else
        return body(x, rest);
    return 0;
}

/* Keeps the beginning of a head. */
static bool keep_partial(struct mkv_exchange *x, struct mkv_bytes bytes)
{
    size_t room = HTTP1_HEAD_MAX - x->partial_len;
    size_t n = bytes.len < room ? bytes.len : room;
    char *more = realloc(x->partial, x->partial_len + n);

    if (!more) {
        exchange_fail(x, BLAME_NOBODY, "out of memory");
        return false;
    }
    memcpy(more + x->partial_len, bytes.data, n);
    x->partial = more;
    x->partial_len += n;
    return true;
}

/* Parses one head, 1xx or final.  DONE: *used bytes of bytes belonged to it. */
static enum http1_progress parse_head(struct mkv_exchange *x, struct http1_head *head,
                                      struct mkv_bytes bytes, size_t *used)
{
    size_t before = x->partial_len;
    bool to_head = x->method == MKV_VOLUME_HEAD;
    enum http1_progress progress;

    if (before && !keep_partial(x, bytes)) return HTTP1_BAD;
    progress =
        http1_parse_response(head, before ? x->partial : (const char *)bytes.data,
                             before ? x->partial_len : bytes.len, to_head, &x->scanned, used);
    if (progress == HTTP1_BAD) {
        snprintf(x->why_text, sizeof(x->why_text), "malformed answer: %s", head->reason_bad);
        exchange_fail(x, BLAME_VOLUME, x->why_text);
    } else if (progress == HTTP1_MORE) {
        if (!before) (void)keep_partial(x, bytes);
    } else {
        *used -= before;
    }
    return progress;
}

/* Returns how many bytes were its own. */
static size_t head(struct mkv_exchange *x, struct mkv_bytes bytes)
{
    struct http1_head h;
    size_t done = 0, used;

    x->begun = true;
    while (done < bytes.len) {
        if (parse_head(x, &h, rest_of(bytes, done), &used) != HTTP1_DONE) return bytes.len;
        done += used;
        if (h.status >= 200) return done + got_head(x, &h, rest_of(bytes, done));
        if (h.status == 101 || ++x->interim > INTERIM_MAX) {
            exchange_fail(x, BLAME_VOLUME, "it answers with 1xx instead of a status");
            break;
        }
        x->partial_len = x->scanned = 0;
    }
    return done;
}

/* ---- reading ------------------------------------------------------------- */

void exchange_end_of_input(struct mkv_exchange *x)
{
    if (x->step == EXCHANGE_READY || !x->begun)
        exchange_broken(x, "connection closed before an answer");
    else if (x->step == EXCHANGE_ANSWER)
        exchange_broken(x, "connection closed within the head of the answer");
    else if (x->framing == HTTP1_UNTIL_CLOSE || x->drop)
        exchange_complete(x, false);
    else
        exchange_broken(x, "connection closed within the body");
}

size_t exchange_answer(struct mkv_exchange *x, struct mkv_bytes bytes)
{
    if (x->step == EXCHANGE_BODY) return body(x, bytes);
    if (x->step == EXCHANGE_ANSWER && x->connection->stream.sent > x->begins_at)
        return head(x, bytes);
    exchange_broken(x, "it answered before it was asked");
    return bytes.len;
}

/* The source is fast, and much is left. */
bool exchange_wants_pipe(const struct mkv_exchange *x)
{
    return x->events.piped && x->step == EXCHANGE_BODY && x->framing == HTTP1_LENGTH && x->much &&
           x->left >= MKV_PIPE_WORTH && !x->drop && !x->paused;
}

void exchange_answer_piped(struct mkv_exchange *x, struct mkv_pipe *pipe)
{
    x->left -= mkv_pipe_len(pipe);
    x->events.piped(x, pipe, x->arg);
    if (x->step == EXCHANGE_BODY && x->left == 0) exchange_complete(x, true);
}
