/* include/mkv/metrics.h - numbers that only grow, counted on the loop's thread.
 *
 * Plain fields: counting is an increment.  The admin port renders them. */
#ifndef MKV_METRICS_H
#define MKV_METRICS_H

#include <stdint.h>

enum mkv_method {
    MKV_GET,
    MKV_HEAD,
    MKV_PUT,
    MKV_POST,
    MKV_DELETE,
    MKV_UNLINK,
    MKV_RELINK,
    MKV_REPLACE,
    MKV_REBALANCE,
    MKV_METHOD_OTHER,
    MKV_METHODS
};
const char *mkv_method_name(enum mkv_method m); /* "OTHER" for the rest */

/* Latency: bucket i counts what took at most 100 us * 4^i; the last the rest. */
#define MKV_LATENCY_BUCKETS 12
struct mkv_histogram {
    uint64_t buckets[MKV_LATENCY_BUCKETS];
    uint64_t sum_us, count;
};
void mkv_histogram_add(struct mkv_histogram *h, uint64_t us);

#define MKV_STATUS_MAX 600
struct mkv_metrics {
    uint64_t requests[MKV_METHODS][MKV_STATUS_MAX / 100][100]; /* by status: [s / 100][s % 100] */
    struct mkv_histogram latency[MKV_METHODS]; /* head read to answer handed over */
    uint64_t bytes_in, bytes_out;              /* on the data port              */
    uint64_t connections_open, connections_total;
    uint64_t bad_requests;                     /* closed with 400, 408, 414, 431 */
    uint64_t probe_hits, probe_misses;         /* -probe-ttl cache              */
    uint64_t puts_repaired;                    /* a replica failed and was made anew */
    uint64_t reads_resumed;                    /* one failed within a value; another went on */
    uint64_t garbage_deleted, garbage_failed;  /* files                         */
};
static inline void mkv_metrics_request(struct mkv_metrics *m, enum mkv_method method, int status)
{
    if (status >= 100 && status < MKV_STATUS_MAX) m->requests[method][status / 100][status % 100]++;
}

#endif
