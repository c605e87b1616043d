#include "api/s3_source.h"

#include "api/s3_bucket.h"
#include "api/s3_meta.h"

void s3_source_init(struct s3_source *s)
{
    mkv_record_init(&s->rec);
    s->object = mkv_slice(NULL, 0);
}

void s3_source_clear(struct s3_source *s)
{
    mkv_record_clear(&s->rec);
}

static enum s3_error find_name(struct s3_source *s, const struct s3_call *c,
                               struct mkv_slice *bucket, const char **why)
{
    char decoded[S3_COPY_SOURCE_MAX];
    struct s3_name name;
    enum s3_error err = s3_copy_source(s3_header(c, "x-amz-copy-source"), decoded, &name);
    unsigned times = 0;
    size_t len;

    /* Lines of one name are signed as one, joined by commas, which keys may hold. */
    for (size_t i = 0; i < c->r->nheaders; i++)
        times += mkv_slice_ieq(c->r->headers[i].name, MKV_SLICE("x-amz-copy-source"));
    if (times > 1) err = S3_INVALID_ARGUMENT;
    if (err == S3_INVALID_ARGUMENT)
        *why = "x-amz-copy-source must be one bucket and key, percent-encoded.";
    if (err) return err;
    if (!s3_object_key(name.bucket, name.key, s->text, &len)) return S3_KEY_TOO_LONG;
    s->object = mkv_slice(s->text, len);
    *bucket = mkv_slice(s->text + 1, name.bucket.len);
    return S3_OK;
}

enum s3_error s3_source_find(struct s3_source *s, const struct s3_call *c, const char **why)
{
    struct s3_conditions conditions;
    struct s3_described object;
    struct mkv_slice bucket;
    enum s3_error err = find_name(s, c, &bucket, why);
    enum mkv_err failed;

    if (err) return err;
    if (!s3_may(c, bucket, S3_WISH_READ)) return S3_ACCESS_DENIED;
    err = s3_bucket_check(c->api, bucket);
    if (err) return err;
    failed = mkv_index_get(mkv_store_index(c->api->store), s->object, &s->rec, NULL, NULL);
    if (!failed && s->rec.state != MKV_LIVE) failed = MKV_ENOKEY;
    if (failed) return s3_error_of(failed);
    if (!s3_conditions_find(c->r->headers, c->r->nheaders, true, &conditions))
        return S3_INVALID_REQUEST;
    s3_describe(&object, &s->rec, s->object);
    return s3_conditions_copy(&conditions, &object.is);
}

bool s3_source_is_there(const struct s3_source *s, const struct s3_call *c)
{
    const struct mkv_record *was = &s->rec;
    struct mkv_record is;
    bool same;

    mkv_record_init(&is);
    same = !mkv_index_get(mkv_store_index(c->api->store), s->object, &is, NULL, NULL) &&
           is.state == MKV_LIVE && is.generation == was->generation && is.mtime == was->mtime &&
           is.size == was->size && is.has_md5 == was->has_md5 &&
           memcmp(is.md5, was->md5, was->has_md5 ? MKV_MD5_LEN : 0) == 0;
    mkv_record_clear(&is);
    return same;
}
