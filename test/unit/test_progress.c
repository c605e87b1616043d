/* What the lines about a job's progress say. */
#include "jobs/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct {
    double bytes;
    const char *text;
} sizes[] = {
    {0, "0 B"},           {1, "1 B"},           {999, "999 B"},        {1000, "1.0 KB"},
    {1500, "1.5 KB"},     {999940, "999.9 KB"}, {999999, "1.0 MB"},    {16777216, "16.8 MB"},
    {3.2e9, "3.2 GB"},    {1e12, "1.0 TB"},     {1e15, "1.0 PB"},      {1e18, "1.0 EB"},
    {1.8e19, "18.0 EB"},
};

static void test_bytes(void **state)
{
    char out[PROGRESS_BYTES_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++)
        assert_string_equal(progress_bytes(out, sizes[i].bytes), sizes[i].text);
}

static const struct {
    struct progress_state s;
    unsigned columns;
    const char *line;
} lines[] = {
    /* plain */
    {{"rebalance", "keys", 500, 2000, 0, 2}, 0,
     "rebalance: 500 of 2000 keys (25%), 250/s, 0:06 left"},
    {{"rebalance", "keys", 500, 2000, 10000000, 2}, 0,
     "rebalance: 500 of 2000 keys (25%), 250/s, 5.0 MB/s, 0:06 left"},
    {{"rebuild", "files", 30000, 0, 0, 10}, 0, "rebuild: 30000 files, 3000/s"},
    {{"verify", "keys", 0, 100, 0, 1}, 0, "verify: 0 of 100 keys (0%), 0/s"},
    {{"verify", "keys", 100, 100, 0, 4}, 0, "verify: 100 of 100 keys (100%), 25/s"},
    {{"verify", "keys", 120, 100, 0, 4}, 0, "verify: 120 of 100 keys (120%), 30/s"},
    {{"verify", "keys", 1, 3724, 0, 1}, 0, "verify: 1 of 3724 keys (0%), 1/s, 1:02:03 left"},
    /* with a bar */
    {{"rebalance", "keys", 500, 2000, 0, 2}, 80,
     "rebalance [======>                    ] 500 of 2000 keys (25%), 250/s, 0:06 left"},
    {{"verify", "keys", 100, 100, 0, 4}, 60,
     "verify [======================] 100 of 100 keys (100%), 25/s"},
    {{"verify", "keys", 300, 100, 0, 4}, 60,
     "verify [======================] 300 of 100 keys (300%), 75/s"},
    {{"rebalance", "keys", 1000, 2000, 0, 2}, 200,
     "rebalance [====================>                   ] 1000 of 2000 keys (50%), 500/s, 0:02 left"},
    /* too narrow for a bar; too narrow for the words */
    {{"rebalance", "keys", 500, 2000, 0, 2}, 60,
     "rebalance: 500 of 2000 keys (25%), 250/s, 0:06 left"},
    {{"rebalance", "keys", 500, 2000, 0, 2}, 20, "rebalance: 500 of 20"},
    {{"rebuild", "files", 7, 0, 0, 0}, 80, "rebuild: 7 files, 7000/s"},
};

static void test_lines(void **state)
{
    char out[512];

    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        size_t n = progress_line(out, sizeof(out), &lines[i].s, lines[i].columns);

        assert_int_equal(n, strlen(out));
        assert_string_equal(out, lines[i].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
