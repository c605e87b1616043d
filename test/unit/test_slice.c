#include "mkv/slice.h"

#include "table.h"

#include <limits.h>

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        unsigned long long max;
        bool good;
        unsigned long long value;
    } rows[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"5", 5, true, 5},
        {"6", 5, false, 0},
        {"7", 5, false, 0},
        {"12", 5, false, 0},
        {"007", 7, true, 7},
        {"65535", 65535, true, 65535},
        {"65536", 65535, false, 0},
        {"655350", 65535, false, 0},
        {"18446744073709551615", ULLONG_MAX, true, ULLONG_MAX},
        {"18446744073709551616", ULLONG_MAX, false, 0},
        {"18446744073709551620", ULLONG_MAX, false, 0},
        {"99999999999999999999999", ULLONG_MAX, false, 0},
        {"", 9, false, 0},
        {"-1", 9, false, 0},
        {"+1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"1x", 99, false, 0},
        {"\xb1", 9, false, 0},
        {"/", 9, false, 0},
        {":", 9, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned long long n = 4711;
        bool good = mkv_slice_number(mkv_slice_of(rows[i].text), rows[i].max, &n);

        if (good != rows[i].good) fail_msg("\"%s\", at most %llu", rows[i].text, rows[i].max);
        assert_true(n == (good ? rows[i].value : 4711));
    }
    /* Not beyond its end. */
    unsigned long long n;
    assert_true(mkv_slice_number(mkv_slice("123", 2), 99, &n));
    assert_true(n == 12);
}

static void order(void **state)
{
    static const struct {
        struct mkv_slice a, b;
        int order;
    } rows[] = {
        {{"", 0}, {"", 0}, 0},
        {{NULL, 0}, {"", 0}, 0},
        {{NULL, 0}, {"a", 1}, -1},
        {{"a", 1}, {"a", 1}, 0},
        {{"a", 1}, {"ab", 2}, -1},
        {{"b", 1}, {"ab", 2}, 1},
        {{"a\0b", 3}, {"a\0c", 3}, -1},
        {{"a\0", 2}, {"a", 1}, 1},
        {{"\x80", 1}, {"\x7f", 1}, 1}, /* bytes are unsigned */
        {{"A", 1}, {"a", 1}, -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(sign(mkv_slice_cmp(rows[i].a, rows[i].b)), rows[i].order);
        assert_int_equal(sign(mkv_slice_cmp(rows[i].b, rows[i].a)), -rows[i].order);
        assert_int_equal(mkv_slice_eq(rows[i].a, rows[i].b), rows[i].order == 0);
    }
}

static void equal_but_for_case(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } rows[] = {
        {"", "", true},
        {"Content-Length", "content-LENGTH", true},
        {"a", "ab", false},
        {"a", "b", false},
        {"[", "{", false}, /* 0x5b and 0x7b differ by the bit that makes case */
        {"@", "`", false},
        {"\xc4", "\xe4", false}, /* ASCII only */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(mkv_slice_ieq(mkv_slice_of(rows[i].a), mkv_slice_of(rows[i].b)),
                         rows[i].equal);
}

static void beginnings(void **state)
{
    (void)state;
    assert_true(mkv_slice_begins(MKV_SLICE("/key"), MKV_SLICE("/k")));
    assert_true(mkv_slice_begins(MKV_SLICE("/key"), MKV_SLICE("/key")));
    assert_true(mkv_slice_begins(MKV_SLICE("/key"), mkv_slice(NULL, 0)));
    assert_true(mkv_slice_begins(mkv_slice(NULL, 0), mkv_slice(NULL, 0)));
    assert_false(mkv_slice_begins(MKV_SLICE("/k"), MKV_SLICE("/key")));
    assert_false(mkv_slice_begins(MKV_SLICE("/key"), MKV_SLICE("key")));
}

static void trim(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""}, {" ", ""}, {"\t \t", ""}, {"a", "a"}, {" a b\t", "a b"}, {"\ra\n", "\ra\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_true(mkv_slice_eq(mkv_slice_trim(mkv_slice_of(rows[i].in)),
                                 mkv_slice_of(rows[i].out)));
    assert_int_equal(mkv_slice_trim(mkv_slice(NULL, 0)).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trim),
        cmocka_unit_test(numbers),
        cmocka_unit_test(order),
        cmocka_unit_test(equal_but_for_case),
        cmocka_unit_test(beginnings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
