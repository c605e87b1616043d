/* lib/net/volume_pipeline.c - the exchanges that share a connection. */
#include "net/volume_internal.h"

#include <errno.h>

/* ---- joining and leaving ------------------------------------------------- */

struct volume_connection *pipeline_to_join(const struct mkv_exchange *x)
{
    struct volume_connection *c = x->volume->gathering;

    if (!c || c->depth == 0 || c->depth >= VOLUME_PIPELINE_MAX) return NULL;
    if (!c->answered || c->spoilt || x->volume->state != MKV_VOLUME_UP) return NULL;
    if (c->stream.sent != c->sent_before) return NULL; /* its requests have left */
    return TAILQ_FIRST(&c->pipeline)->method == x->method ? c : NULL;
}

void pipeline_add(struct volume_connection *c, struct mkv_exchange *x)
{
    TAILQ_INSERT_TAIL(&c->pipeline, x, turn);
    c->depth++;
    x->connection = c;
}

void pipeline_remove(struct mkv_exchange *x)
{
    TAILQ_REMOVE(&x->connection->pipeline, x, turn);
    x->connection->depth--;
    x->connection = NULL;
}

/* Those behind x go elsewhere, or fail. */
static void scatter_behind(struct mkv_exchange *x, bool closed_by_volume)
{
    struct mkv_exchange *y;

    while ((y = TAILQ_NEXT(x, turn))) {
        exchange_note_sent(y);
        pipeline_remove(y);
        if (!exchange_is_safe(y) && !closed_by_volume)
            exchange_fail_later(y, BLAME_COUNTED, "no answer came to the request before it");
        if (y->step < EXCHANGE_FAILED) exchange_send_again(y); /* else it will be told */
    }
}

void pipeline_break(struct mkv_exchange *x, bool closed_by_volume)
{
    struct volume_connection *c = x->connection;

    scatter_behind(x, closed_by_volume);
    if (c->depth == 1) {
        volume_close_connection(c);
    } else {
        pipeline_remove(x);
        c->spoilt = true;
    }
}

/* ---- reading ------------------------------------------------------------- */

/* Whose answer is due; NULL: nobody's, or it will be told of a failure at the
 * end of this turn. */
static struct mkv_exchange *next_due(struct volume_connection *c)
{
    struct mkv_exchange *x = TAILQ_FIRST(&c->pipeline);

    return x && x->step < EXCHANGE_FAILED ? x : NULL;
}

/* What a read said; true: n bytes have come. */
static bool has_read(struct mkv_exchange *x, ssize_t n)
{
    struct volume_connection *c = x->connection;

    if (n > 0) {
        c->volume->stats.bytes_received += (uint64_t)n;
        c->stream.progress_ms = mkv_loop_now(c->stream.loop);
        x->much = n >= MKV_PIPE_WORTH;
    } else if (n == 0) {
        exchange_end_of_input(x);
    } else if (errno != EAGAIN && errno != EINTR) {
        exchange_broken(x, exchange_errno(x, errno));
    }
    return n > 0;
}

void pipeline_answers(struct volume_connection *c, struct mkv_bytes bytes)
{
    struct mkv_exchange *x;

    while (bytes.len && (x = next_due(c))) {
        size_t used = exchange_answer(x, bytes);

        bytes.data += used;
        bytes.len -= used;
    }
}

static void read_answers(struct volume_connection *c, struct mkv_exchange *x)
{
    struct mkv_bytes bytes;

    if (has_read(x, mkv_blocks_read(c->volume->all->opt.blocks, c->stream.fd, MKV_BLOCK_SIZE,
                                    &bytes)))
        pipeline_answers(c, bytes);
}

void pipeline_readable(struct volume_connection *c)
{
    struct mkv_exchange *x = next_due(c);
    struct mkv_pipe *pipe = NULL;
    size_t max;

    if (!x) return;
    max = x->left < VOLUME_PIPE_MAX ? (size_t)x->left : VOLUME_PIPE_MAX;
    if (exchange_wants_pipe(x)) pipe = mkv_pipe_take(c->volume->all->opt.pipes);
    if (!pipe)
        read_answers(c, x);
    else if (has_read(x, mkv_pipe_fill(pipe, c->stream.fd, max)))
        exchange_answer_piped(x, pipe);
    mkv_pipe_release(pipe);
}
