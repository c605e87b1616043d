#include "api/s3_slow.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>

static const char declaration[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

#define ERROR_MAX (32 * 1024) /* as s3_call.c: a path of 1,024 bytes, each escaped */

static void wait_for(struct s3_slow *s, unsigned ms)
{
    const struct timeval time = {ms / 1000, (ms % 1000) * 1000};

    event_add(&s->tick, &time);
}

/* False where there is no memory for it. */
static bool send_text(struct s3_call *c, struct mkv_slice bytes)
{
    struct evbuffer *out = evbuffer_new();
    bool ok = out && evbuffer_add(out, bytes.data, bytes.len) == 0;

    if (ok) c->r->transport->body(c->r, out);
    if (out) evbuffer_free(out);
    return ok;
}

/* Nothing may stand before the declaration: so it comes first, then white space. */
static void begin(struct s3_slow *s)
{
    struct s3_call *c = s->c;
    const struct mkv_header h[] = {
        {MKV_SLICE("Content-Type"),     MKV_SLICE("application/xml")},
        {MKV_SLICE("x-amz-request-id"), {c->id, S3_REQUEST_ID_LEN}  }
    };

    s->begun = true;
    c->r->transport->head(c->r, 200, h, 2, MKV_LENGTH_UNKNOWN);
    s->broken = !send_text(c, mkv_slice(declaration, sizeof(declaration) - 1));
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct s3_slow *s = arg;

    (void)fd;
    (void)what;
    if (!s->begun)
        begin(s);
    else
        (void)!send_text(s->c, MKV_SLICE(" ")); /* one more or less */
    wait_for(s, S3_SLOW_EACH_MS);
}

void s3_slow_start(struct s3_slow *s, struct s3_call *c, unsigned first_ms)
{
    if (s->c) return;
    s->c = c;
    event_assign(&s->tick, mkv_loop_base(c->api->loop), -1, 0, on_tick, s);
    wait_for(s, first_ms);
}

void s3_slow_stop(struct s3_slow *s)
{
    if (s->c) event_del(&s->tick);
    s->c = NULL;
}

void s3_slow_root(const struct s3_slow *s, struct s3_xml *x, const char *name)
{
    if (!s->begun) {
        s3_xml_root(x, name);
        return;
    }
    s3_xml_raw(x, MKV_SLICE("\n<"));
    s3_xml_raw(x, mkv_slice_of(name));
    s3_xml_raw(x, MKV_SLICE(" xmlns=\"" S3_XML_NAMESPACE "\">"));
}

/* The last of it, in the body. */
static void finish(struct s3_slow *s, struct s3_call *c, struct s3_xml *x)
{
    size_t len;
    char *body = s3_xml_take(x, &len);

    s3_slow_stop(s);
    if (body && !s->broken && send_text(c, mkv_slice(body, len)))
        c->r->transport->end(c->r);
    else
        c->r->transport->abort(c->r, "there was no memory for the answer");
    free(body);
    s3_call_end(c);
}

void s3_slow_reply(struct s3_slow *s, struct s3_call *c, struct s3_xml *x)
{
    if (s->begun) {
        finish(s, c, x);
        return;
    }
    s3_slow_stop(s);
    s3_reply_xml(c, 200, NULL, x);
}

void s3_slow_error(struct s3_slow *s, struct s3_call *c, enum s3_error err, const char *why)
{
    struct s3_xml x;

    if (!s->begun) {
        s3_slow_stop(s);
        s3_reply_error(c, err, why);
        return;
    }
    s3_xml_init(&x, ERROR_MAX);
    s3_xml_raw(&x, MKV_SLICE("\n<Error>"));
    s3_error_xml(&x, c, err, why);
    s3_xml_raw(&x, MKV_SLICE("</Error>"));
    finish(s, c, &x);
}

void s3_slow_failure(struct s3_slow *s, struct s3_call *c, enum mkv_err err)
{
    if (s->begun) {
        s3_slow_error(s, c, s3_error_of(err), mkv_strerror(err));
        return;
    }
    s3_slow_stop(s);
    s3_reply_failure(c, err);
}
