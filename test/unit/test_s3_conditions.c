/* test/unit/test_s3_conditions.c - conditional headers and ranges. */
#include "api/s3_conditions.h"

#include "s3_helper.h"

#define ETAG   "9b2cf535f27731c974343645a3985328"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define SAME   "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER  "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct s3_object object = {LITERAL(ETAG), 784111777, 1000};

/* NULL: no such header. */
static struct mkv_slice value_of(const char *text)
{
    return text ? mkv_slice_of(text) : mkv_slice(NULL, 0);
}

static void conditions(void **state)
{
    static const struct {
        const char *match, *none_match, *modified, *unmodified;
        enum s3_error read, copy, write;
    } rows[] = {
#define OK     S3_OK
#define NOT    S3_NOT_MODIFIED
#define FAILED S3_PRECONDITION_FAILED
        {NULL, NULL, NULL, NULL, OK, OK, OK},
        {"\"" ETAG "\"", NULL, NULL, NULL, OK, OK, OK},
        {ETAG, NULL, NULL, NULL, OK, OK, OK},
        {"W/\"" ETAG "\"", NULL, NULL, NULL, OK, OK, OK},
        {"\"a\", \"" ETAG "\" ,b", NULL, NULL, NULL, OK, OK, OK},
        {"*", NULL, NULL, NULL, OK, OK, OK},
        {" * ", NULL, NULL, NULL, OK, OK, OK},
        {"\"*\"", NULL, NULL, NULL, FAILED, FAILED, FAILED},
        {"\"a\"", NULL, NULL, NULL, FAILED, FAILED, FAILED},
        {"", NULL, NULL, NULL, FAILED, FAILED, FAILED},
        {"\"" ETAG, NULL, NULL, NULL, FAILED, FAILED, FAILED},
        {NULL, "*", NULL, NULL, NOT, FAILED, FAILED},
        {NULL, "\"" ETAG "\"", NULL, NULL, NOT, FAILED, FAILED},
        {NULL, "W/\"" ETAG "\"", NULL, NULL, NOT, FAILED, FAILED},
        {NULL, "\"a\",\"b\"", NULL, NULL, OK, OK, OK},
        {NULL, NULL, BEFORE, NULL, OK, OK, OK},
        {NULL, NULL, SAME, NULL, NOT, FAILED, OK},
        {NULL, NULL, AFTER, NULL, NOT, FAILED, OK},
        {NULL, NULL, "Sun Nov  6 08:49:37 1994", NULL, NOT, FAILED, OK},
        {NULL, NULL, "Sunday, 06-Nov-94 08:49:37 GMT", NULL, NOT, FAILED, OK},
        {NULL, NULL, "never", NULL, OK, OK, OK},
        {NULL, NULL, NULL, BEFORE, FAILED, FAILED, FAILED},
        {NULL, NULL, NULL, SAME, OK, OK, OK},
        {NULL, NULL, NULL, AFTER, OK, OK, OK},
        {NULL, NULL, NULL, "never", OK, OK, OK},
        /* a tag makes the date beside it void */
        {"\"" ETAG "\"", NULL, NULL, BEFORE, OK, OK, OK},
        {"\"a\"", NULL, NULL, AFTER, FAILED, FAILED, FAILED},
        {NULL, "\"" ETAG "\"", BEFORE, NULL, NOT, FAILED, FAILED},
        {NULL, "\"a\"", AFTER, NULL, OK, OK, OK},
        /* 412 comes before 304 */
        {"\"a\"", "\"" ETAG "\"", NULL, NULL, FAILED, FAILED, FAILED},
        {NULL, "\"" ETAG "\"", NULL, BEFORE, FAILED, FAILED, FAILED},
        {"\"" ETAG "\"", "\"" ETAG "\"", NULL, NULL, NOT, FAILED, FAILED},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_conditions c = {value_of(rows[i].match),    value_of(rows[i].none_match),
                                  value_of(rows[i].modified), value_of(rows[i].unmodified),
                                  {NULL, 0},                  {NULL, 0}};

        if (s3_conditions_read(&c, &object) != rows[i].read) fail_msg("read, row %zu", i);
        if (s3_conditions_copy(&c, &object) != rows[i].copy) fail_msg("copy, row %zu", i);
        if (s3_conditions_write(&c, &object) != rows[i].write) fail_msg("write, row %zu", i);
        if (s3_conditions_write(&c, NULL) != (rows[i].match ? S3_NO_SUCH_KEY : S3_OK))
            fail_msg("write of nothing, row %zu", i);
    }
}

static void find(void **state)
{
    const struct mkv_header headers[] = {
        {MKV_SLICE("IF-MATCH"), MKV_SLICE("a")},
        {MKV_SLICE("Range"), MKV_SLICE("bytes=1-")},
        {MKV_SLICE("x-amz-copy-source-if-match"), MKV_SLICE("b")},
        {MKV_SLICE("x-amz-copy-source-if-modified-since"), MKV_SLICE("c")},
        {MKV_SLICE("If-Match"), MKV_SLICE("d")},
    };
    struct s3_conditions c;

    (void)state;
    assert_true(s3_conditions_find(headers, 4, false, &c));
    assert_slice(c.if_match, MKV_SLICE("a"));
    assert_slice(c.range, MKV_SLICE("bytes=1-"));
    assert_null(c.if_none_match.data);
    assert_null(c.if_modified_since.data);
    assert_true(s3_conditions_find(headers, 5, true, &c));
    assert_slice(c.if_match, MKV_SLICE("b"));
    assert_slice(c.if_modified_since, MKV_SLICE("c"));
    assert_null(c.range.data);
    assert_false(s3_conditions_find(headers, 5, false, &c));
}

static void ranges(void **state)
{
    static const struct {
        const char *range, *if_range;
        uint64_t size;
        enum s3_range_kind kind;
        uint64_t first, last;
    } rows[] = {
#define ALL  S3_RANGE_ALL, 0, 0
#define NONE S3_RANGE_UNSATISFIABLE, 0, 0
#define PART S3_RANGE_PART
        {NULL, NULL, 1000, ALL},
        {"bytes=0-0", NULL, 1000, PART, 0, 0},
        {"bytes=0-999", NULL, 1000, PART, 0, 999},
        {"bytes=0-1000", NULL, 1000, PART, 0, 999},
        {"Bytes= 10-19 ", NULL, 1000, PART, 10, 19},
        {"bytes=999-", NULL, 1000, PART, 999, 999},
        {"bytes=0-", NULL, 1000, PART, 0, 999},
        {"bytes=-1", NULL, 1000, PART, 999, 999},
        {"bytes=-1000", NULL, 1000, PART, 0, 999},
        {"bytes=-1001", NULL, 1000, PART, 0, 999},
        {"bytes=5-18446744073709551616", NULL, 1000, PART, 5, 999},
        {"bytes=-99999999999999999999", NULL, 1000, PART, 0, 999},
        {"bytes=1000-", NULL, 1000, NONE},
        {"bytes=1000-1001", NULL, 1000, NONE},
        {"bytes=18446744073709551616-", NULL, 1000, NONE},
        {"bytes=-0", NULL, 1000, NONE},
        {"bytes=0-", NULL, 0, NONE},
        {"bytes=0-0", NULL, 0, NONE},
        {"bytes=-1", NULL, 0, NONE},
        {"bytes=2-1", NULL, 1000, ALL},
        {"bytes=0-1,3-4", NULL, 1000, ALL},
        {"bytes=", NULL, 1000, ALL},
        {"bytes=-", NULL, 1000, ALL},
        {"bytes=a-b", NULL, 1000, ALL},
        {"bytes=--1", NULL, 1000, ALL},
        {"bytes=1- 2", NULL, 1000, ALL},
        {"bytes 0-1", NULL, 1000, ALL},
        {"bytes", NULL, 1000, ALL},
        {"", NULL, 1000, ALL},
        {"items=0-1", NULL, 1000, ALL},
        {"bytes=0-1", "\"" ETAG "\"", 1000, PART, 0, 1},
        {"bytes=0-1", "\"a\"", 1000, ALL},
        {"bytes=0-1", "W/\"" ETAG "\"", 1000, ALL},
        {"bytes=0-1", SAME, 1000, PART, 0, 1},
        {"bytes=0-1", AFTER, 1000, ALL},
        {"bytes=1000-", "\"a\"", 1000, ALL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_conditions c = {.range = value_of(rows[i].range),
                                  .if_range = value_of(rows[i].if_range)};
        struct s3_object o = object;
        struct s3_range r = {0, 0};
        enum s3_range_kind kind;

        o.size = rows[i].size;
        kind = s3_range(&c, &o, &r);
        if (kind != rows[i].kind) fail_msg("row %zu: kind %d", i, (int)kind);
        if (kind == S3_RANGE_PART && (r.first != rows[i].first || r.last != rows[i].last))
            fail_msg("row %zu: %llu-%llu", i, (unsigned long long)r.first,
                     (unsigned long long)r.last);
    }
}

static void copy_ranges(void **state)
{
    static const struct {
        const char *value;
        enum s3_error err;
    } rows[] = {
        {"bytes=0-999",  S3_OK              },
        {"bytes=5-5",    S3_OK              },
        {"bytes=0-1000", S3_INVALID_RANGE   },
        {"bytes=0-",     S3_INVALID_ARGUMENT},
        {"bytes=-5",     S3_INVALID_ARGUMENT},
        {"bytes=6-5",    S3_INVALID_ARGUMENT},
        {"0-5",          S3_INVALID_ARGUMENT},
        {"",             S3_INVALID_ARGUMENT},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_range r;

        if (s3_copy_range(mkv_slice_of(rows[i].value), 1000, &r) != rows[i].err)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions),
        cmocka_unit_test(find),
        cmocka_unit_test(ranges),
        cmocka_unit_test(copy_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
