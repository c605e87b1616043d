/* test/unit/test_s3_plan.c - what an object made of parts will be. */
#include "api/s3_plan.h"

#include "s3_helper.h"

/* MD5s of "a", "b" and "c". */
#define A "0cc175b9c0f1b6a831c399e269772661"
#define B "92eb5ffee6ae2fec3ad71c777531578f"
#define C "4a8a08f09d37b73795649038408b5f33"

static void order(void **state)
{
    static const struct {
        unsigned numbers[4];
        size_t n;
        enum s3_error err;
    } rows[] = {
        {{1},             1, S3_OK                },
        {{10000},         1, S3_OK                },
        {{1, 2, 3, 4},    4, S3_OK                },
        {{1, 7, 9, 9999}, 4, S3_OK                },
        {{1, 1},          2, S3_INVALID_PART_ORDER},
        {{2, 1},          2, S3_INVALID_PART_ORDER},
        {{1, 2, 4, 3},    4, S3_INVALID_PART_ORDER},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_body_part parts[4] = {{.number = 0}};

        for (size_t p = 0; p < rows[i].n; p++)
            parts[p].number = rows[i].numbers[p];
        if (s3_plan_check_order(parts, rows[i].n) != rows[i].err) fail_msg("row %zu", i);
    }
}

static void etags(void **state)
{
    static const struct {
        const char *etags[3];
        const char *etag; /* NULL: one of them is none */
    } rows[] = {
        {{A},                                  "b6ff9a06b7e20bcb2858c5b8ff744aea-1"},
        {{A, B, C},                            "4054c6f7787ecb7b323323155b0c0583-3"},
        {{"0CC175B9C0F1B6A831C399E269772661"}, "b6ff9a06b7e20bcb2858c5b8ff744aea-1"},
        {{""},                                 NULL                                },
        {{A, "0cc175b9"},                      NULL                                },
        {{A "-1"},                             NULL                                },
        {{"gcc175b9c0f1b6a831c399e269772661"}, NULL                                },
    };
    char etag[S3_ETAG_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_body_part parts[3] = {{.number = 0}};
        size_t n = 0;

        for (; n < 3 && rows[i].etags[n]; n++)
            parts[n].etag = mkv_slice_of(rows[i].etags[n]);
        if (s3_plan_etag(parts, n, etag) != (rows[i].etag != NULL)) fail_msg("row %zu", i);
        if (rows[i].etag) assert_string_equal(etag, rows[i].etag);
    }
}

/* A part as the index keeps it; cleared by the caller. */
static struct mkv_part kept_part(unsigned number, const char *bytes, int64_t size,
                                 const struct s3_checksum_value *sum)
{
    struct mkv_part part = {.number = number, .serial = 100 + number};

    mkv_record_init(&part.what);
    part.what.size = size;
    part.what.has_md5 = true;
    mkv_md5(mkv_slice_of(bytes), part.what.md5);
    if (sum) assert_int_equal(s3_meta_set_checksum(&part.what, sum), MKV_OK);
    return part;
}

static struct s3_checksum_value sum_of(enum s3_checksum kind, const char *bytes)
{
    struct s3_checksum_value sum;
    struct s3_sum s;

    assert_int_equal(s3_sum_init(&s, kind), MKV_OK);
    s3_sum_add(&s, bytes, strlen(bytes));
    s3_sum_final(&s, &sum);
    return sum;
}

static void parts(void **state)
{
    static const struct {
        const char *what, *named;         /* the part's bytes, the ETag that was named */
        int64_t size;
        enum s3_checksum kept, sent;      /* NONE: no checksum */
        const char *sent_of;              /* bytes */
        bool last;
        enum s3_checksum wanted;
        enum s3_error err;
    } rows[] = {
#define NO  S3_CHECKSUM_NONE
#define CRC S3_CHECKSUM_CRC32
#define SHA S3_CHECKSUM_SHA256
        {"a", A, S3_PART_MIN,     NO,  NO,  "a", false, NO,  S3_OK              },
        {"a", A, S3_PART_MIN - 1, NO,  NO,  "a", false, NO,  S3_ENTITY_TOO_SMALL},
        {"a", A, S3_PART_MIN - 1, NO,  NO,  "a", true,  NO,  S3_OK              },
        {"a", A, 0,               NO,  NO,  "a", true,  NO,  S3_OK              },
        {"a", B, S3_PART_MIN,     NO,  NO,  "a", false, NO,  S3_INVALID_PART    },
        {"a", A, -1,              NO,  NO,  "a", true,  NO,  S3_INVALID_PART    },
        {NULL, A, 1,              NO,  NO,  "a", true,  NO,  S3_INVALID_PART    },
        {"a", A, S3_PART_MIN,     CRC, CRC, "a", false, CRC, S3_OK              },
        {"a", A, S3_PART_MIN,     CRC, NO,  "a", false, CRC, S3_OK              },
        {"a", A, S3_PART_MIN,     CRC, CRC, "b", false, CRC, S3_INVALID_PART    },
        {"a", A, S3_PART_MIN,     CRC, SHA, "a", false, CRC, S3_INVALID_PART    },
        {"a", A, S3_PART_MIN,     NO,  CRC, "a", false, NO,  S3_INVALID_PART    },
        {"a", A, S3_PART_MIN,     SHA, SHA, "a", false, NO,  S3_OK              },
        {"a", A, S3_PART_MIN,     NO,  NO,  "a", false, CRC, S3_INTERNAL_ERROR  },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_checksum_value kept = sum_of(rows[i].kept, "a");
        struct s3_body_part named = {.number = 1, .etag = mkv_slice_of(rows[i].named)};
        struct mkv_part part = kept_part(1, "a", rows[i].size, rows[i].kept ? &kept : NULL);
        struct s3_plan plan;

        if (rows[i].sent) named.checksum = sum_of(rows[i].sent, rows[i].sent_of);
        assert_int_equal(s3_plan_open(&plan, rows[i].last ? 1 : 2,
                                      (struct s3_upload_sum){rows[i].wanted, false}),
                         S3_OK);
        if (s3_plan_add(&plan, &named, rows[i].what ? &part : NULL) != rows[i].err)
            fail_msg("row %zu", i);
        assert_int_equal(plan.n, rows[i].err ? 0 : 1);
        s3_plan_clear(&plan);
        mkv_record_clear(&part.what);
    }
}

/* Three parts "a", "b", "c", of which the index says that they are long enough. */
static void add_three(struct s3_plan *plan, struct s3_upload_sum wanted, uint64_t *size)
{
    static const char *const bytes[] = {"a", "b", "c"}, *const named[] = {A, B, C};

    *size = 0;
    assert_int_equal(s3_plan_open(plan, 3, wanted), S3_OK);
    for (unsigned i = 0; i < 3; i++) {
        struct s3_checksum_value sum = sum_of(wanted.kind, bytes[i]);
        struct s3_body_part part = {.number = i + 1, .etag = mkv_slice_of(named[i])};
        struct mkv_part kept = kept_part(i + 1, bytes[i], i < 2 ? S3_PART_MIN : 1,
                                         wanted.kind ? &sum : NULL);

        assert_int_equal(s3_plan_add(plan, &part, &kept), S3_OK);
        *size += (uint64_t)kept.what.size;
        mkv_record_clear(&kept.what);
    }
    s3_plan_end(plan);
}

static void object(void **state)
{
    struct s3_upload_sum wanted = {S3_CHECKSUM_SHA256, false};
    struct s3_checksum_value sum;
    struct mkv_slice value;
    struct mkv_record rec;
    struct s3_plan plan;
    uint64_t size, first, length;
    char text[S3_CHECKSUM_TEXT_MAX];

    (void)state;
    add_three(&plan, wanted, &size);
    assert_int_equal(plan.size, size);
    assert_int_equal(plan.parts[2].number, 3);
    assert_int_equal(plan.parts[2].serial, 103);
    mkv_record_init(&rec);
    assert_int_equal(s3_upload_set_sum(&rec, wanted), MKV_OK);
    assert_int_equal(s3_plan_fields(&plan, "etag-3", &rec), MKV_OK);
    assert_false(mkv_record_field(&rec, MKV_FIELD_UPLOAD_CHECKSUM, &value));
    assert_true(mkv_record_field(&rec, MKV_FIELD_MULTIPART_ETAG, &value));
    assert_true(mkv_slice_eq(value, MKV_SLICE("etag-3")));
    assert_int_equal(s3_meta_part_count(&rec), 3);
    assert_true(s3_meta_part(&rec, 3, &first, &length));
    assert_int_equal(first, 2 * S3_PART_MIN);
    assert_int_equal(length, 1);
    assert_true(s3_meta_checksum(&rec, &sum));
    assert_int_equal(sum.parts, 3);
    s3_checksum_text(&sum, text);
    assert_non_null(strstr(text, "-3"));
    mkv_record_clear(&rec);
    s3_plan_clear(&plan);
}

/* The sum of the whole out of those of its parts. */
static void full_object(void **state)
{
    static const enum s3_checksum kinds[] = {S3_CHECKSUM_CRC32, S3_CHECKSUM_CRC32C,
                                             S3_CHECKSUM_CRC64NVME};

    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct s3_checksum_value whole = sum_of(kinds[i], "a"), next = sum_of(kinds[i], "b");
        struct s3_plan plan;
        uint64_t size;

        add_three(&plan, (struct s3_upload_sum){kinds[i], true}, &size);
        s3_checksum_join(&whole, &next, S3_PART_MIN);
        next = sum_of(kinds[i], "c");
        s3_checksum_join(&whole, &next, 1);
        assert_true(s3_checksum_equal(&plan.sum, &whole));
        assert_int_equal(plan.sum.parts, 0);
        s3_plan_clear(&plan);
    }
}

static void ids(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"00112233445566778899aabbccddeeff",  true },
        {"ffffffffffffffffffffffffffffffff",  true },
        {"00112233445566778899AABBCCDDEEFF",  false},
        {"00112233445566778899aabbccddeef",   false},
        {"00112233445566778899aabbccddeeff0", false},
        {"00112233445566778899aabbccddeefg",  false},
        {"",                                  false},
    };
    uint8_t id[MKV_UPLOAD_ID_LEN];
    char text[S3_UPLOAD_ID_TEXT + 1];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (s3_upload_id_parse(mkv_slice_of(rows[i].text), id) != rows[i].ok)
            fail_msg("row %zu", i);
        if (!rows[i].ok) continue;
        s3_upload_id_text(id, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void upload_sums(void **state)
{
    struct mkv_record what;
    struct s3_upload_sum sum;

    (void)state;
    mkv_record_init(&what);
    assert_int_equal(s3_upload_sum(&what).kind, S3_CHECKSUM_NONE);
    for (int kind = S3_CHECKSUM_CRC32; kind < S3_CHECKSUM_COUNT; kind++)
        for (int full = 0; full < 2; full++) {
            sum = (struct s3_upload_sum){(enum s3_checksum)kind, full};
            assert_int_equal(s3_upload_set_sum(&what, sum), MKV_OK);
            assert_int_equal(s3_upload_sum(&what).kind, kind);
            assert_int_equal(s3_upload_sum(&what).full, full);
        }
    assert_int_equal(
        mkv_record_set_field(&what, MKV_FIELD_UPLOAD_CHECKSUM, MKV_SLICE("\x7f\x01")), MKV_OK);
    assert_int_equal(s3_upload_sum(&what).kind, S3_CHECKSUM_NONE);
    mkv_record_clear(&what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),  cmocka_unit_test(etags),       cmocka_unit_test(parts),
        cmocka_unit_test(object), cmocka_unit_test(full_object), cmocka_unit_test(ids),
        cmocka_unit_test(upload_sums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
