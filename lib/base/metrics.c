#include "mkv/metrics.h"

const char *mkv_method_name(enum mkv_method m)
{
    static const char *const names[MKV_METHODS] = {
        [MKV_GET] = "GET",         [MKV_HEAD] = "HEAD",
        [MKV_PUT] = "PUT",         [MKV_POST] = "POST",
        [MKV_DELETE] = "DELETE",   [MKV_UNLINK] = "UNLINK",
        [MKV_RELINK] = "RELINK",   [MKV_REPLACE] = "REPLACE",
        [MKV_REBALANCE] = "REBALANCE", [MKV_METHOD_OTHER] = "OTHER",
    };

    return names[m];
}

void mkv_histogram_add(struct mkv_histogram *h, uint64_t us)
{
    unsigned i = 0;

    for (uint64_t limit = 100; i < MKV_LATENCY_BUCKETS - 1 && us > limit; limit *= 4) i++;
    h->buckets[i]++;
    h->sum_us += us;
    h->count++;
}
