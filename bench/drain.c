/* bench/drain.c - read listings as fast as they come, and count their keys.
 *
 *   drain -t 5 127.0.0.1:3000 '/?list'
 *
 * Asks again and again for so many seconds (at least once) and prints one JSON
 * object per listing.  A listing that breaks off is an error, not a result. */
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

#define BUFFER_LEN (256 * 1024)
#define STALL_S    30 /* a server that sends nothing for so long is stuck */

/* ---- the JSON: {"next":"","keys":["a","b"]} --------------------------------- */

#define STRINGS_BESIDE_KEYS 3 /* "next", its value, "keys" */

struct counter {
    uint64_t strings;
    bool in_string, escaped;
    char last[2]; /* the last two bytes: "]}" when all is there */
};

static void count_keys(struct counter *c, const char *data, size_t len)
{
    bool in_string = c->in_string, escaped = c->escaped;

    if (len == 0) return;
    for (size_t i = 0; i < len; i++) {
        if (escaped) {
            escaped = false;
        } else if (data[i] == '"') {
            c->strings += in_string;
            in_string = !in_string;
        } else if (data[i] == '\\') {
            escaped = in_string;
        }
    }
    c->in_string = in_string;
    c->escaped = escaped;
    c->last[0] = len > 1 ? data[len - 2] : c->last[1];
    c->last[1] = data[len - 1];
}

/* ---- the body: chunked, or of a length, or up to the end -------------------- */

enum body_step {
    BODY_PLAIN,   /* left bytes to come                          */
    BODY_SIZE,    /* in a chunk's size line                      */
    BODY_CHUNK,   /* left bytes of the chunk to come             */
    BODY_CRLF,    /* the line end behind a chunk                 */
    BODY_TRAILER, /* behind the last chunk, up to an empty line  */
    BODY_DONE
};

struct body {
    enum body_step step;
    uint64_t left;
    unsigned line_len; /* of the trailer line under way */
    uint64_t bytes;
    struct counter keys;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static void framing_byte(struct body *b, char c)
{
    switch (b->step) {
    case BODY_SIZE:
        if (hex_digit(c) >= 0)
            b->left = b->left * 16 + (uint64_t)hex_digit(c);
        else if (c == '\n')
            b->step = b->left ? BODY_CHUNK : BODY_TRAILER;
        else if (c != '\r')
            tool_die("bad chunk size");
        return;
    case BODY_CRLF:
        if (c == '\n') b->step = BODY_SIZE;
        return;
    case BODY_TRAILER:
        if (c == '\n' && b->line_len == 0) b->step = BODY_DONE;
        b->line_len = c == '\n' ? 0 : b->line_len + (c != '\r');
        return;
    case BODY_PLAIN:
    case BODY_CHUNK: return;
    case BODY_DONE: tool_die("bytes behind the end of the listing");
    }
}

static void body_add(struct body *b, const char *data, size_t len)
{
    while (len > 0) {
        size_t n = 1;

        if (b->step == BODY_PLAIN || b->step == BODY_CHUNK) {
            n = b->left < len ? (size_t)b->left : len;
            count_keys(&b->keys, data, n);
            b->bytes += n;
            b->left -= n;
            if (b->left == 0) b->step = b->step == BODY_CHUNK ? BODY_CRLF : BODY_DONE;
        } else {
            framing_byte(b, *data);
        }
        data += n;
        len -= n;
    }
}

/* ---- one listing ------------------------------------------------------------ */

static size_t read_some(int fd, char *buffer, size_t room)
{
    ssize_t n = recv(fd, buffer, room, 0);

    if (n < 0) tool_die("read: %s", strerror(errno));
    if (n == 0) tool_die("the server closed the connection in the middle");
    return (size_t)n;
}

/* Reads up to the end of the head; what is in the buffer behind it is body. */
static size_t read_head(int fd, char *buffer, size_t *len, struct body *b)
{
    const char *end = NULL, *length;

    *len = 0;
    while (!end) {
        *len += read_some(fd, buffer + *len, BUFFER_LEN - *len);
        end = memmem(buffer, *len, "\r\n\r\n", 4);
        if (!end && *len == BUFFER_LEN) tool_die("the head has no end");
    }
    buffer[end + 2 - buffer] = '\0'; /* the head is text now */
    if (strncmp(buffer, "HTTP/1.1 200", 12) != 0) tool_die("the server said: %.20s", buffer);
    length = strcasestr(buffer, "\r\ncontent-length:");
    if (length) {
        b->step = BODY_PLAIN;
        b->left = strtoull(length + sizeof("\r\ncontent-length:") - 1, NULL, 10);
    } else {
        b->step = BODY_SIZE;
    }
    return (size_t)(end + 4 - buffer);
}

static void drain_once(int fd, const char *request, size_t request_len, char *buffer)
{
    struct body body = {0};
    uint64_t began = tool_now(), first;
    size_t len, head_len;
    double seconds;

    if (send(fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
        tool_die("write: %s", strerror(errno));
    head_len = read_head(fd, buffer, &len, &body);
    first = tool_now() - began;
    body_add(&body, buffer + head_len, len - head_len);
    while (body.step != BODY_DONE) {
        len = read_some(fd, buffer, BUFFER_LEN);
        body_add(&body, buffer, len);
    }
    seconds = tool_seconds(tool_now() - began);
    if (body.keys.strings < STRINGS_BESIDE_KEYS || memcmp(body.keys.last, "]}", 2) != 0)
        tool_die("the body is no listing");
    printf("{\"keys\":%llu,\"bytes\":%llu,\"seconds\":%.4f,\"first_byte_ms\":%.3f}\n",
           (unsigned long long)(body.keys.strings - STRINGS_BESIDE_KEYS),
           (unsigned long long)body.bytes, seconds, (double)first / 1e6);
}

int main(int argc, char **argv)
{
    struct timeval stall = {.tv_sec = STALL_S};
    struct sockaddr_in to;
    uint64_t seconds = 0, until;
    char request[2048], *buffer;
    int fd, opt, n;

    while ((opt = getopt(argc, argv, "t:")) != -1) {
        if (opt == 't')
            seconds = tool_number("-t", optarg, 3600);
        else
            optind = argc + 1;
    }
    if (optind != argc - 2) {
        fprintf(stderr, "usage: drain [-t SECONDS] ADDRESS:PORT '/PREFIX?list'\n");
        return 2;
    }
    to = tool_address(argv[optind]);
    n = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[optind + 1],
                 argv[optind]);
    if (n < 0 || (size_t)n >= sizeof(request)) tool_die("the path is too long");
    buffer = tool_alloc(1, BUFFER_LEN);
    fd = tool_connect(&to);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall)))
        tool_die("setsockopt: %s", strerror(errno));
    until = tool_now() + seconds * 1000000000u;
    do {
        drain_once(fd, request, (size_t)n, buffer);
    } while (tool_now() < until);
    close(fd);
    free(buffer);
    return 0;
}
