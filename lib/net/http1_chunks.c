/* lib/net/http1_chunks.c - the chunked body, one step at a time. */
#include "net/http1_fields.h"

#include <stdlib.h>

#define SIZE_DIGITS_MAX 16
#define EXTENSION_MAX   256 /* bytes of one chunk's extensions, which nobody reads */

static enum http1_progress bad(struct http1_chunks *c, const char *why)
{
    c->reason_bad = why;
    return HTTP1_BAD;
}

static int hex_value(char byte)
{
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

static enum http1_progress size_byte(struct http1_chunks *c, char byte)
{
    int digit = hex_value(byte);

    if (digit >= 0) {
        if (++c->digits > SIZE_DIGITS_MAX) return bad(c, "a chunk size has more than 16 digits");
        c->left = c->left << 4 | (unsigned)digit;
    } else if (c->digits == 0) {
        return bad(c, "a chunk begins with no size");
    } else if (byte == ';') {
        c->step = CHUNK_EXTENSION;
        c->line = 0;
    } else if (byte == '\r') {
        c->step = CHUNK_SIZE_LF;
    } else {
        return bad(c, "a chunk size is followed by something other than ; or CRLF");
    }
    return HTTP1_MORE;
}

static enum http1_progress extension_byte(struct http1_chunks *c, char byte)
{
    if (byte == '\r')
        c->step = CHUNK_SIZE_LF;
    else if (!http1_is((unsigned char)byte, HTTP1_VALUE))
        return bad(c, "a control character in a chunk extension");
    else if (++c->line > EXTENSION_MAX)
        return bad(c, "a chunk extension is longer than 256 bytes");
    return HTTP1_MORE;
}

static enum http1_progress size_lf(struct http1_chunks *c, char byte)
{
    if (byte != '\n') return bad(c, "a chunk size does not end with CRLF");
    c->step = c->left ? CHUNK_DATA : CHUNK_TRAILER;
    c->line = 0;
    return HTTP1_MORE;
}

static enum http1_progress data_end(struct http1_chunks *c, char byte)
{
    if (byte != (c->step == CHUNK_DATA_CR ? '\r' : '\n'))
        return bad(c, "a chunk is longer than its size, or does not end with CRLF");
    if (c->step == CHUNK_DATA_CR) {
        c->step = CHUNK_DATA_LF;
    } else {
        c->step = CHUNK_SIZE;
        c->left = 0;
        c->digits = 0;
    }
    return HTTP1_MORE;
}

/* Keeps raw trailer bytes up to the end of a line.  line: bytes of it so far. */
static enum http1_progress trailer_bytes(struct http1_chunks *c, const char *data, size_t len,
                                         size_t *used)
{
    const char *lf;
    size_t n;

    if (c->line == 0 && data[0] == '\r') {
        c->step = CHUNK_LAST_LF;
        *used = 1;
        return HTTP1_MORE;
    }
    lf = memchr(data, '\n', len);
    n = lf ? (size_t)(lf - data) + 1 : len;
    if (n > HTTP1_TRAILER_MAX - c->trailer_len)
        return bad(c, "the trailers are longer than 8192 bytes");
    if (!c->trailer) {
        c->trailer = malloc(HTTP1_TRAILER_MAX);
        if (!c->trailer) return bad(c, "out of memory");
    }
    memcpy(c->trailer + c->trailer_len, data, n);
    c->trailer_len += n;
    c->line += n;
    if (lf) {
        if (c->line < 2 || c->trailer[c->trailer_len - 2] != '\r')
            return bad(c, "a trailer line ends with LF alone");
        c->line = 0;
    }
    *used = n;
    return HTTP1_MORE;
}

static enum http1_progress parse_trailers(struct http1_chunks *c)
{
    const char *p = c->trailer, *end = p + c->trailer_len, *why;
    size_t lines = 0;

    for (size_t i = 0; i < c->trailer_len; i++)
        lines += c->trailer[i] == '\n';
    if (lines > HTTP1_HEADERS_MAX) return bad(c, "more than 100 trailer lines");
    c->trailers = calloc(lines, sizeof(*c->trailers));
    if (!c->trailers) return bad(c, "out of memory");
    while (p < end) {
        if (http1_field(&p, end, &c->trailers[c->ntrailers], &why) != HTTP1_DONE)
            return bad(c, why);
        c->ntrailers++;
    }
    return HTTP1_DONE;
}

static enum http1_progress last_lf(struct http1_chunks *c, char byte)
{
    if (byte != '\n') return bad(c, "the last line of a chunked body does not end with CRLF");
    c->step = CHUNK_END;
    return c->trailer ? parse_trailers(c) : HTTP1_DONE;
}

enum http1_progress http1_chunks_next(struct http1_chunks *c, const char *data, size_t len,
                                      size_t *used, struct mkv_slice *payload)
{
    enum http1_progress progress = HTTP1_MORE;
    size_t at = 0;

    *payload = mkv_slice(NULL, 0);
    if (c->step == CHUNK_END) progress = c->reason_bad ? HTTP1_BAD : HTTP1_DONE;
    while (at < len && progress == HTTP1_MORE && payload->len == 0) {
        size_t n = 1;

        switch (c->step) {
        case CHUNK_SIZE: progress = size_byte(c, data[at]); break;
        case CHUNK_EXTENSION: progress = extension_byte(c, data[at]); break;
        case CHUNK_SIZE_LF: progress = size_lf(c, data[at]); break;
        case CHUNK_DATA:
            n = c->left < len - at ? (size_t)c->left : len - at;
            *payload = mkv_slice(data + at, n);
            c->left -= n;
            if (c->left == 0) c->step = CHUNK_DATA_CR;
            break;
        case CHUNK_DATA_CR:
        case CHUNK_DATA_LF: progress = data_end(c, data[at]); break;
        case CHUNK_TRAILER: progress = trailer_bytes(c, data + at, len - at, &n); break;
        case CHUNK_LAST_LF: progress = last_lf(c, data[at]); break;
        case CHUNK_END: break; /* left by the test above */
        }
        at += n;
    }
    *used = at;
    return progress;
}

void http1_chunks_clear(struct http1_chunks *c)
{
    free(c->trailer);
    free(c->trailers);
    memset(c, 0, sizeof(*c));
}
