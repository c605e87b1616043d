/* lib/net/http1_fields.h - "Name: value" lines, as heads and trailers have them.
 *
 * Inside the HTTP/1.1 codec only; everybody else includes http1.h. */
#ifndef MKV_NET_HTTP1_FIELDS_H
#define MKV_NET_HTTP1_FIELDS_H

#include "net/http1.h"

/* What a byte may be part of. */
enum {
    HTTP1_TOKEN = 1 << 0,  /* a method, a header's name                     */
    HTTP1_TARGET = 1 << 1, /* a request target: no control, no white space  */
    HTTP1_VALUE = 1 << 2   /* a header's value, a reason, a chunk extension */
};
extern const unsigned char http1_bytes[256];

static inline bool http1_is(unsigned char byte, int kind)
{
    return (http1_bytes[byte] & kind) != 0;
}

/* One line at *p, which must end with CRLF before end.  HTTP1_DONE: *h is set
 * and *p behind the line.  HTTP1_BAD: *why says it.  Never HTTP1_MORE. */
enum http1_progress http1_field(const char **p, const char *end, struct mkv_header *h,
                                const char **why);

#endif
