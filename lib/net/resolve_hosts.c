/* lib/net/resolve_hosts.c - what needs no DNS: numeric addresses, the hosts file. */
#include "net/resolve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

bool resolve_numeric(const char *text, uint16_t port, union resolve_address *out)
{
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        return true;
    }
    return false;
}

/* The next line of *rest without its comment; false at the end. */
static bool next_line(struct mkv_slice *rest, struct mkv_slice *line)
{
    const char *end, *comment;

    if (rest->len == 0) return false;
    end = memchr(rest->data, '\n', rest->len);
    *line = mkv_slice(rest->data, end ? (size_t)(end - rest->data) : rest->len);
    rest->data += line->len + (end != NULL);
    rest->len -= line->len + (end != NULL);
    comment = memchr(line->data, '#', line->len);
    if (comment) line->len = (size_t)(comment - line->data);
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of *rest; empty at the end. */
static struct mkv_slice next_word(struct mkv_slice *rest)
{
    size_t begin = 0, end;

    while (begin < rest->len && is_blank(rest->data[begin]))
        begin++;
    for (end = begin; end < rest->len && !is_blank(rest->data[end]);)
        end++;

    struct mkv_slice word = mkv_slice(rest->data + begin, end - begin);
    rest->data += end;
    rest->len -= end;
    return word;
}

unsigned resolve_hosts(struct mkv_slice file, const char *host, uint16_t port,
                       union resolve_address *out, unsigned max)
{
    struct mkv_slice wanted = mkv_slice_of(host), line, name;
    unsigned n = 0;

    while (n < max && next_line(&file, &line)) {
        struct mkv_slice address = next_word(&line);
        char text[INET6_ADDRSTRLEN];
        bool ours = false;

        while (!ours && (name = next_word(&line)).len)
            ours = mkv_slice_ieq(name, wanted);
        if (!ours || address.len >= sizeof(text)) continue;
        memcpy(text, address.data, address.len);
        text[address.len] = '\0';
        if (resolve_numeric(text, port, &out[n])) n++;
    }
    return n;
}
