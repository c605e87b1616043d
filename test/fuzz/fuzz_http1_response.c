/* A response head: whole, and again with a cut in the middle. */
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
    static struct http1_head head;
    size_t scanned = 0, used = 0, used_cut = 0;
    enum http1_progress progress = http1_parse_response(&head, data, len, false, &scanned, &used),
                        again;

    CHECK(used <= len && (progress == HTTP1_DONE) == (used > 0));
    if (progress == HTTP1_DONE) {
        CHECK(head.status >= 100 && head.status <= 999);
        CHECK(head.nheaders <= HTTP1_HEADERS_MAX && used <= HTTP1_HEAD_MAX);
    }
    scanned = 0;
    again = http1_parse_response(&head, data, len / 2, true, &scanned, &used_cut);
    if (again == HTTP1_MORE)
        again = http1_parse_response(&head, data, len, true, &scanned, &used_cut);
    CHECK(again == progress && used_cut == used);
    if (again == HTTP1_DONE) CHECK(head.framing == HTTP1_NO_BODY);
    return 0;
}
