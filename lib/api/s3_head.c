#include "api/s3_head.h"

#include <stdio.h>

void s3_head_init(struct s3_head *h)
{
    h->n = h->used = 0; /* the rest is read only up to there */
    h->full = false;
}

static char *take(struct s3_head *h, size_t len)
{
    char *at = h->text + h->used;

    if (len > sizeof(h->text) - h->used) {
        h->full = true;
        return NULL;
    }
    h->used += len;
    return at;
}

static char *put(char *at, struct mkv_slice s)
{
    if (s.len) memcpy(at, s.data, s.len);
    return at + s.len;
}

void s3_head_add_two(struct s3_head *h, struct mkv_slice prefix, struct mkv_slice name,
                     struct mkv_slice value)
{
    size_t name_len = prefix.len + name.len;
    char *at = h->n < S3_HEAD_LINES ? take(h, name_len + value.len) : NULL;

    if (!at) {
        h->full = true;
        return;
    }
    put(put(put(at, prefix), name), value);
    h->h[h->n++] = (struct mkv_header){{at, name_len}, {at + name_len, value.len}};
}

void s3_head_add(struct s3_head *h, struct mkv_slice name, struct mkv_slice value)
{
    s3_head_add_two(h, mkv_slice(NULL, 0), name, value);
}

void s3_head_number(struct s3_head *h, struct mkv_slice name, uint64_t n)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)n);

    s3_head_add(h, name, mkv_slice(text, (size_t)len));
}

void s3_head_etag(struct s3_head *h, struct mkv_slice etag)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "\"%.*s\"", (int)etag.len, etag.data);

    s3_head_add(h, MKV_SLICE("ETag"), mkv_slice(text, (size_t)len));
}

void s3_head_set(struct s3_head *h, struct mkv_slice name, struct mkv_slice value)
{
    for (size_t i = 0; i < h->n; i++) {
        char *at;

        if (!mkv_slice_ieq(h->h[i].name, name)) continue;
        at = take(h, value.len);
        if (!at) return;
        put(at, value);
        h->h[i].value = mkv_slice(at, value.len);
        return;
    }
    s3_head_add(h, name, value);
}
