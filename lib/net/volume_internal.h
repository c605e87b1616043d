/* lib/net/volume_internal.h - what the five files of the volume client share.
 *
 *   volume.c           the servers: names, states, probes, the tick
 *   volume_pool.c      connections: idle ones, new ones
 *   volume_pipeline.c  the exchanges that share a connection
 *   exchange.c         one exchange: its life and the request
 *   exchange_answer.c  one exchange: the answer
 *
 * Everybody else includes volume.h. */
#ifndef MKV_NET_VOLUME_INTERNAL_H
#define MKV_NET_VOLUME_INTERNAL_H

#include "mkv/loop.h"
#include "mkv/place.h"
#include "net/resolve.h"
#include "net/stream.h"
#include "net/volume.h"

#include <sys/queue.h>

#define VOLUME_TICK_MS   50          /* deadlines are looked at this often            */
#define VOLUME_IDLE_MS   60000       /* an older idle connection may be dead silently:
                                        not used again                                */
#define VOLUME_KEEP_MAX  (64 * 1024) /* of a PUT's body, for sending it once more     */
#define VOLUME_DROP_MAX  (64 * 1024) /* a longer unwanted body costs the connection   */
#define VOLUME_SMALL_MAX MKV_COPY_MAX /* a PUT with a body up to this may share a
                                         connection                                   */
#define VOLUME_BUCKETS   256
#define VOLUME_WHY_MAX   64
#define VOLUME_PIPE_MAX  (512 * 1024) /* of an answer at once: a slow client takes it before the
                                         volume is read on, and the volume waits for that */

/* Exchanges on one connection.  More of them would save less than an eighth of a
 * write for each, and the last would wait for more than seven other files. */
#define VOLUME_PIPELINE_MAX 8

/* Whose fault a failure is, as far as the volume's state goes. */
enum volume_blame {
    BLAME_NOBODY,  /* ours or the caller's: no descriptors, no memory     */
    BLAME_COUNTED, /* another exchange's, which has told it already       */
    BLAME_VOLUME,  /* it did not do what it should                        */
    BLAME_REFUSED  /* nobody listens there: down at once                  */
};

TAILQ_HEAD(exchange_queue, mkv_exchange);

struct volume_connection {
    struct stream stream;           /* first: a stream's callbacks find us by it      */
    struct mkv_volume *volume;      /* borrowed: outlives its connections             */
    struct exchange_queue pipeline; /* borrowed: those who wait for an answer, in the order
                                       of the answers; empty: idle                    */
    unsigned depth;                 /* of the pipeline                                */
    bool answered;                  /* has served an exchange before                  */
    bool spoilt;                    /* an answer will come that nobody waits for: it
                                       closes behind the pipeline                     */
    uint64_t sent_before;           /* stream.sent when it was taken                  */
    uint64_t idle_since_ms;
    TAILQ_ENTRY(volume_connection) link; /* among the volume's idle ones, newest first */
    struct mkv_retired retired;
};

TAILQ_HEAD(volume_connections, volume_connection);
LIST_HEAD(exchanges, mkv_exchange);

struct mkv_volume {
    struct mkv_volumes *all;        /* borrowed: owns us                              */
    char name[MKV_VOLUME_NAME_MAX + 1]; /* as given                                   */
    struct mkv_slice dir;           /* "/dir" within name, or empty                   */
    char host_lines[MKV_VOLUME_NAME_MAX + 32]; /* from behind the target to Host's CRLF */
    size_t host_lines_len;
    struct resolve_name address;
    unsigned preferred;             /* the address that worked last                   */

    enum mkv_volume_state state;
    unsigned failures;              /* in a row                                       */
    uint64_t backoff_ms, probe_at_ms; /* where not UP                                 */
    struct mkv_exchange *probe;     /* borrowed: under way; NULL: none                */

    struct volume_connections idle; /* owned */
    struct volume_connection *gathering; /* borrowed: its requests have not left yet, more
                                            may join; NULL: none                      */
    unsigned brief;                 /* HEADs, DELETEs and brief GETs under way        */
    struct exchange_queue queue;    /* more of them, waiting for their turn           */
    struct mkv_volume_stats stats;
    TAILQ_ENTRY(mkv_volume) link;
    struct mkv_volume *same_bucket;
    struct mkv_retired retired;
};

TAILQ_HEAD(volume_list, mkv_volume);

struct mkv_volumes {
    struct mkv_volumes_options opt; /* stall_ms filled in                             */
    struct volume_list list;        /* owned                                          */
    struct mkv_volume *buckets[VOLUME_BUCKETS]; /* the same, by name                  */
    struct exchanges exchanges;     /* all of them; owned until they call done        */
    struct event tick;              /* armed only while something may become due      */
    uint64_t tick_due_ms;           /* UINT64_MAX: not armed                          */
    /* Reasons that hold the configured times. */
    char no_answer[VOLUME_WHY_MAX], no_connection[VOLUME_WHY_MAX], no_turn[VOLUME_WHY_MAX],
        no_name[VOLUME_WHY_MAX], no_progress[VOLUME_WHY_MAX];
    struct mkv_retired retired;
};

/* ---- volume.c ------------------------------------------------------------ */

/* An exchange ended with an answer; ended without one. */
void volume_answered(struct mkv_volume *v, int status);
void volume_failed(struct mkv_volume *v, enum volume_blame blame, const char *why);
/* Sees to it that the tick comes within that time. */
void volumes_wake(struct mkv_volumes *vs, uint64_t within_ms);

/* ---- volume_pool.c ------------------------------------------------------- */

struct volume_connecting; /* an attempt to connect: the name, then each address */

/* The newest idle connection, with x as its pipeline; NULL: none. */
struct volume_connection *volume_take_idle(struct mkv_exchange *x);
/* Its pipeline has become empty: keeps it for the next exchange; drops the
 * oldest where there are too many. */
void volume_put_idle(struct volume_connection *c);
/* Takes its pipeline off it: those exchanges have no connection then. */
void volume_close_connection(struct volume_connection *c);

/* Begins to connect for x, which owns the attempt (x->connecting): ends in
 * exchange_connected() or exchange_fail_later(), maybe inside this call. */
void volume_connect(struct mkv_exchange *x);
void volume_connect_cancel(struct volume_connecting *k);
/* Time has passed: on to the next address, or x fails. */
void volume_connect_check(struct volume_connecting *k, uint64_t now);

/* ---- volume_pipeline.c --------------------------------------------------- */

/* HEADs of one turn leave together on one connection, and so do DELETEs, brief GETs,
 * and PUTs that have got their small body: one write, and often one read, for up to
 * VOLUME_PIPELINE_MAX of them.  Only on a connection that has served before, of
 * a volume that is UP.  Answers come in the order of the requests, so that an
 * exchange that gives up its place takes those behind it along.  A HEAD or GET may
 * then be sent once more on a connection of its own; another one only where the
 * volume has closed, for it may still be carried out otherwise, when the file of
 * that name is another one. */

/* Where x may join others; NULL: nowhere. */
struct volume_connection *pipeline_to_join(const struct mkv_exchange *x);
/* The last in the pipeline from now on. */
void pipeline_add(struct volume_connection *c, struct mkv_exchange *x);
/* Leaves it; those behind keep their place: its answer has come. */
void pipeline_remove(struct mkv_exchange *x);
/* Gives up its place; without anybody before it, the connection is closed. */
void pipeline_break(struct mkv_exchange *x, bool closed_by_volume);
/* Bytes have come: whose turn it is gets them, and what is behind its answer the next. */
void pipeline_answers(struct volume_connection *c, struct mkv_bytes bytes);
/* Reads once: whose turn it is gets it, then the one behind. */
void pipeline_readable(struct volume_connection *c);

/* ---- exchange.c ---------------------------------------------------------- */

/* The story of an exchange. */
enum exchange_step {
    EXCHANGE_QUEUED,  /* a brief one: VOLUME_BRIEF_MAX others come first        */
    EXCHANGE_CONNECT, /* a connection is being made                             */
    EXCHANGE_READY,   /* it stands; at the end of this turn the request goes out */
    EXCHANGE_SMALL,   /* a small PUT: if it gets its body in this turn, it may go out with
                         others                                                 */
    EXCHANGE_ANSWER,  /* the request flows; the head of the answer may come     */
    EXCHANGE_BODY,    /* the head has come, the body follows                    */
    EXCHANGE_FAILED,  /* at the end of this turn done() will hear of it         */
    EXCHANGE_GONE     /* over; freed at the end of this turn                    */
};

struct mkv_exchange {
    enum exchange_step step;
    enum mkv_exchange_method method;
    struct mkv_volume *volume;            /* borrowed                                 */
    struct volume_connection *connection; /* shared with its pipeline; NULL but from READY
                                             to BODY                                  */
    struct volume_connecting *connecting; /* owned; NULL but in CONNECT               */
    struct mkv_exchange_events events;
    void *arg;

    uint64_t started_ms;
    uint64_t since_ms;       /* since when the volume has had something to do         */
    uint64_t begins_at, ends_at; /* stream.sent before the request's first byte, and behind
                                    the last that was added                           */
    bool retried;            /* the connection had been closed meanwhile: second one  */
    bool brief;              /* HEAD, DELETE, or a GET that was said to be one         */
    bool counted;            /* in the volume's brief                                 */

    /* the request's body */
    int64_t body_length;     /* -1: chunked                                           */
    uint64_t handed;         /* bytes of the body given to us                         */
    bool told_ready;
    bool whole;              /* all of the body has been given to us                  */
    bool sent_all;           /* ... and to the kernel, at least once                  */
    bool above;              /* unsent was above low: it owes a drained()             */
    size_t low;              /* MKV_SEND_LOW; 0 once a piece was to be shared         */
    bool keeping;            /* may be sent once more: kept holds all that was given  */
    struct evbuffer *kept;   /* owned: to send it once more; NULL: nothing yet        */

    /* the answer */
    int status;
    bool begun;              /* a byte of it has come                                 */
    bool keep_alive, drop, paused;
    bool unwanted;           /* cancelled; its place in the pipeline is still its own */
    bool much;               /* the last read brought so much that a pipe is worth it */
    unsigned interim;        /* 1xx answers so far                                    */
    enum http1_framing framing;
    uint64_t left;           /* HTTP1_LENGTH: bytes of the body still to come         */
    uint64_t dropped;
    struct http1_chunks chunks;
    char *partial;           /* owned: a head of which only a part has come; or NULL  */
    size_t partial_len, scanned;
    struct evbuffer *held;   /* owned: read, not yet decoded, since paused; also what
                                belongs to those behind; or NULL                      */

    enum volume_blame blame; /* in FAILED                                             */
    const char *why;         /* static, the volume's, or why_text                     */
    char why_text[VOLUME_WHY_MAX];

    LIST_ENTRY(mkv_exchange) link;
    TAILQ_ENTRY(mkv_exchange) turn;       /* in the volume's queue, then in a pipeline */
    struct mkv_chore chore;
    struct mkv_retired retired;
    size_t head_len;
    char head[];             /* the request's head, as it is sent                     */
};

/* x has a connection now. */
void exchange_connected(struct mkv_exchange *x);
/* On a fresh connection.  x has none. */
void exchange_send_again(struct mkv_exchange *x);
/* Fails at the end of this turn: allowed anywhere.  why: static or x's own. */
void exchange_fail_later(struct mkv_exchange *x, enum volume_blame blame, const char *why);
/* Ends without calling back. */
void exchange_discard(struct mkv_exchange *x);
/* The tick: is it overdue? */
void exchange_check(struct mkv_exchange *x, uint64_t now);
/* HEAD, GET: may be sent once more in any case. */
bool exchange_is_safe(const struct mkv_exchange *x);
/* The kernel has all of the request.  While it has a connection and flows. */
bool exchange_is_written(const struct mkv_exchange *x);
/* Before it loses its connection: mkv_exchange_sent_all() goes on to know. */
void exchange_note_sent(struct mkv_exchange *x);
/* Fails now: from an event or a chore only. */
void exchange_fail(struct mkv_exchange *x, enum volume_blame blame, const char *why);
/* An answer is there: done(MKV_OK, x->status).  Only with reuse may the
 * connection serve again. */
void exchange_complete(struct mkv_exchange *x, bool reuse);
/* The connection broke: once more on a fresh one where that is allowed. */
void exchange_broken(struct mkv_exchange *x, const char *why);
/* The text of an errno, static or in x->why_text. */
const char *exchange_errno(struct mkv_exchange *x, int err);
/* What the connection's stream tells. */
void exchange_written(struct mkv_exchange *x);

/* ---- exchange_answer.c --------------------------------------------------- */

/* Bytes have come.  Returns how many of them were its own, or are held with those:
 * fewer than all only where the answer has ended.  x may be over afterwards. */
size_t exchange_answer(struct mkv_exchange *x, struct mkv_bytes bytes);
/* Whether the next bytes should come in a pipe; and they have. */
bool exchange_wants_pipe(const struct mkv_exchange *x);
void exchange_answer_piped(struct mkv_exchange *x, struct mkv_pipe *pipe);
/* The volume has closed the connection. */
void exchange_end_of_input(struct mkv_exchange *x);
/* No longer paused: hands on what was held, then reads on.  From a chore. */
void exchange_resume(struct mkv_exchange *x);

#endif
