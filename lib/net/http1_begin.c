/* lib/net/http1_begin.c - from a parsed head to a request in a handler's hands. */
#include "mkv/log.h"
#include "mkv/uri.h"
#include "net/http1_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t conn_clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static enum mkv_method find_method(struct mkv_slice name)
{
    for (int m = 0; m < MKV_METHOD_OTHER; m++)
        if (mkv_slice_eq(name, mkv_slice_of(mkv_method_name((enum mkv_method)m))))
            return (enum mkv_method)m;
    return MKV_METHOD_OTHER;
}

static size_t scheme_length(struct mkv_slice target)
{
    static const struct mkv_slice schemes[] = {
        {"http://",  7},
        {"https://", 8}
    };

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (target.len > schemes[i].len &&
            mkv_slice_ieq(mkv_slice(target.data, schemes[i].len), schemes[i]))
            return schemes[i].len;
    return 0;
}

/* The path and query of a target: "/a?b", "http://host/a?b", or "*". */
static bool split_target(struct mkv_request *r)
{
    struct mkv_slice t = r->target;
    const char *mark;

    if (t.data[0] != '/' && !(t.len == 1 && t.data[0] == '*')) {
        size_t scheme = scheme_length(t), at = scheme;

        while (at < t.len && t.data[at] != '/' && t.data[at] != '?')
            at++;
        if (scheme == 0 || at == scheme) return false;
        t = mkv_slice(t.data + at, t.len - at);
    }
    mark = t.len ? memchr(t.data, '?', t.len) : NULL;
    r->has_query = mark != NULL;
    r->query = mkv_slice(NULL, 0);
    if (mark) {
        r->query = mkv_slice(mark + 1, t.len - (size_t)(mark + 1 - t.data));
        t.len = (size_t)(mark - t.data);
    }
    r->path = t.len ? t : MKV_SLICE("/");
    return true;
}

static bool decode_key(struct http1_server *s, struct mkv_request *r)
{
    r->key = r->path;
    if (!memchr(r->path.data, '%', r->path.len)) return true;
    r->key.data = s->key;
    return mkv_percent_decode(r->path, false, s->key, &r->key.len);
}

static void remember_target(struct conn *c)
{
    char text[512];
    size_t n = c->r.method_name.len + 1 + sizeof(text);

    mkv_log_bytes(text, sizeof(text), c->r.target.data, c->r.target.len);
    c->target = malloc(n);
    if (c->target)
        snprintf(c->target, n, "%.*s %s", (int)c->r.method_name.len, c->r.method_name.data, text);
}

void begin_request(struct conn *c)
{
    struct http1_server *s = c->server;
    const struct http1_head *head = &s->head;
    struct mkv_request *r = &c->r;

    c->step = CONN_REQUEST;
    c->answer = ANSWER_NONE;
    c->body = BODY_UNREAD;
    c->chunked = head->framing == HTTP1_CHUNKED;
    c->body_left = head->framing == HTTP1_LENGTH ? head->length : 0;
    c->expects = head->expects_continue;
    c->keep = head->keep_alive;
    c->minor = head->minor;
    c->started_us = conn_clock_us();

    r->id = ++s->last_id;
    r->method = find_method(head->method);
    r->method_name = head->method;
    r->target = head->target;
    r->headers = head->headers;
    r->nheaders = head->nheaders;
    r->has_body = head->framing != HTTP1_NO_BODY;
    r->body_length = c->chunked ? MKV_LENGTH_UNKNOWN : (int64_t)c->body_left;
    r->expects_continue = c->expects;
    r->trailers = NULL;
    r->ntrailers = 0;
    r->transport = &http1_transport;
    r->events = NULL;
    r->state = NULL;
    if (mkv_log_enabled(MKV_LOG_INFO)) remember_target(c);
    if (!split_target(r))
        reply_refuse(c, 400, "the request target is neither a path nor an http URL");
    else if (!decode_key(s, r))
        reply_refuse(c, 400, "a % in the path is not followed by two hex digits");
    else
        s->opt.handler(r, s->opt.handler_arg);
}
