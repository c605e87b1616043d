#include "mkv/uri.h"

#include "mkv/digest.h"

#include <stdint.h>

/* ---- percent-encoding ------------------------------------------------------ */

bool mkv_percent_decode(struct mkv_slice in, bool form, char *out, size_t *out_len)
{
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        char c = in.data[i];

        if (c == '%') {
            uint8_t byte;

            if (in.len - i <= 2 || !mkv_unhex(&byte, 1, mkv_slice(in.data + i + 1, 2)))
                return false;
            c = (char)byte;
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        out[n++] = c;
    }
    *out_len = n;
    return true;
}

/* RFC 3986: pchar (unreserved, sub-delims, ':' and '@'), and '/'. */
static bool stays_in_path(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    return c != '\0' && strchr("-._~!$&'()*+,;=:@/", c) != NULL;
}

size_t mkv_percent_encode_path(struct mkv_slice in, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    char *p = out;

    for (size_t i = 0; i < in.len; i++) {
        char c = in.data[i];

        if (stays_in_path(c)) {
            *p++ = c;
            continue;
        }
        *p++ = '%';
        *p++ = digits[(unsigned char)c >> 4];
        *p++ = digits[(unsigned char)c & 15];
    }
    return (size_t)(p - out);
}

/* ---- queries --------------------------------------------------------------- */

/* What comes before the first c, or all of s; *after is NULL where there is no c. */
static struct mkv_slice split(struct mkv_slice s, char c, struct mkv_slice *after)
{
    const char *found = s.len ? memchr(s.data, c, s.len) : NULL;
    size_t len = found ? (size_t)(found - s.data) : s.len;

    *after = found ? mkv_slice(found + 1, s.len - len - 1) : mkv_slice(NULL, 0);
    return mkv_slice(s.data, len);
}

bool mkv_query_next(struct mkv_slice *rest, struct mkv_slice *name, struct mkv_slice *value)
{
    while (rest->len) {
        struct mkv_slice piece = split(*rest, '&', rest);

        if (!piece.len) continue;
        *name = split(piece, '=', value);
        return true;
    }
    return false;
}

/* ---- UTF-8 ----------------------------------------------------------------- */

static bool continues(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* A character of two bytes or more.  The second byte's range is what rules out
 * overlong forms, surrogates and what lies beyond U+10FFFF. */
static size_t utf8_long(const unsigned char *s, size_t len)
{
    unsigned char c = s[0];
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    size_t need = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    if (c < 0xc2 || c > 0xf4 || len < need || s[1] < low || s[1] > high) return 0;
    if (need > 2 && !continues(s[2])) return 0;
    if (need > 3 && !continues(s[3])) return 0;
    return need;
}

size_t mkv_utf8_first(struct mkv_slice s)
{
    if (!s.len) return 0;
    return (unsigned char)s.data[0] < 0x80 ? 1 : utf8_long((const unsigned char *)s.data, s.len);
}

bool mkv_utf8_valid(struct mkv_slice s)
{
    size_t i = 0;

    while (i < s.len) {
        uint64_t eight;
        size_t step;

        if (s.len - i >= sizeof(eight)) { /* most keys are ASCII: eight bytes at once */
            memcpy(&eight, s.data + i, sizeof(eight));
            if (!(eight & UINT64_C(0x8080808080808080))) {
                i += sizeof(eight);
                continue;
            }
        }
        step = mkv_utf8_first(mkv_slice(s.data + i, s.len - i));
        if (!step) return false;
        i += step;
    }
    return true;
}

/* ---- JSON ------------------------------------------------------------------ */

/* The letter of a control character that has a short escape; 0 for the others. */
static char short_escape(char c)
{
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 0;
    }
}

static char *put_escaped(char *p, char c)
{
    static const char digits[] = "0123456789abcdef";
    char letter = short_escape(c);

    *p++ = '\\';
    if (letter) {
        *p++ = letter;
        return p;
    }
    memcpy(p, "u00", 3);
    p[3] = digits[(unsigned char)c >> 4];
    p[4] = digits[(unsigned char)c & 15];
    return p + 5;
}

/* How much of s goes into JSON as it is and needs no look at what follows. */
static size_t plain_run(struct mkv_slice s)
{
    size_t n = 0;

    while (n < s.len) {
        unsigned char c = (unsigned char)s.data[n];

        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
        n++;
    }
    return n;
}

size_t mkv_json_escape(struct mkv_slice s, char *out)
{
    char *p = out;

    while (s.len) {
        size_t step = plain_run(s);

        if (step || (step = mkv_utf8_first(s)) > 1) {
            memcpy(p, s.data, step);
            p += step;
        } else if (step == 1) {
            p = put_escaped(p, *s.data);
        } else {
            memcpy(p, "\xef\xbf\xbd", 3); /* U+FFFD */
            p += 3;
            step = 1;
        }
        s = mkv_slice(s.data + step, s.len - step);
    }
    return (size_t)(p - out);
}
