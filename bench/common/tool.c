/* bench/common/tool.c - see tool.h. */
#include "common/tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void tool_die(const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

uint64_t tool_number(const char *option, const char *text, uint64_t max)
{
    char *end = NULL;
    unsigned long long n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno || n > max)
        tool_die("%s wants a number up to %llu, not \"%s\"", option, (unsigned long long)max, text);
    return n;
}

struct sockaddr_in tool_address(const char *text)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *colon = strchr(text, ':');
    char host[INET_ADDRSTRLEN];

    if (!colon || (size_t)(colon - text) >= sizeof(host))
        tool_die("\"%s\" is not an address like 127.0.0.1:3000", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
        tool_die("\"%s\" is not an address like 127.0.0.1:3000", text);
    to.sin_port = htons((uint16_t)tool_number("the port", colon + 1, 65535));
    return to;
}

int tool_connect(const struct sockaddr_in *to)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) tool_die("socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)))
        tool_die("connect to port %u: %s", ntohs(to->sin_port), strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

void tool_want_descriptors(uint64_t wanted)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim)) tool_die("getrlimit: %s", strerror(errno));
    lim.rlim_cur = lim.rlim_max;
    if (lim.rlim_max < wanted)
        tool_die("%llu descriptors needed, the hard limit is %llu: raise it (ulimit -Hn)",
                 (unsigned long long)wanted, (unsigned long long)lim.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &lim)) tool_die("setrlimit: %s", strerror(errno));
}

void *tool_alloc(size_t n, size_t size)
{
    void *p = calloc(n, size);

    if (!p) tool_die("out of memory");
    return p;
}

uint64_t tool_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void samples_add(struct samples *s, uint64_t ns)
{
    uint64_t us = ns / 1000;

    if (s->n == s->room) {
        s->room = s->room ? s->room * 2 : 4096;
        s->us = realloc(s->us, s->room * sizeof(*s->us));
        if (!s->us) tool_die("out of memory");
    }
    s->us[s->n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

double samples_ms(struct samples *s, double share)
{
    size_t rank;

    if (s->n == 0) return 0;
    qsort(s->us, s->n, sizeof(*s->us), by_value);
    rank = (size_t)(share * (double)s->n);
    if (rank >= s->n) rank = s->n - 1;
    return (double)s->us[rank] / 1000;
}

void samples_print(const char *name, struct samples *s)
{
    printf("\"%s\":{\"n\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}", name, s->n,
           samples_ms(s, 0.5), samples_ms(s, 0.99), samples_ms(s, 1));
}

void samples_clear(struct samples *s)
{
    free(s->us);
    *s = (struct samples){0};
}
