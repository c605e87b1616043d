/* DeleteObject: what is not there is deleted already. */
#include "api/s3_conditions.h"
#include "api/s3_handlers.h"
#include "api/s3_meta.h"
#include "api/s3_wait.h"

#include <stdlib.h>

struct deletion {
    struct mkv_remove *remove; /* owned until it calls back; NULL: not yet */
    struct s3_wait wait;
    bool conditional;
};

static void clear_deletion(struct s3_call *c)
{
    struct deletion *d = c->state;

    s3_wait_cancel(&d->wait);
    free(d);
}

static void answer(struct s3_call *c, enum mkv_err err)
{
    if (err && err != MKV_ENOKEY)
        s3_reply_failure(c, err);
    else
        s3_reply_empty(c, 204);
}

static void on_removed(enum mkv_err err, void *arg)
{
    answer(arg, err);
}

/* An unlinked key is invisible here, and stays for the native DELETE. */
static enum mkv_err look(struct s3_call *c)
{
    struct mkv_record rec;
    enum mkv_err err;

    mkv_record_init(&rec);
    err = mkv_index_get(mkv_store_index(c->api->store), c->object, &rec, NULL, NULL);
    if (!err && rec.state != MKV_LIVE) err = MKV_ENOKEY;
    mkv_record_clear(&rec);
    return err;
}

static void start(void *arg)
{
    struct s3_call *c = arg;
    struct deletion *d = c->state;
    enum mkv_err err = look(c);

    if (!err) err = mkv_store_delete(c->api->store, c->object, &d->remove, on_removed, c);
    if (!err) return;
    d->remove = NULL;
    if (err == MKV_EBUSY && d->conditional)
        s3_reply_error(c, S3_CONDITIONAL_REQUEST_CONFLICT, NULL);
    else if (err != MKV_EBUSY || !s3_wait(&d->wait, c->api, c->r, start, c)) answer(c, err);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct deletion *d = c->state;

    (void)why;
    s3_wait_cancel(&d->wait);
    if (d->remove) mkv_remove_forget(d->remove); /* it is finished all the same */
    s3_call_end(c);
}

/* If-Match, which does not wait for a busy key, so that what it compares is still
 * there. */
static enum s3_error check_conditions(struct s3_call *c, const char **why)
{
    struct deletion *d = c->state;
    struct s3_conditions conditions;
    struct s3_described object;
    struct mkv_record rec;
    enum s3_error err;
    bool live;

    if (s3_header(c, "x-amz-if-match-size").data ||
        s3_header(c, "x-amz-if-match-last-modified-time").data) {
        *why = "Of the conditions of a deletion only If-Match is implemented.";
        return S3_NOT_IMPLEMENTED;
    }
    if (!s3_conditions_find(c->r->headers, c->r->nheaders, false, &conditions))
        return S3_INVALID_REQUEST;
    d->conditional = conditions.if_match.data != NULL;
    if (!d->conditional) return S3_OK;
    mkv_record_init(&rec);
    live = !mkv_index_get(mkv_store_index(c->api->store), c->object, &rec, NULL, NULL) &&
           rec.state == MKV_LIVE;
    if (live) s3_describe(&object, &rec, c->object);
    err = s3_conditions_write(&conditions, live ? &object.is : NULL);
    mkv_record_clear(&rec);
    return err;
}

void s3_delete_object(struct s3_call *c)
{
    static const struct mkv_request_events events = {.gone = on_gone};
    struct deletion *d = calloc(1, sizeof(*d));
    enum s3_error err = S3_INTERNAL_ERROR;
    const char *why = NULL;

    if (d) {
        c->state = d;
        c->clear = clear_deletion;
        err = check_conditions(c, &why);
    }
    if (err) {
        s3_reply_error(c, err, why);
        return;
    }
    c->r->events = &events;
    start(c);
}
