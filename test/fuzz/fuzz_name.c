/* The input as a key, with a generation from its first byte, and as a path:
 * to the path and back in both directions. */
#include "mkv/name.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static size_t merge(char *path, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        if (i == 0 || path[i] != '/' || path[i - 1] != '/') path[n++] = path[i];
    return n;
}

static void check_key(struct mkv_slice key, uint64_t generation)
{
    char path[MKV_PATH_MAX], found[MKV_KEY_MAX];
    size_t len = mkv_key_path(path, key, generation), found_len;
    uint64_t found_generation;

    CHECK(len < MKV_PATH_MAX && path[len] == '\0' && path[len - 1] != '/');
    CHECK(mkv_path_key(mkv_slice(path, len), found, &found_len, &found_generation));
    CHECK(mkv_slice_eq(mkv_slice(found, found_len), key) && found_generation == generation);
}

/* A path that leads to a key is that key's path, or what nginx makes of it. */
static void check_path(struct mkv_slice path)
{
    char key[MKV_KEY_MAX], again[MKV_PATH_MAX];
    size_t key_len, len;
    uint64_t generation;

    if (!mkv_path_key(path, key, &key_len, &generation)) return;
    CHECK(key_len > 0 && key_len <= MKV_KEY_MAX && generation <= MKV_GENERATION_MAX);
    len = mkv_key_path(again, mkv_slice(key, key_len), generation);
    if (!mkv_slice_eq(mkv_slice(again, len), path)) len = merge(again, len);
    CHECK(mkv_slice_eq(mkv_slice(again, len), path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data;

    check_path(mkv_slice(text, len));
    if (len > 1 && len - 1 <= MKV_KEY_MAX)
        check_key(mkv_slice(text + 1, len - 1),
                  data[0] < 128 ? data[0] : UINT64_C(1) << (data[0] & 63) % 56);
    return 0;
}
