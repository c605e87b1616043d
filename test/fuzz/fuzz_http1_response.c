/* A response head: whole, and again with a cut in the middle. */
#include "net/http1.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *data = (const char *)bytes;
    static struct http1_head head;
    size_t scanned = 0, used = 0, used_cut = 0;
    enum http1_progress progress =
        http1_parse_response(&head, data, len, false, &scanned, &used), again;

    assert(used <= len && (progress == HTTP1_DONE) == (used > 0));
    if (progress == HTTP1_DONE) {
        assert(head.status >= 100 && head.status <= 999);
        assert(head.nheaders <= HTTP1_HEADERS_MAX && used <= HTTP1_HEAD_MAX);
    }
    scanned = 0;
    again = http1_parse_response(&head, data, len / 2, true, &scanned, &used_cut);
    if (again == HTTP1_MORE)
        again = http1_parse_response(&head, data, len, true, &scanned, &used_cut);
    assert(again == progress && used_cut == used);
    if (again == HTTP1_DONE) assert(head.framing == HTTP1_NO_BODY);
    return 0;
}
