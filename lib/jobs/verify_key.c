/* One key: ask, judge, look again before believing it, repair, look again. */
#include "jobs/verify.h"

#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum check_step {
    CHECK_ASK,    /* every copy is asked for, or read                              */
    CHECK_WAIT,   /* a volume is away, or a file may be on its way out: once more in a while */
    CHECK_REPAIR, /* the master, or the store, makes new copies                    */
    CHECK_END     /* told; freed at the end of this turn                           */
};

struct check {
    struct verify *v;          /* borrowed */
    struct job_item *item;     /* owned until CHECK_END */
    struct mkv_record *rec;    /* the item's: as the index had it when the copies were asked */
    enum check_step step;
    bool careful;              /* deep: each copy with its own MD5                  */
    bool suspected;            /* the last look found something wrong...            */
    bool repaired;             /* ...and it has been repaired since                 */
    unsigned changes;          /* how often the record changed meanwhile            */
    unsigned tries;            /* copies that could not be asked for                */
    char found[640];           /* what was wrong before the repair                  */
    enum verdict verdicts[MKV_REPLICAS_MAX];
    unsigned counts[VERDICTS];
    struct event timer;
    struct ask ask;
    struct check *next, **prev;
    struct mkv_retired retired;
};

static struct mkv_slice key_of(const struct check *c)
{
    return job_item_key(c->item);
}

/* ---- beginning and end ---------------------------------------------------------------- */

static void take_out(struct check *c)
{
    ask_cancel(&c->ask);
    event_del(&c->timer);
    *c->prev = c->next;
    if (c->next) c->next->prev = c->prev;
}

static void finish(struct check *c)
{
    c->step = CHECK_END;
    take_out(c);
    job_item_done(c->item);
    mkv_loop_retire(c->v->job.loop, &c->retired, free, c);
}

void verify_keys_drop(struct verify *v)
{
    while (v->checks) {
        struct check *c = v->checks; /* its item is gone already */

        take_out(c);
        free(c);
    }
}

static void on_asked(void *arg);

static void look(struct check *c)
{
    bool deep = c->v->job.cfg->deep;
    bool apart = c->careful || c->rec->size < 0;
    enum ask_how how = !deep ? ASK_SIZES : apart ? ASK_APART : ASK_TOGETHER;

    c->step = CHECK_ASK;
    ask_start(&c->ask, c->v, key_of(c), c->rec, how, on_asked, c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    look(arg);
}

static void look_later(struct check *c, unsigned ms)
{
    const struct timeval wait = {ms / 1000, (long)(ms % 1000) * 1000};

    c->step = CHECK_WAIT;
    event_add(&c->timer, &wait);
}

void verify_key(struct job_item *item, void *arg)
{
    struct verify *v = arg;
    struct check *c = calloc(1, sizeof(*c));

    if (!c) {
        job_error(&v->job, job_item_key(item), "%s", mkv_strerror(MKV_ENOMEM));
        job_item_done(item);
        return;
    }
    c->v = v;
    c->item = item;
    c->rec = &item->record;
    c->next = v->checks;
    c->prev = &v->checks;
    if (c->next) c->next->prev = &c->next;
    v->checks = c;
    event_assign(&c->timer, mkv_loop_base(v->job.loop), -1, 0, on_timer, c);
    look(c);
}

/* ---- the record, read again -------------------------------------------------------------- */

static bool same_record(const struct mkv_record *a, const struct mkv_record *b)
{
    if (a->state != b->state || a->generation != b->generation || a->size != b->size ||
        a->mtime != b->mtime || a->has_md5 != b->has_md5 || a->nreplicas != b->nreplicas ||
        (a->has_md5 && memcmp(a->md5, b->md5, MKV_MD5_LEN) != 0))
        return false;
    for (unsigned i = 0; i < a->nreplicas; i++)
        if (a->replicas[i].volume != b->replicas[i].volume ||
            a->replicas[i].subvolume != b->replicas[i].subvolume)
            return false;
    return true;
}

enum change { RECORD_SAME, RECORD_CHANGED, RECORD_GONE };

static enum change read_again(struct check *c)
{
    enum change change = RECORD_GONE;
    struct mkv_record now;
    enum mkv_err err;

    mkv_record_init(&now);
    err = mkv_index_get(c->v->job.index, key_of(c), &now, NULL, NULL);
    if (!err) {
        change = same_record(&now, c->rec) ? RECORD_SAME : RECORD_CHANGED;
        mkv_record_clear(c->rec);
        *c->rec = now; /* given away */
        mkv_record_init(&now);
    } else if (err != MKV_ENOKEY) {
        job_error(&c->v->job, key_of(c), "%s", mkv_strerror(err));
    }
    mkv_record_clear(&now);
    return change;
}

/* Starts over where the key is not what it was when its copies were asked for. */
static bool has_changed(struct check *c)
{
    switch (read_again(c)) {
    case RECORD_SAME: return false;
    case RECORD_GONE: finish(c); return true;
    case RECORD_CHANGED: break;
    }
    c->suspected = c->careful = false;
    c->tries = 0;
    if (++c->changes < VERIFY_CHANGES && !c->v->job.stopping) {
        look(c);
    } else {
        c->v->counts[COUNT_IN_USE]++;
        finish(c);
    }
    return true;
}

/* ---- words ---------------------------------------------------------------------------------- */

static void add(char *text, size_t size, const char *format, ...) MKV_PRINTF(3, 4);

static void add(char *text, size_t size, const char *format, ...)
{
    size_t len = strlen(text);
    va_list args;

    if (len) len += (size_t)snprintf(text + len, size - len, "; ");
    if (len >= size) return;
    va_start(args, format);
    vsnprintf(text + len, size - len, format, args);
    va_end(args);
}

static void describe_copy(struct check *c, unsigned i, char *text, size_t size)
{
    const struct seen_copy *seen = &c->ask.seen[i];
    char where[MKV_REPLICA_TEXT_MAX + 1], md5[2 * MKV_MD5_LEN + 1] = "unread";

    job_replica_text(&c->v->job, c->rec->replicas[i], where);
    if (seen->has_md5) mkv_hex(md5, seen->md5, MKV_MD5_LEN);
    switch (c->verdicts[i]) {
    case COPY_GOOD: break;
    case COPY_MISSING: add(text, size, "missing on %s", where); break;
    case COPY_WRONG_SIZE:
        add(text, size, "%lld bytes instead of %lld on %s", (long long)seen->size,
            (long long)c->rec->size, where);
        break;
    case COPY_DAMAGED: add(text, size, "damaged on %s (MD5 %s)", where, md5); break;
    case COPY_DIFFERENT:
        add(text, size, "%lld bytes, MD5 %s on %s", (long long)seen->size, md5, where);
        break;
    case COPY_UNKNOWN: add(text, size, "not checked on %s (%s)", where, c->ask.why[i]); break;
    }
}

static bool is_under(const struct check *c)
{
    return c->rec->nreplicas < c->v->job.cfg->replicas;
}

static void describe(struct check *c, char *text, size_t size)
{
    text[0] = '\0';
    if (is_under(c))
        add(text, size, "only %u of %llu copies", c->rec->nreplicas,
            (unsigned long long)c->v->job.cfg->replicas);
    for (unsigned i = 0; i < c->rec->nreplicas; i++) describe_copy(c, i, text, size);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static bool is_wrong(const struct check *c)
{
    return is_under(c) || c->counts[COPY_GOOD] + c->counts[COPY_UNKNOWN] < c->rec->nreplicas;
}

static bool is_lost(const struct check *c)
{
    return !c->counts[COPY_GOOD] && !c->counts[COPY_UNKNOWN] && !c->counts[COPY_DIFFERENT];
}

static bool is_repairable(const struct check *c)
{
    return c->counts[COPY_GOOD] && !c->counts[COPY_UNKNOWN] && !c->counts[COPY_DIFFERENT];
}

static void count_verdicts(struct check *c)
{
    static const enum count counts[VERDICTS] = {
        [COPY_MISSING] = COUNT_MISSING,   [COPY_WRONG_SIZE] = COUNT_WRONG_SIZE,
        [COPY_DAMAGED] = COUNT_DAMAGED,   [COPY_DIFFERENT] = COUNT_DIFFERENT,
        [COPY_UNKNOWN] = COUNT_UNKNOWN};
    struct verify *v = c->v;

    v->counts[COUNT_KEYS]++;
    v->counts[COUNT_COPIES] += c->rec->nreplicas;
    for (enum verdict i = COPY_MISSING; i < VERDICTS; i++) v->counts[counts[i]] += c->counts[i];
    v->counts[COUNT_UNDER] += is_under(c);
    v->counts[COUNT_LOST] += is_lost(c);
    if (job_is_placed(&v->job, key_of(c), c->rec)) return;
    v->counts[COUNT_UNBALANCED]++;
    if (v->job.cfg->verbose) verify_say(v, key_of(c), "unbalanced: not where placement wants it");
}

/* A copy that could not be checked is told only where the volume is not down:
 * that has been told once, for all its copies. */
static bool is_worth_telling(struct check *c)
{
    for (unsigned i = 0; i < c->rec->nreplicas; i++)
        if (c->verdicts[i] == COPY_UNKNOWN &&
            !verify_is_given_up(c->v, c->rec->replicas[i].volume))
            return true;
    return is_wrong(c);
}

static void tell(struct check *c)
{
    char text[768];

    describe(c, text, sizeof(text));
    if (is_lost(c))
        job_error(&c->v->job, key_of(c), "lost, no good copy is left: %s", text);
    else if (c->counts[COPY_DIFFERENT])
        job_error(&c->v->job, key_of(c),
                  "its copies differ, and the index does not know which is right%s: left alone: %s",
                  c->rec->has_md5 ? " (-deep finds out)" : "", text);
    else if (is_worth_telling(c))
        job_error(&c->v->job, key_of(c), "%s%s", c->repaired ? "not repaired: " : "", text);
}

/* ---- repair ------------------------------------------------------------------------------------ */

static void on_moved(enum mkv_err err, const char *why, void *arg)
{
    struct check *c = arg;

    if (err && err != MKV_ENOKEY) {
        job_error(&c->v->job, key_of(c), "%s; not repaired: %s", c->found,
                  err == MKV_ESHUTDOWN ? "stopped before its turn came" : why);
        finish(c);
        return;
    }
    c->repaired = !err;
    c->suspected = c->careful = false;
    switch (read_again(c)) {
    case RECORD_GONE: finish(c); break;
    case RECORD_SAME:
    case RECORD_CHANGED: look(c); break;
    }
}

static void repair(struct check *c)
{
    unsigned flags = (c->rec->state == MKV_UNLINKED ? MKV_MOVE_UNLINKED : 0) |
                     (c->counts[COPY_DAMAGED] ? MKV_MOVE_DEEP : 0);
    enum mkv_err err;

    c->step = CHECK_REPAIR;
    describe(c, c->found, sizeof(c->found));
    err = job_move(&c->v->job, key_of(c), flags, on_moved, c);
    if (!err) return;
    job_error(&c->v->job, key_of(c), "%s; not repaired: %s", c->found, mkv_strerror(err));
    finish(c);
}

/* It has been looked at twice, with the same record: believe it. */
static void conclude(struct check *c)
{
    const struct mkv_config *cfg = c->v->job.cfg;
    char text[768];

    if (!c->repaired) count_verdicts(c);
    if (is_wrong(c) && is_repairable(c) && !c->repaired && cfg->repair && !c->v->job.stopping) {
        if (!cfg->dry_run) {
            repair(c);
            return;
        }
        c->v->counts[COUNT_REPAIRABLE]++;
        describe(c, text, sizeof(text));
        job_error(&c->v->job, key_of(c), "would be repaired: %s", text);
    } else if (is_wrong(c) || c->counts[COPY_UNKNOWN]) {
        tell(c);
    } else if (c->repaired) {
        c->v->counts[COUNT_REPAIRED]++;
        verify_say(c->v, key_of(c), "repaired: %s", c->found);
    }
    finish(c);
}

/* ---- the answers ----------------------------------------------------------------------------------- */

/* Copies that could not be asked for get another chance, as long as there is
 * hope. */
static bool is_worth_waiting(struct check *c)
{
    if (!c->counts[COPY_UNKNOWN] || c->v->job.stopping) return false;
    for (unsigned i = 0; i < c->rec->nreplicas; i++) {
        uint32_t volume = c->rec->replicas[i].volume;

        if (c->verdicts[i] != COPY_UNKNOWN || verify_is_given_up(c->v, volume)) continue;
        if (c->tries < VERIFY_TRIES || verify_is_away(c->v, volume)) return true;
    }
    return false;
}

/* Before a DELETE deletes files it unlinks the key.  So what a live key lacks
 * while its record stays the same is missing; of an unlinked key it may be on
 * its way out. */
static bool may_be_erasing(const struct check *c)
{
    return c->rec->state == MKV_UNLINKED && c->v->beside;
}

static void judge(struct check *c)
{
    verify_judge(c->rec, c->ask.seen, c->verdicts, c->counts);
    if (!is_wrong(c) && !c->counts[COPY_UNKNOWN]) {
        conclude(c);
        return;
    }
    if (has_changed(c)) return;
    if (is_worth_waiting(c)) {
        c->tries++;
        look_later(c, VERIFY_RETRY_MS);
        return;
    }
    if (is_wrong(c) && !c->suspected) {
        c->suspected = c->careful = true;
        if (may_be_erasing(c))
            look_later(c, VERIFY_ERASING_MS);
        else
            look(c);
        return;
    }
    conclude(c);
}

static void on_asked(void *arg)
{
    struct check *c = arg;

    if (c->ask.differ) { /* somebody is wrong: who? */
        c->careful = true;
        look(c);
        return;
    }
    judge(c);
}
