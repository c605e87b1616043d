#include "api/s3_conditions.h"

#include "api/s3_canonical.h"
#include "api/s3_text.h"

bool s3_conditions_find(const struct mkv_header *headers, size_t n, bool copy_source,
                        struct s3_conditions *out)
{
    /* clang-format off */
    const struct {
        struct mkv_slice name, copy_name;
        struct mkv_slice *value;
    } fields[] = {
        {MKV_SLICE("if-match"), MKV_SLICE("x-amz-copy-source-if-match"), &out->if_match},
        {MKV_SLICE("if-none-match"), MKV_SLICE("x-amz-copy-source-if-none-match"),
         &out->if_none_match},
        {MKV_SLICE("if-modified-since"), MKV_SLICE("x-amz-copy-source-if-modified-since"),
         &out->if_modified_since},
        {MKV_SLICE("if-unmodified-since"), MKV_SLICE("x-amz-copy-source-if-unmodified-since"),
         &out->if_unmodified_since},
        {MKV_SLICE("if-range"), MKV_SLICE(""), &out->if_range},
        {MKV_SLICE("range"), MKV_SLICE(""), &out->range},
    };
    /* clang-format on */

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof(fields) / sizeof(fields[0]); k++) {
            struct mkv_slice name = copy_source ? fields[k].copy_name : fields[k].name;

            if (!name.len || !mkv_slice_ieq(headers[i].name, name)) continue;
            if (fields[k].value->data) return false;
            *fields[k].value = headers[i].value;
        }
    }
    return true;
}

/* ---- entity tags ----------------------------------------------------------------- */

/* "*", or a list of "tag", W/"tag", and tags without quotes, which S3 takes
 * too.  Ours have no comma in them. */
static bool etag_among(struct mkv_slice list, struct mkv_slice etag)
{
    struct mkv_slice item;

    if (mkv_slice_eq(mkv_slice_trim(list), MKV_SLICE("*"))) return true;
    while (s3_list_next(&list, ',', &item)) {
        item = mkv_slice_trim(item);
        if (mkv_slice_begins(item, MKV_SLICE("W/"))) item = mkv_slice(item.data + 2, item.len - 2);
        if (item.len >= 2 && item.data[0] == '"' && item.data[item.len - 1] == '"')
            item = mkv_slice(item.data + 1, item.len - 2);
        if (mkv_slice_eq(item, etag)) return true;
    }
    return false;
}

/* ---- conditions -------------------------------------------------------------------- */

/* RFC 9110, 13.2.2: a tag makes the date beside it void. */
static bool holds_match(const struct s3_conditions *c, const struct s3_object *o)
{
    int64_t since;

    if (c->if_match.data) return etag_among(c->if_match, o->etag);
    if (c->if_unmodified_since.data && s3_parse_http_date(c->if_unmodified_since, &since))
        return o->mtime <= since;
    return true;
}

static bool holds_none_match(const struct s3_conditions *c, const struct s3_object *o)
{
    int64_t since;

    if (c->if_none_match.data) return !etag_among(c->if_none_match, o->etag);
    if (c->if_modified_since.data && s3_parse_http_date(c->if_modified_since, &since))
        return o->mtime > since;
    return true;
}

enum s3_error s3_conditions_read(const struct s3_conditions *c, const struct s3_object *o)
{
    if (!holds_match(c, o)) return S3_PRECONDITION_FAILED;
    return holds_none_match(c, o) ? S3_OK : S3_NOT_MODIFIED;
}

enum s3_error s3_conditions_copy(const struct s3_conditions *c, const struct s3_object *o)
{
    return holds_match(c, o) && holds_none_match(c, o) ? S3_OK : S3_PRECONDITION_FAILED;
}

enum s3_error s3_conditions_write(const struct s3_conditions *c, const struct s3_object *o)
{
    if (!o) return c->if_match.data ? S3_NO_SUCH_KEY : S3_OK;
    if (!holds_match(c, o)) return S3_PRECONDITION_FAILED;
    /* If-Modified-Since is of reads only */
    if (c->if_none_match.data && etag_among(c->if_none_match, o->etag))
        return S3_PRECONDITION_FAILED;
    return S3_OK;
}

/* ---- ranges -------------------------------------------------------------------------- */

#define UNIT "bytes="

/* The two sides of "first-last"; either may be empty. */
static bool split_range(struct mkv_slice value, struct mkv_slice *first, struct mkv_slice *last)
{
    static const size_t unit = sizeof(UNIT) - 1;
    const char *dash;

    if (value.len <= unit || !mkv_slice_ieq(mkv_slice(value.data, unit), MKV_SLICE(UNIT)))
        return false;
    value = mkv_slice_trim(mkv_slice(value.data + unit, value.len - unit));
    dash = value.len ? memchr(value.data, '-', value.len) : NULL;
    if (!dash) return false;
    *first = mkv_slice(value.data, (size_t)(dash - value.data));
    *last = mkv_slice(dash + 1, value.len - first->len - 1);
    return true;
}

/* Digits beyond 2^63 count as that: behind every end. */
static bool number(struct mkv_slice s, uint64_t *out)
{
    unsigned long long n;

    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9') return false;
    if (!s.len) return false;
    *out = mkv_slice_number(s, INT64_MAX, &n) ? n : INT64_MAX;
    return true;
}

/* An object that has changed since is sent whole. */
static bool if_range_holds(const struct s3_conditions *c, const struct s3_object *o)
{
    int64_t since;

    if (!c->if_range.data) return true;
    if (s3_parse_http_date(c->if_range, &since)) return o->mtime == since;
    return !mkv_slice_begins(c->if_range, MKV_SLICE("W/")) && etag_among(c->if_range, o->etag);
}

enum s3_range_kind s3_range(const struct s3_conditions *c, const struct s3_object *o,
                            struct s3_range *out)
{
    struct mkv_slice first, last;
    uint64_t from, to = INT64_MAX;

    if (!split_range(c->range, &first, &last) || !if_range_holds(c, o)) return S3_RANGE_ALL;
    if (!first.len) {
        if (!number(last, &to)) return S3_RANGE_ALL;
        if (to == 0 || o->size == 0) return S3_RANGE_UNSATISFIABLE;
        out->first = to < o->size ? o->size - to : 0;
        out->last = o->size - 1;
        return S3_RANGE_PART;
    }
    if (!number(first, &from) || (last.len && !number(last, &to)) || from > to) return S3_RANGE_ALL;
    if (from >= o->size) return S3_RANGE_UNSATISFIABLE;
    out->first = from;
    out->last = to < o->size ? to : o->size - 1;
    return S3_RANGE_PART;
}

enum s3_error s3_copy_range(struct mkv_slice value, uint64_t size, struct s3_range *out)
{
    struct mkv_slice first, last;

    if (!split_range(value, &first, &last) || !number(first, &out->first) ||
        !number(last, &out->last) || out->first > out->last)
        return S3_INVALID_ARGUMENT;
    return out->last < size ? S3_OK : S3_INVALID_RANGE;
}
