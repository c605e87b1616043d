/* A part on its way to the disk.
 *
 * Pieces gather in one buffer while a thread writes those of the other; the
 * buffers, and with them the counts of references, are the loop's alone: a
 * thread is shown where the bytes lie. */
#include "net/block.h"
#include "store/spool_internal.h"

#include <event2/buffer.h>
#include <stdlib.h>

#define WRITE_CHUNK (64 * 1024)       /* so much gathers before a thread is troubled; what
                                         comes while it writes makes the next job larger */
#define WRITE_LOW   (SPOOL_AHEAD / 2) /* full until no more than this is unwritten */
#define WRITE_IOV   64

enum write_step {
    WRITE_FLOW, /* pieces come, and are written as they do                  */
    WRITE_LAST, /* no more come; what there is is being written             */
    WRITE_SYNC, /* a thread syncs it and gives it its name                  */
    WRITE_DROP, /* failed, or not wanted: a thread removes it               */
    WRITE_OVER  /* told; freed at the end of the turn                       */
};

struct spool_writer {
    struct mkv_spool_file file;  /* first */
    enum write_step step;
    enum mkv_err result;         /* what done() will be told */
    bool full;                   /* the caller was, or may have been, told to pause */
    bool doomed;                 /* the upload's directory goes with it */
    struct evbuffer *gather;     /* owned: pieces to come next */
    struct evbuffer *work;       /* owned: those that are being written */
    struct iovec iov[WRITE_IOV]; /* the thread's while busy: where work's bytes lie */
    int niov;
    size_t writing;              /* bytes in iov */
    const struct mkv_spool_write_events *events; /* borrowed; NULL: cancelled */
    void *arg;                   /* the caller's */
};

static void writer_go(struct spool_writer *w, enum write_step next);

/* ---- on a thread --------------------------------------------------------------------- */

static void work_write(void *arg)
{
    struct spool_writer *w = arg;

    if (!disk_write(&w->file.disk, w->iov, w->niov)) disk_drop(&w->file.disk);
}

static void work_finish(void *arg)
{
    struct spool_writer *w = arg;

    if (!disk_finish(&w->file.disk)) disk_drop(&w->file.disk);
}

static void work_drop(void *arg)
{
    struct spool_writer *w = arg;

    disk_drop(&w->file.disk);
}

static void work_drop_with_dir(void *arg)
{
    struct spool_writer *w = arg;

    disk_drop(&w->file.disk);
    disk_remove_empty(w->file.disk.root, w->file.disk.dir);
}

/* ---- steps ------------------------------------------------------------------------------ */

static void tell(struct spool_writer *w, enum mkv_err err)
{
    const struct mkv_spool_write_events *events = w->events;

    writer_go(w, WRITE_OVER);
    if (events) events->done(err, w->arg);
}

/* A thread's job came back.  False: the file is not to go on as it was. */
static bool came_back(struct spool_writer *w)
{
    w->file.busy = false;
    if (w->step == WRITE_DROP)
        writer_go(w, WRITE_DROP); /* it was busy until now */
    else if (w->file.disk.fault.error)
        tell(w, spool_fault(&w->file));
    else
        return true;
    return false;
}

static void on_synced(void *arg)
{
    if (came_back(arg)) tell(arg, MKV_OK);
}

static void on_dropped(void *arg)
{
    struct spool_writer *w = arg;

    w->file.busy = false;
    tell(w, w->result);
}

static void fail(struct spool_writer *w, enum mkv_err err)
{
    w->result = err;
    writer_go(w, WRITE_DROP);
}

static size_t unwritten(const struct spool_writer *w)
{
    return evbuffer_get_length(w->gather) + evbuffer_get_length(w->work);
}

static void on_written(void *arg);

/* What has gathered, or what of it did not fit before, to a thread. */
static void write_some(struct spool_writer *w)
{
    if (evbuffer_get_length(w->work) == 0 && evbuffer_add_buffer(w->work, w->gather)) {
        fail(w, MKV_ENOMEM);
        return;
    }
    w->niov = evbuffer_peek(w->work, -1, NULL, w->iov, WRITE_IOV);
    w->writing = 0;
    for (int i = 0; i < w->niov; i++) w->writing += w->iov[i].iov_len;
    spool_give(&w->file, work_write, on_written);
}

/* No thread has it: what is to be done now? */
static void go_on(struct spool_writer *w)
{
    size_t left = unwritten(w);

    if (w->step == WRITE_FLOW && left < WRITE_CHUNK) return;
    if (left > 0)
        write_some(w);
    else
        writer_go(w, WRITE_SYNC);
}

static void on_written(void *arg)
{
    struct spool_writer *w = arg;

    if (!came_back(w)) return;
    evbuffer_drain(w->work, w->writing);
    go_on(w);
    if (w->step != WRITE_FLOW || !w->full || unwritten(w) > WRITE_LOW) return;
    w->full = false;
    w->events->drained(w->arg);
}

static void writer_go(struct spool_writer *w, enum write_step next)
{
    w->step = next;
    switch (next) {
    case WRITE_FLOW: break;
    case WRITE_LAST:
        if (!w->file.busy) go_on(w);
        break;
    case WRITE_SYNC: spool_give(&w->file, work_finish, on_synced); break;
    case WRITE_DROP:
        if (!w->file.busy)
            spool_give(&w->file, w->doomed ? work_drop_with_dir : work_drop, on_dropped);
        break;
    case WRITE_OVER: spool_end(&w->file); break;
    }
}

/* ---- calls ------------------------------------------------------------------------------ */

static void cancel(struct mkv_spool_file *f)
{
    struct spool_writer *w = (struct spool_writer *)f;

    w->events = NULL;
    if (w->step != WRITE_DROP) writer_go(w, WRITE_DROP);
}

void spool_writer_doom(struct mkv_spool_file *f)
{
    struct spool_writer *w = (struct spool_writer *)f;

    w->doomed = true;
    if (w->step != WRITE_DROP) fail(w, MKV_ENOKEY);
}

static void destroy(void *arg)
{
    struct spool_writer *w = arg;

    if (w->gather) evbuffer_free(w->gather);
    if (w->work) evbuffer_free(w->work);
    free(w);
}

enum mkv_err mkv_spool_write(struct mkv_spool_file **out, struct mkv_spool *s,
                             const struct mkv_spool_name *name,
                             const struct mkv_spool_write_events *events, void *arg)
{
    struct spool_writer *w = calloc(1, sizeof(*w));

    if (!w) return MKV_ENOMEM;
    w->gather = evbuffer_new();
    w->work = evbuffer_new();
    if (!w->gather || !w->work) {
        destroy(w);
        return MKV_ENOMEM;
    }
    w->file.writes = true;
    w->file.cancel = cancel;
    w->file.destroy = destroy;
    w->events = events;
    w->arg = arg;
    spool_begin(s, &w->file, name);
    *out = &w->file;
    return MKV_OK;
}

void mkv_spool_add(struct mkv_spool_file *f, struct mkv_bytes piece)
{
    struct spool_writer *w = (struct spool_writer *)f;

    if (w->step != WRITE_FLOW) return; /* it has failed: done() will say so */
    if (mkv_bytes_append(w->gather, piece)) {
        fail(w, MKV_ENOMEM);
        return;
    }
    if (unwritten(w) >= SPOOL_AHEAD) w->full = true;
    if (!f->busy) go_on(w);
}

bool mkv_spool_full(const struct mkv_spool_file *f)
{
    return ((const struct spool_writer *)f)->full;
}

void mkv_spool_end(struct mkv_spool_file *f)
{
    struct spool_writer *w = (struct spool_writer *)f;

    if (w->step == WRITE_FLOW) writer_go(w, WRITE_LAST);
}
