/* index - what the index alone costs.
 *
 *   index DIR [KEYS]
 *
 * Makes an index of KEYS keys (default 1000000) in the new directory DIR, in
 * random order, and prints what reading, walking and committing cost. */
#include "mkv/index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct bench {
    struct mkv_loop *loop;
    struct mkv_index *ix;
    uint64_t waiting, seed, failed;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of this thread: other work on the machine does not show. */
static double own(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long status_kb(const char *name)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    long kb = -1;

    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, name, strlen(name))) kb = strtol(line + strlen(name) + 1, NULL, 10);
    if (f) fclose(f);
    return kb;
}

/* xorshift64 */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static struct mkv_slice key_of(char buf[64], uint64_t i)
{
    /* Odd multipliers permute: neighbours in i are far apart in the index. */
    int n = snprintf(buf, 64, "/bench/%016" PRIx64, i * UINT64_C(0x9e3779b97f4a7c15));

    return mkv_slice(buf, (size_t)n);
}

static void on_done(enum mkv_err err, void *arg)
{
    struct bench *b = arg;

    b->waiting--;
    if (err) b->failed++;
}

static struct mkv_record a_record(void)
{
    struct mkv_record r;

    mkv_record_init(&r);
    r.size = 4096;
    r.mtime = 1700000000;
    r.has_md5 = true;
    r.nreplicas = 3;
    for (unsigned i = 0; i < 3; i++) r.replicas[i] = (struct mkv_replica){i, (uint16_t)i};
    return r;
}

static void settle(struct bench *b)
{
    while (b->waiting) mkv_loop_turn(b->loop);
}

static void put(struct bench *b, uint64_t i, enum mkv_change_op op)
{
    struct mkv_record r = a_record();
    struct mkv_index_change c = {.record_op = op, .record = &r};
    char buf[64];

    c.key = key_of(buf, i);
    if (mkv_index_apply(b->ix, &c, on_done, b))
        b->failed++;
    else
        b->waiting++;
}

static void commits(struct bench *b, uint64_t from, unsigned rounds, unsigned at_once)
{
    double start = now(), used = cpu();

    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned j = 0; j < at_once; j++) put(b, from + i * at_once + j, MKV_SET);
        settle(b);
    }
    start = now() - start;
    used = cpu() - used;
    printf("%u at once      %8.0f changes/s  %6.2f us CPU per change\n", at_once,
           rounds * at_once / start, used * 1e6 / (rounds * at_once));
}

static void read_keys(struct bench *b, uint64_t keys, uint64_t offset, const char *what)
{
    uint64_t seed = 42, n = 1000000, found = 0;
    double spent = 0;
    char buf[16][64];

    for (uint64_t i = 0; i < n; i += 16) { /* a turn of 16 requests */
        struct mkv_slice key[16];
        struct mkv_record r;
        double start;

        mkv_record_init(&r);
        for (unsigned j = 0; j < 16; j++) key[j] = key_of(buf[j], next_random(&seed) % keys + offset);
        start = own();
        for (unsigned j = 0; j < 16; j++)
            found += mkv_index_get(b->ix, key[j], &r, NULL, NULL) == MKV_OK;
        spent += own() - start;
        mkv_loop_turn(b->loop);
        mkv_record_clear(&r);
    }
    printf("get, %s    %6.0f ns CPU (%" PRIu64 " found)\n", what, spent * 1e9 / (double)n, found);
}

static bool count_key(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    (void)key;
    (void)data;
    (void)len;
    ++*(uint64_t *)arg;
    return true;
}

static void walk(struct bench *b, size_t budget)
{
    long before = status_kb("VmRSS:"), most = before;
    struct mkv_walk w;
    double spent = 0;
    uint64_t n = 0;

    mkv_walk_init(&w, MKV_TABLE_RECORDS, MKV_LIVE, mkv_slice(NULL, 0), mkv_slice(NULL, 0));
    for (unsigned turn = 0; !w.ended; turn++) {
        double start = own();
        long rss;

        if (mkv_index_walk(b->ix, &w, budget, count_key, &n)) abort();
        mkv_loop_turn(b->loop);
        spent += own() - start;
        rss = turn % 16 ? before : status_kb("VmRSS:");
        if (rss > most) most = rss;
    }
    printf("walk by %5zu   %8.2f M keys/s of CPU (%" PRIu64 "), VmRSS grew by at most %ld KB\n",
           budget, (double)n / spent / 1e6, n, most - before);
}

static void fill(struct bench *b, uint64_t keys)
{
    double start = now();

    for (uint64_t i = 0; i < keys; i++) {
        put(b, i, MKV_SET);
        if (b->waiting == 8192) settle(b);
    }
    settle(b);
    printf("fill            %8.0f changes/s, 8192 at once\n", (double)keys / (now() - start));
}

int main(int argc, char **argv)
{
    uint64_t keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    struct bench b = {.seed = 1};
    struct mkv_index_options opt = {.dir = argc > 1 ? argv[1] : NULL, .address = "bench"};
    struct mkv_index_stats stats;
    char why[512];

    if (argc < 2 || !keys) {
        fprintf(stderr, "usage: index DIR [KEYS]\n");
        return 2;
    }
    if (mkv_loop_open(&b.loop) || mkv_index_open(&b.ix, b.loop, &opt, why, sizeof(why))) {
        fprintf(stderr, "index: %s\n", why);
        return 1;
    }
    mkv_index_stats(b.ix, &stats);
    if (stats.live < keys) fill(&b, keys);
    mkv_index_close(b.ix); /* so that nothing of the map is in memory yet */
    if (mkv_index_open(&b.ix, b.loop, &opt, why, sizeof(why))) return 1;
    walk(&b, 1000);
    walk(&b, 100);
    walk(&b, 10000);
    read_keys(&b, keys, 0, "found  ");
    read_keys(&b, keys, keys * 2, "missing");
    walk(&b, 1000);
    commits(&b, keys, 1000, 1);
    commits(&b, keys + 1000, 400, 16);
    commits(&b, keys + 10000, 200, 64);
    mkv_index_stats(b.ix, &stats);
    printf("index           %8.1f bytes per key; %" PRIu64 " failed\n",
           (double)stats.bytes_used / (double)stats.live, b.failed);
    mkv_index_close(b.ix);
    mkv_loop_close(b.loop);
    return b.failed != 0;
}
