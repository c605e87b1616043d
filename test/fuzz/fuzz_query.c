/* A query walked and decoded as the server does, then the text as a key:
 * encoded for a path and escaped for JSON. */
#include "mkv/uri.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static void check_decode(struct mkv_slice in)
{
    char *apart = malloc(in.len + 1), *within = malloc(in.len + 1);
    size_t apart_len = 0, within_len = 0;
    bool ok;

    CHECK(apart && within);
    if (in.len) memcpy(within, in.data, in.len);
    ok = mkv_percent_decode(in, true, apart, &apart_len);
    CHECK(mkv_percent_decode(mkv_slice(within, in.len), true, within, &within_len) == ok);
    CHECK(!ok || (apart_len <= in.len &&
                  mkv_slice_eq(mkv_slice(apart, apart_len), mkv_slice(within, within_len))));
    free(within);
    free(apart);
}

static void check_encode(struct mkv_slice in)
{
    char *path = malloc(3 * in.len + 1), *json = malloc(6 * in.len + 1);
    size_t len;

    CHECK(path && json);
    len = mkv_json_escape(in, json);
    CHECK(len <= 6 * in.len && mkv_utf8_valid(mkv_slice(json, len)));
    len = mkv_percent_encode_path(in, path);
    CHECK(len <= 3 * in.len && mkv_percent_decode(mkv_slice(path, len), false, path, &len));
    CHECK(mkv_slice_eq(mkv_slice(path, len), in));
    free(json);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mkv_slice all = mkv_slice((const char *)data, len), rest = all, name, value;

    while (mkv_query_next(&rest, &name, &value)) {
        CHECK(name.len || value.data);
        CHECK(!memchr(name.data, '&', name.len) && !memchr(name.data, '=', name.len));
        check_decode(name);
        check_decode(value);
    }
    check_decode(all);
    check_encode(all);
    return 0;
}
