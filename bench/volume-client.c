/* volume-client - what one exchange with a volume costs the master.
 *
 *   volume-client VOLUME METHOD PATH COUNT IN-FLIGHT
 *
 * METHOD is HEAD, GET, DELETE or PUT (of 100 bytes).  Prints exchanges per
 * second and the CPU time of each, user and system, of this process alone. */
#include "mkv/loop.h"
#include "net/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct bench {
    struct mkv_loop *loop;
    struct mkv_exchange_options what;
    unsigned long left, running, failed, statuses[6];
};

static void start_one(struct bench *b);

static void on_ready(struct mkv_exchange *x, void *arg)
{
    static const uint8_t body[100];

    (void)arg;
    mkv_exchange_send(x, (struct mkv_bytes){body, sizeof(body), NULL});
    mkv_exchange_send_end(x);
}

static void on_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct bench *b = arg;

    (void)x;
    b->running--;
    if (err)
        b->failed++;
    else
        b->statuses[status / 100]++;
    if (b->left) start_one(b);
    if (!b->running) mkv_loop_stop(b->loop);
}

static void start_one(struct bench *b)
{
    static const struct mkv_exchange_events events = {.ready = on_ready, .done = on_done};
    struct mkv_exchange *x;

    b->left--;
    if (mkv_exchange_start(&x, &b->what, &events, b)) {
        fprintf(stderr, "volume-client: the path makes no sense, or no memory is left\n");
        exit(1);
    }
    b->running++;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void run(struct bench *b, unsigned long count, unsigned long in_flight)
{
    struct rusage before, after;
    struct timespec begin, end;
    double user, system, wall;

    b->left = count;
    memset(b->statuses, 0, sizeof(b->statuses));
    getrusage(RUSAGE_SELF, &before);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while (in_flight-- && b->left)
        start_one(b);
    mkv_loop_run(b->loop);
    clock_gettime(CLOCK_MONOTONIC, &end);
    getrusage(RUSAGE_SELF, &after);
    user = seconds(after.ru_utime) - seconds(before.ru_utime);
    system = seconds(after.ru_stime) - seconds(before.ru_stime);
    wall = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("%.0f/s  cpu %.2f us (user %.2f, system %.2f)  2xx %lu  4xx %lu  5xx %lu  failed %lu\n",
           (double)count / wall, (user + system) * 1e6 / (double)count, user * 1e6 / (double)count,
           system * 1e6 / (double)count, b->statuses[2], b->statuses[4], b->statuses[5], b->failed);
}

static bool method_of(const char *text, enum mkv_exchange_method *out)
{
    static const char *const names[] = {"HEAD", "GET", "PUT", "DELETE"};

    for (int i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *out = (enum mkv_exchange_method)i;
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct mkv_volumes_options opt = {.timeout_ms = 5000};
    struct mkv_volumes *volumes = NULL;
    struct mkv_blocks *blocks = NULL;
    struct bench b;

    memset(&b, 0, sizeof(b));
    if (argc != 6 || !method_of(argv[2], &b.what.method)) {
        fprintf(stderr, "usage: volume-client VOLUME HEAD|GET|PUT|DELETE PATH COUNT IN-FLIGHT\n");
        return 2;
    }
    if (mkv_loop_open(&b.loop) || mkv_blocks_open(&blocks)) return 1;
    opt.loop = b.loop;
    opt.blocks = blocks;
    if (mkv_volumes_open(&volumes, &opt) ||
        mkv_volumes_get(volumes, mkv_slice_of(argv[1]), &b.what.volume)) {
        fprintf(stderr, "volume-client: no such volume name: %s\n", argv[1]);
        return 1;
    }
    b.what.path = mkv_slice_of(argv[3]);
    b.what.body_length = 100;
    run(&b, strtoul(argv[4], NULL, 10), strtoul(argv[5], NULL, 10));
    mkv_volumes_close(volumes);
    mkv_loop_close(b.loop);
    mkv_blocks_close(blocks);
    return b.failed != 0;
}
