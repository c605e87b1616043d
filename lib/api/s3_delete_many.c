/* DeleteObjects: up to 1,000 keys, some of them at a time; each has a result of
 * its own. */
#include "api/s3_body.h"
#include "api/s3_handlers.h"
#include "api/s3_input.h"
#include "api/s3_meta.h"
#include "api/s3_slow.h"
#include "api/s3_wait.h"

#include <stdlib.h>

#define AT_ONCE        32                 /* deletions under way */
#define RESULT_XML_MAX (16 * 1024 * 1024) /* every byte of every key escaped */

struct outcome {
    enum s3_error err; /* S3_OK: it is gone, or never was */
    const char *why;   /* static text; NULL: the error's own message */
};

/* One key under way. */
struct deletion {
    struct s3_call *call;      /* NULL: free for the next key */
    size_t i;                  /* which of the keys */
    struct mkv_remove *remove; /* owned until it calls back; NULL: not yet */
    struct s3_wait wait;       /* while another request writes the key */
};

struct many {
    struct s3_input input;
    struct s3_body *body;         /* owned */
    enum s3_error err;            /* of the body: the first; S3_OK until then */
    struct s3_body_result wanted; /* borrowed from body; n is 0 until it was read */
    struct outcome *outcomes;     /* owned: one for each key */
    size_t next;                  /* the key to begin with */
    unsigned under_way;
    struct deletion slots[AT_ONCE];
    struct s3_slow slow;
};

static void clear_many(struct s3_call *c)
{
    struct many *m = c->state;

    s3_input_clear(&m->input);
    s3_body_close(m->body);
    free(m->outcomes);
    free(m);
}

/* ---- the answer ------------------------------------------------------------------- */

static void put_outcome(struct s3_xml *x, const struct s3_body_object *o, const struct outcome *is)
{
    const char *element = is->err ? "Error" : "Deleted";

    s3_xml_open(x, element);
    s3_xml_text(x, "Key", o->key);
    if (o->version.len) s3_xml_text(x, "VersionId", o->version);
    if (is->err) {
        s3_xml_text(x, "Code", mkv_slice_of(s3_error_code(is->err)));
        s3_xml_text(x, "Message", mkv_slice_of(is->why ? is->why : s3_error_message(is->err)));
    }
    s3_xml_close(x, element);
}

static void answer(struct s3_call *c)
{
    struct many *m = c->state;
    struct s3_xml x;

    s3_xml_init(&x, RESULT_XML_MAX);
    s3_slow_root(&m->slow, &x, "DeleteResult");
    for (size_t i = 0; i < m->wanted.n; i++)
        if (m->outcomes[i].err || !m->wanted.quiet)
            put_outcome(&x, &m->wanted.objects[i], &m->outcomes[i]);
    s3_xml_close(&x, "DeleteResult");
    s3_slow_reply(&m->slow, c, &x);
}

/* ---- one key -------------------------------------------------------------------------- */

static void go_on(struct s3_call *c);

static void settle(struct deletion *d, enum s3_error err, const char *why)
{
    struct many *m = d->call->state;

    m->outcomes[d->i] = (struct outcome){err, why};
    m->under_way--;
    d->call = NULL;
}

static void settle_as(struct deletion *d, enum mkv_err err)
{
    if (err == MKV_ENOKEY) err = MKV_OK; /* what is not there is deleted already */
    settle(d, s3_error_of(err), s3_failure_text(err));
}

/* Whether that is the object to delete: S3_OK, S3_NO_SUCH_KEY, ... */
static enum s3_error look(struct s3_call *c, struct mkv_slice object, struct mkv_slice etag)
{
    struct mkv_record rec;
    char is[S3_ETAG_MAX];
    enum s3_error err;

    mkv_record_init(&rec);
    err = s3_error_of(mkv_index_get(mkv_store_index(c->api->store), object, &rec, NULL, NULL));
    if (!err && rec.state != MKV_LIVE) err = S3_NO_SUCH_KEY; /* unlinked: invisible here */
    if (!err && etag.data && !mkv_slice_eq(etag, MKV_SLICE("*")) &&
        !mkv_slice_eq(etag, mkv_slice(is, s3_etag(&rec, object, is))))
        err = S3_PRECONDITION_FAILED;
    mkv_record_clear(&rec);
    return err;
}

static void on_removed(enum mkv_err err, void *arg)
{
    struct deletion *d = arg;
    struct s3_call *c = d->call;

    d->remove = NULL;
    settle_as(d, err);
    go_on(c);
}

static void try_again(void *arg);

/* Settles it, or waits for the store. */
static void try_to_delete(struct deletion *d)
{
    struct s3_call *c = d->call;
    struct many *m = c->state;
    const struct s3_body_object *o = &m->wanted.objects[d->i];
    char object[MKV_KEY_MAX];
    enum s3_error err = S3_OK;
    enum mkv_err failed;
    size_t len;

    if (o->version.len && !mkv_slice_eq(o->version, MKV_SLICE("null")))
        err = S3_NO_SUCH_VERSION;
    else if (o->key.len > S3_KEY_MAX || !s3_object_key(c->bucket, o->key, object, &len))
        err = S3_KEY_TOO_LONG;
    else
        err = look(c, mkv_slice(object, len), o->etag);
    if (err) {
        bool fine = err == S3_NO_SUCH_KEY && !o->etag.data;

        settle(d, fine ? S3_OK : err, NULL);
        return;
    }
    failed = mkv_store_delete(c->api->store, mkv_slice(object, len), &d->remove, on_removed, d);
    if (!failed) return;
    d->remove = NULL;
    if (failed != MKV_EBUSY || !s3_wait(&d->wait, c->api, c->r, try_again, d)) settle_as(d, failed);
}

static void try_again(void *arg)
{
    struct deletion *d = arg;
    struct s3_call *c = d->call;

    try_to_delete(d);
    go_on(c);
}

/* ---- all of them ------------------------------------------------------------------------ */

static void begin_next(struct s3_call *c)
{
    struct many *m = c->state;
    struct deletion *d = m->slots;

    while (d->call)
        d++; /* there is a free one: fewer than AT_ONCE are under way */
    memset(d, 0, sizeof(*d));
    d->call = c;
    d->i = m->next++;
    m->under_way++;
    try_to_delete(d);
}

static void go_on(struct s3_call *c)
{
    struct many *m = c->state;

    while (m->under_way < AT_ONCE && m->next < m->wanted.n)
        begin_next(c);
    if (!m->under_way) answer(c);
}

static void begin(struct s3_call *c)
{
    struct many *m = c->state;

    m->outcomes = calloc(m->wanted.n, sizeof(*m->outcomes));
    if (!m->outcomes) {
        s3_reply_error(c, S3_INTERNAL_ERROR, NULL);
        return;
    }
    s3_slow_start(&m->slow, c, S3_SLOW_FIRST_MS);
    go_on(c);
}

/* ---- the body --------------------------------------------------------------------------- */

static void sink(struct mkv_bytes piece, void *arg)
{
    struct many *m = arg;

    if (!m->err) m->err = s3_body_add(m->body, (const char *)piece.data, piece.len);
}

static void on_body(struct mkv_request *r, struct mkv_bytes piece)
{
    struct s3_call *c = r->state;
    struct many *m = c->state;
    enum s3_error err = s3_input_add(&m->input, piece, sink, m);

    if (!err) err = m->err;
    if (err) s3_reply_error(c, err, m->input.why);
}

static void on_body_end(struct mkv_request *r)
{
    struct s3_call *c = r->state;
    struct many *m = c->state;
    enum s3_error err = s3_input_end(&m->input, r->trailers, r->ntrailers);

    if (!err && !m->input.received) err = S3_MISSING_REQUEST_BODY;
    if (!err) err = s3_body_end(m->body, &m->wanted);
    if (err)
        s3_reply_error(c, err, m->input.why);
    else
        begin(c);
}

/* What is under way is finished all the same; the rest is not begun. */
static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct many *m = c->state;

    (void)why;
    s3_slow_stop(&m->slow);
    for (size_t i = 0; i < AT_ONCE; i++) {
        if (m->slots[i].remove) mkv_remove_forget(m->slots[i].remove);
        s3_wait_cancel(&m->slots[i].wait);
    }
    s3_call_end(c);
}

void s3_delete_objects(struct s3_call *c)
{
    static const struct mkv_request_events events = {
        .body = on_body, .body_end = on_body_end, .gone = on_gone};
    struct many *m = calloc(1, sizeof(*m));
    enum s3_error err = S3_INTERNAL_ERROR;

    if (m) {
        c->state = m;
        c->clear = clear_many;
        err = s3_body_open(&m->body, S3_BODY_DELETE);
    }
    if (!err) err = s3_input_init(&m->input, c->r, &c->signature, c->checked, S3_INPUT_MD5_CHECKED);
    if (err) {
        s3_reply_error(c, err, m ? m->input.why : NULL);
        return;
    }
    c->r->events = &events;
    c->r->transport->read_body(c->r, true);
}
