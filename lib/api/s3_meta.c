#include "api/s3_meta.h"

#include "mkv/digest.h"
#include "mkv/loop.h"

#include <stdio.h>
#include <stdlib.h>

#define USER_PREFIX "x-amz-meta-"

/* ---- numbers in fields: LEB128, as in the record ------------------------------------ */

static uint8_t *put_number(uint8_t *at, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        *at++ = (uint8_t)(n | 0x80);
    *at++ = (uint8_t)n;
    return at;
}

static bool get_number(struct mkv_slice *rest, uint64_t *n)
{
    *n = 0;
    for (unsigned shift = 0; rest->len && shift < 64; shift += 7) {
        uint8_t byte = (uint8_t)rest->data[0];

        *rest = mkv_slice(rest->data + 1, rest->len - 1);
        if (shift == 63 && byte > 1) return false;
        *n |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

/* ---- headers ------------------------------------------------------------------------ */

static const struct {
    struct mkv_slice name;
    enum mkv_field field;
} kept[] = {
    {{"Content-Type", 12},        MKV_FIELD_CONTENT_TYPE       },
    {{"Cache-Control", 13},       MKV_FIELD_CACHE_CONTROL      },
    {{"Content-Disposition", 19}, MKV_FIELD_CONTENT_DISPOSITION},
    {{"Content-Encoding", 16},    MKV_FIELD_CONTENT_ENCODING   },
    {{"Content-Language", 16},    MKV_FIELD_CONTENT_LANGUAGE   },
    {{"Expires", 7},              MKV_FIELD_EXPIRES            },
    {{"x-amz-storage-class", 19}, MKV_FIELD_STORAGE_CLASS      },
};
#define KEPT (sizeof(kept) / sizeof(kept[0]))

/* What we do not do must not be promised by silence.  value: the one that asks
 * for nothing; NULL: any asks for something. */
static const struct {
    struct mkv_slice name;
    const char *harmless;
    const char *why;
} refused[] = {
    {{"x-amz-server-side-encryption", 28},                    NULL,
     "Encryption on the server is not implemented."                                        },
    {{"x-amz-server-side-encryption-customer-algorithm", 47}, NULL,
     "Encryption on the server is not implemented."                                        },
    {{"x-amz-object-lock-mode", 22},                          NULL,
     "Object lock is not implemented."                                                     },
    {{"x-amz-object-lock-retain-until-date", 35},             NULL,
     "Object lock is not implemented."                                                     },
    {{"x-amz-object-lock-legal-hold", 28},                    "OFF",
     "Object lock is not implemented."                                                     },
    {{"x-amz-tagging", 13},                                   "",
     "Object tags are not implemented."                                                    },
    {{"x-amz-website-redirect-location", 31},                 NULL,
     "Redirects of a website are not implemented."                                         },
    {{"x-amz-grant-read", 16},                                NULL,
     "Access is given by -keys, not by grants."                                            },
    {{"x-amz-grant-write", 17},                               NULL,
     "Access is given by -keys, not by grants."                                            },
    {{"x-amz-grant-read-acp", 20},                            NULL,
     "Access is given by -keys, not by grants."                                            },
    {{"x-amz-grant-write-acp", 21},                           NULL,
     "Access is given by -keys, not by grants."                                            },
    {{"x-amz-grant-full-control", 24},                        NULL,
     "Access is given by -keys, not by grants."                                            },
};

static bool is_private_acl(struct mkv_slice value)
{
    static const char *const fine[] = {"private", "bucket-owner-read", "bucket-owner-full-control"};

    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        if (mkv_slice_eq(value, mkv_slice_of(fine[i]))) return true;
    return false;
}

static const char *find_refused(const struct mkv_header *h)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (mkv_slice_ieq(h->name, refused[i].name) &&
            !(refused[i].harmless && mkv_slice_eq(h->value, mkv_slice_of(refused[i].harmless))))
            return refused[i].why;
    if (mkv_slice_ieq(h->name, MKV_SLICE("x-amz-acl")) && !is_private_acl(h->value))
        return "Only private objects are there: access is given by -keys.";
    return NULL;
}

/* "aws-chunked,gzip" -> "gzip": how a body travelled is not how it is stored. */
static size_t without_aws_chunked(struct mkv_slice value, char *out)
{
    size_t n = 0;

    while (value.len) {
        const char *comma = memchr(value.data, ',', value.len);
        size_t len = comma ? (size_t)(comma - value.data) : value.len;
        struct mkv_slice one = mkv_slice_trim(mkv_slice(value.data, len));

        if (one.len && !mkv_slice_ieq(one, MKV_SLICE("aws-chunked"))) {
            if (n) out[n++] = ',';
            memcpy(out + n, one.data, one.len);
            n += one.len;
        }
        if (comma) len++;
        value = mkv_slice(value.data + len, value.len - len);
    }
    return n;
}

/* Headers of a request are clean already; fields of a form need not be, and would
 * forge headers of the answers. */
static bool is_clean(struct mkv_slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.data[i] < ' ' && value.data[i] != '\t') || value.data[i] == 0x7f)
            return false;
    return true;
}

static bool is_name(struct mkv_slice name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            !memchr(marks, c, sizeof(marks) - 1))
            return false;
    }
    return true;
}

/* *total: bytes kept so far.  They go out again in one head, with ours. */
static enum s3_error keep_header(const struct mkv_header *h, struct mkv_record *fields,
                                 size_t *total)
{
    char encoding[HTTP1_HEAD_MAX];
    struct mkv_slice value = h->value;

    for (size_t i = 0; i < KEPT; i++) {
        if (!mkv_slice_ieq(h->name, kept[i].name)) continue;
        if (!is_clean(value)) return S3_INVALID_ARGUMENT;
        *total += h->name.len + value.len;
        if (*total > HTTP1_HEAD_MAX) return S3_METADATA_TOO_LARGE; /* a form's fields may be */
        if (kept[i].field == MKV_FIELD_CONTENT_ENCODING)
            value = mkv_slice(encoding, without_aws_chunked(value, encoding));
        return mkv_record_set_field(fields, kept[i].field, value) ? S3_INTERNAL_ERROR : S3_OK;
    }
    return S3_OK;
}

/* ---- user metadata: (number, name, number, value)... ---------------------------------- */

static bool is_user(const struct mkv_header *h)
{
    static const size_t len = sizeof(USER_PREFIX) - 1;

    return h->name.len > len &&
           mkv_slice_ieq(mkv_slice(h->name.data, len), MKV_SLICE(USER_PREFIX));
}

static uint8_t *put_text(uint8_t *at, struct mkv_slice s)
{
    at = put_number(at, s.len);
    if (s.len) memcpy(at, s.data, s.len);
    return at + s.len;
}

static bool get_text(struct mkv_slice *rest, struct mkv_slice *out)
{
    uint64_t len;

    if (!get_number(rest, &len) || len > rest->len) return false;
    *out = mkv_slice(rest->data, (size_t)len);
    *rest = mkv_slice(rest->data + len, rest->len - (size_t)len);
    return true;
}

static void lower(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z') text[i] = (char)(text[i] - 'A' + 'a');
}

static enum s3_error keep_user(const struct mkv_header *headers, size_t n,
                               struct mkv_record *fields)
{
    /* Two numbers of at most two bytes for each header. */
    uint8_t bytes[S3_USER_METADATA_MAX + 4 * HTTP1_HEADERS_MAX], *at = bytes;
    size_t total = 0;

    for (size_t i = 0; i < n; i++) {
        struct mkv_slice name;
        uint8_t *name_at;

        if (!is_user(&headers[i])) continue;
        name = mkv_slice(headers[i].name.data + sizeof(USER_PREFIX) - 1,
                         headers[i].name.len - (sizeof(USER_PREFIX) - 1));
        if (!is_name(name) || !is_clean(headers[i].value)) return S3_INVALID_ARGUMENT;
        total += name.len + headers[i].value.len;
        if (total > S3_USER_METADATA_MAX) return S3_METADATA_TOO_LARGE;
        at = put_text(at, name);
        name_at = at - name.len;
        lower((char *)name_at, name.len);
        at = put_text(at, headers[i].value);
    }
    return mkv_record_set_field(fields, MKV_FIELD_USER_METADATA,
                                mkv_slice((const char *)bytes, (size_t)(at - bytes)))
               ? S3_INTERNAL_ERROR
               : S3_OK;
}

enum s3_error s3_meta_check_headers(const struct mkv_header *headers, size_t n, const char **why)
{
    *why = NULL;
    for (size_t i = 0; i < n && !*why; i++)
        *why = find_refused(&headers[i]);
    return *why ? S3_NOT_IMPLEMENTED : S3_OK;
}

enum s3_error s3_meta_of_headers(const struct mkv_header *headers, size_t n,
                                 struct mkv_record *fields, const char **why)
{
    enum s3_error err = s3_meta_check_headers(headers, n, why);
    size_t total = 0;

    for (size_t i = 0; i < n && !err; i++)
        err = keep_header(&headers[i], fields, &total);
    return err ? err : keep_user(headers, n, fields);
}

enum s3_error s3_meta_copy(const struct mkv_record *source, struct mkv_record *fields)
{
    struct mkv_slice value;

    for (unsigned type = MKV_FIELD_CONTENT_TYPE; type <= MKV_FIELD_USER_METADATA; type++)
        if (mkv_record_field(source, type, &value) && mkv_record_set_field(fields, type, value))
            return S3_INTERNAL_ERROR;
    return S3_OK;
}

/* ---- back into headers ------------------------------------------------------------------ */

static void user_headers(const struct mkv_record *rec, struct s3_head *out)
{
    struct mkv_slice rest, name, value;

    if (!mkv_record_field(rec, MKV_FIELD_USER_METADATA, &rest)) return;
    while (rest.len && get_text(&rest, &name) && get_text(&rest, &value))
        s3_head_add_two(out, MKV_SLICE(USER_PREFIX), name, value);
}

void s3_meta_headers(const struct mkv_record *rec, struct mkv_slice object, struct s3_head *out)
{
    char etag[S3_ETAG_MAX], date[MKV_HTTP_DATE_MAX];
    struct mkv_slice value;

    mkv_http_date(date, rec->mtime < 0 ? 0 : rec->mtime);
    s3_head_add(out, MKV_SLICE("Last-Modified"), mkv_slice_of(date));
    s3_head_etag(out, mkv_slice(etag, s3_etag(rec, object, etag)));
    s3_head_add(out, MKV_SLICE("Accept-Ranges"), MKV_SLICE("bytes"));
    if (!mkv_record_field(rec, MKV_FIELD_CONTENT_TYPE, &value))
        s3_head_add(out, MKV_SLICE("Content-Type"), MKV_SLICE("binary/octet-stream"));
    for (size_t i = 0; i < KEPT; i++) {
        if (!mkv_record_field(rec, kept[i].field, &value)) continue;
        if (kept[i].field == MKV_FIELD_STORAGE_CLASS && mkv_slice_eq(value, MKV_SLICE("STANDARD")))
            continue; /* which AWS does not name either */
        s3_head_add(out, kept[i].name, value);
    }
    user_headers(rec, out);
}

/* ---- ETag ---------------------------------------------------------------------------- */

size_t s3_etag(const struct mkv_record *rec, struct mkv_slice object, char out[S3_ETAG_MAX])
{
    char text[96];
    uint8_t md5[MKV_MD5_LEN];
    struct mkv_slice multipart;
    int n;

    if (mkv_record_field(rec, MKV_FIELD_MULTIPART_ETAG, &multipart) &&
        multipart.len < S3_ETAG_MAX) {
        memcpy(out, multipart.data, multipart.len);
        out[multipart.len] = '\0';
        return multipart.len;
    }
    if (rec->has_md5) {
        mkv_hex(out, rec->md5, MKV_MD5_LEN);
        return 2 * MKV_MD5_LEN;
    }
    /* Not of its size, which may become known later. */
    n = snprintf(text, sizeof(text), "\n%llu %lld", (unsigned long long)rec->generation,
                 (long long)rec->mtime);
    mkv_md5_two(object, mkv_slice(text, (size_t)n), md5);
    mkv_hex(out, md5, MKV_MD5_LEN);
    memcpy(out + 2 * MKV_MD5_LEN, "-1", 3);
    return 2 * MKV_MD5_LEN + 2;
}

void s3_describe(struct s3_described *out, const struct mkv_record *rec, struct mkv_slice object)
{
    out->is.etag = mkv_slice(out->etag, s3_etag(rec, object, out->etag));
    out->is.mtime = rec->mtime;
    out->is.size = rec->size < 0 ? 0 : (uint64_t)rec->size;
}

/* ---- checksum: kind, number of parts, bytes -------------------------------------------- */

enum mkv_err s3_meta_set_checksum(struct mkv_record *rec, const struct s3_checksum_value *sum)
{
    uint8_t bytes[1 + 10 + S3_CHECKSUM_MAX], *at = bytes;
    size_t len = s3_checksum_len(sum->kind);

    if (!sum->kind) return mkv_record_set_field(rec, MKV_FIELD_CHECKSUMS, mkv_slice(NULL, 0));
    *at++ = (uint8_t)sum->kind;
    at = put_number(at, sum->parts);
    memcpy(at, sum->bytes, len);
    at += len;
    return mkv_record_set_field(rec, MKV_FIELD_CHECKSUMS,
                                mkv_slice((const char *)bytes, (size_t)(at - bytes)));
}

bool s3_meta_checksum(const struct mkv_record *rec, struct s3_checksum_value *out)
{
    struct mkv_slice rest;
    uint64_t kind, parts;

    memset(out, 0, sizeof(*out));
    if (!mkv_record_field(rec, MKV_FIELD_CHECKSUMS, &rest) || !get_number(&rest, &kind) ||
        !get_number(&rest, &parts) || kind == S3_CHECKSUM_NONE || kind >= S3_CHECKSUM_COUNT ||
        parts > UINT32_MAX || rest.len != s3_checksum_len((enum s3_checksum)kind))
        return false;
    out->kind = (enum s3_checksum)kind;
    out->parts = (unsigned)parts;
    memcpy(out->bytes, rest.data, rest.len);
    return true;
}

void s3_meta_checksum_headers(const struct mkv_record *rec, struct s3_head *out)
{
    struct s3_checksum_value sum;
    char text[S3_CHECKSUM_TEXT_MAX];

    if (!s3_meta_checksum(rec, &sum)) return;
    s3_head_add(out, s3_checksum_header(sum.kind), mkv_slice(text, s3_checksum_text(&sum, text)));
    s3_head_add(out, MKV_SLICE("x-amz-checksum-type"),
                sum.parts ? MKV_SLICE("COMPOSITE") : MKV_SLICE("FULL_OBJECT"));
}

void s3_meta_checksum_xml(const struct mkv_record *rec, struct s3_xml *x)
{
    struct s3_checksum_value sum;
    char text[S3_CHECKSUM_TEXT_MAX];

    if (!s3_meta_checksum(rec, &sum)) return;
    s3_xml_text(x, s3_checksum_element(sum.kind).data,
                mkv_slice(text, s3_checksum_text(&sum, text)));
    s3_xml_text(x, "ChecksumType", sum.parts ? MKV_SLICE("COMPOSITE") : MKV_SLICE("FULL_OBJECT"));
}

/* ---- parts: (count, size)... ------------------------------------------------------------ */

enum mkv_err s3_meta_set_parts(struct mkv_record *rec, const uint64_t *sizes, unsigned n)
{
    uint8_t *bytes = malloc(n * (size_t)20 + 1), *at = bytes;
    enum mkv_err err;

    if (!bytes) return MKV_ENOMEM;
    for (unsigned i = 0; i < n;) {
        unsigned run = 1;

        while (i + run < n && sizes[i + run] == sizes[i])
            run++;
        at = put_number(put_number(at, run), sizes[i]);
        i += run;
    }
    err = mkv_record_set_field(rec, MKV_FIELD_PART_SIZES,
                               mkv_slice((const char *)bytes, (size_t)(at - bytes)));
    free(bytes);
    return err;
}

unsigned s3_meta_part_count(const struct mkv_record *rec)
{
    struct mkv_slice rest;
    uint64_t run, size, n = 0;

    if (!mkv_record_field(rec, MKV_FIELD_PART_SIZES, &rest)) return 0;
    while (rest.len && get_number(&rest, &run) && get_number(&rest, &size) && n < S3_PARTS_MAX)
        n += run;
    return n > S3_PARTS_MAX ? S3_PARTS_MAX : (unsigned)n;
}

bool s3_meta_part(const struct mkv_record *rec, unsigned number, uint64_t *first,
                  uint64_t *length)
{
    struct mkv_slice rest;
    uint64_t run, size, before = 0;

    *first = 0;
    if (!mkv_record_field(rec, MKV_FIELD_PART_SIZES, &rest)) {
        *length = rec->size < 0 ? 0 : (uint64_t)rec->size;
        return number == 1;
    }
    while (number && rest.len && get_number(&rest, &run) && get_number(&rest, &size)) {
        if (run > UINT32_MAX || size > INT64_MAX / S3_PARTS_MAX) return false;
        if (number <= before + run) {
            *first += (number - 1 - before) * size;
            *length = size;
            return true;
        }
        before += run;
        *first += run * size;
    }
    return false;
}
