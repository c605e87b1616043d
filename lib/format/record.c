#include "mkv/record.h"

#include <stdlib.h>

/* The second byte: the state and which of the optional parts follow. */
#define RECORD_VERSION 1
#define FLAG_STATE     0x03
#define FLAG_MD5       0x04
#define FLAG_SIZE      0x08
#define FLAG_MTIME     0x10
#define FLAG_FIELDS    0x20
#define FLAGS_RESERVED 0xc0

/* Numbers are LEB128: seven bits a byte, the lowest first.  Nothing that a
 * record holds needs more than 63 bits. */
#define VARINT_MAX_BYTES 9

void mkv_record_init(struct mkv_record *r)
{
    memset(r, 0, sizeof(*r));
    r->state = MKV_LIVE;
    r->size = -1;
    r->mtime = -1;
}

void mkv_record_clear(struct mkv_record *r)
{
    free(r->fields);
    mkv_record_init(r);
}

enum mkv_err mkv_record_copy(struct mkv_record *to, const struct mkv_record *from)
{
    uint8_t *fields = NULL;

    if (from->fields_len) {
        fields = malloc(from->fields_len);
        if (!fields) return MKV_ENOMEM;
        memcpy(fields, from->fields, from->fields_len);
    }
    free(to->fields);
    *to = *from;
    to->fields = fields;
    return MKV_OK;
}

/* ---- encoding -------------------------------------------------------------- */

static size_t varint_len(uint64_t value)
{
    size_t len = 1;

    while (value >>= 7)
        len++;
    return len;
}

static uint8_t *put_varint(uint8_t *p, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *p++ = (uint8_t)(value | 0x80);
    *p++ = (uint8_t)value;
    return p;
}

/* 0 says "no subvolume", which is by far the most common number of a store
 * with one disk for each server. */
static uint16_t subvolume_code(uint16_t subvolume)
{
    return (uint16_t)(subvolume + 1u);
}

_Static_assert((uint16_t)(MKV_NO_SUBVOLUME + 1u) == 0, "MKV_NO_SUBVOLUME must be coded as 0");

size_t mkv_record_encoded_len(const struct mkv_record *r)
{
    size_t len = 2 + varint_len(r->generation) + 1 + r->fields_len;

    if (r->size >= 0) len += varint_len((uint64_t)r->size);
    if (r->mtime >= 0) len += varint_len((uint64_t)r->mtime);
    if (r->has_md5) len += sizeof(r->md5);
    for (unsigned i = 0; i < r->nreplicas; i++)
        len += varint_len(r->replicas[i].volume) +
               varint_len(subvolume_code(r->replicas[i].subvolume));
    return len;
}

void mkv_record_encode(const struct mkv_record *r, uint8_t *out)
{
    unsigned flags = (unsigned)r->state & FLAG_STATE;

    if (r->has_md5) flags |= FLAG_MD5;
    if (r->size >= 0) flags |= FLAG_SIZE;
    if (r->mtime >= 0) flags |= FLAG_MTIME;
    if (r->fields_len) flags |= FLAG_FIELDS;
    *out++ = RECORD_VERSION;
    *out++ = (uint8_t)flags;
    out = put_varint(out, r->generation);
    if (r->size >= 0) out = put_varint(out, (uint64_t)r->size);
    if (r->mtime >= 0) out = put_varint(out, (uint64_t)r->mtime);
    if (r->has_md5) {
        memcpy(out, r->md5, sizeof(r->md5));
        out += sizeof(r->md5);
    }
    *out++ = (uint8_t)r->nreplicas;
    for (unsigned i = 0; i < r->nreplicas; i++) {
        out = put_varint(out, r->replicas[i].volume);
        out = put_varint(out, subvolume_code(r->replicas[i].subvolume));
    }
    if (r->fields_len) memcpy(out, r->fields, r->fields_len);
}

/* ---- decoding -------------------------------------------------------------- */

struct reader {
    const uint8_t *at; /* borrowed */
    size_t left;
};

static uint8_t read_byte(struct reader *in)
{
    in->left--;
    return *in->at++;
}

/* False where the number is cut short, longer than it needs to be (each number
 * has one form, so equal records are equal bytes), or more than max. */
static inline bool read_varint(struct reader *in, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (in->left && *in->at < 0x80) { /* most are this small; max is never smaller */
        *out = read_byte(in);
        return true;
    }

    for (unsigned i = 0; i < VARINT_MAX_BYTES && in->left; i++) {
        uint8_t byte = read_byte(in);

        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80) continue;
        *out = value;
        return value <= max && (byte || i == 0);
    }
    return false;
}

static bool read_replicas(struct mkv_record *r, struct reader *in)
{
    if (!in->left || *in->at > MKV_REPLICAS_MAX) return false;
    r->nreplicas = read_byte(in);
    for (unsigned i = 0; i < r->nreplicas; i++) {
        uint64_t volume, code;

        if (!read_varint(in, UINT32_MAX, &volume) || !read_varint(in, UINT16_MAX, &code))
            return false;
        r->replicas[i].volume = (uint32_t)volume;
        r->replicas[i].subvolume = (uint16_t)(code - 1u);
    }
    return true;
}

static bool read_field(struct reader *in, unsigned *type, struct mkv_slice *value)
{
    uint64_t number, len;

    if (!read_varint(in, UINT32_MAX, &number) || !read_varint(in, MKV_RECORD_FIELDS_MAX, &len) ||
        number == 0 || len == 0 || len > in->left)
        return false;
    *type = (unsigned)number;
    *value = mkv_slice((const char *)in->at, (size_t)len);
    in->at += len;
    in->left -= (size_t)len;
    return true;
}

/* At least one, types ascending, nothing left over. */
static bool fields_valid(struct reader in)
{
    unsigned type, last = 0;
    struct mkv_slice value;

    if (in.left == 0 || in.left > MKV_RECORD_FIELDS_MAX) return false;
    while (in.left) {
        if (!read_field(&in, &type, &value) || type <= last) return false;
        last = type;
    }
    return true;
}

/* Everything but the fields' memory; on success in is where the fields begin. */
static enum mkv_err read_fixed(struct mkv_record *r, struct reader *in)
{
    uint64_t number;
    uint8_t flags;

    if (in->left == 0 || in->at[0] == 0) return MKV_ECORRUPT;
    if (in->at[0] > RECORD_VERSION) return MKV_ENEWER;
    r->state = mkv_record_peek_state(in->at, in->left);
    if (!r->state) return MKV_ECORRUPT;
    flags = in->at[1];
    in->at += 2;
    in->left -= 2;

    if (!read_varint(in, MKV_GENERATION_MAX, &r->generation)) return MKV_ECORRUPT;
    if (flags & FLAG_SIZE) {
        if (!read_varint(in, INT64_MAX, &number)) return MKV_ECORRUPT;
        r->size = (int64_t)number;
    }
    if (flags & FLAG_MTIME) {
        if (!read_varint(in, INT64_MAX, &number)) return MKV_ECORRUPT;
        r->mtime = (int64_t)number;
    }
    if (flags & FLAG_MD5) {
        if (in->left < sizeof(r->md5)) return MKV_ECORRUPT;
        r->has_md5 = true;
        memcpy(r->md5, in->at, sizeof(r->md5));
        in->at += sizeof(r->md5);
        in->left -= sizeof(r->md5);
    }
    if (!read_replicas(r, in)) return MKV_ECORRUPT;
    if (flags & FLAG_FIELDS ? !fields_valid(*in) : in->left > 0) return MKV_ECORRUPT;
    return MKV_OK;
}

enum mkv_err mkv_record_decode(struct mkv_record *r, const uint8_t *data, size_t len)
{
    struct reader in = {data, len};
    enum mkv_err err;

    mkv_record_clear(r);
    err = read_fixed(r, &in);
    if (!err && in.left) {
        r->fields_len = in.left;
        r->fields = malloc(r->fields_len);
        if (r->fields)
            memcpy(r->fields, in.at, r->fields_len);
        else
            err = MKV_ENOMEM;
    }
    if (err) mkv_record_clear(r);
    return err;
}

enum mkv_state mkv_record_peek_state(const uint8_t *data, size_t len)
{
    if (len < 2 || data[0] != RECORD_VERSION || data[1] & FLAGS_RESERVED) return (enum mkv_state)0;
    return (enum mkv_state)(data[1] & FLAG_STATE);
}

/* ---- fields ---------------------------------------------------------------- */

bool mkv_record_field(const struct mkv_record *r, unsigned type, struct mkv_slice *out)
{
    struct reader in = {r->fields, r->fields_len};
    unsigned found;
    struct mkv_slice value;

    while (read_field(&in, &found, &value) && found <= type) {
        if (found < type) continue;
        *out = value;
        return true;
    }
    return false;
}

bool mkv_record_next_field(const struct mkv_record *r, unsigned *type, struct mkv_slice *out)
{
    struct reader in = {r->fields, r->fields_len};
    unsigned found;

    while (read_field(&in, &found, out))
        if (found > *type) {
            *type = found;
            return true;
        }
    return false;
}

/* Where the field of that type is, or would be: what comes before it and, in
 * *after, where the next field begins. */
static size_t field_position(const struct mkv_record *r, unsigned type, size_t *after)
{
    struct reader in = {r->fields, r->fields_len};
    size_t before = 0;
    unsigned found;
    struct mkv_slice value;

    *after = 0;
    while (read_field(&in, &found, &value) && found <= type) {
        *after = r->fields_len - in.left;
        if (found == type) break;
        before = *after;
    }
    return before;
}

enum mkv_err mkv_record_set_field(struct mkv_record *r, unsigned type, struct mkv_slice value)
{
    size_t after, before = field_position(r, type, &after);
    size_t kept = before + r->fields_len - after;
    size_t added = value.len ? varint_len(type) + varint_len(value.len) + value.len : 0;
    uint8_t *fields = NULL, *p;

    if (type == 0 || value.len > MKV_RECORD_FIELDS_MAX || kept + added > MKV_RECORD_FIELDS_MAX)
        return MKV_EINVAL;
    if (kept + added > 0) {
        fields = malloc(kept + added);
        if (!fields) return MKV_ENOMEM;
        p = fields;
        if (before) memcpy(p, r->fields, before);
        p += before;
        if (added) {
            p = put_varint(p, type);
            p = put_varint(p, value.len);
            memcpy(p, value.data, value.len);
            p += value.len;
        }
        if (kept > before) memcpy(p, r->fields + after, kept - before);
    }
    free(r->fields);
    r->fields = fields;
    r->fields_len = kept + added;
    return MKV_OK;
}
