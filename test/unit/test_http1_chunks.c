/* test/unit/test_http1_chunks.c - chunked bodies, cut in every way into two,
 * and into single bytes. */
#include "net/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array)  (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1

struct decoded {
    enum http1_progress progress;
    char payload[64 * 1024];
    size_t len;      /* of the payload      */
    size_t consumed; /* of the encoded body */
};

/* One cut of the input, in memory of exactly its size. */
static void feed(struct http1_chunks *c, const char *data, size_t len, struct decoded *d)
{
    char *copy = malloc(len ? len : 1);
    size_t at = 0;

    assert_non_null(copy);
    memcpy(copy, data, len);
    while (d->progress == HTTP1_MORE) {
        struct mkv_slice piece;
        size_t used;

        d->progress = http1_chunks_next(c, copy + at, len - at, &used, &piece);
        assert_true(used <= len - at);
        if (piece.len > 0) {
            assert_int_equal(d->progress, HTTP1_MORE);
            assert_true(piece.data >= copy && piece.data + piece.len <= copy + len);
            memcpy(d->payload + d->len, piece.data, piece.len);
            d->len += piece.len;
        }
        at += used;
        if (piece.len == 0 && d->progress == HTTP1_MORE) {
            assert_int_equal(at, len);
            break;
        }
    }
    d->consumed += at;
    free(copy);
}

/* cut: into two there; SIZE_MAX: into single bytes. */
static void decode(struct http1_chunks *c, const char *data, size_t len, size_t cut,
                   struct decoded *d)
{
    memset(c, 0, sizeof(*c));
    memset(d, 0, sizeof(*d));
    d->progress = HTTP1_MORE;
    if (cut != SIZE_MAX) {
        feed(c, data, cut, d);
        if (d->progress == HTTP1_MORE) feed(c, data + cut, len - cut, d);
        return;
    }
    for (size_t i = 0; i < len && d->progress == HTTP1_MORE; i++)
        feed(c, data + i, 1, d);
}

static const struct {
    const char *text;
    size_t len, behind; /* behind: bytes of the next request at the end of text */
    const char *payload;
    size_t ntrailers;
} good[] = {
    {TEXT("0\r\n\r\n"),                                            0,  "",                 0},
    {TEXT("5\r\nhello\r\n0\r\n\r\n"),                              0,  "hello",            0},
    {TEXT("5\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\n\r\n"), 0,  "hello 0123456789", 0},
    {TEXT("a\r\n0123456789\r\n000\r\n\r\n"),                       0,  "0123456789",       0},
    {TEXT("0000000000000005\r\nhello\r\n0\r\n\r\n"),               0,  "hello",            0},
    {TEXT("5;name=value;x=\"a b\"\r\nhello\r\n0;last\r\n\r\n"),    0,  "hello",            0},
    {TEXT("5;\r\nhello\r\n0\r\n\r\n"),                             0,  "hello",            0},
    {TEXT("4\r\n\r\n\r\n\r\n0\r\n\r\n"),                           0,  "\r\n\r\n",         0},
    {TEXT("2\r\nab\r\n0\r\nX-Md5: abc\r\nY:\r\n\r\n"),             0,  "ab",               2},
    {TEXT("0\r\n\r\nGET / HTTP/1.1\r\n"),                          16, "",                 0},
    {TEXT("1\r\na\r\n0\r\nT: x\r\n\r\n\r\n"),                      2,  "a",                1},
};

static void test_good(void **state)
{
    struct http1_chunks c;
    static struct decoded d;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        for (size_t n = 0; n <= good[i].len + 1; n++) {
            decode(&c, good[i].text, good[i].len, n <= good[i].len ? n : SIZE_MAX, &d);
            assert_int_equal(d.progress, HTTP1_DONE);
            assert_int_equal(d.consumed, good[i].len - good[i].behind);
            assert_int_equal(d.len, strlen(good[i].payload));
            assert_memory_equal(d.payload, good[i].payload, d.len);
            assert_int_equal(c.ntrailers, good[i].ntrailers);
            http1_chunks_clear(&c);
        }
    }
}

static const struct {
    const char *text;
    size_t len;
} bad[] = {
    {TEXT("\r\n")},
    {TEXT("x\r\n")},
    {TEXT("-1\r\n")},
    {TEXT("+1\r\na\r\n")},
    {TEXT("0x1\r\na\r\n")},
    {TEXT(" 1\r\na\r\n")},
    {TEXT("1 \r\na\r\n")},
    {TEXT("1 ;x\r\na\r\n")},
    {TEXT("1\na\r\n")},
    {TEXT("1\r\r\na\r\n")},
    {TEXT("1\ra\r\n")},
    {TEXT("1;a\nb\r\na\r\n")},
    {TEXT("1;a\rb\r\na\r\n")},
    {TEXT("1;\0\r\na\r\n")},
    {TEXT(";x\r\n")},
    {TEXT("00000000000000001\r\na\r\n")},
    {TEXT("fffffffffffffffff\r\n")},
    {TEXT("1\r\nab\r\n")},
    {TEXT("1\r\na\n0\r\n\r\n")},
    {TEXT("1\r\na0\r\n\r\n")},
    {TEXT("1\r\na\r0\r\n\r\n")},
    {TEXT("2\r\na\r\n0\r\n\r\n")},
    {TEXT("0\r\n\n")},
    {TEXT("0\n\r\n")},
    {TEXT("0\r\n\rX")},
    {TEXT("0\r\nX: y\n\r\n")},
    {TEXT("0\r\nX : y\r\n\r\n")},
    {TEXT("0\r\nno colon\r\n\r\n")},
    {TEXT("0\r\n: y\r\n\r\n")},
    {TEXT("0\r\nX: y\r\n folded\r\n\r\n")},
    {TEXT("0\r\nX: \x01\r\n\r\n")},
};

static void test_bad(void **state)
{
    struct http1_chunks c;
    static struct decoded d;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        for (size_t n = 0; n <= bad[i].len + 1; n++) {
            decode(&c, bad[i].text, bad[i].len, n <= bad[i].len ? n : SIZE_MAX, &d);
            if (d.progress != HTTP1_BAD) print_error("row %zu, cut %zu\n", i, n);
            assert_int_equal(d.progress, HTTP1_BAD);
            assert_non_null(c.reason_bad);
            http1_chunks_clear(&c);
        }
    }
}

static void test_the_end_is_the_end(void **state)
{
    struct http1_chunks c = {0};
    struct mkv_slice piece;
    size_t used;

    (void)state;
    assert_int_equal(http1_chunks_next(&c, "0\r\n\r\n5", 6, &used, &piece), HTTP1_DONE);
    assert_int_equal(used, 5);
    assert_int_equal(http1_chunks_next(&c, "5", 1, &used, &piece), HTTP1_DONE);
    assert_int_equal(used, 0);
    http1_chunks_clear(&c);
}

static void test_trailers(void **state)
{
    static const char text[] = "0\r\nContent-Md5:  abc \r\nB: 2\r\n\r\n";
    struct http1_chunks c;
    static struct decoded d;

    (void)state;
    decode(&c, text, sizeof(text) - 1, SIZE_MAX, &d);
    assert_int_equal(d.progress, HTTP1_DONE);
    assert_int_equal(c.ntrailers, 2);
    assert_true(mkv_slice_eq(c.trailers[0].name, MKV_SLICE("Content-Md5")));
    assert_true(mkv_slice_eq(c.trailers[0].value, MKV_SLICE("abc")));
    assert_true(mkv_slice_eq(c.trailers[1].value, MKV_SLICE("2")));
    http1_chunks_clear(&c);
    http1_chunks_clear(&c); /* twice is fine */
}

/* before, then count times piece, then after. */
static void assert_limit(const char *before, const char *piece, size_t count, const char *after,
                         enum http1_progress progress)
{
    size_t nb = strlen(before), np = strlen(piece), na = strlen(after);
    size_t len = nb + np * count + na;
    char *text = malloc(len);
    struct http1_chunks c;
    static struct decoded d;

    assert_non_null(text);
    memcpy(text, before, nb);
    for (size_t i = 0; i < count; i++)
        memcpy(text + nb + i * np, piece, np);
    memcpy(text + nb + np * count, after, na);
    for (size_t cut = 0; cut <= len; cut += 1 + len / 64) {
        decode(&c, text, len, cut, &d);
        assert_int_equal(d.progress, progress);
        http1_chunks_clear(&c);
    }
    decode(&c, text, len, SIZE_MAX, &d);
    assert_int_equal(d.progress, progress);
    http1_chunks_clear(&c);
    free(text);
}

static void test_limits(void **state)
{
    (void)state;
    assert_limit("0;", "x", 256, "\r\n\r\n", HTTP1_DONE);
    assert_limit("0;", "x", 257, "\r\n\r\n", HTTP1_BAD);
    assert_limit("0\r\nT: ", "x", HTTP1_TRAILER_MAX - 5, "\r\n\r\n", HTTP1_DONE);
    assert_limit("0\r\nT: ", "x", HTTP1_TRAILER_MAX - 4, "\r\n\r\n", HTTP1_BAD);
    assert_limit("0\r\nT: ", "x", 3 * HTTP1_TRAILER_MAX, "", HTTP1_BAD);
    assert_limit("0\r\n", "A: b\r\n", HTTP1_HEADERS_MAX, "\r\n", HTTP1_DONE);
    assert_limit("0\r\n", "A: b\r\n", HTTP1_HEADERS_MAX + 1, "\r\n", HTTP1_BAD);
}

/* A size near 2^64 must neither wrap nor end. */
static void test_a_huge_chunk(void **state)
{
    static const char text[] = "ffffffffffffffff\r\nabc";
    struct http1_chunks c;
    static struct decoded d;

    (void)state;
    decode(&c, text, sizeof(text) - 1, 5, &d);
    assert_int_equal(d.progress, HTTP1_MORE);
    assert_int_equal(d.len, 3);
    assert_true(c.left == UINT64_MAX - 3);
    http1_chunks_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),     cmocka_unit_test(test_bad),
        cmocka_unit_test(test_trailers), cmocka_unit_test(test_the_end_is_the_end),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_a_huge_chunk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
