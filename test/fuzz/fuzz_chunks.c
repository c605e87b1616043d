/* A chunked body: whole, and again in pieces as long as the first byte says. */
#include "net/http1.h"

#include <stdint.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct outcome {
    enum http1_progress progress;
    size_t used, payload, ntrailers;
    uint32_t sum;
};

static struct outcome decode(const char *data, size_t len, size_t piece)
{
    struct http1_chunks c = {0};
    struct outcome o = {HTTP1_MORE, 0, 0, 0, 0};

    while (o.used < len && o.progress == HTTP1_MORE) {
        size_t n = len - o.used < piece ? len - o.used : piece, used;
        struct mkv_slice payload;

        o.progress = http1_chunks_next(&c, data + o.used, n, &used, &payload);
        CHECK(used <= n && (used > 0 || o.progress != HTTP1_MORE));
        CHECK(payload.len <= used);
        for (size_t i = 0; i < payload.len; i++)
            o.sum = o.sum * 31 + (uint8_t)payload.data[i];
        o.used += used;
        o.payload += payload.len;
    }
    if (o.progress == HTTP1_BAD) CHECK(c.reason_bad);
    o.ntrailers = c.ntrailers;
    http1_chunks_clear(&c);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct outcome whole, cut;

    if (len == 0) return 0;
    whole = decode((const char *)bytes + 1, len - 1, len);
    cut = decode((const char *)bytes + 1, len - 1, (size_t)bytes[0] + 1);
    CHECK(whole.progress == cut.progress);
    CHECK(whole.payload == cut.payload && whole.sum == cut.sum);
    if (whole.progress == HTTP1_DONE)
        CHECK(whole.used == cut.used && whole.ntrailers == cut.ntrailers);
    return 0;
}
