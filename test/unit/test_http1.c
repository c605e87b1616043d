/* test/unit/test_http1.c - heads: every row whole and cut into single bytes. */
#include "net/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array)  (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1

static void assert_slice(struct mkv_slice s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.data, text, s.len);
}

typedef enum http1_progress parser(struct http1_head *head, const char *data, size_t len,
                                   size_t *scanned, size_t *used);

static enum http1_progress parse_to_head(struct http1_head *head, const char *data, size_t len,
                                         size_t *scanned, size_t *used)
{
    return http1_parse_response(head, data, len, true, scanned, used);
}

static enum http1_progress parse_to_get(struct http1_head *head, const char *data, size_t len,
                                        size_t *scanned, size_t *used)
{
    return http1_parse_response(head, data, len, false, scanned, used);
}

/* Feeds one byte more each time, from memory of exactly that size, so that a
 * sanitizer sees a look behind the end. */
static enum http1_progress parse_by_bytes(parser *parse, struct http1_head *head, const char *data,
                                          size_t len, size_t *used, char **memory)
{
    enum http1_progress progress = HTTP1_MORE;
    size_t scanned = 0;

    *memory = NULL;
    for (size_t n = 1; n <= len && progress == HTTP1_MORE; n++) {
        free(*memory);
        *memory = malloc(n);
        assert_non_null(*memory);
        memcpy(*memory, data, n);
        progress = parse(head, *memory, n, &scanned, used);
        if (progress != HTTP1_DONE) assert_int_equal(*used, 0);
    }
    return progress;
}

#define HOST "Host: a\r\n"

/* clang-format off */
static const struct {
    const char *text;
    size_t len;
    const char *method, *target;
    int minor;
    bool keep_alive;
    enum http1_framing framing;
    uint64_t length;
    size_t nheaders;
} good[] = {
    {TEXT("GET / HTTP/1.1\r\n" HOST "\r\n"), "GET", "/", 1, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), "GET", "/", 1, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), "GET", "/", 1, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("GET / HTTP/1.0\r\n\r\n"), "GET", "/", 0, false, HTTP1_NO_BODY, 0, 0},
    {TEXT("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), "GET", "/", 0, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"), "GET", "/", 0, false, HTTP1_NO_BODY, 0, 1},
    {TEXT("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), "GET", "/", 1, false, HTTP1_NO_BODY, 0, 2},
    {TEXT("GET / HTTP/1.1\r\n" HOST "connection: TE ,\tCLOSE \r\n\r\n"), "GET", "/", 1, false, HTTP1_NO_BODY, 0, 2},
    {TEXT("GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n"), "GET", "/", 1, true, HTTP1_NO_BODY, 0, 2},
    {TEXT("GET / HTTP/1.1\r\n" HOST "Connection: ,,\r\nConnection: close\r\n\r\n"), "GET", "/", 1, false, HTTP1_NO_BODY, 0, 3},
    {TEXT("GET / HTTP/1.7\r\n" HOST "\r\n"), "GET", "/", 1, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("get /a?b HTTP/1.1\r\n" HOST "\r\n"), "get", "/a?b", 1, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("M!#$%&'*+-.^_`|~9 * HTTP/1.1\r\n" HOST "\r\n"), "M!#$%&'*+-.^_`|~9", "*", 1, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("GET http://h/p HTTP/1.1\r\n" HOST "\r\n"), "GET", "http://h/p", 1, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("GET /\xc3\xa4\xff HTTP/1.1\r\n" HOST "\r\n"), "GET", "/\xc3\xa4\xff", 1, true, HTTP1_NO_BODY, 0, 1},
    {TEXT("PUT /k HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"), "PUT", "/k", 1, true, HTTP1_LENGTH, 0, 2},
    {TEXT("PUT /k HTTP/1.1\r\n" HOST "CONTENT-LENGTH:\t0012 \t\r\n\r\n"), "PUT", "/k", 1, true, HTTP1_LENGTH, 12, 2},
    {TEXT("PUT /k HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\n"), "PUT", "/k", 1, true, HTTP1_LENGTH, INT64_MAX, 2},
    {TEXT("PUT /k HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"), "PUT", "/k", 1, true, HTTP1_CHUNKED, 0, 2},
    {TEXT("GET / HTTP/1.1\r\nHost:\r\nA:\r\nB: \r\nC: x y\r\n\r\n"), "GET", "/", 1, true, HTTP1_NO_BODY, 0, 4},
    {TEXT("GET / HTTP/1.1\r\nHost: [::1]:3000\r\nX: \xff\t\x80\r\n\r\n"), "GET", "/", 1, true, HTTP1_NO_BODY, 0, 2},
};
/* clang-format on */

static void check_good(size_t i, const struct http1_head *head)
{
    assert_slice(head->method, good[i].method);
    assert_slice(head->target, good[i].target);
    assert_int_equal(head->minor, good[i].minor);
    assert_int_equal(head->keep_alive, good[i].keep_alive);
    assert_int_equal(head->framing, good[i].framing);
    assert_int_equal(head->length, good[i].length);
    assert_int_equal(head->nheaders, good[i].nheaders);
    assert_false(head->expects_continue);
}

static void test_good_requests(void **state)
{
    struct http1_head head;
    char more[4096], *memory;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        size_t scanned = 0, used;

        memcpy(more, good[i].text, good[i].len);
        memcpy(more + good[i].len, "\n \0X", 4); /* what follows is not looked at */
        assert_int_equal(http1_parse_request(&head, more, good[i].len + 4, &scanned, &used),
                         HTTP1_DONE);
        assert_int_equal(used, good[i].len);
        check_good(i, &head);

        assert_int_equal(
            parse_by_bytes(http1_parse_request, &head, good[i].text, good[i].len, &used, &memory),
            HTTP1_DONE);
        assert_int_equal(used, good[i].len);
        check_good(i, &head);
        free(memory);
    }
}

#define BODY(line)  TEXT("PUT /k HTTP/1.1\r\n" HOST line "\r\n\r\n")
#define LINE(line)  TEXT("GET / HTTP/1.1\r\n" HOST line "\r\n\r\n")
#define START(line) TEXT(line "\r\n" HOST "\r\n")

/* clang-format off */
static const struct {
    int status;
    const char *text;
    size_t len;
} bad[] = {
    /* two lengths, or a length that others may read otherwise */
    {400, BODY("Content-Length: 5\r\nTransfer-Encoding: chunked")},
    {400, BODY("Transfer-Encoding: chunked\r\nContent-Length: 5")},
    {400, BODY("Content-Length: 5\r\nContent-Length: 6")},
    {400, BODY("Content-Length: 5\r\nContent-Length: 5")},
    {400, BODY("Content-Length: 5, 5")},
    {400, BODY("Content-Length: 5,6")},
    {400, BODY("Content-Length: +5")},
    {400, BODY("Content-Length: -1")},
    {400, BODY("Content-Length: 0x5")},
    {400, BODY("Content-Length: 5 5")},
    {400, BODY("Content-Length: 5.0")},
    {400, BODY("Content-Length: 1e1")},
    {400, BODY("Content-Length:")},
    {400, BODY("Content-Length: \xd9\xa5")},
    {400, BODY("Content-Length: 9223372036854775808")},
    {400, BODY("Content-Length: 18446744073709551621")},
    {400, BODY("Content-Length: 5\r\n 6")},
    {400, BODY("Content-Length : 5")},
    {400, BODY("Content-Length\t: 5")},
    {400, BODY(" Content-Length: 5")},
    {400, BODY("Content-Length: 5\0")},
    {400, BODY("Content-Length: 5\v")},
    /* codings */
    {501, BODY("Transfer-Encoding: gzip, chunked")},
    {501, BODY("Transfer-Encoding: chunked, gzip")},
    {501, BODY("Transfer-Encoding: chunked, chunked")},
    {501, BODY("Transfer-Encoding: identity")},
    {501, BODY("Transfer-Encoding: xchunked")},
    {501, BODY("Transfer-Encoding: chunked;q=1")},
    {501, BODY("Transfer-Encoding: \"chunked\"")},
    {501, BODY("Transfer-Encoding:")},
    {400, BODY("Transfer-Encoding: \vchunked")},
    {400, BODY("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")},
    {400, BODY("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")},
    {400, BODY("Transfer-Encoding : chunked")},
    {400, BODY("Transfer-Encoding:\r\n chunked")},
    {400, TEXT("PUT /k HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")},
    /* lines */
    {400, TEXT("GET / HTTP/1.1\n" HOST "\r\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost: a\n\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost: a\r\n\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n")},
    {400, TEXT("\nGET / HTTP/1.1\r\n" HOST "\r\n")},
    {400, TEXT("\r\r\nGET / HTTP/1.1\r\n" HOST "\r\n")},
    {400, TEXT("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n")},
    /* names and values */
    {400, LINE("X: a\r\n folded")},
    {400, LINE("X: a\r\n\tfolded")},
    {400, LINE(": no name")},
    {400, LINE("no colon")},
    {400, LINE("white space: x")},
    {400, LINE("b(r)ackets: x")},
    {400, LINE("n\xc3\xa4me: x")},
    {400, LINE("n\0me: x")},
    {400, LINE("X: a\0b")},
    {400, LINE("X: a\x01")},
    {400, LINE("X: a\x7f")},
    {400, LINE("X: a\x1b[0m")},
    {417, LINE("Expect: 200-maybe")},
    {417, LINE("Expect: 100-continue, 100-continue")},
    {417, LINE("Expect:")},
    /* Host */
    {400, TEXT("GET / HTTP/1.1\r\n\r\n")},
    {400, LINE("Host: b")},
    {400, LINE("host: a")},
    {400, TEXT("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n")},
    {400, TEXT("GET / HTTP/1.1\r\nHost : a\r\n\r\n")},
    /* request lines */
    {400, START("GET  / HTTP/1.1")},
    {400, START("GET /  HTTP/1.1")},
    {400, START("GET / HTTP/1.1 ")},
    {400, START("GET /a b HTTP/1.1")},
    {400, START("GET\t/ HTTP/1.1")},
    {400, START("GET /\tHTTP/1.1")},
    {400, START(" GET / HTTP/1.1")},
    {400, START("GET /")},
    {400, START("GET")},
    {400, START("GET / ")},
    {400, START("GET  HTTP/1.1")},
    {400, START("GET /\x01 HTTP/1.1")},
    {400, START("GET /\0 HTTP/1.1")},
    {400, START("GET /\x7f HTTP/1.1")},
    {400, START("G(T / HTTP/1.1")},
    {400, START("G\xc3T / HTTP/1.1")},
    {400, START("GETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1")},
    {400, START("GET / HTTP/1")},
    {400, START("GET / HTTP/1.10")},
    {400, START("GET / HTTP/11")},
    {400, START("GET / http/1.1")},
    {400, START("GET / HTTP/1,1")},
    {400, START("GET / HTTP/a.1")},
    {400, START("GET / HTTPS/1.1")},
    {505, START("GET / HTTP/2.0")},
    {505, START("GET / HTTP/0.9")},
    {400, TEXT("\x16\x03\x01\x02")},
    {400, TEXT("HTTP/1.1 200 OK\r\n\r\n")},
};
/* clang-format on */

static void test_bad_requests(void **state)
{
    struct http1_head head;
    char *memory;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        size_t scanned = 0, used = 99;
        enum http1_progress progress =
            http1_parse_request(&head, bad[i].text, bad[i].len, &scanned, &used);

        if (progress != HTTP1_BAD || head.bad_status != bad[i].status)
            print_error("row %zu: %.*s\n", i, (int)bad[i].len, bad[i].text);
        assert_int_equal(progress, HTTP1_BAD);
        assert_int_equal(head.bad_status, bad[i].status);
        assert_non_null(head.reason_bad);
        assert_int_equal(used, 0);

        progress =
            parse_by_bytes(http1_parse_request, &head, bad[i].text, bad[i].len, &used, &memory);
        assert_int_equal(progress, HTTP1_BAD);
        assert_int_equal(head.bad_status, bad[i].status);
        free(memory);
    }
}

static void test_every_prefix_of_a_good_request_needs_more(void **state)
{
    static const char text[] = "\r\nPUT /k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    struct http1_head head;

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        size_t scanned = 0, used = 99;

        assert_int_equal(http1_parse_request(&head, text, n, &scanned, &used), HTTP1_MORE);
        assert_int_equal(used, 0);
        assert_true(scanned <= n);
    }
}

/* ---- limits -------------------------------------------------------------- */

struct text {
    char *data;
    size_t len;
};

static void add(struct text *t, const char *what, size_t times)
{
    size_t n = strlen(what);

    t->data = realloc(t->data, t->len + n * times);
    assert_non_null(t->data);
    for (; times > 0; times--, t->len += n)
        memcpy(t->data + t->len, what, n);
}

static void assert_outcome(struct text *t, enum http1_progress progress, int status)
{
    struct http1_head head;
    size_t scanned = 0, used, whole;

    assert_int_equal(http1_parse_request(&head, t->data, t->len, &scanned, &whole), progress);
    if (progress == HTTP1_BAD) assert_int_equal(head.bad_status, status);
    scanned = 0;
    for (size_t n = 1; n <= t->len; n++) {
        enum http1_progress now = http1_parse_request(&head, t->data, n, &scanned, &used);

        if (now == HTTP1_MORE) continue;
        assert_int_equal(now, progress);
        if (progress == HTTP1_BAD) assert_int_equal(head.bad_status, status);
        break;
    }
    free(t->data);
}

static void test_limits(void **state)
{
    static const struct {
        size_t target, value, lines;
        enum http1_progress progress;
        int status;
    } rows[] = {
        {HTTP1_TARGET_MAX,       1,                   1,                     HTTP1_DONE, 0  },
        {HTTP1_TARGET_MAX + 1,   1,                   1,                     HTTP1_BAD,  414},
        {HTTP1_TARGET_MAX + 100, 1,                   1,                     HTTP1_BAD,  414},
        {2 * HTTP1_HEAD_MAX,     1,                   1,                     HTTP1_BAD,  414},
        {1,                      HTTP1_HEAD_MAX - 40, 1,                     HTTP1_DONE, 0  },
        {1,                      HTTP1_HEAD_MAX,      1,                     HTTP1_BAD,  431},
        {1,                      4 * HTTP1_HEAD_MAX,  1,                     HTTP1_BAD,  431},
        {1,                      1,                   HTTP1_HEADERS_MAX - 1, HTTP1_DONE, 0  },
        {1,                      1,                   HTTP1_HEADERS_MAX,     HTTP1_BAD,  431},
        {1,                      500,                 HTTP1_HEADERS_MAX - 1, HTTP1_BAD,  431},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct text t = {NULL, 0};

        add(&t, "GET ", 1);
        add(&t, "/", rows[i].target);
        add(&t, " HTTP/1.1\r\n" HOST, 1);
        for (size_t line = 0; line < rows[i].lines; line++) {
            add(&t, "X: ", 1);
            add(&t, "y", rows[i].value);
            add(&t, "\r\n", 1);
        }
        add(&t, "\r\n", 1);
        assert_outcome(&t, rows[i].progress, rows[i].status);
    }
}

static void test_a_head_of_exactly_the_limit(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct text t = {NULL, 0};

        add(&t, "GET / HTTP/1.1\r\n" HOST "X: ", 1);
        add(&t, "y", HTTP1_HEAD_MAX - t.len - 4 + (size_t)more);
        add(&t, "\r\n\r\n", 1);
        assert_outcome(&t, more ? HTTP1_BAD : HTTP1_DONE, 431);
    }
}

static void test_expect(void **state)
{
    static const struct {
        const char *text;
        bool expects;
    } rows[] = {
        {"PUT / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", true },
        {"PUT / HTTP/1.0\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n", false},
    };
    struct http1_head head;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t scanned = 0, used;

        assert_int_equal(
            http1_parse_request(&head, rows[i].text, strlen(rows[i].text), &scanned, &used),
            HTTP1_DONE);
        assert_int_equal(head.expects_continue, rows[i].expects);
    }
}

static void test_find(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nx-Y:  one \r\nX-y: two\r\n\r\n";
    struct http1_head head;
    struct mkv_slice value;
    size_t scanned = 0, used;

    (void)state;
    assert_int_equal(http1_parse_request(&head, text, sizeof(text) - 1, &scanned, &used),
                     HTTP1_DONE);
    assert_true(http1_find(&head, MKV_SLICE("X-Y"), &value));
    assert_slice(value, "one");
    assert_false(http1_find(&head, MKV_SLICE("X"), &value));
}

/* ---- responses ----------------------------------------------------------- */

/* clang-format off */
static const struct {
    const char *text;
    bool to_head;
    int status;
    const char *reason;
    enum http1_framing framing;
    uint64_t length;
    bool keep_alive;
} responses[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, 200, "OK", HTTP1_LENGTH, 5, true},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, 200, "OK", HTTP1_NO_BODY, 5, true},
    {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, 200, "", HTTP1_LENGTH, 0, true},
    {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", false, 200, "", HTTP1_LENGTH, 0, true},
    {"HTTP/1.1 201 Created it\r\nTransfer-Encoding: chunked\r\n\r\n", false, 201, "Created it", HTTP1_CHUNKED, 0, true},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, 200, "OK", HTTP1_NO_BODY, 0, true},
    {"HTTP/1.1 204 No Content\r\n\r\n", false, 204, "No Content", HTTP1_NO_BODY, 0, true},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 304, "Not Modified", HTTP1_NO_BODY, 9, true},
    {"HTTP/1.1 100 Continue\r\n\r\n", false, 100, "Continue", HTTP1_NO_BODY, 0, true},
    {"HTTP/1.1 200 OK\r\n\r\n", false, 200, "OK", HTTP1_UNTIL_CLOSE, 0, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", false, 200, "OK", HTTP1_LENGTH, 2, false},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n", false, 200, "OK", HTTP1_LENGTH, 2, true},
    {"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", false, 500, "Oops", HTTP1_LENGTH, 2, false},
};
/* clang-format on */

static void test_good_responses(void **state)
{
    struct http1_head head;
    char *memory;

    (void)state;
    for (size_t i = 0; i < COUNT(responses); i++) {
        size_t used;

        assert_int_equal(parse_by_bytes(responses[i].to_head ? parse_to_head : parse_to_get, &head,
                                        responses[i].text, strlen(responses[i].text), &used,
                                        &memory),
                         HTTP1_DONE);
        assert_int_equal(used, strlen(responses[i].text));
        assert_int_equal(head.status, responses[i].status);
        assert_slice(head.reason, responses[i].reason);
        assert_int_equal(head.framing, responses[i].framing);
        assert_int_equal(head.length, responses[i].length);
        assert_int_equal(head.keep_alive, responses[i].keep_alive);
        free(memory);
    }
}

static void test_bad_responses(void **state)
{
    static const char *const rows[] = {
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "SSH-2.0-x",
        "H ",
    };
    struct http1_head head;
    char *memory;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t scanned = 0, used;

        assert_int_equal(parse_to_get(&head, rows[i], strlen(rows[i]), &scanned, &used), HTTP1_BAD);
        assert_int_equal(
            parse_by_bytes(parse_to_get, &head, rows[i], strlen(rows[i]), &used, &memory),
            HTTP1_BAD);
        assert_non_null(head.reason_bad);
        free(memory);
    }
}

static void test_status_lines(void **state)
{
    (void)state;
    assert_slice(http1_status_line(404), "HTTP/1.1 404 Not Found\r\n");
    assert_slice(http1_status_line(507), "HTTP/1.1 507 Insufficient Storage\r\n");
    assert_null(http1_status_line(299).data);
#define X(name, http, text) assert_non_null(http1_status_line(http).data);
    MKV_ERR_MAP(X)
#undef X
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_requests),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_every_prefix_of_a_good_request_needs_more),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_a_head_of_exactly_the_limit),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_good_responses),
        cmocka_unit_test(test_bad_responses),
        cmocka_unit_test(test_status_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
