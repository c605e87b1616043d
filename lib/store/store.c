/* Opening and closing the store, and what its verbs share. */
#include "store/store.h"

#include "mkv/log.h"
#include "mkv/spool.h"
#include "mkv/uri.h"
#include "store/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define GATHER_MS 2 /* that a client may wait, so that MD5s are taken side by side */

/* ---- things under way -------------------------------------------------------- */

void store_op_begin(struct mkv_store *s, struct store_op *op, void (*drop)(struct store_op *))
{
    op->drop = drop;
    op->next = s->ops;
    op->prev = &s->ops;
    if (op->next) op->next->prev = &op->next;
    s->ops = op;
    s->nops++;
}

void store_op_end(struct mkv_store *s, struct store_op *op)
{
    *op->prev = op->next;
    if (op->next) op->next->prev = op->prev;
    s->nops--;
}

size_t mkv_store_busy(const struct mkv_store *store)
{
    return store->nops;
}

/* ---- open, close ------------------------------------------------------------- */

/* Names are checked here, once: a typo is told at start, not at the first PUT. */
static enum mkv_err open_volumes(struct mkv_store *s, char *why, size_t why_size)
{
    const struct mkv_volumes_options opt = {
        .loop = s->loop,
        .blocks = s->blocks,
        .pipes = s->pipes,
        .timeout_ms = s->cfg->voltimeout_ms};
    enum mkv_err err = mkv_volumes_open(&s->volumes, &opt);

    if (err) return err;
    for (size_t i = 0; i < s->cfg->nvolumes; i++) {
        struct mkv_slice name = s->cfg->volumes[i];
        struct mkv_volume *volume;

        err = mkv_volumes_get(s->volumes, name, &volume);
        if (err) {
            snprintf(why, why_size, "-volumes: %.*s is no host:port or host:port/dir",
                     (int)name.len, name.data);
            return err;
        }
        err = mkv_index_volume_id(s->index, name, &s->ids[i]);
        if (err) return err;
    }
    return MKV_OK;
}

/* After the index: its lock comes first. */
static enum mkv_err open_spool(struct mkv_store *s, char *why, size_t why_size)
{
    char *inside = NULL;
    enum mkv_err err;

    if (s->cfg->program != MKV_PROGRAM_SERVER) return MKV_OK;
    if (!s->cfg->spool && asprintf(&inside, "%s/spool", s->cfg->db) < 0) return MKV_ENOMEM;
    err = mkv_spool_open(&s->spool, s->loop, inside ? inside : s->cfg->spool, why, why_size);
    free(inside);
    return err;
}

enum mkv_err mkv_store_open(struct mkv_store **out, struct mkv_loop *loop,
                            const struct mkv_config *cfg, struct mkv_metrics *metrics,
                            const char *address, char *why, size_t why_size)
{
    struct mkv_store *s = calloc(1, sizeof(*s));
    enum mkv_err err = MKV_ENOMEM;
    const struct mkv_index_options opt = {
        .dir = cfg->db, .map_size = cfg->db_size, .address = address};
    size_t found;

    why[0] = '\0';
    if (!s) goto out;
    s->loop = loop;
    s->cfg = cfg;
    s->metrics = metrics;
    if (getrandom(&s->random, sizeof(s->random), 0) < 0) s->random = 0;
    s->random |= 1; /* xorshift must not start from 0 */
    turns_open(s);
    s->ids = calloc(cfg->nvolumes, sizeof(*s->ids));
    if (!s->ids) goto out;
    err = mkv_blocks_open(&s->blocks);
    if (err) goto out;
    err = mkv_pipes_open(&s->pipes);
    if (err) goto out;
    err = digester_open(&s->digester, loop, GATHER_MS);
    if (err) goto out;
    err = probe_open(&s->probes, cfg->probe_ttl_ms);
    if (err) goto out;
    err = mkv_index_open(&s->index, loop, &opt, why, why_size);
    if (err) goto out;
    err = open_volumes(s, why, why_size);
    if (err) goto out;
    err = open_spool(s, why, why_size);
    if (err) goto out;
    err = store_sweep_spool(s);
    if (err) goto out;
    err = mkv_index_recover(s->index, &found);
    if (err) goto out;
    if (found)
        mkv_log_warn("undoing %zu writes that were under way when the server last stopped", found);
    err = store_sweep_spool(s);
    if (err) goto out;
    err = sweep_open(&s->sweeper, s);
    if (err) goto out;
    *out = s;
    s = NULL;
out:
    if (err && !why[0]) snprintf(why, why_size, "%s: %s", cfg->db, mkv_strerror(err));
    mkv_store_close(s);
    return err;
}

void mkv_store_close(struct mkv_store *s)
{
    if (!s) return;
    s->closing = true;
    for (struct store_op *op = s->ops, *next; op; op = next) {
        next = op->next; /* drop may end op, and no other */
        op->drop(op);
    }
    turns_close(s);
    sweep_stop(s->sweeper);
    mkv_index_close(s->index); /* calls back: what waited for the index ends here */
    sweep_close(s->sweeper);
    mkv_volumes_close(s->volumes);
    mkv_spool_close(s->spool);
    mkv_loop_settle(s->loop);  /* frees what retired */
    digester_close(s->digester);
    mkv_pipes_close(s->pipes);
    mkv_blocks_close(s->blocks);
    probe_close(s->probes);
    free(s->by_id);
    free(s->ids);
    free(s);
}

struct mkv_index *mkv_store_index(struct mkv_store *store)
{
    return store->index;
}

struct mkv_volumes *mkv_store_volumes(struct mkv_store *store)
{
    return store->volumes;
}

struct mkv_spool *mkv_store_spool(struct mkv_store *store)
{
    return store->spool;
}

struct mkv_blocks *mkv_store_blocks(struct mkv_store *store)
{
    return store->blocks;
}

struct mkv_pipes *mkv_store_pipes(struct mkv_store *store)
{
    return store->pipes;
}

/* ---- keys, volumes, places ---------------------------------------------------- */

enum mkv_err mkv_store_check_key(struct mkv_slice key)
{
    if (key.len > MKV_KEY_MAX) return MKV_EKEYLONG;
    if (key.len == 0) return MKV_EINVAL;
    if (memchr(key.data, '\0', key.len)) return MKV_EKEYNUL;
    return mkv_utf8_valid(key) ? MKV_OK : MKV_EKEYUTF8;
}

struct mkv_volume *store_volume(struct mkv_store *s, uint32_t id)
{
    struct mkv_slice name;

    if (id >= s->nby_id) { /* the table of names grows only by what open adds */
        size_t n = mkv_index_volume_count(s->index);
        struct mkv_volume **more;

        if (id >= n) return NULL;
        more = realloc(s->by_id, n * sizeof(*more));
        if (!more) return NULL;
        memset(more + s->nby_id, 0, (n - s->nby_id) * sizeof(*more));
        s->by_id = more;
        s->nby_id = n;
    }
    if (s->by_id[id]) return s->by_id[id];
    name = mkv_index_volume_name(s->index, id);
    if (!name.data || mkv_volumes_get(s->volumes, name, &s->by_id[id])) return NULL;
    return s->by_id[id];
}

bool mkv_store_can_write(struct mkv_store *s)
{
    size_t usable = 0;

    for (size_t i = 0; i < s->cfg->nvolumes; i++) {
        struct mkv_volume *v = store_volume(s, s->ids[i]);

        usable += v && mkv_volume_state(v) != MKV_VOLUME_DOWN;
    }
    return usable >= s->cfg->min_replicas;
}

void store_place(struct mkv_store *s, struct mkv_slice key, struct mkv_replica *ordered)
{
    mkv_place(key, s->cfg->volumes, s->cfg->nvolumes, (unsigned)s->cfg->subvolumes, ordered);
    for (size_t i = 0; i < s->cfg->nvolumes; i++) ordered[i].volume = s->ids[ordered[i].volume];
}

enum mkv_err store_take_fields(struct mkv_record *to, const struct mkv_record *from)
{
    uint8_t *fields = from->fields_len ? malloc(from->fields_len) : NULL;

    if (from->fields_len && !fields) return MKV_ENOMEM;
    if (fields) memcpy(fields, from->fields, from->fields_len);
    free(to->fields);
    to->fields = fields;
    to->fields_len = from->fields_len;
    return MKV_OK;
}

bool store_same_value(const struct mkv_record *a, const struct mkv_record *b)
{
    if (a->generation != b->generation || a->has_md5 != b->has_md5) return false;
    if (a->size >= 0 && b->size >= 0 && a->size != b->size) return false;
    return a->has_md5 ? memcmp(a->md5, b->md5, MKV_MD5_LEN) == 0 : a->mtime == b->mtime;
}

bool store_same_files(const struct mkv_record *a, const struct mkv_record *b)
{
    if (a->generation != b->generation || a->nreplicas != b->nreplicas) return false;
    for (unsigned i = 0; i < a->nreplicas; i++)
        if (!store_same_replica(a->replicas[i], b->replicas[i])) return false;
    return true;
}

bool store_balanced(struct mkv_store *s, struct mkv_slice key, const struct mkv_record *rec)
{
    struct mkv_replica ordered[MKV_VOLUMES_MAX];

    if (rec->nreplicas != s->cfg->replicas) return false;
    store_place(s, key, ordered);
    for (unsigned i = 0; i < rec->nreplicas; i++)
        if (!store_same_replica(rec->replicas[i], ordered[i])) return false;
    return true;
}

size_t store_file_path(char out[STORE_PATH_MAX], struct mkv_replica r, struct mkv_slice key_path)
{
    size_t n = mkv_replica_text(out, mkv_slice(NULL, 0), r.subvolume);

    memcpy(out + n, key_path.data, key_path.len);
    out[n + key_path.len] = '\0';
    return n + key_path.len;
}

unsigned store_rank(struct mkv_store *s, struct mkv_replica r)
{
    struct mkv_volume *v = store_volume(s, r.volume);

    return v ? (unsigned)mkv_volume_state(v) : MKV_VOLUME_DOWN + 1;
}

void store_order(struct mkv_store *s, const struct mkv_record *rec,
                 unsigned order[MKV_REPLICAS_MAX])
{
    unsigned n = 0;

    for (unsigned rank = MKV_VOLUME_UP; rank <= MKV_VOLUME_DOWN + 1; rank++) {
        unsigned first = n;

        for (unsigned i = 0; i < rec->nreplicas; i++) {
            if (store_rank(s, rec->replicas[i]) != rank) continue;
            order[n] = i;
            unsigned other = first + store_random(s, n - first + 1);
            order[n] = order[other];
            order[other] = i;
            n++;
        }
    }
}

uint32_t store_random(struct mkv_store *s, uint32_t n)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)((s->random >> 32) % n);
}
