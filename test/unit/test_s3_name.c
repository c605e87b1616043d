/* test/unit/test_s3_name.c - bucket names, paths, hosts, sources of copies. */
#include "api/s3_name.h"

#include "s3_helper.h"

#define SIXTY "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"

static void bucket_names(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } rows[] = {
        {"abc",            true },
        {"a-b",            true },
        {"a.b.c",          true },
        {"0a9",            true },
        {"123",            true },
        {"1.2.3",          true },
        {SIXTY "abc",      true },
        {"a--b",           true },
        {"256.1.1.1.1",    true },
        {"",               false},
        {"ab",             false},
        {SIXTY "abcd",     false},
        {"Abc",            false},
        {"a_b",            false},
        {"-ab",            false},
        {"ab-",            false},
        {".ab",            false},
        {"ab.",            false},
        {"a..b",           false},
        {"a.-b",           false},
        {"a-.b",           false},
        {"192.168.5.4",    false},
        {"xn--abc",        false},
        {"sthree-abc",     false},
        {"abc-s3alias",    false},
        {"abc--ol-s3",     false},
        {"a b",            false},
        {"a/b",            false},
        {"a\xc3\xa4"
         "b",     false},
        {"abc.mrap",       false},
        {"abc--x-s3",      false},
        {"amzn-s3-demo-a", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (s3_bucket_name_valid(mkv_slice_of(rows[i].name)) != rows[i].valid)
            fail_msg("%s", rows[i].name);
}

static void split(void **state)
{
    static const struct {
        const char *path, *host, *domain;
        enum s3_error err;
        const char *bucket, *key;
        bool of_host;
    } rows[] = {
        {"/",                "h",                 "",         S3_OK,                  "",    "",         false},
        {"/b",               "h",                 "",         S3_OK,                  "b",   "",         false},
        {"/b/",              "h",                 "",         S3_OK,                  "b",   "",         false},
        {"/b/k",             "h",                 "",         S3_OK,                  "b",   "k",        false},
        {"/b//k/../~/",      "h",                 "",         S3_OK,                  "b",   "/k/../~/", false},
        {"",                 "h",                 "",         S3_INVALID_URI,         "",    "",         false},
        {"b/k",              "h",                 "",         S3_INVALID_URI,         "",    "",         false},
        {"//k",              "h",                 "",         S3_INVALID_URI,         "",    "",         false},
        {"//",               "h",                 "",         S3_INVALID_URI,         "",    "",         false},
        {"/./k",             "h",                 "",         S3_INVALID_BUCKET_NAME, "",    "",         false},
        {"/../k",            "h",                 "",         S3_INVALID_BUCKET_NAME, "",    "",         false},
        {"/" SIXTY "abcd/k", "h",                 "",         S3_INVALID_BUCKET_NAME, "",    "",         false},
        {"/k/l",             "b.s3.local",        "s3.local", S3_OK,                  "b",   "k/l",      true },
        {"/k/l",             "a.b.S3.Local:3000", "s3.local", S3_OK,                  "a.b", "k/l",      true },
        {"/",                "b.s3.local:3000",   "s3.local", S3_OK,                  "b",   "",         true },
        {"//k",              "b.s3.local",        "s3.local", S3_OK,                  "b",   "/k",       true },
        {"/b/k",             "s3.local:3000",     "s3.local", S3_OK,                  "b",   "k",        false},
        {"/b/k",             ".s3.local",         "s3.local", S3_OK,                  "b",   "k",        false},
        {"/b/k",             "xs3.local",         "s3.local", S3_OK,                  "b",   "k",        false},
        {"/b/k",             "b.s3.local",        "",         S3_OK,                  "b",   "k",        false},
        {"/b/k",             "",                  "s3.local", S3_OK,                  "b",   "k",        false},
        {"/b/k",             "[::1]:3000",        "s3.local", S3_OK,                  "b",   "k",        false},
    };
    char path[S3_KEY_MAX + 8] = "/b/";
    struct s3_name n;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum s3_error err = s3_name_split(mkv_slice_of(rows[i].path), mkv_slice_of(rows[i].host),
                                          mkv_slice_of(rows[i].domain), &n);

        if (err != rows[i].err) fail_msg("row %zu: %s", i, s3_error_code(err));
        if (err) continue;
        assert_slice(n.bucket, mkv_slice_of(rows[i].bucket));
        assert_slice(n.key, mkv_slice_of(rows[i].key));
        assert_int_equal(n.of_host, rows[i].of_host);
    }
    memset(path + 3, 'k', S3_KEY_MAX + 1);
    assert_int_equal(
        s3_name_split(mkv_slice(path, 3 + S3_KEY_MAX), MKV_SLICE(""), MKV_SLICE(""), &n), S3_OK);
    assert_int_equal(
        s3_name_split(mkv_slice(path, 4 + S3_KEY_MAX), MKV_SLICE(""), MKV_SLICE(""), &n),
        S3_KEY_TOO_LONG);
}

static void copy_source(void **state)
{
    static const struct {
        const char *value;
        enum s3_error err;
        const char *bucket, *key;
    } rows[] = {
        {"b/k",                            S3_OK,                  "b", "k"            },
        {"/b/k",                           S3_OK,                  "b", "k"            },
        {"%2Fb%2Fk",                       S3_OK,                  "b", "k"            },
        {"b/k+l%2B%20m%252F",              S3_OK,                  "b", "k+l+ m%2F"    }, /* once only, and '+' is '+' */
        {"/b//k/",                         S3_OK,                  "b", "/k/"          },
        {"b/k?versionId=null",             S3_OK,                  "b", "k"            },
        {"b/k?a",                          S3_OK,                  "b", "k?a"          },
        {"b/k%3FversionId=1",              S3_OK,                  "b", "k?versionId=1"},
        {"b/k?versionId=1?versionId=null", S3_OK,                  "b", "k?versionId=1"},
        {"b/k?versionId=abc",              S3_NO_SUCH_VERSION,     "",  ""             },
        {"b/k?versionId=",                 S3_INVALID_ARGUMENT,    "",  ""             },
        {"b",                              S3_INVALID_ARGUMENT,    "",  ""             },
        {"b/",                             S3_INVALID_ARGUMENT,    "",  ""             },
        {"//k",                            S3_INVALID_ARGUMENT,    "",  ""             },
        {"/",                              S3_INVALID_ARGUMENT,    "",  ""             },
        {"",                               S3_INVALID_ARGUMENT,    "",  ""             },
        {"b/k%",                           S3_INVALID_ARGUMENT,    "",  ""             },
        {"b/k%zz",                         S3_INVALID_ARGUMENT,    "",  ""             },
        {"../k",                           S3_INVALID_BUCKET_NAME, "",  ""             },
    };
    char buffer[S3_COPY_SOURCE_MAX], longest[S3_COPY_SOURCE_MAX + 2];
    struct s3_name n;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum s3_error err = s3_copy_source(mkv_slice_of(rows[i].value), buffer, &n);

        if (err != rows[i].err) fail_msg("row %zu: %s", i, s3_error_code(err));
        if (err) continue;
        assert_slice(n.bucket, mkv_slice_of(rows[i].bucket));
        assert_slice(n.key, mkv_slice_of(rows[i].key));
    }
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(s3_copy_source(mkv_slice(longest, sizeof(longest)), buffer, &n),
                     S3_KEY_TOO_LONG);
    longest[1] = '/';
    assert_int_equal(s3_copy_source(mkv_slice(longest, 2 + S3_KEY_MAX), buffer, &n), S3_OK);
    assert_int_equal(s3_copy_source(mkv_slice(longest, 3 + S3_KEY_MAX), buffer, &n),
                     S3_KEY_TOO_LONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_names),
        cmocka_unit_test(split),
        cmocka_unit_test(copy_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
