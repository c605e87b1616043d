#include "server/admin.h"

#include "mkv/log.h"
#include "server/report.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUEST_MAX 8192 /* bytes of headers; bodies are not taken at all */
#define TIMEOUT_S   10

struct admin {
    struct evhttp *http;               /* owned */
    struct mkv_store *store;           /* borrowed */
    const struct mkv_metrics *metrics; /* borrowed */
};

static void send_text(struct evhttp_request *req, int status, const char *type,
                      struct evbuffer *text)
{
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
    evhttp_send_reply(req, status, status == 200 ? "OK" : "Service Unavailable", text);
}

static void on_metrics(struct evhttp_request *req, void *arg)
{
    struct admin *a = arg;
    struct evbuffer *text = evbuffer_new();

    if (!text) {
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
        return;
    }
    report_metrics(text, a->store, a->metrics);
    send_text(req, 200, "text/plain; version=0.0.4", text);
    evbuffer_free(text);
}

static void on_healthz(struct evhttp_request *req, void *arg)
{
    struct admin *a = arg;
    struct evbuffer *text = evbuffer_new();
    bool healthy = false;

    if (text && report_health(text, a->store, &healthy))
        send_text(req, healthy ? 200 : 503, "application/json", text);
    else
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
    if (text) evbuffer_free(text);
}

/* "ADDR:PORT", "[ADDR]:PORT", ":PORT", "PORT".  False where there is no port. */
static bool split_address(const char *text, char *host, size_t size, uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    struct mkv_slice name = mkv_slice(text, colon ? (size_t)(colon - text) : 0);
    unsigned long long n;

    if (!mkv_slice_number(mkv_slice_of(colon ? colon + 1 : text), UINT16_MAX, &n)) return false;
    if (name.len >= 2 && name.data[0] == '[' && name.data[name.len - 1] == ']')
        name = mkv_slice(name.data + 1, name.len - 2);
    if (name.len == 0 || mkv_slice_eq(name, MKV_SLICE("localhost"))) name = MKV_SLICE("127.0.0.1");
    if (name.len >= size) return false;
    memcpy(host, name.data, name.len);
    host[name.len] = '\0';
    *port = (uint16_t)n;
    return true;
}

enum mkv_err admin_open(struct admin **out, struct mkv_loop *loop, struct mkv_store *store,
                        const struct mkv_metrics *metrics, const char *address, char *why,
                        size_t why_size)
{
    struct admin *a = calloc(1, sizeof(*a));
    enum mkv_err err = MKV_ENOMEM;
    char host[64];
    uint16_t port;

    if (!a) goto out;
    a->store = store;
    a->metrics = metrics;
    a->http = evhttp_new(mkv_loop_base(loop));
    if (!a->http) goto out;
    evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(a->http, REQUEST_MAX);
    evhttp_set_max_body_size(a->http, 0);
    evhttp_set_timeout(a->http, TIMEOUT_S);
    evhttp_set_cb(a->http, "/metrics", on_metrics, a);
    evhttp_set_cb(a->http, "/healthz", on_healthz, a);
    err = MKV_EIO;
    if (!split_address(address, host, sizeof(host), &port)) {
        snprintf(why, why_size, "-admin %s: give ADDR:PORT, such as 127.0.0.1:3010", address);
        goto out;
    }
    if (!evhttp_bind_socket_with_handle(a->http, host, port)) {
        snprintf(why, why_size, "-admin %s: can not listen there: is the port in use?", address);
        goto out;
    }
    *out = a;
    a = NULL;
    err = MKV_OK;
out:
    admin_close(a);
    return err;
}

void admin_close(struct admin *a)
{
    if (!a) return;
    if (a->http) evhttp_free(a->http);
    free(a);
}
