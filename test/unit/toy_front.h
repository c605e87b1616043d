/* test/unit/toy_front.h - the real front on loopback sockets with a toy
 * handler, all in one process; for test_http1_server.c and test_http1_bodies.c.
 *
 * What the handler does is said by the path; see toy_handler(). */
#ifndef TOY_FRONT_H
#define TOY_FRONT_H

#include "net/http1_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array)  (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1
#define STREAM_PIECE  (16 * 1024)

struct toy {
    struct mkv_loop *loop;
    struct mkv_blocks *blocks;
    struct mkv_pipes *pipes;
    struct mkv_metrics metrics;
    struct http1_server *server;
    struct mkv_chore awake;   /* keeps a turn from waiting            */
    struct mkv_request *held; /* borrowed: by /hold, /later, /pausing */
    size_t begun, smuggled, gone, drained, body_ends, piped, shared;
    char gone_why[128];
    size_t max_unsent;
};

/* The state of one request. */
struct toy_job {
    struct toy *toy;
    uint64_t received, sum;
    size_t left; /* to stream */
    bool pausing, paused, sharing;
};

static inline void toy_reply(struct mkv_request *r, int status, const char *text)
{
    free(r->state);
    r->transport->reply(r, status, NULL, 0, mkv_slice_of(text));
}

static inline void toy_on_body(struct mkv_request *r, struct mkv_bytes piece)
{
    struct toy_job *job = r->state;

    assert_true(piece.len > 0);
    assert_false(job->paused);
    for (size_t i = 0; i < piece.len; i++)
        job->sum = job->sum * 31 + piece.data[i];
    job->received += piece.len;
    if (job->pausing) {
        r->transport->read_body(r, false);
        job->paused = true;
        job->toy->held = r;
    }
}

static inline void toy_on_piped(struct mkv_request *r, struct mkv_pipe *pipe)
{
    struct toy_job *job = r->state;
    struct mkv_bytes piece;

    assert_true(mkv_pipe_len(pipe) > 0);
    job->toy->piped++;
    while (mkv_pipe_read(pipe, job->toy->blocks, &piece) > 0) toy_on_body(r, piece);
}

static inline void toy_on_body_end(struct mkv_request *r)
{
    struct toy_job *job = r->state;
    char text[128];

    job->toy->body_ends++;
    snprintf(text, sizeof(text), "%llu bytes, sum %llx, %zu trailers",
             (unsigned long long)job->received, (unsigned long long)job->sum, r->ntrailers);
    if (job->toy->held == r) job->toy->held = NULL;
    toy_reply(r, 201, text);
}

static inline void toy_stream(struct mkv_request *r)
{
    struct toy_job *job = r->state;
    struct evbuffer *b = evbuffer_new();
    static char piece[STREAM_PIECE];

    memset(piece, 's', sizeof(piece));
    assert_non_null(b);
    while (job->left > 0 && r->transport->unsent(r) <= MKV_OUTPUT_HIGH) {
        size_t n = job->left < sizeof(piece) ? job->left : sizeof(piece);

        evbuffer_add(b, piece, n);
        r->transport->body(r, b);
        assert_int_equal(evbuffer_get_length(b), 0);
        job->left -= n;
        if (r->transport->unsent(r) > job->toy->max_unsent)
            job->toy->max_unsent = r->transport->unsent(r);
    }
    evbuffer_free(b);
    if (job->left > 0) return;
    free(job);
    r->transport->end(r);
}

/* The same, each piece of up to 200,000 bytes in a pipe where the front takes one. */
static inline void toy_share(struct mkv_request *r)
{
    static char bytes[200000];
    struct toy_job *job = r->state;

    memset(bytes, 's', sizeof(bytes));
    while (job->left > 0) {
        size_t n = job->left < sizeof(bytes) ? job->left : sizeof(bytes);
        struct mkv_pipe *pipe = mkv_pipe_take(job->toy->pipes);
        struct evbuffer *b = evbuffer_new();
        int file = memfd_create("bytes", MFD_CLOEXEC);

        assert_int_equal(write(file, bytes, n), n);
        assert_int_equal(lseek(file, 0, SEEK_SET), 0);
        assert_int_equal(mkv_pipe_fill(pipe, file, n), n);
        job->left -= n;
        if (r->transport->share(r, pipe)) {
            job->toy->shared++;
        } else {
            evbuffer_add(b, bytes, n);
            r->transport->body(r, b);
        }
        evbuffer_free(b);
        mkv_pipe_release(pipe);
        close(file);
        if (r->transport->unsent(r) > 0) return; /* drained() goes on */
    }
    free(job);
    r->transport->end(r);
}

static inline void toy_on_drained(struct mkv_request *r)
{
    struct toy_job *job = r->state;

    job->toy->drained++;
    if (job->sharing)
        toy_share(r);
    else
        toy_stream(r);
}

static inline void toy_on_gone(struct mkv_request *r, const char *why)
{
    struct toy_job *job = r->state;

    job->toy->gone++;
    snprintf(job->toy->gone_why, sizeof(job->toy->gone_why), "%s", why);
    if (job->toy->held == r) job->toy->held = NULL;
    free(job);
}

static inline bool toy_at(const struct mkv_request *r, const char *path)
{
    return mkv_slice_eq(r->key, mkv_slice_of(path));
}

static inline void toy_abort(struct mkv_request *r)
{
    struct evbuffer *b = evbuffer_new();

    free(r->state);
    r->transport->head(r, 200, NULL, 0, MKV_LENGTH_UNKNOWN);
    evbuffer_add_printf(b, "cut");
    r->transport->body(r, b);
    evbuffer_free(b);
    r->transport->abort(r, "the toy breaks");
}

static inline void toy_handler(struct mkv_request *r, void *arg)
{
    static const struct mkv_request_events events = {.body = toy_on_body,
                                                     .body_end = toy_on_body_end,
                                                     .drained = toy_on_drained,
                                                     .gone = toy_on_gone};
    static const struct mkv_request_events with_pipes = {
        .body = toy_on_body, .piped = toy_on_piped, .body_end = toy_on_body_end, .gone = toy_on_gone};
    struct toy *t = arg;
    struct toy_job *job = calloc(1, sizeof(*job));
    char text[512];

    assert_non_null(job);
    job->toy = t;
    r->events = &events;
    r->state = job;
    t->begun++;
    if (toy_at(r, "/smuggled")) t->smuggled++;

    if (r->method == MKV_METHOD_OTHER) {
        toy_reply(r, 501, "no such method");
    } else if (toy_at(r, "/sink")) { /* reads the body at once */
        r->transport->read_body(r, true);
    } else if (toy_at(r, "/piped")) { /* the same, in pipes where the front likes */
        r->events = &with_pipes;
        r->transport->read_body(r, true);
    } else if (toy_at(r, "/later") || toy_at(r, "/hold")) { /* does nothing until toy_go() */
        t->held = r;
    } else if (toy_at(r, "/pausing")) { /* pauses after each piece, until toy_go() */
        job->pausing = true;
        r->transport->read_body(r, true);
    } else if (toy_at(r, "/refuse")) { /* leaves the body unread */
        toy_reply(r, 403, "no");
    } else if (toy_at(r, "/stream") || toy_at(r, "/known")) { /* ?N bytes, in pieces */
        job->left = (size_t)strtoul(r->query.data, NULL, 10);
        r->transport->head(r, 200, NULL, 0,
                           toy_at(r, "/known") ? (int64_t)job->left : MKV_LENGTH_UNKNOWN);
        toy_stream(r);
    } else if (toy_at(r, "/shared")) { /* the same, in pipes */
        job->left = (size_t)strtoul(r->query.data, NULL, 10);
        job->sharing = true;
        r->transport->head(r, 200, NULL, 0, (int64_t)job->left);
        toy_share(r);
    } else if (toy_at(r, "/big")) { /* 64 KB at once */
        char *big = calloc(1, 65537);

        memset(big, 'b', 65536);
        toy_reply(r, 200, big);
        free(big);
    } else if (toy_at(r, "/abort")) {
        toy_abort(r);
    } else if (r->key.len > 8 && memcmp(r->key.data, "/header/", 8) == 0) { /* key in a header */
        struct mkv_header h = {MKV_SLICE("X-Key"), r->key};

        free(job);
        r->transport->reply(r, 200, &h, 1, MKV_SLICE(""));
    } else if (toy_at(r, "/none")) {
        toy_reply(r, 204, "");
    } else { /* says what it saw */
        snprintf(text, sizeof(text), "%.*s [%.*s] [%.*s]", (int)r->method_name.len,
                 r->method_name.data, (int)r->key.len, r->key.data, (int)r->query.len,
                 r->query.len ? r->query.data : "");
        toy_reply(r, 200, text);
    }
}

static inline void toy_awake(void *arg)
{
    (void)arg;
}

/* One turn that does not wait. */
static inline void toy_turn(struct toy *t)
{
    t->awake.run = toy_awake;
    mkv_loop_at_end(t->loop, &t->awake);
    mkv_loop_turn(t->loop);
}

static inline void toy_turns(struct toy *t, int n)
{
    while (n-- > 0)
        toy_turn(t);
}

/* Lets the request that /hold, /later or /pausing has held go on. */
static inline bool toy_go(struct toy *t)
{
    struct mkv_request *r = t->held;
    struct toy_job *job;

    if (!r) return false;
    t->held = NULL;
    job = r->state;
    job->paused = false;
    if (r->has_body)
        r->transport->read_body(r, true);
    else
        toy_reply(r, 200, "held and answered");
    return true;
}

static inline int toy_setup(void **state)
{
    struct toy *t = calloc(1, sizeof(*t));
    struct http1_server_options opt;

    signal(SIGPIPE, SIG_IGN);
    assert_non_null(t);
    assert_int_equal(mkv_loop_open(&t->loop), MKV_OK);
    assert_int_equal(mkv_blocks_open(&t->blocks), MKV_OK);
    assert_int_equal(mkv_pipes_open(&t->pipes), MKV_OK);
    opt = (struct http1_server_options){t->loop,     t->blocks,   t->pipes,
                                        &t->metrics, toy_handler, t};
    assert_int_equal(http1_server_open(&t->server, &opt), MKV_OK);
    *state = t;
    return 0;
}

static inline int toy_teardown(void **state)
{
    struct toy *t = *state;

    http1_server_close(t->server);
    mkv_loop_close(t->loop);
    mkv_pipes_close(t->pipes);
    mkv_blocks_close(t->blocks);
    assert_int_equal(t->metrics.connections_open, 0);
    free(t);
    return 0;
}

/* ---- the client ---------------------------------------------------------- */

struct client {
    struct toy *toy;
    int fd;
    struct evbuffer *got; /* owned */
    bool closed, reset;
};

static inline void client_open_sized(struct client *c, struct toy *t, int buffer)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0), ours;

    memset(c, 0, sizeof(*c));
    c->toy = t;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    c->got = evbuffer_new();
    assert_true(listener >= 0 && c->fd >= 0 && c->got);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    if (buffer) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    assert_int_equal(connect(c->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_true(ours >= 0);
    if (buffer) setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
    close(listener);
    assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
    http1_server_accept(t->server, ours);
}

static inline void client_open(struct client *c, struct toy *t)
{
    client_open_sized(c, t, 0);
}

static inline void client_close(struct client *c)
{
    if (c->fd >= 0) close(c->fd);
    evbuffer_free(c->got);
    toy_turns(c->toy, 3);
}

static inline void client_read(struct client *c)
{
    static char buffer[64 * 1024];
    ssize_t n;

    while (!c->closed && (n = recv(c->fd, buffer, sizeof(buffer), 0)) != 0) {
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) {
            c->reset = c->closed = true;
            return;
        }
        evbuffer_add(c->got, buffer, (size_t)n);
    }
    c->closed = true;
}

/* Sends everything, letting the front work where the socket is full. */
static inline void client_send(struct client *c, const char *data, size_t len)
{
    for (int tries = 0; len > 0 && tries < 100000; tries++) {
        ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN) return; /* the front has closed */
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
        toy_turn(c->toy);
    }
}

/* Works until the answers are as long as that, or the front has closed.  Holds
 * of the toy are let go on the way. */
static inline void client_wait(struct client *c, size_t len)
{
    struct pollfd p = {c->fd, POLLIN, 0};

    for (int tries = 0; tries < 20000; tries++) {
        toy_turn(c->toy);
        client_read(c);
        if (c->closed || evbuffer_get_length(c->got) >= len) return;
        if (!toy_go(c->toy) && tries > 20) poll(&p, 1, 1);
        if (tries > 3000) fail_msg("no answer");
    }
}

static inline void client_wait_closed(struct client *c)
{
    client_wait(c, SIZE_MAX);
    assert_true(c->closed);
}

/* Turns in which nothing is expected to come. */
static inline void client_wait_nothing(struct client *c)
{
    toy_turns(c->toy, 5);
    client_read(c);
}

/* What came, without the Date lines: *owned*. */
static inline char *client_text(struct client *c)
{
    size_t len = evbuffer_get_length(c->got);
    char *text = calloc(1, len + 1), *date;

    assert_non_null(text);
    evbuffer_copyout(c->got, text, len);
    while ((date = strstr(text, "Date: "))) {
        char *end = strstr(date, "\r\n");

        assert_non_null(end);
        memmove(date, end + 2, strlen(end + 2) + 1);
    }
    return text;
}

static inline void client_expect(struct client *c, const char *expected)
{
    char *text = client_text(c);

    assert_string_equal(text, expected);
    free(text);
    evbuffer_drain(c->got, evbuffer_get_length(c->got));
}

static inline bool client_has(struct client *c, const char *part)
{
    char *text = client_text(c);
    bool has = strstr(text, part) != NULL;

    free(text);
    return has;
}

/* Works until that text has come. */
static inline void client_wait_for(struct client *c, const char *part)
{
    for (int tries = 0; tries < 3000; tries++) {
        struct pollfd p = {c->fd, POLLIN, 0};

        toy_turn(c->toy);
        client_read(c);
        if (client_has(c, part)) return;
        if (tries > 20) poll(&p, 1, 1);
    }
    fail_msg("did not come: %s", part);
}

/* The front's side of the only connection. */
static inline struct conn *toy_conn(struct toy *t)
{
    struct conn *c = LIST_FIRST(&t->server->all);

    assert_non_null(c);
    return c;
}

#endif
