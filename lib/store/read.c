/* A value, or a part of it, from whichever replica can send it. */
#include "store/store.h"

#include "mkv/log.h"
#include "net/content_range.h"

#include <stdlib.h>

#define ROUNDS_MAX 4 /* over all replicas; each but the first needs a reason */

enum read_step {
    READ_ASK,  /* a replica has been asked for what is still to come      */
    READ_FLOW, /* it has the value: the bytes follow                      */
    READ_DONE  /* the caller knows, or left; freed at the end of this turn */
};

struct mkv_read {
    struct store_op op;
    struct mkv_store *store;   /* borrowed */
    char key[MKV_KEY_MAX];
    size_t key_len;
    uint8_t md5[MKV_MD5_LEN];  /* of the key */
    enum read_step step;
    struct mkv_record record;  /* what is read, without fields; size: once anybody has told it */
    unsigned order[MKV_REPLICAS_MAX]; /* replicas, the best to ask first */
    unsigned next;
    unsigned rounds;
    unsigned missing, wrong, unasked; /* in this round: not there; of another size; no use */
    uint64_t first, length;    /* the part, as asked for */
    uint64_t given;            /* bytes of it that were handed out */
    uint64_t given_before;     /* ...before this round */
    uint64_t skip;             /* bytes of this answer that lie before what is wanted */
    bool surplus;              /* ...and it has bytes behind that */
    bool opened, paused;
    struct mkv_exchange *x;    /* owned until it calls back */
    const struct mkv_read_events *events;
    void *arg;
    struct mkv_retired retired;
};

static struct mkv_slice key_of(const struct mkv_read *r)
{
    return mkv_slice(r->key, r->key_len);
}

/* Bytes of the part, as far as is known: it may end where the value ends. */
static uint64_t wanted(const struct mkv_read *r)
{
    uint64_t size = r->record.size < 0 ? UINT64_MAX : (uint64_t)r->record.size;
    uint64_t rest = r->first < size ? size - r->first : 0;

    return r->length < rest ? r->length : rest;
}

/* ---- the end ---------------------------------------------------------------------- */

void mkv_read_cancel(struct mkv_read *r)
{
    if (!r) return;
    r->step = READ_DONE;
    if (r->x) mkv_exchange_cancel(r->x);
    r->x = NULL;
    store_op_end(r->store, &r->op);
    mkv_loop_retire(r->store->loop, &r->retired, free, r);
}

static void drop(struct store_op *op)
{
    mkv_read_cancel((struct mkv_read *)op);
}

static void finish(struct mkv_read *r, enum mkv_err err)
{
    mkv_read_cancel(r);
    r->events->done(err, r->arg);
}

/* ---- the record, read again ---------------------------------------------------------- */

/* Before another replica goes on: the files' name must not be another value's. */
static enum mkv_err check_name(struct mkv_read *r)
{
    struct mkv_record now;
    enum mkv_err err;

    mkv_record_init(&now);
    err = mkv_index_get(r->store->index, key_of(r), &now, NULL, NULL);
    if (!err && now.generation == r->record.generation && !store_same_value(&now, &r->record))
        err = MKV_ECANNOTASK;
    mkv_record_clear(&now);
    return err;
}

static void begin_round(struct mkv_read *r)
{
    store_order(r->store, &r->record, r->order);
    r->next = r->missing = r->wrong = r->unasked = 0;
    r->given_before = r->given;
}

static enum mkv_err verdict(const struct mkv_read *r)
{
    if (r->unasked) return MKV_ECANNOTASK;
    return r->wrong ? MKV_EVOLUME : MKV_EGONE;
}

/* Every replica has been asked.  Once more where that got further, or where the
 * value has been moved meanwhile: MKV_PENDING. */
static enum mkv_err end_round(struct mkv_read *r)
{
    struct mkv_record now;
    bool same, moved, again;
    enum mkv_err err;

    mkv_record_init(&now);
    err = mkv_index_get(r->store->index, key_of(r), &now, NULL, NULL);
    if (!err && now.state != MKV_LIVE) err = MKV_ENOKEY;
    if (err) goto out;
    same = store_same_value(&now, &r->record);
    moved = same && !store_same_files(&now, &r->record);
    again = (moved || r->given > r->given_before) && ++r->rounds < ROUNDS_MAX;
    if (moved) {
        r->record.nreplicas = now.nreplicas;
        memcpy(r->record.replicas, now.replicas, sizeof(now.replicas));
    }
    if (again) begin_round(r);
    err = again ? MKV_PENDING : same && !moved ? verdict(r) : MKV_ECANNOTASK;
out:
    mkv_record_clear(&now);
    return err;
}

/* ---- asking ------------------------------------------------------------------------- */

static void on_head(struct mkv_exchange *x, const struct http1_head *head, void *arg);
static void on_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg);
static void on_piped(struct mkv_exchange *x, struct mkv_pipe *pipe, void *arg);
static void on_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg);

/* For what is still to come; where nothing is, for the size alone.  nginx takes no
 * end of a range above INT64_MAX: then the range is open, and so it is where it
 * goes to the end anyway. */
static enum mkv_err ask(struct mkv_read *r, struct mkv_replica replica)
{
    const struct mkv_exchange_events events = {.head = on_head,
                                               .body = on_body,
                                               .piped = r->events->piped ? on_piped : NULL,
                                               .done = on_done};
    char key_path[MKV_PATH_MAX], path[STORE_PATH_MAX];
    size_t len = mkv_key_path_md5(key_path, key_of(r), r->md5, r->record.generation);
    uint64_t end = (uint64_t)(r->record.size < 0 ? INT64_MAX : r->record.size);
    uint64_t at = r->first + r->given, left = wanted(r) - r->given;
    struct mkv_exchange_options opt = {.method = left ? MKV_VOLUME_GET : MKV_VOLUME_HEAD,
                                       .volume = store_volume(r->store, replica.volume),
                                       .range_from = at,
                                       .range_length = at < end && left < end - at ? left : 0};
    enum mkv_err err;

    if (!opt.volume) return MKV_EVOLUME;
    opt.path = mkv_slice(path, store_file_path(path, replica, mkv_slice(key_path, len)));
    r->step = READ_ASK;
    err = mkv_exchange_start(&r->x, &opt, &events, r);
    if (!err && r->paused) mkv_exchange_pause(r->x, true);
    return err;
}

/* Asks the next replica.  MKV_PENDING: it will answer; else the verdict. */
static enum mkv_err advance(struct mkv_read *r)
{
    enum mkv_err err;

    do {
        while (r->next < r->record.nreplicas) {
            if (!ask(r, r->record.replicas[r->order[r->next++]])) return MKV_PENDING;
            r->unasked++;
        }
        err = end_round(r);
    } while (err == MKV_PENDING);
    return err;
}

/* ---- answers ------------------------------------------------------------------------- */

/* This replica is of no more use: the next one.  count: which number it adds to. */
static void give_up(struct mkv_read *r, unsigned *count, const char *why)
{
    uint32_t volume = r->record.replicas[r->order[r->next - 1]].volume;
    struct mkv_slice name = mkv_index_volume_name(r->store->index, volume);
    bool strange = r->given || count == &r->wrong;
    enum mkv_err err;

    mkv_log_at(strange ? MKV_LOG_WARN : MKV_LOG_INFO, "volume %.*s: GET failed at byte %llu: %s",
               (int)name.len, name.data, (unsigned long long)(r->first + r->given), why);
    ++*count;
    if (count != &r->unasked) probe_forget(r->store->probes, r->md5); /* send nobody there */
    if (r->x) mkv_exchange_cancel(r->x);
    r->x = NULL;
    err = check_name(r);
    if (!err) err = advance(r);
    if (err != MKV_PENDING) finish(r, err);
}

/* Which bytes an answer brings, and of how many.  False where it does not tell. */
static bool bytes_of(const struct http1_head *head, struct content_range *out)
{
    struct mkv_slice value;

    if (head->status == 200) {
        *out = (struct content_range){true, 0, head->length, head->length};
        return http1_find(head, MKV_SLICE("Content-Length"), &value) && head->length <= INT64_MAX;
    }
    return http1_find(head, MKV_SLICE("Content-Range"), &value) &&
           content_range_parse(value, out) && out->satisfied == (head->status == 206);
}

/* Whether it brings the byte that is next, or there is none. */
static bool brings(const struct content_range *bytes, uint64_t at)
{
    return at >= bytes->size || (bytes->first <= at && at < bytes->end);
}

static void open_value(struct mkv_read *r, const struct content_range *bytes, bool has_body)
{
    uint64_t at = r->first + r->given, left;

    r->record.size = (int64_t)bytes->size;
    left = wanted(r) - r->given;
    r->skip = at - bytes->first;
    r->surplus = has_body && (left ? bytes->end > at + left : bytes->end > bytes->first);
    r->step = READ_FLOW;
    if (r->given) r->store->metrics->reads_resumed++;
    if (!r->opened) {
        r->opened = true;
        if (r->events->opened) r->events->opened(bytes->size, r->arg);
    }
    if (r->step == READ_FLOW && left == 0 && r->surplus) finish(r, MKV_OK);
}

static void on_head(struct mkv_exchange *x, const struct http1_head *head, void *arg)
{
    struct mkv_read *r = arg;
    struct content_range bytes;

    (void)x;
    if (head->status != 200 && head->status != 206 && head->status != 416) return;
    if (!bytes_of(head, &bytes))
        give_up(r, &r->unasked, "it does not tell which bytes it sends");
    else if (r->record.size >= 0 && bytes.size != (uint64_t)r->record.size)
        give_up(r, &r->wrong, "its file has another size than the value");
    else if (!brings(&bytes, r->first + r->given))
        give_up(r, &r->unasked, "it sends other bytes than it was asked for");
    else
        open_value(r, &bytes, head->framing != HTTP1_NO_BODY && head->status != 416);
}

static void on_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    struct mkv_read *r = arg;
    uint64_t left = wanted(r) - r->given;
    size_t skipped = r->skip < piece.len ? (size_t)r->skip : piece.len;

    (void)x;
    r->skip -= skipped;
    piece.data += skipped;
    piece.len -= skipped;
    if (piece.len > left) piece.len = (size_t)left;
    if (piece.len == 0) return;
    r->given += piece.len;
    r->events->body(piece, r->arg);
    if (r->step == READ_FLOW && r->surplus && r->given == wanted(r)) finish(r, MKV_OK);
}

/* Passed on as it is where all of it is wanted, whatever else the volume sends. */
static void on_piped(struct mkv_exchange *x, struct mkv_pipe *pipe, void *arg)
{
    struct mkv_read *r = arg;
    struct mkv_bytes piece;

    if (r->skip == 0 && !r->surplus && mkv_pipe_len(pipe) <= wanted(r) - r->given) {
        r->given += mkv_pipe_len(pipe);
        r->events->piped(pipe, r->arg);
        return;
    }
    while (r->step == READ_FLOW && mkv_pipe_read(pipe, r->store->blocks, &piece) > 0)
        on_body(x, piece, r);
    if (r->step == READ_FLOW && mkv_pipe_len(pipe)) finish(r, MKV_ENOMEM);
}

static void on_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct mkv_read *r = arg;

    r->x = NULL;
    if (r->step == READ_FLOW && r->given == wanted(r))
        finish(r, MKV_OK);
    else if (err)
        give_up(r, &r->unasked, mkv_exchange_why(x));
    else if (r->step == READ_FLOW)
        give_up(r, &r->unasked, "it sent fewer bytes than it was asked for");
    else if (status == 404)
        give_up(r, &r->missing, "it has no such file");
    else
        give_up(r, &r->unasked, "its answer is an error");
}

/* ---- from outside --------------------------------------------------------------------- */

enum mkv_err mkv_store_read(struct mkv_read **out, struct mkv_store *store,
                            const struct mkv_read_options *opt,
                            const struct mkv_read_events *events, void *arg)
{
    struct mkv_read *r;
    enum mkv_err err;

    if (opt->key.len > MKV_KEY_MAX) return MKV_ENOKEY;
    r = calloc(1, sizeof(*r));
    if (!r) return MKV_ENOMEM;
    r->store = store;
    memcpy(r->key, opt->key.data, opt->key.len);
    r->key_len = opt->key.len;
    mkv_md5(opt->key, r->md5);
    r->record = *opt->record;
    r->record.fields = NULL; /* the caller's */
    r->record.fields_len = 0;
    r->first = opt->first;
    r->length = opt->length;
    r->events = events;
    r->arg = arg;
    begin_round(r);
    err = advance(r);
    if (err != MKV_PENDING) {
        free(r);
        return err;
    }
    store_op_begin(store, &r->op, drop);
    *out = r;
    return MKV_OK;
}

void mkv_read_pause(struct mkv_read *r, bool paused)
{
    r->paused = paused;
    if (r->x) mkv_exchange_pause(r->x, paused);
}
