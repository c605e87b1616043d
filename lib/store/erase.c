#include "store/erase.h"

#include "mkv/log.h"
#include "store/store.h"

static void finish(void *arg)
{
    struct erase *e = arg;
    unsigned left = 0;

    /* A slot still marked is a replica that could not be deleted. */
    for (unsigned i = 0; i < e->files.nreplicas; i++)
        if (e->slots[i].erase) e->files.replicas[left++] = e->files.replicas[i];
    e->files.nreplicas = left;
    e->done(e, e->arg);
}

static void on_deleted(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct erase_slot *slot = arg;
    struct erase *e = slot->erase;
    size_t i = (size_t)(slot - e->slots);

    slot->x = NULL;
    if (!err && (status == 204 || status == 200 || status == 404)) {
        slot->erase = NULL;
    } else {
        struct mkv_slice name = mkv_index_volume_name(e->store->index, e->files.replicas[i].volume);

        mkv_log_info("volume %.*s: DELETE failed: %s (%d)", (int)name.len, name.data,
                     err ? mkv_exchange_why(x) : "unexpected status", status);
    }
    if (--e->waiting == 0) finish(e);
}

static bool delete_one(struct erase *e, unsigned i, struct mkv_slice key_path)
{
    static const struct mkv_exchange_events events = {.done = on_deleted};
    char path[STORE_PATH_MAX];
    struct mkv_exchange_options opt = {.method = MKV_VOLUME_DELETE};

    opt.volume = store_volume(e->store, e->files.replicas[i].volume);
    if (!opt.volume) return false;
    opt.path = mkv_slice(path, store_file_path(path, e->files.replicas[i], key_path));
    return !mkv_exchange_start(&e->slots[i].x, &opt, &events, &e->slots[i]);
}

void erase_start(struct erase *e, struct mkv_store *store, struct mkv_slice key,
                 const struct mkv_record *files, void (*done)(struct erase *e, void *arg),
                 void *arg)
{
    char path[MKV_PATH_MAX];
    size_t len = mkv_key_path(path, key, files->generation);

    e->store = store;
    mkv_record_init(&e->files);
    e->files.state = files->state;
    e->files.generation = files->generation;
    e->files.mtime = files->mtime;
    e->files.nreplicas = files->nreplicas;
    memcpy(e->files.replicas, files->replicas, sizeof(files->replicas));
    e->waiting = 0;
    e->done = done;
    e->arg = arg;
    for (unsigned i = 0; i < e->files.nreplicas; i++) {
        e->slots[i].erase = e;
        e->slots[i].x = NULL;
        if (delete_one(e, i, mkv_slice(path, len))) e->waiting++;
    }
    if (e->waiting) return;
    e->nothing_to_wait_for.run = finish;
    e->nothing_to_wait_for.arg = e;
    mkv_loop_at_end(store->loop, &e->nothing_to_wait_for);
}

void erase_cancel(struct erase *e)
{
    if (!e->store) return;
    mkv_loop_forget(e->store->loop, &e->nothing_to_wait_for);
    for (unsigned i = 0; i < e->files.nreplicas; i++)
        if (e->slots[i].x) {
            mkv_exchange_cancel(e->slots[i].x);
            e->slots[i].x = NULL;
        }
    e->waiting = 0;
}
