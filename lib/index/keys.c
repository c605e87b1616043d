#include "index/keys.h"

MDB_val stored_key(struct mkv_slice key, uint8_t buf[STORED_MAX])
{
    if (key.len <= STORED_PLAIN) return (MDB_val){key.len, (void *)key.data};
    memcpy(buf, key.data, STORED_PLAIN);
    mkv_sha256(key, buf + STORED_PLAIN);
    return (MDB_val){STORED_MAX, buf};
}

uint8_t *put_key_head(uint8_t *out, struct mkv_slice key)
{
    out[0] = (uint8_t)(key.len >> 8);
    out[1] = (uint8_t)key.len;
    memcpy(out + 2, key.data, key.len);
    return out + KEY_HEAD(key.len);
}

bool get_key_head(const MDB_val *value, struct mkv_slice *key, MDB_val *body)
{
    const uint8_t *data = value->mv_data;
    size_t len;

    if (value->mv_size < KEY_HEAD(0)) return false;
    len = (size_t)data[0] << 8 | data[1];
    if (len == 0 || len > MKV_KEY_MAX || value->mv_size < KEY_HEAD(len)) return false;
    *key = mkv_slice((const char *)data + 2, len);
    body->mv_size = value->mv_size - KEY_HEAD(len);
    body->mv_data = (uint8_t *)value->mv_data + KEY_HEAD(len);
    return true;
}

bool stored_entry(const MDB_val *stored, const MDB_val *value, struct mkv_slice *key, MDB_val *body)
{
    if (stored_is_long(stored))
        return get_key_head(value, key, body) && key->len > STORED_PLAIN &&
               memcmp(key->data, stored->mv_data, STORED_PLAIN) == 0;
    *key = mkv_slice(stored->mv_data, stored->mv_size);
    *body = *value;
    return true;
}

void put_garbage_key(uint8_t out[GARBAGE_KEY_LEN], int64_t due, uint64_t id)
{
    put_be64(out, (uint64_t)due ^ UINT64_C(1) << 63);
    put_be64(out + 8, id);
}

bool get_garbage_key(const MDB_val *stored, int64_t *due, uint64_t *id)
{
    const uint8_t *data = stored->mv_data;

    if (stored->mv_size != GARBAGE_KEY_LEN) return false;
    *due = (int64_t)(get_be64(data) ^ UINT64_C(1) << 63);
    *id = get_be64(data + 8);
    return true;
}

void put_by_key(uint8_t out[BY_KEY_LEN], const uint8_t md5[MKV_MD5_LEN], uint64_t generation,
                uint64_t id)
{
    memcpy(out, md5, MKV_MD5_LEN);
    put_be64(out + MKV_MD5_LEN, generation);
    put_be64(out + MKV_MD5_LEN + 8, id);
}
