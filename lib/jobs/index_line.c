#include "jobs/index_line.h"

#include "mkv/place.h"
#include "mkv/uri.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

static const char *const state_names[] = {[MKV_LIVE] = "live", [MKV_UNLINKED] = "unlinked"};

/* ---- volumes with and without subvolumes ------------------------------------------ */

/* "name/svXX" as mkv_replica_text() writes it; else the whole is a name. */
static struct mkv_slice split_replica(struct mkv_slice text, uint16_t *subvolume)
{
    size_t at = text.len;
    unsigned n = 0;

    *subvolume = MKV_NO_SUBVOLUME;
    while (at > 0 && text.data[at - 1] != '/') {
        at--;
        if (text.len - at > 6) return text; /* longer than "svFFFF" */
    }
    if (at == 0 || text.len - at < 4 || memcmp(text.data + at, "sv", 2) != 0) return text;
    for (size_t i = at + 2; i < text.len; i++) {
        const char *digits = "0123456789ABCDEF", *digit = strchr(digits, text.data[i]);

        if (!text.data[i] || !digit) return text;
        n = n * 16 + (unsigned)(digit - digits);
    }
    if (n == MKV_NO_SUBVOLUME || (text.len - at > 4 && text.data[at + 2] == '0')) return text;
    *subvolume = (uint16_t)n;
    return mkv_slice(text.data, at - 1);
}

/* ---- writing ----------------------------------------------------------------------- */

static json_t *hex_of(const void *data, size_t len)
{
    char *text = malloc(2 * len + 1);
    json_t *value;

    if (!text) return NULL;
    mkv_hex(text, data, len);
    value = json_string(text);
    free(text);
    return value;
}

static json_t *replica_of(struct mkv_index *ix, struct mkv_replica r)
{
    struct mkv_slice name = mkv_index_volume_name(ix, r.volume), again;
    char text[MKV_REPLICA_TEXT_MAX];
    uint16_t subvolume;
    size_t len;

    if (!name.data) return NULL;
    len = mkv_replica_text(text, name, r.subvolume);
    again = split_replica(mkv_slice(text, len), &subvolume);
    if (subvolume == r.subvolume && mkv_slice_eq(again, name)) return json_stringn(text, len);
    return json_pack("{s:s%}", "volume", name.data, name.len);
}

static json_t *replicas_of(struct mkv_index *ix, const struct mkv_record *rec)
{
    json_t *list = json_array();

    for (unsigned i = 0; list && i < rec->nreplicas; i++)
        if (json_array_append_new(list, replica_of(ix, rec->replicas[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *fields_of(const struct mkv_record *rec)
{
    json_t *fields = json_object();
    struct mkv_slice value;
    char number[16];

    for (unsigned type = 0; fields && mkv_record_next_field(rec, &type, &value);) {
        snprintf(number, sizeof(number), "%u", type);
        if (json_object_set_new(fields, number, hex_of(value.data, value.len))) {
            json_decref(fields);
            return NULL;
        }
    }
    return fields;
}

static json_t *line_of(struct mkv_index *ix, struct mkv_slice key, const struct mkv_record *rec)
{
    bool text = mkv_utf8_valid(key) && !memchr(key.data, '\0', key.len);
    json_t *o = json_object();
    int bad = 0;

    if (!o || (rec->state != MKV_LIVE && rec->state != MKV_UNLINKED)) goto failed;
    if (text)
        bad |= json_object_set_new(o, "key", json_stringn(key.data, key.len));
    else
        bad |= json_object_set_new(o, "key_hex", hex_of(key.data, key.len));
    bad |= json_object_set_new(o, "state", json_string(state_names[rec->state]));
    bad |= json_object_set_new(o, "generation", json_integer((json_int_t)rec->generation));
    if (rec->size >= 0) bad |= json_object_set_new(o, "size", json_integer(rec->size));
    if (rec->mtime >= 0) bad |= json_object_set_new(o, "mtime", json_integer(rec->mtime));
    if (rec->has_md5) bad |= json_object_set_new(o, "md5", hex_of(rec->md5, MKV_MD5_LEN));
    bad |= json_object_set_new(o, "replicas", replicas_of(ix, rec));
    if (rec->fields_len) bad |= json_object_set_new(o, "fields", fields_of(rec));
    if (!bad) return o;
failed:
    json_decref(o);
    return NULL;
}

/* o is given away; NULL: it could not be made. */
static enum mkv_err write_line(FILE *out, json_t *o)
{
    int bad;

    if (!o) return MKV_ECORRUPT;
    bad = json_dumpf(o, out, JSON_COMPACT);
    json_decref(o);
    if (!bad && putc('\n', out) == EOF) bad = 1;
    return bad ? MKV_EIO : MKV_OK;
}

enum mkv_err index_line_write(FILE *out, struct mkv_index *ix, struct mkv_slice key,
                              const struct mkv_record *rec)
{
    return write_line(out, line_of(ix, key, rec));
}

enum mkv_err index_line_write_bucket(FILE *out, const struct mkv_bucket *bucket)
{
    json_t *o = json_object();
    int bad = 0;

    if (!o) return MKV_ENOMEM;
    bad |= json_object_set_new(o, "bucket", json_stringn(bucket->name, bucket->name_len));
    if (bucket->owner_len)
        bad |= json_object_set_new(o, "owner", json_stringn(bucket->owner, bucket->owner_len));
    bad |= json_object_set_new(o, "created", json_integer(bucket->created));
    if (!bad) return write_line(out, o);
    json_decref(o);
    return MKV_ECORRUPT;
}

/* ---- reading ----------------------------------------------------------------------- */

struct reading {
    struct mkv_index *ix;
    struct index_line *out;
    bool has_state, has_replicas, has_created;
};

/* Each of these reads one member and says what it wants where it can not. */
typedef const char *read_member(struct reading *r, json_t *value);

static struct mkv_slice text_of(const json_t *value)
{
    if (!json_is_string(value)) return mkv_slice(NULL, 0);
    return mkv_slice(json_string_value(value), json_string_length(value));
}

static const char *read_key(struct reading *r, json_t *value)
{
    struct mkv_slice text = text_of(value);

    if (r->out->key_len) return "a line has one key";
    if (!text.len || text.len > MKV_KEY_MAX) return "a key has 1 to 1089 bytes";
    memcpy(r->out->key, text.data, text.len);
    r->out->key_len = text.len;
    return NULL;
}

static const char *read_key_hex(struct reading *r, json_t *value)
{
    struct mkv_slice text = text_of(value);

    if (r->out->key_len) return "a line has one key";
    if (!text.len || text.len > 2 * MKV_KEY_MAX ||
        !mkv_unhex((uint8_t *)r->out->key, text.len / 2, text))
        return "a key in hex has 2 to 2178 digits";
    r->out->key_len = text.len / 2;
    return NULL;
}

static const char *read_state(struct reading *r, json_t *value)
{
    struct mkv_slice text = text_of(value);

    for (enum mkv_state s = MKV_LIVE; s <= MKV_UNLINKED; s++)
        if (mkv_slice_eq(text, mkv_slice_of(state_names[s]))) {
            r->out->rec.state = s;
            r->has_state = true;
        }
    return r->has_state ? NULL : "it is live or unlinked";
}

static const char *read_generation(struct reading *r, json_t *value)
{
    json_int_t n = json_integer_value(value);

    if (!json_is_integer(value) || n < 0 || (uint64_t)n > MKV_GENERATION_MAX)
        return "it is a whole number below 2^56";
    r->out->rec.generation = (uint64_t)n;
    return NULL;
}

static const char *read_size(struct reading *r, json_t *value)
{
    r->out->rec.size = json_integer_value(value);
    return json_is_integer(value) && r->out->rec.size >= 0 ? NULL : "it is a whole number of bytes";
}

static const char *read_mtime(struct reading *r, json_t *value)
{
    r->out->rec.mtime = json_integer_value(value);
    return json_is_integer(value) && r->out->rec.mtime >= 0 ? NULL : "it is in seconds since 1970";
}

static const char *read_md5(struct reading *r, json_t *value)
{
    r->out->rec.has_md5 = mkv_unhex(r->out->rec.md5, MKV_MD5_LEN, text_of(value));
    return r->out->rec.has_md5 ? NULL : "it has 32 hex digits";
}

static const char *read_replica(struct reading *r, json_t *value, struct mkv_replica *out)
{
    struct mkv_slice name;
    enum mkv_err err;

    if (json_is_object(value)) {
        name = text_of(json_object_get(value, "volume"));
        out->subvolume = MKV_NO_SUBVOLUME;
    } else {
        name = split_replica(text_of(value), &out->subvolume);
    }
    if (!name.len || name.len > MKV_VOLUME_NAME_MAX) return "each is \"host:port/svXX\"";
    err = mkv_index_volume_id(r->ix, name, &out->volume);
    return err ? mkv_strerror(err) : NULL;
}

static const char *read_replicas(struct reading *r, json_t *value)
{
    size_t n = json_array_size(value);
    const char *wrong = NULL;

    if (!json_is_array(value) || n > MKV_REPLICAS_MAX) return "it is a list of at most 16";
    for (size_t i = 0; i < n && !wrong; i++)
        wrong = read_replica(r, json_array_get(value, i), &r->out->rec.replicas[i]);
    r->out->rec.nreplicas = (unsigned)n;
    r->has_replicas = true;
    return wrong;
}

static const char *read_field(struct reading *r, const char *number, struct mkv_slice hex)
{
    unsigned long long type;
    size_t len = hex.len / 2;
    uint8_t *bytes = malloc(len + 1);
    enum mkv_err err = MKV_EINVAL;

    if (!bytes) return mkv_strerror(MKV_ENOMEM);
    if (mkv_slice_number(mkv_slice_of(number), UINT32_MAX, &type) && len &&
        mkv_unhex(bytes, len, hex))
        err = mkv_record_set_field(&r->out->rec, (unsigned)type, mkv_slice((char *)bytes, len));
    free(bytes);
    if (err == MKV_EINVAL) return "each is a number from 1 on and bytes in hex, 1 MB in all";
    return err ? mkv_strerror(err) : NULL;
}

static const char *read_fields(struct reading *r, json_t *value)
{
    const char *number, *wrong = NULL;
    json_t *hex;

    if (!json_is_object(value)) return "it is an object";
    json_object_foreach(value, number, hex) {
        wrong = read_field(r, number, text_of(hex));
        if (wrong) break;
    }
    return wrong;
}

static const char *read_bucket(struct reading *r, json_t *value)
{
    struct mkv_slice name = text_of(value);

    if (!name.len || name.len > MKV_BUCKET_MAX || memchr(name.data, '/', name.len))
        return "a bucket's name has 1 to 63 bytes and no slash";
    memcpy(r->out->bucket.name, name.data, name.len);
    r->out->bucket.name_len = name.len;
    return NULL;
}

static const char *read_owner(struct reading *r, json_t *value)
{
    struct mkv_slice owner = text_of(value);

    if (!owner.len || owner.len > MKV_OWNER_MAX) return "an access key has 1 to 128 bytes";
    memcpy(r->out->bucket.owner, owner.data, owner.len);
    r->out->bucket.owner_len = owner.len;
    return NULL;
}

static const char *read_created(struct reading *r, json_t *value)
{
    r->out->bucket.created = json_integer_value(value);
    r->has_created = json_is_integer(value);
    return r->has_created ? NULL : "it is in seconds since 1970";
}

struct member {
    const char *name; /* NULL: after the last */
    read_member *read;
};

static const struct member record_members[] = {
    {"key", read_key},           {"key_hex", read_key_hex}, {"state", read_state},
    {"generation", read_generation}, {"size", read_size},   {"mtime", read_mtime},
    {"md5", read_md5},           {"replicas", read_replicas}, {"fields", read_fields},
    {NULL, NULL},
};

static const struct member bucket_members[] = {
    {"bucket", read_bucket}, {"owner", read_owner}, {"created", read_created}, {NULL, NULL}};

static const char *missing(const struct reading *r)
{
    if (r->out->is_bucket) return r->has_created ? NULL : "created";
    if (!r->out->key_len) return "key";
    if (!r->has_state) return "state";
    return r->has_replicas ? NULL : "replicas";
}

static bool read_members(struct reading *r, json_t *o, char *why, size_t why_size)
{
    const struct member *members = r->out->is_bucket ? bucket_members : record_members, *m;
    const char *name, *wrong;
    json_t *value;

    json_object_foreach(o, name, value) {
        for (m = members; m->name && strcmp(m->name, name) != 0; m++) {}
        wrong = m->name ? m->read(r, value) : "no such member";
        if (!wrong) continue;
        snprintf(why, why_size, "\"%s\": %s", name, wrong);
        return false;
    }
    wrong = missing(r);
    if (wrong) snprintf(why, why_size, "\"%s\" is missing", wrong);
    return !wrong;
}

enum mkv_err index_line_read(struct mkv_index *ix, struct mkv_slice line, struct index_line *out,
                             char *why, size_t why_size)
{
    struct reading r = {.ix = ix, .out = out};
    json_error_t error;
    json_t *o = json_loadb(line.data, line.len, JSON_REJECT_DUPLICATES, &error);
    bool good = false;

    out->key_len = 0;
    out->bucket = (struct mkv_bucket){.name_len = 0};
    out->is_bucket = json_object_get(o, "bucket") != NULL;
    if (!o)
        snprintf(why, why_size, "no JSON: %s", error.text);
    else if (!json_is_object(o))
        snprintf(why, why_size, "no JSON object");
    else
        good = read_members(&r, o, why, why_size);
    json_decref(o);
    if (good) return MKV_OK;
    mkv_record_clear(&out->rec);
    return MKV_EINVAL;
}
