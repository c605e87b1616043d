#include "mkv/metrics.h"

#include "table.h"

#include <string.h>

static void buckets(void **state)
{
    static const struct {
        uint64_t us;
        unsigned bucket;
    } rows[] = {
        {0, 0},    {1, 0},     {100, 0},   {101, 1},        {400, 1},          {401, 2},
        {1600, 2}, {25600, 4}, {25601, 5}, {104857600, 10}, {104857601, 11}, {UINT64_MAX / 2, 11},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_histogram h = {.count = 0};

        mkv_histogram_add(&h, rows[i].us);
        for (unsigned b = 0; b < MKV_LATENCY_BUCKETS; b++)
            if (h.buckets[b] != (b == rows[i].bucket))
                fail_msg("%llu us in bucket %u", (unsigned long long)rows[i].us, b);
        assert_true(h.count == 1 && h.sum_us == rows[i].us);
    }
}

static void sums(void **state)
{
    struct mkv_histogram h = {.count = 0};

    (void)state;
    for (uint64_t us = 50; us <= 200; us += 50) mkv_histogram_add(&h, us);
    assert_true(h.count == 4 && h.sum_us == 500);
    assert_true(h.buckets[0] == 2 && h.buckets[1] == 2);
}

static void requests_by_status(void **state)
{
    static const int good[] = {100, 200, 302, 404, 599}, bad[] = {-1, 0, 99, 600, 10000};
    struct mkv_metrics *m = calloc(1, sizeof(*m)), *zero = calloc(1, sizeof(*zero));

    (void)state;
    assert_true(m && zero);
    for (size_t i = 0; i < COUNT(bad); i++) mkv_metrics_request(m, MKV_PUT, bad[i]);
    assert_memory_equal(m, zero, sizeof(*m));
    for (size_t i = 0; i < COUNT(good); i++) {
        mkv_metrics_request(m, MKV_PUT, good[i]);
        assert_true(m->requests[MKV_PUT][good[i] / 100][good[i] % 100] == 1);
        assert_true(m->requests[MKV_GET][good[i] / 100][good[i] % 100] == 0);
    }
    free(m);
    free(zero);
}

static void method_names(void **state)
{
    (void)state;
    assert_string_equal(mkv_method_name(MKV_GET), "GET");
    assert_string_equal(mkv_method_name(MKV_REBALANCE), "REBALANCE");
    assert_string_equal(mkv_method_name(MKV_METHOD_OTHER), "OTHER");
    for (unsigned m = 0; m < MKV_METHODS; m++) {
        assert_non_null(mkv_method_name(m));
        for (unsigned other = 0; other < m; other++)
            assert_string_not_equal(mkv_method_name(m), mkv_method_name(other));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets),
        cmocka_unit_test(sums),
        cmocka_unit_test(requests_by_status),
        cmocka_unit_test(method_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
