/* lib/net/http1.h - the HTTP/1.1 codec: bytes in, result out, no I/O.
 *
 * The same parser serves the front (requests) and the volume client
 * (responses).  Strict where request smuggling starts; see docs/architecture.md
 * for the list of what is refused and why.  RFC 9110, 9112. */
#ifndef MKV_NET_HTTP1_H
#define MKV_NET_HTTP1_H

#include "mkv/err.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP1_HEAD_MAX    (32 * 1024) /* start line and headers; more gets 431 */
#define HTTP1_TARGET_MAX  (8 * 1024)  /* more gets 414                         */
#define HTTP1_HEADERS_MAX 100         /* lines; more gets 431                  */
#define HTTP1_TRAILER_MAX (8 * 1024)  /* bytes after the last chunk            */

enum http1_progress { HTTP1_DONE, HTTP1_MORE, HTTP1_BAD };

struct mkv_header {
    struct mkv_slice name, value; /* value without surrounding white space */
};

enum http1_framing {
    HTTP1_NO_BODY,
    HTTP1_LENGTH,     /* head.length bytes (0 is possible)      */
    HTTP1_CHUNKED,
    HTTP1_UNTIL_CLOSE /* responses only                         */
};

struct http1_head {
    /* a request */
    struct mkv_slice method, target; /* target as sent: origin or absolute form, or "*" */
    bool expects_continue;
    /* a response */
    int status;
    struct mkv_slice reason;
    /* both */
    int minor;       /* HTTP/1.minor: 0 or 1 */
    bool keep_alive; /* by version and Connection */
    enum http1_framing framing;
    uint64_t length; /* of Content-Length, also where the framing is HTTP1_NO_BODY; else 0 */
    size_t nheaders;
    struct mkv_header headers[HTTP1_HEADERS_MAX]; /* the first nheaders are set */
    /* after HTTP1_BAD */
    int bad_status;     /* 400, 414, 431, 501 (Transfer-Encoding unknown), 505; 417 */
    const char *reason_bad; /* static text: one sentence for the client */
};

/* Parses one head at data.  All slices point into data.  *used: the bytes of
 * the head, any leading CRLF included; 0 unless HTTP1_DONE.  *scanned: start
 * with 0, pass it again with the same data and more behind it: what has been
 * looked at is not looked at again (a head of single bytes costs linear time). */
enum http1_progress http1_parse_request(struct http1_head *head, const char *data, size_t len,
                                        size_t *scanned, size_t *used);
/* to_head: the response to a HEAD request, which has no body whatever it says. */
enum http1_progress http1_parse_response(struct http1_head *head, const char *data, size_t len,
                                         bool to_head, size_t *scanned, size_t *used);

/* First header of that name (ASCII case-insensitive); false where there is none. */
bool http1_find(const struct http1_head *head, struct mkv_slice name, struct mkv_slice *value);

/* The chunked body.  Zero to begin; clear() frees. */
struct http1_chunks {
    enum { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_SIZE_LF, CHUNK_DATA, CHUNK_DATA_CR, CHUNK_DATA_LF,
           CHUNK_TRAILER, CHUNK_LAST_LF, CHUNK_END } step;
    uint64_t left;      /* bytes of this chunk still to come               */
    unsigned digits;    /* of the size, so far                             */
    size_t line;        /* bytes of this size line or extension            */
    char *trailer;      /* owned: raw trailer lines, NULL where none       */
    size_t trailer_len;
    size_t ntrailers;   /* parsed when done, into trailers                 */
    struct mkv_header *trailers; /* owned array into trailer               */
    const char *reason_bad;
};
/* Consumes bytes from data until it has a piece of payload, the end, or runs
 * out.  HTTP1_MORE with payload->len > 0: a piece (call again with the rest);
 * HTTP1_MORE with 0: feed more.  HTTP1_DONE: the body and its trailers are
 * complete; *used may be less than len (the next request). */
enum http1_progress http1_chunks_next(struct http1_chunks *c, const char *data, size_t len,
                                      size_t *used, struct mkv_slice *payload);
void http1_chunks_clear(struct http1_chunks *c);

/* "HTTP/1.1 404 Not Found\r\n" and the like; {NULL,0} for a status not known. */
struct mkv_slice http1_status_line(int status);

#endif
