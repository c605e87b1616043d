/* REBALANCE: one value to where it belongs, and missing copies made anew. */
#include "store/store.h"

#include "mkv/log.h"
#include "net/look.h"
#include "store/copy.h"
#include "store/erase.h"
#include "store/sweep.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>

#define WHY_MAX   (MKV_REPLICA_TEXT_MAX + 256)
#define LOOKS_MAX 3 /* a volume that hesitated under load is asked again */
#define WAIT_MS   5 /* how often it is looked whether the sweeper is done  */

enum move_step {
    MOVE_TURN,   /* clients are being served: not too many moves at once           */
    MOVE_WAIT,   /* the sweeper is deleting old files of this key: after it        */
    MOVE_LOOK,   /* ask the copies that the record names whether they are good     */
    MOVE_MARK,   /* index: note which volumes may soon hold files of this move     */
    MOVE_COPY,   /* from a good copy to each place that lacks one, one by one      */
    MOVE_COMMIT, /* index: the record names the new places, what is left is garbage */
    MOVE_UNDO,   /* delete the copies that were made                               */
    MOVE_UNMARK, /* index: the mark is gone, what could not be deleted is garbage  */
    MOVE_DONE    /* caller told; freed at the end of this loop turn                */
};

static const char *const step_name[] = {"turn",   "wait", "look",   "mark", "copy",
                                        "commit", "undo", "unmark", "done"};

struct mkv_move {
    struct store_op op;
    struct turn turn;
    struct mkv_store *store;     /* borrowed */
    struct keylock lock;         /* no write meanwhile... */
    struct keylock move_lock;    /* ...and no sweep begins */
    struct event wait;
    char key[MKV_KEY_MAX];
    size_t key_len;
    uint8_t md5[MKV_MD5_LEN];    /* of the key */
    enum move_step step;
    enum mkv_err result;
    char why[WHY_MAX];
    unsigned flags;
    bool deep;                   /* read the copies */
    bool asking_index, dropped;
    struct mkv_record record;    /* as the index has it; at the end: as it shall have it */
    struct mkv_replica wanted[MKV_REPLICAS_MAX]; /* where placement wants it */
    unsigned nwanted;
    struct look look;            /* copies[i]: the record's replicas[i] */
    unsigned looks;
    int64_t size;                /* of the value */
    bool good[MKV_REPLICAS_MAX]; /* the record's replicas[i] is whole, as far as is known */
    struct mkv_replica targets[MKV_REPLICAS_MAX]; /* to be written */
    unsigned ntargets, written;
    unsigned source;             /* which good copy is read */
    bool marked, target_failed;
    struct mkv_record files;     /* without fields: of the mark, of undoing, of garbage */
    struct copy *copy;           /* owned until it calls back */
    struct erase erase;
    mkv_moved *done;             /* NULL: nobody waits */
    void *arg;
    struct mkv_retired retired;
};

static void move_go(struct mkv_move *m, enum move_step next);

static struct mkv_slice key_of(const struct mkv_move *m)
{
    return mkv_slice(m->key, m->key_len);
}

static void destroy(void *arg)
{
    struct mkv_move *m = arg;

    mkv_record_clear(&m->record);
    free(m);
}

static bool is_in(struct mkv_replica r, const struct mkv_replica *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (store_same_replica(list[i], r)) return true;
    return false;
}

static bool in_record(const struct mkv_move *m, struct mkv_replica r)
{
    return is_in(r, m->record.replicas, m->record.nreplicas);
}

/* Files of this value's generation, on no replica yet. */
static void begin_files(struct mkv_move *m)
{
    mkv_record_init(&m->files);
    m->files.state = MKV_WRITING;
    m->files.generation = m->record.generation;
    m->files.mtime = mkv_loop_wall(m->store->loop); /* of garbage: since when */
}

static void add_file(struct mkv_move *m, struct mkv_replica r)
{
    m->files.replicas[m->files.nreplicas++] = r;
}

/* ---- failing ----------------------------------------------------------------------- */

static void fail(struct mkv_move *m, enum mkv_err err, const char *why)
{
    m->result = err;
    snprintf(m->why, sizeof(m->why), "%s", why);
    move_go(m, MOVE_UNDO);
}

static void fail_about(struct mkv_move *m, struct mkv_replica r, const char *what,
                       const char *reason)
{
    char text[MKV_REPLICA_TEXT_MAX + 1], why[WHY_MAX];
    struct mkv_slice name = mkv_index_volume_name(m->store->index, r.volume);

    text[mkv_replica_text(text, name, r.subvolume)] = '\0';
    snprintf(why, sizeof(why), "%s %s%s%s", text, what, reason[0] ? ": " : "", reason);
    fail(m, MKV_ECANNOTMOVE, why);
}

/* Every index callback begins with this: true where the store is closing. */
static bool answered(struct mkv_move *m)
{
    m->asking_index = false;
    if (m->dropped) mkv_loop_retire(m->store->loop, &m->retired, destroy, m);
    return m->dropped;
}

static enum mkv_err ask_index(struct mkv_move *m, const struct mkv_index_change *change,
                              mkv_done *done)
{
    enum mkv_err err = mkv_index_apply(m->store->index, change, done, m);

    m->asking_index = !err;
    return err;
}

/* ---- the turn --------------------------------------------------------------------------- */

/* MKV_EBUSY; MKV_ENOKEY where there is no such key, or none in the state asked for. */
static enum mkv_err take_key(struct mkv_move *m)
{
    enum mkv_state state = m->flags & MKV_MOVE_UNLINKED ? MKV_UNLINKED : MKV_LIVE;
    struct mkv_store *s = m->store;
    enum mkv_err err;

    if (keylock_held(&s->locks, key_of(m), m->md5)) return MKV_EBUSY;
    mkv_record_clear(&m->record);
    err = mkv_index_get(s->index, key_of(m), &m->record, NULL, NULL);
    if (!err && m->record.state != state) err = MKV_ENOKEY;
    if (err) return err;
    keylock_take(&s->locks, &m->lock, key_of(m), m->md5);
    keylock_join(&s->moves, &m->move_lock, key_of(m), m->md5);
    return MKV_OK;
}

static void release_key(struct mkv_move *m)
{
    keylock_release(&m->lock);
    keylock_release(&m->move_lock);
}

/* It waited without a lock: others may have done anything with the key. */
static void on_turn(void *arg)
{
    struct mkv_move *m = arg;
    enum mkv_err err = take_key(m);

    if (!err) {
        move_go(m, MOVE_WAIT);
        return;
    }
    m->result = err;
    snprintf(m->why, sizeof(m->why), "%s", mkv_strerror(err));
    move_go(m, MOVE_DONE);
}

/* The volumes that it will keep busy, as far as the record tells.  Where it wants no
 * new place, copies are missing somewhere, and are made anew there. */
static void foresee_volumes(struct mkv_move *m)
{
    struct turn *t = &m->turn;
    unsigned sources = m->deep ? m->record.nreplicas : 1;

    for (unsigned i = 0; i < m->nwanted; i++)
        if (!in_record(m, m->wanted[i])) turn_will_use(t, m->wanted[i].volume);
    if (t->nvolumes == 0)
        for (unsigned i = 0; i < m->nwanted; i++) turn_will_use(t, m->wanted[i].volume);
    for (unsigned i = 0; i < m->record.nreplicas && i < sources; i++)
        turn_will_use(t, m->record.replicas[i].volume);
}

static void enter_turn(struct mkv_move *m)
{
    foresee_volumes(m);
    if (turns_take(m->store, &m->turn, on_turn, m))
        move_go(m, MOVE_WAIT);
    else
        release_key(m);
}

/* ---- wait, look -------------------------------------------------------------------------- */

/* Its DELETEs may be for the very files that are about to be written. */
static void enter_wait(struct mkv_move *m)
{
    const struct timeval soon = {0, WAIT_MS * 1000};

    if (keylock_held(&m->store->sweeps, key_of(m), m->md5))
        event_add(&m->wait, &soon);
    else
        move_go(m, MOVE_LOOK);
}

static void on_waited(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    move_go(arg, MOVE_WAIT);
}

static void on_looked(struct look *look, void *arg);

static void enter_look(struct mkv_move *m)
{
    char key_path[MKV_PATH_MAX], path[STORE_PATH_MAX];
    size_t len = mkv_key_path_md5(key_path, key_of(m), m->md5, m->record.generation);

    m->looks++;
    look_init(&m->look, m->store->loop, m->deep, on_looked, m);
    for (unsigned i = 0; i < m->record.nreplicas; i++) {
        struct mkv_replica r = m->record.replicas[i];
        size_t n = store_file_path(path, r, mkv_slice(key_path, len));

        look_at(&m->look, store_volume(m->store, r.volume), mkv_slice(path, n));
    }
    look_go(&m->look);
}

static bool is_found(const struct mkv_move *m, unsigned i)
{
    return m->look.copies[i].verdict == LOOK_FOUND;
}

/* Whether the copies that are there have one size; which: *size, -1 without any. */
static bool sizes_agree(const struct mkv_move *m, int64_t *size)
{
    *size = -1;
    for (unsigned i = 0; i < m->record.nreplicas; i++) {
        if (!is_found(m, i)) continue;
        if (*size >= 0 && *size != m->look.copies[i].size) return false;
        *size = m->look.copies[i].size;
    }
    return true;
}

/* A copy that was read, and whose MD5 the index knows, needs no size. */
static bool is_good(const struct mkv_move *m, unsigned i)
{
    const struct look_copy *c = &m->look.copies[i];

    if (!is_found(m, i) || (m->record.size >= 0 && c->size != m->record.size)) return false;
    if (!m->deep || !m->record.has_md5) return true;
    return memcmp(c->md5, m->record.md5, MKV_MD5_LEN) == 0;
}

/* Without an MD5 in the index the copies can only be held against each other. */
static bool good_ones_agree(const struct mkv_move *m)
{
    int first = -1;

    for (unsigned i = 0; i < m->record.nreplicas; i++) {
        if (!m->good[i]) continue;
        if (first < 0) first = (int)i;
        if (m->look.copies[i].size != m->look.copies[first].size ||
            (m->deep && memcmp(m->look.copies[i].md5, m->look.copies[first].md5, MKV_MD5_LEN) != 0))
            return false;
    }
    return true;
}

/* Adopted values may be of unknown size: then sizes that differ ask for a
 * closer look, which only an MD5 makes possible. */
static bool judge(struct mkv_move *m)
{
    int64_t size;

    if (m->record.size < 0 && !m->deep && m->record.has_md5 && !sizes_agree(m, &size)) {
        m->deep = true;
        move_go(m, MOVE_LOOK);
        return false;
    }
    m->size = m->record.size;
    for (unsigned i = 0; i < m->record.nreplicas; i++) {
        m->good[i] = is_good(m, i);
        if (m->good[i])
            m->size = m->look.copies[i].size;
        else
            probe_forget(m->store->probes, m->md5); /* readers must not be sent there unasked */
    }
    if (good_ones_agree(m)) return true;
    fail(m, MKV_ECANNOTMOVE,
         "the copies differ and no MD5 is known that tells which is right: nothing was changed");
    return false;
}

/* A place where the value belongs, and which says nothing of its copy; -1: none. */
static int find_unasked(const struct mkv_move *m)
{
    for (unsigned i = 0; i < m->record.nreplicas; i++)
        if (m->look.copies[i].verdict == LOOK_UNASKED &&
            is_in(m->record.replicas[i], m->wanted, m->nwanted))
            return (int)i;
    return -1;
}

static int find_good(const struct mkv_move *m)
{
    for (unsigned i = 0; i < m->record.nreplicas; i++)
        if (m->good[i]) return (int)i;
    return -1;
}

static void fail_without_source(struct mkv_move *m)
{
    for (unsigned i = 0; i < m->record.nreplicas; i++)
        if (m->look.copies[i].verdict == LOOK_UNASKED) {
            fail_about(m, m->record.replicas[i],
                       "may have the only good copy and can not be asked", m->look.copies[i].why);
            return;
        }
    fail(m, MKV_ECANNOTMOVE, "no good copy: the value is missing or damaged on every volume");
}

static void add_target(struct mkv_move *m, struct mkv_replica r)
{
    m->targets[m->ntargets++] = r;
}

/* What is to be written, and the mark for what lies outside of the record. */
static void choose_targets(struct mkv_move *m)
{
    m->ntargets = m->written = 0;
    begin_files(m);
    for (unsigned w = 0; w < m->nwanted; w++) {
        bool has = false;

        for (unsigned i = 0; i < m->record.nreplicas; i++)
            has |= m->good[i] && store_same_replica(m->record.replicas[i], m->wanted[w]);
        if (has) continue;
        add_target(m, m->wanted[w]);
        if (!in_record(m, m->wanted[w])) add_file(m, m->wanted[w]);
    }
}

static bool is_placed(const struct mkv_move *m)
{
    if (m->record.nreplicas != m->nwanted) return false;
    for (unsigned i = 0; i < m->nwanted; i++)
        if (!store_same_replica(m->record.replicas[i], m->wanted[i])) return false;
    return true;
}

static void on_looked(struct look *look, void *arg)
{
    struct mkv_move *m = arg;
    int unasked, source;

    (void)look;
    if (!judge(m)) return;
    unasked = find_unasked(m);
    source = find_good(m);
    if (unasked >= 0 && m->looks < LOOKS_MAX) {
        move_go(m, MOVE_LOOK);
        return;
    }
    if (source < 0) {
        fail_without_source(m);
        return;
    }
    if (unasked >= 0) {
        fail_about(m, m->record.replicas[unasked], "can not be asked for its copy",
                   m->look.copies[unasked].why);
        return;
    }
    m->source = (unsigned)source;
    choose_targets(m);
    if (m->ntargets)
        move_go(m, m->files.nreplicas ? MOVE_MARK : MOVE_COPY);
    else
        move_go(m, is_placed(m) ? MOVE_DONE : MOVE_COMMIT);
}

/* ---- mark, copy --------------------------------------------------------------------- */

static void on_marked(enum mkv_err err, void *arg)
{
    struct mkv_move *m = arg;

    if (answered(m)) return;
    m->marked = !err;
    if (err)
        fail(m, err, mkv_strerror(err));
    else
        move_go(m, MOVE_COPY);
}

static void enter_mark(struct mkv_move *m)
{
    const struct mkv_index_change change = {
        .key = key_of(m), .mark_op = MKV_SET, .mark = &m->files};
    enum mkv_err err = ask_index(m, &change, on_marked);

    if (err) fail(m, err, mkv_strerror(err));
}

/* The source turned out to be none: on with the next.  Where it belongs there,
 * it is made anew as well. */
static void leave_source(struct mkv_move *m)
{
    struct mkv_replica bad = m->record.replicas[m->source];
    int next;

    m->good[m->source] = false;
    if (is_in(bad, m->wanted, m->nwanted)) add_target(m, bad);
    next = find_good(m);
    if (next < 0) {
        fail_about(m, bad, "has a damaged copy, or can not be read, and no other is good", "");
        return;
    }
    m->source = (unsigned)next;
    move_go(m, MOVE_COPY);
}

static void target_failed(struct mkv_move *m)
{
    struct mkv_volume *v = store_volume(m->store, m->targets[m->written].volume);
    struct mkv_volume_stats stats = {.last_error = ""};

    if (v) mkv_volume_stats(v, &stats);
    m->target_failed = true;
    fail_about(m, m->targets[m->written], "did not store its copy", stats.last_error);
}

static void on_copied(enum copy_verdict verdict, void *arg)
{
    struct mkv_move *m = arg;

    m->copy = NULL;
    switch (verdict) {
    case COPY_DONE:
        m->written++;
        move_go(m, MOVE_COPY);
        break;
    case COPY_SOURCE_BAD: leave_source(m); break;
    case COPY_TARGET_BAD: target_failed(m); break;
    }
}

/* Entered again after each copy. */
static void enter_copy(struct mkv_move *m)
{
    struct copy_options opt = {.key = key_of(m),
                               .from = m->record.replicas[m->source],
                               .from_generation = m->record.generation,
                               .to_generation = m->record.generation,
                               .size = m->size,
                               .mtime = -1, /* the source's: the record's may be newer */
                               .md5 = m->record.has_md5 ? m->record.md5 : NULL};

    if (m->written == m->ntargets) {
        move_go(m, MOVE_COMMIT);
        return;
    }
    opt.to = m->targets[m->written];
    if (copy_start(&m->copy, m->store, &opt, on_copied, m)) on_copied(COPY_TARGET_BAD, m);
}

/* ---- commit --------------------------------------------------------------------------- */

static void on_committed(enum mkv_err err, void *arg)
{
    struct mkv_move *m = arg;

    if (answered(m)) return;
    if (err) {
        fail(m, err, mkv_strerror(err));
        return;
    }
    probe_forget(m->store->probes, m->md5);
    move_go(m, MOVE_DONE);
}

/* Readers who have just been redirected still find the old files for a while;
 * beside no server there are none. */
static int64_t garbage_due(const struct mkv_move *m)
{
    bool serving = m->store->cfg->program == MKV_PROGRAM_SERVER;

    return mkv_loop_wall(m->store->loop) + (serving ? SWEEP_SUPERSEDED_S : 0);
}

static void enter_commit(struct mkv_move *m)
{
    struct mkv_index_change change = {.key = key_of(m), .garbage_due = garbage_due(m)};
    struct mkv_record now = m->record; /* borrows the fields */
    enum mkv_err err;

    if (!m->marked && is_placed(m)) { /* copies made anew where the record has them already */
        probe_forget(m->store->probes, m->md5);
        move_go(m, MOVE_DONE);
        return;
    }
    now.size = m->size;
    now.nreplicas = m->nwanted;
    memcpy(now.replicas, m->wanted, sizeof(m->wanted));
    begin_files(m);
    for (unsigned i = 0; i < m->record.nreplicas; i++)
        if (!is_in(m->record.replicas[i], m->wanted, m->nwanted))
            add_file(m, m->record.replicas[i]);
    change.record_op = MKV_SET;
    change.record = &now;
    change.mark_op = m->marked ? MKV_REMOVE : MKV_KEEP;
    if (m->files.nreplicas) change.garbage = &m->files;
    err = ask_index(m, &change, on_committed);
    if (err) fail(m, err, mkv_strerror(err));
}

/* ---- undo, done ------------------------------------------------------------------------- */

static void on_unmarked(enum mkv_err err, void *arg)
{
    struct mkv_move *m = arg;

    if (answered(m)) return;
    if (err) m->store->stale_marks++; /* the sweeper tries again */
    move_go(m, MOVE_DONE);
}

static void enter_unmark(struct mkv_move *m)
{
    int64_t now = mkv_loop_wall(m->store->loop);
    struct mkv_index_change change = {.key = key_of(m), .mark_op = MKV_REMOVE};

    if (!m->marked) {
        move_go(m, MOVE_DONE);
        return;
    }
    m->files.nreplicas = m->erase.files.nreplicas; /* those could not be deleted */
    memcpy(m->files.replicas, m->erase.files.replicas, sizeof(m->files.replicas));
    change.garbage_due = now + SWEEP_RETRY_MIN_S;
    if (m->target_failed && !in_record(m, m->targets[m->written])) {
        add_file(m, m->targets[m->written]);
        change.garbage_due = now + SWEEP_AMBIGUOUS_S;
    }
    if (m->files.nreplicas) change.garbage = &m->files;
    if (ask_index(m, &change, on_unmarked)) {
        m->store->stale_marks++;
        move_go(m, MOVE_DONE);
    }
}

static void on_erased(struct erase *e, void *arg)
{
    (void)e;
    move_go(arg, MOVE_UNMARK);
}

/* Copies made where the record has its own stay: they are good ones.  The volume
 * that failed is not waited for, since it may hang: its file is garbage. */
static void enter_undo(struct mkv_move *m)
{
    begin_files(m);
    for (unsigned i = 0; i < m->written; i++)
        if (!in_record(m, m->targets[i])) add_file(m, m->targets[i]);
    erase_start(&m->erase, m->store, key_of(m), &m->files, on_erased, m);
}

static void enter_done(struct mkv_move *m)
{
    release_key(m); /* before the answer: its reader may write at once */
    if (m->done) m->done(m->result, m->why, m->arg);
    if (m->ntargets == 0 && !m->deep) turn_used_none(&m->turn);
    turns_leave(m->store, &m->turn);
    store_op_end(m->store, &m->op);
    mkv_loop_retire(m->store->loop, &m->retired, destroy, m);
}

static void move_go(struct mkv_move *m, enum move_step next)
{
    static void (*const enter[])(struct mkv_move *) = {
        [MOVE_TURN] = enter_turn, [MOVE_WAIT] = enter_wait,     [MOVE_LOOK] = enter_look,
        [MOVE_MARK] = enter_mark, [MOVE_COPY] = enter_copy,     [MOVE_COMMIT] = enter_commit,
        [MOVE_UNDO] = enter_undo, [MOVE_UNMARK] = enter_unmark, [MOVE_DONE] = enter_done};

    mkv_log_debug("move %p: %s -> %s", (void *)m, step_name[m->step], step_name[next]);
    m->step = next;
    enter[next](m);
}

/* ---- from outside ------------------------------------------------------------------------ */

static void drop(struct store_op *op)
{
    struct mkv_move *m = (struct mkv_move *)op;

    m->dropped = true;
    event_del(&m->wait);
    look_cancel(&m->look);
    copy_cancel(m->copy);
    erase_cancel(&m->erase);
    release_key(m);
    turns_leave(m->store, &m->turn);
    store_op_end(m->store, op);
    if (!m->asking_index) mkv_loop_retire(m->store->loop, &m->retired, destroy, m);
}

static void place(struct mkv_move *m)
{
    struct mkv_replica ordered[MKV_VOLUMES_MAX];

    m->nwanted = (unsigned)m->store->cfg->replicas;
    store_place(m->store, key_of(m), ordered);
    for (unsigned i = 0; i < m->nwanted; i++) m->wanted[i] = ordered[i];
}

enum mkv_err mkv_store_move(struct mkv_store *store, struct mkv_slice key, unsigned flags,
                            struct mkv_move **out, mkv_moved *done, void *arg)
{
    struct mkv_move *m;
    enum mkv_err err;

    if (key.len > MKV_KEY_MAX) return MKV_ENOKEY;
    m = calloc(1, sizeof(*m));
    if (!m) return MKV_ENOMEM;
    mkv_record_init(&m->record);
    m->store = store;
    memcpy(m->key, key.data, key.len);
    m->key_len = key.len;
    mkv_md5(key, m->md5);
    m->flags = flags;
    m->deep = flags & MKV_MOVE_DEEP;
    m->done = done;
    m->arg = arg;
    err = take_key(m);
    if (err) {
        destroy(m);
        return err;
    }
    place(m);
    store_op_begin(store, &m->op, drop);
    event_assign(&m->wait, mkv_loop_base(store->loop), -1, 0, on_waited, m);
    *out = m;
    move_go(m, MOVE_TURN);
    return MKV_OK;
}

void mkv_move_forget(struct mkv_move *m)
{
    m->done = NULL;
    if (m->turn.step == TURN_WAITS) drop(&m->op);
}
