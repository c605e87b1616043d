#include "mkv/digest.h"

#include "table.h"

#include <string.h>

/* RFC 1321, A.5 and FIPS 180-4's examples. */
static const struct {
    const char *text, *md5, *sha256;
} vectors[] = {
    {"", "d41d8cd98f00b204e9800998ecf8427e",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"a", "0cc175b9c0f1b6a831c399e269772661",
     "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
    {"abc", "900150983cd24fb0d6963f7d28e17f72",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"message digest", "f96b697d7cb7938d525a2f31aaf161d0",
     "f7846f55cf23e14eebeab5b4e1550cad5b509e3348fbc4efa3a1413d393cb650"},
    {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
     "57edf4a22be3c955ac49da2e2107b67a",
     "f371bc4a311f2b009eef952dd83ca80e2b60026c8e935592d0f9c308453c813e"},
};

static void check(const uint8_t *digest, size_t len, const char *expected)
{
    char hex[2 * MKV_SHA256_LEN + 1];

    mkv_hex(hex, digest, len);
    assert_string_equal(hex, expected);
}

static void at_once(void **state)
{
    uint8_t md5[MKV_MD5_LEN], sha256[MKV_SHA256_LEN];

    (void)state;
    for (size_t i = 0; i < COUNT(vectors); i++) {
        mkv_md5(mkv_slice_of(vectors[i].text), md5);
        check(md5, sizeof(md5), vectors[i].md5);
        mkv_sha256(mkv_slice_of(vectors[i].text), sha256);
        check(sha256, sizeof(sha256), vectors[i].sha256);
    }
}

/* However the text is cut. */
static void in_pieces(void **state)
{
    uint8_t md5[MKV_MD5_LEN];

    (void)state;
    for (size_t i = 0; i < COUNT(vectors); i++) {
        size_t len = strlen(vectors[i].text);

        for (size_t cut = 0; cut <= len; cut++) {
            struct mkv_digest *d = NULL;

            mkv_md5_two(mkv_slice(vectors[i].text, cut), mkv_slice_of(vectors[i].text + cut), md5);
            check(md5, sizeof(md5), vectors[i].md5);
            assert_int_equal(mkv_digest_new_md5(&d), MKV_OK);
            mkv_digest_add(d, vectors[i].text, cut);
            mkv_digest_add(d, vectors[i].text + cut, len - cut);
            mkv_digest_final(d, md5);
            check(md5, sizeof(md5), vectors[i].md5);
        }
    }
}

static void given_up(void **state)
{
    struct mkv_digest *d = NULL;

    (void)state;
    mkv_digest_free(NULL);
    assert_int_equal(mkv_digest_new_md5(&d), MKV_OK);
    mkv_digest_add(d, "abc", 3);
    mkv_digest_free(d); /* LeakSanitizer looks */
}

static void hex(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        bool good;
    } rows[] = {
        {"", 0, true},       {"00ff", 2, true},   {"AbCd", 2, true}, {"0", 1, false},
        {"000", 1, false},   {"00", 2, false},    {"0g", 1, false},  {"g0", 1, false},
        {"0/", 1, false},    {"0:", 1, false},    {"@0", 1, false},  {"`0", 1, false},
        {" 0", 1, false},    {"\xb0" "0", 1, false},
    };
    const uint8_t bytes[] = {0x00, 0x0f, 0x9a, 0xff};
    uint8_t out[4];
    char text[9];

    (void)state;
    mkv_hex(text, bytes, sizeof(bytes));
    assert_string_equal(text, "000f9aff");
    assert_true(mkv_unhex(out, 4, MKV_SLICE("000F9aFf")));
    assert_memory_equal(out, bytes, 4);
    mkv_hex(text, bytes, 0);
    assert_string_equal(text, "");
    for (size_t i = 0; i < COUNT(rows); i++)
        if (mkv_unhex(out, rows[i].len, mkv_slice_of(rows[i].text)) != rows[i].good)
            fail_msg("\"%s\"", rows[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_once),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(given_up),
        cmocka_unit_test(hex),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
