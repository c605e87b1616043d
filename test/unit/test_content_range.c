#include "net/content_range.h"

#include "table.h"

static void said(void **state)
{
    static const struct {
        const char *value;
        struct content_range range;
    } rows[] = {
        {"bytes 0-0/1",                                                       {true, 0, 1, 1}    },
        {"bytes 7-9/10",                                                      {true, 7, 10, 10}  },
        {"Bytes 0-9/77",                                                      {true, 0, 10, 77}  },
        {"bytes 9223372036854775806-9223372036854775806/9223372036854775807",
         {true, INT64_MAX - 1, INT64_MAX, INT64_MAX}                                             },
        {"bytes */0",                                                         {false, 0, 0, 0}   },
        {"bytes */1234",                                                      {false, 0, 0, 1234}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct content_range got;

        if (!content_range_parse(mkv_slice_of(rows[i].value), &got)) fail_msg("%s", rows[i].value);
        assert_int_equal(got.satisfied, rows[i].range.satisfied);
        assert_int_equal(got.first, rows[i].range.first);
        assert_int_equal(got.end, rows[i].range.end);
        assert_int_equal(got.size, rows[i].range.size);
    }
}

static void nonsense(void **state)
{
    static const char *const rows[] = {
        "",
        "bytes",
        "bytes ",
        "bytes=0-0/1",
        "items 0-0/1",
        "bytes 0-0",
        "bytes 0-0/",
        "bytes 0-0/*",
        "bytes 0-1/1",
        "bytes 1-0/5",
        "bytes -1/5",
        "bytes 1-/5",
        "bytes 0--1/5",
        "bytes */",
        "bytes */*",
        "bytes */-1",
        "bytes 0-0/1 ",
        "bytes  0-0/1",
        "bytes 0 -0/1",
        "bytes +0-0/1",
        "bytes 0x0-0/1",
        "bytes 0-0/1, 2",
        "bytes * /1",
        "0-0/1",
        "bytes 0/0-1",
        "bytes 0-0/9223372036854775808",
        "bytes 18446744073709551616-18446744073709551617/9",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct content_range got = {true, 1, 2, 3};

        if (content_range_parse(mkv_slice_of(rows[i]), &got)) fail_msg("%s", rows[i]);
        assert_int_equal(got.first + got.end + got.size, 6); /* untouched */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(said),
        cmocka_unit_test(nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
