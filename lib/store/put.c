/* PUT and REPLACE: one value to all its replicas, then into the index. */
#include "store/store.h"

#include "mkv/log.h"
#include "store/copy.h"
#include "store/erase.h"
#include "store/fanout.h"
#include "store/sweep.h"

#include <stdlib.h>

enum put_step {
    PUT_MARK,   /* index: note which volumes may soon hold files of this write   */
    PUT_OPEN,   /* connect to them; who refuses is replaced, with a new mark      */
    PUT_STREAM, /* the body flows to every replica at once                        */
    PUT_SETTLE, /* body given; each replica still owes us its status              */
    PUT_REPAIR, /* a replica failed: its copy is made elsewhere, from a good one   */
    PUT_COMMIT, /* index: the key is live, the mark is gone, the old files are garbage */
    PUT_UNDO,   /* delete what was stored                                         */
    PUT_UNMARK, /* index: the mark is gone, what could not be deleted is garbage  */
    PUT_DONE    /* caller told; freed at the end of this loop turn                */
};

static const char *const step_name[] = {
    "mark", "open", "stream", "settle", "repair", "commit", "undo", "unmark", "done"};

struct mkv_put {
    struct store_op op;
    struct mkv_store *store;           /* borrowed: outlives every request */
    struct keylock lock;
    char key[MKV_KEY_MAX];
    size_t key_len;
    uint8_t md5[MKV_MD5_LEN];          /* of the key */
    enum put_step step;
    enum mkv_err result;               /* the first failure; MKV_OK until then */
    bool allow_empty;
    bool asking_index;                 /* an index call owes us its callback */
    bool dropped;                      /* the store is closing: only that callback is awaited */
    struct mkv_record old;             /* the record before */
    bool had_old;
    struct mkv_record mark;            /* volumes that may hold files of this write */
    struct mkv_record record;          /* what will be stored; replicas: complete copies */
    struct mkv_replica *candidates;    /* owned: every volume, the best first */
    size_t next;                       /* candidates not tried yet start here */
    unsigned marked_before;            /* of the mark's replicas: those opened in an earlier round */
    unsigned source;                   /* repair: which good copy is read */
    unsigned bad_sources;              /* ...and how many could not be, for this target */
    struct mkv_digest *digest;         /* owned; NULL with -md5sum=false */
    struct fanout fan;
    struct copy *copy;                 /* owned until it calls back */
    struct erase erase;
    struct mkv_replica suspects[MKV_REPLICAS_MAX]; /* undo: not asked to delete, but garbage */
    unsigned nsuspects;
    bool ambiguous;                    /* a suspect may still be storing its file */
    const struct mkv_put_events *events;
    void *arg;
    bool is_writer;                    /* counted by mkv_index_writers() */
    bool cancelled;                    /* nobody listens any more */
    struct mkv_retired retired;
};

static void put_go(struct mkv_put *p, enum put_step next);
static void copy_to_marked(struct mkv_put *p);

static struct mkv_slice key_of(const struct mkv_put *p)
{
    return mkv_slice(p->key, p->key_len);
}

static void destroy(void *arg)
{
    struct mkv_put *p = arg;

    mkv_record_clear(&p->old);
    mkv_digest_free(p->digest);
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
    store_op_end(p->store, &p->op);
}

static void fail(struct mkv_put *p, enum mkv_err err)
{
    if (!p->result) p->result = err;
    put_go(p, PUT_UNDO);
}

/* Every index callback begins with this: true where the store is closing. */
static bool answered(struct mkv_put *p)
{
    p->asking_index = false;
    if (p->dropped) mkv_loop_retire(p->store->loop, &p->retired, destroy, p);
    return p->dropped;
}

static enum mkv_err ask_index(struct mkv_put *p, const struct mkv_index_change *change,
                              mkv_done *done)
{
    enum mkv_err err = mkv_index_apply(p->store->index, change, done, p);

    p->asking_index = !err;
    return err;
}

/* ---- mark, open ------------------------------------------------------------------ */

static void on_marked(enum mkv_err err, void *arg)
{
    struct mkv_put *p = arg;

    if (answered(p)) return;
    if (err)
        fail(p, err);
    else if (p->result) /* cancelled meanwhile */
        put_go(p, PUT_UNDO);
    else if (p->step == PUT_REPAIR)
        copy_to_marked(p);
    else
        put_go(p, PUT_OPEN);
}

/* Writes the mark as it stands in p->mark. */
static void write_mark(struct mkv_put *p)
{
    const struct mkv_index_change change = {
        .key = key_of(p), .mark_op = MKV_SET, .mark = &p->mark};
    enum mkv_err err = ask_index(p, &change, on_marked);

    if (err) fail(p, err);
}

/* Adds the next candidate to the mark; false where there are no more. */
static bool mark_next(struct mkv_put *p)
{
    if (p->next == p->store->cfg->nvolumes || p->mark.nreplicas == MKV_REPLICAS_MAX) return false;
    p->mark.replicas[p->mark.nreplicas++] = p->candidates[p->next++];
    return true;
}

static unsigned wanted(const struct mkv_put *p)
{
    return (unsigned)p->store->cfg->replicas;
}

static const struct fanout_copy *copy_at(const struct mkv_put *p, struct mkv_replica r)
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
        const struct fanout_copy *c = copy_at(p, p->mark.replicas[i]);

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
    while (open + more < wanted(p) && mark_next(p)) more++;
    return more > 0;
}

static void enter_mark(struct mkv_put *p)
{
    write_mark(p);
}

/* No copy is opening any more: enough of them, others to try, or too few? */
static void opened(void *arg)
{
    struct mkv_put *p = arg;
    unsigned open = open_copies(p);

    if (open < wanted(p) && mark_more(p))
        put_go(p, PUT_MARK);
    else if (open >= p->store->cfg->min_replicas)
        put_go(p, PUT_STREAM);
    else
        fail(p, MKV_ETOOFEW);
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

    if (p->step == PUT_STREAM) p->events->drained(p->arg);
}

void mkv_put_body(struct mkv_put *p, struct mkv_bytes piece)
{
    if (p->step != PUT_STREAM) return; /* it has failed; the caller will hear */
    if (p->digest) mkv_digest_add(p->digest, piece.data, piece.len);
    p->record.size += (int64_t)piece.len;
    fanout_send(&p->fan, piece);
    if (open_copies(p) == 0) fail(p, MKV_ETOOFEW); /* all left before it came */
}

bool mkv_put_full(const struct mkv_put *p)
{
    return p->step == PUT_STREAM && fanout_full(&p->fan);
}

/* No copy is under way any more, in STREAM because all have failed. */
static void finished(void *arg)
{
    struct mkv_put *p = arg;

    for (size_t i = 0; i < MKV_REPLICAS_MAX; i++)
        if (p->fan.copies[i].state == COPY_STORED)
            p->record.replicas[p->record.nreplicas++] = p->fan.copies[i].replica;
    if (p->record.nreplicas == 0)
        fail(p, MKV_ETOOFEW);
    else if (p->record.nreplicas < wanted(p))
        put_go(p, PUT_REPAIR);
    else
        put_go(p, PUT_COMMIT);
}

static void enter_settle(struct mkv_put *p)
{
    mkv_index_writers(p->store->index, 1); /* it will soon commit */
    p->is_writer = true;
    if (p->digest) {
        mkv_digest_final(p->digest, p->record.md5);
        p->digest = NULL;
        p->record.has_md5 = true;
    }
    fanout_end(&p->fan);
    if (fanout_count(&p->fan, COPY_READY) == 0) finished(p); /* all have answered already */
}

void mkv_put_end(struct mkv_put *p)
{
    if (p->step != PUT_STREAM) return;
    if (p->record.size == 0 && !p->allow_empty)
        fail(p, MKV_EEMPTY);
    else
        put_go(p, PUT_SETTLE);
}

static bool is_stored(const struct mkv_put *p, struct mkv_replica r)
{
    for (unsigned i = 0; i < p->record.nreplicas; i++)
        if (store_same_replica(p->record.replicas[i], r)) return true;
    return false;
}

/* ---- suspects ----------------------------------------------------------------------- */

/* Marked volumes that failed once they had been sent something: a file may be
 * there or, if the volume has the whole body and never answered, appear later. */
static void find_suspects(struct mkv_put *p)
{
    p->nsuspects = 0;
    for (unsigned i = 0; i < p->mark.nreplicas; i++) {
        struct mkv_replica r = p->mark.replicas[i];
        const struct fanout_copy *c = copy_at(p, r);
        bool may_come = false;

        if (is_stored(p, r)) continue;
        if (!c && p->fan.ended)
            may_come = true; /* it was the target of a repair */
        else if (c && c->state == COPY_READY && mkv_exchange_sent_all(c->x))
            may_come = true;
        else if (c && c->state == COPY_FAILED)
            may_come = c->ambiguous;
        else
            continue;
        p->suspects[p->nsuspects++] = r;
        p->ambiguous |= may_come;
    }
}

/* The suspects' files as garbage, in the form that the index takes; when due. */
static int64_t suspects_as_garbage(const struct mkv_put *p, struct mkv_record *garbage)
{
    int64_t now = mkv_loop_wall(p->store->loop);

    garbage->state = MKV_WRITING;
    garbage->generation = p->mark.generation;
    garbage->mtime = now;
    memcpy(garbage->replicas + garbage->nreplicas, p->suspects,
           p->nsuspects * sizeof(p->suspects[0]));
    garbage->nreplicas += p->nsuspects;
    return now + (p->ambiguous ? SWEEP_AMBIGUOUS_S : SWEEP_RETRY_MIN_S);
}

static enum mkv_err discard_suspects(struct mkv_put *p)
{
    struct mkv_record garbage;
    struct mkv_index_change change = {.key = key_of(p), .garbage = &garbage};

    find_suspects(p);
    if (!p->nsuspects) return MKV_OK;
    mkv_record_init(&garbage);
    change.garbage_due = suspects_as_garbage(p, &garbage);
    return mkv_index_apply(p->store->index, &change, NULL, NULL);
}

/* ---- repair ------------------------------------------------------------------------ */

static void on_copied(enum copy_verdict verdict, void *arg)
{
    struct mkv_put *p = arg;

    p->copy = NULL;
    switch (verdict) {
    case COPY_DONE:
        p->record.replicas[p->record.nreplicas++] = p->mark.replicas[p->mark.nreplicas - 1];
        p->store->metrics->puts_repaired++;
        break;
    case COPY_SOURCE_BAD:
        p->source = (p->source + 1) % p->record.nreplicas;
        if (++p->bad_sources == p->record.nreplicas) break;
        copy_to_marked(p); /* the target is not to blame */
        return;
    case COPY_TARGET_BAD: break;
    }
    put_go(p, PUT_REPAIR);
}

static void copy_to_marked(struct mkv_put *p)
{
    const struct copy_options opt = {.key = key_of(p),
                                     .from = p->record.replicas[p->source],
                                     .to = p->mark.replicas[p->mark.nreplicas - 1],
                                     .from_generation = p->record.generation,
                                     .to_generation = p->record.generation,
                                     .size = p->record.size,
                                     .mtime = p->record.mtime,
                                     .md5 = p->record.has_md5 ? p->record.md5 : NULL};

    if (copy_start(&p->copy, p->store, &opt, on_copied, p)) on_copied(COPY_TARGET_BAD, p);
}

/* A mark that is full makes room: where a copy failed is garbage from now on. */
static bool next_target(struct mkv_put *p)
{
    if (p->record.nreplicas == wanted(p)) return false;
    if (p->mark.nreplicas == MKV_REPLICAS_MAX) {
        if (discard_suspects(p)) return false;
        p->mark.nreplicas = p->record.nreplicas;
        memcpy(p->mark.replicas, p->record.replicas, sizeof(p->mark.replicas));
    }
    return mark_next(p);
}

/* Entered again after each copy: one more, or enough, or no volume left. */
static void enter_repair(struct mkv_put *p)
{
    p->bad_sources = 0;
    if (next_target(p))
        write_mark(p);
    else if (p->record.nreplicas >= p->store->cfg->min_replicas)
        put_go(p, PUT_COMMIT);
    else
        fail(p, MKV_ETOOFEW);
}

/* ---- commit ------------------------------------------------------------------------ */

static void into_placement_order(struct mkv_put *p)
{
    struct mkv_replica ordered[MKV_REPLICAS_MAX];
    unsigned n = 0;

    store_place(p->store, key_of(p), p->candidates);
    for (size_t i = 0; i < p->store->cfg->nvolumes; i++)
        if (is_stored(p, p->candidates[i])) ordered[n++] = p->candidates[i];
    memcpy(p->record.replicas, ordered, n * sizeof(ordered[0]));
}

static void on_committed(enum mkv_err err, void *arg)
{
    struct mkv_put *p = arg;
    bool balanced;

    if (answered(p)) return;
    if (err == MKV_EINDEX) {
        /* It may have reached the disk all the same.  The files stay, for the
         * record or else the mark that the next start finds. */
        p->result = err;
        put_go(p, PUT_DONE);
        return;
    }
    if (err) {
        fail(p, err);
        return;
    }
    balanced = store_balanced(p->store, key_of(p), &p->record);
    probe_found(p->store->probes, p->md5, p->record.generation,
                (uint16_t)((1u << p->record.nreplicas) - 1), balanced,
                mkv_loop_now(p->store->loop));
    put_go(p, PUT_DONE);
}

static void enter_commit(struct mkv_put *p)
{
    const struct mkv_index_change change = {
        .key = key_of(p),
        .record_op = MKV_SET,
        .record = &p->record,
        .mark_op = MKV_REMOVE,
        .garbage = p->had_old ? &p->old : NULL,
        .garbage_due = mkv_loop_wall(p->store->loop) + SWEEP_SUPERSEDED_S};
    enum mkv_err err = discard_suspects(p);

    into_placement_order(p);
    p->old.mtime = mkv_loop_wall(p->store->loop); /* of garbage: since when */
    if (!err) err = ask_index(p, &change, on_committed);
    bring_no_change(p);
    if (err) fail(p, err);
}

/* ---- undo, done -------------------------------------------------------------------- */

static void on_unmarked(enum mkv_err err, void *arg)
{
    struct mkv_put *p = arg;

    if (answered(p)) return;
    if (err) p->store->stale_marks++; /* the sweeper tries again */
    put_go(p, PUT_DONE);
}

static void enter_unmark(struct mkv_put *p)
{
    struct mkv_record *left = &p->erase.files;
    struct mkv_index_change change = {.key = key_of(p), .mark_op = MKV_REMOVE};

    change.garbage_due = suspects_as_garbage(p, left);
    if (left->nreplicas) change.garbage = left;
    if (ask_index(p, &change, on_unmarked)) {
        p->store->stale_marks++;
        put_go(p, PUT_DONE);
    }
}

static void on_erased(struct erase *e, void *arg)
{
    (void)e;
    put_go(arg, PUT_UNMARK);
}

/* Deletes what the volumes that work may have.  The suspects are not waited
 * for, since they may hang: they go straight to the garbage. */
static void enter_undo(struct mkv_put *p)
{
    struct mkv_record files = p->mark;
    unsigned n = 0;

    find_suspects(p);
    for (unsigned i = 0; i < p->mark.nreplicas; i++) {
        const struct fanout_copy *c = copy_at(p, p->mark.replicas[i]);
        bool begun = c && c->state == COPY_READY && p->fan.streaming;

        if (is_stored(p, p->mark.replicas[i]) || (c && c->state == COPY_STORED) ||
            (begun && !mkv_exchange_sent_all(c->x)))
            files.replicas[n++] = p->mark.replicas[i];
    }
    files.nreplicas = n;
    fanout_cancel(&p->fan);
    copy_cancel(p->copy);
    p->copy = NULL;
    erase_start(&p->erase, p->store, key_of(p), &files, on_erased, p);
}

static void enter_done(struct mkv_put *p)
{
    keylock_release(&p->lock); /* before the answer: its reader may write again at once */
    if (!p->cancelled) p->events->done(p->result, p->result ? NULL : &p->record, p->arg);
    leave(p);
    mkv_loop_retire(p->store->loop, &p->retired, destroy, p);
}

static void put_go(struct mkv_put *p, enum put_step next)
{
    static void (*const enter[])(struct mkv_put *) = {
        [PUT_MARK] = enter_mark,     [PUT_OPEN] = enter_open,     [PUT_STREAM] = enter_stream,
        [PUT_SETTLE] = enter_settle, [PUT_REPAIR] = enter_repair, [PUT_COMMIT] = enter_commit,
        [PUT_UNDO] = enter_undo,     [PUT_UNMARK] = enter_unmark, [PUT_DONE] = enter_done};

    mkv_log_debug("put %p: %s -> %s", (void *)p, step_name[p->step], step_name[next]);
    p->step = next;
    enter[next](p);
}

/* ---- from outside ------------------------------------------------------------------- */

void mkv_put_cancel(struct mkv_put *p)
{
    p->cancelled = true;
    switch (p->step) {
    case PUT_MARK: p->result = MKV_ECLIENT; break; /* on_marked goes on from there */
    case PUT_OPEN:
    case PUT_STREAM: fail(p, MKV_ECLIENT); break;
    case PUT_SETTLE: /* the body is complete: the value may as well be stored */
    case PUT_REPAIR:
    case PUT_COMMIT:
    case PUT_UNDO:
    case PUT_UNMARK:
    case PUT_DONE: break;
    }
}

static void drop(struct store_op *op)
{
    struct mkv_put *p = (struct mkv_put *)op;

    p->dropped = true;
    fanout_cancel(&p->fan);
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
    store_place(s, key_of(p), p->candidates);
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

/* What the index says of the key, and the name that the new files take. */
static enum mkv_err look_up(struct mkv_put *p, bool replace)
{
    struct mkv_index *ix = p->store->index;
    enum mkv_err err = mkv_index_get(ix, key_of(p), &p->old, NULL, NULL);

    if (err && err != MKV_ENOKEY) return err;
    p->had_old = !err;
    if (p->had_old && p->old.state == MKV_LIVE && !replace) return MKV_EEXISTS;
    return mkv_index_next_generation(ix, key_of(p), p->had_old ? &p->old : NULL,
                                     &p->record.generation, NULL, NULL);
}

static enum mkv_err prepare(struct mkv_put *p, const struct mkv_put_options *opt)
{
    static const struct fanout_events events = {
        .opened = opened, .drained = drained, .finished = finished};
    char path[MKV_PATH_MAX];
    size_t len;
    enum mkv_err err;

    mkv_md5(key_of(p), p->md5);
    if (!keylock_take(&p->store->locks, &p->lock, key_of(p), p->md5)) return MKV_EBUSY;
    err = look_up(p, opt->replace);
    if (!err) err = choose_candidates(p);
    if (!err && p->store->cfg->md5sum) err = mkv_digest_new_md5(&p->digest);
    if (err) return err;
    p->record.mtime = p->mark.mtime = mkv_loop_wall(p->store->loop);
    p->record.size = 0;
    p->mark.state = MKV_WRITING;
    p->mark.generation = p->record.generation;
    len = mkv_key_path_md5(path, key_of(p), p->md5, p->record.generation);
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
