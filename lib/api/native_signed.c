/* REPLACE (and PUT, where it is native) under -keys: the signature covers the
 * body, too, so the body is checked on its way to the store. */
#include "api/native.h"

#include "api/s3.h"
#include "api/s3_input.h"
#include "net/block.h"

#include <stdio.h>
#include <stdlib.h>

struct signed_put {
    struct mkv_request *r;
    const struct mkv_api *api;
    struct s3_signature signature;
    struct s3_input input;
    struct mkv_put *put; /* owned until it calls back */
    enum s3_error err;   /* what is wrong with it; S3_OK until then */
    char key[MKV_KEY_MAX];
    size_t key_len;
    struct mkv_retired retired;
};

static void destroy(void *arg)
{
    struct signed_put *s = arg;

    s3_input_clear(&s->input);
    free(s);
}

static void end(struct signed_put *s)
{
    mkv_loop_retire(s->api->loop, &s->retired, destroy, s);
}

static void reply_refused(struct mkv_request *r, enum s3_error err, const char *why)
{
    static const struct mkv_header text = {{"Content-Type", 12}, {"text/plain", 10}};
    char line[256];
    int n = snprintf(line, sizeof(line), "%s: %s\n", s3_error_code(err),
                     why ? why : s3_error_message(err));

    r->transport->reply(r, s3_error_http(err), &text, 1, mkv_slice(line, (size_t)n));
}

static void on_ready(void *arg)
{
    struct signed_put *s = arg;

    s->r->transport->read_body(s->r, true);
}

static enum mkv_err on_verify(struct mkv_record *stored, void *arg)
{
    struct signed_put *s = arg;

    if (s->input.check_md5 && memcmp(stored->md5, s->input.md5_want, MKV_MD5_LEN) != 0)
        s->err = S3_BAD_DIGEST;
    else
        s->err = s3_native_bucket(s->api, mkv_slice(s->key, s->key_len));
    return s->err ? MKV_ECLIENT : MKV_OK;
}

static void on_stored(enum mkv_err err, const struct mkv_record *stored, void *arg)
{
    struct signed_put *s = arg;

    s->put = NULL;
    if (s->err)
        reply_refused(s->r, s->err, s->input.why);
    else
        native_stored(s->r, err, stored);
    end(s);
}

static void sink(struct mkv_bytes piece, void *arg)
{
    mkv_put_body(((struct signed_put *)arg)->put, piece);
}

static void body_is_bad(struct signed_put *s, enum s3_error err)
{
    s->err = err;
    mkv_put_refuse(s->put, MKV_ECLIENT);
    s->r->transport->read_body(s->r, false);
}

static void on_body(struct mkv_request *r, struct mkv_bytes piece)
{
    struct signed_put *s = r->state;
    enum s3_error err = s->err ? S3_OK : s3_input_add(&s->input, piece, sink, s);

    if (err)
        body_is_bad(s, err);
    else if (mkv_put_full(s->put))
        r->transport->read_body(r, false);
}

static void on_body_end(struct mkv_request *r)
{
    struct signed_put *s = r->state;
    enum s3_error err = s->err ? S3_OK : s3_input_end(&s->input, r->trailers, r->ntrailers);

    if (err)
        body_is_bad(s, err);
    else
        mkv_put_end(s->put);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct signed_put *s = r->state;

    (void)why;
    mkv_put_cancel(s->put);
    end(s);
}

void native_put_signed(struct mkv_request *r, const struct mkv_api *api,
                       const struct s3_signature *signature)
{
    static const struct mkv_request_events events = {
        .body = on_body, .body_end = on_body_end, .gone = on_gone};
    static const struct mkv_put_events put_events = {
        .ready = on_ready, .drained = on_ready, .done = on_stored, .verify = on_verify};
    struct signed_put *s = calloc(1, sizeof(*s));
    struct mkv_put_options opt = {.key = r->key, .replace = r->method == MKV_REPLACE};
    enum s3_error bad;
    enum mkv_err err;

    if (!s) {
        native_error(r, MKV_ENOMEM);
        return;
    }
    s->r = r;
    s->api = api;
    s->signature = *signature;
    bad = s3_input_init(&s->input, r, &s->signature, &s->signature, S3_INPUT_MD5_ELSEWHERE);
    if (bad) {
        reply_refused(r, bad, s->input.why);
        free(s);
        return;
    }
    opt.length = s->input.length;
    opt.md5 = s->input.check_md5;
    err = mkv_put_start(&s->put, api->store, &opt, &put_events, s); /* not with too long a key */
    if (err) {
        native_error(r, err);
        destroy(s);
        return;
    }
    memcpy(s->key, r->key.data, r->key.len);
    s->key_len = r->key.len;
    r->state = s;
    r->events = &events;
}
