/* PUT: nothing is to stay.  What was stored is deleted; what may be somewhere, or
 * may still come, is garbage. */
#include "store/put_internal.h"

#include "store/sweep.h"

/* ---- suspects ----------------------------------------------------------------------- */

/* Marked volumes that failed once they had been sent something: a file may be
 * there or, if the volume has the whole body and never answered, appear later. */
static void find_suspects(struct mkv_put *p)
{
    p->nsuspects = 0;
    for (unsigned i = 0; i < p->mark.nreplicas; i++) {
        struct mkv_replica r = p->mark.replicas[i];
        const struct fanout_copy *c = put_copy_at(p, r);
        bool may_come = false;

        if (put_is_stored(p, r)) continue;
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

enum mkv_err put_discard_suspects(struct mkv_put *p)
{
    struct mkv_record garbage;
    struct mkv_index_change change = {.key = put_key(p), .garbage = &garbage};

    find_suspects(p);
    if (!p->nsuspects) return MKV_OK;
    mkv_record_init(&garbage);
    change.garbage_due = suspects_as_garbage(p, &garbage);
    return mkv_index_apply(p->store->index, &change, NULL, NULL);
}

/* ---- undo, unmark ------------------------------------------------------------------ */

static void on_unmarked(enum mkv_err err, void *arg)
{
    struct mkv_put *p = arg;

    if (put_answered(p)) return;
    if (err) p->store->stale_marks++; /* the sweeper tries again */
    put_go(p, PUT_DONE);
}

void put_enter_unmark(struct mkv_put *p)
{
    struct mkv_record *left = &p->erase.files;
    struct mkv_index_change change = {.key = put_key(p), .mark_op = MKV_REMOVE};

    change.garbage_due = suspects_as_garbage(p, left);
    if (left->nreplicas) change.garbage = left;
    if (put_ask_index(p, &change, on_unmarked)) {
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
void put_enter_undo(struct mkv_put *p)
{
    struct mkv_record files = p->mark;
    unsigned n = 0;

    find_suspects(p);
    for (unsigned i = 0; i < p->mark.nreplicas; i++) {
        const struct fanout_copy *c = put_copy_at(p, p->mark.replicas[i]);
        bool begun = c && c->state == COPY_READY && p->fan.streaming;

        if (put_is_stored(p, p->mark.replicas[i]) || (c && c->state == COPY_STORED) ||
            (begun && !mkv_exchange_sent_all(c->x)))
            files.replicas[n++] = p->mark.replicas[i];
    }
    files.nreplicas = n;
    fanout_cancel(&p->fan);
    digest_stream_cancel(p->digest);
    p->digest = NULL;
    copy_cancel(p->copy);
    p->copy = NULL;
    erase_start(&p->erase, p->store, put_key(p), &files, on_erased, p);
}
