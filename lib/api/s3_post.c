/* PostObject: a browser's form, whose fields are what headers are elsewhere. */
#include "api/s3_bucket.h"
#include "api/s3_checksum.h"
#include "api/s3_form.h"
#include "api/s3_handlers.h"
#include "api/s3_meta.h"
#include "api/s3_post_policy.h"
#include "api/s3_server.h"
#include "api/s3_text.h"
#include "api/s3_wait.h"
#include "api/s3_write.h"
#include "mkv/uri.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>

enum post_step {
    POST_FIELDS, /* the fields come                                        */
    POST_OPEN,   /* the store opens its replicas; what has come is held    */
    POST_FILE,   /* the file goes to the store                             */
    POST_STORE,  /* all has been given: the store owes its answer          */
    POST_REFUSED /* the store takes back what it has, and owes its answer  */
};

struct post {
    enum post_step step;
    struct s3_form form;
    struct s3_post_limits limits;
    uint64_t size;           /* of the file so far                        */
    struct s3_sum sum;       /* of it; kind NONE: none is to be taken     */
    struct s3_checksum_value want, is; /* kind NONE: none was sent; none known */
    struct mkv_record fields;
    struct mkv_put *put;     /* owned until it calls back                 */
    struct s3_wait wait;
    struct evbuffer *held;   /* owned: bytes behind the fields            */
    int success;             /* the status of success                     */
    struct s3_write write;
};

static void go_on(struct s3_call *c);

static void clear_post(struct s3_call *c)
{
    struct post *p = c->state;

    s3_wait_cancel(&p->wait);
    s3_form_clear(&p->form);
    s3_sum_clear(&p->sum);
    mkv_record_clear(&p->fields);
    if (p->held) evbuffer_free(p->held);
    free(p);
}

/* ---- the answer -------------------------------------------------------------------------- */

static void add_location(const struct s3_call *c, struct s3_head *h)
{
    char url[3 * MKV_KEY_MAX];

    s3_head_add(h, MKV_SLICE("Location"),
                mkv_slice(url, mkv_percent_encode_path(c->object, url)));
}

static bool has_control(struct mkv_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] <= ' ' || text.data[i] == 0x7f) return true;
    return false;
}

static bool reply_redirect(struct s3_call *c, struct mkv_slice etag)
{
    struct post *p = c->state;
    struct mkv_slice to = s3_form_field(&p->form, MKV_SLICE("success_action_redirect"));
    char key[3 * S3_KEY_MAX], url[8192];
    struct s3_head h;
    int n;

    if (!to.len) to = s3_form_field(&p->form, MKV_SLICE("redirect"));
    if (!to.len || to.len > 4096 || has_control(to)) return false; /* as if none were there */
    n = snprintf(url, sizeof(url), "%.*s%cbucket=%.*s&key=%.*s&etag=%%22%.*s%%22", (int)to.len,
                 to.data, memchr(to.data, '?', to.len) ? '&' : '?', (int)c->bucket.len,
                 c->bucket.data, (int)s3_uri_encode(c->key, false, key), key, (int)etag.len,
                 etag.data);
    if (n < 0 || (size_t)n >= sizeof(url)) return false;
    s3_head_begin(&h, c);
    s3_head_add(&h, MKV_SLICE("Location"), mkv_slice(url, (size_t)n));
    s3_head_etag(&h, etag);
    s3_reply_head(c, 303, &h);
    return true;
}

static void reply_stored(struct s3_call *c, const struct mkv_record *stored)
{
    struct post *p = c->state;
    char text[S3_ETAG_MAX];
    struct mkv_slice etag = mkv_slice(text, s3_etag(stored, c->object, text));
    struct s3_head h;
    struct s3_xml x;

    if (reply_redirect(c, etag)) return;
    s3_head_begin(&h, c);
    s3_head_etag(&h, etag);
    add_location(c, &h);
    if (p->success != 201) {
        s3_reply_head(c, p->success, &h);
        return;
    }
    s3_xml_init(&x, 16 * 1024);
    s3_xml_root(&x, "PostResponse");
    s3_xml_text(&x, "Location", c->object);
    s3_xml_text(&x, "Bucket", c->bucket);
    s3_xml_text(&x, "Key", c->key);
    s3_xml_etag(&x, "ETag", etag);
    s3_xml_close(&x, "PostResponse");
    s3_reply_xml(c, 201, &h, &x);
}

/* ---- the store ----------------------------------------------------------------------------- */

static void on_ready(void *arg)
{
    struct s3_call *c = arg;

    ((struct post *)c->state)->step = POST_FILE;
    go_on(c);
}

static void on_drained(void *arg)
{
    go_on(arg);
}

static enum mkv_err on_verify(struct mkv_record *stored, void *arg)
{
    struct s3_call *c = arg;
    struct post *p = c->state;
    enum s3_error err = s3_bucket_for_write(c->api, c->bucket);

    if (err) return s3_write_refuse(&p->write, err, NULL);
    return p->is.kind ? s3_meta_set_checksum(stored, &p->is) : MKV_OK;
}

static void on_stored(enum mkv_err err, const struct mkv_record *stored, void *arg)
{
    struct s3_call *c = arg;
    struct post *p = c->state;

    p->put = NULL;
    if (p->write.err)
        s3_reply_error(c, p->write.err, p->write.why);
    else if (err)
        s3_reply_failure(c, err);
    else
        reply_stored(c, stored);
}

static void start_put(void *arg)
{
    static const struct mkv_put_events events = {
        .ready = on_ready, .drained = on_drained, .done = on_stored, .verify = on_verify};
    struct s3_call *c = arg;
    struct post *p = c->state;
    const struct mkv_put_options opt = {.key = c->object,
                                        .length = -1,
                                        .replace = true,
                                        .allow_empty = true,
                                        .md5 = true,
                                        .fields = &p->fields};
    enum mkv_err err = mkv_put_start(&p->put, c->api->store, &opt, &events, c);

    if (!err) return;
    p->put = NULL;
    if (err != MKV_EBUSY || !s3_wait(&p->wait, c->api, c->r, start_put, c))
        s3_reply_failure(c, err);
}

/* ---- the fields ---------------------------------------------------------------------------- */

/* The key of the form, "${filename}" being what the browser calls the file. */
static enum s3_error take_key(struct s3_call *c, struct post *p)
{
    static const char name[] = "${filename}";
    struct mkv_slice key = s3_form_field(&p->form, MKV_SLICE("key")), file = p->form.filename;
    char text[S3_KEY_MAX], *at;
    const char *found = key.len ? memmem(key.data, key.len, name, sizeof(name) - 1) : NULL;
    size_t before, after, len;

    if (!key.len) return S3_USER_KEY_MUST_BE_SPECIFIED;
    before = found ? (size_t)(found - key.data) : key.len;
    after = found ? key.len - before - (sizeof(name) - 1) : 0;
    if (!found) file.len = 0;
    if (before + file.len + after > sizeof(text)) return S3_KEY_TOO_LONG;
    at = text;
    memcpy(at, key.data, before);
    if (file.len) memcpy(at + before, file.data, file.len);
    if (after) memcpy(at + before + file.len, found + sizeof(name) - 1, after);
    len = before + file.len + after;
    if (!len) return S3_USER_KEY_MUST_BE_SPECIFIED;
    memcpy(c->text + 2 + c->bucket.len, text, len);
    c->text[1 + c->bucket.len] = '/';
    c->key = mkv_slice(c->text + 2 + c->bucket.len, len);
    c->object = mkv_slice(c->text, 2 + c->bucket.len + len);
    return S3_OK;
}

/* Who signed the form, and whether it is what he allowed. */
static enum s3_error check_form(struct s3_call *c, struct post *p, const char **why)
{
    struct mkv_header fields[S3_FORM_COUNT_MAX + 1];
    struct s3_signer signer = {s3_keys_secret_of, c->api->s3->keys, &c->api->s3->cache};
    struct s3_post_form form = {fields, 0, mkv_loop_wall(c->api->loop)};
    enum s3_error err;

    p->limits.max = UINT64_MAX;
    if (!c->api->s3->keys) return S3_OK;
    for (size_t i = 0; i < p->form.nfields; i++) {
        struct mkv_header field = p->form.fields[i];

        if (mkv_slice_ieq(field.name, MKV_SLICE("key"))) field.value = c->key;
        if (!mkv_slice_ieq(field.name, MKV_SLICE("bucket"))) {
            fields[form.nfields++] = field;
        } else if (!mkv_slice_eq(field.value, c->bucket)) {
            *why = "The form's bucket is not the one it was sent to.";
            return S3_INVALID_ARGUMENT;
        }
    }
    fields[form.nfields++] = (struct mkv_header){MKV_SLICE("bucket"), c->bucket};
    err = s3_post_check(&signer, &form, &c->signature, &p->limits);
    *why = c->signature.why;
    if (err) return err;
    c->checked = &c->signature;
    return s3_may(c, c->bucket, S3_WISH_WRITE) ? S3_OK : S3_ACCESS_DENIED;
}

static void read_success(struct post *p)
{
    struct mkv_slice status = s3_form_field(&p->form, MKV_SLICE("success_action_status"));

    p->success = 204; /* also where it is none of the three, as S3 has it */
    if (mkv_slice_eq(status, MKV_SLICE("200"))) p->success = 200;
    if (mkv_slice_eq(status, MKV_SLICE("201"))) p->success = 201;
}

static enum s3_error read_checksum(struct post *p, const struct mkv_header *headers, size_t n,
                                   const char **why)
{
    enum s3_checksum trailer, algorithm;
    enum s3_error err =
        s3_checksum_of_headers(headers, n, &p->want, &trailer, &algorithm, why);

    if (err) return err;
    return s3_sum_init(&p->sum, p->want.kind ? p->want.kind : algorithm) ? S3_INTERNAL_ERROR
                                                                         : S3_OK;
}

/* Fields that stand for headers: "acl" and "tagging" have other names there. */
static enum s3_error read_meta(struct post *p, const char **why)
{
    struct mkv_header headers[S3_FORM_COUNT_MAX];
    size_t n = p->form.nfields;
    enum s3_error err;

    for (size_t i = 0; i < n; i++) {
        headers[i] = p->form.fields[i];
        if (mkv_slice_ieq(headers[i].name, MKV_SLICE("acl")))
            headers[i].name = MKV_SLICE("x-amz-acl");
        if (mkv_slice_ieq(headers[i].name, MKV_SLICE("tagging")))
            headers[i].name = MKV_SLICE("x-amz-tagging");
    }
    err = s3_meta_of_headers(headers, n, &p->fields, why);
    return err ? err : read_checksum(p, headers, n, why);
}

static enum s3_error fields_are_whole(struct s3_call *c, const char **why)
{
    struct post *p = c->state;
    enum s3_error err = take_key(c, p);

    if (!err) err = check_form(c, p, why);
    if (!err) err = s3_bucket_may_write(c->api, c->bucket);
    read_success(p);
    return err ? err : read_meta(p, why);
}

/* ---- the body ------------------------------------------------------------------------------ */

static void body_is_bad(struct s3_call *c, enum s3_error err, const char *why)
{
    struct post *p = c->state;

    if (!p->put) {
        s3_reply_error(c, err, why);
        return;
    }
    p->step = POST_REFUSED;
    mkv_put_refuse(p->put, s3_write_refuse(&p->write, err, why));
    c->r->transport->read_body(c->r, false);
}

static enum s3_error give_file(struct post *p, struct mkv_slice payload, struct mkv_block *block)
{
    struct mkv_bytes piece = {(const uint8_t *)payload.data, payload.len, block};
    bool in_form = payload.data >= p->form.delimiter &&
                   payload.data < p->form.delimiter + sizeof(p->form.delimiter);

    if (in_form) piece.block = NULL;
    p->size += payload.len;
    if (p->size > p->limits.max) return S3_ENTITY_TOO_LARGE;
    if (p->sum.kind) s3_sum_add(&p->sum, payload.data, payload.len);
    mkv_put_body(p->put, piece);
    return S3_OK;
}

/* Uses up bytes, or stops at the beginning of the file.  Returns how many were
 * used; *err: what is wrong with them. */
static size_t feed(struct s3_call *c, struct mkv_bytes bytes, enum s3_error *err)
{
    struct post *p = c->state;
    size_t done = 0, used;

    *err = S3_OK;
    while (done < bytes.len && !*err) {
        struct mkv_slice payload;

        *err = s3_form_next(&p->form, (const char *)bytes.data + done, bytes.len - done, &used,
                            &payload);
        done += used;
        if (!*err && payload.len) *err = give_file(p, payload, bytes.block);
        if (p->step == POST_FIELDS && p->form.has_file) break;
    }
    return done;
}

static bool hold(struct post *p, struct mkv_bytes bytes)
{
    if (!p->held) p->held = evbuffer_new();
    return p->held && !mkv_bytes_append(p->held, bytes);
}

static void on_body(struct mkv_request *r, struct mkv_bytes bytes)
{
    struct s3_call *c = r->state;
    struct post *p = c->state;
    const char *why = NULL;
    enum s3_error err;
    size_t used;

    if (p->step == POST_REFUSED) return;
    used = feed(c, bytes, &err);
    if (err) why = p->form.why;
    if (!err && p->step == POST_FIELDS && p->form.has_file) {
        struct mkv_bytes rest = {bytes.data + used, bytes.len - used, bytes.block};

        err = fields_are_whole(c, &why);
        if (!err && !hold(p, rest)) err = S3_INTERNAL_ERROR;
        if (!err) {
            p->step = POST_OPEN;
            r->transport->read_body(r, false);
            start_put(c);
            return;
        }
    }
    if (err)
        body_is_bad(c, err, why);
    else if (p->step == POST_FILE && mkv_put_full(p->put))
        r->transport->read_body(r, false);
}

/* What was held first, then what is still to come. */
static void go_on(struct s3_call *c)
{
    struct post *p = c->state;
    size_t len = p->held ? evbuffer_get_length(p->held) : 0;
    enum s3_error err = S3_OK;

    if (p->step != POST_FILE) return;
    if (len) {
        const uint8_t *data = evbuffer_pullup(p->held, -1);

        if (!data) err = S3_INTERNAL_ERROR;
        if (data) feed(c, (struct mkv_bytes){data, len, NULL}, &err);
        evbuffer_drain(p->held, len);
    }
    if (err)
        body_is_bad(c, err, p->form.why);
    else
        c->r->transport->read_body(c->r, true);
}

static enum s3_error check_file(struct post *p)
{
    if (p->size < p->limits.min) return S3_ENTITY_TOO_SMALL;
    if (p->sum.kind) s3_sum_final(&p->sum, &p->is);
    return p->want.kind && !s3_checksum_equal(&p->want, &p->is) ? S3_BAD_DIGEST : S3_OK;
}

static void on_body_end(struct mkv_request *r)
{
    struct s3_call *c = r->state;
    struct post *p = c->state;
    enum s3_error err = p->step == POST_REFUSED ? S3_OK : s3_form_end(&p->form);

    if (!err && p->step == POST_FIELDS) err = S3_MALFORMED_POST_REQUEST;
    if (!err && p->step == POST_FILE) err = check_file(p);
    if (err) {
        body_is_bad(c, err, p->form.why);
    } else if (p->step == POST_FILE) {
        p->step = POST_STORE;
        mkv_put_end(p->put);
    }
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct post *p = c->state;

    (void)why;
    s3_wait_cancel(&p->wait);
    if (p->put) mkv_put_cancel(p->put);
    s3_call_end(c);
}

void s3_post_object(struct s3_call *c)
{
    static const struct mkv_request_events events = {
        .body = on_body, .body_end = on_body_end, .gone = on_gone};
    struct mkv_slice type = s3_header(c, "content-type");
    struct post *p = NULL;
    enum s3_error err = S3_METHOD_NOT_ALLOWED;

    if (c->bucket.len && !c->key.len && type.data) {
        p = calloc(1, sizeof(*p));
        err = S3_INTERNAL_ERROR;
        if (p) err = s3_form_init(&p->form, type);
    }
    if (err) {
        s3_reply_error(c, err, p ? p->form.why : NULL);
        free(p);
        return;
    }
    mkv_record_init(&p->fields);
    c->state = p;
    c->clear = clear_post;
    c->r->events = &events;
    c->r->transport->read_body(c->r, true);
}
