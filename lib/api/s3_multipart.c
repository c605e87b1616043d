#include "api/s3_multipart.h"

/* ---- which one ----------------------------------------------------------------------------- */

void s3_upload_id_text(const uint8_t id[MKV_UPLOAD_ID_LEN], char out[S3_UPLOAD_ID_TEXT + 1])
{
    mkv_hex(out, id, MKV_UPLOAD_ID_LEN);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool s3_upload_id_parse(struct mkv_slice text, uint8_t id[MKV_UPLOAD_ID_LEN])
{
    if (text.len != S3_UPLOAD_ID_TEXT) return false;
    for (size_t i = 0; i < MKV_UPLOAD_ID_LEN; i++) {
        int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);

        if (high < 0 || low < 0) return false;
        id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

enum s3_error s3_upload_id(const struct s3_call *c, uint8_t id[MKV_UPLOAD_ID_LEN])
{
    char text[S3_UPLOAD_ID_TEXT];
    size_t len;

    if (!s3_param_text(c, "uploadId", text, sizeof(text), &len) ||
        !s3_upload_id_parse(mkv_slice(text, len), id))
        return S3_NO_SUCH_UPLOAD;
    return S3_OK;
}

enum s3_error s3_upload_get(const struct s3_call *c, const uint8_t id[MKV_UPLOAD_ID_LEN],
                            struct mkv_upload *out)
{
    enum mkv_err err =
        mkv_index_upload_get(mkv_store_index(c->api->store), c->object, id, out);

    if (err == MKV_ENOKEY) return S3_NO_SUCH_UPLOAD;
    return err ? S3_INTERNAL_ERROR : S3_OK;
}

enum s3_error s3_upload_find(const struct s3_call *c, struct mkv_upload *out)
{
    uint8_t id[MKV_UPLOAD_ID_LEN];
    enum s3_error err = s3_upload_id(c, id);

    return err ? err : s3_upload_get(c, id, out);
}

/* ---- its checksum: kind, 1 where it is of the full object ---------------------------------- */

enum s3_error s3_upload_sum_of_headers(const struct s3_call *c, struct s3_upload_sum *out,
                                       const char **why)
{
    struct mkv_slice name = s3_header(c, "x-amz-checksum-algorithm");
    struct mkv_slice type = s3_header(c, "x-amz-checksum-type");

    *out = (struct s3_upload_sum){S3_CHECKSUM_NONE, false};
    if (name.data && !s3_checksum_by_name(name, &out->kind))
        *why = "x-amz-checksum-algorithm is none of CRC32, CRC32C, CRC64NVME, SHA1, SHA256.";
    else if (type.data && !name.data)
        *why = "x-amz-checksum-type needs x-amz-checksum-algorithm.";
    else if (!type.data)
        out->full = out->kind == S3_CHECKSUM_CRC64NVME; /* which there is in no other way */
    else if (mkv_slice_eq(type, MKV_SLICE("FULL_OBJECT")))
        out->full = true;
    else if (!mkv_slice_eq(type, MKV_SLICE("COMPOSITE")))
        *why = "x-amz-checksum-type is COMPOSITE or FULL_OBJECT.";
    if (*why) return S3_INVALID_REQUEST;
    if (out->full && (out->kind == S3_CHECKSUM_SHA1 || out->kind == S3_CHECKSUM_SHA256))
        *why = "Only the CRC checksums can be of type FULL_OBJECT.";
    if (!out->full && out->kind == S3_CHECKSUM_CRC64NVME)
        *why = "CRC64NVME can only be of type FULL_OBJECT.";
    return *why ? S3_INVALID_REQUEST : S3_OK;
}

enum mkv_err s3_upload_set_sum(struct mkv_record *what, struct s3_upload_sum sum)
{
    const char bytes[2] = {(char)sum.kind, sum.full};

    return mkv_record_set_field(what, MKV_FIELD_UPLOAD_CHECKSUM,
                                mkv_slice(bytes, sum.kind ? sizeof(bytes) : 0));
}

struct s3_upload_sum s3_upload_sum(const struct mkv_record *what)
{
    struct s3_upload_sum sum = {S3_CHECKSUM_NONE, false};
    struct mkv_slice bytes;

    if (!mkv_record_field(what, MKV_FIELD_UPLOAD_CHECKSUM, &bytes) || bytes.len != 2 ||
        (uint8_t)bytes.data[0] >= S3_CHECKSUM_COUNT)
        return sum;
    sum.kind = (enum s3_checksum)bytes.data[0];
    sum.full = bytes.data[1] == 1;
    return sum;
}

struct mkv_slice s3_upload_sum_type(struct s3_upload_sum sum)
{
    return sum.full ? MKV_SLICE("FULL_OBJECT") : MKV_SLICE("COMPOSITE");
}

void s3_upload_sum_xml(struct s3_upload_sum sum, struct s3_xml *x)
{
    if (!sum.kind) return;
    s3_xml_text(x, "ChecksumAlgorithm", s3_checksum_name(sum.kind));
    s3_xml_text(x, "ChecksumType", s3_upload_sum_type(sum));
}

void s3_upload_owner_xml(const struct s3_call *c, const struct mkv_record *what, struct s3_xml *x)
{
    struct mkv_slice storage_class;

    s3_xml_open(x, "Initiator");
    s3_who_xml(x, c);
    s3_xml_close(x, "Initiator");
    s3_xml_open(x, "Owner");
    s3_who_xml(x, c);
    s3_xml_close(x, "Owner");
    if (!mkv_record_field(what, MKV_FIELD_STORAGE_CLASS, &storage_class))
        storage_class = MKV_SLICE("STANDARD");
    s3_xml_text(x, "StorageClass", storage_class);
}

/* ---- ending it ----------------------------------------------------------------------------- */

bool s3_upload_is_ending(const struct mkv_s3 *s3, const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    struct s3_ending *e;

    LIST_FOREACH(e, &s3->endings, all)
        if (memcmp(e->id, id, MKV_UPLOAD_ID_LEN) == 0) return true;
    return false;
}

void s3_ending_begin(struct s3_ending *e, struct mkv_s3 *s3, const uint8_t id[MKV_UPLOAD_ID_LEN],
                     void (*drop)(void *arg), void *arg)
{
    memcpy(e->id, id, MKV_UPLOAD_ID_LEN);
    e->drop = drop;
    e->arg = arg;
    LIST_INSERT_HEAD(&s3->endings, e, all);
}

void s3_ending_end(struct s3_ending *e)
{
    LIST_REMOVE(e, all);
}
