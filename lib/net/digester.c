#include "net/digester.h"

#include "base/md5_lanes.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#define PIECES_MAX 32 /* of one stream that a thread takes at once */

enum stream_step {
    STREAM_SHORT, /* so far the loop has digested what came      */
    STREAM_LONG,  /* threads do                                  */
    STREAM_LAST,  /* no more comes; not everything is digested   */
    STREAM_FREE   /* nobody's; a thread may still have its bytes */
};

struct digest_stream {
    struct digester *digester; /* borrowed */
    enum stream_step step;
    bool busy;                 /* the digests, work and pieces are a thread's until it has finished */
    bool full;
    size_t len;                /* bytes so far, while short */
    bool md5;
    struct md5_lane lane;      /* the MD5 so far */
    struct digest_sum sums[DIGESTER_SUMS_MAX]; /* their states owned */
    size_t nsums;
    struct evbuffer *fill;     /* owned: what has come since work was handed over; NULL: short */
    struct evbuffer *work;     /* owned: begins with the pieces; as fill */
    struct evbuffer_iovec pieces[PIECES_MAX]; /* what the thread digests */
    size_t npieces;
    size_t piece, offset;      /* how far the MD5 of them has come */
    struct mkv_chore end;
    const struct digest_events *events;
    void *arg;                 /* the caller's */
    unsigned round;            /* in which it last had something to do; 0: none; under lock */
    bool urgent;               /* nothing comes after these pieces; under lock */
    LIST_ENTRY(digest_stream) all;
    STAILQ_ENTRY(digest_stream) turn; /* in queue or finished */
};

STAILQ_HEAD(stream_queue, digest_stream);

struct digester {
    struct mkv_loop *loop;      /* borrowed */
    unsigned gather_ms;
    LIST_HEAD(, digest_stream) all; /* owned */
    unsigned nlong;             /* of them: those that are, or were, STREAM_LONG */
    struct event *woken;        /* owned: wake_fd is readable */
    int wake_fd;
    pthread_t threads[DIGESTER_THREADS];
    unsigned nthreads;
    /* All threads', under lock. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct stream_queue queue, finished;
    unsigned queued, urgent;    /* streams in queue; those of them that nobody may hold up */
    unsigned round;             /* ends where a piece has waited in vain */
    unsigned active;            /* streams that had something to do in this round: they may again */
    bool stop;
};

/* ---- what threads do ----------------------------------------------------------------- */

/* What several streams wait for, taken at once. */
struct share {
    struct digest_stream *streams[MD5_LANES];
    size_t n;
};

static size_t piece_left(const struct digest_stream *s)
{
    return s->pieces[s->piece].iov_len - s->offset;
}

static void move_on(struct digest_stream *s, size_t len)
{
    s->offset += len;
    if (piece_left(s)) return;
    s->piece++;
    s->offset = 0;
}

static bool is_over(const struct digest_stream *s)
{
    return s->piece == s->npieces;
}

/* Of all its pieces. */
static size_t left(const struct digest_stream *s)
{
    size_t sum = 0;

    for (size_t i = s->piece; i < s->npieces; i++) sum += s->pieces[i].iov_len;
    return sum - s->offset;
}

/* So many bytes of each stream.  As much at a time as all have in one piece. */
static void take_md5s(struct digest_stream *const *streams, size_t n, size_t len)
{
    struct md5_lane *lanes[MD5_LANES] = {NULL};
    struct mkv_slice slices[MD5_LANES] = {{NULL, 0}};

    while (len) {
        size_t least = len;

        for (size_t i = 0; i < n; i++)
            if (piece_left(streams[i]) < least) least = piece_left(streams[i]);
        for (size_t i = 0; i < n; i++) {
            const char *data = streams[i]->pieces[streams[i]->piece].iov_base;

            lanes[i] = &streams[i]->lane;
            slices[i] = mkv_slice(data + streams[i]->offset, least);
        }
        md5_lanes_add(lanes, slices, n);
        for (size_t i = 0; i < n; i++) move_on(streams[i], least);
        len -= least;
    }
}

static void take_sums(struct digest_stream *s)
{
    for (size_t sum = 0; sum < s->nsums; sum++)
        for (size_t i = 0; i < s->npieces; i++)
            s->sums[sum].add(s->sums[sum].state, s->pieces[i].iov_base, s->pieces[i].iov_len);
}

static size_t shortest(struct digest_stream *const *streams, size_t n)
{
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < n; i++)
        if (left(streams[i]) < least) least = left(streams[i]);
    return least;
}

/* Those that have something left come first, in the same order; how many. */
static size_t drop_over(struct digest_stream **streams, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (!is_over(streams[i])) streams[kept++] = streams[i];
    return kept;
}

/* MD5s side by side cost as much for three as for eight: they go on while half of them
 * have something left, and what then is left goes with the next ones.  Were it only
 * until the first has nothing left, one that brings little would hold up all. */
static void digest(const struct share *share)
{
    struct digest_stream *side_by_side[MD5_LANES];
    size_t n = 0, half;

    for (size_t i = 0; i < share->n; i++) {
        struct digest_stream *s = share->streams[i];

        if (s->piece == 0 && s->offset == 0) take_sums(s);
        if (!s->md5)
            s->piece = s->npieces;
        else
            side_by_side[n++] = s;
    }
    if (n <= MD5_FEW) {
        for (size_t i = 0; i < n; i++) take_md5s(&side_by_side[i], 1, left(side_by_side[i]));
        return;
    }
    half = n / 2;
    while (n >= half && n > MD5_FEW) {
        take_md5s(side_by_side, n, shortest(side_by_side, n));
        n = drop_over(side_by_side, n);
    }
}

/* ---- the threads ------------------------------------------------------------------- */

/* Under lock. */
static void take_share(struct digester *d, struct share *share)
{
    struct digest_stream *s;

    share->n = 0;
    while (share->n < MD5_LANES && (s = STAILQ_FIRST(&d->queue))) {
        STAILQ_REMOVE_HEAD(&d->queue, turn);
        d->queued--;
        d->urgent -= s->urgent;
        share->streams[share->n++] = s;
    }
}

/* Under lock. */
static void put_in_queue(struct digester *d, struct digest_stream *s)
{
    if (s->round != d->round) d->active++;
    s->round = d->round;
    STAILQ_INSERT_TAIL(&d->queue, s, turn);
    d->queued++;
    d->urgent += s->urgent;
}

/* Under lock: a share of one costs nearly as much as one of eight, so it is
 * worth a moment to wait for those streams that have been at work lately. */
static bool is_worth_waiting(const struct digester *d)
{
    return d->queued && d->queued < MD5_LANES && d->queued < d->active && !d->urgent && !d->stop;
}

/* Under lock: somebody was waited for in vain; from now on only those count that are here. */
static void next_round(struct digester *d)
{
    struct digest_stream *s;

    d->round++;
    d->active = 0;
    STAILQ_FOREACH(s, &d->queue, turn) {
        s->round = d->round;
        d->active++;
    }
}

/* Under lock. */
static void wait_for_work(struct digester *d)
{
    struct timespec until;

    while (!d->queued && !d->stop) pthread_cond_wait(&d->work, &d->lock);
    if (!is_worth_waiting(d)) return;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += d->gather_ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (is_worth_waiting(d))
        if (pthread_cond_timedwait(&d->work, &d->lock, &until)) next_round(d);
}

/* Under lock.  The loop is woken once for all that it finds. */
static void put_back(struct digester *d, const struct share *share)
{
    const uint64_t one = 1;
    bool sleeping = STAILQ_EMPTY(&d->finished);

    for (size_t i = 0; i < share->n; i++) {
        struct digest_stream *s = share->streams[i];

        if (is_over(s))
            STAILQ_INSERT_TAIL(&d->finished, s, turn);
        else
            put_in_queue(d, s);
    }
    if (!sleeping || STAILQ_EMPTY(&d->finished)) return;
    if (write(d->wake_fd, &one, sizeof(one)) < 0) {} /* full: it is awake anyway */
}

static void *run(void *arg)
{
    struct digester *d = arg;
    struct share share;

    pthread_mutex_lock(&d->lock);
    for (;;) {
        wait_for_work(d);
        if (d->stop) break;
        take_share(d, &share);
        if (!share.n) continue; /* another thread has got it all */
        pthread_mutex_unlock(&d->lock);
        digest(&share);
        pthread_mutex_lock(&d->lock);
        put_back(d, &share);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- streams: to the threads ------------------------------------------------------------ */

static size_t behind(const struct digest_stream *s)
{
    return s->fill ? evbuffer_get_length(s->fill) + evbuffer_get_length(s->work) : 0;
}

/* What one of them may be behind. */
static size_t part(const struct digester *d)
{
    size_t each = DIGESTER_HIGH / (d->nlong ? d->nlong : 1);

    return each > DIGESTER_PART ? each : DIGESTER_PART;
}

/* Under lock: a thread may have to look again at what it is waiting for. */
static void wake_thread(struct digester *d)
{
    if (d->queued == 1 || (d->queued && !is_worth_waiting(d))) pthread_cond_signal(&d->work);
}

static void enqueue(struct digest_stream *s)
{
    struct digester *d = s->digester;

    pthread_mutex_lock(&d->lock);
    s->urgent = s->step == STREAM_LAST;
    put_in_queue(d, s);
    wake_thread(d);
    pthread_mutex_unlock(&d->lock);
}

/* Everything in fill goes behind what is left in work, which is not touched
 * while a thread has pieces of it. */
static void take_pieces(struct digest_stream *s)
{
    int n;

    evbuffer_add_buffer(s->work, s->fill);
    n = evbuffer_peek(s->work, -1, NULL, s->pieces, PIECES_MAX);
    s->npieces = n < PIECES_MAX ? (size_t)n : PIECES_MAX;
    s->piece = s->offset = 0;
}

static void hand_over(struct digest_stream *s)
{
    take_pieces(s);
    s->busy = true;
    enqueue(s);
}

static void drop_pieces(struct digest_stream *s)
{
    size_t len = 0;

    for (size_t i = 0; i < s->npieces; i++) len += s->pieces[i].iov_len;
    evbuffer_drain(s->work, len);
    s->npieces = 0;
}

/* ---- streams: the end -------------------------------------------------------------------- */

/* No longer waited for. */
static void leave_round(struct digest_stream *s)
{
    struct digester *d = s->digester;

    pthread_mutex_lock(&d->lock);
    if (s->round == d->round) d->active--;
    wake_thread(d);
    pthread_mutex_unlock(&d->lock);
}

/* No thread has anything of it. */
static void free_stream(struct digest_stream *s)
{
    mkv_loop_forget(s->digester->loop, &s->end);
    LIST_REMOVE(s, all);
    if (s->fill) s->digester->nlong--;
    for (size_t i = 0; i < s->nsums; i++)
        if (s->sums[i].destroy) s->sums[i].destroy(s->sums[i].state);
    if (s->fill) evbuffer_free(s->fill);
    if (s->work) evbuffer_free(s->work);
    free(s);
}

static void end_stream(struct digest_stream *s)
{
    if (s->fill) leave_round(s);
    free_stream(s);
}

/* In the loop's thread. */
static void digest_here(struct digest_stream *s)
{
    const struct share alone = {.streams = {s}, .n = 1};

    digest(&alone);
}

static void on_end(void *arg)
{
    struct digest_stream *s = arg;
    uint8_t md5[MKV_MD5_LEN];

    while (behind(s)) {
        take_pieces(s);
        digest_here(s);
        drop_pieces(s);
    }
    if (s->md5) md5_lanes_final(&(struct md5_lane *){&s->lane}, &md5, 1);
    s->events->done(s->md5 ? md5 : NULL, s->arg);
    end_stream(s);
}

/* No thread has a piece of it: what is to be done now? */
static void go_on(struct digest_stream *s)
{
    if (behind(s) >= DIGESTER_LEAST)
        hand_over(s);
    else if (s->step == STREAM_LAST)
        mkv_loop_at_end(s->digester->loop, &s->end);
}

static void on_finished(struct digest_stream *s)
{
    s->busy = false;
    drop_pieces(s);
    if (s->step == STREAM_FREE) {
        end_stream(s);
        return;
    }
    go_on(s);
    if (!s->full || behind(s) > part(s->digester) / 4 * 3) return;
    s->full = false;
    if (s->step == STREAM_LONG) s->events->room(s->arg);
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

/* ---- streams: from outside ------------------------------------------------------------------ */

enum mkv_err digest_stream_open(struct digest_stream **out, struct digester *d,
                                const struct digest_options *opt,
                                const struct digest_events *events, void *arg)
{
    struct digest_stream *s;

    if (opt->nsums > DIGESTER_SUMS_MAX) return MKV_EINVAL;
    s = calloc(1, sizeof(*s));
    if (!s) return MKV_ENOMEM;
    s->digester = d;
    s->step = STREAM_SHORT;
    s->md5 = opt->md5;
    md5_lane_init(&s->lane);
    s->nsums = opt->nsums;
    for (size_t i = 0; i < opt->nsums; i++) s->sums[i] = opt->sums[i];
    s->end.run = on_end;
    s->end.arg = s;
    s->events = events;
    s->arg = arg;
    LIST_INSERT_HEAD(&d->all, s, all);
    *out = s;
    return MKV_OK;
}

static enum mkv_err add_short(struct digest_stream *s, struct mkv_bytes bytes)
{
    s->pieces[0] = (struct evbuffer_iovec){(void *)(uintptr_t)bytes.data, bytes.len};
    s->npieces = 1;
    s->piece = s->offset = 0;
    digest_here(s);
    s->npieces = 0;
    s->len += bytes.len;
    return MKV_OK;
}

static enum mkv_err make_long(struct digest_stream *s)
{
    struct evbuffer *fill = evbuffer_new(), *work = evbuffer_new();

    if (!fill || !work) {
        if (fill) evbuffer_free(fill);
        if (work) evbuffer_free(work);
        return MKV_ENOMEM;
    }
    s->fill = fill;
    s->work = work;
    s->step = STREAM_LONG;
    s->digester->nlong++;
    return MKV_OK;
}

enum mkv_err digest_stream_add(struct digest_stream *s, struct mkv_bytes bytes)
{
    enum mkv_err err = MKV_OK;

    if (!bytes.len) return MKV_OK;
    if (s->step == STREAM_SHORT && bytes.len <= DIGESTER_SHORT - s->len) return add_short(s, bytes);
    if (s->step == STREAM_SHORT) err = make_long(s);
    if (!err) err = mkv_bytes_append(s->fill, bytes);
    if (err) return err;
    if (behind(s) > part(s->digester)) s->full = true;
    if (!s->busy && behind(s) >= DIGESTER_LEAST) hand_over(s);
    return MKV_OK;
}

bool digest_stream_full(const struct digest_stream *s)
{
    return s->full;
}

void digest_stream_end(struct digest_stream *s)
{
    s->step = STREAM_LAST;
    if (!s->busy) go_on(s);
}

void digest_stream_cancel(struct digest_stream *s)
{
    if (!s) return;
    s->step = STREAM_FREE;
    if (!s->busy) end_stream(s);
}

/* ---- open, close ------------------------------------------------------------------------ */

static unsigned threads_wanted(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (processors > DIGESTER_THREADS) return DIGESTER_THREADS;
    return processors > 1 ? (unsigned)processors - 1 : 1;
}

/* Signals are the loop's. */
static void start_threads(struct digester *d)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (d->nthreads < threads_wanted() &&
           !pthread_create(&d->threads[d->nthreads], NULL, run, d)) {
        pthread_setname_np(d->threads[d->nthreads], "mkv-digester");
        d->nthreads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void init_lock(struct digester *d)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&d->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum mkv_err digester_open(struct digester **out, struct mkv_loop *loop, unsigned gather_ms)
{
    struct digester *d = calloc(1, sizeof(*d));
    enum mkv_err err = MKV_ENOMEM;

    if (!d) return MKV_ENOMEM;
    d->loop = loop;
    d->gather_ms = gather_ms;
    d->round = 1;
    LIST_INIT(&d->all);
    STAILQ_INIT(&d->queue);
    STAILQ_INIT(&d->finished);
    init_lock(d);
    d->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (d->wake_fd < 0) goto out;
    d->woken = event_new(mkv_loop_base(loop), d->wake_fd, EV_READ | EV_PERSIST, on_woken, d);
    if (!d->woken || event_add(d->woken, NULL)) goto out;
    start_threads(d);
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
    if (!d) return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_broadcast(&d->work);
    pthread_mutex_unlock(&d->lock);
    for (unsigned i = 0; i < d->nthreads; i++) pthread_join(d->threads[i], NULL);
    while (!LIST_EMPTY(&d->all)) free_stream(LIST_FIRST(&d->all));
    if (d->woken) event_free(d->woken);
    if (d->wake_fd >= 0) close(d->wake_fd);
    pthread_cond_destroy(&d->work);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
