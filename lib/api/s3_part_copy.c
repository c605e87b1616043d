/* UploadPartCopy: a part from a value that is here already, through the master
 * into the spool. */
#include "api/s3_handlers.h"
#include "api/s3_meta.h"
#include "api/s3_part_file.h"
#include "api/s3_slow.h"
#include "api/s3_source.h"

#include <stdlib.h>

struct part_copy {
    struct s3_source source;
    struct s3_part_file file;
    struct mkv_digest *md5;  /* owned */
    struct s3_sum sum;       /* kind NONE: none is taken */
    struct s3_checksum_value sum_is;
    struct mkv_read *read;   /* owned until it calls back */
    uint64_t first, length;
    bool whole;              /* no range was given: the end is where the source ends */
    struct s3_slow slow;
    bool gone;               /* nobody waits any more */
};

static void clear_copy(struct s3_call *c)
{
    struct part_copy *p = c->state;

    s3_source_clear(&p->source);
    s3_part_clear(&p->file);
    mkv_digest_free(p->md5);
    s3_sum_clear(&p->sum);
    free(p);
}

/* ---- the answer ---------------------------------------------------------------------------- */

static void reply_copied(struct s3_call *c)
{
    struct part_copy *p = c->state;
    const struct mkv_record *what = &p->file.part.what;
    char etag[2 * MKV_MD5_LEN + 1], text[S3_CHECKSUM_TEXT_MAX];
    struct s3_xml x;

    mkv_hex(etag, what->md5, MKV_MD5_LEN);
    s3_xml_init(&x, 4096);
    s3_slow_root(&p->slow, &x, "CopyPartResult");
    s3_xml_date(&x, "LastModified", what->mtime);
    s3_xml_etag(&x, "ETag", mkv_slice_of(etag));
    if (p->sum_is.kind)
        s3_xml_text(&x, s3_checksum_element(p->sum_is.kind).data,
                    mkv_slice(text, s3_checksum_text(&p->sum_is, text)));
    s3_xml_close(&x, "CopyPartResult");
    s3_slow_reply(&p->slow, c, &x);
}

static void on_done(enum s3_error err, void *arg)
{
    struct s3_call *c = arg;
    struct part_copy *p = c->state;

    mkv_read_cancel(p->read);
    p->read = NULL;
    if (p->gone)
        s3_call_end(c);
    else if (err)
        s3_slow_error(&p->slow, c, err, NULL);
    else
        reply_copied(c);
}

static void fail(struct s3_call *c, enum s3_error err, const char *why)
{
    struct part_copy *p = c->state;

    mkv_read_cancel(p->read);
    p->read = NULL;
    s3_part_cancel(&p->file);
    s3_slow_error(&p->slow, c, err, why);
}

/* ---- the bytes ----------------------------------------------------------------------------- */

/* Only now is it known for sure how long the source is. */
static void on_opened(uint64_t size, void *arg)
{
    struct s3_call *c = arg;
    struct part_copy *p = c->state;

    if (p->whole && size > S3_PART_MAX)
        fail(c, S3_INVALID_REQUEST, "The source is larger than a part may be: copy a range of it.");
    else if (!p->whole && (p->first >= size || p->length > size - p->first))
        fail(c, S3_INVALID_RANGE, NULL);
}

static void on_body(struct mkv_bytes piece, void *arg)
{
    struct part_copy *p = ((struct s3_call *)arg)->state;

    mkv_digest_add(p->md5, piece.data, piece.len);
    if (p->sum.kind) s3_sum_add(&p->sum, piece.data, piece.len);
    s3_part_add(&p->file, piece);
    if (s3_part_full(&p->file)) mkv_read_pause(p->read, true);
}

static void on_drained(void *arg)
{
    struct part_copy *p = ((struct s3_call *)arg)->state;

    if (p->read) mkv_read_pause(p->read, false);
}

static void on_read(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct part_copy *p = c->state;
    uint8_t md5[MKV_MD5_LEN];
    enum s3_error failed;

    p->read = NULL;
    if (err) {
        fail(c, s3_error_of(err), mkv_strerror(err));
        return;
    }
    mkv_digest_final(p->md5, md5);
    p->md5 = NULL;
    if (p->sum.kind) s3_sum_final(&p->sum, &p->sum_is);
    failed = s3_part_end(&p->file, md5, &p->sum_is);
    if (failed) fail(c, failed, NULL);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct part_copy *p = c->state;

    (void)why;
    p->gone = true;
    s3_slow_stop(&p->slow);
    mkv_read_cancel(p->read);
    p->read = NULL;
    if (s3_part_cancel(&p->file)) s3_call_end(c);
}

/* ---- the beginning ------------------------------------------------------------------------- */

/* A source whose size the index does not know is judged when it is open. */
static enum s3_error read_range(struct s3_call *c, struct part_copy *p, const char **why)
{
    struct mkv_slice text = s3_header(c, "x-amz-copy-source-range");
    int64_t size = p->source.rec.size;
    struct s3_range range;
    enum s3_error err;

    p->whole = text.data == NULL;
    p->length = UINT64_MAX;
    if (p->whole) {
        if (size <= S3_PART_MAX) return S3_OK;
        *why = "The source is larger than a part may be: copy a range of it.";
        return S3_INVALID_REQUEST;
    }
    err = s3_copy_range(text, size < 0 ? INT64_MAX : (uint64_t)size, &range);
    if (err == S3_INVALID_ARGUMENT)
        *why = "x-amz-copy-source-range must be bytes=FIRST-LAST.";
    if (err) return err;
    p->first = range.first;
    p->length = range.last - range.first + 1;
    if (p->length <= S3_PART_MAX) return S3_OK;
    *why = "The range is larger than a part may be.";
    return S3_INVALID_REQUEST;
}

static enum s3_error prepare(struct s3_call *c, struct part_copy *p, const char **why)
{
    static const struct s3_part_events events = {.drained = on_drained, .done = on_done};
    enum s3_error err = s3_part_find(&p->file, c, why);

    if (!err) err = s3_source_find(&p->source, c, why);
    if (!err) err = read_range(c, p, why);
    if (err) return err;
    if (mkv_digest_new_md5(&p->md5) || s3_sum_init(&p->sum, p->file.sum.kind))
        return S3_INTERNAL_ERROR;
    return s3_part_open(&p->file, &events, c);
}

static void start_reading(struct s3_call *c)
{
    static const struct mkv_read_events events = {
        .opened = on_opened, .body = on_body, .done = on_read};
    struct part_copy *p = c->state;
    const struct mkv_read_options opt = {.key = p->source.object,
                                         .record = &p->source.rec,
                                         .first = p->first,
                                         .length = p->length};
    enum mkv_err err = mkv_store_read(&p->read, c->api->store, &opt, &events, c);

    if (err)
        fail(c, s3_error_of(err), NULL);
    else
        s3_slow_start(&p->slow, c, S3_SLOW_COPY_MS);
}

void s3_upload_part_copy(struct s3_call *c)
{
    static const struct mkv_request_events events = {.gone = on_gone};
    struct part_copy *p = calloc(1, sizeof(*p));
    enum s3_error err = S3_INTERNAL_ERROR;
    const char *why = NULL;

    if (p) {
        s3_source_init(&p->source);
        s3_part_init(&p->file);
        c->state = p;
        c->clear = clear_copy;
        err = prepare(c, p, &why);
    }
    if (err) {
        s3_reply_error(c, err, why);
        return;
    }
    c->r->events = &events;
    start_reading(c);
}
