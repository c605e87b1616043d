/* lib/net/http1_conn.h - one connection of the HTTP/1.1 front.
 *
 * Inside the front only.  http1_server.c keeps the connections, http1_conn.c
 * reads from them, http1_begin.c makes requests of heads, http1_reply.c writes
 * answers. */
#ifndef MKV_NET_HTTP1_CONN_H
#define MKV_NET_HTTP1_CONN_H

#include "net/http1_server.h"
#include "net/stream.h"

#include <sys/queue.h>

#define READ_MAX    (16 * 1024) /* one read of heads: also what a pipeline may leave with us */
#define CHUNKED_MAX (64 * 1024) /* one read of a chunked body: the next head may be in it    */
#define GATHER_MAX  (32 * 1024) /* answers of one connection gathered for one write          */
#define TURN_MAX    64          /* requests of one connection served in one turn             */

enum conn_step {
    CONN_IDLE,    /* between requests: no byte of the next head has been looked at   */
    CONN_HEAD,    /* part of a head has come                                         */
    CONN_REQUEST, /* a handler has the request, until it has ended it                */
    CONN_FLUSH,   /* the last answer is on its way out; then close                   */
    CONN_LINGER,  /* the same, but the client may still be sending: what comes is
                     dropped for a while, so that it sees the answer and not a reset */
    CONN_CLOSED   /* freed at the end of the turn                                    */
};

enum body_step {
    BODY_UNREAD, /* the handler has not asked for it yet       */
    BODY_FLOWS,  /* pieces go to the handler as they come      */
    BODY_PAUSED, /* the handler has had enough for the moment  */
    BODY_OVER    /* the handler has it all, or it was dropped  */
};

enum answer_step {
    ANSWER_NONE,    /* not a byte yet                                  */
    ANSWER_LENGTH,  /* head sent; answer_left bytes to come            */
    ANSWER_CHUNKED, /* head sent; pieces as chunks                     */
    ANSWER_RAW,     /* head sent; pieces as they are, until close      */
    ANSWER_NO_BODY  /* head sent; pieces are dropped (HEAD, 204, 304)  */
};

struct conn {
    struct stream stream;
    struct mkv_request r;
    struct http1_server *server; /* borrowed: closes its connections first */
    LIST_ENTRY(conn) all;
    TAILQ_ENTRY(conn) waiting; /* among those to resume in the next turn */
    struct mkv_chore feed;     /* resumes it at the end of this one      */
    struct mkv_retired retired;

    enum conn_step step;
    enum body_step body;
    enum answer_step answer;
    bool is_waiting; /* linked in waiting                                 */
    bool is_fed;     /* feed is queued                                    */
    bool keep;       /* the connection goes on after this request         */
    bool chunked;    /* the request's body is                             */
    bool expects;    /* the client waits for 100 Continue                 */
    bool much;       /* the last read of the body brought enough for a pipe */
    bool above_high; /* output was above the high mark: owes a drained()  */
    bool shares;     /* a piece of the answer was to be shared: from there
                        on both marks are 0                               */
    bool no_memory;  /* noticed inside a verb; the next turn closes       */
    bool shut;       /* lingering: our side is shut down                  */
    int minor;       /* of the request's version                          */
    int status;      /* of the answer                                     */

    const char *in; /* borrowed: unread bytes, in held or server->scratch */
    size_t in_len;
    char *held; /* owned: unread bytes between turns; NULL where none */
    size_t held_size;
    size_t scanned; /* of in: http1_parse_request()                      */

    uint64_t body_left; /* bytes, where not chunked                          */
    struct http1_chunks chunks;
    uint64_t answer_left; /* bytes of an ANSWER_LENGTH still to come           */

    uint64_t since_ms;   /* HEAD: its first byte; LINGER: our side shut down  */
    uint64_t started_us; /* REQUEST: the head was complete                    */
    uint64_t counted;    /* of stream.sent, in the metrics                    */
    size_t dropped;      /* LINGER: bytes                                     */
    char *target;        /* owned: for the log line; NULL unless -v           */
};

LIST_HEAD(conn_list, conn);
TAILQ_HEAD(conn_queue, conn);

struct http1_server {
    struct http1_server_options opt;
    struct conn_list all;
    struct conn_queue waiting; /* resumed by resume, in the next turn */
    size_t nwaiting;
    size_t count;
    bool draining;
    uint64_t last_id;
    struct event *tick;   /* owned; every second */
    struct event *resume; /* owned; fires at once, which is in the next turn */
    struct mkv_retired retired;

    /* Shared by all connections: nothing in here outlives one callback. */
    struct conn *serving; /* whose requests are being read; NULL: nobody's */
    size_t gathered;      /* bytes of its answers in gather               */
    struct http1_head head;
    char key[HTTP1_TARGET_MAX];
    char scratch[READ_MAX];
    char gather[GATHER_MAX];
};

static inline struct conn *conn_of(struct mkv_request *r)
{
    return (struct conn *)(void *)((char *)r - offsetof(struct conn, r));
}

/* http1_server.c */
/* Calls conn_resume(c) in the next turn: it has unread bytes, or is owed an
 * event.  Never in this one, so that no client keeps the others waiting. */
void conn_resume_later(struct conn *c);
/* Calls it at the end of this turn: the handler wants the body, of which a part, or
 * all, came with the head.  That is little, and leaves together with the head that
 * the handler sends on. */
void conn_feed_soon(struct conn *c);
void conn_forget_resume(struct conn *c); /* neither of them */

/* http1_conn.c */
struct conn *conn_open(struct http1_server *s, int fd); /* NULL: no memory; fd is untouched */
/* The one place where a connection ends.  A request under way hears gone(). */
void conn_close(struct conn *c, const char *why);
void conn_resume(struct conn *c);
void conn_check_time(struct conn *c, uint64_t now);
/* Adds what has left since the last call to the metrics. */
void conn_count_sent(struct conn *c);
/* The handler has ended the request. */
void conn_request_over(struct conn *c);
/* Drops what has come of the body.  True where nothing of it is still to come. */
bool conn_drop_body(struct conn *c);
/* Arms the read event where c wants to read.  It is disarmed only when it
 * fires and c does not. */
void conn_want_read(struct conn *c);

/* http1_begin.c */
uint64_t conn_clock_us(void); /* for latencies: finer than the loop's clock */
/* Fills the request from server->head and calls the handler. */
void begin_request(struct conn *c);

/* http1_reply.c */
extern const struct mkv_transport http1_transport;
/* Answers in the handler's place with one line of text, or breaks an answer
 * that has begun; a request under way hears gone().  The connection lingers. */
void reply_refuse(struct conn *c, int status, const char *why);
/* Hands the gathered answers of the connection being served to its stream. */
void reply_flush(struct http1_server *s);

#endif
