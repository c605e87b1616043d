/* GET and HEAD: find a replica that has the file, by asking one after another. */
#include "store/store.h"

#include "mkv/log.h"

#include <stdlib.h>

#define ROUNDS_MAX 3 /* how often a record may change under a GET before it gives up */

struct mkv_locate {
    struct store_op op;
    struct mkv_store *store;       /* borrowed */
    uint8_t md5[MKV_MD5_LEN];      /* of the key */
    struct mkv_record record;      /* what is being looked for */
    unsigned order[MKV_REPLICAS_MAX]; /* replicas, the best to ask first */
    unsigned next;
    unsigned missing, unasked;     /* answered "not here"; could not be asked */
    unsigned rounds;
    struct mkv_exchange *x;        /* owned until it calls back */
    mkv_located *done;             /* NULL: only the probe cache is to know */
    void *arg;
    struct mkv_retired retired;
    size_t key_len;
    char key[];
};

static struct mkv_slice key_of(const struct mkv_locate *l)
{
    return mkv_slice(l->key, l->key_len);
}

static size_t add(char *out, const char *data, size_t len)
{
    memcpy(out, data, len);
    return len;
}

/* Fills where for the replica chosen. */
static void describe(struct mkv_store *s, struct mkv_slice key, const uint8_t md5[MKV_MD5_LEN],
                     const struct mkv_record *rec, bool balanced, unsigned chosen,
                     struct mkv_location *where)
{
    struct mkv_slice name = mkv_index_volume_name(s->index, rec->replicas[chosen].volume);
    size_t n = add(where->url, "http://", 7);

    n += mkv_replica_text(where->url + n, name, rec->replicas[chosen].subvolume);
    where->url_len = n + mkv_key_path_md5(where->url + n, key, md5, rec->generation);
    where->md5[0] = '\0';
    if (rec->has_md5) mkv_hex(where->md5, rec->md5, MKV_MD5_LEN);
    where->balanced = balanced;
    n = 0;
    for (unsigned i = 0; i < rec->nreplicas; i++) {
        name = mkv_index_volume_name(s->index, rec->replicas[i].volume);
        if (i) where->volumes[n++] = ',';
        n += mkv_replica_text(where->volumes + n, name, rec->replicas[i].subvolume);
    }
    where->volumes_len = n;
}

/* A random one of the replicas seen just now whose volume is not known to be
 * down; -1 where there is none. */
static int choose_probed(struct mkv_store *s, const struct mkv_record *rec, uint16_t found)
{
    unsigned n = 0, usable[MKV_REPLICAS_MAX];

    for (unsigned i = 0; i < rec->nreplicas; i++)
        if ((found >> i & 1) && store_rank(s, rec->replicas[i]) < MKV_VOLUME_DOWN) usable[n++] = i;
    return n ? (int)usable[store_random(s, n)] : -1;
}

static void begin_round(struct mkv_locate *l)
{
    store_order(l->store, &l->record, l->order);
    l->next = l->missing = l->unasked = 0;
}

static void on_answer(struct mkv_exchange *x, enum mkv_err err, int status, void *arg);

static enum mkv_err ask(struct mkv_locate *l, struct mkv_replica r)
{
    static const struct mkv_exchange_events events = {.done = on_answer};
    char key_path[MKV_PATH_MAX], path[STORE_PATH_MAX];
    size_t len = mkv_key_path_md5(key_path, key_of(l), l->md5, l->record.generation);
    struct mkv_exchange_options opt = {.method = MKV_VOLUME_HEAD};

    opt.volume = store_volume(l->store, r.volume);
    if (!opt.volume) return MKV_EVOLUME;
    opt.path = mkv_slice(path, store_file_path(path, r, mkv_slice(key_path, len)));
    return mkv_exchange_start(&l->x, &opt, &events, l);
}

/* No replica has it.  The record may have changed meanwhile (a REPLACE, a
 * DELETE): then the answer is another one. */
static enum mkv_err read_again(struct mkv_locate *l)
{
    struct mkv_record now;
    enum mkv_err err;
    bool same;

    mkv_record_init(&now);
    err = mkv_index_get(l->store->index, key_of(l), &now, NULL, NULL);
    if (!err && now.state != MKV_LIVE) err = MKV_ENOKEY;
    same = !err && store_same_files(&now, &l->record);
    if (same)
        err = l->unasked ? MKV_ECANNOTASK : MKV_EGONE;
    else if (!err && ++l->rounds == ROUNDS_MAX)
        err = MKV_ECANNOTASK; /* the newest files have not been asked for */
    if (err) {
        mkv_record_clear(&now);
        return err;
    }
    mkv_record_clear(&l->record);
    l->record = now; /* given away */
    begin_round(l);
    return MKV_PENDING;
}

/* Asks the next replica.  MKV_PENDING: on_answer will come; else the verdict. */
static enum mkv_err advance(struct mkv_locate *l)
{
    enum mkv_err err;

    do {
        while (l->next < l->record.nreplicas) {
            if (!ask(l, l->record.replicas[l->order[l->next++]])) return MKV_PENDING;
            l->unasked++;
        }
        err = read_again(l);
    } while (err == MKV_PENDING);
    return err;
}

static void destroy(void *arg)
{
    struct mkv_locate *l = arg;

    mkv_record_clear(&l->record);
    free(l);
}

static void end(struct mkv_locate *l)
{
    store_op_end(l->store, &l->op);
    mkv_loop_retire(l->store->loop, &l->retired, destroy, l);
}

static void tell(struct mkv_locate *l, enum mkv_err err, const struct mkv_location *where)
{
    if (l->done) l->done(err, where, l->arg);
    end(l);
}

/* The location is large, and nobody needs it for longer than this call. */
static void tell_found(struct mkv_locate *l, bool balanced, unsigned replica)
{
    struct mkv_location where;

    describe(l->store, key_of(l), l->md5, &l->record, balanced, replica, &where);
    tell(l, MKV_OK, &where);
}

static void on_answer(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct mkv_locate *l = arg;
    unsigned replica = l->order[l->next - 1];

    (void)x;
    l->x = NULL;
    if (!err && status == 200) {
        bool balanced = store_balanced(l->store, key_of(l), &l->record);

        probe_found(l->store->probes, l->md5, l->record.generation, (uint16_t)(1u << replica),
                    balanced, mkv_loop_now(l->store->loop));
        tell_found(l, balanced, replica);
        return;
    }
    if (!err && status == 404)
        l->missing++;
    else
        l->unasked++;
    err = advance(l);
    if (err != MKV_PENDING) tell(l, err, NULL);
}

static void drop(struct store_op *op)
{
    mkv_locate_cancel((struct mkv_locate *)op);
}

void mkv_locate_cancel(struct mkv_locate *l)
{
    if (l->x) mkv_exchange_cancel(l->x);
    end(l);
}

static enum mkv_err start(struct mkv_store *s, struct mkv_slice key,
                          const uint8_t md5[MKV_MD5_LEN], struct mkv_record *rec,
                          struct mkv_locate **pending, mkv_located *done, void *arg)
{
    struct mkv_locate *l = calloc(1, sizeof(*l) + key.len);
    enum mkv_err err;

    if (!l) return MKV_ENOMEM;
    l->store = s;
    memcpy(l->key, key.data, key.len);
    l->key_len = key.len;
    memcpy(l->md5, md5, MKV_MD5_LEN);
    l->record = *rec; /* given away */
    mkv_record_init(rec);
    l->done = done;
    l->arg = arg;
    begin_round(l);
    err = advance(l);
    if (err != MKV_PENDING) {
        destroy(l);
        return err;
    }
    store_op_begin(s, &l->op, drop);
    *pending = l;
    return MKV_PENDING;
}

/* Asks again before the answer is needed.  Whatever comes of it: without a fresh
 * entry the next reader asks for himself. */
static void renew(struct mkv_store *s, struct mkv_slice key, const uint8_t md5[MKV_MD5_LEN],
                  struct mkv_record *rec)
{
    struct mkv_locate *pending;
    enum mkv_err err = start(s, key, md5, rec, &pending, NULL, NULL);

    (void)err;
}

enum mkv_err mkv_store_locate(struct mkv_store *s, struct mkv_slice key, struct mkv_location *now,
                              struct mkv_locate **pending, mkv_located *done, void *arg)
{
    struct mkv_record rec;
    uint8_t md5[MKV_MD5_LEN];
    const struct probe *probe;
    enum mkv_err err;
    int chosen;

    turns_asked(s);
    mkv_record_init(&rec);
    err = mkv_index_get(s->index, key, &rec, NULL, NULL);
    if (err) return err;
    if (rec.state != MKV_LIVE) {
        mkv_record_clear(&rec);
        return MKV_ENOKEY;
    }
    mkv_md5(key, md5);
    probe = probe_find(s->probes, md5, rec.generation, mkv_loop_now(s->loop));
    chosen = probe ? choose_probed(s, &rec, probe->found) : -1;
    if (chosen >= 0) {
        s->metrics->probe_hits++;
        describe(s, key, md5, &rec, probe->balanced, (unsigned)chosen, now);
        if (probe_renew(s->probes, md5, mkv_loop_now(s->loop))) renew(s, key, md5, &rec);
    } else {
        s->metrics->probe_misses++;
        err = start(s, key, md5, &rec, pending, done, arg);
    }
    mkv_record_clear(&rec);
    return err;
}
