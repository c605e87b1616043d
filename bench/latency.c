/* bench/latency.c - how long one request takes while the server does other work.
 *
 *   latency -c 4 -r 500 -t 10 127.0.0.1:3000 /key
 *
 * Sends GETs of one key at a fixed rate, spread over a few connections, and
 * prints the percentiles as one JSON object.  An answer is there when the kernel
 * has it, whenever this program gets to read it.  A request whose turn came while
 * its connection still waited for the answer before it counts from its turn
 * on: a server that stalls can not hide it by being asked less. */
#include "common/tool.h"
#include "common/wire.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define HEAD_MAX 2048
#define GRACE_NS (10 * UINT64_C(1000000000)) /* for answers still missing at the end */

struct prober {
    struct probe *probe; /* borrowed                                       */
    struct wire wire;
    uint64_t due;     /* when the next request's turn comes             */
    uint64_t late_ns; /* how long the one under way waited for its turn */
};

struct probe {
    struct wire_loop loop;
    struct prober *probers; /* owned                                       */
    unsigned n;
    uint64_t period; /* of one connection, nanoseconds              */
    uint64_t until;
    unsigned active;
    char head[HEAD_MAX];
    size_t head_len;
    int expect; /* status; 0: that of the first answer         */
    uint64_t errors;
    struct samples took;
};

/* Whoever is late itself does not ask more often to make up for it. */
static void prober_ask(struct prober *p, uint64_t turn, uint64_t late_ns)
{
    p->late_ns = late_ns;
    p->due = turn + p->probe->period;
    p->probe->active++;
    wire_ask(&p->wire, p->probe->head, p->probe->head_len, NULL, 0);
}

/* Sends what is due, and sets the timer to the next turn of all.  What is due
 * on a busy connection goes out with its answer. */
static void on_turn(void *arg)
{
    struct probe *probe = arg;
    uint64_t now = tool_now(), next = UINT64_MAX;

    if (now >= probe->until) {
        if (probe->active == 0) probe->loop.stop = true;
        return;
    }
    for (unsigned i = 0; i < probe->n; i++) {
        struct prober *p = &probe->probers[i];

        if (!p->wire.busy && p->due <= now) prober_ask(p, now, 0);
        if (p->due > now && p->due < next) next = p->due;
    }
    if (next > probe->until) next = probe->until;
    wire_loop_at(&probe->loop, next);
}

static void on_answer(struct wire *w, const struct wire_answer *a, void *arg)
{
    struct prober *p = arg;
    struct probe *probe = p->probe;
    uint64_t now = tool_now(), free_at = w->arrived_at;

    probe->active--;
    if (probe->expect == 0) probe->expect = a->status;
    if (a->status == 0 || a->status != probe->expect) probe->errors++;
    samples_add(&probe->took, a->ns + p->late_ns);
    if (now < probe->until && p->due <= now) {
        if (p->due < free_at)
            prober_ask(p, p->due, free_at - p->due);
        else
            prober_ask(p, now, 0);
    }
    on_turn(probe);
}

static void probe_run(struct probe *probe, const struct sockaddr_in *to, uint64_t ns)
{
    uint64_t began = tool_now();

    wire_loop_init(&probe->loop);
    probe->loop.on_timer = on_turn;
    probe->loop.timer_arg = probe;
    probe->until = began + ns;
    probe->probers = tool_alloc(probe->n, sizeof(*probe->probers));
    for (unsigned i = 0; i < probe->n; i++) {
        probe->probers[i].probe = probe;
        probe->probers[i].due = began + probe->period * i / probe->n;
        wire_init(&probe->probers[i].wire, &probe->loop, to, on_answer, &probe->probers[i]);
    }
    on_turn(probe);
    wire_loop_run(&probe->loop, probe->until + GRACE_NS);
    if (probe->active) tool_die("%u requests got no answer", probe->active);
}

static void probe_print(struct probe *probe)
{
    printf("{\"status\":%d,\"errors\":%llu,", probe->expect, (unsigned long long)probe->errors);
    samples_print("get", &probe->took);
    puts("}");
}

static void probe_clear(struct probe *probe)
{
    for (unsigned i = 0; i < probe->n; i++)
        wire_clear(&probe->probers[i].wire);
    free(probe->probers);
    samples_clear(&probe->took);
    wire_loop_clear(&probe->loop);
}

int main(int argc, char **argv)
{
    struct probe probe = {.n = 4};
    struct sockaddr_in to;
    uint64_t rate = 500, seconds = 5;
    int opt, n;

    while ((opt = getopt(argc, argv, "c:r:t:e:")) != -1) {
        switch (opt) {
        case 'c': probe.n = (unsigned)tool_number("-c", optarg, 1000); break;
        case 'r': rate = tool_number("-r", optarg, 100000); break;
        case 't': seconds = tool_number("-t", optarg, 3600); break;
        case 'e': probe.expect = (int)tool_number("-e", optarg, 599); break;
        default: argc = 0; /* ends the loop, and fails the check below */
        }
    }
    if (optind != argc - 2 || probe.n == 0 || rate == 0 || seconds == 0) {
        fprintf(stderr, "usage: latency [-c CONNECTIONS] [-r REQUESTS_PER_SECOND] [-t SECONDS] "
                        "[-e STATUS] ADDRESS:PORT PATH\n");
        return 2;
    }
    to = tool_address(argv[optind]);
    n = snprintf(probe.head, sizeof(probe.head), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                 argv[optind + 1], argv[optind]);
    if (n < 0 || (size_t)n >= sizeof(probe.head)) tool_die("the path is too long");
    probe.head_len = (size_t)n;
    probe.period = (uint64_t)probe.n * 1000000000u / rate;
    /* The prober must get the processor when its answer is there: it is the
     * server's time that is asked for, not the scheduler's.  Needs a right
     * that not everybody has; without it the figures are only larger. */
    if (setpriority(PRIO_PROCESS, 0, -10)) fprintf(stderr, "latency: runs without priority\n");
    probe_run(&probe, &to, seconds * 1000000000u);
    probe_print(&probe);
    n = probe.errors ? 1 : 0;
    probe_clear(&probe);
    return n;
}
