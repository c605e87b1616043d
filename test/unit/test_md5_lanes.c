/* MD5 in lanes: RFC 1321's vectors, and libcrypto's answers for everything else. */
#include "base/md5_lanes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void vectors_of_the_rfc(void **state)
{
    static const struct {
        const char *text, *md5;
    } rows[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"1234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "0",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct mkv_slice piece = mkv_slice_of(rows[i].text);
        struct md5_lane lane, *lanes[] = {&lane};
        uint8_t md5[MKV_MD5_LEN];
        char hex[2 * MKV_MD5_LEN + 1];

        md5_lane_init(&lane);
        md5_lanes_add(lanes, &piece, 1);
        md5_lanes_final(lanes, &md5, 1);
        mkv_hex(hex, md5, sizeof(md5));
        assert_string_equal(hex, rows[i].md5);
    }
}

#define MOST 5000

static char *random_bytes(size_t len)
{
    char *bytes = malloc(len + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) bytes[i] = (char)(rand() & 0xff);
    return bytes;
}

/* Streams of all lengths, added side by side in pieces of all lengths. */
static void as_libcrypto_says(void **state)
{
    (void)state;
    srand(1);
    for (unsigned round = 0; round < 300; round++) {
        size_t n = 1 + (size_t)rand() % MD5_LANES, given[MD5_LANES] = {0}, len[MD5_LANES];
        struct md5_lane lane[MD5_LANES], *lanes[MD5_LANES];
        uint8_t md5[MD5_LANES][MKV_MD5_LEN];
        char *bytes[MD5_LANES];
        bool more = true;

        for (size_t i = 0; i < n; i++) {
            len[i] = (size_t)rand() % MOST;
            bytes[i] = random_bytes(len[i]);
            md5_lane_init(&lane[i]);
            lanes[i] = &lane[i];
        }
        while (more) {
            struct mkv_slice pieces[MD5_LANES];

            more = false;
            for (size_t i = 0; i < n; i++) {
                size_t left = len[i] - given[i], piece = (size_t)rand() % 700;

                if (piece > left) piece = left;
                pieces[i] = mkv_slice(bytes[i] + given[i], piece);
                given[i] += piece;
                more |= given[i] < len[i];
            }
            md5_lanes_add(lanes, pieces, n);
        }
        md5_lanes_final(lanes, md5, n);
        for (size_t i = 0; i < n; i++) {
            uint8_t expected[MKV_MD5_LEN];

            mkv_md5(mkv_slice(bytes[i], len[i]), expected);
            assert_memory_equal(md5[i], expected, sizeof(expected));
            free(bytes[i]);
        }
    }
}

/* Every length around the edges of blocks and of the padding. */
static void every_short_length(void **state)
{
    char *bytes = random_bytes(300);

    (void)state;
    for (size_t len = 0; len <= 300; len++) {
        const struct mkv_slice piece = mkv_slice(bytes, len);
        struct md5_lane lane, *lanes[] = {&lane};
        uint8_t expected[MKV_MD5_LEN], md5[MKV_MD5_LEN];

        md5_lane_init(&lane);
        md5_lanes_add(lanes, &piece, 1);
        md5_lanes_final(lanes, &md5, 1);
        mkv_md5(piece, expected);
        assert_memory_equal(md5, expected, sizeof(md5));
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_rfc),
        cmocka_unit_test(as_libcrypto_says),
        cmocka_unit_test(every_short_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
