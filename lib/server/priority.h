/* lib/server/priority.h - who goes first where the master and volumes share cores. */
#ifndef MKV_SERVER_PRIORITY_H
#define MKV_SERVER_PRIORITY_H

#include "mkv/index.h"

/* Every request waits for the loop's thread, which works for microseconds at a
 * time.  Volumes that store many values keep the cores for milliseconds: while the
 * index takes PRIORITY_CHANGES or more in PRIORITY_MS, and for PRIORITY_KEEP_MS
 * afterwards, the loop's thread has nice -10.  Without writes it has its share
 * like everybody else, and finds more to do each time that it gets it.
 *
 * Where the kernel groups processes by session (sched_autogroup_enabled), nice
 * counts only among those of one: if this process leads its session, as a service
 * does, the session gets nice -10, too (sched(7)).
 *
 * All the time its slices are of 0.1 ms, so that it need not wait for the end of
 * another's (Linux 6.12 and later; older kernels take no notice). */
#define PRIORITY_NICE     (-10) /* -20 waits as often */
#define PRIORITY_MS       100
#define PRIORITY_CHANGES  10
#define PRIORITY_KEEP_MS  2000
struct priority;

/* For the calling thread, which must be the loop's; threads made before keep their
 * own.  Where nice is not permitted (RLIMIT_NICE, CAP_SYS_NICE), or somebody gave
 * this process another nice or policy, that one stays, and *out is NULL. */
enum mkv_err priority_open(struct priority **out, struct mkv_loop *loop,
                           struct mkv_index *index) MKV_MUSTUSE;
void priority_close(struct priority *p); /* NULL is fine */

#endif
