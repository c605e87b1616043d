/* PUT and REPLACE: one value to all its replicas, then into the index. */
#include "store/put_internal.h"

#include "mkv/log.h"
#include "store/sweep.h"

#include <stdlib.h>

static const char *const step_name[] = {
    "mark", "open", "stream", "settle", "repair", "commit", "undo", "unmark", "done"};

static void destroy(void *arg)
{
    struct mkv_put *p = arg;

    mkv_record_clear(&p->old);
    mkv_record_clear(&p->record);
    digest_stream_cancel(p->digest);
    free(p->candidates);
    free(p);
}

/* Its change is on the way, or will never come. */
static void bring_no_change(struct mkv_put *p)
{
    if (p->is_writer) mkv_index_writers(p->store->index, -1);
    p->is_writer = false;
}

/* The store knows of it no more. */
static void leave(struct mkv_put *p)
{
    bring_no_change(p);
    if (p->gathers) mkv_loop_gather(p->store->loop, -1);
    p->gathers = false;
    store_op_end(p->store, &p->op);
}

void put_fail(struct mkv_put *p, enum mkv_err err)
{
    if (!p->result) p->result = err;
    put_go(p, PUT_UNDO);
}

bool put_answered(struct mkv_put *p)
{
    p->asking_index = false;
    if (p->dropped) mkv_loop_retire(p->store->loop, &p->retired, destroy, p);
    return p->dropped;
}

enum mkv_err put_ask_index(struct mkv_put *p, const struct mkv_index_change *change, mkv_done *done)
{
    enum mkv_err err = mkv_index_apply(p->store->index, change, done, p);

    p->asking_index = !err;
    return err;
}

/* ---- mark, open ------------------------------------------------------------------ */

static void on_marked(enum mkv_err err, void *arg)
{
    struct mkv_put *p = arg;

    if (put_answered(p)) return;
    if (err)
        put_fail(p, err);
    else if (p->result) /* cancelled or refused meanwhile */
        put_go(p, PUT_UNDO);
    else if (p->step == PUT_REPAIR)
        put_copy_to_marked(p);
    else
        put_go(p, PUT_OPEN);
}

void put_write_mark(struct mkv_put *p)
{
    const struct mkv_index_change change = {
        .key = put_key(p), .mark_op = MKV_SET, .mark = &p->mark};
    enum mkv_err err = put_ask_index(p, &change, on_marked);

    if (err) put_fail(p, err);
}

bool put_mark_next(struct mkv_put *p)
{
    if (p->next == p->store->cfg->nvolumes || p->mark.nreplicas == MKV_REPLICAS_MAX) return false;
    p->mark.replicas[p->mark.nreplicas++] = p->candidates[p->next++];
    return true;
}

const struct fanout_copy *put_copy_at(const struct mkv_put *p, struct mkv_replica r)
{
    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++)
        if (p->fan.copies[i].state != COPY_FREE &&
            store_same_replica(p->fan.copies[i].replica, r))
            return &p->fan.copies[i];
    return NULL;
}

/* Takes volumes that refused off the mark: they hold nothing of this write. */
static void unmark_refused(struct mkv_put *p)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < p->mark.nreplicas; i++) {
        const struct fanout_copy *c = put_copy_at(p, p->mark.replicas[i]);

        if (c && c->state != COPY_REFUSED) p->mark.replicas[kept++] = p->mark.replicas[i];
    }
    p->mark.nreplicas = kept;
}

/* Copies that take the body, or have taken it: an empty one is stored at once. */
static unsigned open_copies(const struct mkv_put *p)
{
    return fanout_count(&p->fan, COPY_READY) + fanout_count(&p->fan, COPY_STORED);
}

/* Marks as many more volumes as are still needed; false where none is left. */
static bool mark_more(struct mkv_put *p)
{
    unsigned open = open_copies(p), more = 0;

    unmark_refused(p);
    p->marked_before = p->mark.nreplicas;
    while (open + more < put_wanted(p) && put_mark_next(p)) more++;
    return more > 0;
}

static void enter_mark(struct mkv_put *p)
{
    put_write_mark(p);
}

/* No copy is opening any more: enough of them, others to try, or too few? */
static void opened(void *arg)
{
    struct mkv_put *p = arg;
    unsigned open = open_copies(p);

    if (open < put_wanted(p) && mark_more(p))
        put_go(p, PUT_MARK);
    else if (open >= p->store->cfg->min_replicas)
        put_go(p, PUT_STREAM);
    else
        put_fail(p, MKV_ETOOFEW);
}

static void enter_open(struct mkv_put *p)
{
    /* One that can not even be tried is missed by opened(), which counts; so is
     * one of an earlier round that has left since. */
    for (unsigned i = p->marked_before; i < p->mark.nreplicas; i++)
        (void)!fanout_add(&p->fan, p->mark.replicas[i]);
    if (fanout_count(&p->fan, COPY_OPENING) == 0) opened(p);
}

/* ---- stream, settle --------------------------------------------------------------- */

static void enter_stream(struct mkv_put *p)
{
    p->events->ready(p->arg);
}

static void drained(void *arg)
{
    struct mkv_put *p = arg;

    if (p->step == PUT_STREAM && !mkv_put_full(p)) p->events->drained(p->arg);
}

void mkv_put_body(struct mkv_put *p, struct mkv_bytes piece)
{
    if (p->step != PUT_STREAM) return; /* it has failed; the caller will hear */
    if (p->digest && digest_stream_add(p->digest, piece)) {
        put_fail(p, MKV_ENOMEM);
        return;
    }
    p->record.size += (int64_t)piece.len;
    fanout_send(&p->fan, piece);
    if (open_copies(p) == 0) put_fail(p, MKV_ETOOFEW); /* all left before it came */
}

/* Out of the pipe, for the MD5 and for copies that could not share it. */
static enum mkv_err read_pipe(struct mkv_put *p, struct mkv_pipe *pipe, bool all_share)
{
    struct mkv_bytes piece;

    while (mkv_pipe_len(pipe)) {
        if (mkv_pipe_read(pipe, p->store->blocks, &piece) <= 0) return MKV_ENOMEM;
        if (p->digest && digest_stream_add(p->digest, piece)) return MKV_ENOMEM;
        if (!all_share) fanout_catch_up(&p->fan, piece);
    }
    return MKV_OK;
}

void mkv_put_piped(struct mkv_put *p, struct mkv_pipe *pipe)
{
    bool all_share;

    if (p->step != PUT_STREAM) return;
    p->record.size += (int64_t)mkv_pipe_len(pipe);
    all_share = fanout_share(&p->fan, pipe);
    if ((p->digest || !all_share) && read_pipe(p, pipe, all_share))
        put_fail(p, MKV_ENOMEM);
    else if (open_copies(p) == 0)
        put_fail(p, MKV_ETOOFEW);
}

bool mkv_put_full(const struct mkv_put *p)
{
    if (p->step != PUT_STREAM) return false;
    return fanout_full(&p->fan) || (p->digest && digest_stream_full(p->digest));
}

/* What is awaited in SETTLE comes in any order. */
static void settled(struct mkv_put *p)
{
    if (!p->answered || p->digest) return;
    put_go(p, p->record.nreplicas < put_wanted(p) ? PUT_REPAIR : PUT_COMMIT);
}

/* No copy is under way any more, in STREAM because all have failed. */
static void finished(void *arg)
{
    struct mkv_put *p = arg;

    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++)
        if (p->fan.copies[i].state == COPY_STORED)
            p->record.replicas[p->record.nreplicas++] = p->fan.copies[i].replica;
    p->answered = true;
    if (p->record.nreplicas == 0)
        put_fail(p, MKV_ETOOFEW);
    else
        settled(p);
}

static void digested(const uint8_t *md5, void *arg)
{
    struct mkv_put *p = arg;

    p->digest = NULL;
    memcpy(p->record.md5, md5, MKV_MD5_LEN);
    p->record.has_md5 = true;
    settled(p);
}

static void enter_settle(struct mkv_put *p)
{
    mkv_index_writers(p->store->index, 1); /* it will soon commit */
    mkv_loop_gather(p->store->loop, 1);
    p->is_writer = p->gathers = true;
    if (p->digest) digest_stream_end(p->digest);
    fanout_end(&p->fan);
    if (fanout_count(&p->fan, COPY_READY) == 0) finished(p); /* all have answered already */
}

void mkv_put_end(struct mkv_put *p)
{
    if (p->step != PUT_STREAM) return;
    if (p->record.size == 0 && !p->allow_empty)
        put_fail(p, MKV_EEMPTY);
    else
        put_go(p, PUT_SETTLE);
}

bool put_is_stored(const struct mkv_put *p, struct mkv_replica r)
{
    for (unsigned i = 0; i < p->record.nreplicas; i++)
        if (store_same_replica(p->record.replicas[i], r)) return true;
    return false;
}

/* ---- commit ------------------------------------------------------------------------ */

static void into_placement_order(struct mkv_put *p)
{
    struct mkv_replica ordered[MKV_REPLICAS_MAX];
    unsigned n = 0;

    store_place(p->store, put_key(p), p->candidates);
    for (size_t i = 0; i < p->store->cfg->nvolumes; i++)
        if (put_is_stored(p, p->candidates[i])) ordered[n++] = p->candidates[i];
    memcpy(p->record.replicas, ordered, n * sizeof(ordered[0]));
}

static void on_committed(enum mkv_err err, void *arg)
{
    struct mkv_put *p = arg;
    bool balanced;

    if (put_answered(p)) return;
    if (err == MKV_EINDEX) {
        /* It may have reached the disk all the same.  The files stay, for the
         * record or else the mark that the next start finds. */
        p->result = err;
        put_go(p, PUT_DONE);
        return;
    }
    if (err) {
        put_fail(p, err);
        return;
    }
    balanced = store_balanced(p->store, put_key(p), &p->record);
    probe_found(p->store->probes, p->md5, p->record.generation,
                (uint16_t)((1u << p->record.nreplicas) - 1), balanced,
                mkv_loop_now(p->store->loop));
    put_go(p, PUT_DONE);
}

/* Whoever had to look at the value before it counts may be gone. */
static enum mkv_err verify(struct mkv_put *p)
{
    if (!p->events->verify) return MKV_OK;
    return p->cancelled ? MKV_ECLIENT : p->events->verify(&p->record, p->arg);
}

static void enter_commit(struct mkv_put *p)
{
    const struct mkv_index_change change = {
        .key = put_key(p),
        .record_op = MKV_SET,
        .record = &p->record,
        .mark_op = MKV_REMOVE,
        .garbage = p->had_old ? &p->old : NULL,
        .garbage_due = mkv_loop_wall(p->store->loop) + SWEEP_SUPERSEDED_S};
    enum mkv_err err;

    into_placement_order(p);
    err = verify(p);
    if (!err) err = put_discard_suspects(p);
    p->old.mtime = mkv_loop_wall(p->store->loop); /* of garbage: since when */
    if (!err) err = put_ask_index(p, &change, on_committed);
    bring_no_change(p);
    if (err) put_fail(p, err);
}

/* ---- done ---------------------------------------------------------------------- */

static void enter_done(struct mkv_put *p)
{
    keylock_release(&p->lock); /* before the answer: its reader may write again at once */
    if (!p->cancelled) p->events->done(p->result, p->result ? NULL : &p->record, p->arg);
    leave(p);
    mkv_loop_retire(p->store->loop, &p->retired, destroy, p);
}

void put_go(struct mkv_put *p, enum put_step next)
{
    static void (*const enter[])(struct mkv_put *) = {
        [PUT_MARK] = enter_mark,         [PUT_OPEN] = enter_open,
        [PUT_STREAM] = enter_stream,     [PUT_SETTLE] = enter_settle,
        [PUT_REPAIR] = put_enter_repair, [PUT_COMMIT] = enter_commit,
        [PUT_UNDO] = put_enter_undo,     [PUT_UNMARK] = put_enter_unmark,
        [PUT_DONE] = enter_done};

    mkv_log_debug("put %p: %s -> %s", (void *)p, step_name[p->step], step_name[next]);
    p->step = next;
    enter[next](p);
}

/* ---- from outside ------------------------------------------------------------------- */

void mkv_put_refuse(struct mkv_put *p, enum mkv_err err)
{
    switch (p->step) {
    case PUT_MARK: /* on_marked() goes on from there */
        if (!p->result) p->result = err;
        break;
    case PUT_OPEN:
    case PUT_STREAM: put_fail(p, err); break;
    case PUT_SETTLE: /* too late: the body is complete */
    case PUT_REPAIR:
    case PUT_COMMIT:
    case PUT_UNDO:
    case PUT_UNMARK:
    case PUT_DONE: break;
    }
}

/* Behind its end the body is complete: the value may as well be stored. */
void mkv_put_cancel(struct mkv_put *p)
{
    p->cancelled = true;
    mkv_put_refuse(p, MKV_ECLIENT);
}

static void drop(struct store_op *op)
{
    struct mkv_put *p = (struct mkv_put *)op;

    p->dropped = true;
    fanout_cancel(&p->fan);
    digest_stream_cancel(p->digest);
    p->digest = NULL;
    copy_cancel(p->copy);
    erase_cancel(&p->erase);
    keylock_release(&p->lock);
    leave(p);
    if (!p->asking_index) mkv_loop_retire(p->store->loop, &p->retired, destroy, p);
}

/* Every volume, those that are down last. */
static enum mkv_err choose_candidates(struct mkv_put *p)
{
    struct mkv_store *s = p->store;
    struct mkv_replica down[MKV_VOLUMES_MAX];
    size_t n = 0, ndown = 0;

    p->candidates = malloc(s->cfg->nvolumes * sizeof(*p->candidates));
    if (!p->candidates) return MKV_ENOMEM;
    store_place(s, put_key(p), p->candidates);
    for (size_t i = 0; i < s->cfg->nvolumes; i++) {
        struct mkv_volume *v = store_volume(s, p->candidates[i].volume);

        if (v && mkv_volume_state(v) != MKV_VOLUME_DOWN)
            p->candidates[n++] = p->candidates[i];
        else
            down[ndown++] = p->candidates[i];
    }
    memcpy(p->candidates + n, down, ndown * sizeof(down[0]));
    return MKV_OK;
}

/* What the index says of the key, whether it may be written, and the name that
 * the new files take. */
static enum mkv_err look_up(struct mkv_put *p, bool replace)
{
    struct mkv_index *ix = p->store->index;
    enum mkv_err err = mkv_index_get(ix, put_key(p), &p->old, NULL, NULL);
    bool live;

    if (err && err != MKV_ENOKEY) return err;
    p->had_old = !err;
    live = p->had_old && p->old.state == MKV_LIVE;
    if (live && !replace) return MKV_EEXISTS;
    err = p->events->allow ? p->events->allow(live ? &p->old : NULL, p->arg) : MKV_OK;
    if (err) return err;
    return mkv_index_next_generation(ix, put_key(p), p->had_old ? &p->old : NULL,
                                     &p->record.generation, NULL, NULL);
}

static enum mkv_err prepare(struct mkv_put *p, const struct mkv_put_options *opt)
{
    static const struct fanout_events events = {
        .opened = opened, .drained = drained, .finished = finished};
    static const struct digest_events digest_events = {.room = drained, .done = digested};
    static const struct digest_options md5 = {.md5 = true};
    char path[MKV_PATH_MAX];
    size_t len;
    enum mkv_err err;

    mkv_md5(put_key(p), p->md5);
    if (!keylock_take(&p->store->locks, &p->lock, put_key(p), p->md5)) return MKV_EBUSY;
    err = look_up(p, opt->replace);
    if (!err) err = choose_candidates(p);
    if (!err && (opt->md5 || p->store->cfg->md5sum))
        err = digest_stream_open(&p->digest, p->store->digester, &md5, &digest_events, p);
    if (!err && opt->fields) err = store_take_fields(&p->record, opt->fields);
    if (err) return err;
    p->record.mtime = p->mark.mtime = mkv_loop_wall(p->store->loop);
    p->record.size = 0;
    p->mark.state = MKV_WRITING;
    p->mark.generation = p->record.generation;
    len = mkv_key_path_md5(path, put_key(p), p->md5, p->record.generation);
    fanout_init(&p->fan, p->store, mkv_slice(path, len), opt->length, p->record.mtime, &events, p);
    return mark_more(p) ? MKV_OK : MKV_ETOOFEW;
}

enum mkv_err mkv_put_start(struct mkv_put **out, struct mkv_store *store,
                           const struct mkv_put_options *opt, const struct mkv_put_events *events,
                           void *arg)
{
    enum mkv_err err = mkv_store_check_key(opt->key);
    struct mkv_put *p;

    turns_asked(store);
    if (err) return err;
    if (opt->length == 0 && !opt->allow_empty) return MKV_EEMPTY;
    p = calloc(1, sizeof(*p));
    if (!p) return MKV_ENOMEM;
    mkv_record_init(&p->old);
    mkv_record_init(&p->mark);
    mkv_record_init(&p->record);
    p->store = store;
    memcpy(p->key, opt->key.data, opt->key.len);
    p->key_len = opt->key.len;
    p->allow_empty = opt->allow_empty;
    p->events = events;
    p->arg = arg;
    err = prepare(p, opt);
    if (err) {
        keylock_release(&p->lock);
        destroy(p);
        return err;
    }
    store_op_begin(store, &p->op, drop);
    *out = p;
    put_go(p, PUT_MARK);
    return MKV_OK;
}
