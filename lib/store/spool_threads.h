/* lib/store/spool_threads.h - threads that wait for the disk, so that the loop does not.
 *
 * A job is worked on by one of the threads, then finished on the loop.  From
 * being given until it is finished, the job and what its work touches are the
 * thread's.  Jobs are begun in the order in which they were given. */
#ifndef MKV_STORE_SPOOL_THREADS_H
#define MKV_STORE_SPOOL_THREADS_H

#include "mkv/loop.h"

#include <sys/queue.h>

struct spool_threads;

struct spool_job {
    void (*work)(void *arg);     /* on a thread */
    void (*finished)(void *arg); /* on the loop's thread; may free the job */
    void *arg;
    STAILQ_ENTRY(spool_job) next; /* the threads' */
};

enum mkv_err spool_threads_open(struct spool_threads **out, struct mkv_loop *loop) MKV_MUSTUSE;
/* Waits for the jobs that have been begun.  The others are not worked on, and
 * none is finished any more: all are their owners' again.  NULL is fine. */
void spool_threads_close(struct spool_threads *t);

void spool_threads_give(struct spool_threads *t, struct spool_job *job);

#endif
