/* CopyObject: from the volumes to the volumes, through the master.  Onto itself
 * only the headers change, and no byte moves. */
#include "api/s3_bucket.h"
#include "api/s3_handlers.h"
#include "api/s3_meta.h"
#include "api/s3_slow.h"
#include "api/s3_source.h"
#include "api/s3_wait.h"
#include "api/s3_write.h"

#include <stdlib.h>

struct copy {
    struct s3_source source;
    struct mkv_record fields;        /* what the target gets */
    struct s3_sum sum;               /* kind NONE: none is to be taken */
    struct mkv_read *read;           /* owned until it calls back */
    struct mkv_put *put;             /* likewise */
    struct mkv_describe *describe;   /* likewise */
    struct s3_wait wait;
    struct s3_slow slow;             /* the answer, where it takes long */
    struct s3_write write;
};

static void clear_copy(struct s3_call *c)
{
    struct copy *p = c->state;

    s3_wait_cancel(&p->wait);
    s3_slow_stop(&p->slow);
    s3_source_clear(&p->source);
    mkv_record_clear(&p->fields);
    s3_sum_clear(&p->sum);
    free(p);
}

/* ---- the answer ---------------------------------------------------------------------- */

static void reply_copied(struct s3_call *c, const struct mkv_record *rec)
{
    struct copy *p = c->state;
    char etag[S3_ETAG_MAX];
    struct s3_xml x;

    s3_xml_init(&x, 4096);
    s3_slow_root(&p->slow, &x, "CopyObjectResult");
    s3_xml_date(&x, "LastModified", rec->mtime);
    s3_xml_etag(&x, "ETag", mkv_slice(etag, s3_etag(rec, c->object, etag)));
    s3_meta_checksum_xml(rec, &x);
    s3_xml_close(&x, "CopyObjectResult");
    s3_slow_reply(&p->slow, c, &x);
}

static void reply_failed(struct s3_call *c, enum mkv_err err)
{
    struct copy *p = c->state;

    if (p->write.err)
        s3_slow_error(&p->slow, c, p->write.err, p->write.why);
    else
        s3_slow_failure(&p->slow, c, err);
}

/* ---- onto itself ------------------------------------------------------------------------ */

static void on_described(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct copy *p = c->state;

    p->describe = NULL;
    if (err)
        reply_failed(c, err);
    else
        reply_copied(c, &p->source.rec);
}

/* What belongs to the bytes stays with them. */
static enum s3_error keep_of_bytes(struct copy *p)
{
    static const unsigned types[] = {MKV_FIELD_MULTIPART_ETAG, MKV_FIELD_CHECKSUMS,
                                     MKV_FIELD_PART_SIZES, MKV_FIELD_UPLOAD_ID};
    struct mkv_slice value;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (mkv_record_field(&p->source.rec, types[i], &value) &&
            mkv_record_set_field(&p->fields, types[i], value))
            return S3_INTERNAL_ERROR;
    return S3_OK;
}

/* Another value has come since the request began: waiting is of no use. */
static bool is_replaced(const struct s3_call *c)
{
    const struct mkv_record *seen = &((struct copy *)c->state)->source.rec;
    struct mkv_record now;
    bool replaced;

    mkv_record_init(&now);
    replaced = !mkv_index_get(mkv_store_index(c->api->store), c->object, &now, NULL, NULL) &&
               (now.state != MKV_LIVE || now.generation != seen->generation);
    mkv_record_clear(&now);
    return replaced;
}

static void describe(void *arg)
{
    struct s3_call *c = arg;
    struct copy *p = c->state;
    const struct mkv_describe_options opt = {.key = c->object,
                                             .expected = &p->source.rec,
                                             .fields = &p->fields,
                                             .mtime = mkv_loop_wall(c->api->loop)};
    enum mkv_err err =
        mkv_store_describe(c->api->store, &opt, &p->describe, on_described, c);

    if (!err) {
        p->source.rec.mtime = opt.mtime; /* as the answer will say */
        return;
    }
    p->describe = NULL;
    if (err != MKV_EBUSY || is_replaced(c) || !s3_wait(&p->wait, c->api, c->r, describe, c))
        reply_failed(c, err);
}

/* ---- from one key to another -------------------------------------------------------------- */

static void on_opened(uint64_t size, void *arg)
{
    (void)size, (void)arg; /* on_verify() compares what was stored */
}

static void on_body(struct mkv_bytes piece, void *arg)
{
    struct s3_call *c = arg;
    struct copy *p = c->state;

    if (p->sum.kind) s3_sum_add(&p->sum, piece.data, piece.len);
    mkv_put_body(p->put, piece);
    if (mkv_put_full(p->put)) mkv_read_pause(p->read, true);
}

static void on_read(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct copy *p = c->state;

    p->read = NULL;
    if (!p->put) return; /* it has failed, and the client has heard */
    if (err)
        mkv_put_refuse(p->put, s3_write_refuse(&p->write, s3_error_of(err), mkv_strerror(err)));
    else
        mkv_put_end(p->put);
}

static enum mkv_err changed(struct copy *p)
{
    return s3_write_refuse(&p->write, S3_SERVICE_UNAVAILABLE, S3_SOURCE_CHANGED);
}

static void on_ready(void *arg)
{
    static const struct mkv_read_events events = {
        .opened = on_opened, .body = on_body, .done = on_read};
    struct s3_call *c = arg;
    struct copy *p = c->state;
    const struct mkv_read_options opt = {
        .key = p->source.object, .record = &p->source.rec, .length = UINT64_MAX};
    enum mkv_err err;

    /* The target may have been busy for long.  Where there is an MD5, it will tell. */
    if (!p->source.rec.has_md5 && !s3_source_is_there(&p->source, c)) {
        mkv_put_refuse(p->put, changed(p));
        return;
    }
    err = mkv_store_read(&p->read, c->api->store, &opt, &events, c);
    if (err)
        mkv_put_refuse(p->put, s3_write_refuse(&p->write, s3_error_of(err), mkv_strerror(err)));
}

static void on_drained(void *arg)
{
    struct s3_call *c = arg;
    struct copy *p = c->state;

    if (p->read) mkv_read_pause(p->read, false);
}

static enum mkv_err on_allow(const struct mkv_record *old, void *arg)
{
    struct s3_call *c = arg;
    struct copy *p = c->state;

    return s3_write_allow(&p->write, c, old);
}

/* The bytes that came must be those that the index knows. */
static enum mkv_err on_verify(struct mkv_record *stored, void *arg)
{
    struct s3_call *c = arg;
    struct copy *p = c->state;
    const struct mkv_record *source = &p->source.rec;
    struct s3_checksum_value sum;
    enum s3_error err;

    if ((source->has_md5 && memcmp(stored->md5, source->md5, MKV_MD5_LEN) != 0) ||
        (source->size >= 0 && stored->size != source->size))
        return s3_source_is_there(&p->source, c)
                   ? s3_write_refuse(&p->write, S3_INTERNAL_ERROR,
                                     "A replica of the source is damaged.")
                   : changed(p);
    err = s3_bucket_for_write(c->api, c->bucket);
    if (err) return s3_write_refuse(&p->write, err, NULL);
    if (!p->sum.kind) return MKV_OK;
    s3_sum_final(&p->sum, &sum);
    return s3_meta_set_checksum(stored, &sum);
}

static void on_stored(enum mkv_err err, const struct mkv_record *stored, void *arg)
{
    struct s3_call *c = arg;
    struct copy *p = c->state;

    p->put = NULL;
    mkv_read_cancel(p->read);
    p->read = NULL;
    if (err)
        reply_failed(c, err);
    else
        reply_copied(c, stored);
}

static void start_put(void *arg)
{
    static const struct mkv_put_events events = {.ready = on_ready,
                                                 .drained = on_drained,
                                                 .done = on_stored,
                                                 .allow = on_allow,
                                                 .verify = on_verify};
    struct s3_call *c = arg;
    struct copy *p = c->state;
    const struct mkv_put_options opt = {.key = c->object,
                                        .length = p->source.rec.size,
                                        .replace = true,
                                        .allow_empty = true,
                                        .md5 = true,
                                        .fields = &p->fields};
    enum mkv_err err = mkv_put_start(&p->put, c->api->store, &opt, &events, c);

    if (!err) return;
    p->put = NULL;
    if (err == MKV_EBUSY && p->write.conditional)
        s3_slow_error(&p->slow, c, S3_CONDITIONAL_REQUEST_CONFLICT, NULL);
    else if (err != MKV_EBUSY || !s3_wait(&p->wait, c->api, c->r, start_put, c))
        reply_failed(c, err);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct copy *p = c->state;

    (void)why;
    s3_wait_cancel(&p->wait);
    s3_slow_stop(&p->slow);
    mkv_read_cancel(p->read);
    p->read = NULL;
    if (p->put) mkv_put_cancel(p->put);
    if (p->describe) mkv_describe_forget(p->describe); /* it is done all the same */
    s3_call_end(c);
}

/* ---- the beginning ---------------------------------------------------------------------------- */

/* The checksum: the source's own, if it is of the whole and of the kind that is
 * wanted; else it is taken on the way. */
static enum s3_error choose_sum(struct copy *p, enum s3_checksum wanted)
{
    struct s3_checksum_value has;
    bool known = s3_meta_checksum(&p->source.rec, &has);
    enum s3_checksum kind = wanted ? wanted : has.kind;

    if (!kind) return S3_OK; /* has.kind is NONE where none is known */
    if (known && has.kind == kind && !has.parts)
        return s3_meta_set_checksum(&p->fields, &has) ? S3_INTERNAL_ERROR : S3_OK;
    return s3_sum_init(&p->sum, kind) ? S3_INTERNAL_ERROR : S3_OK;
}

static enum s3_error read_algorithm(struct s3_call *c, enum s3_checksum *kind, const char **why)
{
    struct mkv_slice name = s3_header(c, "x-amz-checksum-algorithm");

    *kind = S3_CHECKSUM_NONE;
    if (!name.data || s3_checksum_by_name(name, kind)) return S3_OK;
    *why = "x-amz-checksum-algorithm is none that is known here.";
    return S3_INVALID_REQUEST;
}

static enum s3_error read_directive(struct s3_call *c, bool *replace, const char **why)
{
    struct mkv_slice text = s3_header(c, "x-amz-metadata-directive");

    *replace = mkv_slice_eq(text, MKV_SLICE("REPLACE"));
    if (!text.data || *replace || mkv_slice_eq(text, MKV_SLICE("COPY"))) return S3_OK;
    *why = "x-amz-metadata-directive is COPY or REPLACE.";
    return S3_INVALID_ARGUMENT;
}

/* What the target gets beside its bytes. */
static enum s3_error choose_fields(struct s3_call *c, bool replace, const char **why)
{
    struct copy *p = c->state;
    enum s3_error err;

    if (replace) return s3_meta_of_headers(c->r->headers, c->r->nheaders, &p->fields, why);
    err = s3_meta_check_headers(c->r->headers, c->r->nheaders, why);
    if (!err) err = s3_meta_copy(&p->source.rec, &p->fields);
    if (!err && mkv_record_set_field(&p->fields, MKV_FIELD_STORAGE_CLASS,
                                     s3_header(c, "x-amz-storage-class")))
        err = S3_INTERNAL_ERROR;
    return err;
}

/* *onto_itself: no byte has to move. */
static enum s3_error choose_way(struct s3_call *c, bool replace, enum s3_checksum wanted,
                                bool *onto_itself, const char **why)
{
    struct copy *p = c->state;
    bool same = mkv_slice_eq(p->source.object, c->object);

    if (same && !replace && !wanted && !s3_header(c, "x-amz-storage-class").data) {
        *why = "An object can only be copied onto itself with other metadata: "
               "x-amz-metadata-directive: REPLACE.";
        return S3_INVALID_REQUEST;
    }
    *onto_itself = same && !wanted; /* for another checksum its bytes have to be read */
    if (!*onto_itself) return choose_sum(p, wanted);
    return s3_write_allow(&p->write, c, &p->source.rec) ? p->write.err : keep_of_bytes(p);
}

static enum s3_error prepare(struct s3_call *c, bool *onto_itself, const char **why)
{
    struct copy *p = c->state;
    enum s3_checksum wanted;
    bool replace;
    enum s3_error err = read_directive(c, &replace, why);

    if (!err) err = read_algorithm(c, &wanted, why);
    if (!err) err = s3_write_conditions(&p->write, c->r->headers, c->r->nheaders);
    if (!err) err = s3_source_find(&p->source, c, why);
    if (!err) err = s3_bucket_may_write(c->api, c->bucket);
    if (!err) err = choose_fields(c, replace, why);
    if (err) return err;
    return choose_way(c, replace, wanted, onto_itself, why);
}

void s3_copy_object(struct s3_call *c)
{
    static const struct mkv_request_events events = {.gone = on_gone};
    struct copy *p = calloc(1, sizeof(*p));
    enum s3_error err = S3_INTERNAL_ERROR;
    bool onto_itself = false;
    const char *why = NULL;

    if (p) {
        s3_source_init(&p->source);
        mkv_record_init(&p->fields);
        c->state = p;
        c->clear = clear_copy;
        err = prepare(c, &onto_itself, &why);
    }
    if (err) {
        s3_reply_error(c, err, why);
        return;
    }
    c->r->events = &events;
    s3_slow_start(&p->slow, c, S3_SLOW_COPY_MS);
    if (onto_itself)
        describe(c);
    else
        start_put(c);
}
