/* A request head: whole, and again with a cut in the middle. */
#include "net/http1.h"

#include <stdint.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *data = (const char *)bytes;
    static struct http1_head whole, cut;
    size_t scanned = 0, used = 0, used_cut = 0;
    enum http1_progress progress = http1_parse_request(&whole, data, len, &scanned, &used), again;

    CHECK(used <= len && (progress == HTTP1_DONE) == (used > 0));
    scanned = 0;
    again = http1_parse_request(&cut, data, len / 2, &scanned, &used_cut);
    if (again == HTTP1_MORE) again = http1_parse_request(&cut, data, len, &scanned, &used_cut);
    CHECK(again == progress && used_cut == used);
    if (progress == HTTP1_BAD) CHECK(whole.bad_status == cut.bad_status && whole.reason_bad);
    if (progress != HTTP1_DONE) return 0;

    CHECK(whole.method.len >= 1 && whole.method.len <= 32);
    CHECK(whole.target.len >= 1 && whole.target.len <= HTTP1_TARGET_MAX);
    CHECK(used <= HTTP1_HEAD_MAX && whole.nheaders <= HTTP1_HEADERS_MAX);
    CHECK(whole.framing != HTTP1_UNTIL_CLOSE);
    for (size_t i = 0; i < whole.nheaders; i++) {
        const struct mkv_header *h = &whole.headers[i];

        CHECK(h->name.len > 0 && h->name.data > data);
        CHECK(h->value.data + h->value.len <= data + used);
        CHECK(!h->value.len || (!memchr(h->value.data, '\n', h->value.len) &&
                                !memchr(h->value.data, '\0', h->value.len)));
    }
    return 0;
}
