/* PUT: a replica failed, its copy is made on another volume, from a good one. */
#include "store/put_internal.h"

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
        put_copy_to_marked(p); /* the target is not to blame */
        return;
    case COPY_TARGET_BAD: break;
    }
    put_go(p, PUT_REPAIR);
}

void put_copy_to_marked(struct mkv_put *p)
{
    const struct copy_options opt = {.key = put_key(p),
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
    if (p->record.nreplicas == put_wanted(p)) return false;
    if (p->mark.nreplicas == MKV_REPLICAS_MAX) {
        if (put_discard_suspects(p)) return false;
        p->mark.nreplicas = p->record.nreplicas;
        memcpy(p->mark.replicas, p->record.replicas, sizeof(p->mark.replicas));
    }
    return put_mark_next(p);
}

/* Entered again after each copy: one more, or enough, or no volume left. */
void put_enter_repair(struct mkv_put *p)
{
    p->bad_sources = 0;
    if (next_target(p))
        put_write_mark(p);
    else if (p->record.nreplicas >= p->store->cfg->min_replicas)
        put_go(p, PUT_COMMIT);
    else
        put_fail(p, MKV_ETOOFEW);
}
