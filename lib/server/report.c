#include "server/report.h"

#include "net/volume.h"

#include <dirent.h>
#include <event2/buffer.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* One metric's head: what it is, and of which kind. */
static void head(struct evbuffer *out, const char *name, const char *kind, const char *help)
{
    evbuffer_add_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void single(struct evbuffer *out, const char *name, const char *kind, const char *help,
                   uint64_t value)
{
    head(out, name, kind, help);
    evbuffer_add_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* ---- requests ---------------------------------------------------------------------- */

static void add_requests(struct evbuffer *out, const struct mkv_metrics *m)
{
    head(out, "mkv_requests_total", "counter", "Requests answered on the data port.");
    for (unsigned method = 0; method < MKV_METHODS; method++)
        for (unsigned s = 100; s < MKV_STATUS_MAX; s++)
            if (m->requests[method][s / 100][s % 100])
                evbuffer_add_printf(out, "mkv_requests_total{method=\"%s\",status=\"%u\"} %llu\n",
                                    mkv_method_name(method), s,
                                    (unsigned long long)m->requests[method][s / 100][s % 100]);
}

static void add_latencies(struct evbuffer *out, const struct mkv_metrics *m)
{
    static const char name[] = "mkv_request_duration_seconds";

    head(out, name, "histogram", "From the end of the head to the end of the answer.");
    for (unsigned method = 0; method < MKV_METHODS; method++) {
        const struct mkv_histogram *h = &m->latency[method];
        const char *label = mkv_method_name(method);
        uint64_t sum = 0;
        double limit = 0.0001; /* seconds; mkv/metrics.h */

        if (!h->count) continue;
        for (unsigned i = 0; i < MKV_LATENCY_BUCKETS - 1; i++, limit *= 4) {
            sum += h->buckets[i];
            evbuffer_add_printf(out, "%s_bucket{method=\"%s\",le=\"%g\"} %llu\n", name, label,
                                limit, (unsigned long long)sum);
        }
        evbuffer_add_printf(out,
                            "%s_bucket{method=\"%s\",le=\"+Inf\"} %llu\n"
                            "%s_sum{method=\"%s\"} %g\n%s_count{method=\"%s\"} %llu\n",
                            name, label, (unsigned long long)h->count, name, label,
                            (double)h->sum_us / 1e6, name, label, (unsigned long long)h->count);
    }
}

static void add_front(struct evbuffer *out, const struct mkv_metrics *m)
{
    add_requests(out, m);
    add_latencies(out, m);
    single(out, "mkv_bytes_in_total", "counter", "Bytes read on the data port.", m->bytes_in);
    single(out, "mkv_bytes_out_total", "counter", "Bytes written on the data port.", m->bytes_out);
    single(out, "mkv_connections", "gauge", "Open client connections.", m->connections_open);
    single(out, "mkv_connections_total", "counter", "Client connections accepted.",
           m->connections_total);
    single(out, "mkv_bad_requests_total", "counter", "Requests refused by the HTTP parser.",
           m->bad_requests);
    single(out, "mkv_probe_hits_total", "counter", "GETs answered within -probe-ttl.",
           m->probe_hits);
    single(out, "mkv_probe_misses_total", "counter", "GETs for which a volume was asked.",
           m->probe_misses);
    single(out, "mkv_puts_repaired_total", "counter",
           "Replicas that failed during a PUT and were made on another volume.",
           m->puts_repaired);
    single(out, "mkv_reads_resumed_total", "counter",
           "Values that another replica went on with in the middle.", m->reads_resumed);
    single(out, "mkv_garbage_deleted_total", "counter", "Superseded files deleted.",
           m->garbage_deleted);
    single(out, "mkv_garbage_failed_total", "counter",
           "Superseded files that could not be deleted yet.", m->garbage_failed);
}

/* ---- volumes ----------------------------------------------------------------------- */

/* A label's value: quotes, backslashes and newlines escaped. */
static void add_label(struct evbuffer *out, struct mkv_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '"' || s.data[i] == '\\') evbuffer_add(out, "\\", 1);
        evbuffer_add(out, s.data[i] == '\n' ? "\\n" : &s.data[i], s.data[i] == '\n' ? 2 : 1);
    }
}

static void volume_line(struct evbuffer *out, const char *name, const struct mkv_volume *v,
                        const char *more, uint64_t value)
{
    evbuffer_add_printf(out, "%s{volume=\"", name);
    add_label(out, mkv_volume_name(v));
    evbuffer_add_printf(out, "\"%s} %llu\n", more, (unsigned long long)value);
}

static void add_volume_states(struct evbuffer *out, struct mkv_volumes *volumes)
{
    static const char *const labels[] = {",state=\"up\"", ",state=\"suspect\"", ",state=\"down\""};

    head(out, "mkv_volume_state", "gauge", "1 for the state that the volume is in.");
    for (struct mkv_volume *v = mkv_volumes_next(volumes, NULL); v; v = mkv_volumes_next(volumes, v))
        for (unsigned s = MKV_VOLUME_UP; s <= MKV_VOLUME_DOWN; s++)
            volume_line(out, "mkv_volume_state", v, labels[s], mkv_volume_state(v) == s);
}

static void add_volumes(struct evbuffer *out, struct mkv_volumes *volumes)
{
#define FIELD(field) offsetof(struct mkv_volume_stats, field)
    static const struct {
        const char *name, *kind, *help;
        size_t where;
    } numbers[] = {
        {"mkv_volume_exchanges_total", "counter", "Requests sent to the volume.",
         FIELD(exchanges)},
        {"mkv_volume_failures_total", "counter", "Requests that the volume failed.",
         FIELD(failures)},
        {"mkv_volume_connects_total", "counter", "Connections made.", FIELD(connects)},
        {"mkv_volume_retries_total", "counter", "Requests sent again on a fresh connection.",
         FIELD(retries)},
        {"mkv_volume_sent_bytes_total", "counter", "Bytes sent to the volume.", FIELD(bytes_sent)},
        {"mkv_volume_received_bytes_total", "counter", "Bytes received from the volume.",
         FIELD(bytes_received)},
        {"mkv_volume_idle_connections", "gauge", "Connections kept for later.", FIELD(idle)},
        {"mkv_volume_busy_connections", "gauge", "Connections in use.", FIELD(busy)},
    };
#undef FIELD

    add_volume_states(out, volumes);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        head(out, numbers[i].name, numbers[i].kind, numbers[i].help);
        for (struct mkv_volume *v = mkv_volumes_next(volumes, NULL); v;
             v = mkv_volumes_next(volumes, v)) {
            struct mkv_volume_stats stats;
            uint64_t value;

            mkv_volume_stats(v, &stats);
            memcpy(&value, (const char *)&stats + numbers[i].where, sizeof(value));
            volume_line(out, numbers[i].name, v, "", value);
        }
    }
}

/* ---- index, process ------------------------------------------------------------------ */

static void add_index_histogram(struct evbuffer *out, const char *name, const char *help,
                                const uint64_t *buckets, double first, double sum)
{
    uint64_t count = 0;

    head(out, name, "histogram", help);
    for (unsigned i = 0; i < MKV_INDEX_BUCKETS; i++, first *= 2) {
        count += buckets[i];
        if (i < MKV_INDEX_BUCKETS - 1)
            evbuffer_add_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, first,
                                (unsigned long long)count);
    }
    evbuffer_add_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", name,
                        (unsigned long long)count, name, sum, name, (unsigned long long)count);
}

static void add_index(struct evbuffer *out, struct mkv_index *ix)
{
    struct mkv_index_stats s;

    mkv_index_stats(ix, &s);
    head(out, "mkv_keys", "gauge", "Keys by state.");
    evbuffer_add_printf(out,
                        "mkv_keys{state=\"live\"} %llu\nmkv_keys{state=\"unlinked\"} %llu\n"
                        "mkv_keys{state=\"writing\"} %llu\n",
                        (unsigned long long)s.live, (unsigned long long)s.unlinked,
                        (unsigned long long)s.writing);
    single(out, "mkv_garbage", "gauge", "Superseded generations waiting to be deleted.",
           s.garbage);
    single(out, "mkv_buckets", "gauge", "Buckets.", s.buckets);
    single(out, "mkv_uploads", "gauge", "Unfinished multipart uploads.", s.uploads);
    single(out, "mkv_index_commits_total", "counter", "Commits of the index.", s.commits);
    single(out, "mkv_index_changes_total", "counter", "Changes committed.", s.changes);
    single(out, "mkv_index_failed_commits_total", "counter", "Commits that failed.", s.failed);
    add_index_histogram(out, "mkv_index_commit_size", "Changes in one commit.", s.sizes, 1,
                        (double)s.changes);
    add_index_histogram(out, "mkv_index_commit_duration_seconds", "Time of one commit.",
                        s.durations, 0.0001, (double)s.commit_us_sum / 1e6);
    single(out, "mkv_index_used_bytes", "gauge", "Size of the index.", s.bytes_used);
    single(out, "mkv_index_max_bytes", "gauge", "What it may grow to (-db-size).", s.bytes_max);
    single(out, "mkv_index_broken", "gauge", "1 after a failed commit: no writes until restart.",
           s.broken);
}

static uint64_t resident_bytes(void)
{
    unsigned long long pages[2] = {0, 0};
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f) return 0;
    if (fscanf(f, "%llu %llu", &pages[0], &pages[1]) != 2) pages[1] = 0;
    fclose(f);
    return pages[1] * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    uint64_t n = 0;

    if (!d) return 0;
    while (readdir(d)) n++;
    closedir(d);
    return n > 3 ? n - 3 : 0; /* ".", "..", and the directory's own */
}

static void add_process(struct evbuffer *out)
{
    struct rusage use = {0};
    struct rlimit files = {0};

    getrusage(RUSAGE_SELF, &use);
    getrlimit(RLIMIT_NOFILE, &files);
    head(out, "process_cpu_seconds_total", "counter", "User and system time.");
    evbuffer_add_printf(out, "process_cpu_seconds_total %.6f\n",
                        (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                            (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    single(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    single(out, "process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
    single(out, "process_max_fds", "gauge", "Most descriptors allowed.", files.rlim_cur);
    head(out, "mkv_build_info", "gauge", "The version that runs.");
    evbuffer_add_printf(out, "mkv_build_info{version=\"%s\"} 1\n", MKV_VERSION);
}

void report_metrics(struct evbuffer *out, struct mkv_store *store,
                    const struct mkv_metrics *metrics)
{
    add_front(out, metrics);
    add_volumes(out, mkv_store_volumes(store));
    add_index(out, mkv_store_index(store));
    add_process(out);
}

/* ---- health ----------------------------------------------------------------------------- */

static json_t *volumes_json(struct mkv_volumes *volumes)
{
    json_t *list = json_array();

    for (struct mkv_volume *v = mkv_volumes_next(volumes, NULL); v;
         v = mkv_volumes_next(volumes, v)) {
        struct mkv_volume_stats stats;
        struct mkv_slice name = mkv_volume_name(v);

        mkv_volume_stats(v, &stats);
        json_array_append_new(list,
                              json_pack("{s:s%,s:s,s:s}", "name", name.data, name.len, "state",
                                        mkv_volume_state_name(mkv_volume_state(v)), "last_error",
                                        stats.last_error));
    }
    return list;
}

static json_t *index_json(const struct mkv_index_stats *s)
{
    const char *state = s->broken ? "broken" : s->full ? "full" : "ok";

    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "state", state, "live", (json_int_t)s->live,
                     "unlinked", (json_int_t)s->unlinked, "writing", (json_int_t)s->writing,
                     "garbage", (json_int_t)s->garbage, "used_bytes", (json_int_t)s->bytes_used,
                     "max_bytes", (json_int_t)s->bytes_max);
}

bool report_health(struct evbuffer *out, struct mkv_store *store, bool *healthy)
{
    struct mkv_index_stats stats;
    const char *status = "ok";
    json_t *root;
    char *text;

    mkv_index_stats(mkv_store_index(store), &stats);
    if (!mkv_store_can_write(store)) status = "too few volumes are up to store a value";
    if (stats.full) status = "the index has no space left";
    if (stats.broken) status = "the index could not be written: see the log, then restart";
    *healthy = strcmp(status, "ok") == 0;
    root = json_pack("{s:s,s:o,s:o}", "status", status, "volumes",
                     volumes_json(mkv_store_volumes(store)), "index", index_json(&stats));
    text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    if (text) evbuffer_add_printf(out, "%s\n", text);
    free(text);
    json_decref(root);
    return text != NULL;
}
