/* A posted form: whole, and in pieces as long as the first byte says. */
#include "api/s3_form.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

struct outcome {
    enum s3_error err;
    size_t payload, nfields;
    uint32_t sum;
};

static uint32_t add(uint32_t sum, struct mkv_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        sum = sum * 31 + (uint8_t)s.data[i];
    return sum * 31 + 1;
}

static struct outcome decode(struct mkv_slice type, const char *data, size_t len, size_t piece)
{
    struct outcome o = {S3_OK, 0, 0, 0};
    static struct s3_form f;

    o.err = s3_form_init(&f, type);
    for (size_t at = 0; at < len && !o.err;) {
        size_t n = len - at < piece ? len - at : piece, used;
        struct mkv_slice payload;

        o.err = s3_form_next(&f, data + at, n, &used, &payload);
        CHECK(used <= n && (used || payload.len || o.err));
        for (size_t i = 0; i < payload.len; i++)
            o.sum = o.sum * 31 + (uint8_t)payload.data[i];
        o.payload += payload.len;
        at += used;
    }
    if (!o.err) o.err = s3_form_end(&f);
    if (f.has_file && !o.err) {
        o.nfields = f.nfields;
        for (size_t i = 0; i < f.nfields; i++)
            o.sum = add(add(o.sum, f.fields[i].name), f.fields[i].value);
        o.sum = add(add(o.sum, f.filename), f.file_type);
    }
    s3_form_clear(&f);
    return o;
}

/* The first line is the Content-Type. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *data = (const char *)bytes + 1;
    const char *end = len > 1 ? memchr(data, '\n', len - 1) : NULL;
    struct outcome whole, cut;
    struct mkv_slice type;

    if (!end) return 0;
    type = mkv_slice(data, (size_t)(end - data));
    len -= type.len + 2;
    whole = decode(type, end + 1, len, len + 1);
    cut = decode(type, end + 1, len, (size_t)bytes[0] + 1);
    CHECK(whole.err == cut.err && whole.nfields == cut.nfields);
    if (!whole.err) CHECK(whole.payload == cut.payload && whole.sum == cut.sum);
    return 0;
}
