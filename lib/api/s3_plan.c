#include "api/s3_plan.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what the client named ----------------------------------------------------------------- */

enum s3_error s3_plan_check_order(const struct s3_body_part *parts, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (parts[i].number <= parts[i - 1].number) return S3_INVALID_PART_ORDER;
    return S3_OK;
}

static bool md5_of_etag(struct mkv_slice etag, uint8_t md5[MKV_MD5_LEN])
{
    char lower[2 * MKV_MD5_LEN];

    if (etag.len != sizeof(lower)) return false;
    for (size_t i = 0; i < sizeof(lower); i++) {
        char c = etag.data[i];

        lower[i] = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    }
    for (size_t i = 0; i < MKV_MD5_LEN; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *high = memchr(digits, lower[2 * i], 16);
        const char *low = memchr(digits, lower[2 * i + 1], 16);

        if (!high || !low) return false;
        md5[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return true;
}

bool s3_plan_etag(const struct s3_body_part *parts, size_t n, char out[S3_ETAG_MAX])
{
    struct mkv_digest *digest;
    uint8_t md5[MKV_MD5_LEN];
    bool ok = true;

    if (mkv_digest_new_md5(&digest)) return false;
    for (size_t i = 0; i < n && ok; i++) {
        ok = md5_of_etag(parts[i].etag, md5);
        if (ok) mkv_digest_add(digest, md5, sizeof(md5));
    }
    if (!ok) {
        mkv_digest_free(digest);
        return false;
    }
    mkv_digest_final(digest, md5);
    mkv_hex(out, md5, sizeof(md5));
    snprintf(out + 2 * MKV_MD5_LEN, S3_ETAG_MAX - 2 * MKV_MD5_LEN, "-%u", (unsigned)n % 100000);
    return true;
}

/* ---- part by part -------------------------------------------------------------------------- */

enum s3_error s3_plan_open(struct s3_plan *p, size_t max, struct s3_upload_sum wanted)
{
    memset(p, 0, sizeof(*p));
    p->wanted = wanted;
    p->max = max;
    p->parts = calloc(max, sizeof(*p->parts));
    if (!p->parts) return S3_INTERNAL_ERROR;
    if (wanted.kind && !wanted.full && s3_sum_init(&p->composite, wanted.kind))
        return S3_INTERNAL_ERROR;
    return S3_OK;
}

void s3_plan_clear(struct s3_plan *p)
{
    free(p->parts);
    p->parts = NULL;
    s3_sum_clear(&p->composite);
}

static bool is_as_named(const struct s3_body_part *named, const struct mkv_part *kept,
                        const struct s3_checksum_value *sum)
{
    uint8_t md5[MKV_MD5_LEN];

    if (!md5_of_etag(named->etag, md5) || !kept->what.has_md5 ||
        memcmp(md5, kept->what.md5, sizeof(md5)) != 0)
        return false;
    return !named->checksum.kind || s3_checksum_equal(&named->checksum, sum);
}

/* Every part of an upload with a checksum has one; of another kind it can not be. */
static bool add_sum(struct s3_plan *p, const struct s3_checksum_value *sum, uint64_t size)
{
    if (!p->wanted.kind) return true;
    if (sum->kind != p->wanted.kind) return false;
    if (!p->wanted.full)
        s3_sum_add_part(&p->composite, sum);
    else if (p->n == 0)
        p->sum = *sum;
    else
        s3_checksum_join(&p->sum, sum, size);
    return true;
}

enum s3_error s3_plan_add(struct s3_plan *p, const struct s3_body_part *named,
                          const struct mkv_part *kept)
{
    struct s3_checksum_value sum;
    uint64_t size;

    if (!kept || kept->what.size < 0) return S3_INVALID_PART;
    s3_meta_checksum(&kept->what, &sum);
    if (!is_as_named(named, kept, &sum)) return S3_INVALID_PART;
    size = (uint64_t)kept->what.size;
    if (size < S3_PART_MIN && p->n + 1 < p->max) return S3_ENTITY_TOO_SMALL;
    if (!add_sum(p, &sum, size)) return S3_INTERNAL_ERROR;
    p->parts[p->n++] = (struct s3_plan_part){kept->number, kept->serial, size};
    p->size += size;
    return S3_OK;
}

void s3_plan_end(struct s3_plan *p)
{
    if (p->composite.kind) s3_sum_final_parts(&p->composite, (unsigned)p->n, &p->sum);
}

enum mkv_err s3_plan_fields(const struct s3_plan *p, const char *etag, struct mkv_record *rec)
{
    uint64_t *sizes = calloc(p->n, sizeof(*sizes));
    enum mkv_err err = sizes ? MKV_OK : MKV_ENOMEM;

    for (size_t i = 0; !err && i < p->n; i++)
        sizes[i] = p->parts[i].size;
    if (!err) err = mkv_record_set_field(rec, MKV_FIELD_UPLOAD_CHECKSUM, mkv_slice(NULL, 0));
    if (!err) err = mkv_record_set_field(rec, MKV_FIELD_MULTIPART_ETAG, mkv_slice_of(etag));
    if (!err) err = s3_meta_set_parts(rec, sizes, (unsigned)p->n);
    if (!err) err = s3_meta_set_checksum(rec, &p->sum);
    free(sizes);
    return err;
}
