#include "index/entries.h"

/* The version byte, which must be there and known. */
static enum mkv_err check_version(const MDB_val *value)
{
    const uint8_t *data = value->mv_data;

    if (value->mv_size == 0 || data[0] == 0) return MKV_ECORRUPT;
    return data[0] > ENTRY_VERSION ? MKV_ENEWER : MKV_OK;
}

static MDB_val rest_of(const MDB_val *value, size_t from)
{
    return (MDB_val){value->mv_size - from, (uint8_t *)value->mv_data + from};
}

/* ---- buckets: version, created, owner --------------------------------------------- */

#define BUCKET_HEAD (1 + 8)

size_t bucket_value_len(const struct mkv_bucket *bucket)
{
    return BUCKET_HEAD + bucket->owner_len;
}

void put_bucket_value(uint8_t *out, const struct mkv_bucket *bucket)
{
    out[0] = ENTRY_VERSION;
    put_be64(out + 1, (uint64_t)bucket->created);
    memcpy(out + BUCKET_HEAD, bucket->owner, bucket->owner_len);
}

enum mkv_err get_bucket(const MDB_val *stored, const MDB_val *value, struct mkv_bucket *out)
{
    enum mkv_err err = check_version(value);
    MDB_val owner;

    if (err) return err;
    if (stored->mv_size == 0 || stored->mv_size > MKV_BUCKET_MAX ||
        value->mv_size < BUCKET_HEAD || value->mv_size > BUCKET_HEAD + MKV_OWNER_MAX)
        return MKV_ECORRUPT;
    owner = rest_of(value, BUCKET_HEAD);
    memcpy(out->name, stored->mv_data, stored->mv_size);
    out->name_len = stored->mv_size;
    out->created = (int64_t)get_be64((const uint8_t *)value->mv_data + 1);
    memcpy(out->owner, owner.mv_data, owner.mv_size);
    out->owner_len = owner.mv_size;
    return MKV_OK;
}

/* ---- uploads: version, key with its length, record --------------------------------- */

MDB_val stored_upload(struct mkv_slice key, const uint8_t id[MKV_UPLOAD_ID_LEN],
                      uint8_t buf[STORED_MAX])
{
    bool is_long = key.len > UPLOAD_PLAIN;
    size_t len = is_long ? UPLOAD_PLAIN : key.len;

    memcpy(buf, key.data, len);
    buf[len++] = is_long ? UPLOAD_GROUP : 0;
    if (is_long) {
        mkv_sha256(key, buf + len);
        len += MKV_SHA256_LEN;
    }
    memcpy(buf + len, id, MKV_UPLOAD_ID_LEN);
    return (MDB_val){len + MKV_UPLOAD_ID_LEN, buf};
}

size_t upload_value_len(const struct mkv_upload *upload)
{
    return 1 + KEY_HEAD(upload->key_len) + mkv_record_encoded_len(&upload->what);
}

void put_upload_value(uint8_t *out, const struct mkv_upload *upload)
{
    *out++ = ENTRY_VERSION;
    out = put_key_head(out, mkv_slice(upload->key, upload->key_len));
    mkv_record_encode(&upload->what, out);
}

/* Does the stored key fit the whole one?  The hash is taken on trust. */
static bool fits(const MDB_val *stored, struct mkv_slice key)
{
    const uint8_t *data = stored->mv_data;
    bool is_long = key.len > UPLOAD_PLAIN;
    size_t len = is_long ? UPLOAD_PLAIN : key.len;

    return stored->mv_size == (is_long ? STORED_MAX : len + 1 + MKV_UPLOAD_ID_LEN) &&
           data[len] == (is_long ? UPLOAD_GROUP : 0) && memcmp(data, key.data, len) == 0;
}

enum mkv_err get_upload(const MDB_val *stored, const MDB_val *value, struct upload_entry *out)
{
    enum mkv_err err = check_version(value);
    MDB_val rest;

    if (err) return err;
    rest = rest_of(value, 1);
    if (!get_key_head(&rest, &out->key, &out->record) || !fits(stored, out->key) ||
        memchr(out->key.data, '\0', out->key.len))
        return MKV_ECORRUPT;
    out->id = (const uint8_t *)stored->mv_data + stored->mv_size - MKV_UPLOAD_ID_LEN;
    return MKV_OK;
}

/* ---- parts: version, serial, record -------------------------------------------------- */

#define PART_HEAD (1 + 8)

void put_part_key(uint8_t out[PART_KEY_LEN], const uint8_t id[MKV_UPLOAD_ID_LEN], unsigned number)
{
    memcpy(out, id, MKV_UPLOAD_ID_LEN);
    out[MKV_UPLOAD_ID_LEN] = (uint8_t)(number >> 8);
    out[MKV_UPLOAD_ID_LEN + 1] = (uint8_t)number;
}

size_t part_value_len(const struct mkv_part *part)
{
    return PART_HEAD + mkv_record_encoded_len(&part->what);
}

void put_part_value(uint8_t *out, const struct mkv_part *part)
{
    out[0] = ENTRY_VERSION;
    put_be64(out + 1, part->serial);
    mkv_record_encode(&part->what, out + PART_HEAD);
}

enum mkv_err get_part(const MDB_val *stored, const MDB_val *value, struct mkv_part *out)
{
    const uint8_t *key = stored->mv_data;
    enum mkv_err err = check_version(value);
    unsigned number;
    MDB_val record;

    if (err) return err;
    if (stored->mv_size != PART_KEY_LEN || value->mv_size < PART_HEAD) return MKV_ECORRUPT;
    number = (unsigned)key[MKV_UPLOAD_ID_LEN] << 8 | key[MKV_UPLOAD_ID_LEN + 1];
    if (number == 0 || number > MKV_PARTS_MAX) return MKV_ECORRUPT;
    record = rest_of(value, PART_HEAD);
    err = mkv_record_decode(&out->what, record.mv_data, record.mv_size);
    if (err) return err;
    out->number = number;
    out->serial = get_be64((const uint8_t *)value->mv_data + 1);
    return MKV_OK;
}
