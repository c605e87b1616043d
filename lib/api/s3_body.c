#include "api/s3_body.h"

#include <expat.h>
#include <stdlib.h>

/* expat reads again from its beginning whatever is not complete yet, a comment or
 * an attribute of 4 MB: so it gets no piece smaller than this, but for the last. */
#define PIECE_MIN (64 * 1024)

#define DEPTH_MAX   16
#define DEPTH_ROOT  1
#define DEPTH_FIELD 2 /* of the root: Quiet, LocationConstraint; or an entry begins */
#define DEPTH_PART  3 /* a field of an entry */

enum field {
    FIELD_NONE, /* text that nobody reads */
    FIELD_QUIET,
    FIELD_LOCATION,
    FIELD_KEY,
    FIELD_VERSION,
    FIELD_ETAG,
    FIELD_NUMBER,
    FIELD_CHECKSUM
};

/* Text is kept by offsets while it grows: realloc moves it. */
struct span {
    size_t at, len;
    bool set;
};

struct entry {
    struct span key, version, etag;
    unsigned number;
    struct s3_checksum_value checksum;
};

struct s3_body {
    enum s3_body_kind kind;
    XML_Parser parser; /* owned */
    enum s3_error err;
    size_t total; /* bytes pushed in */
    char *held;   /* owned: PIECE_MIN bytes; those that were not parsed yet.  NULL: none */
    size_t held_len;

    unsigned depth;
    unsigned skip; /* depth of the unknown element we are within; 0: none */
    enum field field;
    enum s3_checksum checksum; /* of FIELD_CHECKSUM */
    size_t field_from;         /* where its text begins */

    char *text; /* owned: of all fields */
    size_t text_len, text_size;
    struct entry *entries; /* owned */
    size_t nentries, entries_size;
    bool quiet;
    struct span location;

    struct s3_body_object *objects; /* owned: made at the end */
    struct s3_body_part *parts;     /* owned: made at the end */
};

static void fail(struct s3_body *b, enum s3_error err)
{
    if (!b->err) b->err = err;
    XML_StopParser(b->parser, XML_FALSE);
}

/* ---- elements --------------------------------------------------------------------- */

/* clang-format off */
static const struct {
    const char *root, *entry;
    size_t entries_max, max;
} kinds[] = {
    [S3_BODY_DELETE] = {"Delete", "Object", S3_BODY_OBJECTS_MAX, S3_BODY_MAX},
    [S3_BODY_COMPLETE] = {"CompleteMultipartUpload", "Part", S3_BODY_PARTS_MAX, S3_BODY_MAX},
    [S3_BODY_CREATE_BUCKET] = {"CreateBucketConfiguration", NULL, 0, S3_BODY_SMALL_MAX},
};
/* clang-format on */

static const struct {
    enum s3_body_kind kind;
    unsigned depth;
    const char *name;
    enum field field;
} fields[] = {
    {S3_BODY_DELETE,        DEPTH_FIELD, "Quiet",              FIELD_QUIET   },
    {S3_BODY_DELETE,        DEPTH_PART,  "Key",                FIELD_KEY     },
    {S3_BODY_DELETE,        DEPTH_PART,  "VersionId",          FIELD_VERSION },
    {S3_BODY_DELETE,        DEPTH_PART,  "ETag",               FIELD_ETAG    },
    {S3_BODY_COMPLETE,      DEPTH_PART,  "PartNumber",         FIELD_NUMBER  },
    {S3_BODY_COMPLETE,      DEPTH_PART,  "ETag",               FIELD_ETAG    },
    {S3_BODY_CREATE_BUCKET, DEPTH_FIELD, "LocationConstraint", FIELD_LOCATION},
};

static const char *without_prefix(const char *name)
{
    const char *colon = strchr(name, ':');

    return colon ? colon + 1 : name;
}

static enum field find_field(struct s3_body *b, const char *name)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (fields[i].kind == b->kind && fields[i].depth == b->depth &&
            strcmp(fields[i].name, name) == 0)
            return fields[i].field;
    if (b->kind == S3_BODY_COMPLETE && b->depth == DEPTH_PART &&
        s3_checksum_by_element(mkv_slice_of(name), &b->checksum))
        return FIELD_CHECKSUM;
    return FIELD_NONE;
}

static void begin_entry(struct s3_body *b)
{
    if (b->nentries == kinds[b->kind].entries_max) {
        fail(b, S3_MALFORMED_XML);
        return;
    }
    if (b->nentries == b->entries_size) {
        size_t size = b->entries_size ? 2 * b->entries_size : 16;
        struct entry *grown = realloc(b->entries, size * sizeof(*grown));

        if (!grown) {
            fail(b, S3_INTERNAL_ERROR);
            return;
        }
        b->entries = grown;
        b->entries_size = size;
    }
    memset(&b->entries[b->nentries++], 0, sizeof(*b->entries));
}

static void on_start(void *arg, const XML_Char *full_name, const XML_Char **attributes)
{
    struct s3_body *b = arg;
    const char *name = without_prefix(full_name), *entry = kinds[b->kind].entry;

    (void)attributes;
    if (b->err) return;
    /* A field holds text alone. */
    if (++b->depth > DEPTH_MAX || b->field != FIELD_NONE) {
        fail(b, S3_MALFORMED_XML);
        return;
    }
    if (b->skip) return;
    if (b->depth == DEPTH_ROOT) {
        if (strcmp(name, kinds[b->kind].root) != 0) fail(b, S3_MALFORMED_XML);
        return;
    }
    if (b->depth == DEPTH_FIELD && entry && strcmp(name, entry) == 0) {
        begin_entry(b);
        return;
    }
    b->field = find_field(b, name);
    b->field_from = b->text_len;
    if (b->field == FIELD_NONE) b->skip = b->depth;
}

/* ---- fields ------------------------------------------------------------------------ */

static void on_text(void *arg, const XML_Char *data, int len)
{
    struct s3_body *b = arg;
    size_t n = (size_t)len;

    if (b->err || b->field == FIELD_NONE) return;
    if (n > S3_BODY_TEXT_MAX - (b->text_len - b->field_from)) {
        fail(b, S3_MALFORMED_XML);
        return;
    }
    if (n > b->text_size - b->text_len) {
        size_t size = 2 * b->text_size + S3_BODY_TEXT_MAX;
        char *grown = realloc(b->text, size);

        if (!grown) {
            fail(b, S3_INTERNAL_ERROR);
            return;
        }
        b->text = grown;
        b->text_size = size;
    }
    memcpy(b->text + b->text_len, data, n);
    b->text_len += n;
}

static bool set_span(struct span *s, size_t at, size_t len)
{
    if (s->set) return false;
    *s = (struct span){at, len, true};
    return true;
}

/* Without the white space around: all but keys, where it means something. */
static struct mkv_slice trimmed(struct mkv_slice s)
{
    while (s.len && strchr(" \t\r\n", s.data[0]))
        s = mkv_slice(s.data + 1, s.len - 1);
    while (s.len && strchr(" \t\r\n", s.data[s.len - 1]))
        s.len--;
    return s;
}

static struct mkv_slice text_of_field(const struct s3_body *b)
{
    if (b->text_len == b->field_from) return mkv_slice("", 0);
    return trimmed(mkv_slice(b->text + b->field_from, b->text_len - b->field_from));
}

static struct mkv_slice unquoted(struct mkv_slice s)
{
    if (s.len >= 2 && s.data[0] == '"' && s.data[s.len - 1] == '"')
        return mkv_slice(s.data + 1, s.len - 2);
    return s;
}

static bool set_number(struct entry *e, struct mkv_slice text)
{
    unsigned long long number;

    if (e->number || !mkv_slice_number(text, S3_BODY_PARTS_MAX, &number) || !number) return false;
    e->number = (unsigned)number;
    return true;
}

/* False where the text is not what the field takes, or the field comes twice. */
static bool end_field(struct s3_body *b)
{
    struct entry *e = b->nentries ? &b->entries[b->nentries - 1] : NULL;
    struct mkv_slice text = text_of_field(b), etag = unquoted(text);
    size_t at = text.len ? (size_t)(text.data - b->text) : b->field_from;

    switch (b->field) {
    case FIELD_QUIET:
        b->quiet = mkv_slice_ieq(text, MKV_SLICE("true"));
        return b->quiet || mkv_slice_ieq(text, MKV_SLICE("false"));
    case FIELD_LOCATION: return set_span(&b->location, at, text.len);
    case FIELD_KEY: return set_span(&e->key, b->field_from, b->text_len - b->field_from);
    case FIELD_VERSION: return set_span(&e->version, at, text.len);
    case FIELD_ETAG: return set_span(&e->etag, etag.len < text.len ? at + 1 : at, etag.len);
    case FIELD_NUMBER: return set_number(e, text);
    case FIELD_CHECKSUM:
        return e->checksum.kind == S3_CHECKSUM_NONE &&
               s3_checksum_parse(b->checksum, text, &e->checksum) && !e->checksum.parts;
    case FIELD_NONE: break;
    }
    return true;
}

/* An entry that lacks what it needs. */
static bool end_entry(struct s3_body *b)
{
    const struct entry *e = &b->entries[b->nentries - 1];

    if (b->kind == S3_BODY_DELETE) return e->key.set && e->key.len;
    return e->number && e->etag.set;
}

static void on_end(void *arg, const XML_Char *full_name)
{
    struct s3_body *b = arg;
    bool ok = true;

    (void)full_name;
    if (b->err) return;
    if (b->skip) {
        if (b->skip == b->depth) b->skip = 0;
    } else if (b->field != FIELD_NONE) {
        ok = end_field(b);
        b->field = FIELD_NONE;
    } else if (b->depth == DEPTH_FIELD) {
        ok = end_entry(b);
    }
    b->depth--;
    if (!ok) fail(b, S3_MALFORMED_XML);
}

/* ---- what is refused ---------------------------------------------------------------- */

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
                       const XML_Char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    fail(arg, S3_MALFORMED_XML);
}

static void on_entity(void *arg, const XML_Char *name, int is_parameter, const XML_Char *value,
                      int len, const XML_Char *base, const XML_Char *system, const XML_Char *public,
                      const XML_Char *notation)
{
    (void)name, (void)is_parameter, (void)value, (void)len, (void)base, (void)system, (void)public;
    (void)notation;
    fail(arg, S3_MALFORMED_XML);
}

/* ---- all of it ------------------------------------------------------------------------ */

enum s3_error s3_body_open(struct s3_body **out, enum s3_body_kind kind)
{
    struct s3_body *b = calloc(1, sizeof(*b));

    if (!b) return S3_INTERNAL_ERROR;
    b->kind = kind;
    b->parser = XML_ParserCreate(NULL);
    if (!b->parser) {
        s3_body_close(b);
        return S3_INTERNAL_ERROR;
    }
    XML_SetUserData(b->parser, b);
    XML_SetElementHandler(b->parser, on_start, on_end);
    XML_SetCharacterDataHandler(b->parser, on_text);
    XML_SetStartDoctypeDeclHandler(b->parser, on_doctype);
    XML_SetEntityDeclHandler(b->parser, on_entity);
    *out = b;
    return S3_OK;
}

void s3_body_close(struct s3_body *b)
{
    if (!b) return;
    XML_ParserFree(b->parser);
    free(b->held);
    free(b->text);
    free(b->entries);
    free(b->objects);
    free(b->parts);
    free(b);
}

/* len fits into an int: the limit is far below. */
static enum s3_error parse(struct s3_body *b, const char *data, size_t len, bool last)
{
    if (XML_Parse(b->parser, data, (int)len, last) == XML_STATUS_ERROR && !b->err)
        b->err = XML_GetErrorCode(b->parser) == XML_ERROR_NO_MEMORY ? S3_INTERNAL_ERROR
                                                                    : S3_MALFORMED_XML;
    return b->err;
}

/* Returns how many bytes it took: as many as there is room for. */
static size_t hold(struct s3_body *b, const char *data, size_t len)
{
    size_t n = len < PIECE_MIN - b->held_len ? len : PIECE_MIN - b->held_len;

    if (!b->held) b->held = malloc(PIECE_MIN);
    if (!b->held) {
        b->err = S3_INTERNAL_ERROR;
        return 0;
    }
    memcpy(b->held + b->held_len, data, n);
    b->held_len += n;
    return n;
}

enum s3_error s3_body_add(struct s3_body *b, const char *data, size_t len)
{
    if (b->err) return b->err;
    if (len > kinds[b->kind].max - b->total) return b->err = S3_MAX_MESSAGE_LENGTH_EXCEEDED;
    b->total += len;
    while (len && !b->err) {
        size_t n = hold(b, data, len);

        data += n;
        len -= n;
        if (b->held_len < PIECE_MIN) continue;
        parse(b, b->held, b->held_len, false);
        b->held_len = 0;
    }
    return b->err;
}

static struct mkv_slice slice_of(const struct s3_body *b, struct span s)
{
    if (!s.set) return mkv_slice(NULL, 0);
    return s.len ? mkv_slice(b->text + s.at, s.len) : mkv_slice("", 0);
}

static bool give_entries(struct s3_body *b)
{
    if (b->kind == S3_BODY_DELETE)
        b->objects = calloc(b->nentries, sizeof(*b->objects));
    else
        b->parts = calloc(b->nentries, sizeof(*b->parts));
    if (!b->objects && !b->parts) return false;
    for (size_t i = 0; i < b->nentries; i++) {
        const struct entry *e = &b->entries[i];

        if (b->objects)
            b->objects[i] = (struct s3_body_object){slice_of(b, e->key), slice_of(b, e->version),
                                                    slice_of(b, e->etag)};
        else
            b->parts[i] = (struct s3_body_part){e->number, slice_of(b, e->etag), e->checksum};
    }
    return true;
}

enum s3_error s3_body_end(struct s3_body *b, struct s3_body_result *out)
{
    memset(out, 0, sizeof(*out));
    /* A bucket may be made without a word. */
    if (!b->err && !(b->kind == S3_BODY_CREATE_BUCKET && b->total == 0))
        parse(b, b->held_len ? b->held : "", b->held_len, true);
    if (b->err) return b->err;
    if (kinds[b->kind].entry) {
        if (!b->nentries) return b->err = S3_MALFORMED_XML;
        if (!give_entries(b)) return b->err = S3_INTERNAL_ERROR;
    }
    *out = (struct s3_body_result){.quiet = b->quiet,
                                   .objects = b->objects,
                                   .parts = b->parts,
                                   .n = b->nentries,
                                   .location = slice_of(b, b->location)};
    return S3_OK;
}
