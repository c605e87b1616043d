#include "store/fanout.h"

#include "mkv/log.h"
#include "store/store.h"

void fanout_init(struct fanout *f, struct mkv_store *store, struct mkv_slice key_path,
                 int64_t length, int64_t mtime, const struct fanout_events *events, void *arg)
{
    memset(f, 0, sizeof(*f));
    f->store = store;
    memcpy(f->path, key_path.data, key_path.len);
    f->path_len = key_path.len;
    f->length = length;
    mkv_http_date(f->date, mtime);
    f->events = events;
    f->arg = arg;
}

unsigned fanout_count(const struct fanout *f, enum copy_state state)
{
    unsigned n = 0;

    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++) n += f->copies[i].state == state;
    return n;
}

static size_t longest_queue(const struct fanout *f)
{
    size_t longest = 0;

    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++) {
        const struct fanout_copy *c = &f->copies[i];
        size_t unsent = c->state == COPY_READY ? mkv_exchange_unsent(c->x) : 0;

        if (unsent > longest) longest = unsent;
    }
    return longest;
}

static bool is_behind(const struct fanout *f)
{
    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++)
        if (f->copies[i].state == COPY_READY && mkv_exchange_behind(f->copies[i].x)) return true;
    return false;
}

/* After a queue got shorter, or a copy left. */
static void relax(struct fanout *f)
{
    if (!f->full || is_behind(f)) return;
    f->full = false;
    f->events->drained(f->arg);
}

static void on_ready(struct mkv_exchange *x, void *arg)
{
    struct fanout_copy *c = arg;

    (void)x;
    c->state = COPY_READY;
    if (fanout_count(c->fanout, COPY_OPENING) == 0) c->fanout->events->opened(c->fanout->arg);
}

static void on_drained(struct mkv_exchange *x, void *arg)
{
    (void)x;
    relax(((struct fanout_copy *)arg)->fanout);
}

/* Every copy has been given the whole body.  Where its length is known, that
 * may be so before fanout_end(), which waits for the slowest copy. */
static bool fanout_whole(const struct fanout *f)
{
    return f->ended || (f->length >= 0 && f->given == (uint64_t)f->length);
}

static void say_why(const struct fanout_copy *c, enum mkv_err err, int status)
{
    struct mkv_slice name = mkv_index_volume_name(c->fanout->store->index, c->replica.volume);

    if (err)
        mkv_log_warn("volume %.*s: PUT failed: %s", (int)name.len, name.data,
                     mkv_exchange_why(c->x));
    else
        mkv_log_warn("volume %.*s: answered a PUT with %d%s", (int)name.len, name.data, status,
                     fanout_whole(c->fanout) ? "" : " before the end of the body");
}

static void on_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct fanout_copy *c = arg;
    struct fanout *f = c->fanout;
    bool was_opening = c->state == COPY_OPENING;
    bool stored = !err && (status == 201 || status == 204) && fanout_whole(f);
    bool begun = f->streaming || (f->length == 0 && !was_opening); /* complete with its head */

    if (!stored) say_why(c, err, status);
    if (stored)
        c->state = COPY_STORED;
    else
        c->state = begun ? COPY_FAILED : COPY_REFUSED;
    c->ambiguous = err && mkv_exchange_sent_all(x);
    c->x = NULL;
    if (was_opening) {
        if (fanout_count(f, COPY_OPENING) == 0) f->events->opened(f->arg);
        return;
    }
    if (!f->streaming) return; /* one that was ready has left before the body: see fanout_send */
    if (fanout_count(f, COPY_READY) > 0)
        relax(f);
    else if (f->ended || fanout_count(f, COPY_STORED) == 0)
        f->events->finished(f->arg);
    else
        relax(f); /* the end is still on its way to us */
}

static struct fanout_copy *free_slot(struct fanout *f)
{
    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++)
        if (f->copies[i].state == COPY_FREE || f->copies[i].state == COPY_REFUSED)
            return &f->copies[i];
    return NULL;
}

bool fanout_add(struct fanout *f, struct mkv_replica replica)
{
    static const struct mkv_exchange_events events = {
        .ready = on_ready, .drained = on_drained, .done = on_done};
    struct fanout_copy *c = free_slot(f);
    char path[STORE_PATH_MAX];
    struct mkv_exchange_options opt = {
        .method = MKV_VOLUME_PUT, .body_length = f->length, .date = f->date};

    opt.volume = store_volume(f->store, replica.volume);
    if (!c || !opt.volume) return false;
    opt.path = mkv_slice(path, store_file_path(path, replica, mkv_slice(f->path, f->path_len)));
    c->fanout = f;
    c->replica = replica;
    c->ambiguous = false;
    if (mkv_exchange_start(&c->x, &opt, &events, c)) return false;
    c->state = COPY_OPENING;
    return true;
}

void fanout_send(struct fanout *f, struct mkv_bytes piece)
{
    f->streaming = true;
    f->given += piece.len;
    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++)
        if (f->copies[i].state == COPY_READY) mkv_exchange_send(f->copies[i].x, piece);
    if (longest_queue(f) > COPY_HIGH) f->full = true;
}

bool fanout_share(struct fanout *f, struct mkv_pipe *pipe)
{
    bool all = true;

    f->streaming = true;
    f->given += mkv_pipe_len(pipe);
    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++) {
        struct fanout_copy *c = &f->copies[i];

        if (c->state != COPY_READY) continue;
        c->missed = !mkv_exchange_share(c->x, pipe);
        if (c->missed) all = false;
    }
    if (is_behind(f)) f->full = true;
    return all;
}

void fanout_catch_up(struct fanout *f, struct mkv_bytes piece)
{
    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++) {
        struct fanout_copy *c = &f->copies[i];

        if (c->state == COPY_READY && c->missed) mkv_exchange_send(c->x, piece);
    }
    if (is_behind(f)) f->full = true;
}

void fanout_end(struct fanout *f)
{
    f->streaming = f->ended = true;
    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++)
        if (f->copies[i].state == COPY_READY) mkv_exchange_send_end(f->copies[i].x);
}

bool fanout_full(const struct fanout *f)
{
    return f->full;
}

void fanout_cancel(struct fanout *f)
{
    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++) {
        struct fanout_copy *c = &f->copies[i];

        if (!c->x) continue;
        mkv_exchange_cancel(c->x);
        c->x = NULL;
        c->state = COPY_FAILED;
    }
}
