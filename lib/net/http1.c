/* lib/net/http1.c - heads of requests and responses.
 *
 * First the end of the head is looked for, line by line with memchr; only a
 * whole head is parsed, in one pass.  So the outcome never depends on how the
 * bytes were cut into pieces. */
#include "net/http1.h"
#include "net/http1_fields.h"

#include <stdint.h>

#define METHOD_MAX       32
#define LEADING_CRLF_MAX 4 /* empty lines before a request, left over by old clients */

/* What the headers of one head have said so far. */
struct facts {
    bool has_length, has_coding, chunked, closes, stays;
    unsigned hosts;
};

static enum http1_progress bad(struct http1_head *head, int status, const char *why)
{
    head->bad_status = status;
    head->reason_bad = why;
    return HTTP1_BAD;
}

/* ---- the end of the head ------------------------------------------------- */

/* Decided by the first HTTP1_HEAD_MAX bytes alone, so that it does not matter
 * how many more have come. */
static enum http1_progress too_long(struct http1_head *head, const char *data, size_t start)
{
    const char *lf = memchr(data + start, '\n', HTTP1_HEAD_MAX - start);
    size_t line = lf ? (size_t)(lf - data) - start : SIZE_MAX;

    if (line > METHOD_MAX + 1 + HTTP1_TARGET_MAX + sizeof(" HTTP/1.1"))
        return bad(head, 414, "the request target is longer than 8192 bytes");
    return bad(head, 431, "the head is longer than 32768 bytes");
}

/* Finds the empty line.  *end: behind it. */
static enum http1_progress find_end(struct http1_head *head, const char *data, size_t len,
                                    size_t start, size_t *scanned, size_t *end)
{
    size_t at = *scanned > start ? *scanned : start;
    const char *lf;

    while (at < len && (lf = memchr(data + at, '\n', len - at))) {
        size_t here = (size_t)(lf - data);

        if (here >= HTTP1_HEAD_MAX) break;
        if (here == start || data[here - 1] != '\r')
            return bad(head, 400, "a line of the head ends with LF alone");
        at = here + 1;
        if (here >= start + 2 && data[here - 2] == '\n') {
            *end = at;
            return HTTP1_DONE;
        }
    }
    if (len >= HTTP1_HEAD_MAX) return too_long(head, data, start);
    *scanned = len;
    return HTTP1_MORE;
}

/* ---- single headers ------------------------------------------------------ */

/* Calls for each element of a comma-separated list: close and keep-alive are
 * all that matters to us. */
static void read_connection(struct facts *f, struct mkv_slice list)
{
    const char *p = list.data, *end = list.data + list.len;

    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *next = comma ? comma : end, *last = next;

        while (p < last && (*p == ' ' || *p == '\t'))
            p++;
        while (last > p && (last[-1] == ' ' || last[-1] == '\t'))
            last--;
        struct mkv_slice word = mkv_slice(p, (size_t)(last - p));
        if (mkv_slice_ieq(word, MKV_SLICE("close"))) f->closes = true;
        if (mkv_slice_ieq(word, MKV_SLICE("keep-alive"))) f->stays = true;
        p = comma ? comma + 1 : end;
    }
}

static enum http1_progress read_length(struct http1_head *head, struct facts *f,
                                       struct mkv_slice value)
{
    unsigned long long n;

    if (f->has_length) return bad(head, 400, "more than one Content-Length");
    if (value.len == 0 || !mkv_slice_number(value, INT64_MAX, &n))
        return bad(head, 400, "Content-Length is not a number from 0 to 2^63-1");
    f->has_length = true;
    head->length = n;
    return HTTP1_DONE;
}

static enum http1_progress read_coding(struct http1_head *head, struct facts *f,
                                       struct mkv_slice value)
{
    if (f->has_coding) return bad(head, 400, "more than one Transfer-Encoding");
    f->has_coding = true;
    f->chunked = mkv_slice_ieq(value, MKV_SLICE("chunked"));
    return HTTP1_DONE;
}

static enum http1_progress read_host(struct http1_head *head, struct facts *f,
                                     struct mkv_slice value)
{
    if (f->hosts++) return bad(head, 400, "more than one Host");
    for (size_t i = 0; i < value.len; i++)
        if (memchr(" \t/\\?#@", value.data[i], 7))
            return bad(head, 400, "Host is not a host and a port");
    return HTTP1_DONE;
}

static enum http1_progress read_expect(struct http1_head *head, struct mkv_slice value)
{
    if (!mkv_slice_ieq(value, MKV_SLICE("100-continue")))
        return bad(head, 417, "Expect is something other than 100-continue");
    head->expects_continue = true;
    return HTTP1_DONE;
}

static enum http1_progress read_header(struct http1_head *head, struct facts *f,
                                       const struct mkv_header *h, bool request)
{
    switch (h->name.len) {
    case 4:
        if (request && mkv_slice_ieq(h->name, MKV_SLICE("Host")))
            return read_host(head, f, h->value);
        break;
    case 6:
        if (request && mkv_slice_ieq(h->name, MKV_SLICE("Expect")))
            return read_expect(head, h->value);
        break;
    case 10:
        if (mkv_slice_ieq(h->name, MKV_SLICE("Connection"))) read_connection(f, h->value);
        break;
    case 14:
        if (mkv_slice_ieq(h->name, MKV_SLICE("Content-Length")))
            return read_length(head, f, h->value);
        break;
    case 17:
        if (mkv_slice_ieq(h->name, MKV_SLICE("Transfer-Encoding")))
            return read_coding(head, f, h->value);
        break;
    default: break;
    }
    return HTTP1_DONE;
}

/* ---- all headers --------------------------------------------------------- */

/* The headers from p to the empty line that ends at end. */
static enum http1_progress read_headers(struct http1_head *head, struct facts *f, const char *p,
                                        const char *end, bool request)
{
    memset(f, 0, sizeof(*f));
    head->nheaders = 0;
    head->length = 0;
    head->expects_continue = false;

    while (*p != '\r') { /* a header's name never begins with it */
        struct mkv_header *h = &head->headers[head->nheaders];
        const char *why;

        if (head->nheaders == HTTP1_HEADERS_MAX)
            return bad(head, 431, "more than 100 header lines");
        if (http1_field(&p, end, h, &why) != HTTP1_DONE) return bad(head, 400, why);
        head->nheaders++;
        if (read_header(head, f, h, request) != HTTP1_DONE) return HTTP1_BAD;
    }
    if (p + 2 != end) return bad(head, 400, "a carriage return inside the head");

    head->keep_alive = !f->closes && (head->minor > 0 || f->stays);
    if (!f->has_coding) return HTTP1_DONE;
    if (f->has_length) return bad(head, 400, "both Content-Length and Transfer-Encoding");
    if (head->minor == 0) return bad(head, 400, "Transfer-Encoding in HTTP/1.0");
    if (!f->chunked) return bad(head, 501, "Transfer-Encoding is something other than chunked");
    return HTTP1_DONE;
}

/* ---- start lines --------------------------------------------------------- */

/* "HTTP/1.1" at p, 8 bytes.  Minors above 1 are read as 1: RFC 9110, 2.5. */
static enum http1_progress read_version(struct http1_head *head, const char *p)
{
    if (memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' || p[7] < '0' ||
        p[7] > '9')
        return bad(head, 400, "the start line has no HTTP version");
    if (p[5] != '1') return bad(head, 505, "the HTTP version is not 1.0 or 1.1");
    head->minor = p[7] != '0';
    return HTTP1_DONE;
}

/* The method at p, up to the space.  MORE: it may go on behind len. */
static enum http1_progress read_method(struct http1_head *head, const char *p, size_t len)
{
    const char *at = p, *end = p + (len > METHOD_MAX + 1 ? METHOD_MAX + 1 : len);

    while (at < end && http1_is((unsigned char)*at, HTTP1_TOKEN))
        at++;
    if (at - p > METHOD_MAX) return bad(head, 400, "the method is longer than 32 characters");
    if (at == end) return HTTP1_MORE;
    if (at == p || *at != ' ') return bad(head, 400, "the request line begins with no method");
    head->method = mkv_slice(p, (size_t)(at - p));
    return HTTP1_DONE;
}

/* SP TARGET SP VERSION CRLF; *p: at the target, then behind it all. */
static enum http1_progress read_target_and_version(struct http1_head *head, const char **p,
                                                   const char *end)
{
    const char *at = *p, *target = at;

    while (at < end && http1_is((unsigned char)*at, HTTP1_TARGET))
        at++;
    head->target = mkv_slice(target, (size_t)(at - target));
    if (head->target.len == 0 || end - at < 11 || *at != ' ')
        return bad(head, 400, "the request line is not METHOD TARGET VERSION");
    if (head->target.len > HTTP1_TARGET_MAX)
        return bad(head, 414, "the request target is longer than 8192 bytes");
    at++;
    if (read_version(head, at) != HTTP1_DONE) return HTTP1_BAD;
    if (at[8] != '\r' || at[9] != '\n')
        return bad(head, 400, "the request line is not METHOD TARGET VERSION");
    *p = at + 10;
    return HTTP1_DONE;
}

/* VERSION SP STATUS [SP REASON] CRLF; *p: behind it. */
static enum http1_progress read_status_line(struct http1_head *head, const char **p,
                                            const char *end)
{
    const char *at = *p;
    int status = 0;

    if (end - at < 14 || at[8] != ' ') return bad(head, 400, "the status line is malformed");
    if (read_version(head, at) != HTTP1_DONE) return HTTP1_BAD;
    for (at += 9; at < *p + 12; at++) {
        if (*at < '0' || *at > '9') return bad(head, 400, "the status is not three digits");
        status = status * 10 + (*at - '0');
    }
    if (status < 100) return bad(head, 400, "the status is below 100");
    head->status = status;
    head->reason = mkv_slice(at, 0);
    if (*at == ' ') {
        head->reason.data = ++at;
        while (at < end && http1_is((unsigned char)*at, HTTP1_VALUE))
            at++;
        head->reason.len = (size_t)(at - head->reason.data);
    }
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
        return bad(head, 400, "the status line is malformed");
    *p = at + 2;
    return HTTP1_DONE;
}

/* ---- whole heads --------------------------------------------------------- */

/* *start: behind the empty lines that may come before a request. */
static enum http1_progress skip_empty_lines(struct http1_head *head, const char *data, size_t len,
                                            size_t *start)
{
    size_t at = 0;

    while (at < len && (data[at] == '\r' || data[at] == '\n')) {
        if (data[at] == '\n' || (at + 1 < len && data[at + 1] != '\n') ||
            at >= 2 * LEADING_CRLF_MAX)
            return bad(head, 400, "the request line begins with no method");
        if (at + 1 == len) return HTTP1_MORE;
        at += 2;
    }
    *start = at;
    return at < len ? HTTP1_DONE : HTTP1_MORE;
}

enum http1_progress http1_parse_request(struct http1_head *head, const char *data, size_t len,
                                        size_t *scanned, size_t *used)
{
    size_t start, end;
    const char *p;
    struct facts f;
    enum http1_progress progress;

    *used = 0;
    progress = skip_empty_lines(head, data, len, &start);
    if (progress != HTTP1_DONE) return progress;
    /* First of all: the end of what is no request need not be waited for. */
    progress = read_method(head, data + start, len - start);
    if (progress != HTTP1_DONE) return progress;
    progress = find_end(head, data, len, start, scanned, &end);
    if (progress != HTTP1_DONE) return progress;

    p = head->method.data + head->method.len + 1;
    if (read_target_and_version(head, &p, data + end) != HTTP1_DONE) return HTTP1_BAD;
    if (read_headers(head, &f, p, data + end, true) != HTTP1_DONE) return HTTP1_BAD;
    if (head->minor > 0 && f.hosts == 0) return bad(head, 400, "no Host");
    if (head->minor == 0) head->expects_continue = false; /* RFC 9110, 10.1.1 */

    head->framing = f.chunked ? HTTP1_CHUNKED : f.has_length ? HTTP1_LENGTH : HTTP1_NO_BODY;
    *used = end;
    return HTTP1_DONE;
}

enum http1_progress http1_parse_response(struct http1_head *head, const char *data, size_t len,
                                         bool to_head, size_t *scanned, size_t *used)
{
    static const char begin[] = "HTTP/1.";
    size_t look = len < sizeof(begin) - 1 ? len : sizeof(begin) - 1, end;
    const char *p = data;
    struct facts f;
    enum http1_progress progress;

    *used = 0;
    if (look && memcmp(data, begin, look) != 0) return bad(head, 400, "not an HTTP/1 response");
    progress = find_end(head, data, len, 0, scanned, &end);
    if (progress != HTTP1_DONE) return progress;

    if (read_status_line(head, &p, data + end) != HTTP1_DONE) return HTTP1_BAD;
    if (read_headers(head, &f, p, data + end, false) != HTTP1_DONE) return HTTP1_BAD;

    if (to_head || head->status < 200 || head->status == 204 || head->status == 304)
        head->framing = HTTP1_NO_BODY;
    else if (f.chunked)
        head->framing = HTTP1_CHUNKED;
    else if (f.has_length)
        head->framing = HTTP1_LENGTH;
    else
        head->framing = HTTP1_UNTIL_CLOSE;
    if (head->framing == HTTP1_UNTIL_CLOSE) head->keep_alive = false;
    *used = end;
    return HTTP1_DONE;
}

bool http1_find(const struct http1_head *head, struct mkv_slice name, struct mkv_slice *value)
{
    for (size_t i = 0; i < head->nheaders; i++) {
        if (mkv_slice_ieq(head->headers[i].name, name)) {
            *value = head->headers[i].value;
            return true;
        }
    }
    return false;
}

#define STATUS_MAP(X)                                                                              \
    X(100, "Continue")                                                                             \
    X(200, "OK")                                                                                   \
    X(201, "Created")                                                                              \
    X(202, "Accepted")                                                                             \
    X(204, "No Content")                                                                           \
    X(206, "Partial Content")                                                                      \
    X(301, "Moved Permanently")                                                                    \
    X(302, "Found")                                                                                \
    X(303, "See Other")                                                                            \
    X(304, "Not Modified")                                                                         \
    X(307, "Temporary Redirect")                                                                   \
    X(308, "Permanent Redirect")                                                                   \
    X(400, "Bad Request")                                                                          \
    X(401, "Unauthorized")                                                                         \
    X(403, "Forbidden")                                                                            \
    X(404, "Not Found")                                                                            \
    X(405, "Method Not Allowed")                                                                   \
    X(408, "Request Timeout")                                                                      \
    X(409, "Conflict")                                                                             \
    X(410, "Gone")                                                                                 \
    X(411, "Length Required")                                                                      \
    X(412, "Precondition Failed")                                                                  \
    X(413, "Content Too Large")                                                                    \
    X(414, "URI Too Long")                                                                         \
    X(416, "Range Not Satisfiable")                                                                \
    X(417, "Expectation Failed")                                                                   \
    X(429, "Too Many Requests")                                                                    \
    X(431, "Request Header Fields Too Large")                                                      \
    X(500, "Internal Server Error")                                                                \
    X(501, "Not Implemented")                                                                      \
    X(502, "Bad Gateway")                                                                          \
    X(503, "Service Unavailable")                                                                  \
    X(504, "Gateway Timeout")                                                                      \
    X(505, "HTTP Version Not Supported")                                                           \
    X(507, "Insufficient Storage")

struct mkv_slice http1_status_line(int status)
{
    switch (status) {
#define X(code, text)                                                                              \
    case code: return MKV_SLICE("HTTP/1.1 " #code " " text "\r\n");
        STATUS_MAP(X)
#undef X
    default: return mkv_slice(NULL, 0);
    }
}
