/* test/unit/volume_fixture.h - a loop with a volume client, exchanges that note
 * what happens to them, and a server in a thread that says what a test wants. */
#ifndef VOLUME_FIXTURE_H
#define VOLUME_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mkv/loop.h"
#include "net/volume.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define PATIENCE_MS 20000 /* for anything that must happen, on a busy machine */
#define QUICK_MS    300   /* -voltimeout and stall where a test waits for them */

/* ---- the server ---------------------------------------------------------- */

struct fake {
    int listener, port;
    void (*script)(struct fake *f);
    pthread_t thread;
    bool running;
    atomic_int stage;   /* script and test tell each other how far they are */
    char request[4096]; /* the last head that came                          */
    size_t body_len;    /* bytes read as bodies                             */
    const char *text;   /* what it is to say; set before the thread starts  */
};

static inline uint64_t test_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline void nap(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static inline void wait_for_stage(struct fake *f, int stage)
{
    uint64_t end = test_now_ms() + PATIENCE_MS;

    while (atomic_load(&f->stage) < stage && test_now_ms() < end)
        nap();
}

static inline int fake_listen(struct fake *f, int family, int backlog)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a;
    socklen_t len = family == AF_INET ? sizeof(a.v4) : sizeof(a.v6);
    int yes = 1;

    memset(&a, 0, sizeof(a));
    a.any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a.v4.sin_port = htons((uint16_t)f->port);
    } else {
        a.v6.sin6_addr = in6addr_loopback;
        a.v6.sin6_port = htons((uint16_t)f->port);
    }
    f->listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (f->listener < 0) return -1;
    setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(f->listener, &a.any, len) || (backlog >= 0 && listen(f->listener, backlog)) ||
        getsockname(f->listener, &a.any, &len)) {
        close(f->listener);
        f->listener = -1;
        return -1;
    }
    f->port = ntohs(family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    return 0;
}

static inline void *fake_main(void *arg)
{
    struct fake *f = arg;

    f->script(f);
    return NULL;
}

static inline void fake_start(struct fake *f, void (*script)(struct fake *))
{
    f->script = script;
    atomic_store(&f->stage, 0);
    assert_int_equal(pthread_create(&f->thread, NULL, fake_main, f), 0);
    f->running = true;
}

static inline void fake_join(struct fake *f)
{
    if (f->running) pthread_join(f->thread, NULL);
    f->running = false;
}

/* The calls of a script.  They give up after a while: then the test fails. */
static inline int serve(struct fake *f)
{
    struct timeval patience = {PATIENCE_MS / 1000, 0};
    int fd;

    setsockopt(f->listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    fd = accept(f->listener, NULL, NULL);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* Reads a head into f->request; false at the end of the connection. */
static inline bool hear_head(struct fake *f, int fd)
{
    size_t len = 0;

    while (len + 1 < sizeof(f->request) && read(fd, f->request + len, 1) == 1) {
        f->request[++len] = '\0';
        if (len >= 4 && memcmp(f->request + len - 4, "\r\n\r\n", 4) == 0) return true;
    }
    return false;
}

static inline void hear_body(struct fake *f, int fd, size_t len)
{
    char buf[16384];
    ssize_t n;

    while (len && (n = read(fd, buf, len < sizeof(buf) ? len : sizeof(buf))) > 0) {
        len -= (size_t)n;
        f->body_len += (size_t)n;
    }
}

static inline void say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

#define ANSWER_200 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
#define ANSWER_201 "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"

/* ---- exchanges ----------------------------------------------------------- */

struct fixture {
    struct mkv_loop *loop;
    struct mkv_blocks *blocks;
    struct mkv_pipes *pipes;
    struct mkv_volumes *volumes;
    struct mkv_volume *volume;
    struct event *guard; /* wakes the loop, so that waiting can end */
    struct fake fake;
    bool inside; /* a call on an exchange is being made     */
};

struct trace {
    struct fixture *f;
    struct mkv_exchange *x; /* NULL once done                          */
    int ready, drained, heads, bodies, done;
    int head_status, status;
    uint64_t head_length;
    enum mkv_err err;
    bool sent_all;
    bool brief; /* before begin_exchange()         */
    char why[128];
    struct evbuffer *body;
    void (*act)(struct trace *t, const char *event); /* NULL: nothing     */
    const void *data;                                /* for send_everything                     */
    size_t len;
    const char *cancel_at;
};

#define INSIDE(f, call)                                                                            \
    do {                                                                                           \
        (f)->inside = true;                                                                        \
        call;                                                                                      \
        (f)->inside = false;                                                                       \
    } while (0)

static inline void trace_ready(struct mkv_exchange *x, void *arg)
{
    struct trace *t = arg;

    assert_false(t->f->inside);
    assert_ptr_equal(x, t->x);
    t->ready++;
    if (t->act) t->act(t, "ready");
}

static inline void trace_drained(struct mkv_exchange *x, void *arg)
{
    struct trace *t = arg;

    assert_false(t->f->inside);
    assert_true(mkv_exchange_unsent(x) < MKV_SEND_LOW);
    t->drained++;
    if (t->act) t->act(t, "drained");
}

static inline void trace_head(struct mkv_exchange *x, const struct http1_head *head, void *arg)
{
    struct trace *t = arg;

    assert_false(t->f->inside);
    assert_ptr_equal(x, t->x);
    t->heads++;
    t->head_status = head->status;
    t->head_length = head->length;
    if (t->act) t->act(t, "head");
}

static inline void trace_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    struct trace *t = arg;

    assert_false(t->f->inside);
    assert_ptr_equal(x, t->x);
    assert_true(piece.len > 0);
    t->bodies++;
    assert_int_equal(mkv_bytes_append(t->body, piece), MKV_OK);
    if (t->act) t->act(t, "body");
}

static inline void trace_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct trace *t = arg;

    assert_false(t->f->inside);
    assert_int_equal(t->done, 0);
    t->done = 1;
    t->err = err;
    t->status = status;
    t->sent_all = mkv_exchange_sent_all(x);
    snprintf(t->why, sizeof(t->why), "%s", mkv_exchange_why(x));
    t->x = NULL;
    if (t->act) t->act(t, "done");
}

static const struct mkv_exchange_events trace_events = {
    .ready = trace_ready,
    .drained = trace_drained,
    .head = trace_head,
    .body = trace_body,
    .done = trace_done,
};

static inline void trace_init(struct trace *t, struct fixture *f)
{
    memset(t, 0, sizeof(*t));
    t->f = f;
    t->body = evbuffer_new();
}

static inline void trace_clear(struct trace *t)
{
    evbuffer_free(t->body);
    t->body = NULL;
}

static inline void begin_exchange(struct trace *t, enum mkv_exchange_method method,
                                  const char *path, int64_t body_length)
{
    const struct mkv_exchange_options opt = {.volume = t->f->volume,
                                             .method = method,
                                             .path = mkv_slice_of(path),
                                             .body_length = body_length,
                                             .brief = t->brief};

    INSIDE(t->f, assert_int_equal(mkv_exchange_start(&t->x, &opt, &trace_events, t), MKV_OK));
}

#define run_until(f, condition)                                                                    \
    do {                                                                                           \
        uint64_t end_ = test_now_ms() + PATIENCE_MS;                                               \
        while (!(condition)) {                                                                     \
            mkv_loop_turn((f)->loop);                                                              \
            if (test_now_ms() > end_) fail_msg("never: %s", #condition);                           \
        }                                                                                          \
    } while (0)

/* A whole exchange without a request body. */
static inline void ask(struct trace *t, enum mkv_exchange_method method, const char *path)
{
    begin_exchange(t, method, path, 0);
    run_until(t->f, t->done);
}

static inline void send_text(struct trace *t, const char *text)
{
    const struct mkv_bytes piece = {(const uint8_t *)text, strlen(text), NULL};

    INSIDE(t->f, mkv_exchange_send(t->x, piece));
}

/* For .act of a PUT: the whole body as soon as it may be sent. */
static inline void send_everything(struct trace *t, const char *event)
{
    if (strcmp(event, "ready") != 0) return;
    INSIDE(t->f, mkv_exchange_send(t->x, (struct mkv_bytes){t->data, t->len, NULL}));
    if (t->x) INSIDE(t->f, mkv_exchange_send_end(t->x));
}

static inline void put(struct trace *t, const char *path, const char *body, bool chunked)
{
    t->act = send_everything;
    t->data = body;
    t->len = strlen(body);
    begin_exchange(t, MKV_VOLUME_PUT, path, chunked ? -1 : (int64_t)t->len);
    run_until(t->f, t->done);
}

static inline struct mkv_volume_stats stats_of(const struct fixture *f)
{
    struct mkv_volume_stats stats;

    mkv_volume_stats(f->volume, &stats);
    return stats;
}

/* ---- set up -------------------------------------------------------------- */

static void fixture_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static inline void fixture_open(struct fixture *f, uint64_t timeout_ms, uint64_t stall_ms)
{
    struct mkv_volumes_options opt = {.timeout_ms = timeout_ms, .stall_ms = stall_ms};

    assert_int_equal(mkv_loop_open(&f->loop), MKV_OK);
    assert_int_equal(mkv_blocks_open(&f->blocks), MKV_OK);
    assert_int_equal(mkv_pipes_open(&f->pipes), MKV_OK);
    opt.loop = f->loop;
    opt.blocks = f->blocks;
    opt.pipes = f->pipes;
    assert_int_equal(mkv_volumes_open(&f->volumes, &opt), MKV_OK);
    f->guard = event_new(mkv_loop_base(f->loop), -1, EV_PERSIST, fixture_tick, NULL);
    assert_int_equal(event_add(f->guard, &(struct timeval){0, 20000}), 0);
}

static inline void fixture_use(struct fixture *f, const char *host, int port)
{
    char name[80];

    snprintf(name, sizeof(name), "%s:%d", host, port);
    assert_int_equal(mkv_volumes_get(f->volumes, mkv_slice_of(name), &f->volume), MKV_OK);
}

static inline void fixture_close(struct fixture *f)
{
    mkv_volumes_close(f->volumes);
    event_free(f->guard);
    mkv_loop_close(f->loop);
    mkv_pipes_close(f->pipes);
    mkv_blocks_close(f->blocks);
}

static inline int set_up_with(void **state, uint64_t timeout_ms, uint64_t stall_ms)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(fake_listen(&f->fake, AF_INET, 200), 0);
    fixture_open(f, timeout_ms, stall_ms);
    fixture_use(f, "localhost", f->fake.port);
    *state = f;
    return 0;
}

/* Patient: no deadline fires, however busy the machine. */
static inline int set_up(void **state)
{
    return set_up_with(state, PATIENCE_MS, PATIENCE_MS);
}

static inline int set_up_quick(void **state)
{
    return set_up_with(state, QUICK_MS, QUICK_MS);
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;

    fixture_close(f);
    atomic_store(&f->fake.stage, 1000);
    if (f->fake.listener >= 0) shutdown(f->fake.listener, SHUT_RDWR);
    fake_join(&f->fake);
    if (f->fake.listener >= 0) close(f->fake.listener);
    free(f);
    return 0;
}

static inline void script_always_201(struct fake *f)
{
    int fd;

    while ((fd = serve(f)) >= 0) {
        while (hear_head(f, fd))
            say(fd, ANSWER_201);
        close(fd);
    }
}

static inline void script_swallow(struct fake *f)
{
    int fd = serve(f);

    hear_head(f, fd);
    hear_body(f, fd, SIZE_MAX);
    close(fd);
}

#endif
