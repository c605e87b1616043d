#include "jobs/digester.h"

#include "base/md5_lanes.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

enum stream_step {
    STREAM_FILL, /* more may come                               */
    STREAM_LAST, /* no more comes; not everything is digested   */
    STREAM_FREE  /* nobody's; a thread may still have its piece */
};

struct digest_stream {
    struct digester *digester;  /* borrowed */
    enum stream_step step;
    bool busy;                  /* work and lane are a thread's until it is finished */
    bool wants_room;
    struct md5_lane lane;       /* the digest so far */
    uint8_t *fill, *work;       /* owned: two pieces; they change places */
    size_t fill_len, work_len;
    struct mkv_chore end;
    const struct digest_events *events;
    void *arg;                  /* the caller's */
    LIST_ENTRY(digest_stream) all;
    SLIST_ENTRY(digest_stream) spare;
    STAILQ_ENTRY(digest_stream) turn; /* in queue or finished */
};

STAILQ_HEAD(stream_queue, digest_stream);

struct digester {
    struct mkv_loop *loop;      /* borrowed */
    LIST_HEAD(, digest_stream) all;    /* owned */
    SLIST_HEAD(, digest_stream) spare; /* of all: free, and no thread has them */
    struct event *woken;        /* owned: wake_fd is readable */
    int wake_fd;
    pthread_t threads[DIGESTER_THREADS];
    unsigned nthreads;
    /* All threads', under lock. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct stream_queue queue, finished;
    unsigned queued, open;      /* streams in queue; streams that are somebody's */
    bool stop;
};

/* ---- the threads ------------------------------------------------------------------- */

/* What several streams wait for, taken at once. */
struct share {
    struct digest_stream *streams[MD5_LANES];
    struct md5_lane *lanes[MD5_LANES];
    struct mkv_slice pieces[MD5_LANES];
    size_t n;
};

/* Under lock. */
static void take_share(struct digester *d, struct share *share)
{
    struct digest_stream *s;

    share->n = 0;
    while (share->n < MD5_LANES && (s = STAILQ_FIRST(&d->queue))) {
        STAILQ_REMOVE_HEAD(&d->queue, turn);
        d->queued--;
        share->streams[share->n] = s;
        share->lanes[share->n] = &s->lane;
        share->pieces[share->n++] = mkv_slice((const char *)s->work, s->work_len);
    }
}

/* Under lock: until there is work for all lanes, or from all streams, or the first
 * piece has waited long enough: a share of one costs as much as one of eight. */
static void wait_for_work(struct digester *d)
{
    struct timespec until;

    while (!d->queued && !d->stop) pthread_cond_wait(&d->work, &d->lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += DIGESTER_GATHER_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (d->queued < MD5_LANES && d->queued < d->open && !d->stop)
        if (pthread_cond_timedwait(&d->work, &d->lock, &until)) break;
}

static void *run(void *arg)
{
    struct digester *d = arg;
    const uint64_t one = 1;
    struct share share;

    pthread_mutex_lock(&d->lock);
    for (;;) {
        wait_for_work(d);
        if (d->stop) break;
        take_share(d, &share);
        pthread_mutex_unlock(&d->lock);
        md5_lanes_add(share.lanes, share.pieces, share.n);
        pthread_mutex_lock(&d->lock);
        for (size_t i = 0; i < share.n; i++)
            STAILQ_INSERT_TAIL(&d->finished, share.streams[i], turn);
        if (write(d->wake_fd, &one, sizeof(one)) < 0) {} /* full: the loop is awake anyway */
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- streams ------------------------------------------------------------------------- */

static void hand_over(struct digest_stream *s)
{
    struct digester *d = s->digester;
    uint8_t *full = s->fill;

    s->fill = s->work;
    s->work = full;
    s->work_len = s->fill_len;
    s->fill_len = 0;
    s->busy = true;
    pthread_mutex_lock(&d->lock);
    STAILQ_INSERT_TAIL(&d->queue, s, turn);
    d->queued++;
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
}

static void put_back(struct digest_stream *s)
{
    s->step = STREAM_FREE;
    mkv_loop_forget(s->digester->loop, &s->end);
    if (s->busy) return; /* when the thread has finished */
    pthread_mutex_lock(&s->digester->lock);
    s->digester->open--;
    pthread_mutex_unlock(&s->digester->lock);
    SLIST_INSERT_HEAD(&s->digester->spare, s, spare);
}

static void on_end(void *arg)
{
    struct digest_stream *s = arg;
    const struct digest_events *events = s->events;
    void *caller = s->arg;
    uint8_t md5[MKV_MD5_LEN];

    md5_lanes_add(&(struct md5_lane *){&s->lane},
                  &(struct mkv_slice){(const char *)s->fill, s->fill_len}, 1);
    md5_lane_final(&s->lane, md5);
    put_back(s);
    events->done(md5, caller);
}

/* No thread has a piece of it: what is to be done now? */
static void go_on(struct digest_stream *s)
{
    if (s->step == STREAM_LAST && s->fill_len <= DIGESTER_SMALL)
        mkv_loop_at_end(s->digester->loop, &s->end);
    else if (s->step == STREAM_LAST || s->fill_len == DIGESTER_PIECE)
        hand_over(s);
}

static void on_finished(struct digest_stream *s)
{
    bool wants_room = s->wants_room;

    s->busy = s->wants_room = false;
    if (s->step == STREAM_FREE) {
        put_back(s);
        return;
    }
    go_on(s);
    if (wants_room) s->events->room(s->arg);
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
    struct digester *d = arg;
    struct stream_queue finished = STAILQ_HEAD_INITIALIZER(finished);
    struct digest_stream *s;
    uint64_t n;

    (void)what;
    if (read(fd, &n, sizeof(n)) < 0) {} /* only wakes */
    pthread_mutex_lock(&d->lock);
    STAILQ_CONCAT(&finished, &d->finished);
    pthread_mutex_unlock(&d->lock);
    while ((s = STAILQ_FIRST(&finished))) {
        STAILQ_REMOVE_HEAD(&finished, turn);
        on_finished(s);
    }
}

static void free_stream(struct digest_stream *s)
{
    free(s->fill);
    free(s->work);
    free(s);
}

static struct digest_stream *new_stream(struct digester *d)
{
    struct digest_stream *s = calloc(1, sizeof(*s));

    if (!s) return NULL;
    s->digester = d;
    s->end.run = on_end;
    s->end.arg = s;
    s->fill = malloc(DIGESTER_PIECE);
    s->work = malloc(DIGESTER_PIECE);
    if (!s->fill || !s->work) {
        free_stream(s);
        return NULL;
    }
    LIST_INSERT_HEAD(&d->all, s, all);
    SLIST_INSERT_HEAD(&d->spare, s, spare);
    return s;
}

enum mkv_err digest_stream_open(struct digest_stream **out, struct digester *d,
                                const struct digest_events *events, void *arg)
{
    struct digest_stream *s = SLIST_FIRST(&d->spare);

    if (!s) s = new_stream(d);
    if (!s) return MKV_ENOMEM;
    md5_lane_init(&s->lane);
    SLIST_REMOVE_HEAD(&d->spare, spare);
    pthread_mutex_lock(&d->lock);
    d->open++;
    pthread_mutex_unlock(&d->lock);
    s->step = STREAM_FILL;
    s->fill_len = 0;
    s->wants_room = false;
    s->events = events;
    s->arg = arg;
    *out = s;
    return MKV_OK;
}

size_t digest_stream_add(struct digest_stream *s, const void *data, size_t len)
{
    size_t taken = 0;

    while (taken < len) {
        size_t n = DIGESTER_PIECE - s->fill_len;

        if (n > len - taken) n = len - taken;
        memcpy(s->fill + s->fill_len, (const uint8_t *)data + taken, n);
        s->fill_len += n;
        taken += n;
        if (s->fill_len < DIGESTER_PIECE) break;
        if (s->busy) {
            s->wants_room = taken < len;
            break;
        }
        hand_over(s);
    }
    return taken;
}

void digest_stream_end(struct digest_stream *s)
{
    s->step = STREAM_LAST;
    if (!s->busy) go_on(s);
}

void digest_stream_cancel(struct digest_stream *s)
{
    if (s) put_back(s);
}

/* ---- open, close ------------------------------------------------------------------------ */

static unsigned threads_wanted(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (processors > DIGESTER_THREADS) return DIGESTER_THREADS;
    return processors > 1 ? (unsigned)processors - 1 : 1;
}

enum mkv_err digester_open(struct digester **out, struct mkv_loop *loop)
{
    struct digester *d = calloc(1, sizeof(*d));
    enum mkv_err err = MKV_ENOMEM;

    if (!d) return MKV_ENOMEM;
    d->loop = loop;
    STAILQ_INIT(&d->queue);
    STAILQ_INIT(&d->finished);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->work, NULL);
    d->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (d->wake_fd < 0) goto out;
    d->woken = event_new(mkv_loop_base(loop), d->wake_fd, EV_READ | EV_PERSIST, on_woken, d);
    if (!d->woken || event_add(d->woken, NULL)) goto out;
    while (d->nthreads < threads_wanted() &&
           !pthread_create(&d->threads[d->nthreads], NULL, run, d))
        d->nthreads++;
    if (!d->nthreads) goto out;
    *out = d;
    d = NULL;
    err = MKV_OK;
out:
    digester_close(d);
    return err;
}

void digester_close(struct digester *d)
{
    struct digest_stream *s;

    if (!d) return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_broadcast(&d->work);
    pthread_mutex_unlock(&d->lock);
    for (unsigned i = 0; i < d->nthreads; i++) pthread_join(d->threads[i], NULL);
    while ((s = LIST_FIRST(&d->all))) {
        LIST_REMOVE(s, all);
        mkv_loop_forget(d->loop, &s->end);
        free_stream(s);
    }
    if (d->woken) event_free(d->woken);
    if (d->wake_fd >= 0) close(d->wake_fd);
    pthread_cond_destroy(&d->work);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
