/* test/unit/s3_helper.h - requests written as text, and the key pair of AWS's
 * published examples. */
#ifndef TEST_S3_HELPER_H
#define TEST_S3_HELPER_H

#include "api/s3_sign.h"
#include "net/http1.h"
#include "table.h"

#define EXAMPLE_ACCESS "AKIAIOSFODNN7EXAMPLE"
#define EXAMPLE_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define EXAMPLE_NOW    1369353600 /* 2013-05-24T00:00:00Z */
#define EXAMPLE_SCOPE  "20130524/us-east-1/s3/aws4_request"
#define EMPTY_SHA256   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static inline bool example_secret(struct mkv_slice access, struct mkv_slice *secret, void *arg)
{
    (void)arg;
    *secret = MKV_SLICE(EXAMPLE_SECRET);
    return mkv_slice_eq(access, MKV_SLICE(EXAMPLE_ACCESS));
}

/* A head, parsed by the front's own parser. */
struct parsed_request {
    char text[8192];
    struct http1_head head;
    struct s3_sign_request r;
};

/* head: a request line and headers, each ended by '\n' alone. */
static inline void parse_request(struct parsed_request *p, const char *head, int64_t now)
{
    size_t n = 0, scanned = 0, used;
    const char *query;

    for (; *head; head++) {
        assert_true(n + 4 < sizeof(p->text));
        if (*head == '\n') p->text[n++] = '\r';
        p->text[n++] = *head;
    }
    memcpy(p->text + n, "\r\n", 2);
    if (http1_parse_request(&p->head, p->text, n + 2, &scanned, &used) != HTTP1_DONE)
        fail_msg("not a request: %s", p->head.reason_bad);
    memset(&p->r, 0, sizeof(p->r));
    p->r.method = p->head.method;
    p->r.path = p->head.target;
    query = memchr(p->head.target.data, '?', p->head.target.len);
    if (query) {
        p->r.path.len = (size_t)(query - p->head.target.data);
        p->r.query = mkv_slice(query + 1, p->head.target.len - p->r.path.len - 1);
    }
    p->r.headers = p->head.headers;
    p->r.nheaders = p->head.nheaders;
    p->r.now = now;
}

/* Every occurrence of from becomes to; the caller frees. */
static inline char *replaced(const char *text, const char *from, const char *to)
{
    size_t room = strlen(text) + 1, n = 0, from_len = strlen(from), to_len = strlen(to);
    char *out;

    for (const char *p = strstr(text, from); p; p = strstr(p + from_len, from))
        room += to_len;
    out = malloc(room);
    assert_non_null(out);
    while (*text) {
        if (strncmp(text, from, from_len) == 0) {
            memcpy(out + n, to, to_len);
            n += to_len;
            text += from_len;
        } else {
            out[n++] = *text++;
        }
    }
    out[n] = '\0';
    return out;
}

#endif
