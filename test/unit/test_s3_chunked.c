/* test/unit/test_s3_chunked.c - aws-chunked bodies, whole, cut in two at every
 * place, and in single bytes; and every byte of a signed one changed.  The
 * signatures: test/fixtures/s3/vectors. */
#include "api/s3_chunked.h"

#include "s3_helper.h"

#define C1 "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
#define C2 "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
#define C3 "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
#define T1 "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"
#define T2 "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"
#define T3 "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"
#define T4 "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"

#define BIG   65536
#define SMALL 1024

struct result {
    enum s3_error err;
    size_t payload, ntrailers;
    uint32_t sum;
    char trailers[512]; /* "name=value;" */
};

static void example_signature(struct s3_signature *s, const char *seed)
{
    memset(s, 0, sizeof(*s));
    memcpy(s->date, "20130524T000000Z", 17);
    memcpy(s->scope, EXAMPLE_SCOPE, sizeof(EXAMPLE_SCOPE));
    memcpy(s->seed, seed, 64);
    assert_true(s3_signing_key(MKV_SLICE(EXAMPLE_SECRET), MKV_SLICE(EXAMPLE_SCOPE), s->key));
}

/* One piece of the input, in memory of exactly its size. */
static enum s3_error feed(struct s3_chunked *c, const char *data, size_t len, struct result *r)
{
    char *copy = malloc(len ? len : 1);
    enum s3_error err = S3_OK;
    size_t at = 0, used;
    struct mkv_slice piece;

    assert_non_null(copy);
    memcpy(copy, data, len);
    do {
        err = s3_chunked_next(c, copy + at, len - at, &used, &piece);
        assert_true(used <= len - at);
        at += used;
        if (piece.len) {
            assert_true(piece.data >= copy && piece.data + piece.len <= copy + at);
            r->payload += piece.len;
            for (size_t i = 0; i < piece.len; i++)
                r->sum = r->sum * 31 + (uint8_t)piece.data[i];
        }
    } while (!err && piece.len);
    if (!err) assert_int_equal(at, len);
    free(copy);
    return err;
}

/* cut: into two there, or (SIZE_MAX) into single bytes. */
static void decode(struct result *r, enum s3_payload kind, const struct s3_signature *s,
                   const char *data, size_t len, size_t cut)
{
    struct s3_chunked c;
    size_t at = 0;

    memset(r, 0, sizeof(*r));
    s3_chunked_init(&c, kind, s);
    while (at < len && !r->err) {
        size_t n = cut == SIZE_MAX ? 1 : at < cut && cut < len ? cut - at : len - at;

        r->err = feed(&c, data + at, n, r);
        at += n;
    }
    if (!r->err) r->err = s3_chunked_end(&c);
    if (r->err) {
        struct mkv_slice piece;
        size_t used;

        /* an error stays */
        assert_int_equal(s3_chunked_next(&c, "0", 1, &used, &piece), r->err);
        assert_int_equal(s3_chunked_end(&c), r->err);
    } else {
        size_t n = 0;

        r->ntrailers = c.ntrailers;
        for (size_t i = 0; i < c.ntrailers; i++)
            n += (size_t)snprintf(r->trailers + n, sizeof(r->trailers) - n, "%.*s=%.*s;",
                                  (int)c.trailers[i].name.len, c.trailers[i].name.data,
                                  (int)c.trailers[i].value.len, c.trailers[i].value.data);
    }
    s3_chunked_clear(&c);
}

/* ---- framing ------------------------------------------------------------------------ */

#define SIG "0000000000000000000000000000000000000000000000000000000000000000"
#define PLAIN    S3_PAYLOAD_STREAMING_UNSIGNED_TRAILER
#define SIGNED   S3_PAYLOAD_STREAMING
#define TRAILER  S3_PAYLOAD_STREAMING_TRAILER

static const struct framing_row {
    enum s3_payload kind;
    const char *body;
    enum s3_error err;
    size_t payload;
    const char *trailers;
} framing[] = {
    {PLAIN, "0\r\n\r\n", S3_OK, 0, ""},
    {PLAIN, "3\r\nabc\r\n0\r\n\r\n", S3_OK, 3, ""},
    {PLAIN, "003\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", S3_OK, 13,
     "x-amz-checksum-crc32=AAAAAA==;"},
    {PLAIN, "1\r\na\r\n0\r\nX-Amz-Checksum-CRC32:  AAAAAA== \r\nb:\r\n\r\n", S3_OK, 1,
     "x-amz-checksum-crc32=AAAAAA==;b=;"},
    /* as minio-go ends it */
    {PLAIN, "1\r\na\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\n\r\n\r\n", S3_OK, 1,
     "x-amz-checksum-crc32=AAAAAA==;"},
    {PLAIN, "1\r\n\r\r\n0\r\n\r\n", S3_OK, 1, ""},
    {PLAIN, "", S3_INCOMPLETE_BODY, 0, ""},
    {PLAIN, "0\r\n", S3_INCOMPLETE_BODY, 0, ""},
    {PLAIN, "0\r\n\r", S3_INCOMPLETE_BODY, 0, ""},
    {PLAIN, "3\r\nab", S3_INCOMPLETE_BODY, 2, ""},
    {PLAIN, "3\r\nabc\r\n", S3_INCOMPLETE_BODY, 3, ""},
    {PLAIN, "3\r\nabc\r\n0\r\na:b\r\n", S3_INCOMPLETE_BODY, 3, ""},
    {PLAIN, "0\r\n\r\n\r\n\r\n", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "0\r\n\r\n\r", S3_INCOMPLETE_BODY, 0, ""},
    {PLAIN, "0\r\n\r\nx", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "\r\n", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "g\r\n", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "-1\r\n", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, " 1\r\n", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "1 \r\n", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "1\na", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "1\r\nab\r\n", S3_INVALID_REQUEST, 1, ""},
    {PLAIN, "1\r\na\n0\r\n\r\n", S3_INVALID_REQUEST, 1, ""},
    {PLAIN, "00000000000000001\r\n", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "ffffffffffffffff\r\nab", S3_INCOMPLETE_BODY, 2, ""},
    {PLAIN, "1;chunk-signature=" SIG "\r\na\r\n0\r\n\r\n", S3_INVALID_REQUEST, 0, ""},
    {PLAIN, "0\r\nno colon\r\n\r\n", S3_MALFORMED_TRAILER, 0, ""},
    {PLAIN, "0\r\n:a\r\n\r\n", S3_MALFORMED_TRAILER, 0, ""},
    {PLAIN, "0\r\na b:c\r\n\r\n", S3_MALFORMED_TRAILER, 0, ""},
    {PLAIN, "0\r\na:b\x01\r\n\r\n", S3_MALFORMED_TRAILER, 0, ""},
    {PLAIN, "0\r\n\n", S3_MALFORMED_TRAILER, 0, ""},
    {SIGNED, "0;chunk-signature=" SIG "\r\n\r\n", S3_OK, 0, ""},
    {SIGNED, "1;chunk-signature=" SIG "\r\na\r\n0;chunk-signature=" SIG "\r\n\r\n", S3_OK, 1, ""},
    {SIGNED, "0\r\n\r\n", S3_INVALID_REQUEST, 0, ""},
    {SIGNED, "0;chunk-signature=00\r\n\r\n", S3_INVALID_REQUEST, 0, ""},
    {SIGNED, "0;chunk-signature=" SIG "0\r\n\r\n", S3_INVALID_REQUEST, 0, ""},
    {SIGNED, "0;chunk-signatura=" SIG "\r\n\r\n", S3_INVALID_REQUEST, 0, ""},
    {SIGNED, "0;chunk-signature=" SIG SIG "\r\n\r\n", S3_INVALID_REQUEST, 0, ""},
    {SIGNED, "0;chunk-signature=" SIG "\r\na:b\r\n\r\n", S3_MALFORMED_TRAILER, 0, ""},
    {TRAILER, "0;chunk-signature=" SIG "\r\na:b\r\nx-amz-trailer-signature:" SIG "\r\n\r\n", S3_OK, 0, "a=b;"},
    /* as minio-go writes it */
    {TRAILER, "0;chunk-signature=" SIG "\r\na:b\n\r\nx-amz-trailer-signature:" SIG "\r\n\r\n", S3_OK, 0, "a=b;"},
    {TRAILER, "0;chunk-signature=" SIG "\r\na:b\n\r\n\r\nx-amz-trailer-signature:" SIG "\r\n\r\n",
     S3_MALFORMED_TRAILER, 0, ""},
    {TRAILER, "0;chunk-signature=" SIG "\r\na:b\r\n\r\n", S3_INCOMPLETE_BODY, 0, ""},
    {TRAILER, "0;chunk-signature=" SIG "\r\n\r\n", S3_MALFORMED_TRAILER, 0, ""},
    {TRAILER, "0;chunk-signature=" SIG "\r\na:b\r\nx-amz-trailer-signature:00\r\n\r\n", S3_MALFORMED_TRAILER, 0, ""},
    {TRAILER, "0;chunk-signature=" SIG "\r\na:b\r\nx-amz-trailer-signature:" SIG "\r\nc:d\r\n\r\n",
     S3_MALFORMED_TRAILER, 0, ""},
};

static void check_framing(size_t i, size_t cut)
{
    const struct framing_row *row = &framing[i];
    struct result r;

    decode(&r, row->kind, NULL, row->body, strlen(row->body), cut);
    if (r.err != row->err || r.payload != row->payload)
        fail_msg("row %zu, cut %zu: %s with %zu bytes", i, cut, s3_error_code(r.err), r.payload);
    if (!r.err) assert_string_equal(r.trailers, row->trailers);
}

static void every_framing_in_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(framing); i++) {
        for (size_t cut = 0; cut <= strlen(framing[i].body); cut++)
            check_framing(i, cut);
        check_framing(i, SIZE_MAX);
    }
}

static void trailers_end(void **state)
{
    char body[S3_TRAILER_MAX + 64] = "0\r\n";
    struct result r;
    size_t n = 3;

    (void)state;
    for (int i = 0; i < S3_TRAILERS_MAX; i++, n += 5)
        memcpy(body + n, "a:b\r\n", 5);
    memcpy(body + n, "\r\n", 2);
    decode(&r, PLAIN, NULL, body, n + 2, 0);
    assert_int_equal(r.err, S3_OK);
    assert_int_equal(r.ntrailers, S3_TRAILERS_MAX);
    memcpy(body + n, "a:b\r\n\r\n", 7);
    decode(&r, PLAIN, NULL, body, n + 7, 0);
    assert_int_equal(r.err, S3_MALFORMED_TRAILER);
    memset(body + 3, 'a', S3_TRAILER_MAX + 1);
    decode(&r, PLAIN, NULL, body, S3_TRAILER_MAX + 4, 0);
    assert_int_equal(r.err, S3_MALFORMED_TRAILER);
}

/* ---- signatures ---------------------------------------------------------------------- */

/* "10000;chunk-signature=C1 CRLF a... CRLF ..."; last: what follows the last
 * chunk's first line.  The caller frees. */
static char *example_body(const char *c1, const char *c2, const char *c3, const char *last, size_t *len)
{
    size_t room = BIG + SMALL + 1024, n;
    char *body = malloc(room);

    assert_non_null(body);
    n = (size_t)snprintf(body, room, "10000;chunk-signature=%s\r\n", c1);
    memset(body + n, 'a', BIG);
    n += BIG;
    n += (size_t)snprintf(body + n, room - n, "\r\n400;chunk-signature=%s\r\n", c2);
    memset(body + n, 'a', SMALL);
    n += SMALL;
    n += (size_t)snprintf(body + n, room - n, "\r\n0;chunk-signature=%s\r\n%s", c3, last);
    *len = n;
    return body;
}

static void published(void **state)
{
    static const size_t cuts[] = {0, 1, 85, 86, 87, 88, 89, 30000, 65623, 65625, 65700, SIZE_MAX};
    struct s3_signature s;
    struct result r;
    size_t len;
    char *body;

    (void)state;
    example_signature(&s, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    body = example_body(C1, C2, C3, "\r\n", &len);
    assert_int_equal(len, 66824);
    for (size_t i = 0; i < COUNT(cuts); i++) {
        decode(&r, SIGNED, &s, body, len, cuts[i]);
        assert_int_equal(r.err, S3_OK);
        assert_int_equal(r.payload, BIG + SMALL);
    }
    free(body);

    example_signature(&s, "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    body = example_body(T1, T2, T3,
                        "X-Amz-Checksum-Crc32c: sOO8/Q==\r\nx-amz-trailer-signature:" T4 "\r\n\r\n", &len);
    for (size_t i = 0; i < COUNT(cuts); i++) {
        decode(&r, TRAILER, &s, body, len, cuts[i]);
        assert_int_equal(r.err, S3_OK);
        assert_int_equal(r.payload, BIG + SMALL);
        assert_string_equal(r.trailers, "x-amz-checksum-crc32c=sOO8/Q==;");
    }
    free(body);
}

static void changed(void **state)
{
    static const struct {
        const char *c1, *c2, *c3, *last;
    } rows[] = {
        {C2, C1, C3, "\r\n"                                                                        },
        {C1, C1, C3, "\r\n"                                                                        },
        {C1, C2, C2, "\r\n"                                                                        },
        {C1, C3, C2, "\r\n"                                                                        },
        {T1, T2, T3, "\r\n"                                                                        },
    };
    static const struct {
        const char *last;
        enum s3_error err;
    } trailers[] = {
        {"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:" T4 "\r\n\r\n",         S3_OK                      },
        {"x-amz-checksum-crc32c:sOO8/A==\r\nx-amz-trailer-signature:" T4 "\r\n\r\n",         S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-checksum-crc32:sOO8/Q==\r\nx-amz-trailer-signature:" T4 "\r\n\r\n",          S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:" T3 "\r\n\r\n",         S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\na:b\r\nx-amz-trailer-signature:" T4 "\r\n\r\n",  S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-trailer-signature:" T4 "\r\n\r\n",                                           S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n",                                           S3_INCOMPLETE_BODY         },
    };
    struct s3_signature s;
    struct result r;
    size_t len;
    char *body;

    (void)state;
    example_signature(&s, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    for (size_t i = 0; i < COUNT(rows); i++) {
        body = example_body(rows[i].c1, rows[i].c2, rows[i].c3, rows[i].last, &len);
        decode(&r, SIGNED, &s, body, len, 0);
        assert_int_equal(r.err, S3_SIGNATURE_DOES_NOT_MATCH);
        free(body);
    }
    example_signature(&s, "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    for (size_t i = 0; i < COUNT(trailers); i++) {
        body = example_body(T1, T2, T3, trailers[i].last, &len);
        decode(&r, TRAILER, &s, body, len, 0);
        if (r.err != trailers[i].err) fail_msg("trailer %zu: %s", i, s3_error_code(r.err));
        free(body);
    }
}

/* No byte can change, and no end can be missing. */
static void every_byte_counts(void **state)
{
    struct s3_signature s;
    struct result r;
    size_t len;
    char *body;

    (void)state;
    example_signature(&s, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    body = example_body(C1, C2, C3, "\r\n", &len);
    for (size_t at = 0; at < len; at += at > 100 && at < BIG ? 4099 : 1) {
        char was = body[at];

        body[at] ^= 1;
        decode(&r, SIGNED, &s, body, len, 0);
        if (r.err == S3_OK) fail_msg("byte %zu", at);
        body[at] = was;
        decode(&r, SIGNED, &s, body, at, 0);
        if (r.err != S3_INCOMPLETE_BODY) fail_msg("cut to %zu: %s", at, s3_error_code(r.err));
    }
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_framing_in_every_cut), cmocka_unit_test(trailers_end),
        cmocka_unit_test(published),                  cmocka_unit_test(changed),
        cmocka_unit_test(every_byte_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
