/* lib/net/http1_server.h - the HTTP/1.1 front: connections in, requests out.
 *
 * Keep-alive, pipelining (one request at a time; the next head is parsed when
 * the answer to the last one has been handed over), chunked bodies,
 * 100-continue, limits and timeouts (below).  Memory of an idle connection: the
 * struct and no buffer. */
#ifndef MKV_NET_HTTP1_SERVER_H
#define MKV_NET_HTTP1_SERVER_H

#include "mkv/loop.h"
#include "net/request.h"

/* Sources: design.md section 4.  A tick of one second looks at all of them. */
#define HTTP1_HEAD_TIMEOUT_MS  30000 /* a head must be complete within         */
#define HTTP1_BODY_TIMEOUT_MS  60000 /* a body, or an answer's reader, must move */
#define HTTP1_IDLE_TIMEOUT_MS  75000 /* between requests                       */
#define HTTP1_LINGER_MS        2000  /* a refused body is read and dropped...  */
#define HTTP1_LINGER_BYTES     (1024 * 1024) /* ...for so long and so much     */

struct http1_server;

struct http1_server_options {
    struct mkv_loop *loop;       /* borrowed: outlives the front */
    struct mkv_blocks *blocks;   /* borrowed */
    struct mkv_pipes *pipes;     /* borrowed; NULL: bodies come in memory */
    struct mkv_metrics *metrics; /* borrowed */
    mkv_handler *handler;
    void *handler_arg;
};

enum mkv_err http1_server_open(struct http1_server **out,
                               const struct http1_server_options *opt) MKV_MUSTUSE;
/* Takes an accepted, non-blocking socket; closes it where memory is short. */
void http1_server_accept(struct http1_server *s, int fd);
/* Idle connections close now, the others after the answer under way (which
 * says "Connection: close"). */
void http1_server_drain(struct http1_server *s);
size_t http1_server_connections(const struct http1_server *s);
/* Closes everything at once; handlers under way hear gone(). */
void http1_server_close(struct http1_server *s);

#endif
