/* PUT and REPLACE: the body goes from the front to the store, and its pace back. */
#include "api/native.h"

#include "net/block.h"

static void on_ready(void *arg)
{
    struct mkv_request *r = arg;

    r->transport->read_body(r, true);
}

void native_stored(struct mkv_request *r, enum mkv_err err, const struct mkv_record *stored)
{
    char md5[2 * MKV_MD5_LEN + 1];
    const struct mkv_header h = {MKV_SLICE("Content-Md5"), {md5, 2 * MKV_MD5_LEN}};

    if (err) {
        native_error(r, err);
        return;
    }
    if (stored->has_md5) mkv_hex(md5, stored->md5, MKV_MD5_LEN);
    r->transport->reply(r, 201, &h, stored->has_md5, mkv_slice(NULL, 0));
}

static void on_stored(enum mkv_err err, const struct mkv_record *stored, void *arg)
{
    native_stored(arg, err, stored);
}

static void put_body(struct mkv_request *r, struct mkv_bytes piece)
{
    mkv_put_body(r->state, piece);
    if (mkv_put_full(r->state)) r->transport->read_body(r, false);
}

static void put_piped(struct mkv_request *r, struct mkv_pipe *pipe)
{
    mkv_put_piped(r->state, pipe);
    if (mkv_put_full(r->state)) r->transport->read_body(r, false);
}

static void put_body_end(struct mkv_request *r)
{
    mkv_put_end(r->state);
}

static void put_gone(struct mkv_request *r, const char *why)
{
    (void)why;
    mkv_put_cancel(r->state);
}

void native_put(struct mkv_request *r, const struct mkv_api *api)
{
    static const struct mkv_request_events events = {
        .body = put_body, .piped = put_piped, .body_end = put_body_end, .gone = put_gone};
    static const struct mkv_put_events put_events = {
        .ready = on_ready, .drained = on_ready, .done = on_stored};
    const struct mkv_put_options opt = {
        .key = r->key, .length = r->body_length, .replace = r->method == MKV_REPLACE};
    struct mkv_put *put;
    enum mkv_err err = mkv_put_start(&put, api->store, &opt, &put_events, r);

    if (err) {
        native_error(r, err);
        return;
    }
    r->state = put;
    r->events = &events;
}
