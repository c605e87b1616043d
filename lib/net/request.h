/* lib/net/request.h - the seam: one request, whichever HTTP carried it.
 *
 * A front parses a head, fills a request and calls the handler.  The handler
 * answers through the verbs of the transport, at once or later, and hears
 * of the body through its events.  It lies in lib/net/ so that fronts, which
 * implement it, include nothing from above. */
#ifndef MKV_NET_REQUEST_H
#define MKV_NET_REQUEST_H

#include "mkv/metrics.h"
#include "mkv/slice.h"
#include "net/block.h"
#include "net/http1.h"
#include "net/pipe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evbuffer;
struct mkv_request;

/* Output beyond this should wait for drained(); it comes below the low mark. */
#define MKV_OUTPUT_HIGH (256 * 1024)
#define MKV_OUTPUT_LOW  (64 * 1024)

#define MKV_LENGTH_UNKNOWN (-1)

/* What the handler is told after its begin has returned.  Any may be NULL
 * where the handler never reads a body or never answers piecewise. */
struct mkv_request_events {
    /* A piece of the body, after read_body(r, true). */
    void (*body)(struct mkv_request *r, struct mkv_bytes piece);
    /* A large piece of it, in a pipe, from where the handler may share or read it;
     * what is left in it is dropped.  NULL: all of it comes to body(). */
    void (*piped)(struct mkv_request *r, struct mkv_pipe *pipe);
    /* The whole body has been passed on; r->trailers are set.  Once. */
    void (*body_end)(struct mkv_request *r);
    /* Output fell below the low mark after it was above the high one; from the first
     * share() on: to nothing, after there was some. */
    void (*drained)(struct mkv_request *r);
    /* The client went away, stalled, or sent a broken body (the front has
     * answered that itself).  Nothing may be called on r afterwards, which
     * lives until this returns.  Runs at most once, and never after the handler
     * has ended the request. */
    void (*gone)(struct mkv_request *r, const char *why);
};

/* Implemented by each front.  A request ends with reply() or end(); r must not
 * be touched afterwards.  A request whose body has not been read may be ended:
 * the front sees to the rest of it. */
struct mkv_transport {
    /* The whole answer at once: adds Content-Length (unless the status has no
     * body), Date, Connection.  To a HEAD the body is counted but not sent. */
    void (*reply)(struct mkv_request *r, int status, const struct mkv_header *h, size_t n,
                  struct mkv_slice body);
    /* An answer in pieces: head, body..., end.  length may be
     * MKV_LENGTH_UNKNOWN: chunked, or until close for HTTP/1.0. */
    void (*head)(struct mkv_request *r, int status, const struct mkv_header *h, size_t n,
                 int64_t length);
    void (*body)(struct mkv_request *r, struct evbuffer *bytes); /* drains bytes */
    /* A piece that lies in a pipe, which stays as it is.  False: not at this time; read
     * the pipe and give the bytes to body().  After it nothing more may be given until
     * drained(), unless unsent() is 0. */
    bool (*share)(struct mkv_request *r, struct mkv_pipe *pipe);
    void (*end)(struct mkv_request *r);
    /* Starts, pauses, resumes reading the body.  Off until called.  The first
     * call with true is where "100 Continue" goes out, if the client waits. */
    void (*read_body)(struct mkv_request *r, bool on);
    size_t (*unsent)(struct mkv_request *r); /* output not yet with the kernel */
    /* False: the client has reset the connection, of which a front that neither reads
     * nor writes need not have heard; gone() has run.  True says little: one that closed
     * its side only may still want the answer. */
    bool (*alive)(struct mkv_request *r);
    /* Breaks the connection in the middle of an answer that can not be
     * completed, so that the client sees it was cut.  Ends the request. */
    void (*abort)(struct mkv_request *r, const char *why);
};

struct mkv_request {
    uint64_t id; /* counts from 1; in every log line about it */
    enum mkv_method method;

    /* Borrowed: valid until the handler's begin returns.  Copy what you need. */
    struct mkv_slice method_name;
    struct mkv_slice target;           /* as sent                              */
    struct mkv_slice path;             /* before the '?', still encoded        */
    struct mkv_slice key;              /* path, percent-decoded                */
    struct mkv_slice query;            /* behind the '?', still encoded        */
    bool has_query;
    const struct mkv_header *headers;
    size_t nheaders;

    bool has_body;                     /* a body was announced, maybe an empty one */
    int64_t body_length;               /* MKV_LENGTH_UNKNOWN: chunked; 0 without body */
    bool expects_continue;
    const struct mkv_header *trailers; /* valid inside body_end               */
    size_t ntrailers;

    const struct mkv_transport *transport;
    const struct mkv_request_events *events; /* set by the handler's begin    */
    void *state;                       /* the handler's                        */
};

/* What a front calls for each request: answers, or sets events and state. */
typedef void mkv_handler(struct mkv_request *r, void *arg);

/* First header of that name; only during the handler's begin. */
bool mkv_request_header(const struct mkv_request *r, struct mkv_slice name,
                        struct mkv_slice *value);

#endif
