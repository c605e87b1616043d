#include "api/s3_checksum.h"

#include "api/s3_canonical.h"
#include "api/s3_crc.h"

#include <stdio.h>

#define PARTS_MAX 10000

/* clang-format off */
static const struct {
    size_t len;
    struct mkv_slice name, header, element;
} kinds[S3_CHECKSUM_COUNT] = {
#define TEXT(literal) {literal, sizeof(literal) - 1}
    [S3_CHECKSUM_NONE] = {0, TEXT(""), TEXT(""), TEXT("")},
    [S3_CHECKSUM_CRC32] = {4, TEXT("CRC32"), TEXT("x-amz-checksum-crc32"), TEXT("ChecksumCRC32")},
    [S3_CHECKSUM_CRC32C] = {4, TEXT("CRC32C"), TEXT("x-amz-checksum-crc32c"),
                            TEXT("ChecksumCRC32C")},
    [S3_CHECKSUM_CRC64NVME] = {8, TEXT("CRC64NVME"), TEXT("x-amz-checksum-crc64nvme"),
                               TEXT("ChecksumCRC64NVME")},
    [S3_CHECKSUM_SHA1] = {MKV_SHA1_LEN, TEXT("SHA1"), TEXT("x-amz-checksum-sha1"),
                          TEXT("ChecksumSHA1")},
    [S3_CHECKSUM_SHA256] = {MKV_SHA256_LEN, TEXT("SHA256"), TEXT("x-amz-checksum-sha256"),
                            TEXT("ChecksumSHA256")},
#undef TEXT
};
/* clang-format on */

/* ---- names --------------------------------------------------------------------- */

size_t s3_checksum_len(enum s3_checksum kind)
{
    return kinds[kind].len;
}

struct mkv_slice s3_checksum_name(enum s3_checksum kind)
{
    return kinds[kind].name;
}

struct mkv_slice s3_checksum_header(enum s3_checksum kind)
{
    return kinds[kind].header;
}

struct mkv_slice s3_checksum_element(enum s3_checksum kind)
{
    return kinds[kind].element;
}

bool s3_checksum_by_name(struct mkv_slice name, enum s3_checksum *kind)
{
    for (int k = S3_CHECKSUM_CRC32; k < S3_CHECKSUM_COUNT; k++) {
        if (!mkv_slice_ieq(name, kinds[k].name)) continue;
        *kind = (enum s3_checksum)k;
        return true;
    }
    return false;
}

bool s3_checksum_by_header(struct mkv_slice name, enum s3_checksum *kind)
{
    for (int k = S3_CHECKSUM_CRC32; k < S3_CHECKSUM_COUNT; k++) {
        if (!mkv_slice_ieq(name, kinds[k].header)) continue;
        *kind = (enum s3_checksum)k;
        return true;
    }
    return false;
}

bool s3_checksum_by_element(struct mkv_slice name, enum s3_checksum *kind)
{
    for (int k = S3_CHECKSUM_CRC32; k < S3_CHECKSUM_COUNT; k++) {
        if (!mkv_slice_eq(name, kinds[k].element)) continue;
        *kind = (enum s3_checksum)k;
        return true;
    }
    return false;
}

/* ---- headers -------------------------------------------------------------------- */

static const char *announced(struct mkv_slice list, enum s3_checksum *trailer)
{
    struct mkv_slice name;
    enum s3_checksum kind;

    while (s3_list_next(&list, ',', &name)) {
        if (!s3_checksum_by_header(mkv_slice_trim(name), &kind)) continue;
        if (*trailer != S3_CHECKSUM_NONE) return "Only one checksum may follow the body.";
        *trailer = kind;
    }
    return NULL;
}

static const char *one_header(const struct mkv_header *h, struct s3_checksum_value *want,
                              enum s3_checksum *trailer, enum s3_checksum *algorithm)
{
    enum s3_checksum kind;

    if (s3_checksum_by_header(h->name, &kind)) {
        if (want->kind != S3_CHECKSUM_NONE)
            return "Expecting a single x-amz-checksum- header. Several were sent.";
        if (!s3_checksum_parse(kind, h->value, want) || want->parts)
            return "The value of an x-amz-checksum- header is not valid.";
    } else if (mkv_slice_ieq(h->name, MKV_SLICE("x-amz-trailer"))) {
        return announced(h->value, trailer);
    } else if (mkv_slice_ieq(h->name, MKV_SLICE("x-amz-sdk-checksum-algorithm")) ||
               mkv_slice_ieq(h->name, MKV_SLICE("x-amz-checksum-algorithm"))) {
        if (!s3_checksum_by_name(h->value, &kind))
            return "The checksum algorithm is not one of CRC32, CRC32C, CRC64NVME, SHA1, SHA256.";
        if (*algorithm != S3_CHECKSUM_NONE && *algorithm != kind)
            return "Two checksum algorithms are named.";
        *algorithm = kind;
    }
    return NULL;
}

enum s3_error s3_checksum_of_headers(const struct mkv_header *headers, size_t n,
                                     struct s3_checksum_value *want, enum s3_checksum *trailer,
                                     enum s3_checksum *algorithm, const char **why)
{
    enum s3_checksum sent;

    memset(want, 0, sizeof(*want));
    *trailer = *algorithm = S3_CHECKSUM_NONE;
    *why = NULL;
    for (size_t i = 0; i < n && !*why; i++)
        *why = one_header(&headers[i], want, trailer, algorithm);
    if (*why) return S3_INVALID_REQUEST;
    sent = want->kind != S3_CHECKSUM_NONE ? want->kind : *trailer;
    if (want->kind != S3_CHECKSUM_NONE && *trailer != S3_CHECKSUM_NONE)
        *why = "Expecting a single checksum: one was sent, another one announced.";
    else if (sent != S3_CHECKSUM_NONE && *algorithm != S3_CHECKSUM_NONE && *algorithm != sent)
        *why = "The checksum is not of the algorithm that is named.";
    return *why ? S3_INVALID_REQUEST : S3_OK;
}

/* ---- text ------------------------------------------------------------------------ */

size_t s3_checksum_text(const struct s3_checksum_value *v, char out[S3_CHECKSUM_TEXT_MAX])
{
    size_t len = s3_base64(out, v->bytes, kinds[v->kind].len);

    if (v->parts)
        len += (size_t)snprintf(out + len, S3_CHECKSUM_TEXT_MAX - len, "-%u", v->parts % 100000);
    return len;
}

bool s3_checksum_parse(enum s3_checksum kind, struct mkv_slice text, struct s3_checksum_value *out)
{
    const char *dash = text.len ? memchr(text.data, '-', text.len) : NULL;
    struct s3_checksum_value v = {.kind = kind};
    unsigned long long parts = 0;
    size_t len;

    if (dash) {
        struct mkv_slice behind = mkv_slice(dash + 1, text.len - (size_t)(dash - text.data) - 1);

        if (!mkv_slice_number(behind, PARTS_MAX, &parts) || !parts) return false;
        text.len = (size_t)(dash - text.data);
    }
    v.parts = (unsigned)parts;
    if (!s3_unbase64(text, v.bytes, kinds[kind].len, &len) || len != kinds[kind].len) return false;
    *out = v;
    return true;
}

bool s3_checksum_equal(const struct s3_checksum_value *a, const struct s3_checksum_value *b)
{
    return a->kind == b->kind && a->parts == b->parts &&
           memcmp(a->bytes, b->bytes, kinds[a->kind].len) == 0;
}

/* ---- sums ------------------------------------------------------------------------- */

static bool is_crc(enum s3_checksum kind, enum s3_crc *crc)
{
    switch (kind) {
    case S3_CHECKSUM_CRC32: *crc = S3_CRC32; return true;
    case S3_CHECKSUM_CRC32C: *crc = S3_CRC32C; return true;
    case S3_CHECKSUM_CRC64NVME: *crc = S3_CRC64NVME; return true;
    default: return false;
    }
}

static void put_big_endian(uint8_t *out, uint64_t value, size_t len)
{
    for (size_t i = len; i > 0; i--, value >>= 8)
        out[i - 1] = (uint8_t)value;
}

/* Of the longer ones, which are no numbers, the last eight bytes. */
static uint64_t get_big_endian(const uint8_t *in, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | in[i];
    return value;
}

enum mkv_err s3_sum_init(struct s3_sum *s, enum s3_checksum kind)
{
    memset(s, 0, sizeof(*s));
    s->kind = kind;
    if (kind == S3_CHECKSUM_SHA1) return mkv_digest_new_sha1(&s->sha);
    if (kind == S3_CHECKSUM_SHA256) return mkv_digest_new_sha256(&s->sha);
    return MKV_OK;
}

void s3_sum_add(struct s3_sum *s, const void *data, size_t len)
{
    enum s3_crc crc;

    if (s->sha)
        mkv_digest_add(s->sha, data, len);
    else if (is_crc(s->kind, &crc))
        s->crc = s3_crc(crc, s->crc, data, len);
}

void s3_sum_final(struct s3_sum *s, struct s3_checksum_value *out)
{
    memset(out, 0, sizeof(*out));
    out->kind = s->kind;
    if (s->sha) {
        mkv_digest_final(s->sha, out->bytes);
        s->sha = NULL;
    } else {
        put_big_endian(out->bytes, s->crc, kinds[s->kind].len);
    }
    s3_sum_clear(s);
}

void s3_sum_clear(struct s3_sum *s)
{
    mkv_digest_free(s->sha);
    memset(s, 0, sizeof(*s));
}

void s3_sum_add_part(struct s3_sum *s, const struct s3_checksum_value *part)
{
    s3_sum_add(s, part->bytes, kinds[part->kind].len);
}

void s3_sum_final_parts(struct s3_sum *s, unsigned parts, struct s3_checksum_value *out)
{
    s3_sum_final(s, out);
    out->parts = parts;
}

void s3_checksum_join(struct s3_checksum_value *a, const struct s3_checksum_value *b,
                      uint64_t len_b)
{
    size_t len = kinds[a->kind].len;
    uint64_t sum_a = get_big_endian(a->bytes, len), sum_b = get_big_endian(b->bytes, len);
    enum s3_crc crc;

    if (is_crc(a->kind, &crc)) put_big_endian(a->bytes, s3_crc_join(crc, sum_a, sum_b, len_b), len);
}
