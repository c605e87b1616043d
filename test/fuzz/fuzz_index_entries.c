/* Buckets, uploads and parts as they come from the disk: what is read is within
 * its limits, and written again it is the same bytes.
 *
 * Input: which of the three, the length of the stored key, that key, the value. */
#include "index/entries.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static void check_error(enum mkv_err err)
{
    CHECK(err == MKV_ECORRUPT || err == MKV_ENEWER);
}

static uint8_t *room(size_t len)
{
    uint8_t *out = malloc(len);

    CHECK(out);
    return out;
}

static void try_bucket(const MDB_val *stored, const MDB_val *value)
{
    struct mkv_bucket b;
    enum mkv_err err = get_bucket(stored, value, &b);
    uint8_t *again;

    if (err) {
        check_error(err);
        return;
    }
    CHECK(b.name_len > 0 && b.name_len <= MKV_BUCKET_MAX && b.owner_len <= MKV_OWNER_MAX);
    CHECK(bucket_value_len(&b) == value->mv_size);
    again = room(value->mv_size);
    put_bucket_value(again, &b);
    CHECK(memcmp(again, value->mv_data, value->mv_size) == 0);
    free(again);
}

static void try_upload(const MDB_val *stored, const MDB_val *value)
{
    struct upload_entry e;
    struct mkv_upload u;
    uint8_t buf[STORED_MAX], *again;
    MDB_val key;
    enum mkv_err err = get_upload(stored, value, &e);

    if (err) {
        check_error(err);
        return;
    }
    CHECK(e.key.len > 0 && e.key.len <= MKV_KEY_MAX && !memchr(e.key.data, '\0', e.key.len));
    key = stored_upload(e.key, e.id, buf);
    CHECK(key.mv_size == stored->mv_size);
    /* The hash of a long key is not looked at. */
    CHECK(memcmp(buf, stored->mv_data, stored_upload_is_long(&key) ? UPLOAD_PLAIN : key.mv_size) == 0);
    mkv_record_init(&u.what);
    if (mkv_record_decode(&u.what, e.record.mv_data, e.record.mv_size)) return;
    memcpy(u.key, e.key.data, e.key.len);
    u.key_len = e.key.len;
    CHECK(upload_value_len(&u) == value->mv_size);
    again = room(value->mv_size);
    put_upload_value(again, &u);
    CHECK(memcmp(again, value->mv_data, value->mv_size) == 0);
    free(again);
    mkv_record_clear(&u.what);
}

static void try_part(const MDB_val *stored, const MDB_val *value)
{
    uint8_t key[PART_KEY_LEN], *again;
    struct mkv_part p;
    enum mkv_err err;

    mkv_record_init(&p.what);
    err = get_part(stored, value, &p);
    if (err) {
        check_error(err);
        return;
    }
    CHECK(p.number > 0 && p.number <= MKV_PARTS_MAX);
    put_part_key(key, stored->mv_data, p.number);
    CHECK(memcmp(key, stored->mv_data, sizeof(key)) == 0);
    CHECK(part_value_len(&p) == value->mv_size);
    again = room(value->mv_size);
    put_part_value(again, &p);
    CHECK(memcmp(again, value->mv_data, value->mv_size) == 0);
    free(again);
    mkv_record_clear(&p.what);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t key_len;
    MDB_val stored, value;
    uint8_t *key, *rest;

    if (len < 3) return 0;
    key_len = (size_t)data[1] << 8 | data[2];
    if (key_len == 0 || key_len > STORED_MAX || len < 3 + key_len) return 0;
    key = room(key_len); /* of their own, so that a read beyond the end shows */
    memcpy(key, data + 3, key_len);
    rest = malloc(len - 3 - key_len);
    if (len > 3 + key_len) memcpy(rest, data + 3 + key_len, len - 3 - key_len);
    stored = (MDB_val){key_len, key};
    value = (MDB_val){len - 3 - key_len, rest};
    if (data[0] % 3 == 0)
        try_bucket(&stored, &value);
    else if (data[0] % 3 == 1)
        try_upload(&stored, &value);
    else
        try_part(&stored, &value);
    free(rest);
    free(key);
    return 0;
}
