#include "jobs/crawl.h"

#include "mkv/listing.h"
#include "mkv/name.h"
#include "mkv/place.h"
#include "mkv/record.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>

#define CRAWL_BATCH   8 /* listings that leave together: as many as share a connection */
#define CRAWL_BATCHES 4 /* of a volume at once, so that more than one of its workers has work */

#define BUFFER_FIRST (8 * 1024)   /* most listings are shorter               */
#define BUFFER_KEEP  (256 * 1024) /* a larger buffer is not kept for the next */
#define PATH_MAX_LEN (sizeof("/svFFFF") + MKV_PATH_MAX) /* below the volume */

enum level {
    LEVEL_ROOT,      /* "/": svXX and xx are in it                   */
    LEVEL_SUBVOLUME, /* "/svXX/": xx                                 */
    LEVEL_XX,        /* ".../xx/": yy                                */
    LEVEL_YY         /* ".../yy/" and below: values, parts of names  */
};

struct dir {
    struct dir *next;   /* further down the volume's stack */
    size_t volume;
    uint16_t subvolume;
    enum level level;
    size_t base;        /* of path: the length of "/svXX"  */
    size_t len;
    char path[];        /* "/svXX/xx/yy/", NUL-ended       */
};

struct crawl_volume {
    struct mkv_volume *volume; /* borrowed */
    struct dir *stack;         /* owned: waiting, the deepest first */
    size_t busy;               /* slots on it */
    unsigned each_us;          /* what one listing takes it, on average */
    unsigned unanswered;       /* listings in a row */
};

enum slot_step {
    SLOT_FREE,
    SLOT_ASK,  /* the listing is on its way        */
    SLOT_WAIT  /* it failed; once more after a while */
};

struct slot {
    struct crawl *crawl;     /* borrowed */
    struct slot *next_free;
    enum slot_step step;
    struct dir *dir;         /* owned */
    uint64_t asked_ms;       /* on the loop's clock */
    unsigned tries;
    struct mkv_exchange *x;  /* owned; NULL: none under way */
    bool paused;             /* x is: too much is buffered   */
    bool too_long;
    bool told;               /* entries of this listing      */
    char *data;              /* owned: the listing so far    */
    size_t len, size;
    struct event retry;
};

struct crawl {
    struct crawl_options opt;
    struct crawl_events events;
    void *arg;                    /* the caller's */
    struct crawl_volume *volumes; /* owned */
    size_t active;                /* volumes that are not done */
    size_t at;                    /* the volume whose turn it is */
    struct slot *slots;           /* owned: opt.jobs of them */
    struct slot *free;            /* of slots */
    size_t buffered;              /* bytes of all listings under way */
    bool paused, ended;
    bool out_of_memory;           /* from then on every listing fails */
    struct mkv_chore go_on;
    struct mkv_retired retired;
    struct crawl_stats stats;
};

/* ---- names ------------------------------------------------------------------------- */

static bool is_hex(char c, char first_letter)
{
    return (c >= '0' && c <= '9') || (c >= first_letter && c < first_letter + 6);
}

/* "00" to "ff": the two levels made of the MD5. */
static bool is_xx(struct mkv_slice name)
{
    return name.len == 2 && is_hex(name.data[0], 'a') && is_hex(name.data[1], 'a');
}

/* "sv00" to "svFFFE", as mkv_replica_text() writes them. */
static bool is_subvolume(struct mkv_slice name, uint16_t *number)
{
    char text[MKV_REPLICA_TEXT_MAX];
    unsigned value = 0;
    size_t len;

    if (name.len < 4 || name.len > 6 || memcmp(name.data, "sv", 2) != 0) return false;
    for (size_t i = 2; i < name.len; i++) {
        char c = name.data[i];

        if (!is_hex(c, 'A')) return false;
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
    }
    if (value >= MKV_NO_SUBVOLUME) return false;
    *number = (uint16_t)value;
    len = mkv_replica_text(text, mkv_slice(NULL, 0), value);
    return len == name.len + 1 && memcmp(text + 1, name.data, name.len) == 0;
}

/* What the part of a value's name before a '/' may be: base64, or a cut. */
static bool is_part(struct mkv_slice name)
{
    size_t len = name.len;

    if (len == MKV_NAME_CUT + 1 && name.data[len - 1] == '-') len--;
    for (size_t i = 0; i < len; i++) {
        char c = name.data[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '+'))
            return false;
    }
    return true;
}

/* What servers keep beside the values, ours (hidden: it begins with a dot) and
 * the original's. */
static bool is_working_file(struct mkv_slice name)
{
    static const struct mkv_slice known[] = {{"body_temp", 9}, {"tmp", 3}, {"nginx.pid", 9},
                                             {"lost+found", 10}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (mkv_slice_eq(name, known[i])) return true;
    return name.data[0] == '.';
}

/* ---- directories that wait ------------------------------------------------------------ */

static struct dir *new_dir(const struct dir *parent, struct mkv_slice name)
{
    size_t len = parent->len + name.len + 1;
    struct dir *d = malloc(sizeof(*d) + len + 1);

    if (!d) return NULL;
    *d = *parent;
    d->len = len;
    memcpy(d->path, parent->path, parent->len);
    memcpy(d->path + parent->len, name.data, name.len);
    memcpy(d->path + len - 1, "/", 2);
    return d;
}

static bool push_root(struct crawl_volume *v, size_t volume)
{
    struct dir *d = malloc(sizeof(*d) + 2);

    if (!d) return false;
    *d = (struct dir){.volume = volume, .subvolume = MKV_NO_SUBVOLUME, .len = 1};
    memcpy(d->path, "/", 2);
    v->stack = d;
    return true;
}

static size_t drop_stack(struct crawl_volume *v)
{
    struct dir *d;
    size_t n = 0;

    while ((d = v->stack)) {
        v->stack = d->next;
        free(d);
        n++;
    }
    return n;
}

/* ---- entries ---------------------------------------------------------------------------- */

static void tell_foreign(struct crawl *c, const struct dir *d, const struct mkv_listing_entry *e)
{
    char *path;

    if (d->level == LEVEL_ROOT && is_working_file(e->name)) return;
    c->stats.foreign++;
    path = malloc(d->len + e->name.len + 1);
    if (!path) return;
    memcpy(path, d->path, d->len);
    memcpy(path + d->len, e->name.data, e->name.len);
    path[d->len + e->name.len] = '/';
    c->events.foreign(d->volume, mkv_slice(path, d->len + e->name.len + e->is_directory), c->arg);
    free(path);
}

static void tell_file(struct crawl *c, const struct dir *d, const struct mkv_listing_entry *e)
{
    char path[MKV_PATH_MAX];
    size_t len = d->len - d->base;
    struct crawl_file f = {d->volume, d->subvolume, mkv_slice(path, len + e->name.len), e->size,
                           e->mtime};

    memcpy(path, d->path + d->base, len);
    memcpy(path + len, e->name.data, e->name.len);
    c->stats.files++;
    c->events.file(&f, c->arg);
}

/* The level that name opens below d; false where no value can be there. */
static bool goes_on(const struct dir *d, struct mkv_slice name, enum level *level)
{
    uint16_t ignored;

    *level = d->level + 1;
    switch (d->level) {
    case LEVEL_ROOT:
        if (is_xx(name)) *level = LEVEL_XX;
        return *level == LEVEL_XX || is_subvolume(name, &ignored);
    case LEVEL_SUBVOLUME:
    case LEVEL_XX: return is_xx(name);
    case LEVEL_YY: *level = LEVEL_YY; return is_part(name);
    }
    return false;
}

static bool on_entry(const struct mkv_listing_entry *e, void *arg)
{
    struct slot *s = arg;
    struct crawl *c = s->crawl;
    const struct dir *d = s->dir;
    struct dir *below;
    enum level level;

    s->told = true;
    if (d->len - d->base + e->name.len + 1 >= MKV_PATH_MAX ||
        (e->is_directory ? !goes_on(d, e->name, &level) : d->level != LEVEL_YY)) {
        tell_foreign(c, d, e);
        return true;
    }
    if (!e->is_directory) {
        tell_file(c, d, e);
        return true;
    }
    below = new_dir(d, e->name);
    c->out_of_memory = !below;
    if (!below) return false;
    below->level = level;
    if (level == LEVEL_SUBVOLUME) {
        (void)is_subvolume(e->name, &below->subvolume);
        below->base = below->len - 1;
    }
    below->next = c->volumes[d->volume].stack;
    c->volumes[d->volume].stack = below;
    return true;
}

/* ---- what is buffered --------------------------------------------------------------------- */

/* Too much: all but one wait.  Which one does not matter, as long as one goes on. */
static void hold_back(struct crawl *c, const struct slot *but)
{
    for (size_t i = 0; i < c->opt.jobs; i++) {
        struct slot *s = &c->slots[i];

        if (s == but || s->step != SLOT_ASK || s->paused) continue;
        s->paused = true;
        mkv_exchange_pause(s->x, true);
    }
}

static void let_go(struct crawl *c)
{
    for (size_t i = 0; i < c->opt.jobs; i++) {
        struct slot *s = &c->slots[i];

        if (!s->paused) continue;
        s->paused = false;
        if (s->x) mkv_exchange_pause(s->x, false);
    }
}

static bool keep(struct slot *s, struct mkv_bytes piece)
{
    size_t size = s->size ? s->size : BUFFER_FIRST;
    char *more;

    while (size < s->len + piece.len) size *= 2;
    if (size > s->size) {
        more = realloc(s->data, size);
        if (!more) return false;
        s->data = more;
        s->size = size;
    }
    memcpy(s->data + s->len, piece.data, piece.len);
    s->len += piece.len;
    s->crawl->buffered += piece.len;
    return true;
}

static void on_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    struct slot *s = arg;
    struct crawl *c = s->crawl;

    (void)x;
    if (s->too_long || c->out_of_memory) return;
    if (s->len + piece.len > CRAWL_LISTING_MAX) {
        s->too_long = true; /* the rest is let pass: the connection stays good */
        return;
    }
    if (!keep(s, piece))
        c->out_of_memory = true;
    else if (c->buffered > CRAWL_BUFFERED_MAX)
        hold_back(c, s);
}

static void empty(struct slot *s)
{
    struct crawl *c = s->crawl;
    bool was_high = c->buffered > CRAWL_BUFFERED_MAX;

    c->buffered -= s->len;
    s->len = 0;
    if (s->size > BUFFER_KEEP) {
        free(s->data);
        s->data = NULL;
        s->size = 0;
    }
    s->paused = false;
    if (was_high) let_go(c);
}

/* ---- how quick a volume is ------------------------------------------------------------ */

static bool is_quick(const struct crawl_volume *v)
{
    return v->each_us <= CRAWL_QUICK_US;
}

/* By Little's law: with twice as many under way each waits twice as long. */
static void note_time(const struct slot *s)
{
    struct crawl_volume *v = &s->crawl->volumes[s->dir->volume];
    uint64_t us = (mkv_loop_now(s->crawl->opt.loop) - s->asked_ms) * 1000 / v->busy;

    v->each_us = (unsigned)((v->each_us * UINT64_C(15) + us) / 16);
}

/* ---- one listing ------------------------------------------------------------------------------ */

static void fill(struct crawl *c);

/* The slot's directory has been dealt with. */
static void leave(struct slot *s)
{
    struct crawl *c = s->crawl;
    struct crawl_volume *v = &c->volumes[s->dir->volume];

    free(s->dir);
    s->dir = NULL;
    s->step = SLOT_FREE;
    s->next_free = c->free;
    c->free = s;
    v->busy--;
    if (!v->busy && !v->stack) c->active--;
    fill(c);
}

static void tell_failed(struct crawl *c, const struct dir *d, const char *why)
{
    c->stats.failed++;
    c->events.failed(d->volume, mkv_slice(d->path, d->len), why, c->arg);
}

/* Nobody home: what waits is not asked for, one by one, for hours. */
static void give_up(struct crawl *c, size_t volume)
{
    static const struct mkv_slice root = {"/", 1};
    size_t n = drop_stack(&c->volumes[volume]);
    char why[96];

    if (!n) return;
    snprintf(why, sizeof(why), "the volume does not answer: %zu more directories were not asked for",
             n);
    c->stats.failed += n;
    c->events.failed(volume, root, why, c->arg);
}

/* answered: the volume did, though not with a listing; again: that may change. */
static void failed(struct slot *s, bool answered, bool again, const char *why)
{
    struct crawl *c = s->crawl;
    struct crawl_volume *v = &c->volumes[s->dir->volume];
    uint64_t ms = (uint64_t)CRAWL_BACKOFF_MS << (s->tries - 1);
    struct timeval after = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

    if (again && s->tries < CRAWL_TRIES && v->unanswered < CRAWL_GIVE_UP) {
        c->stats.retries++;
        s->step = SLOT_WAIT;
        event_add(&s->retry, &after);
        return;
    }
    tell_failed(c, s->dir, why);
    v->unanswered = answered ? 0 : v->unanswered + 1;
    if (v->unanswered >= CRAWL_GIVE_UP) give_up(c, s->dir->volume);
    leave(s);
}

static void read_listing(struct slot *s)
{
    struct crawl *c = s->crawl;
    enum mkv_err err = mkv_listing_parse(s->data, s->len, on_entry, s);

    if (err == MKV_ENOMEM) c->out_of_memory = true;
    empty(s);
    if (c->out_of_memory) {
        failed(s, true, false, mkv_strerror(MKV_ENOMEM));
        return;
    }
    if (err) { /* once more, but nothing is told twice */
        failed(s, true, !s->told, "the listing is cut short or no JSON (autoindex_format json)");
        return;
    }
    c->stats.listings++;
    c->volumes[s->dir->volume].unanswered = 0;
    leave(s);
}

static void on_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct slot *s = arg;
    char why[200];

    s->x = NULL;
    note_time(s);
    if (err) {
        snprintf(why, sizeof(why), "%s", mkv_exchange_why(x));
        empty(s);
        failed(s, false, true, why);
    } else if (s->too_long) {
        empty(s);
        failed(s, true, false, "the listing is longer than 16 MB: this is no directory of values");
    } else if (status != 200) {
        snprintf(why, sizeof(why), "the volume answered %d", status);
        empty(s);
        failed(s, true, status >= 500, why);
    } else {
        read_listing(s);
    }
}

static void ask(struct slot *s)
{
    static const struct mkv_exchange_events events = {.body = on_body, .done = on_done};
    struct crawl *c = s->crawl;
    struct crawl_volume *v = &c->volumes[s->dir->volume];
    const struct mkv_exchange_options opt = {.volume = v->volume,
                                             .method = MKV_VOLUME_GET,
                                             .path = mkv_slice(s->dir->path, s->dir->len),
                                             .brief = is_quick(v) && s->tries == 0};
    enum mkv_err err;

    s->step = SLOT_ASK;
    s->asked_ms = mkv_loop_now(c->opt.loop);
    s->tries++;
    s->too_long = s->told = false;
    err = mkv_exchange_start(&s->x, &opt, &events, s);
    if (!err) return;
    s->x = NULL;
    failed(s, true, false, mkv_strerror(err));
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ask(arg);
}

/* ---- which is next ------------------------------------------------------------------------------ */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Its share of the slots, as far as it can do with them: a slow volume would not
 * answer all of them in time. */
static size_t room_of(const struct crawl *c, const struct crawl_volume *v)
{
    size_t share = c->active ? c->opt.jobs / c->active : 0, part = share / CRAWL_SLOW_PART;

    if (share == 0) return 1;
    if (is_quick(v)) return least(share, CRAWL_QUICK_MAX);
    return least(share, part > CRAWL_SLOW_MIN ? part : CRAWL_SLOW_MIN);
}

static void begin_next(struct crawl *c, struct crawl_volume *v)
{
    struct slot *s = c->free;

    c->free = s->next_free;
    s->dir = v->stack;
    v->stack = s->dir->next;
    s->tries = 0;
    v->busy++;
    ask(s);
}

/* Requests of one turn share a connection, which saves us and the volume a third of
 * the work: so a quick one waits for a batch of free slots.  Each connection is served
 * one request after the other: so a slow one gets each on its own. */
static void fill_volume(struct crawl *c, struct crawl_volume *v)
{
    size_t room = room_of(c, v);
    size_t batch = is_quick(v) ? least(room / CRAWL_BATCHES, CRAWL_BATCH) : 1;

    if (v->busy && v->busy + batch > room) return;
    while (c->free && v->stack && v->busy < room) begin_next(c, v);
}

static void on_go_on(void *arg)
{
    struct crawl *c = arg;

    for (size_t i = 0; i < c->opt.nnames && !c->paused && c->free; i++) {
        fill_volume(c, &c->volumes[c->at]);
        c->at = (c->at + 1) % c->opt.nnames;
    }
    if (c->active || c->ended) return;
    c->ended = true;
    c->events.done(c->arg);
}

static void fill(struct crawl *c)
{
    mkv_loop_at_end(c->opt.loop, &c->go_on);
}

/* ---- open, close ---------------------------------------------------------------------------------- */

static enum mkv_err open_slots(struct crawl *c)
{
    c->slots = calloc(c->opt.jobs, sizeof(*c->slots));
    if (!c->slots) return MKV_ENOMEM;
    for (size_t i = 0; i < c->opt.jobs; i++) {
        struct slot *s = &c->slots[i];

        s->crawl = c;
        s->next_free = c->free;
        c->free = s;
        event_assign(&s->retry, mkv_loop_base(c->opt.loop), -1, 0, on_retry, s);
    }
    return MKV_OK;
}

static enum mkv_err open_volumes(struct crawl *c)
{
    c->volumes = calloc(c->opt.nnames, sizeof(*c->volumes));
    if (!c->volumes) return MKV_ENOMEM;
    for (size_t i = 0; i < c->opt.nnames; i++) {
        enum mkv_err err = mkv_volumes_get(c->opt.volumes, c->opt.names[i], &c->volumes[i].volume);

        if (err) return err;
        if (!push_root(&c->volumes[i], i)) return MKV_ENOMEM;
        c->volumes[i].each_us = 2 * CRAWL_QUICK_US; /* until it has shown that it is quick */
    }
    c->active = c->opt.nnames;
    return MKV_OK;
}

enum mkv_err crawl_start(struct crawl **out, const struct crawl_options *opt,
                         const struct crawl_events *events, void *arg)
{
    struct crawl *c = calloc(1, sizeof(*c));
    enum mkv_err err = MKV_ENOMEM;

    if (!c) goto out;
    c->opt = *opt;
    c->events = *events;
    c->arg = arg;
    c->go_on.run = on_go_on;
    c->go_on.arg = c;
    err = open_slots(c);
    if (err) goto out;
    err = open_volumes(c);
    if (err) goto out;
    fill(c);
    *out = c;
    c = NULL;
out:
    crawl_close(c);
    return err;
}

void crawl_pause(struct crawl *c, bool paused)
{
    c->paused = paused;
    if (!paused) fill(c);
}

void crawl_stats(const struct crawl *c, struct crawl_stats *out)
{
    *out = c->stats;
}

static void destroy(void *arg)
{
    struct crawl *c = arg;

    free(c->slots);
    free(c->volumes);
    free(c);
}

void crawl_close(struct crawl *c)
{
    if (!c) return;
    mkv_loop_forget(c->opt.loop, &c->go_on);
    for (size_t i = 0; c->slots && i < c->opt.jobs; i++) {
        struct slot *s = &c->slots[i];

        if (s->x) mkv_exchange_cancel(s->x);
        event_del(&s->retry);
        free(s->dir);
        free(s->data);
    }
    for (size_t i = 0; c->volumes && i < c->opt.nnames; i++) drop_stack(&c->volumes[i]);
    mkv_loop_retire(c->opt.loop, &c->retired, destroy, c); /* we may be inside done() */
}
