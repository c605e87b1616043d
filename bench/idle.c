/* bench/idle.c - thousands of connections that have asked once and are kept open.
 *
 *   idle -n 10000 127.0.0.1:3000 /missing
 *
 * Opens them, sends one GET on each, prints {"open":N} and waits for a line or
 * the end of standard input.  Then it asks once more on every connection and
 * prints how many still answer: {"alive":N}. */
#include "common/tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX 4096
#define STALL_S    10

/* One request and its whole answer; false where the connection has ended. */
static bool ask(int fd, const char *request, size_t request_len)
{
    char in[ANSWER_MAX + 1];
    size_t len = 0;

    if (send(fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) return false;
    for (;;) {
        ssize_t n = recv(fd, in + len, ANSWER_MAX - len, 0);
        const char *end, *length;

        if (n <= 0) return false;
        len += (size_t)n;
        in[len] = '\0';
        end = strstr(in, "\r\n\r\n");
        if (!end) continue;
        length = strcasestr(in, "\r\ncontent-length:");
        if (!length || length > end) tool_die("an answer without Content-Length");
        if (len >=
            (size_t)(end + 4 - in) + strtoull(length + sizeof("\r\ncontent-length:") - 1, NULL, 10))
            return true;
    }
}

static int open_one(const struct sockaddr_in *to)
{
    struct timeval stall = {.tv_sec = STALL_S};
    int fd = tool_connect(to);

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall)))
        tool_die("setsockopt: %s", strerror(errno));
    return fd;
}

static void report(const char *what, uint64_t n)
{
    printf("{\"%s\":%llu}\n", what, (unsigned long long)n);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct sockaddr_in to;
    uint64_t n = 10000, opened = 0, alive = 0;
    char request[2048];
    int *fds, opt, len;

    while ((opt = getopt(argc, argv, "n:")) != -1) {
        if (opt == 'n')
            n = tool_number("-n", optarg, 60000);
        else
            optind = argc + 1;
    }
    if (optind != argc - 2) {
        fprintf(stderr, "usage: idle [-n CONNECTIONS] ADDRESS:PORT PATH\n");
        return 2;
    }
    to = tool_address(argv[optind]);
    len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                   argv[optind + 1], argv[optind]);
    if (len < 0 || (size_t)len >= sizeof(request)) tool_die("the path is too long");
    tool_want_descriptors(n + 16);
    fds = tool_alloc(n + 1, sizeof(*fds));
    for (uint64_t i = 0; i < n; i++)
        fds[i] = open_one(&to);
    for (uint64_t i = 0; i < n; i++)
        opened += ask(fds[i], request, (size_t)len);
    report("open", opened);
    while ((opt = getchar()) != EOF && opt != '\n')
        continue;
    for (uint64_t i = 0; i < n; i++)
        alive += ask(fds[i], request, (size_t)len);
    report("alive", alive);
    for (uint64_t i = 0; i < n; i++)
        close(fds[i]);
    free(fds);
    return 0;
}
