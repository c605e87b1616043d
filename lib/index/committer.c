/* The thread that commits, and the queue in front of it.
 *
 * Changes of one turn of the loop are handed over at its end: one lock, one
 * signal.  While a group is being committed the next one gathers. */
#include "index/index_impl.h"
#include "mkv/log.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define GATHER_SHARE 3 /* changes that are here for each one to come: see mkv_index_writers() */

/* ---- the committer's thread --------------------------------------------------------- */

static void wake_loop(struct committer *m)
{
    uint64_t one = 1;
    ssize_t n;

    do n = write(m->wake_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR); /* it can not be full: the loop is told once a group */
}

/* Under lock. */
static bool has_enough(struct committer *m)
{
    int writers = atomic_load_explicit(&m->writers, memory_order_relaxed);

    return writers <= 0 || m->queue.count >= GATHER_SHARE * (size_t)writers;
}

/* Under lock: until most of the writes under way have brought their changes, or
 * the time is up. */
static void gather(struct committer *m)
{
    struct timespec until;

    if (has_enough(m)) return;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += MKV_INDEX_GATHER_US * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    m->gathering = true;
    while (!has_enough(m) && !m->stop)
        if (pthread_cond_timedwait(&m->work, &m->lock, &until)) break;
    m->gathering = false;
}

static void *run(void *arg)
{
    struct mkv_index *ix = arg;
    struct committer *m = &ix->committer;
    struct change_list group;

    list_init(&group);
    pthread_mutex_lock(&m->lock);
    for (;;) {
        m->idle = true;
        while (!m->queue.first && !m->stop) pthread_cond_wait(&m->work, &m->lock);
        m->idle = false;
        if (!m->queue.first) break;
        gather(m);
        list_join(&group, &m->queue);
        pthread_mutex_unlock(&m->lock);
        index_commit(ix, &group);
        pthread_mutex_lock(&m->lock);
        list_join(&m->finished, &group);
        pthread_mutex_unlock(&m->lock);
        wake_loop(m); /* without the lock: it is the first thing the loop takes */
        pthread_mutex_lock(&m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- the loop's side ------------------------------------------------------------------ */

static void hand_over(void *arg)
{
    struct mkv_index *ix = arg;
    struct committer *m = &ix->committer;
    bool wake;

    pthread_mutex_lock(&m->lock);
    list_join(&m->queue, &m->later); /* in the order in which they came, as far as it matters */
    list_join(&m->queue, &m->turn);
    wake = m->idle || (m->gathering && has_enough(m));
    pthread_mutex_unlock(&m->lock);
    if (wake) pthread_cond_signal(&m->work);
}

void mkv_index_writers(struct mkv_index *ix, int more_or_fewer)
{
    atomic_fetch_add_explicit(&ix->committer.writers, more_or_fewer, memory_order_relaxed);
}

static void leave_going(struct change *c)
{
    *c->going_prev = c->going;
    if (c->going) c->going->going_prev = c->going_prev;
}

static void tell(struct mkv_index *ix, struct change_list *list)
{
    struct change *c;

    while ((c = list_take(list))) {
        if (!c->err) marks_clear(&ix->marks, c->unmark); /* else the files are still to be named */
        if (c->id_out) *c->id_out = c->id;
        if (c->going_prev) leave_going(c);
        if (c->done) c->done(c->err, c->arg);
        free(c);
    }
}

static void call_back(struct mkv_index *ix)
{
    struct committer *m = &ix->committer;
    struct change_list finished;

    list_init(&finished);
    pthread_mutex_lock(&m->lock);
    list_join(&finished, &m->finished);
    pthread_mutex_unlock(&m->lock);
    index_read_end(ix); /* so that what a callback reads is what was committed */
    tell(ix, &finished);
}

static void call_back_at_once(void *arg)
{
    struct mkv_index *ix = arg;

    tell(ix, &ix->committer.at_once);
}

static void on_woken(int fd, short what, void *arg)
{
    uint64_t groups;
    ssize_t n = read(fd, &groups, sizeof(groups));

    (void)what;
    (void)n; /* without a count there is still nothing to lose by looking */
    call_back(arg);
}

void committer_add(struct mkv_index *ix, struct change *c)
{
    list_add(&ix->committer.turn, c);
    mkv_loop_at_end(ix->loop, &ix->committer.hand_over);
}

void committer_add_later(struct mkv_index *ix, struct change *c)
{
    static const struct timeval then = {0, MKV_INDEX_LATER_MS * 1000};
    struct committer *m = &ix->committer;

    c->going = ix->going;
    c->going_prev = &ix->going;
    if (c->going) c->going->going_prev = &c->going;
    ix->going = c;
    list_add(&m->later, c);
    if (event_pending(m->late, EV_TIMEOUT, NULL)) return;
    if (event_add(m->late, &then)) mkv_loop_at_end(ix->loop, &m->hand_over);
}

static void on_late(int fd, short what, void *arg)
{
    struct mkv_index *ix = arg;

    (void)fd;
    (void)what;
    if (ix->committer.later.first) mkv_loop_at_end(ix->loop, &ix->committer.hand_over);
}

void committer_skip(struct mkv_index *ix, struct change *c)
{
    list_add(&ix->committer.at_once, c);
    mkv_loop_at_end(ix->loop, &ix->committer.call_back);
}

/* ---- start and stop -------------------------------------------------------------------- */

/* Signals are the loop's business. */
static int start_thread(struct mkv_index *ix)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&ix->committer.thread, NULL, run, ix);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

enum mkv_err committer_start(struct mkv_index *ix)
{
    struct committer *m = &ix->committer;

    m->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->wake_fd < 0) return MKV_EIO;
    m->woken = event_new(mkv_loop_base(ix->loop), m->wake_fd, EV_READ | EV_PERSIST, on_woken, ix);
    m->late = event_new(mkv_loop_base(ix->loop), -1, 0, on_late, ix);
    if (!m->woken || !m->late || event_add(m->woken, NULL)) return MKV_ENOMEM;
    m->hand_over.run = hand_over;
    m->hand_over.arg = ix;
    m->call_back.run = call_back_at_once;
    m->call_back.arg = ix;
    if (start_thread(ix)) return MKV_ENOMEM;
    pthread_setname_np(m->thread, "mkv-committer"); /* as top -H and perf show it */
    m->started = true;
    return MKV_OK;
}

void committer_stop(struct mkv_index *ix)
{
    struct committer *m = &ix->committer;

    m->closing = true;
    if (m->started) {
        mkv_loop_forget(ix->loop, &m->hand_over);
        mkv_loop_forget(ix->loop, &m->call_back);
        pthread_mutex_lock(&m->lock);
        list_join(&m->queue, &m->later);
        list_join(&m->queue, &m->turn);
        m->stop = true;
        pthread_cond_signal(&m->work);
        pthread_mutex_unlock(&m->lock);
        pthread_join(m->thread, NULL);
        call_back_at_once(ix);
        call_back(ix);
    }
    m->started = false;
    if (m->woken) event_free(m->woken);
    if (m->late) event_free(m->late);
    if (m->wake_fd >= 0) close(m->wake_fd);
}
