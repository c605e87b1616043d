/* test/unit/test_s3_input.c - bodies and what their heads say of them: a row is
 * a head, a body, and the verdict; whole and in single bytes. */
#include "api/s3_input.h"

#include "s3_helper.h"

#define HELLO_MD5    "XUFAKrxLKna5cZ2REBfFkg=="
#define HELLO_SHA256 "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define HELLO_CRC32  "NhCmhg=="
#define UNSIGNED     "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\n"

static const struct {
    const char *headers;
    const char *body;
    enum s3_error err;
    const char *payload; /* where err is S3_OK */
} rows[] = {
    {"content-length: 5\n", "hello", S3_OK, "hello"},
    {"content-length: 0\n", "", S3_OK, ""},
    {"content-length: 6\n", "hello", S3_INCOMPLETE_BODY, NULL},
    {"content-length: 4\n", "hello", S3_INCOMPLETE_BODY, NULL},
    {"transfer-encoding: chunked\n", "hello", S3_OK, "hello"},
    {"content-length: 5\ncontent-md5: " HELLO_MD5 "\n", "hello", S3_OK, "hello"},
    {"content-length: 5\ncontent-md5: " HELLO_MD5 "\n", "jello", S3_BAD_DIGEST, NULL},
    {"content-length: 5\ncontent-md5: XUFAKrxLKna5cZ2REBfFkg\n", "hello", S3_INVALID_DIGEST, NULL},
    {"content-length: 5\ncontent-md5: XUFA\n", "hello", S3_INVALID_DIGEST, NULL},
    {"content-length: 5\ncontent-md5: \n", "hello", S3_INVALID_DIGEST, NULL},
    {"content-length: 5\nx-amz-content-sha256: " HELLO_SHA256 "\n", "hello", S3_OK, "hello"},
    {"content-length: 5\nx-amz-content-sha256: " HELLO_SHA256 "\n", "jello",
     S3_CONTENT_SHA256_MISMATCH, NULL},
    {"content-length: 5\nx-amz-content-sha256: UNSIGNED-PAYLOAD\n", "hello", S3_OK, "hello"},
    {"content-length: 5\nx-amz-checksum-crc32: " HELLO_CRC32 "\n", "hello", S3_OK, "hello"},
    {"content-length: 5\nx-amz-checksum-crc32: " HELLO_CRC32 "\n", "jello", S3_BAD_DIGEST, NULL},
    {"content-length: 5\nx-amz-checksum-crc32: AAA=\n", "hello", S3_INVALID_REQUEST, NULL},
    /* aws-chunked */
    {UNSIGNED "x-amz-decoded-content-length: 5\ncontent-length: 15\n", "5\r\nhello\r\n0\r\n\r\n",
     S3_OK, "hello"},
    {UNSIGNED "x-amz-decoded-content-length: 5\ntransfer-encoding: chunked\n",
     "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", S3_OK, "hello"},
    {UNSIGNED "content-length: 15\n", "5\r\nhello\r\n0\r\n\r\n", S3_MISSING_CONTENT_LENGTH, NULL},
    {UNSIGNED "x-amz-decoded-content-length: x\ncontent-length: 15\n", "5\r\nhello\r\n0\r\n\r\n",
     S3_INVALID_ARGUMENT, NULL},
    {UNSIGNED "x-amz-decoded-content-length: 6\ncontent-length: 15\n", "5\r\nhello\r\n0\r\n\r\n",
     S3_INCOMPLETE_BODY, NULL},
    {UNSIGNED "x-amz-decoded-content-length: 4\ncontent-length: 15\n", "5\r\nhello\r\n0\r\n\r\n",
     S3_INCOMPLETE_BODY, NULL},
    {UNSIGNED "x-amz-decoded-content-length: 5\nx-amz-trailer: x-amz-checksum-crc32\n"
              "transfer-encoding: chunked\n",
     "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" HELLO_CRC32 "\r\n\r\n", S3_OK, "hello"},
    {UNSIGNED "x-amz-decoded-content-length: 5\nx-amz-trailer: x-amz-checksum-crc32\n"
              "transfer-encoding: chunked\n",
     "5\r\njello\r\n0\r\nx-amz-checksum-crc32:" HELLO_CRC32 "\r\n\r\n", S3_BAD_DIGEST, NULL},
    {UNSIGNED "x-amz-decoded-content-length: 5\nx-amz-trailer: x-amz-checksum-crc32\n"
              "transfer-encoding: chunked\n",
     "5\r\nhello\r\n0\r\n\r\n", S3_MALFORMED_TRAILER, NULL},
    {UNSIGNED "x-amz-decoded-content-length: 5\nx-amz-trailer: x-amz-checksum-crc32\n"
              "transfer-encoding: chunked\n",
     "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n", S3_INVALID_REQUEST, NULL},
    {UNSIGNED "x-amz-decoded-content-length: 5\ntransfer-encoding: chunked\n", "5\r\nhello",
     S3_INCOMPLETE_BODY, NULL},
};

struct got {
    char payload[64];
    size_t len;
};

static void sink(struct mkv_bytes piece, void *arg)
{
    struct got *g = arg;

    assert_true(piece.len && g->len + piece.len < sizeof(g->payload));
    memcpy(g->payload + g->len, piece.data, piece.len);
    g->len += piece.len;
}

static struct mkv_request request_of(const struct parsed_request *p)
{
    bool chunked = p->head.framing == HTTP1_CHUNKED;

    return (struct mkv_request){.headers = p->head.headers,
                                .nheaders = p->head.nheaders,
                                .has_body = true,
                                .body_length = chunked ? MKV_LENGTH_UNKNOWN
                                                       : (int64_t)p->head.length};
}

static enum s3_error take(const char *headers, const char *body, size_t piece,
                          enum s3_input_md5 md5, struct got *g, struct s3_input *in)
{
    struct s3_signature signature = {.payload = S3_PAYLOAD_ABSENT};
    struct parsed_request p;
    struct mkv_request r;
    char head[2048];
    size_t len = strlen(body);
    enum s3_error err;

    snprintf(head, sizeof(head), "PUT /b/k HTTP/1.1\nhost: h\n%s", headers);
    parse_request(&p, head, EXAMPLE_NOW);
    r = request_of(&p);
    assert_int_equal(s3_sign_payload(&p.r, &signature.payload, signature.sha256), S3_OK);
    memset(g, 0, sizeof(*g));
    err = s3_input_init(in, &r, &signature, NULL, md5);
    if (err) return err;
    for (size_t at = 0; at < len && !err; at += piece) {
        size_t n = len - at < piece ? len - at : piece;

        err = s3_input_add(in, (struct mkv_bytes){(const uint8_t *)body + at, n, NULL}, sink, g);
    }
    if (!err) err = s3_input_end(in, NULL, 0);
    s3_input_clear(in);
    return err;
}

static void bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t piece = 1; piece <= 64; piece *= 4) {
            struct s3_input in;
            struct got g;
            enum s3_error err = take(rows[i].headers, rows[i].body, piece, S3_INPUT_MD5_CHECKED,
                                     &g, &in);

            if (err != rows[i].err)
                fail_msg("row %zu, pieces of %zu: %s", i, piece, s3_error_code(err));
            if (!err) assert_string_equal(g.payload, rows[i].payload);
        }
}

/* Who takes the MD5 elsewhere compares it himself. */
static void md5_elsewhere(void **state)
{
    struct s3_input in;
    struct got g;

    (void)state;
    assert_int_equal(take("content-length: 5\ncontent-md5: " HELLO_MD5 "\n", "jello", 5,
                          S3_INPUT_MD5_ELSEWHERE, &g, &in),
                     S3_OK);
    assert_true(in.check_md5);
    assert_int_equal(take("content-length: 5\n", "hello", 5, S3_INPUT_MD5_TAKEN, &g, &in), S3_OK);
    assert_memory_equal(in.md5_is, "\x5d\x41\x40\x2a", 4);
    assert_false(in.check_md5);
}

/* The sum is there afterwards, to be kept: also of an algorithm that was only named. */
static void sums_are_kept(void **state)
{
    struct s3_input in;
    struct got g;

    (void)state;
    assert_int_equal(take("content-length: 5\nx-amz-sdk-checksum-algorithm: CRC32\n", "hello", 5,
                          S3_INPUT_MD5_CHECKED, &g, &in),
                     S3_OK);
    assert_int_equal(in.sum_is.kind, S3_CHECKSUM_CRC32);
    assert_memory_equal(in.sum_is.bytes, "\x36\x10\xa6\x86", 4);
    assert_int_equal(take("content-length: 5\n", "hello", 5, S3_INPUT_MD5_CHECKED, &g, &in), S3_OK);
    assert_int_equal(in.sum_is.kind, S3_CHECKSUM_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),
        cmocka_unit_test(md5_elsewhere),
        cmocka_unit_test(sums_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
