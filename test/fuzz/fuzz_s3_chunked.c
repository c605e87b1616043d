/* An aws-chunked body: whole, and in pieces as long as the second byte says.
 * The first byte chooses the kind, and whether signatures are compared. */
#include "api/s3_chunked.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

struct outcome {
    enum s3_error err;
    size_t payload, ntrailers;
    uint32_t sum;
};

static struct outcome decode(uint8_t how, const char *data, size_t len, size_t piece)
{
    struct s3_signature signature = {.date = "20130524T000000Z",
                                     .scope = "20130524/us-east-1/s3/aws4_request"};
    enum s3_payload kind = (enum s3_payload)(S3_PAYLOAD_STREAMING + how % 3);
    struct outcome o = {S3_OK, 0, 0, 0};
    struct s3_chunked c;

    s3_chunked_init(&c, kind, how & 0x80 ? &signature : NULL);
    for (size_t at = 0; at < len && !o.err;) {
        size_t n = len - at < piece ? len - at : piece, used;
        struct mkv_slice payload;

        o.err = s3_chunked_next(&c, data + at, n, &used, &payload);
        CHECK(used <= n && payload.len <= used);
        CHECK(used == n || payload.len || o.err);
        for (size_t i = 0; i < payload.len; i++)
            o.sum = o.sum * 31 + (uint8_t)payload.data[i];
        o.payload += payload.len;
        at += used;
    }
    if (!o.err) o.err = s3_chunked_end(&c);
    o.ntrailers = c.ntrailers;
    for (size_t i = 0; i < c.ntrailers; i++)
        CHECK(c.trailers[i].name.len > 0 && c.trailers[i].value.data);
    s3_chunked_clear(&c);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct outcome whole, cut;

    if (len < 2) return 0;
    whole = decode(bytes[0], (const char *)bytes + 2, len - 2, len);
    cut = decode(bytes[0], (const char *)bytes + 2, len - 2, (size_t)bytes[1] + 1);
    CHECK(whole.err == cut.err && whole.payload == cut.payload);
    CHECK(whole.sum == cut.sum && whole.ntrailers == cut.ntrailers);
    return 0;
}
