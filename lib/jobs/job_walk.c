/* All keys, a bounded number of them in hand. */
#include "jobs/job_internal.h"

#include <event2/event.h>
#include <stddef.h>
#include <stdlib.h>

struct job_walk {
    struct job *job;
    struct mkv_walk walk;
    size_t extra;
    job_visit *visit;
    void *arg;
    char *memory;           /* owned: nitems items, each with extra bytes behind it */
    size_t nitems, item_size;
    struct job_item *free;  /* linked by next */
    struct job_item *taken; /* by this slice of the walk, newest first */
    size_t nfree, in_hand;
    bool unreadable;
    struct event turn;      /* the next slice */
};

static void next_slice(struct job_walk *w)
{
    const struct timeval at_once = {0, 0};

    event_add(&w->turn, &at_once);
}

static bool take(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct job_walk *w = arg;
    struct job_item *item = w->free;

    if (!item) return false;
    if (mkv_record_decode(&item->record, data, len)) {
        job_error(w->job, key, "the record can not be decoded");
        return true;
    }
    memcpy(item->key, key.data, key.len);
    item->key_len = key.len;
    w->free = item->next;
    w->nfree--;
    item->next = w->taken;
    w->taken = item;
    return true;
}

static void visit_taken(struct job_walk *w)
{
    struct job_item *item, *in_order = NULL;

    while ((item = w->taken)) {
        w->taken = item->next;
        item->next = in_order;
        in_order = item;
        w->in_hand++;
    }
    while ((item = in_order)) {
        in_order = item->next;
        w->visit(item, w->arg);
    }
}

static bool is_over(const struct job_walk *w)
{
    return w->walk.ended || w->unreadable || w->job->stopping;
}

/* Takes as many keys as there is room for.  Those that are done at once make
 * room for the next slice, in the next turn. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct job_walk *w = arg;

    (void)fd;
    (void)what;
    if (!is_over(w) && w->nfree) {
        if (mkv_index_walk(w->job->index, &w->walk, w->nfree, take, w)) {
            job_error(w->job, mkv_slice(NULL, 0), "the index can not be read");
            w->unreadable = true;
        }
        visit_taken(w);
    }
    if (!is_over(w) && w->nfree)
        next_slice(w);
    else if (is_over(w) && !w->in_hand)
        mkv_loop_stop(w->job->loop);
}

void job_walk_stop(struct job *job)
{
    if (job->walk) next_slice(job->walk);
}

void job_item_done(struct job_item *item)
{
    struct job_walk *w = item->job->walk;

    mkv_record_clear(&item->record);
    memset(item->state, 0, w->extra);
    item->next = w->free;
    w->free = item;
    w->nfree++;
    w->in_hand--;
    progress_add(w->job->progress, 1, 0);
    next_slice(w);
}

/* A key's requests go out side by side, one for each replica. */
static size_t keys_in_hand(const struct mkv_config *cfg)
{
    size_t n = (size_t)(cfg->jobs / cfg->replicas);

    return n ? n : 1;
}

static struct job_item *item_at(const struct job_walk *w, size_t i)
{
    return (struct job_item *)(void *)(w->memory + i * w->item_size);
}

static bool make_items(struct job_walk *w)
{
    size_t align = _Alignof(max_align_t);
    size_t head = (sizeof(struct job_item) + align - 1) / align * align;

    w->item_size = head + (w->extra + align - 1) / align * align;
    w->nitems = keys_in_hand(w->job->cfg);
    w->memory = calloc(w->nitems, w->item_size);
    if (!w->memory) return false;
    for (size_t i = 0; i < w->nitems; i++) {
        struct job_item *item = item_at(w, i);

        item->job = w->job;
        item->state = (char *)item + head;
        mkv_record_init(&item->record);
        item->next = w->free;
        w->free = item;
        w->nfree++;
    }
    return true;
}

void job_walk_free(struct job *job)
{
    struct job_walk *w = job->walk;

    if (!w) return;
    for (size_t i = 0; i < w->nitems; i++) mkv_record_clear(&item_at(w, i)->record);
    free(w->memory);
    free(w);
    job->walk = NULL;
}

static struct job_walk *new_walk(struct job *job, size_t extra)
{
    struct job_walk *w = calloc(1, sizeof(*w));

    if (!w) return NULL;
    w->job = job;
    w->extra = extra;
    if (!make_items(w)) {
        free(w);
        return NULL;
    }
    event_assign(&w->turn, mkv_loop_base(job->loop), -1, 0, on_turn, w);
    return w;
}

void job_each_key(struct job *job, size_t extra, job_visit *visit, void *arg)
{
    struct mkv_index_stats stats;

    if (job->stopping) return;
    job_walk_free(job);
    job->walk = new_walk(job, extra);
    if (!job->walk) {
        job_error(job, mkv_slice(NULL, 0), "%s", mkv_strerror(MKV_ENOMEM));
        return;
    }
    job->walk->visit = visit;
    job->walk->arg = arg;
    mkv_index_stats(job->index, &stats);
    progress_total(job->progress, stats.live + stats.unlinked);
    mkv_walk_init(&job->walk->walk, MKV_TABLE_RECORDS, 0, mkv_slice(NULL, 0), mkv_slice(NULL, 0));
    next_slice(job->walk);
    mkv_loop_run(job->loop);
    event_del(&job->walk->turn);
}
