/* A part on its way back.
 *
 * A thread fills blocks; the loop gives them out one after the other.  As long
 * as there is room ahead, one job of a few blocks is under way meanwhile. */
#include "net/block.h"
#include "store/spool_internal.h"

#include <errno.h>
#include <stdlib.h>

#define READ_BLOCKS (SPOOL_AHEAD / MKV_BLOCK_SIZE) /* read and not yet taken */
#define READ_BATCH  2                              /* for one job of a thread */

enum read_step {
    READ_FLOW, /* pieces are read, and given out unless paused  */
    READ_STOP, /* cancelled, or no memory: a thread closes it   */
    READ_OVER  /* told; freed at the end of the turn            */
};

struct spool_reader {
    struct mkv_spool_file file; /* first */
    enum read_step step;
    enum mkv_err result;        /* told once what was read before it has been given */
    bool asked;                 /* a thread has been asked to open it */
    bool paused;
    uint64_t left;              /* bytes that no thread has been asked for */
    struct mkv_bytes ready[READ_BLOCKS]; /* owned references; the first is the next to give */
    size_t nready;
    struct mkv_bytes batch[READ_BATCH]; /* owned references; the thread's while busy */
    size_t nbatch;
    struct mkv_chore give;      /* after a pause */
    const struct mkv_spool_read_events *events; /* borrowed; NULL: cancelled */
    void *arg;                  /* the caller's */
};

/* ---- on a thread --------------------------------------------------------------------- */

/* What could be read comes first in the batch; the rest gets no length. */
static void work_read(void *arg)
{
    struct spool_reader *r = arg;
    struct disk_file *f = &r->file.disk;
    bool whole = disk_read(f, NULL, 0);

    for (size_t i = 0; i < r->nbatch; i++) {
        whole = whole && disk_read(f, mkv_block_data(r->batch[i].block), r->batch[i].len);
        if (!whole) r->batch[i].len = 0;
    }
    if (!whole || r->left == 0) disk_close(f);
}

static void work_close(void *arg)
{
    struct spool_reader *r = arg;

    disk_close(&r->file.disk); /* the last one of a removed file takes its time */
}

/* ---- steps ------------------------------------------------------------------------------ */

static void on_read(void *arg);
static void on_closed(void *arg);

static void reader_go(struct spool_reader *r, enum read_step next)
{
    r->step = next;
    mkv_loop_forget(r->file.loop, &r->give);
    if (next == READ_OVER)
        spool_end(&r->file);
    else if (!r->file.busy) /* else once it is not */
        spool_give(&r->file, work_close, on_closed);
}

static void tell(struct spool_reader *r)
{
    const struct mkv_spool_read_events *events = r->events;

    reader_go(r, READ_OVER);
    if (events) events->done(r->result, r->arg);
}

static void on_closed(void *arg)
{
    struct spool_reader *r = arg;

    r->file.busy = false;
    tell(r);
}

/* Blocks for the next job, as many as there is room for; false without memory. */
static bool take_batch(struct spool_reader *r)
{
    while (r->left > 0 && r->nbatch < READ_BATCH && r->nready + r->nbatch < READ_BLOCKS) {
        size_t len = r->left < MKV_BLOCK_SIZE ? (size_t)r->left : MKV_BLOCK_SIZE;
        struct mkv_block *b = mkv_blocks_take(r->file.spool->blocks);

        if (!b) return false;
        r->batch[r->nbatch++] = (struct mkv_bytes){mkv_block_data(b), len, b};
        r->left -= len;
    }
    return true;
}

/* Has a thread open the file, and read on where there is room. */
static void read_on(struct spool_reader *r)
{
    bool enough;

    if (r->step != READ_FLOW || r->file.busy || r->result) return;
    enough = take_batch(r);
    if (r->nbatch > 0 || !r->asked) {
        r->asked = true;
        spool_give(&r->file, work_read, on_read);
    } else if (!enough && r->nready == 0) {
        r->result = MKV_ENOMEM;
        reader_go(r, READ_STOP);
    }
}

static void give_out(void *arg)
{
    struct spool_reader *r = arg;

    while (r->step == READ_FLOW && r->nready > 0 && !r->paused) {
        struct mkv_bytes piece = r->ready[0];

        r->nready--;
        for (size_t i = 0; i < r->nready; i++) r->ready[i] = r->ready[i + 1];
        r->events->body(piece, r->arg); /* may pause or cancel */
        mkv_block_release(piece.block);
    }
    read_on(r);
    if (r->step != READ_FLOW || r->nready > 0 || r->file.busy) return;
    if (r->left == 0 || r->result) tell(r);
}

static void take_over(struct spool_reader *r)
{
    for (size_t i = 0; i < r->nbatch; i++) {
        if (r->batch[i].len > 0)
            r->ready[r->nready++] = r->batch[i];
        else
            mkv_block_release(r->batch[i].block);
    }
    r->nbatch = 0;
}

static void on_read(void *arg)
{
    struct spool_reader *r = arg;

    r->file.busy = false;
    if (r->step == READ_STOP) {
        reader_go(r, READ_STOP); /* it was busy until now */
        return;
    }
    take_over(r);
    if (r->file.disk.fault.error == ENOENT)
        r->result = MKV_ENOKEY;
    else if (r->file.disk.fault.error)
        r->result = spool_fault(&r->file);
    read_on(r);
    give_out(r);
}

/* ---- calls ------------------------------------------------------------------------------ */

static void cancel(struct mkv_spool_file *f)
{
    struct spool_reader *r = (struct spool_reader *)f;

    r->events = NULL;
    if (r->step == READ_FLOW) reader_go(r, READ_STOP);
}

static void destroy(void *arg)
{
    struct spool_reader *r = arg;

    mkv_loop_forget(r->file.loop, &r->give);
    for (size_t i = 0; i < r->nbatch; i++) mkv_block_release(r->batch[i].block);
    for (size_t i = 0; i < r->nready; i++) mkv_block_release(r->ready[i].block);
    free(r);
}

enum mkv_err mkv_spool_read(struct mkv_spool_file **out, struct mkv_spool *s,
                            const struct mkv_spool_name *name, uint64_t first, uint64_t length,
                            const struct mkv_spool_read_events *events, void *arg)
{
    struct spool_reader *r = calloc(1, sizeof(*r));

    if (!r) return MKV_ENOMEM;
    r->file.cancel = cancel;
    r->file.destroy = destroy;
    r->give.run = give_out;
    r->give.arg = r;
    r->left = length;
    r->events = events;
    r->arg = arg;
    spool_begin(s, &r->file, name);
    r->file.disk.at = first;
    *out = &r->file;
    read_on(r);
    return MKV_OK;
}

void mkv_spool_pause(struct mkv_spool_file *f, bool paused)
{
    struct spool_reader *r = (struct spool_reader *)f;

    r->paused = paused;
    if (!paused && r->step == READ_FLOW && r->nready > 0) mkv_loop_at_end(f->loop, &r->give);
}
