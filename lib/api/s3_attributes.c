/* GetObjectAttributes: what is known of an object, as XML. */
#include "api/s3_canonical.h"
#include "api/s3_handlers.h"
#include "api/s3_meta.h"

#include <stdlib.h>

#define PARTS_MAX 1000 /* of one answer */
#define ANSWER_MAX (256 * 1024)

enum attribute {
    ETAG = 1 << 0,
    CHECKSUM = 1 << 1,
    PARTS = 1 << 2,
    STORAGE_CLASS = 1 << 3,
    SIZE = 1 << 4
};

static bool read_attributes(const struct s3_call *c, unsigned *wanted)
{
    static const struct {
        struct mkv_slice name;
        enum attribute attribute;
    } names[] = {
        {{"ETag", 4},          ETAG         },
        {{"Checksum", 8},      CHECKSUM     },
        {{"ObjectParts", 11},  PARTS        },
        {{"StorageClass", 12}, STORAGE_CLASS},
        {{"ObjectSize", 10},   SIZE         },
    };

    *wanted = 0;
    /* One header with a list, or several of them. */
    for (size_t h = 0; h < c->r->nheaders; h++) {
        struct mkv_slice rest = c->r->headers[h].value, item;

        if (!mkv_slice_ieq(c->r->headers[h].name, MKV_SLICE("x-amz-object-attributes")) ||
            !rest.len)
            continue;
        while (s3_list_next(&rest, ',', &item)) {
            size_t i = 0;

            item = mkv_slice_trim(item);
            while (i < 5 && !mkv_slice_eq(item, names[i].name))
                i++;
            if (i == 5) return false;
            *wanted |= names[i].attribute;
        }
    }
    return *wanted != 0;
}

static bool read_number(const struct s3_call *c, const char *name, unsigned max, unsigned *out)
{
    struct mkv_slice text = s3_header(c, name);
    unsigned long long n;

    if (!text.data) return true;
    if (!mkv_slice_number(text, INT32_MAX, &n)) return false;
    *out = n < max ? (unsigned)n : max;
    return true;
}

static void put_parts(struct s3_xml *x, const struct mkv_record *rec, unsigned after, unsigned max)
{
    unsigned count = s3_meta_part_count(rec), last = after;
    uint64_t first, length;

    if (!count) return;
    s3_xml_open(x, "ObjectParts");
    s3_xml_number(x, "PartsCount", count);
    s3_xml_number(x, "PartNumberMarker", after);
    s3_xml_number(x, "MaxParts", max);
    while (last < count && last - after < max && s3_meta_part(rec, last + 1, &first, &length)) {
        s3_xml_open(x, "Part");
        s3_xml_number(x, "PartNumber", ++last);
        s3_xml_number(x, "Size", length);
        s3_xml_close(x, "Part");
    }
    s3_xml_number(x, "NextPartNumberMarker", last);
    s3_xml_bool(x, "IsTruncated", last < count);
    s3_xml_close(x, "ObjectParts");
}

static void put_checksum(struct s3_xml *x, const struct mkv_record *rec)
{
    struct s3_checksum_value sum;

    if (!s3_meta_checksum(rec, &sum)) return;
    s3_xml_open(x, "Checksum");
    s3_meta_checksum_xml(rec, x);
    s3_xml_close(x, "Checksum");
}

static void reply_attributes(struct s3_call *c, const struct mkv_record *rec, unsigned wanted,
                             unsigned after, unsigned max)
{
    char etag[S3_ETAG_MAX], date[MKV_HTTP_DATE_MAX];
    struct mkv_slice storage_class;
    struct s3_head h;
    struct s3_xml x;

    mkv_http_date(date, rec->mtime < 0 ? 0 : rec->mtime);
    s3_head_begin(&h, c);
    s3_head_add(&h, MKV_SLICE("Last-Modified"), mkv_slice_of(date));
    s3_xml_init(&x, ANSWER_MAX);
    s3_xml_root(&x, "GetObjectAttributesOutput");
    if (wanted & ETAG)
        s3_xml_text(&x, "ETag", mkv_slice(etag, s3_etag(rec, c->object, etag))); /* no quotes */
    if (wanted & CHECKSUM) put_checksum(&x, rec);
    if (wanted & PARTS) put_parts(&x, rec, after, max);
    if (wanted & STORAGE_CLASS) {
        if (!mkv_record_field(rec, MKV_FIELD_STORAGE_CLASS, &storage_class))
            storage_class = MKV_SLICE("STANDARD");
        s3_xml_text(&x, "StorageClass", storage_class);
    }
    if (wanted & SIZE && rec->size >= 0) s3_xml_number(&x, "ObjectSize", (uint64_t)rec->size);
    s3_xml_close(&x, "GetObjectAttributesOutput");
    s3_reply_xml(c, 200, &h, &x);
}

void s3_get_attributes(struct s3_call *c)
{
    unsigned wanted, after = 0, max = PARTS_MAX;
    struct mkv_record rec;
    enum mkv_err err;

    if (!read_attributes(c, &wanted)) {
        s3_reply_error(c, S3_INVALID_ARGUMENT,
                       "x-amz-object-attributes must name what is wanted: ETag, Checksum, "
                       "ObjectParts, StorageClass, ObjectSize.");
        return;
    }
    if (!read_number(c, "x-amz-max-parts", PARTS_MAX, &max) ||
        !read_number(c, "x-amz-part-number-marker", S3_PARTS_MAX, &after)) {
        s3_reply_error(c, S3_INVALID_ARGUMENT,
                       "x-amz-max-parts and x-amz-part-number-marker are numbers.");
        return;
    }
    mkv_record_init(&rec);
    err = mkv_index_get(mkv_store_index(c->api->store), c->object, &rec, NULL, NULL);
    if (!err && rec.state != MKV_LIVE) err = MKV_ENOKEY;
    if (err)
        s3_reply_failure(c, err);
    else
        reply_attributes(c, &rec, wanted, after, max);
    mkv_record_clear(&rec);
}
