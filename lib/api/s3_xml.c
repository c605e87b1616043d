#include "api/s3_xml.h"

#include "api/s3_text.h"
#include "mkv/uri.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_SIZE 1024

void s3_xml_init(struct s3_xml *x, size_t max)
{
    memset(x, 0, sizeof(*x));
    x->max = max;
}

void s3_xml_clear(struct s3_xml *x)
{
    free(x->data);
    s3_xml_init(x, x->max);
}

char *s3_xml_take(struct s3_xml *x, size_t *len)
{
    char *data = x->failed ? NULL : x->data;

    *len = data ? x->len : 0;
    if (data) x->data = NULL;
    s3_xml_clear(x);
    return data;
}

/* Room for n more bytes at the end; NULL, with failed set, where there is none. */
static char *reserve(struct s3_xml *x, size_t n)
{
    size_t size = x->size ? x->size : FIRST_SIZE;
    char *data;

    if (x->failed || n > x->max - x->len) {
        x->failed = true;
        return NULL;
    }
    if (n <= x->size - x->len) return x->data + x->len;
    while (size - x->len < n)
        size *= 2;
    data = realloc(x->data, size);
    if (!data) {
        x->failed = true;
        return NULL;
    }
    x->data = data;
    x->size = size;
    return x->data + x->len;
}

void s3_xml_raw(struct s3_xml *x, struct mkv_slice bytes)
{
    char *out = bytes.len ? reserve(x, bytes.len) : NULL;

    if (!out) return;
    memcpy(out, bytes.data, bytes.len);
    x->len += bytes.len;
}

void s3_xml_root(struct s3_xml *x, const char *name)
{
    s3_xml_raw(x, MKV_SLICE("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<"));
    s3_xml_raw(x, mkv_slice_of(name));
    s3_xml_raw(x, MKV_SLICE(" xmlns=\"" S3_XML_NAMESPACE "\">"));
}

void s3_xml_open(struct s3_xml *x, const char *name)
{
    size_t len = strlen(name);
    char *out = reserve(x, len + 2);

    if (!out) return;
    out[0] = '<';
    memcpy(out + 1, name, len);
    out[1 + len] = '>';
    x->len += len + 2;
}

void s3_xml_close(struct s3_xml *x, const char *name)
{
    size_t len = strlen(name);
    char *out = reserve(x, len + 3);

    if (!out) return;
    memcpy(out, "</", 2);
    memcpy(out + 2, name, len);
    out[2 + len] = '>';
    x->len += len + 3;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '&' && c != '<' && c != '>' && c != '"';
}

static void put_special(struct s3_xml *x, unsigned char c)
{
    char number[8];

    switch (c) {
    case '&': s3_xml_raw(x, MKV_SLICE("&amp;")); break;
    case '<': s3_xml_raw(x, MKV_SLICE("&lt;")); break;
    case '>': s3_xml_raw(x, MKV_SLICE("&gt;")); break;
    case '"': s3_xml_raw(x, MKV_SLICE("&quot;")); break;
    default:
        snprintf(number, sizeof(number), "&#x%x;", c);
        s3_xml_raw(x, mkv_slice_of(number));
    }
}

/* U+FFFE and U+FFFF are UTF-8 and yet no character of XML. */
static bool is_forbidden(struct mkv_slice character)
{
    return character.len == 3 && memcmp(character.data, "\xef\xbf", 2) == 0 &&
           ((unsigned char)character.data[2] & 0xfe) == 0xbe;
}

static void put_text(struct s3_xml *x, struct mkv_slice s)
{
    while (s.len && !x->failed) {
        size_t n = 0;

        while (n < s.len && is_plain((unsigned char)s.data[n]))
            n++;
        if (n) {
            s3_xml_raw(x, mkv_slice(s.data, n));
        } else {
            n = mkv_utf8_first(s);
            if (n == 1) {
                put_special(x, (unsigned char)s.data[0]);
            } else if (n == 0 || is_forbidden(mkv_slice(s.data, n))) {
                s3_xml_raw(x, MKV_SLICE("\xef\xbf\xbd"));
                n = n ? n : 1;
            } else {
                s3_xml_raw(x, mkv_slice(s.data, n));
            }
        }
        s = mkv_slice(s.data + n, s.len - n);
    }
}

void s3_xml_text(struct s3_xml *x, const char *name, struct mkv_slice text)
{
    s3_xml_open(x, name);
    put_text(x, text);
    s3_xml_close(x, name);
}

void s3_xml_key(struct s3_xml *x, const char *name, struct mkv_slice text, bool url)
{
    char *out;

    if (!url) {
        s3_xml_text(x, name, text);
        return;
    }
    s3_xml_open(x, name);
    out = text.len ? reserve(x, 3 * text.len) : NULL;
    if (out) x->len += s3_uri_encode(text, true, out);
    s3_xml_close(x, name);
}

void s3_xml_number(struct s3_xml *x, const char *name, uint64_t number)
{
    char text[20];
    size_t at = sizeof(text);

    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    s3_xml_text(x, name, mkv_slice(text + at, sizeof(text) - at));
}

void s3_xml_bool(struct s3_xml *x, const char *name, bool value)
{
    s3_xml_text(x, name, value ? MKV_SLICE("true") : MKV_SLICE("false"));
}

void s3_xml_date(struct s3_xml *x, const char *name, int64_t when)
{
    char text[S3_ISO_DATE_LEN + 1];

    s3_iso_date(text, when);
    s3_xml_text(x, name, mkv_slice(text, S3_ISO_DATE_LEN));
}

void s3_xml_etag(struct s3_xml *x, const char *name, struct mkv_slice etag)
{
    s3_xml_open(x, name);
    s3_xml_raw(x, MKV_SLICE("&quot;"));
    put_text(x, etag);
    s3_xml_raw(x, MKV_SLICE("&quot;"));
    s3_xml_close(x, name);
}
