#include "net/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

struct mkv_pipe {
    struct mkv_pipes *all; /* borrowed: outlives it */
    int out, in;           /* where it is read, where it is filled */
    size_t len;
    SLIST_ENTRY(mkv_pipe) spare;
};

struct mkv_pipes {
    SLIST_HEAD(, mkv_pipe) spare; /* owned: empty ones */
    unsigned n;                   /* all of them */
    int null;                     /* /dev/null: takes what nobody wants */
    bool refused;                 /* the system can not, or will not */
};

enum mkv_err mkv_pipes_open(struct mkv_pipes **out)
{
    struct mkv_pipes *all = calloc(1, sizeof(*all));

    if (!all) return MKV_ENOMEM;
    all->null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    *out = all;
    return MKV_OK;
}

static void destroy(struct mkv_pipe *p)
{
    p->all->n--;
    close(p->out);
    close(p->in);
    free(p);
}

void mkv_pipes_close(struct mkv_pipes *all)
{
    struct mkv_pipe *p;

    if (!all) return;
    while ((p = SLIST_FIRST(&all->spare))) {
        SLIST_REMOVE_HEAD(&all->spare, spare);
        destroy(p);
    }
    if (all->null >= 0) close(all->null);
    free(all);
}

/* NULL where descriptors or memory are short, or the system's limits are lower. */
static struct mkv_pipe *make(struct mkv_pipes *all)
{
    struct mkv_pipe *p = malloc(sizeof(*p));
    int fds[2];

    if (!p) return NULL;
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC)) {
        free(p);
        return NULL;
    }
    *p = (struct mkv_pipe){.all = all, .out = fds[0], .in = fds[1]};
    all->n++;
    /* All of the same size, so that one always holds what another does. */
    if (fcntl(p->in, F_SETPIPE_SZ, MKV_PIPE_SIZE) == MKV_PIPE_SIZE) return p;
    if (errno == EPERM) all->refused = true;
    destroy(p);
    return NULL;
}

struct mkv_pipe *mkv_pipe_take(struct mkv_pipes *all)
{
    struct mkv_pipe *p;

    if (!all || all->refused) return NULL;
    p = SLIST_FIRST(&all->spare);
    if (p)
        SLIST_REMOVE_HEAD(&all->spare, spare);
    else if (all->n < MKV_PIPES_MAX)
        p = make(all);
    return p;
}

void mkv_pipe_release(struct mkv_pipe *p)
{
    if (!p) return;
    while (p->len)
        if (mkv_pipe_drain(p, p->all->null) <= 0) break;
    if (p->len)
        destroy(p);
    else
        SLIST_INSERT_HEAD(&p->all->spare, p, spare);
}

size_t mkv_pipe_len(const struct mkv_pipe *p)
{
    return p->len;
}

ssize_t mkv_pipe_fill(struct mkv_pipe *p, int fd, size_t max)
{
    ssize_t n = splice(fd, NULL, p->in, NULL, max < MKV_PIPE_SIZE ? max : MKV_PIPE_SIZE,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (n > 0) p->len += (size_t)n;
    if (n < 0 && (errno == EINVAL || errno == ENOSYS || errno == EPERM)) {
        p->all->refused = true;
        errno = EAGAIN;
    }
    return n;
}

struct mkv_pipe *mkv_pipe_share(struct mkv_pipe *p)
{
    struct mkv_pipe *copy = mkv_pipe_take(p->all);
    ssize_t n;

    if (!copy) return NULL;
    n = tee(p->out, copy->in, p->len, SPLICE_F_NONBLOCK);
    if (n > 0) copy->len = (size_t)n;
    if (copy->len == p->len) return copy;
    mkv_pipe_release(copy);
    return NULL;
}

ssize_t mkv_pipe_drain(struct mkv_pipe *p, int fd)
{
    ssize_t n = splice(p->out, NULL, fd, NULL, p->len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (n > 0) p->len -= (size_t)n;
    return n;
}

ssize_t mkv_pipe_read(struct mkv_pipe *p, struct mkv_blocks *blocks, struct mkv_bytes *out)
{
    ssize_t n = p->len ? mkv_blocks_read(blocks, p->out, p->len, out) : 0;

    if (n > 0) p->len -= (size_t)n;
    return n;
}
