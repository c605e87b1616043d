/* Whatever decodes encodes to the same bytes, also after its fields were
 * taken out and put back. */
#include "mkv/record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static void check_same_bytes(const struct mkv_record *r, const uint8_t *data, size_t len)
{
    uint8_t *again = malloc(len);

    CHECK(again && mkv_record_encoded_len(r) == len);
    mkv_record_encode(r, again);
    CHECK(memcmp(again, data, len) == 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mkv_record r, copy;
    enum mkv_err err;

    mkv_record_init(&r);
    mkv_record_init(&copy);
    err = mkv_record_decode(&r, data, len);
    CHECK(err == MKV_OK || err == MKV_ECORRUPT || err == MKV_ENEWER);
    if (err) return 0;

    CHECK(mkv_record_peek_state(data, len) == r.state);
    check_same_bytes(&r, data, len);
    CHECK(mkv_record_copy(&copy, &r) == MKV_OK);
    for (unsigned type = 1; type < 64; type++) {
        struct mkv_slice value;

        if (!mkv_record_field(&r, type, &value)) continue;
        CHECK(mkv_record_set_field(&copy, type, mkv_slice(NULL, 0)) == MKV_OK);
        CHECK(mkv_record_set_field(&copy, type, value) == MKV_OK);
    }
    check_same_bytes(&copy, data, len);
    mkv_record_clear(&copy);
    mkv_record_clear(&r);
    return 0;
}
