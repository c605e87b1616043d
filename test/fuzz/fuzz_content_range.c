/* A Content-Range header: what is understood says the same when it is written
 * anew. */
#include "net/content_range.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct content_range range, again;
    char text[96];

    if (!content_range_parse(mkv_slice((const char *)data, len), &range)) return 0;
    CHECK(range.size <= INT64_MAX && range.end <= range.size);
    CHECK(range.satisfied ? range.first < range.end : range.first + range.end == 0);
    if (range.satisfied)
        snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
                 range.end - 1, range.size);
    else
        snprintf(text, sizeof(text), "bytes */%" PRIu64, range.size);
    CHECK(content_range_parse(mkv_slice_of(text), &again));
    CHECK(again.satisfied == range.satisfied && again.first == range.first);
    CHECK(again.end == range.end && again.size == range.size);
    return 0;
}
