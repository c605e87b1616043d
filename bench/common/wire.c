/* bench/common/wire.c - see wire.h. */
#include "common/wire.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define WIRE_EVENTS 256 /* taken from the kernel at once */

void wire_loop_init(struct wire_loop *loop)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

    *loop =
        (struct wire_loop){.epoll = epoll_create1(EPOLL_CLOEXEC),
                           .timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
    if (loop->epoll < 0 || loop->timer < 0) tool_die("epoll: %s", strerror(errno));
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->timer, &ev))
        tool_die("epoll_ctl: %s", strerror(errno));
}

void wire_loop_clear(struct wire_loop *loop)
{
    close(loop->timer);
    close(loop->epoll);
}

void wire_loop_at(struct wire_loop *loop, uint64_t at)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)}
    };

    if (timerfd_settime(loop->timer, TFD_TIMER_ABSTIME, &when, NULL))
        tool_die("timerfd_settime: %s", strerror(errno));
}

static void timer_fired(struct wire_loop *loop)
{
    uint64_t times;

    if (read(loop->timer, &times, sizeof(times)) == (ssize_t)sizeof(times) && loop->on_timer)
        loop->on_timer(loop->timer_arg);
}

/* ---- one connection -------------------------------------------------------- */

static void wire_watch(struct wire *w, int op, bool write)
{
    struct epoll_event ev = {.events = EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0), .data.ptr = w};

    if (epoll_ctl(w->loop->epoll, op, w->fd, &ev)) tool_die("epoll_ctl: %s", strerror(errno));
    w->want_write = write;
}

static void wire_connect(struct wire *w)
{
    const int on = 1;

    w->fd = tool_connect(&w->to);
    if (fcntl(w->fd, F_SETFL, O_NONBLOCK)) tool_die("fcntl: %s", strerror(errno));
    if (setsockopt(w->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)))
        tool_die("SO_TIMESTAMPNS: %s", strerror(errno));
    w->reused = false;
    wire_watch(w, EPOLL_CTL_ADD, false);
}

static void wire_drop(struct wire *w)
{
    if (w->fd >= 0) close(w->fd); /* epoll forgets it by itself */
    w->fd = -1;
}

/* A failed send is not looked at: the read that follows says what happened. */
static void wire_send(struct wire *w)
{
    ssize_t n = send(w->fd, w->out + w->out_sent, w->out_len - w->out_sent, MSG_NOSIGNAL);
    bool more;

    if (n > 0) w->out_sent += (size_t)n;
    more = w->out_sent < w->out_len && (n >= 0 || errno == EAGAIN);
    if (more != w->want_write) wire_watch(w, EPOLL_CTL_MOD, more);
}

static void wire_begin(struct wire *w)
{
    w->out_sent = w->in_len = w->head_len = 0;
    w->body_got = 0;
    w->closing = false;
    w->answer = (struct wire_answer){0};
    if (w->fd < 0) wire_connect(w);
    wire_send(w);
}

static void wire_finish(struct wire *w)
{
    struct wire_answer a = w->answer;

    a.ns = w->arrived_at - w->asked_at;
    if (a.status && a.body_len <= WIRE_IN_MAX - w->head_len) a.body = w->in + w->head_len;
    if (!a.status || w->closing) wire_drop(w);
    w->busy = false;
    w->reused = true;
    w->answered(w, &a, w->arg);
}

/* The server ended the connection, or the answer is none. */
static void wire_broken(struct wire *w)
{
    bool idle_close = w->reused && w->in_len == 0;

    wire_drop(w);
    if (!w->busy) return;
    if (idle_close) {
        w->loop->reconnects++;
        wire_begin(w);
        return;
    }
    w->answer.status = 0;
    w->arrived_at = tool_now();
    wire_finish(w);
}

/* ---- the answer ------------------------------------------------------------ */

static bool named(const char *line, const char *end, const char *name, const char **value)
{
    size_t len = strlen(name);

    if ((size_t)(end - line) <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
        return false;
    for (line += len + 1; line < end && *line == ' '; line++)
        continue;
    *value = line;
    return true;
}

static bool wire_header(struct wire *w, const char *line, const char *end)
{
    const char *value;

    if (named(line, end, "content-length", &value)) {
        for (; value < end && isdigit((unsigned char)*value); value++)
            w->answer.body_len = w->answer.body_len * 10 + (uint64_t)(*value - '0');
        return value == end;
    }
    if (named(line, end, "location", &value)) {
        w->answer.location = value;
        w->answer.location_len = (size_t)(end - value);
    } else if (named(line, end, "connection", &value)) {
        w->closing = end - value == 5 && strncasecmp(value, "close", 5) == 0;
    }
    return !named(line, end, "transfer-encoding", &value);
}

static bool wire_head(struct wire *w)
{
    const char *line = w->in, *last = w->in + w->head_len - 2; /* last: the empty line */
    const char *end = memmem(line, w->head_len, "\r\n", 2);

    if (w->head_len < 16 || memcmp(line, "HTTP/1.1 ", 9) != 0) return false;
    for (int i = 9; i < 12; i++) {
        if (!isdigit((unsigned char)line[i])) return false;
        w->answer.status = w->answer.status * 10 + (line[i] - '0');
    }
    for (line = end + 2; line < last; line = end + 2) {
        end = memmem(line, (size_t)(last - line), "\r\n", 2);
        if (!end || !wire_header(w, line, end)) return false;
    }
    return true;
}

/* What has been read so far: a head, then body_len bytes, then nothing. */
static void wire_parse(struct wire *w)
{
    if (w->head_len == 0) {
        const char *end = memmem(w->in, w->in_len, "\r\n\r\n", 4);

        if (!end && w->in_len < WIRE_IN_MAX) return;
        w->head_len = end ? (size_t)(end + 4 - w->in) : 0;
        if (!end || !wire_head(w)) {
            wire_broken(w);
            return;
        }
        w->body_got = w->in_len - w->head_len;
    }
    if (w->body_got > w->answer.body_len)
        wire_broken(w);
    else if (w->body_got == w->answer.body_len)
        wire_finish(w);
}

/* ---- reading --------------------------------------------------------------- */

/* How long ago the kernel got what has been read; 0 where it does not say. */
static uint64_t age_of(struct msghdr *msg)
{
    struct timespec stamp, now;
    int64_t age = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
        memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
        clock_gettime(CLOCK_REALTIME, &now);
        age = (int64_t)(now.tv_sec - stamp.tv_sec) * 1000000000 + (now.tv_nsec - stamp.tv_nsec);
    }
    return age > 0 ? (uint64_t)age : 0;
}

/* As recv(). */
static ssize_t wire_receive(struct wire *w, char *to, size_t room)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {.iov_base = to, .iov_len = room};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(w->fd, &msg, 0);

    if (n > 0) {
        uint64_t now = tool_now(), age = age_of(&msg);

        w->arrived_at = age < now - w->asked_at ? now - age : now; /* now: that clock was set */
    }
    return n;
}

/* A body that does not fit is read over the place after the head. */
static void wire_read(struct wire *w)
{
    ssize_t n;

    if (w->head_len && w->in_len == WIRE_IN_MAX) w->in_len = w->head_len;
    n = wire_receive(w, w->in + w->in_len, WIRE_IN_MAX - w->in_len);
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0 && !w->busy) tool_die("the server sent bytes that nobody asked for");
    if (n <= 0) {
        wire_broken(w);
        return;
    }
    w->in_len += (size_t)n;
    if (w->head_len) w->body_got += (uint64_t)n;
    wire_parse(w);
}

/* ---- the calls ------------------------------------------------------------- */

void wire_init(struct wire *w, struct wire_loop *loop, const struct sockaddr_in *to,
               wire_answered *answered, void *arg)
{
    *w = (struct wire){.loop = loop, .to = *to, .fd = -1, .answered = answered, .arg = arg};
}

void wire_clear(struct wire *w)
{
    wire_drop(w);
    free(w->out);
    w->out = NULL;
}

void wire_ask(struct wire *w, const char *head, size_t head_len, const char *body, size_t body_len)
{
    if (head_len + body_len > w->out_room) {
        w->out_room = head_len + body_len;
        w->out = realloc(w->out, w->out_room);
        if (!w->out) tool_die("out of memory");
    }
    memcpy(w->out, head, head_len);
    if (body_len) memcpy(w->out + head_len, body, body_len);
    w->out_len = head_len + body_len;
    w->busy = true;
    w->asked_at = tool_now();
    wire_begin(w);
}

void wire_loop_run(struct wire_loop *loop, uint64_t deadline)
{
    struct epoll_event ev[WIRE_EVENTS];

    while (!loop->stop) {
        uint64_t now = tool_now();
        int n;

        if (now >= deadline) return;
        n = epoll_wait(loop->epoll, ev, WIRE_EVENTS, (int)((deadline - now) / 1000000 + 1));
        if (n < 0 && errno != EINTR) tool_die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n && !loop->stop; i++) {
            struct wire *w = ev[i].data.ptr;

            if (!w) {
                timer_fired(loop);
                continue;
            }
            if (w->fd >= 0 && ev[i].events & EPOLLOUT) wire_send(w);
            if (w->fd >= 0 && ev[i].events & ~(uint32_t)EPOLLOUT) wire_read(w);
        }
    }
}
