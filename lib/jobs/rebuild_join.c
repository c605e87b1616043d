/* What was gathered and the old index, both in the order of keys, are gone
 * through side by side; each key is merged and written into the new index. */
#include "jobs/rebuild_internal.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#define SLICE_KEYS  512                /* in one turn of the loop                  */
#define BATCH_KEYS  256                /* old records read at once...              */
#define BATCH_BYTES (4 * 1024 * 1024)  /* ...as long as they are no longer than so */

#define READS_PART  4 /* of -jobs: values that are read at once; listings are short, they are not */

/* Old records, copied from the index a batch at a time. */
struct old_records {
    struct mkv_index *index; /* borrowed; NULL: none */
    struct mkv_walk walk;
    char *data;              /* owned: key_len, len, key, record; again and again */
    size_t used, size, at;
    bool no_memory;
};

struct rebuild_join {
    struct event turn;          /* the next slice */
    struct old_records old;
    bool has_old, has_seen;     /* below is what comes next */
    struct mkv_slice old_key, old_data;
    struct mkv_slice seen_key;  /* valid until the next sort_next */
    struct merge_file seen;
    char key[MKV_KEY_MAX];      /* being merged */
    size_t key_len;
    struct merge_file *files;   /* owned: of that key */
    size_t nfiles, files_size;
    struct mkv_replica *placement; /* owned */
    struct md5_read *reads;     /* owned; NULL without -md5sum */
    size_t nreads, nbusy;
    bool ended;                 /* all keys have been merged */
};

/* ---- old records ----------------------------------------------------------------------- */

static bool keep_record(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct old_records *o = arg;
    size_t need = 2 * sizeof(size_t) + key.len + len, size = o->size ? o->size : 64 * 1024;
    char *more;

    if (o->used && o->used + need > BATCH_BYTES) return false;
    while (size < o->used + need) size *= 2;
    if (size > o->size) {
        more = realloc(o->data, size);
        o->no_memory = !more;
        if (!more) return false;
        o->data = more;
        o->size = size;
    }
    memcpy(o->data + o->used, &key.len, sizeof(size_t));
    memcpy(o->data + o->used + sizeof(size_t), &len, sizeof(size_t));
    memcpy(o->data + o->used + 2 * sizeof(size_t), key.data, key.len);
    memcpy(o->data + o->used + 2 * sizeof(size_t) + key.len, data, len);
    o->used += need;
    return true;
}

/* MKV_ENOKEY after the last.  key and data: valid until the next call. */
static enum mkv_err next_old(struct old_records *o, struct mkv_slice *key, struct mkv_slice *data)
{
    size_t key_len, len;

    if (!o->index) return MKV_ENOKEY;
    while (o->at == o->used) {
        enum mkv_err err;

        o->at = o->used = 0;
        if (o->walk.ended) return MKV_ENOKEY;
        err = mkv_index_walk(o->index, &o->walk, BATCH_KEYS, keep_record, o);
        if (err || o->no_memory) return err ? err : MKV_ENOMEM;
    }
    memcpy(&key_len, o->data + o->at, sizeof(size_t));
    memcpy(&len, o->data + o->at + sizeof(size_t), sizeof(size_t));
    *key = mkv_slice(o->data + o->at + 2 * sizeof(size_t), key_len);
    *data = mkv_slice(key->data + key_len, len);
    o->at += 2 * sizeof(size_t) + key_len + len;
    return MKV_OK;
}

/* ---- the two streams ----------------------------------------------------------------------- */

static bool step_old(struct rebuild *r)
{
    struct rebuild_join *j = r->join;
    enum mkv_err err = next_old(&j->old, &j->old_key, &j->old_data);

    j->has_old = !err;
    if (err && err != MKV_ENOKEY) rebuild_fail(r, err, "the old index can not be read");
    return !r->failed;
}

static bool step_seen(struct rebuild *r)
{
    struct rebuild_join *j = r->join;
    enum mkv_err err = sort_next(r->sort, &j->seen_key, &j->seen);

    j->has_seen = !err;
    if (err && err != MKV_ENOKEY) rebuild_fail(r, err, "what was found can not be read again");
    return !r->failed;
}

static bool keep_file(struct rebuild *r)
{
    struct rebuild_join *j = r->join;

    if (j->nfiles == j->files_size) {
        size_t size = j->files_size ? 2 * j->files_size : 16;
        struct merge_file *more = realloc(j->files, size * sizeof(*more));

        if (!more) {
            rebuild_fail(r, MKV_ENOMEM, NULL);
            return false;
        }
        j->files = more;
        j->files_size = size;
    }
    j->files[j->nfiles++] = j->seen;
    return true;
}

/* The next key of either stream: its files into j->files, its old record, if
 * any, decoded into *old. */
static bool next_key(struct rebuild *r, struct mkv_record *old, bool *has_old)
{
    struct rebuild_join *j = r->join;
    int order = !j->has_old ? 1 : !j->has_seen ? -1 : mkv_slice_cmp(j->old_key, j->seen_key);
    struct mkv_slice key = order <= 0 ? j->old_key : j->seen_key;

    memcpy(j->key, key.data, key.len);
    j->key_len = key.len;
    j->nfiles = 0;
    *has_old = order <= 0;
    if (*has_old) {
        enum mkv_err err =
            mkv_record_decode(old, (const uint8_t *)j->old_data.data, j->old_data.len);

        if (err == MKV_ECORRUPT) {
            job_error(&r->job, key, "the old index's record of it is damaged and not used");
            *has_old = false;
        } else if (err) {
            rebuild_fail(r, err, NULL);
            return false;
        }
        if (!step_old(r)) return false;
    }
    while (j->has_seen && mkv_slice_eq(j->seen_key, mkv_slice(j->key, j->key_len)))
        if (!keep_file(r) || !step_seen(r)) return false;
    return true;
}

/* ---- one key ---------------------------------------------------------------------------------- */

static void place(struct rebuild *r)
{
    struct rebuild_join *j = r->join;
    const struct mkv_config *cfg = r->cfg;

    mkv_place(mkv_slice(j->key, j->key_len), cfg->volumes, cfg->nvolumes,
              (unsigned)cfg->subvolumes, j->placement);
    for (size_t i = 0; i < cfg->nvolumes; i++)
        j->placement[i].volume = r->ids[j->placement[i].volume];
}

static bool write_failed(struct rebuild *r, enum mkv_err err)
{
    char why[REBUILD_WHY_MAX];

    if (!err) return false;
    build_why(r->build, why, sizeof(why));
    rebuild_fail(r, err, why);
    return true;
}

void join_write(struct rebuild *r, struct mkv_slice key, const struct mkv_record *rec)
{
    if (!r->failed) (void)write_failed(r, build_record(r->build, key, rec));
}

/* One entry for each generation and due time. */
static void write_garbage(struct rebuild *r)
{
    struct rebuild_join *j = r->join;

    for (size_t i = 0; i < j->nfiles && !r->failed; i++) {
        struct mkv_record files;
        const struct merge_file *first = &j->files[i];

        if (first->verdict != MERGE_GARBAGE) continue;
        mkv_record_init(&files);
        files.state = MKV_WRITING;
        files.generation = first->generation;
        for (size_t k = i; k < j->nfiles && files.nreplicas < MKV_REPLICAS_MAX; k++) {
            struct merge_file *f = &j->files[k];

            if (f->verdict != MERGE_GARBAGE || f->generation != first->generation ||
                f->due != first->due)
                continue;
            files.replicas[files.nreplicas++] = f->at;
            f->verdict = MERGE_NOTHING;
        }
        (void)write_failed(
            r, build_garbage(r->build, mkv_slice(j->key, j->key_len), &files, first->due));
    }
}

static struct md5_read *free_read(struct rebuild_join *j)
{
    for (size_t i = 0; i < j->nreads; i++)
        if (!j->reads[i].busy) return &j->reads[i];
    return NULL;
}

static void merge_next(struct rebuild *r)
{
    struct rebuild_join *j = r->join;
    struct mkv_slice key;
    struct merge_result out;
    struct merge_input in;
    struct mkv_record old;
    bool has_old;
    enum mkv_err err;

    mkv_record_init(&old);
    if (!next_key(r, &old, &has_old)) goto out;
    key = mkv_slice(j->key, j->key_len);
    place(r);
    in = (struct merge_input){has_old ? &old : NULL, j->files, j->nfiles, j->placement,
                              r->cfg->nvolumes};
    err = merge_key(&in, &out);
    if (err) {
        rebuild_fail(r, err, NULL);
        goto out;
    }
    tell_merged(r, key, &in, &out);
    write_garbage(r);
    if (out.has_record && j->reads && !(out.findings & (MERGE_LOST | MERGE_AWAY))) {
        j->nbusy++;
        md5_start(free_read(j), key, &out.record);
    } else if (out.has_record) {
        join_write(r, key, &out.record);
    }
    mkv_record_clear(&out.record);
out:
    mkv_record_clear(&old);
}

/* ---- turns -------------------------------------------------------------------------------------- */

static void next_turn(struct rebuild_join *j)
{
    const struct timeval at_once = {0, 0};

    event_add(&j->turn, &at_once);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct rebuild *r = arg;
    struct rebuild_join *j = r->join;

    (void)fd;
    (void)what;
    for (int i = 0; i < SLICE_KEYS && !r->failed; i++) {
        if (j->reads && j->nbusy == j->nreads) return; /* on_read() goes on */
        j->ended = !j->has_old && !j->has_seen;
        if (j->ended) break;
        merge_next(r);
    }
    if (!j->ended)
        next_turn(j);
    else if (!j->nbusy)
        r->joined = true;
}

static void on_read(struct md5_read *m)
{
    struct rebuild *r = m->rebuild;

    join_write(r, mkv_slice(m->key, m->key_len), &m->record);
    r->join->nbusy--;
    next_turn(r->join);
}

enum mkv_err join_start(struct rebuild *r)
{
    struct rebuild_join *j = calloc(1, sizeof(*j));

    if (!j) return MKV_ENOMEM;
    r->join = j;
    event_assign(&j->turn, mkv_loop_base(r->job.loop), -1, 0, on_turn, r);
    j->old.index = r->old;
    mkv_walk_init(&j->old.walk, MKV_TABLE_RECORDS, 0, mkv_slice(NULL, 0), mkv_slice(NULL, 0));
    j->placement = calloc(r->cfg->nvolumes, sizeof(*j->placement));
    if (!j->placement) return MKV_ENOMEM;
    if (r->cfg->md5sum) {
        j->nreads = (size_t)(r->cfg->jobs + READS_PART - 1) / READS_PART;
        j->reads = calloc(j->nreads, sizeof(*j->reads));
        if (!j->reads) return MKV_ENOMEM;
        for (size_t i = 0; i < j->nreads; i++) {
            j->reads[i].rebuild = r;
            j->reads[i].done = on_read;
        }
    }
    if (step_old(r) && step_seen(r)) next_turn(j);
    return r->failed;
}

void join_close(struct rebuild *r)
{
    struct rebuild_join *j = r->join;

    if (!j) return;
    if (event_initialized(&j->turn)) event_del(&j->turn);
    for (size_t i = 0; j->reads && i < j->nreads; i++) md5_cancel(&j->reads[i]);
    free(j->reads);
    free(j->placement);
    free(j->files);
    free(j->old.data);
    free(j);
    r->join = NULL;
}
