/* ListObjects, its second version, and ListObjectVersions: one page of a bucket.
 *
 * A page costs a seek and one step for each key that it shows, and one more seek
 * for each common prefix: how many keys lie before, behind or within does not
 * matter. */
#include "api/s3_handlers.h"
#include "api/s3_list_query.h"
#include "api/s3_meta.h"
#include "api/s3_scan.h"

#include <stdlib.h>

/* The longest page: every byte of every key escaped, owners of the longest name. */
#define LIST_XML_MAX (16 * 1024 * 1024)

struct list {
    struct s3_list_query query;
    struct s3_scan scan;
    struct s3_xml contents, prefixes; /* what the page shows */
    size_t before;                    /* bytes of "/bucket/" */
    unsigned count;                   /* keys and common prefixes shown */
    char last[MKV_KEY_MAX];           /* of them: where the next page goes on */
    size_t last_len;
    bool last_is_key;
    bool truncated;   /* one more follows */
    enum mkv_err err; /* a record that can not be read */
};

static void clear_list(struct s3_call *c)
{
    struct list *l = c->state;

    s3_scan_cancel(&l->scan);
    s3_xml_clear(&l->contents);
    s3_xml_clear(&l->prefixes);
    s3_list_query_clear(&l->query);
    free(l);
}

/* ---- one entry ----------------------------------------------------------------------- */

static void put_checksum(struct s3_xml *x, const struct mkv_record *rec)
{
    struct s3_checksum_value sum;

    if (!s3_meta_checksum(rec, &sum)) return;
    s3_xml_text(x, "ChecksumAlgorithm", s3_checksum_name(sum.kind));
    s3_xml_text(x, "ChecksumType", sum.parts ? MKV_SLICE("COMPOSITE") : MKV_SLICE("FULL_OBJECT"));
}

/* A size or a time that the index does not know is shown as 0. */
static void put_object(struct s3_call *c, struct mkv_slice object, struct mkv_slice name,
                       const struct mkv_record *rec)
{
    struct list *l = c->state;
    const struct s3_list_query *q = &l->query;
    const char *element = q->kind == S3_LIST_VERSIONS ? "Version" : "Contents";
    struct s3_xml *x = &l->contents;
    char etag[S3_ETAG_MAX];
    struct mkv_slice class;

    s3_xml_open(x, element);
    s3_xml_key(x, "Key", name, q->url);
    if (q->kind == S3_LIST_VERSIONS) {
        s3_xml_text(x, "VersionId", MKV_SLICE("null"));
        s3_xml_bool(x, "IsLatest", true);
    }
    s3_xml_date(x, "LastModified", rec->mtime < 0 ? 0 : rec->mtime);
    s3_xml_etag(x, "ETag", mkv_slice(etag, s3_etag(rec, object, etag)));
    put_checksum(x, rec);
    s3_xml_number(x, "Size", rec->size < 0 ? 0 : (uint64_t)rec->size);
    if (!mkv_record_field(rec, MKV_FIELD_STORAGE_CLASS, &class)) class = MKV_SLICE("STANDARD");
    s3_xml_text(x, "StorageClass", class);
    if (q->kind != S3_LIST_V2 || q->fetch_owner) {
        s3_xml_open(x, "Owner");
        s3_who_xml(x, c);
        s3_xml_close(x, "Owner");
    }
    s3_xml_close(x, element);
}

static void put_common_prefix(struct list *l, struct mkv_slice prefix)
{
    s3_xml_open(&l->prefixes, "CommonPrefixes");
    s3_xml_key(&l->prefixes, "Prefix", prefix, l->query.url);
    s3_xml_close(&l->prefixes, "CommonPrefixes");
}

/* ---- the walk ------------------------------------------------------------------------- */

static void count(struct list *l, struct mkv_slice shown, bool is_key)
{
    l->count++;
    memcpy(l->last, shown.data, shown.len);
    l->last_len = shown.len;
    l->last_is_key = is_key;
}

/* The keys come in order, from behind query.from on.  A common prefix that is not
 * behind it as a whole was shown on an earlier page. */
static enum s3_scan_step visit(struct mkv_slice object, const uint8_t *data, size_t len,
                               size_t *skip, void *arg)
{
    struct s3_call *c = arg;
    struct list *l = c->state;
    struct mkv_slice name = mkv_slice(object.data + l->before, object.len - l->before);
    struct mkv_slice common;
    struct mkv_record rec;

    if (!name.len) return S3_SCAN_ON; /* S3 knows no object without a name */
    if (s3_list_common_prefix(&l->query, name, &common)) {
        *skip = l->before + common.len;
        if (mkv_slice_begins(l->query.from, common)) return S3_SCAN_SKIP;
        l->truncated = l->count == l->query.max_keys;
        if (l->truncated) return S3_SCAN_STOP;
        put_common_prefix(l, common);
        count(l, common, false);
        return S3_SCAN_SKIP;
    }
    l->truncated = l->count == l->query.max_keys;
    if (l->truncated) return S3_SCAN_STOP;
    mkv_record_init(&rec);
    l->err = mkv_record_decode(&rec, data, len);
    if (!l->err) put_object(c, object, name, &rec);
    mkv_record_clear(&rec);
    count(l, name, true);
    return l->err ? S3_SCAN_STOP : S3_SCAN_ON;
}

/* ---- the answer ----------------------------------------------------------------------- */

static void put_head_v1(struct s3_xml *x, const struct list *l)
{
    const struct s3_list_query *q = &l->query;

    s3_xml_key(x, "Marker", q->marker, q->url);
    /* AWS gives it only with a delimiter, since else it is the last key.  Clients
     * that look for it in any case find it here. */
    if (l->truncated) s3_xml_key(x, "NextMarker", mkv_slice(l->last, l->last_len), q->url);
}

static void put_head_v2(struct s3_xml *x, const struct list *l)
{
    const struct s3_list_query *q = &l->query;
    char token[S3_LIST_TOKEN_MAX];
    size_t len;

    if (q->marker.len) s3_xml_key(x, "StartAfter", q->marker, q->url);
    if (q->token.data) s3_xml_text(x, "ContinuationToken", q->token);
    if (l->truncated) {
        len = s3_list_token(mkv_slice(l->last, l->last_len), token);
        s3_xml_text(x, "NextContinuationToken", mkv_slice(token, len));
    }
    s3_xml_number(x, "KeyCount", l->count);
}

static void put_head_versions(struct s3_xml *x, const struct list *l)
{
    const struct s3_list_query *q = &l->query;

    s3_xml_key(x, "KeyMarker", q->marker, q->url);
    s3_xml_text(x, "VersionIdMarker", q->version_marker);
    if (!l->truncated) return;
    s3_xml_key(x, "NextKeyMarker", mkv_slice(l->last, l->last_len), q->url);
    if (l->last_is_key) s3_xml_text(x, "NextVersionIdMarker", MKV_SLICE("null"));
}

static void add(struct s3_xml *to, struct s3_xml *from)
{
    if (from->failed) to->failed = true;
    s3_xml_raw(to, mkv_slice(from->data, from->len));
    s3_xml_clear(from);
}

static void reply_page(struct s3_call *c)
{
    struct list *l = c->state;
    const struct s3_list_query *q = &l->query;
    const char *root = q->kind == S3_LIST_VERSIONS ? "ListVersionsResult" : "ListBucketResult";
    struct s3_xml x;

    s3_xml_init(&x, 2 * LIST_XML_MAX);
    s3_xml_root(&x, root);
    s3_xml_text(&x, "Name", c->bucket);
    s3_xml_key(&x, "Prefix", q->prefix, q->url);
    switch (q->kind) {
    case S3_LIST_V1: put_head_v1(&x, l); break;
    case S3_LIST_V2: put_head_v2(&x, l); break;
    case S3_LIST_VERSIONS: put_head_versions(&x, l); break;
    }
    s3_xml_number(&x, "MaxKeys", q->max_keys);
    if (q->delimiter.len) s3_xml_key(&x, "Delimiter", q->delimiter, q->url);
    if (q->url) s3_xml_text(&x, "EncodingType", MKV_SLICE("url"));
    s3_xml_bool(&x, "IsTruncated", l->truncated);
    add(&x, &l->contents);
    add(&x, &l->prefixes);
    s3_xml_close(&x, root);
    s3_reply_xml(c, 200, NULL, &x);
}

static void on_walked(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct list *l = c->state;

    if (!err) err = l->err;
    if (err)
        s3_reply_failure(c, err);
    else
        reply_page(c);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;

    (void)why;
    s3_scan_cancel(&((struct list *)c->state)->scan);
    s3_call_end(c);
}

/* ---- the beginning --------------------------------------------------------------------- */

/* "/bucket/name" into out, cut to what a key may have: every key is as much behind
 * the whole of it as behind that. */
static struct mkv_slice native_start(const struct s3_call *c, struct mkv_slice name,
                                     char out[MKV_KEY_MAX])
{
    size_t room = MKV_KEY_MAX - 2 - c->bucket.len, len;

    if (name.len > room) name.len = room;
    return s3_object_key(c->bucket, name, out, &len) ? mkv_slice(out, len) : mkv_slice(NULL, 0);
}

static enum mkv_err walk(struct s3_call *c)
{
    struct list *l = c->state;
    const struct s3_list_query *q = &l->query;
    char prefix[MKV_KEY_MAX], start[MKV_KEY_MAX];
    size_t len;

    if (!q->max_keys) return MKV_OK;
    if (!s3_object_key(c->bucket, q->prefix, prefix, &len)) return MKV_OK; /* none is so long */
    return s3_scan_start(&l->scan, c->api, mkv_slice(prefix, len), native_start(c, q->from, start),
                         q->from.len > 0, visit, on_walked, c);
}

static void list(struct s3_call *c, enum s3_list_kind kind)
{
    static const struct mkv_request_events events = {.gone = on_gone};
    struct mkv_slice query = c->r->has_query ? c->r->query : mkv_slice(NULL, 0);
    struct list *l = calloc(1, sizeof(*l));
    const char *why = NULL;
    enum s3_error err = S3_INTERNAL_ERROR;
    enum mkv_err failed;

    if (l) {
        c->state = l;
        c->clear = clear_list;
        c->r->events = &events;
        s3_xml_init(&l->contents, LIST_XML_MAX);
        s3_xml_init(&l->prefixes, LIST_XML_MAX);
        l->before = c->bucket.len + 2;
        err = s3_list_query_parse(&l->query, kind, query, &why);
    }
    if (err) {
        s3_reply_error(c, err, why);
        return;
    }
    failed = walk(c);
    if (failed != MKV_PENDING) on_walked(failed, c);
}

void s3_list_v1(struct s3_call *c)
{
    list(c, S3_LIST_V1);
}

void s3_list_v2(struct s3_call *c)
{
    list(c, S3_LIST_V2);
}

void s3_list_versions(struct s3_call *c)
{
    list(c, S3_LIST_VERSIONS);
}
