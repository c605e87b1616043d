#include "server/priority.h"

#include "mkv/loop.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/sched/types.h> /* not together with <sched.h>: both define sched_param */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLICE_NS 100000 /* the kernel's least */

struct priority {
    struct mkv_loop *loop;   /* borrowed, as the index */
    struct mkv_index *index;
    struct event tick;
    struct sched_attr attr;
    uint64_t changes;        /* of the index, at the last tick */
    uint64_t until;          /* raised until then; on the loop's clock */
    bool raised;
};

static bool set_nice(struct sched_attr *attr, int nice)
{
    attr->sched_nice = nice;
    return syscall(SYS_sched_setattr, 0, attr, 0) == 0;
}

/* In a session that we lead there is nobody but us and what we start.  Where it is
 * not permitted, or the kernel has no groups: as with nice, it goes on as it is. */
static void set_session(int nice)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", nice), fd;
    ssize_t written;

    if (getsid(0) != getpid()) return;
    fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    written = write(fd, text, (size_t)n);
    (void)written;
    close(fd);
}

static void set(struct priority *p, bool raised)
{
    int nice = raised ? PRIORITY_NICE : 0;

    if (!set_nice(&p->attr, nice)) return;
    set_session(nice);
    p->raised = raised;
}

static void on_tick(int fd, short what, void *arg)
{
    struct priority *p = arg;
    uint64_t now = mkv_loop_now(p->loop);
    struct mkv_index_stats stats;

    (void)fd;
    (void)what;
    mkv_index_stats(p->index, &stats);
    if (stats.changes - p->changes >= PRIORITY_CHANGES) p->until = now + PRIORITY_KEEP_MS;
    p->changes = stats.changes;
    if (p->raised != (now < p->until)) set(p, !p->raised);
}

/* The slice needs no permission; nice does, which is tried. */
static bool prepare(struct sched_attr *attr)
{
    bool may;

    if (syscall(SYS_sched_getattr, 0, attr, sizeof(*attr), 0)) return false;
    if (attr->sched_policy != SCHED_NORMAL || attr->sched_nice != 0) return false;
    attr->sched_runtime = SLICE_NS;
    may = set_nice(attr, PRIORITY_NICE);
    return set_nice(attr, 0) && may;
}

enum mkv_err priority_open(struct priority **out, struct mkv_loop *loop, struct mkv_index *index)
{
    static const struct timeval period = {0, PRIORITY_MS * 1000};
    struct priority *p = calloc(1, sizeof(*p));

    *out = NULL;
    if (!p) return MKV_ENOMEM;
    if (!prepare(&p->attr)) {
        free(p);
        return MKV_OK;
    }
    p->loop = loop;
    p->index = index;
    event_assign(&p->tick, mkv_loop_base(loop), -1, EV_PERSIST, on_tick, p);
    if (event_add(&p->tick, &period)) {
        free(p);
        return MKV_ENOMEM;
    }
    *out = p;
    return MKV_OK;
}

void priority_close(struct priority *p)
{
    if (!p) return;
    event_del(&p->tick);
    free(p);
}
