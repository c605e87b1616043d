/* lib/net/volume.h - the volume client: nginx servers, their connections,
 * their state, and one exchange with one of them.
 *
 * Keep-alive pools (at most VOLUME_IDLE_MAX idle each), names resolved without
 * blocking (evdns; /etc/hosts is honoured), one silent retry on a fresh
 * connection where a pooled one turns out closed before any byte of the answer.
 * Short exchanges of one turn share a connection (HTTP/1.1 pipelining): HEADs,
 * DELETEs, PUTs of a small body, GETs that are said to be brief.  One that hangs
 * or is answered with nonsense costs the others the connection: HEADs and GETs go
 * out once more, a DELETE or PUT that the volume may still carry out fails.
 *
 * State.  A volume is UP; SUSPECT after a failure or a 5xx answer; DOWN when it
 * refused a connection, has a name that can not be resolved, or failed
 * VOLUME_DOWN_AFTER times in a row.  A volume that is not UP is probed (HEAD /)
 * after a backoff that doubles from VOLUME_BACKOFF_MIN_MS to
 * VOLUME_BACKOFF_MAX_MS; any HTTP answer below 500 makes it UP.  Exchanges with
 * a volume that is DOWN are still tried: callers choose.  Every change of state
 * is logged with its reason: going down and coming back as warnings.  What is
 * our own fault (no file descriptors, no memory) changes no state. */
#ifndef MKV_NET_VOLUME_H
#define MKV_NET_VOLUME_H

#include "mkv/loop.h"
#include "mkv/slice.h"
#include "net/block.h"
#include "net/http1.h"
#include "net/pipe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VOLUME_IDLE_MAX       100   /* pooled connections per volume          */
#define VOLUME_STALL_MS       10000 /* PUT, DELETE, REBALANCE or a body without progress: no byte
                                       moved, while the volume had something to do; the
                                       wait for the answer counts from the last byte    */
#define VOLUME_BRIEF_MAX      100   /* HEADs, DELETEs and brief GETs under way per volume;
                                       the rest wait their turn: more connections than are kept
                                       would be made only to be thrown away             */
#define VOLUME_DOWN_AFTER     3
#define VOLUME_BACKOFF_MIN_MS 500
#define VOLUME_BACKOFF_MAX_MS 10000

struct mkv_volumes; /* all of them; owns pools and resolver */
struct mkv_volume;  /* one server */

enum mkv_volume_state { MKV_VOLUME_UP, MKV_VOLUME_SUSPECT, MKV_VOLUME_DOWN };

struct mkv_volumes_options {
    struct mkv_loop *loop;     /* borrowed */
    struct mkv_blocks *blocks; /* borrowed */
    struct mkv_pipes *pipes;   /* borrowed; NULL: piped() is never called */
    uint64_t timeout_ms;       /* -voltimeout: to connect; to answer HEAD, GET, LIST */
    uint64_t stall_ms;         /* 0: VOLUME_STALL_MS                                  */
    size_t ahead;              /* so much of an answer the kernel should take before it is read,
                                  as far as the system lets it; 0: what it thinks fit */
};
enum mkv_err mkv_volumes_open(struct mkv_volumes **out,
                              const struct mkv_volumes_options *opt) MKV_MUSTUSE;
/* Cancels every exchange without calling back.  NULL is fine. */
void mkv_volumes_close(struct mkv_volumes *vs);

/* The server called name ("host:port", "host:port/dir", "host": port 80,
 * "[::1]:3001"); the same one for the same name.  MKV_EINVAL: no such form. */
enum mkv_err mkv_volumes_get(struct mkv_volumes *vs, struct mkv_slice name,
                             struct mkv_volume **out) MKV_MUSTUSE;
/* Every server known so far, for /healthz and /metrics; NULL after the last. */
struct mkv_volume *mkv_volumes_next(struct mkv_volumes *vs, struct mkv_volume *after);

struct mkv_slice mkv_volume_name(const struct mkv_volume *v); /* as given */
enum mkv_volume_state mkv_volume_state(const struct mkv_volume *v);
const char *mkv_volume_state_name(enum mkv_volume_state s); /* "up", "suspect", "down" */

struct mkv_volume_stats {
    uint64_t exchanges, failures, connects, retries, bytes_sent, bytes_received;
    uint64_t idle, busy; /* connections now */
    char last_error[160]; /* why it last failed; "" */
};
void mkv_volume_stats(const struct mkv_volume *v, struct mkv_volume_stats *out);

/* ---- one exchange ---------------------------------------------------------- */
struct mkv_exchange;

/* REBALANCE is for a master, which jobs talk to as if it were a volume. */
enum mkv_exchange_method {
    MKV_VOLUME_HEAD,
    MKV_VOLUME_GET,
    MKV_VOLUME_PUT,
    MKV_VOLUME_DELETE,
    MKV_VOLUME_REBALANCE
};

struct mkv_exchange_options {
    struct mkv_volume *volume;
    enum mkv_exchange_method method;
    struct mkv_slice path;  /* "/svXX/xx/yy/NAME", behind the volume's own /dir; copied.
                               May hold a query                                 */
    int64_t body_length;    /* PUT: bytes, or -1: chunked                       */
    const char *date;       /* PUT: the Date header, which nginx makes the file's
                               mtime; NULL: none.  Copied                       */
    const char *authorization; /* REBALANCE: the value of that header; NULL: none.  Copied */
    bool brief;             /* GET: a short answer is expected, which may share a connection,
                               as a HEAD's                                      */
    uint64_t range_from;    /* GET: from this byte on...                        */
    uint64_t range_length;  /* ...so many; 0: up to the end.  Both 0: all.  A volume that can
                               not do that answers 200 and sends all of it      */
};

/* Any but done may be NULL.  None runs inside a call on the exchange. */
struct mkv_exchange_events {
    /* PUT: the connection stands; the body may be sent.  Not before this. */
    void (*ready)(struct mkv_exchange *x, void *arg);
    /* PUT: the volume is no longer behind, see mkv_exchange_behind(). */
    void (*drained)(struct mkv_exchange *x, void *arg);
    /* The head of the answer: GET and HEAD.  Valid during the call. */
    void (*head)(struct mkv_exchange *x, const struct http1_head *head, void *arg);
    /* GET: a piece of the body of a 200 or 206; REBALANCE: of any answer.
     * (Other bodies are dropped.)  None comes while paused; done may. */
    void (*body)(struct mkv_exchange *x, struct mkv_bytes piece, void *arg);
    /* GET: a large piece of such a body, in a pipe; the pipe is the caller's again
     * afterwards, whatever was left in it is dropped.  NULL: all comes to body(). */
    void (*piped)(struct mkv_exchange *x, struct mkv_pipe *pipe, void *arg);
    /* Exactly once, last.  MKV_OK: status is the volume's answer, whatever it
     * is (a PUT may be refused before its body was sent).  MKV_EVOLUME: no
     * whole answer; mkv_exchange_why() says why.  x is gone afterwards. */
    void (*done)(struct mkv_exchange *x, enum mkv_err err, int status, void *arg);
};

#define MKV_SEND_LOW (256 * 1024)

/* Starts it; on an error nothing is called back: MKV_EINVAL where the path does
 * not begin with '/' or holds a blank, a control or a non-ASCII character, or
 * where the range ends behind UINT64_MAX. */
enum mkv_err mkv_exchange_start(struct mkv_exchange **out, const struct mkv_exchange_options *opt,
                                const struct mkv_exchange_events *events, void *arg) MKV_MUSTUSE;

/* PUT, after ready: a piece of the body; all of it has been given.  Failures
 * come through done: also where the pieces do not add up to body_length. */
void mkv_exchange_send(struct mkv_exchange *x, struct mkv_bytes piece);
void mkv_exchange_send_end(struct mkv_exchange *x);
/* The same with a piece that lies in a pipe, which stays as it is.  False: not at
 * this time; read the pipe and send the bytes.  Nothing more may be given while
 * mkv_exchange_behind() after it. */
bool mkv_exchange_share(struct mkv_exchange *x, struct mkv_pipe *pipe) MKV_MUSTUSE;
size_t mkv_exchange_unsent(const struct mkv_exchange *x);
/* More than MKV_SEND_LOW is unsent, or was, and drained() has not yet said that it
 * no longer is.  From the first mkv_exchange_share() on: more than nothing. */
bool mkv_exchange_behind(const struct mkv_exchange *x);
/* PUT: whether the whole body was handed to the kernel, or can not be kept from
 * it: if the exchange fails or is cancelled then, the file may exist all the
 * same.  Also valid in done. */
bool mkv_exchange_sent_all(const struct mkv_exchange *x);
/* GET: stops and resumes body() and piped(). */
void mkv_exchange_pause(struct mkv_exchange *x, bool paused);
/* Ends it without calling back.  x is gone.  The connection is closed, unless
 * others share it: then the request is still carried out, and its answer let pass. */
void mkv_exchange_cancel(struct mkv_exchange *x);
/* Static or owned by x: "connection refused", "no answer within 1 s", ... */
const char *mkv_exchange_why(const struct mkv_exchange *x);

#endif
