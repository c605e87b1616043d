#include "api/s3_feed.h"

static struct s3_feed_slot *slot_of(struct s3_feed *f, size_t part)
{
    return &f->slots[part % S3_FEED_OPEN];
}

static void on_body(struct mkv_bytes piece, void *arg)
{
    struct s3_feed_slot *slot = arg;

    slot->feed->events->body(piece, slot->feed->arg);
}

static void on_done(enum mkv_err err, void *arg);

/* Paused until its turn comes, which does not keep the spool from reading. */
static enum mkv_err open_part(struct s3_feed *f, size_t i)
{
    static const struct mkv_spool_read_events events = {.body = on_body, .done = on_done};
    struct s3_feed_slot *slot = slot_of(f, i);
    struct mkv_spool_name name = {f->id, 0, 0};
    enum mkv_err err;

    *slot = (struct s3_feed_slot){.feed = f};
    if (i >= f->plan->n) return MKV_OK;
    name.number = f->plan->parts[i].number;
    name.serial = f->plan->parts[i].serial;
    err = mkv_spool_read(&slot->file, f->spool, &name, 0, f->plan->parts[i].size, &events, slot);
    if (!err) mkv_spool_pause(slot->file, true);
    return err;
}

static void over(struct s3_feed *f, enum mkv_err err)
{
    s3_feed_cancel(f);
    f->events->done(err, f->arg);
}

/* The part that flowed has ended, and maybe short ones behind it. */
static void go_on(struct s3_feed *f)
{
    struct s3_feed_slot *slot = slot_of(f, f->at);
    enum mkv_err err = MKV_OK;

    while (f->at < f->plan->n && slot->ended && !err) {
        err = slot->err;
        if (!err) err = open_part(f, f->at + S3_FEED_OPEN);
        slot = slot_of(f, ++f->at);
    }
    if (err || f->at == f->plan->n)
        over(f, err);
    else
        mkv_spool_pause(slot->file, f->paused);
}

static void on_done(enum mkv_err err, void *arg)
{
    struct s3_feed_slot *slot = arg;
    struct s3_feed *f = slot->feed;

    slot->file = NULL;
    slot->ended = true;
    slot->err = err == MKV_ENOKEY ? MKV_EIO : err; /* a file that the index names is missing */
    if (slot == slot_of(f, f->at)) go_on(f);
}

enum mkv_err s3_feed_start(struct s3_feed *f, struct mkv_spool *spool, const uint8_t *id,
                           const struct s3_plan *plan, const struct s3_feed_events *events,
                           void *arg)
{
    enum mkv_err err = MKV_OK;

    f->spool = spool;
    f->id = id;
    f->plan = plan;
    f->at = 0;
    f->events = events;
    f->arg = arg;
    for (size_t i = 0; i < S3_FEED_OPEN && !err; i++)
        err = open_part(f, i);
    if (err)
        s3_feed_cancel(f);
    else
        s3_feed_pause(f, false);
    return err;
}

void s3_feed_pause(struct s3_feed *f, bool paused)
{
    struct s3_feed_slot *slot = slot_of(f, f->at);

    f->paused = paused;
    if (slot->file) mkv_spool_pause(slot->file, paused);
}

void s3_feed_cancel(struct s3_feed *f)
{
    for (size_t i = 0; i < S3_FEED_OPEN; i++) {
        mkv_spool_cancel(f->slots[i].file);
        f->slots[i].file = NULL;
    }
}
