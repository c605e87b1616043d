/* The S3 fields of a record as they lie on disk: what they become as headers, a
 * checksum, parts.  The first byte chooses the field. */
#include "api/s3_meta.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static void look_at_parts(const struct mkv_record *rec)
{
    unsigned count = s3_meta_part_count(rec), step = count / 16 + 1;
    uint64_t first, length;

    CHECK(count <= S3_PARTS_MAX);
    for (unsigned i = 1; i <= count; i += step)
        (void)s3_meta_part(rec, i, &first, &length);
    CHECK(!s3_meta_part(rec, 0, &first, &length));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct s3_checksum_value sum, again;
    struct mkv_record rec;
    static struct s3_head h;
    char etag[S3_ETAG_MAX];

    if (len < 2) return 0;
    mkv_record_init(&rec);
    if (!mkv_record_set_field(&rec, bytes[0] % (MKV_FIELD_END - 1) + 1,
                              mkv_slice((const char *)bytes + 1, len - 1))) {
        s3_head_init(&h);
        s3_meta_headers(&rec, MKV_SLICE("/b/k"), &h);
        CHECK(h.n >= 3);
        CHECK(s3_etag(&rec, MKV_SLICE("/b/k"), etag) < S3_ETAG_MAX);
        look_at_parts(&rec);
        if (s3_meta_checksum(&rec, &sum)) {
            CHECK(!s3_meta_set_checksum(&rec, &sum) && s3_meta_checksum(&rec, &again));
            CHECK(s3_checksum_equal(&sum, &again));
        }
    }
    mkv_record_clear(&rec);
    return 0;
}
