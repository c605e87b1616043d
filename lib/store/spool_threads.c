#include "store/spool_threads.h"

#include "mkv/spool.h"

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

STAILQ_HEAD(job_queue, spool_job);

struct spool_threads {
    struct event *woken; /* owned: wake_fd is readable */
    int wake_fd;
    pthread_t threads[SPOOL_THREADS];
    unsigned nthreads;
    /* All threads', under lock. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job_queue queue, finished;
    bool stop;
};

/* ---- the threads ------------------------------------------------------------------- */

/* Under lock.  The loop takes all that is there: it is woken for the first only. */
static void hand_back(struct spool_threads *t, struct spool_job *job)
{
    const uint64_t one = 1;
    bool wake = STAILQ_EMPTY(&t->finished);

    STAILQ_INSERT_TAIL(&t->finished, job, next);
    if (wake && write(t->wake_fd, &one, sizeof(one)) < 0) {} /* full: the loop is awake anyway */
}

static void *run(void *arg)
{
    struct spool_threads *t = arg;
    struct spool_job *job;

    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (STAILQ_EMPTY(&t->queue) && !t->stop) pthread_cond_wait(&t->work, &t->lock);
        if (t->stop) break;
        job = STAILQ_FIRST(&t->queue);
        STAILQ_REMOVE_HEAD(&t->queue, next);
        pthread_mutex_unlock(&t->lock);
        job->work(job->arg);
        pthread_mutex_lock(&t->lock);
        hand_back(t, job);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- the loop's side ------------------------------------------------------------------ */

void spool_threads_give(struct spool_threads *t, struct spool_job *job)
{
    pthread_mutex_lock(&t->lock);
    STAILQ_INSERT_TAIL(&t->queue, job, next);
    pthread_cond_signal(&t->work);
    pthread_mutex_unlock(&t->lock);
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
    struct spool_threads *t = arg;
    struct job_queue finished = STAILQ_HEAD_INITIALIZER(finished);
    struct spool_job *job;
    uint64_t n;

    (void)what;
    if (read(fd, &n, sizeof(n)) < 0) {} /* only wakes */
    pthread_mutex_lock(&t->lock);
    STAILQ_CONCAT(&finished, &t->finished);
    pthread_mutex_unlock(&t->lock);
    while ((job = STAILQ_FIRST(&finished))) {
        STAILQ_REMOVE_HEAD(&finished, next);
        job->finished(job->arg);
    }
}

/* ---- open, close ------------------------------------------------------------------------ */

/* Signals are the loop's business. */
static void start_threads(struct spool_threads *t)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (t->nthreads < SPOOL_THREADS &&
           !pthread_create(&t->threads[t->nthreads], NULL, run, t)) {
        pthread_setname_np(t->threads[t->nthreads], "mkv-spool"); /* as top -H shows it */
        t->nthreads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

enum mkv_err spool_threads_open(struct spool_threads **out, struct mkv_loop *loop)
{
    struct spool_threads *t = calloc(1, sizeof(*t));
    enum mkv_err err = MKV_ENOMEM;

    if (!t) return MKV_ENOMEM;
    STAILQ_INIT(&t->queue);
    STAILQ_INIT(&t->finished);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->work, NULL);
    t->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (t->wake_fd < 0) goto out;
    t->woken = event_new(mkv_loop_base(loop), t->wake_fd, EV_READ | EV_PERSIST, on_woken, t);
    if (!t->woken || event_add(t->woken, NULL)) goto out;
    start_threads(t);
    if (!t->nthreads) goto out;
    *out = t;
    t = NULL;
    err = MKV_OK;
out:
    spool_threads_close(t);
    return err;
}

void spool_threads_close(struct spool_threads *t)
{
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->nthreads; i++) pthread_join(t->threads[i], NULL);
    if (t->woken) event_free(t->woken);
    if (t->wake_fd >= 0) close(t->wake_fd);
    pthread_cond_destroy(&t->work);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
