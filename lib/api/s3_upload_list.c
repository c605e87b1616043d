/* ListMultipartUploads and ListParts: a page at a time, each entry a look into
 * the index. */
#include "api/s3_handlers.h"
#include "api/s3_meta.h"
#include "api/s3_multipart.h"
#include "api/s3_text.h"

#include <stdlib.h>

#define PAGE_MAX      1000
#define AHEAD_MAX     256                /* uploads taken from the index at once */
#define PAGE_XML_MAX  (16 * 1024 * 1024) /* 1,000 keys of 1,024 bytes, each of them escaped */

/* ---- numbers of the query ------------------------------------------------------------------ */

/* False where it is no number; too large ones become max. */
static bool read_number(const struct s3_call *c, const char *name, unsigned otherwise,
                        unsigned max, unsigned *out)
{
    struct mkv_slice text;
    unsigned long long number;

    *out = otherwise;
    if (!s3_param(c, name, &text) || !text.len) return true;
    if (!mkv_slice_number(text, INT32_MAX, &number)) return false;
    *out = number > max ? max : (unsigned)number;
    return true;
}

/* ---- uploads ------------------------------------------------------------------------------- */

struct upload_list {
    struct mkv_upload *ahead;      /* owned: what comes next; AHEAD_MAX of them    */
    size_t nahead, at;
    const struct mkv_upload *upload; /* the one at hand, in ahead                  */
    char prefix[MKV_KEY_MAX];      /* "/bucket/" and the prefix                    */
    size_t prefix_len, bucket_len; /* bucket_len: of "/bucket/"                    */
    char delimiter[S3_KEY_MAX];
    size_t delimiter_len;
    char behind[MKV_KEY_MAX + 1];  /* the page goes on behind it: a key of the index */
    size_t behind_len;
    uint8_t behind_id[MKV_UPLOAD_ID_LEN];
    bool has_id;
    bool url;                      /* encoding-type=url */
    unsigned max;
    struct s3_xml entries, common; /* Upload elements; CommonPrefixes */
    /* The last entry of the page, for the markers of the next one. */
    char last[MKV_KEY_MAX];
    size_t last_len;               /* without "/bucket/" */
    char last_id[S3_UPLOAD_ID_TEXT + 1]; /* "" for a common prefix */
    unsigned count;
    bool truncated;
};

static bool take_room(struct upload_list *l)
{
    l->ahead = calloc(AHEAD_MAX, sizeof(*l->ahead));
    for (size_t i = 0; l->ahead && i < AHEAD_MAX; i++)
        mkv_record_init(&l->ahead[i].what);
    return l->ahead != NULL;
}

static void free_uploads(struct upload_list *l)
{
    for (size_t i = 0; l->ahead && i < AHEAD_MAX; i++)
        mkv_record_clear(&l->ahead[i].what);
    free(l->ahead);
    s3_xml_clear(&l->entries);
    s3_xml_clear(&l->common);
    free(l);
}

/* Where the common prefix of key ends; 0 where it has none. */
static size_t common_end(const struct upload_list *l, struct mkv_slice key)
{
    const char *found;

    if (!l->delimiter_len || key.len < l->prefix_len) return 0;
    found = memmem(key.data + l->prefix_len, key.len - l->prefix_len, l->delimiter,
                   l->delimiter_len);
    return found ? (size_t)(found - key.data) + l->delimiter_len : 0;
}

/* Behind every key that begins so: no UTF-8 goes on with this byte. */
static void skip(struct upload_list *l, const char *key, size_t len)
{
    memmove(l->behind, key, len);
    l->behind[len] = '\xff';
    l->behind_len = len + 1;
    l->has_id = false;
}

static void put_upload(const struct s3_call *c, struct upload_list *l, struct mkv_slice key)
{
    struct s3_xml *x = &l->entries;

    s3_upload_id_text(l->upload->id, l->last_id);
    s3_xml_open(x, "Upload");
    s3_xml_key(x, "Key", key, l->url);
    s3_xml_text(x, "UploadId", mkv_slice_of(l->last_id));
    s3_upload_owner_xml(c, &l->upload->what, x);
    s3_xml_date(x, "Initiated", l->upload->what.mtime);
    s3_upload_sum_xml(s3_upload_sum(&l->upload->what), x);
    s3_xml_close(x, "Upload");
    memcpy(l->behind, l->upload->key, l->upload->key_len);
    l->behind_len = l->upload->key_len;
    memcpy(l->behind_id, l->upload->id, MKV_UPLOAD_ID_LEN);
    l->has_id = true;
}

static void put_common(struct upload_list *l, struct mkv_slice prefix, size_t end)
{
    s3_xml_open(&l->common, "CommonPrefixes");
    s3_xml_key(&l->common, "Prefix", prefix, l->url);
    s3_xml_close(&l->common, "CommonPrefixes");
    l->last_id[0] = '\0';
    skip(l, l->upload->key, end);
}

/* The upload at hand, or the common prefix that stands for it. */
static void put_next(const struct s3_call *c, struct upload_list *l)
{
    size_t end = common_end(l, mkv_slice(l->upload->key, l->upload->key_len));
    struct mkv_slice shown = mkv_slice(l->upload->key + l->bucket_len,
                                       (end ? end : l->upload->key_len) - l->bucket_len);

    memcpy(l->last, shown.data, shown.len);
    l->last_len = shown.len;
    if (end)
        put_common(l, shown, end);
    else
        put_upload(c, l, shown);
}

static size_t common_of(struct mkv_slice key, void *arg)
{
    return common_end(arg, key);
}

/* What was taken ahead lies in order, and before all that was not.  Of it may be
 * skipped what a common prefix stands for. */
static enum mkv_err find_next(const struct s3_call *c, struct upload_list *l)
{
    const struct mkv_upload_query q = {.prefix = mkv_slice(l->prefix, l->prefix_len),
                                       .key = mkv_slice(l->behind, l->behind_len),
                                       .id = l->has_id ? l->behind_id : NULL,
                                       .common = common_of,
                                       .arg = l};
    enum mkv_err err = MKV_OK;

    while (l->at < l->nahead && !l->has_id &&
           mkv_slice_cmp(mkv_slice(l->ahead[l->at].key, l->ahead[l->at].key_len), q.key) < 0)
        l->at++;
    if (l->at == l->nahead) {
        l->at = 0;
        err = mkv_index_upload_list(mkv_store_index(c->api->store), &q, l->ahead, AHEAD_MAX,
                                    &l->nahead);
    }
    if (!err) l->upload = &l->ahead[l->at++];
    return err;
}

static enum mkv_err fill_page(const struct s3_call *c, struct upload_list *l)
{
    enum mkv_err err = MKV_OK;

    while (!err) {
        err = find_next(c, l);
        if (!err && l->count == l->max) {
            l->truncated = l->max > 0;
            return MKV_OK;
        }
        if (err) break;
        put_next(c, l);
        l->count++;
    }
    return err == MKV_ENOKEY ? MKV_OK : err;
}

/* ---- where a page of uploads begins -------------------------------------------------------- */

/* key-marker alone: behind all uploads of that key, or of that common prefix; with
 * upload-id-marker: behind that one. */
static enum s3_error read_markers(const struct s3_call *c, struct upload_list *l, char *key,
                                  size_t *key_len, char *id, size_t *id_len)
{
    size_t end;

    if (!s3_param_text(c, "key-marker", key, S3_KEY_MAX, key_len) ||
        !s3_param_text(c, "upload-id-marker", id, S3_UPLOAD_ID_TEXT, id_len))
        return S3_INVALID_ARGUMENT;
    if (!*key_len) return S3_OK;
    memcpy(l->behind, l->prefix, l->bucket_len);
    memcpy(l->behind + l->bucket_len, key, *key_len);
    l->behind_len = l->bucket_len + *key_len;
    if (*id_len) {
        l->has_id = s3_upload_id_parse(mkv_slice(id, *id_len), l->behind_id);
        return l->has_id ? S3_OK : S3_INVALID_ARGUMENT;
    }
    end = mkv_slice_begins(mkv_slice(l->behind, l->behind_len),
                           mkv_slice(l->prefix, l->prefix_len))
              ? common_end(l, mkv_slice(l->behind, l->behind_len))
              : 0;
    if (end == l->behind_len) skip(l, l->behind, end);
    return S3_OK;
}

static enum s3_error read_query(const struct s3_call *c, struct upload_list *l, const char **why)
{
    struct mkv_slice encoding;
    size_t len;

    if (!s3_object_key(c->bucket, mkv_slice(NULL, 0), l->prefix, &l->bucket_len))
        return S3_NO_SUCH_BUCKET;
    if (!s3_param_text(c, "prefix", l->prefix + l->bucket_len, sizeof(l->prefix) - l->bucket_len,
                       &len) ||
        !s3_param_text(c, "delimiter", l->delimiter, sizeof(l->delimiter), &l->delimiter_len))
        return S3_INVALID_ARGUMENT;
    l->prefix_len = l->bucket_len + len;
    if (!read_number(c, "max-uploads", PAGE_MAX, PAGE_MAX, &l->max)) {
        *why = "max-uploads must be a number.";
        return S3_INVALID_ARGUMENT;
    }
    if (!s3_param(c, "encoding-type", &encoding) || !encoding.len) return S3_OK;
    l->url = mkv_slice_eq(encoding, MKV_SLICE("url"));
    if (!l->url) *why = "encoding-type can only be url.";
    return l->url ? S3_OK : S3_INVALID_ARGUMENT;
}

/* ---- the answer ---------------------------------------------------------------------------- */

static void move_xml(struct s3_xml *to, struct s3_xml *from)
{
    if (from->failed) to->failed = true;
    if (from->len) s3_xml_raw(to, mkv_slice(from->data, from->len));
    s3_xml_clear(from);
}

static void reply_uploads(struct s3_call *c, struct upload_list *l, struct mkv_slice key,
                          struct mkv_slice id)
{
    struct mkv_slice prefix = mkv_slice(l->prefix + l->bucket_len, l->prefix_len - l->bucket_len);
    struct s3_xml x;

    s3_xml_init(&x, PAGE_XML_MAX);
    s3_xml_root(&x, "ListMultipartUploadsResult");
    s3_xml_text(&x, "Bucket", c->bucket);
    s3_xml_key(&x, "KeyMarker", key, l->url);
    s3_xml_text(&x, "UploadIdMarker", id);
    if (l->truncated) {
        s3_xml_key(&x, "NextKeyMarker", mkv_slice(l->last, l->last_len), l->url);
        s3_xml_text(&x, "NextUploadIdMarker", mkv_slice_of(l->last_id));
    }
    s3_xml_key(&x, "Prefix", prefix, l->url);
    if (l->delimiter_len)
        s3_xml_key(&x, "Delimiter", mkv_slice(l->delimiter, l->delimiter_len), l->url);
    if (l->url) s3_xml_text(&x, "EncodingType", MKV_SLICE("url"));
    s3_xml_number(&x, "MaxUploads", l->max);
    s3_xml_bool(&x, "IsTruncated", l->truncated);
    move_xml(&x, &l->entries);
    move_xml(&x, &l->common);
    s3_xml_close(&x, "ListMultipartUploadsResult");
    s3_reply_xml(c, 200, NULL, &x);
}

void s3_list_uploads(struct s3_call *c)
{
    struct upload_list *l = calloc(1, sizeof(*l));
    char key[S3_KEY_MAX], id[S3_UPLOAD_ID_TEXT];
    size_t key_len = 0, id_len = 0;
    const char *why = NULL;
    enum s3_error err = S3_INTERNAL_ERROR;

    if (l) {
        s3_xml_init(&l->entries, PAGE_XML_MAX);
        s3_xml_init(&l->common, PAGE_XML_MAX);
        if (take_room(l)) err = read_query(c, l, &why);
        if (!err) err = read_markers(c, l, key, &key_len, id, &id_len);
        if (!err) err = s3_error_of(fill_page(c, l));
    }
    if (err)
        s3_reply_error(c, err, why);
    else
        reply_uploads(c, l, mkv_slice(key, key_len), mkv_slice(id, id_len));
    if (l) free_uploads(l);
}

/* ---- parts --------------------------------------------------------------------------------- */

struct part_list {
    unsigned after, max, count, last; /* last: the number of the last part of the page */
    bool truncated;
};

static void put_part(struct s3_xml *x, const struct mkv_part *part)
{
    char etag[2 * MKV_MD5_LEN + 1], text[S3_CHECKSUM_TEXT_MAX];
    struct s3_checksum_value sum;

    mkv_hex(etag, part->what.md5, MKV_MD5_LEN);
    s3_xml_open(x, "Part");
    s3_xml_number(x, "PartNumber", part->number);
    s3_xml_date(x, "LastModified", part->what.mtime);
    s3_xml_etag(x, "ETag", mkv_slice_of(etag));
    s3_xml_number(x, "Size", part->what.size < 0 ? 0 : (uint64_t)part->what.size);
    if (s3_meta_checksum(&part->what, &sum))
        s3_xml_text(x, s3_checksum_element(sum.kind).data,
                    mkv_slice(text, s3_checksum_text(&sum, text)));
    s3_xml_close(x, "Part");
}

static enum mkv_err put_parts(const struct s3_call *c, const uint8_t *id, struct part_list *l,
                              struct s3_xml *x)
{
    struct mkv_index *ix = mkv_store_index(c->api->store);
    struct mkv_part part = {.number = 0};
    enum mkv_err err = MKV_OK;

    mkv_record_init(&part.what);
    l->last = l->after;
    while (!err && !l->truncated) {
        err = mkv_index_part_next(ix, id, l->last, &part);
        if (err) break;
        if (l->count == l->max) {
            l->truncated = l->max > 0;
            break;
        }
        put_part(x, &part);
        l->last = part.number;
        l->count++;
    }
    mkv_record_clear(&part.what);
    return err == MKV_ENOKEY ? MKV_OK : err;
}

static void reply_parts(struct s3_call *c, const struct mkv_upload *upload,
                        const struct part_list *l, struct s3_xml *parts)
{
    char id[S3_UPLOAD_ID_TEXT + 1];
    struct s3_xml x;

    s3_upload_id_text(upload->id, id);
    s3_xml_init(&x, PAGE_XML_MAX);
    s3_xml_root(&x, "ListPartsResult");
    s3_xml_text(&x, "Bucket", c->bucket);
    s3_xml_text(&x, "Key", c->key);
    s3_xml_text(&x, "UploadId", mkv_slice_of(id));
    s3_upload_owner_xml(c, &upload->what, &x);
    s3_upload_sum_xml(s3_upload_sum(&upload->what), &x);
    s3_xml_number(&x, "PartNumberMarker", l->after);
    if (l->truncated) s3_xml_number(&x, "NextPartNumberMarker", l->last);
    s3_xml_number(&x, "MaxParts", l->max);
    s3_xml_bool(&x, "IsTruncated", l->truncated);
    move_xml(&x, parts);
    s3_xml_close(&x, "ListPartsResult");
    s3_reply_xml(c, 200, NULL, &x);
}

void s3_list_parts(struct s3_call *c)
{
    struct part_list l = {.count = 0};
    struct mkv_upload upload;
    const char *why = NULL;
    struct s3_xml parts;
    enum s3_error err;

    mkv_record_init(&upload.what);
    s3_xml_init(&parts, PAGE_XML_MAX);
    err = s3_upload_find(c, &upload);
    if (!err && (!read_number(c, "max-parts", PAGE_MAX, PAGE_MAX, &l.max) ||
                 !read_number(c, "part-number-marker", 0, MKV_PARTS_MAX, &l.after))) {
        why = "max-parts and part-number-marker must be numbers.";
        err = S3_INVALID_ARGUMENT;
    }
    if (!err) err = s3_error_of(put_parts(c, upload.id, &l, &parts));
    if (err)
        s3_reply_error(c, err, why);
    else
        reply_parts(c, &upload, &l, &parts);
    s3_xml_clear(&parts);
    mkv_record_clear(&upload.what);
}
