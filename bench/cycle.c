/* bench/cycle.c - write, read and delete small values, many at once.
 *
 *   cycle -c 16 -t 10 127.0.0.1:3000
 *
 * Each client has one connection to the master and one to every volume it is
 * sent to, and runs through the steps below for one new key after the other;
 * the bytes that come back are compared.  With -p it only writes.  One JSON
 * object at the end. */
#include "common/tool.h"
#include "common/wire.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VOLUMES_MAX 16   /* volumes that one client may be sent to  */
#define VALUE_MAX   8192 /* fits the answer that wire.h keeps whole */
#define ERRORS_MAX  100  /* then there is nothing to measure        */
#define HEAD_MAX    1024
#define GRACE_NS    (10 * UINT64_C(1000000000)) /* for cycles under way at the end */

enum step {
    STEP_PUT,    /* master: 201                                          */
    STEP_GET,    /* master: 302 and where                                */
    STEP_FETCH,  /* volume: 200 and the same bytes                       */
    STEP_DELETE, /* master: 204                                          */
    STEPS
};
static const struct {
    const char *name, *method;
    int status;
} steps[STEPS] = {
    [STEP_PUT] = {"put",    "PUT",    201},
    [STEP_GET] = {"get",    "GET",    302},
    [STEP_FETCH] = {"fetch",  "GET",    200},
    [STEP_DELETE] = {"delete", "DELETE", 204},
};

struct volume {
    char address[TOOL_ADDRESS_MAX];
    struct wire *wire; /* owned */
};

struct run {
    struct wire_loop loop;
    const char *prefix, *master;
    bool only_put;
    bool over;       /* no new cycle begins                          */
    unsigned active; /* clients with a cycle under way               */
    uint64_t cycles, errors;
    size_t value_len;
    char value[VALUE_MAX];
    struct samples took[STEPS];
};

struct client {
    struct run *run; /* borrowed                                     */
    unsigned number;
    uint64_t round; /* names the key                                */
    enum step step;
    struct wire *master; /* owned                                        */
    struct volume volumes[VOLUMES_MAX];
    unsigned nvolumes;
};

static void cycle_begin(struct client *c);

/* ---- asking ----------------------------------------------------------------- */

static void ask_master(struct client *c, enum step step)
{
    struct run *run = c->run;
    char head[HEAD_MAX];
    size_t body = step == STEP_PUT ? run->value_len : 0;
    int n =
        snprintf(head, sizeof(head), "%s %s-%u-%llu HTTP/1.1\r\nHost: %s\r\n", steps[step].method,
                 run->prefix, c->number, (unsigned long long)c->round, run->master);

    if (step == STEP_PUT)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n", body);
    n += snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
    c->step = step;
    wire_ask(c->master, head, (size_t)n, run->value, body);
}

static struct wire *volume_wire(struct client *c, const char *address);

/* location: http://127.0.0.1:3001/sv00/aa/bb/NAME, not NUL-ended. */
static bool ask_volume(struct client *c, const char *location, size_t len)
{
    static const char scheme[] = "http://";
    char address[TOOL_ADDRESS_MAX], head[HEAD_MAX + WIRE_IN_MAX];
    const char *host = location + sizeof(scheme) - 1, *path;
    struct wire *w;
    int n;

    if (len < sizeof(scheme) || memcmp(location, scheme, sizeof(scheme) - 1) != 0) return false;
    path = memchr(host, '/', len - (sizeof(scheme) - 1));
    if (!path || (size_t)(path - host) >= sizeof(address)) return false;
    memcpy(address, host, (size_t)(path - host));
    address[path - host] = '\0';
    w = volume_wire(c, address);
    n = snprintf(head, sizeof(head), "GET %.*s HTTP/1.1\r\nHost: %s\r\n\r\n",
                 (int)(location + len - path), path, address);
    c->step = STEP_FETCH;
    wire_ask(w, head, (size_t)n, NULL, 0);
    return true;
}

/* ---- answers ---------------------------------------------------------------- */

static void cycle_end(struct client *c)
{
    c->run->active--;
    c->round++;
    if (!c->run->over)
        cycle_begin(c);
    else if (c->run->active == 0)
        c->run->loop.stop = true;
}

static void cycle_failed(struct client *c, const struct wire_answer *a, const char *what)
{
    fprintf(stderr, "cycle: %s of %s-%u-%llu: %s (status %d)\n", steps[c->step].name,
            c->run->prefix, c->number, (unsigned long long)c->round, what, a->status);
    if (++c->run->errors >= ERRORS_MAX) tool_die("too many errors");
    cycle_end(c);
}

static void on_answer(struct wire *w, const struct wire_answer *a, void *arg)
{
    struct client *c = arg;
    struct run *run = c->run;

    (void)w;
    if (a->status != steps[c->step].status) {
        cycle_failed(c, a, "not the status expected");
        return;
    }
    samples_add(&run->took[c->step], a->ns);
    switch (c->step) {
    case STEP_PUT:
        if (!run->only_put) {
            ask_master(c, STEP_GET);
            return;
        }
        break;
    case STEP_GET:
        if (!ask_volume(c, a->location ? a->location : "", a->location_len))
            cycle_failed(c, a, "no Location that can be followed");
        return;
    case STEP_FETCH:
        if (a->body_len != run->value_len || memcmp(a->body, run->value, run->value_len) != 0)
            cycle_failed(c, a, "not the bytes that were written");
        else
            ask_master(c, STEP_DELETE);
        return;
    case STEP_DELETE:
    case STEPS: break;
    }
    run->cycles++;
    cycle_end(c);
}

static struct wire *volume_wire(struct client *c, const char *address)
{
    struct sockaddr_in to;
    struct volume *v;

    for (unsigned i = 0; i < c->nvolumes; i++)
        if (strcmp(c->volumes[i].address, address) == 0) return c->volumes[i].wire;
    if (c->nvolumes == VOLUMES_MAX) tool_die("sent to more than %d volumes", VOLUMES_MAX);
    v = &c->volumes[c->nvolumes++];
    memcpy(v->address, address, strlen(address) + 1);
    v->wire = tool_alloc(1, sizeof(*v->wire));
    to = tool_address(address);
    wire_init(v->wire, &c->run->loop, &to, on_answer, c);
    return v->wire;
}

static void cycle_begin(struct client *c)
{
    c->run->active++;
    ask_master(c, STEP_PUT);
}

/* ---- the program ------------------------------------------------------------ */

static void client_init(struct client *c, struct run *run, unsigned number)
{
    struct sockaddr_in to = tool_address(run->master);

    *c = (struct client){.run = run, .number = number};
    c->master = tool_alloc(1, sizeof(*c->master));
    wire_init(c->master, &run->loop, &to, on_answer, c);
}

static void client_clear(struct client *c)
{
    for (unsigned i = 0; i < c->nvolumes; i++) {
        wire_clear(c->volumes[i].wire);
        free(c->volumes[i].wire);
    }
    wire_clear(c->master);
    free(c->master);
}

static void print_result(struct run *run, double seconds)
{
    printf(
        "{\"cycles\":%llu,\"errors\":%llu,\"reconnects\":%llu,\"seconds\":%.3f,\"per_second\":%.1f",
        (unsigned long long)run->cycles, (unsigned long long)run->errors,
        (unsigned long long)run->loop.reconnects, seconds, (double)run->cycles / seconds);
    for (enum step s = STEP_PUT; s < STEPS; s++) {
        putchar(',');
        samples_print(steps[s].name, &run->took[s]);
        samples_clear(&run->took[s]);
    }
    puts("}");
}

static void run_for(struct run *run, unsigned nclients, uint64_t ns)
{
    struct client *clients = tool_alloc(nclients, sizeof(*clients));
    uint64_t began = tool_now();

    wire_loop_init(&run->loop);
    for (unsigned i = 0; i < nclients; i++) {
        client_init(&clients[i], run, i);
        cycle_begin(&clients[i]);
    }
    wire_loop_run(&run->loop, began + ns);
    run->over = true;
    wire_loop_run(&run->loop, began + ns + GRACE_NS);
    if (run->active) tool_die("%u requests got no answer", run->active);
    print_result(run, tool_seconds(tool_now() - began));
    for (unsigned i = 0; i < nclients; i++)
        client_clear(&clients[i]);
    free(clients);
    wire_loop_clear(&run->loop);
}

int main(int argc, char **argv)
{
    struct run run = {.value_len = 100};
    unsigned clients = 16;
    uint64_t seconds = 5;
    char prefix[64];
    int opt;

    snprintf(prefix, sizeof(prefix), "/cycle-%ld", (long)getpid());
    while ((opt = getopt(argc, argv, "c:t:s:p")) != -1) {
        switch (opt) {
        case 'c': clients = (unsigned)tool_number("-c", optarg, 10000); break;
        case 't': seconds = tool_number("-t", optarg, 3600); break;
        case 's': run.value_len = tool_number("-s", optarg, VALUE_MAX); break;
        case 'p': run.only_put = true; break;
        default: argc = 0; /* ends the loop, and fails the check below */
        }
    }
    if (optind != argc - 1 || clients == 0 || seconds == 0 || run.value_len == 0) {
        fprintf(stderr,
                "usage: cycle [-c CLIENTS] [-t SECONDS] [-s VALUE_BYTES] [-p] ADDRESS:PORT\n"
                "  -p  only PUT; nothing is read or deleted\n");
        return 2;
    }
    tool_want_descriptors((uint64_t)clients * (1 + VOLUMES_MAX) + 16);
    run.prefix = prefix;
    run.master = argv[optind];
    memset(run.value, 'v', run.value_len);
    run_for(&run, clients, seconds * 1000000000u);
    return run.errors ? 1 : 0;
}
