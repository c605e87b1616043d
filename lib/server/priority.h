/* lib/server/priority.h - the loop's thread first where cores are short. */
#ifndef MKV_SERVER_PRIORITY_H
#define MKV_SERVER_PRIORITY_H

/* Every request waits for the loop's thread, which works for microseconds at a
 * time; beside volumes on the same cores it would wait for milliseconds until
 * it may.  For the calling thread, of what the kernel permits:
 *
 * - nice -10 (RLIMIT_NICE or CAP_SYS_NICE);
 * - a slice of 0.1 ms, so that it need not wait for the end of another's
 *   (Linux 6.12 and later; older kernels take no notice);
 * - where the kernel groups processes by session (sched_autogroup_enabled), nice
 *   counts only among those of one: then, if this process leads its session, as
 *   a service does, the session gets nice -10, too (sched(7)).
 *
 * Threads made before keep their own nice, those made later inherit this one's.
 * A thread that somebody gave another nice or policy stays as it is. */
void priority_raise(void);

#endif
