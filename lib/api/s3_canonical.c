#include "api/s3_canonical.h"

#include "api/s3_text.h"
#include "mkv/uri.h"

#include <stdlib.h>

bool s3_list_next(struct mkv_slice *rest, char separator, struct mkv_slice *item)
{
    const char *found;

    if (!rest->data) return false;
    found = rest->len ? memchr(rest->data, separator, rest->len) : NULL;
    if (found) {
        *item = mkv_slice(rest->data, (size_t)(found - rest->data));
        *rest = mkv_slice(found + 1, rest->len - item->len - 1);
    } else {
        *item = *rest;
        *rest = mkv_slice(NULL, 0);
    }
    return true;
}

/* Where the text grows; it was made large enough before (see room_for). */
struct text {
    char *data; /* owned */
    size_t len;
};

static void put(struct text *t, struct mkv_slice s)
{
    if (s.len) memcpy(t->data + t->len, s.data, s.len);
    t->len += s.len;
}

static void put_char(struct text *t, char c)
{
    t->data[t->len++] = c;
}

/* Decoded and encoded again, at most 3 * in.len bytes: the form of the client's
 * choice becomes the one that AWS signs. */
static bool put_recoded(struct text *t, struct mkv_slice in, bool is_path)
{
    for (size_t i = 0; i < in.len; i++) {
        char byte = in.data[i];
        size_t one;

        if (byte == '%') {
            if (in.len - i < 3 ||
                !mkv_percent_decode(mkv_slice(in.data + i, 3), false, &byte, &one))
                return false;
            i += 2;
        } else if (byte == '+' && !is_path) {
            byte = ' ';
        }
        t->len += s3_uri_encode(mkv_slice(&byte, 1), is_path, t->data + t->len);
    }
    return true;
}

/* ---- the query -------------------------------------------------------------- */

struct pair {
    struct mkv_slice name, value; /* both encoded; borrowed from a text */
};

static int by_name_and_value(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = mkv_slice_cmp(x->name, y->name);

    return order ? order : mkv_slice_cmp(x->value, y->value);
}

static bool is_signature(struct mkv_slice name)
{
    return mkv_slice_eq(name, MKV_SLICE("X-Amz-Signature"));
}

static struct mkv_slice recoded(struct text *t, struct mkv_slice in, bool *ok)
{
    size_t from = t->len;

    *ok = put_recoded(t, in, false) && *ok;
    return mkv_slice(t->data + from, t->len - from);
}

static enum s3_error put_sorted_query(struct text *t, struct mkv_slice query, bool presigned)
{
    size_t max = 1, n = 0;
    struct text scratch = {NULL, 0};
    struct pair *pairs = NULL;
    enum s3_error err = S3_INTERNAL_ERROR;
    struct mkv_slice name, value;
    bool ok = true;

    if (!query.len) return S3_OK;
    for (size_t i = 0; i < query.len; i++)
        max += query.data[i] == '&';
    pairs = calloc(max, sizeof(*pairs));
    scratch.data = malloc(3 * query.len);
    if (!pairs || !scratch.data) goto out;
    while (ok && mkv_query_next(&query, &name, &value)) {
        if (presigned && is_signature(name)) continue;
        pairs[n].name = recoded(&scratch, name, &ok);
        pairs[n++].value = recoded(&scratch, value, &ok);
    }
    err = S3_INVALID_URI;
    if (!ok) goto out;
    if (n) qsort(pairs, n, sizeof(*pairs), by_name_and_value);
    for (size_t i = 0; i < n; i++) {
        if (i) put_char(t, '&');
        put(t, pairs[i].name);
        put_char(t, '=');
        put(t, pairs[i].value);
    }
    err = S3_OK;
out:
    free(scratch.data);
    free(pairs);
    return err;
}

static void put_query_as_sent(struct text *t, struct mkv_slice query, bool presigned)
{
    struct mkv_slice piece;
    bool first = true;

    if (!query.len) return;
    while (s3_list_next(&query, '&', &piece)) {
        if (presigned && mkv_slice_begins(piece, MKV_SLICE("X-Amz-Signature="))) continue;
        if (!first) put_char(t, '&');
        first = false;
        put(t, piece);
    }
}

/* ---- the headers ------------------------------------------------------------ */

static void put_collapsed(struct text *t, struct mkv_slice value)
{
    bool space = false;

    for (size_t i = 0; i < value.len; i++) {
        bool was_space = space;

        space = value.data[i] == ' ' || value.data[i] == '\t';
        if (space && was_space) continue;
        put_char(t, space ? ' ' : value.data[i]);
    }
}

/* "name:value\n"; several lines of one name are joined by commas.  A header
 * that is signed and not there has an empty value: the signature will tell. */
static void put_header(struct text *t, const struct s3_sign_request *r, struct mkv_slice name,
                       enum s3_canonical_form form)
{
    bool first = true;

    put(t, name);
    put_char(t, ':');
    for (size_t i = 0; i < r->nheaders; i++) {
        if (!mkv_slice_ieq(r->headers[i].name, name)) continue;
        if (!first) put_char(t, ',');
        first = false;
        if (form == S3_CANONICAL)
            put_collapsed(t, r->headers[i].value);
        else
            put(t, r->headers[i].value);
    }
    put_char(t, '\n');
}

/* ---- all of it --------------------------------------------------------------- */

/* Each name is signed at most once, so each value is written at most once. */
static size_t room_for(const struct s3_sign_request *r, struct mkv_slice signed_headers,
                       struct mkv_slice payload)
{
    /* a parameter of one byte may become "%XX=", and '&' stands for itself */
    size_t room = r->method.len + 3 * r->path.len + 4 * r->query.len + payload.len + 8;

    room += 4 * signed_headers.len + 4; /* the list, and "name:\n" of each */
    for (size_t i = 0; i < r->nheaders; i++)
        room += r->headers[i].value.len + 1;
    return room;
}

enum s3_error s3_canonical_request(const struct s3_sign_request *r, struct mkv_slice signed_headers,
                                   struct mkv_slice payload, bool presigned,
                                   enum s3_canonical_form form, char **out, size_t *len)
{
    struct text t = {malloc(room_for(r, signed_headers, payload)), 0};
    struct mkv_slice rest = signed_headers, name;
    enum s3_error err = S3_INTERNAL_ERROR;

    if (!t.data) goto out;
    put(&t, r->method);
    put_char(&t, '\n');
    err = S3_INVALID_URI;
    if (form == S3_AS_SENT)
        put(&t, r->path);
    else if (!put_recoded(&t, r->path, true))
        goto out;
    put_char(&t, '\n');
    err = S3_OK;
    if (form == S3_AS_SENT)
        put_query_as_sent(&t, r->query, presigned);
    else
        err = put_sorted_query(&t, r->query, presigned);
    if (err) goto out;
    put_char(&t, '\n');
    while (s3_list_next(&rest, ';', &name))
        put_header(&t, r, name, form);
    put_char(&t, '\n');
    put(&t, signed_headers);
    put_char(&t, '\n');
    put(&t, payload);
    *out = t.data;
    *len = t.len;
    t.data = NULL;
out:
    free(t.data);
    return err;
}
