/* bench/common/wire.h - keep-alive HTTP/1.1 connections to load a server with.
 *
 * One thread, one epoll, any number of wires; a wire carries one request at a
 * time.  Made to cost little beside the server under load, and strict enough
 * to notice a wrong answer: no chunked bodies, nothing after the answer.
 *
 * When bytes arrive is told by the kernel (SO_TIMESTAMPNS, socket(7)), which stamps
 * them when the server hands them over: how long this program then waits for a
 * processor is not the server's time. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include "common/tool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_IN_MAX 16384 /* an answer's head, or its body up to what is kept */

struct wire;

struct wire_answer {
    int status;           /* 0: the connection broke before the whole answer   */
    const char *location; /* borrowed until the callback returns; NULL: none   */
    size_t location_len;
    uint64_t body_len;
    const char *body; /* borrowed; NULL where it is too long to be kept    */
    uint64_t ns;      /* from wire_ask() until its last byte lay in this machine's kernel */
};
/* Runs once per wire_ask() and never inside it; may ask again. */
typedef void wire_answered(struct wire *w, const struct wire_answer *a, void *arg);

struct wire_loop {
    int epoll;
    int timer; /* timerfd; armed by wire_loop_at()                   */
    void (*on_timer)(void *arg);
    void *timer_arg;
    bool stop;           /* set it to make wire_loop_run() return              */
    uint64_t reconnects; /* connections that the server ended between answers  */
};

struct wire {
    struct wire_loop *loop; /* borrowed                                           */
    struct sockaddr_in to;
    int fd;          /* -1: connects at the next request                   */
    bool busy;       /* asked, not answered                                */
    bool reused;     /* has answered before: a close may only mean idleness */
    bool want_write; /* EPOLLOUT is armed                                  */
    char *out;       /* owned: the request, kept until it is answered      */
    size_t out_len, out_room, out_sent;
    char in[WIRE_IN_MAX];
    size_t in_len;
    size_t head_len; /* 0: still in the head                               */
    bool closing;    /* the answer said Connection: close                  */
    uint64_t body_got;
    struct wire_answer answer;
    uint64_t asked_at, arrived_at;
    wire_answered *answered;
    void *arg;
};

void wire_loop_init(struct wire_loop *loop);
void wire_loop_clear(struct wire_loop *loop);
/* Until loop->stop, or until the clock (tool_now) says deadline. */
void wire_loop_run(struct wire_loop *loop, uint64_t deadline);
/* on_timer runs once, when the clock says at, or at once where that is over. */
void wire_loop_at(struct wire_loop *loop, uint64_t at);

void wire_init(struct wire *w, struct wire_loop *loop, const struct sockaddr_in *to,
               wire_answered *answered, void *arg);
void wire_clear(struct wire *w);
/* Copies both; body may be empty.  w must not be busy.  The answer to a HEAD
 * is not understood. */
void wire_ask(struct wire *w, const char *head, size_t head_len, const char *body, size_t body_len);

#endif
