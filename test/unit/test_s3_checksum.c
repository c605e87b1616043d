/* test/unit/test_s3_checksum.c - the five sums, of a stream, of parts, joined;
 * their names and headers. */
#include "api/s3_checksum.h"

#include "api/s3_crc.h"
#include "s3_helper.h"

#define LONG 66560

static void add_in_pieces(struct s3_sum *s, const char *data, size_t len, size_t piece)
{
    for (size_t at = 0; at < len; at += piece)
        s3_sum_add(s, data + at, len - at < piece ? len - at : piece);
}

/* Check values: those of the CRC catalogue ("123456789"), FIPS 180, and of AWS's
 * example of a trailer (66,560 times 'a', CRC32C). */
static void sums(void **state)
{
    static const struct {
        enum s3_checksum kind;
        const char *nothing, *nine, *a66560;
    } rows[] = {
        {S3_CHECKSUM_CRC32, "AAAAAA==", "y/Q5Jg==", "sK4Y7A=="},
        {S3_CHECKSUM_CRC32C, "AAAAAA==", "4waSgw==", "sOO8/Q=="},
        {S3_CHECKSUM_CRC64NVME, "AAAAAAAAAAA=", "rosUhgp5mIg=", "pRf+emrnL+A="},
        {S3_CHECKSUM_SHA1, "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "98O8HYCOBHMq32eZZczDTKeuNEE=",
         "qOlv5ixdz2jRNhlSLmgH6iaTKRI="},
        {S3_CHECKSUM_SHA256, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
         "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", "zWnTiHxq+SZLEA17dgIzEzXZqn4718MM3G1vS/uzyIg="},
    };
    static const size_t pieces[] = {1, 7, 63, 64, 65, 200, 4096, LONG};
    static char many[LONG + 8];
    char text[S3_CHECKSUM_TEXT_MAX];
    struct s3_checksum_value v, parsed;
    struct s3_sum s;

    (void)state;
    memset(many, 'a', sizeof(many));
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(s3_sum_init(&s, rows[i].kind), MKV_OK);
        s3_sum_final(&s, &v);
        s3_checksum_text(&v, text);
        assert_string_equal(text, rows[i].nothing);
        assert_int_equal(s3_sum_init(&s, rows[i].kind), MKV_OK);
        s3_sum_add(&s, "123456789", 9);
        s3_sum_final(&s, &v);
        assert_int_equal(s3_checksum_text(&v, text), strlen(rows[i].nine));
        assert_string_equal(text, rows[i].nine);
        assert_true(s3_checksum_parse(rows[i].kind, mkv_slice_of(text), &parsed));
        assert_true(s3_checksum_equal(&v, &parsed));
        parsed.bytes[s3_checksum_len(rows[i].kind) - 1] ^= 1;
        assert_false(s3_checksum_equal(&v, &parsed));
        for (size_t k = 0; k < COUNT(pieces); k++) {
            assert_int_equal(s3_sum_init(&s, rows[i].kind), MKV_OK);
            add_in_pieces(&s, many + k, LONG, pieces[k]); /* any alignment */
            s3_sum_final(&s, &v);
            s3_checksum_text(&v, text);
            assert_string_equal(text, rows[i].a66560);
        }
        assert_int_equal(s3_sum_init(&s, rows[i].kind), MKV_OK);
        s3_sum_clear(&s);
    }
}

/* The folded sums against the looked-up ones, at every length and alignment
 * where the steps change. */
static void crcs_by_both_ways(void **state)
{
    uint32_t seed = 1;
    uint8_t data[512];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)next_random(&seed);
    for (int kind = S3_CRC32; kind <= S3_CRC64NVME; kind++)
        for (size_t from = 0; from < 17; from++)
            for (size_t len = 0; len <= sizeof(data) - from; len++) {
                uint64_t before = len * 0x1234567, mask = kind == S3_CRC64NVME ? UINT64_MAX : UINT32_MAX;

                before &= mask;
                if (s3_crc((enum s3_crc)kind, before, data + from, len) !=
                    s3_crc_plain((enum s3_crc)kind, before, data + from, len))
                    fail_msg("kind %d, %zu bytes from %zu", kind, len, from);
            }
}

static void parts(void **state)
{
    static const char *const pieces[] = {"part one", "part two", "3"};
    static const struct {
        enum s3_checksum kind;
        const char *composite, *full;
    } rows[] = {
        {S3_CHECKSUM_CRC32, "wJVJhQ==-3", "lY4jfA=="},
        {S3_CHECKSUM_CRC32C, "QhT3iA==-3", "I9fSnw=="},
        {S3_CHECKSUM_CRC64NVME, "pm0yfbpRgtI=-3", "1q0PjrpLztU="},
        {S3_CHECKSUM_SHA1, "dRPszeHtv0tptnMfC47KeUw+MnE=-3", NULL},
        {S3_CHECKSUM_SHA256, "EOAq+mZeT5efgAz80Fp5ZlIDoq8RBTDzonBYSPWLmk0=-3", NULL},
    };
    char text[S3_CHECKSUM_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_checksum_value v[3], all, parsed;
        struct s3_sum s;

        for (size_t k = 0; k < 3; k++) {
            assert_int_equal(s3_sum_init(&s, rows[i].kind), MKV_OK);
            s3_sum_add(&s, pieces[k], strlen(pieces[k]));
            s3_sum_final(&s, &v[k]);
        }
        assert_int_equal(s3_sum_init(&s, rows[i].kind), MKV_OK);
        for (size_t k = 0; k < 3; k++)
            s3_sum_add_part(&s, &v[k]);
        s3_sum_final_parts(&s, 3, &all);
        s3_checksum_text(&all, text);
        assert_string_equal(text, rows[i].composite);
        assert_true(s3_checksum_parse(rows[i].kind, mkv_slice_of(text), &parsed));
        assert_true(s3_checksum_equal(&all, &parsed));
        if (!rows[i].full) continue;
        all = v[0];
        s3_checksum_join(&all, &v[1], strlen(pieces[1]));
        s3_checksum_join(&all, &v[2], strlen(pieces[2]));
        s3_checksum_text(&all, text);
        assert_string_equal(text, rows[i].full);
    }
}

static void joins(void **state)
{
    static char zeros[100000];

    (void)state;
    for (int kind = S3_CRC32; kind <= S3_CRC64NVME; kind++) {
        uint64_t a = s3_crc((enum s3_crc)kind, 0, "abc", 3);

        for (size_t len = 0; len <= sizeof(zeros); len = len * 3 + 1) {
            uint64_t b = s3_crc((enum s3_crc)kind, 0, zeros, len);

            assert_true(s3_crc_join((enum s3_crc)kind, a, b, len) ==
                        s3_crc((enum s3_crc)kind, a, zeros, len));
        }
    }
}

static void bad_text(void **state)
{
    static const struct {
        enum s3_checksum kind;
        const char *text;
        bool ok;
    } rows[] = {
        {S3_CHECKSUM_CRC32,     "AAAAAA==",       true },
        {S3_CHECKSUM_CRC32,     "AAAAAA==-1",     true },
        {S3_CHECKSUM_CRC32,     "AAAAAA==-10000", true },
        {S3_CHECKSUM_CRC32,     "AAAAAA==-10001", false},
        {S3_CHECKSUM_CRC32,     "AAAAAA==-0",     false},
        {S3_CHECKSUM_CRC32,     "AAAAAA==-",      false},
        {S3_CHECKSUM_CRC32,     "AAAAAA==--1",    false},
        {S3_CHECKSUM_CRC32,     "AAAAAA=",        false},
        {S3_CHECKSUM_CRC32,     "AAAAAAA=",       false},
        {S3_CHECKSUM_CRC32,     "AAAA",           false},
        {S3_CHECKSUM_CRC32,     "AAAAAAAAAAA=",   false},
        {S3_CHECKSUM_CRC32,     "",               false},
        {S3_CHECKSUM_CRC64NVME, "AAAAAAAAAAA=",   true },
        {S3_CHECKSUM_CRC64NVME, "AAAAAA==",       false},
    };
    struct s3_checksum_value v;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (s3_checksum_parse(rows[i].kind, mkv_slice_of(rows[i].text), &v) != rows[i].ok)
            fail_msg("row %zu", i);
}

static void names(void **state)
{
    (void)state;
    for (int k = S3_CHECKSUM_CRC32; k < S3_CHECKSUM_COUNT; k++) {
        enum s3_checksum kind = (enum s3_checksum)k, found;

        assert_true(s3_checksum_by_name(s3_checksum_name(kind), &found) && found == kind);
        assert_true(s3_checksum_by_header(s3_checksum_header(kind), &found) && found == kind);
        assert_true(s3_checksum_by_element(s3_checksum_element(kind), &found) && found == kind);
        assert_true(s3_checksum_len(kind) <= S3_CHECKSUM_MAX);
    }
    {
        enum s3_checksum found;

        assert_true(s3_checksum_by_name(MKV_SLICE("crc64nvme"), &found));
        assert_int_equal(found, S3_CHECKSUM_CRC64NVME);
        assert_false(s3_checksum_by_name(MKV_SLICE(""), &found));
        assert_false(s3_checksum_by_name(MKV_SLICE("MD5"), &found));
        assert_false(s3_checksum_by_header(MKV_SLICE(""), &found));
        assert_false(s3_checksum_by_header(MKV_SLICE("x-amz-checksum-crc3"), &found));
        assert_false(s3_checksum_by_element(MKV_SLICE("checksumCRC32"), &found));
    }
}

static void headers(void **state)
{
    static const struct {
        const char *head;
        enum s3_error err;
        enum s3_checksum want, trailer, algorithm;
    } rows[] = {
#define NONE   S3_CHECKSUM_NONE
#define CRC32  S3_CHECKSUM_CRC32
#define CRC32C S3_CHECKSUM_CRC32C
        {"", S3_OK, NONE, NONE, NONE},
        {"x-amz-checksum-crc32: AAAAAA==\n", S3_OK, CRC32, NONE, NONE},
        {"X-Amz-Checksum-CRC32C: AAAAAA==\nx-amz-sdk-checksum-algorithm: crc32c\n", S3_OK, CRC32C, NONE, CRC32C},
        {"x-amz-checksum-algorithm: CRC32\n", S3_OK, NONE, NONE, CRC32},
        {"x-amz-trailer: x-amz-checksum-crc32\n", S3_OK, NONE, CRC32, NONE},
        {"x-amz-trailer: a, X-AMZ-Checksum-crc32 ,b\nx-amz-sdk-checksum-algorithm: CRC32\n", S3_OK, NONE, CRC32, CRC32},
        {"x-amz-trailer: a\n", S3_OK, NONE, NONE, NONE},
        {"x-amz-checksum-mode: ENABLED\nx-amz-checksum-type: FULL_OBJECT\n", S3_OK, NONE, NONE, NONE},
#define BAD S3_INVALID_REQUEST, NONE, NONE, NONE
        {"x-amz-checksum-crc32: AAAA\n", BAD},
        {"x-amz-checksum-crc32: AAAAAA==-2\n", BAD},
        {"x-amz-checksum-crc32: AAAAAA==\nx-amz-checksum-crc32c: AAAAAA==\n", BAD},
        {"x-amz-checksum-crc32: AAAAAA==\nx-amz-checksum-crc32: AAAAAA==\n", BAD},
        {"x-amz-checksum-crc32: AAAAAA==\nx-amz-trailer: x-amz-checksum-crc32\n", BAD},
        {"x-amz-checksum-crc32: AAAAAA==\nx-amz-sdk-checksum-algorithm: CRC32C\n", BAD},
        {"x-amz-trailer: x-amz-checksum-crc32\nx-amz-sdk-checksum-algorithm: CRC32C\n", BAD},
        {"x-amz-trailer: x-amz-checksum-crc32,x-amz-checksum-sha1\n", BAD},
        {"x-amz-sdk-checksum-algorithm: MD5\n", BAD},
        {"x-amz-sdk-checksum-algorithm: CRC32\nx-amz-checksum-algorithm: CRC32C\n", BAD},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct parsed_request p;
        struct s3_checksum_value want;
        enum s3_checksum trailer, algorithm;
        const char *why;
        char head[512];
        enum s3_error err;

        snprintf(head, sizeof(head), "PUT /b/k HTTP/1.1\nHost: h\n%s", rows[i].head);
        parse_request(&p, head, 0);
        err = s3_checksum_of_headers(p.r.headers, p.r.nheaders, &want, &trailer, &algorithm, &why);
        if (err != rows[i].err) fail_msg("row %zu: %s", i, s3_error_code(err));
        if ((err != S3_OK) != (why != NULL)) fail_msg("row %zu", i);
        if (!err && (want.kind != rows[i].want || trailer != rows[i].trailer ||
                     algorithm != rows[i].algorithm))
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),     cmocka_unit_test(crcs_by_both_ways), cmocka_unit_test(parts),
        cmocka_unit_test(joins),    cmocka_unit_test(bad_text),          cmocka_unit_test(names),
        cmocka_unit_test(headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
