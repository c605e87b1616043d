#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    s->events->readable(s);
}

static void count(struct stream *s, size_t n)
{
    s->sent += n;
    s->progress_ms = mkv_loop_now(s->loop);
}

static ssize_t write_pipe(struct stream *s)
{
    ssize_t n = mkv_pipe_drain(s->pipe, s->fd);

    if (mkv_pipe_len(s->pipe)) return n;
    mkv_pipe_release(s->pipe);
    s->pipe = NULL;
    return n;
}

/* One write(2) of what is there: a fast socket must not keep the others waiting. */
static void write_once(struct stream *s)
{
    ssize_t n = s->pipe ? write_pipe(s) : evbuffer_write(s->out, s->fd);

    if (n > 0) {
        count(s, (size_t)n);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        s->events->failed(s, errno);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;
    uint64_t before = s->sent;

    (void)fd;
    (void)what;
    write_once(s);
    if (s->fd >= 0 && stream_unsent(s) == 0 && s->writing) {
        event_del(&s->write_event);
        s->writing = false;
    }
    if (s->fd >= 0 && s->sent != before) s->events->written(s);
}

static void flush(void *arg)
{
    struct stream *s = arg;
    uint64_t before = s->sent;

    if (s->fd < 0 || s->writing || stream_unsent(s) == 0) return;
    write_once(s);
    if (s->fd >= 0 && stream_unsent(s) > 0) {
        if (event_add(&s->write_event, NULL)) {
            s->events->failed(s, ENOMEM);
            return;
        }
        s->writing = true;
    }
    if (s->fd >= 0 && s->sent != before) s->events->written(s);
}

void stream_init(struct stream *s, struct mkv_loop *loop, int fd, const struct stream_events *ev)
{
    struct event_base *base = mkv_loop_base(loop);

    memset(s, 0, sizeof(*s));
    s->fd = fd;
    s->loop = loop;
    s->events = ev;
    s->flush.run = flush;
    s->flush.arg = s;
    s->progress_ms = mkv_loop_now(loop);
    event_assign(&s->read_event, base, fd, EV_READ | EV_PERSIST, on_readable, s);
    event_assign(&s->write_event, base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
}

void stream_close(struct stream *s)
{
    if (s->fd < 0) return;
    mkv_loop_forget(s->loop, &s->flush);
    if (s->reading) event_del(&s->read_event);
    if (s->writing) event_del(&s->write_event);
    s->reading = s->writing = false;
    close(s->fd);
    s->fd = -1;
    if (s->out) evbuffer_free(s->out);
    s->out = NULL;
    mkv_pipe_release(s->pipe);
    s->pipe = NULL;
}

enum mkv_err stream_read_on(struct stream *s, bool on)
{
    if (s->reading == on) return MKV_OK;
    if (on ? event_add(&s->read_event, NULL) : event_del(&s->read_event)) return MKV_ENOMEM;
    s->reading = on;
    return MKV_OK;
}

/* The buffer to append to; NULL without memory. */
static struct evbuffer *output(struct stream *s)
{
    assert(!s->pipe);
    if (!s->out) s->out = evbuffer_new();
    if (s->out && !s->writing) mkv_loop_at_very_end(s->loop, &s->flush);
    return s->out;
}

enum mkv_err stream_add(struct stream *s, const void *data, size_t len)
{
    struct evbuffer *out = output(s);

    return out && evbuffer_add(out, data, len) == 0 ? MKV_OK : MKV_ENOMEM;
}

enum mkv_err stream_add_bytes(struct stream *s, struct mkv_bytes bytes)
{
    struct evbuffer *out = output(s);

    return out ? mkv_bytes_append(out, bytes) : MKV_ENOMEM;
}

enum mkv_err stream_add_buffer(struct stream *s, struct evbuffer *from)
{
    struct evbuffer *out = output(s);

    return out && evbuffer_add_buffer(out, from) == 0 ? MKV_OK : MKV_ENOMEM;
}

size_t stream_unsent(const struct stream *s)
{
    if (s->pipe) return mkv_pipe_len(s->pipe);
    return s->out ? evbuffer_get_length(s->out) : 0;
}

enum mkv_err stream_send(struct stream *s, const void *data, size_t len)
{
    ssize_t n = stream_unsent(s) == 0 ? send(s->fd, data, len, MSG_NOSIGNAL) : 0;

    if (n > 0) {
        count(s, (size_t)n);
        if ((size_t)n == len) return MKV_OK;
        data = (const char *)data + n;
        len -= (size_t)n;
    }
    return stream_add(s, data, len); /* a failed write fails again when this is flushed */
}

bool stream_share(struct stream *s, struct mkv_pipe *pipe)
{
    ssize_t n;

    if (stream_unsent(s) > 0) return false;
    s->pipe = mkv_pipe_share(pipe);
    if (!s->pipe) return false;
    n = write_pipe(s);
    if (n > 0) count(s, (size_t)n);
    if (s->pipe) mkv_loop_at_very_end(s->loop, &s->flush); /* where a failed write fails again */
    return true;
}

void stream_trim(struct stream *s)
{
    if (!s->out || stream_unsent(s) > 0) return;
    evbuffer_free(s->out);
    s->out = NULL;
}
