#include "mkv/listing.h"

#include "mkv/uri.h"

#include <jansson.h>
#include <stdlib.h>

/* ---- names that are not UTF-8 ------------------------------------------------
 *
 * nginx writes the bytes of a name as they are, but JSON is UTF-8, and jansson
 * refuses anything else.  One foreign file with such a name must not hide the
 * rest of its directory, and the walk needs the exact name to look into a
 * directory or to delete a file.  So before parsing each bad byte B becomes the
 * character U+10FF00 + B, and afterwards the byte again.  These characters are
 * private and bytes that spell one go the same way, so every name survives. */

#define STAND_IN_BYTES 4
#define STAND_IN_LEAD  "\xf4\x8f" /* of U+10F000 ... U+10FFFF */

/* Whether s begins with one of U+10FF80 ... U+10FFFF. */
static bool is_stand_in(struct mkv_slice s)
{
    return s.len >= STAND_IN_BYTES && memcmp(s.data, STAND_IN_LEAD, 2) == 0 &&
           ((unsigned char)s.data[2] == 0xbe || (unsigned char)s.data[2] == 0xbf) &&
           mkv_utf8_first(s) == STAND_IN_BYTES;
}

static size_t put_stand_in(char *out, unsigned char byte)
{
    memcpy(out, STAND_IN_LEAD, 2);
    out[2] = (char)(0x80 | 0x3c | byte >> 6);
    out[3] = (char)(0x80 | (byte & 0x3f));
    return STAND_IN_BYTES;
}

/* out must hold STAND_IN_BYTES for each byte of in. */
static size_t make_utf8(struct mkv_slice in, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < in.len;) {
        struct mkv_slice rest = mkv_slice(in.data + i, in.len - i);
        size_t step = mkv_utf8_first(rest);

        if (!step || is_stand_in(rest)) {
            n += put_stand_in(out + n, (unsigned char)in.data[i++]);
            continue;
        }
        memcpy(out + n, rest.data, step);
        n += step;
        i += step;
    }
    return n;
}

/* The bytes that the stand-ins stood for.  out must hold name.len bytes. */
static size_t restore_bytes(struct mkv_slice name, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];

        if (is_stand_in(mkv_slice(name.data + i, name.len - i))) {
            unsigned high = (unsigned char)name.data[i + 2] & 3;

            c = (unsigned char)(high << 6 | ((unsigned char)name.data[i + 3] & 0x3f));
            i += STAND_IN_BYTES - 1;
        }
        out[n++] = (char)c;
    }
    return n;
}

/* ---- dates ------------------------------------------------------------------ */

static bool digits(const char *p, size_t n, int *out)
{
    unsigned long long value;

    if (!mkv_slice_number(mkv_slice(p, n), 9999, &value)) return false;
    *out = (int)value;
    return true;
}

/* 1 to 12; 0 where p begins with no month's name. */
static int month_number(const char *p)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int i = 0; i < 12; i++)
        if (memcmp(names + 3 * i, p, 3) == 0) return i + 1;
    return 0;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t days_before_year(int year) /* since 1970, of January 1st */
{
    int64_t y = year - 1;

    return (y * 365 + y / 4 - y / 100 + y / 400) - (INT64_C(1969) * 365 + 492 - 19 + 4);
}

/* "Wed, 04 Nov 2026 10:00:00 GMT" -> seconds since 1970; -1: no such date, or
 * an earlier one.  The name of the day is not looked at. */
static int64_t http_date(struct mkv_slice s)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    const char *p = s.data;
    int day, month, year, hour, minute, second, leap;

    if (s.len != 29 || memcmp(p + 3, ", ", 2) != 0 || p[7] != ' ' || p[11] != ' ' || p[16] != ' ' ||
        p[19] != ':' || p[22] != ':' || memcmp(p + 25, " GMT", 4) != 0)
        return -1;
    month = month_number(p + 8);
    if (!month || !digits(p + 5, 2, &day) || !digits(p + 12, 4, &year) ||
        !digits(p + 17, 2, &hour) || !digits(p + 20, 2, &minute) || !digits(p + 23, 2, &second))
        return -1;
    leap = is_leap(year);
    if (year < 1970 || day < 1 || hour > 23 || minute > 59 || second > 60 ||
        day > before[month] - before[month - 1] + (month == 2 && leap))
        return -1;
    return (days_before_year(year) + before[month - 1] + (month > 2 && leap) + day - 1) * 86400 +
           hour * 3600 + minute * 60 + second;
}

/* ---- entries ---------------------------------------------------------------- */

struct walk {
    bool (*entry)(const struct mkv_listing_entry *e, void *arg);
    void *arg;     /* the caller's */
    char *scratch; /* borrowed: where names get their bytes back; NULL: not needed */
};

static struct mkv_slice text_of(const json_t *value)
{
    if (!json_is_string(value)) return mkv_slice(NULL, 0);
    return mkv_slice(json_string_value(value), json_string_length(value));
}

/* A name that would lead a walk astray: nginx lists none. */
static bool name_is_safe(struct mkv_slice name)
{
    return name.len && !memchr(name.data, '/', name.len) && !mkv_slice_eq(name, MKV_SLICE(".")) &&
           !mkv_slice_eq(name, MKV_SLICE(".."));
}

/* MKV_PENDING: the caller wants no more. */
static enum mkv_err give_entry(const struct walk *w, const json_t *item)
{
    struct mkv_slice type = text_of(json_object_get(item, "type"));
    struct mkv_slice mtime = text_of(json_object_get(item, "mtime"));
    const json_t *size = json_object_get(item, "size");
    struct mkv_listing_entry e = {.name = text_of(json_object_get(item, "name")), .size = -1};

    if (!type.len || !name_is_safe(e.name)) return MKV_ECORRUPT;
    e.is_directory = mkv_slice_eq(type, MKV_SLICE("directory"));
    if (!e.is_directory) {
        if (!mkv_slice_eq(type, MKV_SLICE("file"))) return MKV_OK; /* a socket, a broken link */
        if (!json_is_integer(size) || json_integer_value(size) < 0) return MKV_ECORRUPT;
        e.size = json_integer_value(size);
    }
    e.mtime = mtime.len ? http_date(mtime) : -1;
    if (w->scratch) e.name = mkv_slice(w->scratch, restore_bytes(e.name, w->scratch));
    return w->entry(&e, w->arg) ? MKV_OK : MKV_PENDING;
}

static enum mkv_err load(json_t **out, const char *data, size_t len)
{
    json_error_t error;

    *out = json_loadb(data, len, 0, &error);
    if (*out) return MKV_OK;
    return json_error_code(&error) == json_error_out_of_memory ? MKV_ENOMEM : MKV_ECORRUPT;
}

enum mkv_err mkv_listing_parse(const char *data, size_t len,
                               bool (*entry)(const struct mkv_listing_entry *e, void *arg),
                               void *arg)
{
    struct walk w = {entry, arg, NULL};
    enum mkv_err err = MKV_ENOMEM;
    json_t *root = NULL;

    if (!mkv_utf8_valid(mkv_slice(data, len))) {
        w.scratch = malloc(STAND_IN_BYTES * len);
        if (!w.scratch) goto out;
        len = make_utf8(mkv_slice(data, len), w.scratch);
        data = w.scratch; /* once parsed it is free for the names, which are shorter */
    }
    err = load(&root, data, len);
    if (!err && !json_is_array(root)) err = MKV_ECORRUPT;
    for (size_t i = 0; !err && i < json_array_size(root); i++)
        err = give_entry(&w, json_array_get(root, i));
    if (err == MKV_PENDING) err = MKV_OK;
out:
    json_decref(root);
    free(w.scratch);
    return err;
}
