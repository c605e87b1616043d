/* Files on the volumes that the index does not know.
 *
 * Whoever makes a file names it first, in a mark, and whoever forgets one has
 * deleted it, or put it on the list of garbage: so a file that is there and
 * that nothing names is nobody's.  But the listing, the index and the file are
 * not looked at in the same moment.  A candidate therefore waits for a while;
 * then it must still be there, and after that still not be named.
 *
 * A write may take the name of an orphan in the moment in which it is deleted.
 * So one is deleted at a time, and if its key names the file afterwards, the
 * copy is made anew before the next one's turn. */
#include "jobs/crawl.h"
#include "jobs/verify.h"
#include "mkv/log.h"
#include "mkv/name.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#define CANDIDATES_MAX 4096
#define GRACE_MS       2000 /* where a master is at work; else none               */
#define TICK_MS        50
#define FILE_PATH_MAX  (sizeof("/svFFFF") + MKV_PATH_MAX)
#define MARKED_MS      30000 /* a write that began just now should end within     */

enum orphan_step {
    ORPHAN_NEXT,    /* the oldest candidate waits until it is old enough        */
    ORPHAN_LOOK,    /* is it still there?                                       */
    ORPHAN_NAMED,   /* next turn: has anybody named it by now?                  */
    ORPHAN_SURE,    /* the turn after it: still nobody?                         */
    ORPHAN_DELETE,  /* its volume deletes it                                    */
    ORPHAN_AFTER,   /* next turn: has somebody taken its name at that moment?   */
    ORPHAN_FREE,    /* the turn after it: still nobody?                         */
    ORPHAN_RESTORE  /* somebody had: the copy is made anew                      */
};

struct candidate {
    struct candidate *next;
    uint64_t since_ms;
    struct mkv_replica replica;
    int64_t size;
    size_t len;
    char path[]; /* "/xx/yy/NAME", NUL-ended */
};

struct orphans {
    struct verify *v;          /* borrowed */
    struct crawl *crawl;       /* owned */
    bool crawled, full;
    struct candidate *first, **last; /* owned: the oldest first */
    size_t n;
    uint64_t known;            /* files that something names                     */
    uint64_t grace_ms;
    bool deletes;              /* -repair, and nothing speaks against it         */
    bool decided;              /* that it does                                   */
    enum orphan_step step;     /* of first                                       */
    char key[MKV_KEY_MAX];     /* of first, as of here                           */
    size_t key_len;
    uint64_t generation;
    const char *kind;
    struct mkv_exchange *x;    /* owned until it calls back                      */
    uint64_t deleted_ms;
    struct event tick, turn;
};

static struct mkv_slice key_of(const struct orphans *o)
{
    return mkv_slice(o->key, o->key_len);
}

/* ---- does the index know it? ----------------------------------------------------------- */

struct wanted {
    struct mkv_slice key;
    uint64_t generation;
    bool found;
};

static bool on_mark(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct wanted *w = arg;
    struct mkv_record mark;

    if (!mkv_slice_eq(key, w->key)) return false; /* it would have come first */
    mkv_record_init(&mark);
    w->found = mkv_record_decode(&mark, data, len) || mark.generation == w->generation;
    mkv_record_clear(&mark);
    return false;
}

/* Whether a write, or a move, that is under way may be making it, or whether it
 * is garbage.  An entry of a higher generation may stand for one of this: no
 * matter, it goes away. */
static bool is_passing(struct verify *v, struct mkv_slice key, uint64_t generation)
{
    struct wanted w = {.key = key, .generation = generation};
    struct mkv_walk walk;
    uint64_t next = 0;

    mkv_walk_init(&walk, MKV_TABLE_MARKS, 0, key, key);
    if (mkv_index_walk(v->job.index, &walk, 1, on_mark, &w) || w.found) return true;
    return mkv_index_next_generation(v->job.index, key, NULL, &next, NULL, NULL) ||
           next > generation;
}

static bool names(const struct mkv_record *rec, uint64_t generation, struct mkv_replica r)
{
    for (unsigned i = 0; i < rec->nreplicas; i++)
        if (rec->generation == generation && rec->replicas[i].volume == r.volume &&
            rec->replicas[i].subvolume == r.subvolume)
            return true;
    return false;
}

/* NULL: something names it, or may.  Else what kind of orphan it is. */
static const char *orphan_kind(struct verify *v, struct mkv_slice key, uint64_t generation,
                               struct mkv_replica r)
{
    const char *kind = "a copy that the index does not name";
    struct mkv_record rec;
    enum mkv_err err;

    mkv_record_init(&rec);
    err = mkv_index_get(v->job.index, key, &rec, NULL, NULL);
    if (err == MKV_ENOKEY)
        kind = "the index does not know its key";
    else if (err || names(&rec, generation, r))
        kind = NULL;
    else if (rec.generation > generation)
        kind = "an old generation of its key";
    else if (rec.generation < generation)
        kind = "a newer generation than the index has of its key";
    mkv_record_clear(&rec);
    return kind && !is_passing(v, key, generation) ? kind : NULL;
}

/* ---- candidates --------------------------------------------------------------------------- */

static void hold(struct orphans *o, const struct crawl_file *f, struct mkv_replica r)
{
    struct candidate *c = malloc(sizeof(*c) + f->path.len + 1);

    if (!c) {
        job_error(&o->v->job, mkv_slice(NULL, 0), "%s", mkv_strerror(MKV_ENOMEM));
        return;
    }
    *c = (struct candidate){.since_ms = mkv_loop_now(o->v->job.loop),
                            .replica = r,
                            .size = f->size,
                            .len = f->path.len};
    memcpy(c->path, f->path.data, f->path.len);
    c->path[f->path.len] = '\0';
    *o->last = c;
    o->last = &c->next;
    if (++o->n < CANDIDATES_MAX) return;
    o->full = true;
    crawl_pause(o->crawl, true);
}

static void drop_first(struct orphans *o)
{
    struct candidate *c = o->first;

    o->first = c->next;
    if (!o->first) o->last = &o->first;
    free(c);
    o->step = ORPHAN_NEXT;
    if (--o->n == CANDIDATES_MAX / 2 && !o->crawled) crawl_pause(o->crawl, false);
}

/* path: the volume's. */
static void say_foreign(struct orphans *o, size_t volume, struct mkv_slice path)
{
    struct mkv_slice name = o->v->job.cfg->volumes[volume];

    o->v->counts[COUNT_FOREIGN]++;
    verify_say(o->v, path, "on %.*s: foreign, no value's file: left alone", (int)name.len,
               name.data);
}

/* The volume's path of a file below a subvolume. */
static struct mkv_slice whole_path(char out[FILE_PATH_MAX], uint16_t subvolume,
                                   struct mkv_slice path)
{
    size_t len = mkv_replica_text(out, mkv_slice(NULL, 0), subvolume);

    memcpy(out + len, path.data, path.len);
    return mkv_slice(out, len + path.len);
}

static void on_file(const struct crawl_file *f, void *arg)
{
    struct orphans *o = arg;
    char path[FILE_PATH_MAX];
    struct mkv_replica r = {.volume = o->v->job.ids[f->volume], .subvolume = f->subvolume};
    char key[MKV_KEY_MAX];
    uint64_t generation;
    size_t len;

    o->v->counts[COUNT_FILES]++;
    if (!mkv_path_key(f->path, key, &len, &generation))
        say_foreign(o, f->volume, whole_path(path, f->subvolume, f->path));
    else if (orphan_kind(o->v, mkv_slice(key, len), generation, r))
        hold(o, f, r);
    else
        o->known++;
}

static void on_foreign(size_t volume, struct mkv_slice path, void *arg)
{
    say_foreign(arg, volume, path);
}

static void on_failed(size_t volume, struct mkv_slice path, const char *why, void *arg)
{
    struct orphans *o = arg;
    struct mkv_slice name = o->v->job.cfg->volumes[volume];

    job_error(&o->v->job, path, "on %.*s: can not be listed: %s", (int)name.len, name.data, why);
}

static void on_crawled(void *arg)
{
    struct orphans *o = arg;

    o->crawled = true;
}

/* ---- one orphan ------------------------------------------------------------------------------ */

static void report(struct orphans *o, const char *what)
{
    const struct candidate *c = o->first;
    char where[MKV_REPLICA_TEXT_MAX + 1];

    job_replica_text(&o->v->job, c->replica, where);
    if (what)
        job_error(&o->v->job, key_of(o), "orphan on %s, %lld bytes: %s: %s%s", where,
                  (long long)c->size, o->kind, c->path, what);
    else
        verify_say(o->v, key_of(o), "orphan on %s, %lld bytes: %s: deleted", where,
                   (long long)c->size, o->kind);
}

static bool ask(struct orphans *o, enum mkv_exchange_method method,
                const struct mkv_exchange_events *events)
{
    const struct candidate *c = o->first;
    char path[FILE_PATH_MAX];
    struct mkv_exchange_options opt = {.volume = job_volume(&o->v->job, c->replica.volume),
                                       .method = method};

    opt.path = whole_path(path, c->replica.subvolume, mkv_slice(c->path, c->len));
    return opt.volume && !mkv_exchange_start(&o->x, &opt, events, o);
}

static void next_turn(struct orphans *o, enum orphan_step step)
{
    const struct timeval at_once = {0, 0};

    o->step = step;
    event_add(&o->turn, &at_once);
}

static void on_looked(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct orphans *o = arg;
    struct mkv_slice name = mkv_index_volume_name(o->v->job.index, o->first->replica.volume);

    o->x = NULL;
    if (!err && status == 200) {
        next_turn(o, ORPHAN_NAMED);
        return;
    }
    if (err || status != 404)
        job_error(&o->v->job, key_of(o), "on %.*s: it can not be told whether it is an orphan: %s",
                  (int)name.len, name.data, err ? mkv_exchange_why(x) : "not the answer expected");
    drop_first(o);
    next_turn(o, ORPHAN_NEXT);
}

static void look(struct orphans *o)
{
    static const struct mkv_exchange_events events = {.done = on_looked};

    o->step = ORPHAN_LOOK;
    (void)mkv_path_key(mkv_slice(o->first->path, o->first->len), o->key, &o->key_len,
                       &o->generation); /* as in on_file() */
    if (ask(o, MKV_VOLUME_HEAD, &events)) return;
    job_error(&o->v->job, key_of(o), "%s", mkv_strerror(MKV_EVOLUME));
    drop_first(o);
    next_turn(o, ORPHAN_NEXT);
}

static void on_deleted(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct orphans *o = arg;

    o->x = NULL;
    if (!err && (status == 204 || status == 404)) {
        o->v->counts[COUNT_ORPHANS_DELETED]++;
        report(o, NULL);
    } else {
        report(o, ", which its volume did not delete");
        mkv_log_info("%s", err ? mkv_exchange_why(x) : "not the answer expected");
    }
    o->deleted_ms = mkv_loop_now(o->v->job.loop);
    next_turn(o, ORPHAN_AFTER);
}

/* A store has more files that are known than ones that are not.  Else this may
 * be the wrong index, and everything would be deleted. */
static bool may_delete(struct orphans *o)
{
    const struct mkv_config *cfg = o->v->job.cfg;

    if (o->decided) return o->deletes;
    o->decided = true;
    o->deletes = cfg->repair && !cfg->dry_run;
    if (!o->deletes || o->known >= o->n) return o->deletes;
    o->deletes = false;
    job_error(&o->v->job, mkv_slice(NULL, 0),
              "of the first %zu files the index %s does not know %zu: no orphan is deleted.  Is "
              "it the right index?  mkv-rebuild makes one of these files",
              (size_t)o->known + o->n, cfg->db, o->n);
    return false;
}

static void look_named(struct orphans *o)
{
    o->kind = orphan_kind(o->v, key_of(o), o->generation, o->first->replica);
    if (o->kind) {
        next_turn(o, ORPHAN_SURE);
        return;
    }
    drop_first(o);
    next_turn(o, ORPHAN_NEXT);
}

static void condemn(struct orphans *o)
{
    static const struct mkv_exchange_events events = {.done = on_deleted};
    const struct mkv_config *cfg = o->v->job.cfg;

    o->kind = orphan_kind(o->v, key_of(o), o->generation, o->first->replica);
    if (!o->kind) {
        drop_first(o);
        next_turn(o, ORPHAN_NEXT);
        return;
    }
    o->v->counts[COUNT_ORPHANS]++;
    if (may_delete(o) && ask(o, MKV_VOLUME_DELETE, &events)) {
        o->step = ORPHAN_DELETE;
        return;
    }
    report(o, cfg->repair && cfg->dry_run ? ", would be deleted" : "");
    drop_first(o);
    next_turn(o, ORPHAN_NEXT);
}

/* ---- a name taken in the moment of its deletion ----------------------------------------------- */

static void on_restored(enum mkv_err err, const char *why, void *arg)
{
    struct orphans *o = arg;

    if (err && err != MKV_ENOKEY)
        job_error(&o->v->job, key_of(o),
                  "written while an orphan of its name was deleted, and one copy with it: %s", why);
    drop_first(o);
    next_turn(o, ORPHAN_NEXT);
}

/* False: it need not, or could not, be done. */
static bool restore(struct orphans *o)
{
    struct mkv_record rec;
    unsigned flags = 0;
    enum mkv_err err;

    mkv_record_init(&rec);
    err = mkv_index_get(o->v->job.index, key_of(o), &rec, NULL, NULL);
    if (!err && rec.state == MKV_UNLINKED) flags = MKV_MOVE_UNLINKED;
    mkv_record_clear(&rec);
    if (!err) err = job_move(&o->v->job, key_of(o), flags, on_restored, o);
    if (!err)
        o->step = ORPHAN_RESTORE;
    else if (err != MKV_ENOKEY)
        job_error(&o->v->job, key_of(o), "written while an orphan was deleted: %s",
                  mkv_strerror(err));
    return !err;
}

/* A write under way is waited for: what it stored here may be gone. */
static void look_after(struct orphans *o)
{
    uint64_t waited = mkv_loop_now(o->v->job.loop) - o->deleted_ms;

    if (orphan_kind(o->v, key_of(o), o->generation, o->first->replica)) {
        if (o->step == ORPHAN_AFTER) {
            next_turn(o, ORPHAN_FREE);
            return;
        }
    } else {
        o->step = ORPHAN_AFTER;
        if (is_passing(o->v, key_of(o), o->generation) && waited < MARKED_MS &&
            !o->v->job.stopping)
            return; /* the next tick looks again */
        if (restore(o)) return;
    }
    drop_first(o);
    next_turn(o, ORPHAN_NEXT);
}

/* ---- the walk ----------------------------------------------------------------------------------- */

/* Deletion begins when there is enough to decide whether it may. */
static bool is_ready(const struct orphans *o)
{
    return o->first && (o->crawled || o->full) &&
           mkv_loop_now(o->v->job.loop) - o->first->since_ms >= o->grace_ms;
}

static void step_on(struct orphans *o)
{
    struct verify *v = o->v;

    switch (o->step) {
    case ORPHAN_NEXT:
        if (v->job.stopping || (o->crawled && !o->first))
            mkv_loop_stop(v->job.loop);
        else if (is_ready(o))
            look(o);
        break;
    case ORPHAN_NAMED: look_named(o); break;
    case ORPHAN_SURE: condemn(o); break;
    case ORPHAN_AFTER:
    case ORPHAN_FREE: look_after(o); break;
    case ORPHAN_LOOK:
    case ORPHAN_DELETE:
    case ORPHAN_RESTORE: break; /* they call back */
    }
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    step_on(arg);
}

static enum mkv_err start(struct orphans *o)
{
    static const struct crawl_events events = {on_file, on_foreign, on_failed, on_crawled};
    const struct mkv_config *cfg = o->v->job.cfg;
    const struct crawl_options opt = {.loop = o->v->job.loop,
                                      .volumes = o->v->job.volumes,
                                      .names = cfg->volumes,
                                      .nnames = cfg->nvolumes,
                                      .jobs = (size_t)cfg->jobs};
    const struct timeval tick = {0, TICK_MS * 1000};
    struct event_base *base = mkv_loop_base(o->v->job.loop);

    event_assign(&o->turn, base, -1, 0, on_event, o);
    event_assign(&o->tick, base, -1, EV_PERSIST, on_event, o);
    if (event_add(&o->tick, &tick)) return MKV_ENOMEM;
    return crawl_start(&o->crawl, &opt, &events, o);
}

void verify_orphans(struct verify *v)
{
    struct orphans o = {.v = v, .grace_ms = v->beside ? GRACE_MS : 0};
    enum mkv_err err;

    o.last = &o.first;
    err = start(&o);
    if (err)
        job_error(&v->job, mkv_slice(NULL, 0), "the volumes can not be walked: %s",
                  mkv_strerror(err));
    else
        mkv_loop_run(v->job.loop);
    if (o.x) mkv_exchange_cancel(o.x);
    crawl_close(o.crawl);
    event_del(&o.tick);
    event_del(&o.turn);
    while (o.first) drop_first(&o);
}
