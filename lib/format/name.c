#include "mkv/name.h"

#define PREFIX_LEN 7 /* "/xx/yy/" */
#define BASE64_MAX (4 * ((MKV_KEY_MAX + 2) / 3))

/* ---- base64 ---------------------------------------------------------------- */

static char *put_quad(char *p, unsigned bits)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    p[0] = alphabet[bits >> 18];
    p[1] = alphabet[bits >> 12 & 63];
    p[2] = alphabet[bits >> 6 & 63];
    p[3] = alphabet[bits & 63];
    return p + 4;
}

static size_t base64_encode(struct mkv_slice key, char *out)
{
    const unsigned char *s = (const unsigned char *)key.data;
    char *p = out;
    size_t n = key.len;

    for (; n >= 3; n -= 3, s += 3)
        p = put_quad(p, (unsigned)s[0] << 16 | (unsigned)s[1] << 8 | s[2]);
    if (n == 2) {
        p = put_quad(p, (unsigned)s[0] << 16 | (unsigned)s[1] << 8);
        p[-1] = '=';
    } else if (n == 1) {
        p = put_quad(p, (unsigned)s[0] << 16);
        p[-1] = p[-2] = '=';
    }
    return (size_t)(p - out);
}

/* 0 to 63; -1 where c is not of the alphabet. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Whole quads, padding only at the end.  Unused bits are not checked: a name
 * that has some set is not what its key's path would be.  out: MKV_KEY_MAX. */
static bool base64_decode(struct mkv_slice in, char *out, size_t *out_len)
{
    size_t padding = 0, n = 0;
    unsigned bits = 0;

    if (in.len % 4) return false;
    while (padding < 2 && padding < in.len && in.data[in.len - 1 - padding] == '=')
        padding++;
    if (in.len / 4 * 3 - padding > MKV_KEY_MAX) return false;
    for (size_t i = 0; i < in.len - padding; i++) {
        int value = base64_value(in.data[i]);

        if (value < 0) return false;
        bits = bits << 6 | (unsigned)value;
        if (i % 4) out[n++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    *out_len = n;
    return true;
}

/* ---- key to path ----------------------------------------------------------- */

static char *put_prefix(char *p, const uint8_t *md5)
{
    char hex[5];

    mkv_hex(hex, md5, 2);
    p[0] = p[3] = p[6] = '/';
    memcpy(p + 1, hex, 2);
    memcpy(p + 4, hex + 2, 2);
    return p + PREFIX_LEN;
}

static char *put_component(char *p, const char *part, size_t len, size_t whole_max)
{
    if (len > whole_max) {
        for (; len > MKV_NAME_CUT; part += MKV_NAME_CUT, len -= MKV_NAME_CUT) {
            memcpy(p, part, MKV_NAME_CUT);
            memcpy(p + MKV_NAME_CUT, "-/", 2);
            p += MKV_NAME_CUT + 2;
        }
    }
    memcpy(p, part, len);
    return p + len;
}

/* Cuts the components of name[0..len) that are too long, in place. */
static size_t cut_components(char *name, size_t len, bool suffix_follows)
{
    char whole[BASE64_MAX];
    const char *part = whole, *end = whole + len, *slash;
    char *p = name;

    memcpy(whole, name, len);
    while ((slash = memchr(part, '/', (size_t)(end - part)))) {
        p = put_component(p, part, (size_t)(slash - part), MKV_NAME_WHOLE_MAX);
        *p++ = '/';
        part = slash + 1;
    }
    p = put_component(p, part, (size_t)(end - part),
                      suffix_follows ? MKV_NAME_CUT : MKV_NAME_WHOLE_MAX);
    return (size_t)(p - name);
}

static char *put_generation(char *p, uint64_t generation)
{
    static const char digits[] = "0123456789abcdef";
    unsigned shift = 0;

    while (generation >> shift >> 4)
        shift += 4;
    *p++ = '~';
    for (;; shift -= 4) {
        *p++ = digits[generation >> shift & 15];
        if (shift == 0) return p;
    }
}

size_t mkv_key_path_md5(char out[MKV_PATH_MAX], struct mkv_slice key,
                        const uint8_t md5[MKV_MD5_LEN], uint64_t generation)
{
    char *name = put_prefix(out, md5), *p;
    size_t len = base64_encode(key, name);

    if (len > MKV_NAME_CUT) len = cut_components(name, len, generation > 0);
    p = name + len;
    if (p[-1] == '/') *p++ = '-'; /* nginx refuses to write to a directory */
    if (generation) p = put_generation(p, generation);
    *p = '\0';
    return (size_t)(p - out);
}

size_t mkv_key_path(char out[MKV_PATH_MAX], struct mkv_slice key, uint64_t generation)
{
    uint8_t md5[MKV_MD5_LEN];

    mkv_md5(key, md5);
    return mkv_key_path_md5(out, key, md5, generation);
}

/* ---- path to key ------------------------------------------------------------
 *
 * The parts of the path are read generously; what makes the inverse strict is
 * that the key found must give the very same path again. */

struct path_parts {
    struct mkv_slice path; /* borrowed: the whole                              */
    uint8_t md5[2];
    uint64_t generation;
    char base64[MKV_PATH_MAX]; /* without the cuts' "-/" and a final "-"       */
    size_t len;
};

/* Takes "~hex" off the end of *name, where it is there. */
static bool take_generation(struct mkv_slice *name, uint64_t *generation)
{
    const char *tilde = memrchr(name->data, '~', name->len);
    const char *end = name->data + name->len;
    uint64_t value = 0;

    *generation = 0;
    if (!tilde) return true;
    if (end - tilde > 15) return false; /* beyond MKV_GENERATION_MAX */
    for (const char *p = tilde + 1; p < end; p++) {
        if (*p >= '0' && *p <= '9')
            value = value << 4 | (uint64_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            value = value << 4 | (uint64_t)(*p - 'a' + 10);
        else
            return false;
    }
    name->len = (size_t)(tilde - name->data);
    *generation = value;
    return true;
}

static bool take_apart(struct path_parts *parts, struct mkv_slice path)
{
    const char *p = path.data;
    struct mkv_slice name;

    if (path.len <= PREFIX_LEN || path.len >= MKV_PATH_MAX || p[0] != '/' || p[3] != '/' ||
        p[6] != '/' || !mkv_unhex(&parts->md5[0], 1, mkv_slice(p + 1, 2)) ||
        !mkv_unhex(&parts->md5[1], 1, mkv_slice(p + 4, 2)))
        return false;
    parts->path = path;
    name = mkv_slice(p + PREFIX_LEN, path.len - PREFIX_LEN);
    if (!take_generation(&name, &parts->generation)) return false;
    parts->len = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] != '-')
            parts->base64[parts->len++] = name.data[i];
        else if (i + 1 < name.len && name.data[i + 1] == '/')
            i++; /* a cut */
    }
    return true;
}

static size_t merge_slashes(char *path, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        if (path[i] != '/' || n == 0 || path[n - 1] != '/') path[n++] = path[i];
    return n;
}

/* Whether base64 is that of the key whose path, where merged with its slashes
 * merged, is the one in parts. */
static bool is_key(const struct path_parts *parts, struct mkv_slice base64, bool merged, char *key,
                   size_t *key_len)
{
    uint8_t md5[MKV_MD5_LEN];
    char path[MKV_PATH_MAX];
    size_t len;

    if (!base64_decode(base64, key, key_len) || *key_len == 0) return false;
    mkv_md5(mkv_slice(key, *key_len), md5);
    if (memcmp(md5, parts->md5, sizeof(parts->md5)) != 0) return false;
    len = mkv_key_path_md5(path, mkv_slice(key, *key_len), md5, parts->generation);
    if (merged) len = merge_slashes(path, len);
    return mkv_slice_eq(parts->path, mkv_slice(path, len));
}

/* ---- slashes that nginx merged ----------------------------------------------
 *
 * Only keys that are not UTF-8 have "//" in their base64 (twelve one bits in a
 * row) or '/' at its beginning (a first byte from 0xfc on).  The file of such a
 * key lies under the path with single slashes.  Each missing slash belongs
 * beside one that is left, or before the whole; the base64 must get a length
 * that is a multiple of four, and then the key's MD5 tells.  The fewest slashes
 * are tried first.  The MD5 in the path has 16 bits only, so a foreign name may
 * pass for a key by chance: the limits keep that as rare as it can be. */

#define MISSING_MAX 11  /* slashes that are put back, at most                     */
#define TRIES_MAX   256 /* so at most once in 256 does a foreign name pass by chance */

struct slots {
    uint16_t at[BASE64_MAX + 1]; /* offsets where a slash may be put in, ascending */
    unsigned count;
};

/* The base64 with a slash put in at each of the chosen slots. */
static struct mkv_slice put_back(const struct path_parts *parts, const struct slots *slots,
                                 const uint16_t *chosen, unsigned missing, char *out)
{
    size_t from = 0, n = 0;

    for (unsigned i = 0; i < missing; i++) {
        size_t at = slots->at[chosen[i]];

        memcpy(out + n, parts->base64 + from, at - from);
        n += at - from;
        out[n++] = '/';
        from = at;
    }
    memcpy(out + n, parts->base64 + from, parts->len - from);
    return mkv_slice(out, n + parts->len - from);
}

/* The next choice of slots, never descending (one slot may take several
 * slashes); false after the last. */
static bool next_choice(uint16_t *chosen, unsigned missing, unsigned count)
{
    unsigned i = missing;
    uint16_t next;

    while (i > 0 && chosen[i - 1] == count - 1)
        i--;
    if (i == 0) return false;
    next = (uint16_t)(chosen[i - 1] + 1);
    for (i--; i < missing; i++)
        chosen[i] = next;
    return true;
}

static bool find_merged(const struct path_parts *parts, char *key, size_t *key_len)
{
    struct slots slots = {.count = 1}; /* the first: before the whole */
    char base64[BASE64_MAX];
    unsigned tries = 0, missing = (unsigned)(-parts->len & 3);

    if (parts->len >= BASE64_MAX || memmem(parts->path.data, parts->path.len, "//", 2))
        return false;
    for (size_t i = 0; i < parts->len; i++) {
        if (base64_value(parts->base64[i]) < 0 && parts->base64[i] != '=') return false;
        if (parts->base64[i] == '/') slots.at[slots.count++] = (uint16_t)i;
    }
    if (!missing) missing = 4;
    for (; missing <= MISSING_MAX && parts->len + missing <= BASE64_MAX; missing += 4) {
        uint16_t chosen[MISSING_MAX] = {0};

        do {
            if (tries++ == TRIES_MAX) return false;
            if (is_key(parts, put_back(parts, &slots, chosen, missing, base64), true, key, key_len))
                return true;
        } while (next_choice(chosen, missing, slots.count));
    }
    return false;
}

bool mkv_path_key(struct mkv_slice path, char *key, size_t *key_len, uint64_t *generation)
{
    struct path_parts parts;

    if (!take_apart(&parts, path)) return false;
    *generation = parts.generation;
    return is_key(&parts, mkv_slice(parts.base64, parts.len), false, key, key_len) ||
           find_merged(&parts, key, key_len);
}
