/* Entries keep what listing.h promises, on any input. */
#include "mkv/listing.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static bool check_entry(const struct mkv_listing_entry *e, void *arg)
{
    size_t *bytes = arg;

    CHECK(e->name.len > 0 && !memchr(e->name.data, '/', e->name.len));
    CHECK(!memchr(e->name.data, '\0', e->name.len));
    CHECK(e->is_directory ? e->size == -1 : e->size >= 0);
    CHECK(e->mtime >= -1);
    *bytes += e->name.len;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t bytes = 0;
    enum mkv_err err = mkv_listing_parse((const char *)data, len, check_entry, &bytes);

    CHECK(err == MKV_OK || err == MKV_ECORRUPT);
    CHECK(bytes <= len);
    return 0;
}
