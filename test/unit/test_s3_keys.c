/* test/unit/test_s3_keys.c - the file of -keys. */
#include "api/s3_keys.h"

#include "s3_helper.h"

#include <sys/stat.h>
#include <unistd.h>

static void good_files(void **state)
{
    static const char text[] = "# who\n"
                               "\n"
                               "  root  secret-of-root \r\n"
                               "photos\tsecret1234 photos logs:r tmp:rw # trailing\n"
                               "reader secret#with#hash photos:r";
    static const struct {
        const char *access, *bucket;
        bool read, write, buckets;
    } rows[] = {
        {"root",   "any",    true,  true,  true },
        {"photos", "photos", true,  true,  false},
        {"photos", "logs",   true,  false, false},
        {"photos", "tmp",    true,  true,  false},
        {"photos", "other",  false, false, false},
        {"photos", "photo",  false, false, false},
        {"reader", "photos", true,  false, false},
        {"reader", "logs",   false, false, false},
    };
    char why[S3_KEYS_ERROR_MAX];
    struct mkv_slice secret;
    struct s3_keys *keys;

    (void)state;
    if (!s3_keys_parse(&keys, mkv_slice_of(text), why)) fail_msg("%s", why);
    assert_int_equal(s3_keys_count(keys), 3);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct s3_key *key = s3_keys_find(keys, mkv_slice_of(rows[i].access));
        struct mkv_slice bucket = mkv_slice_of(rows[i].bucket);

        assert_non_null(key);
        if (s3_keys_allow(key, bucket, S3_WISH_READ) != rows[i].read ||
            s3_keys_allow(key, bucket, S3_WISH_WRITE) != rows[i].write ||
            s3_keys_allow(key, bucket, S3_WISH_BUCKETS) != rows[i].buckets)
            fail_msg("row %zu", i);
    }
    assert_null(s3_keys_find(keys, MKV_SLICE("nobody")));
    assert_false(s3_keys_secret_of(MKV_SLICE("nobody"), &secret, keys));
    assert_true(s3_keys_secret_of(MKV_SLICE("reader"), &secret, keys));
    assert_slice(secret, MKV_SLICE("secret#with#hash"));
    s3_keys_close(keys);
    s3_keys_close(NULL);
}

static void bad_files(void **state)
{
    static const struct {
        struct mkv_slice text;
        const char *why;
    } rows[] = {
        {LITERAL(""),                                   "no key in it"                        },
        {LITERAL("# nothing\n\n"),                      "no key in it"                        },
        {LITERAL("a\n"),                                "line 1: an access key needs a secret"},
        {LITERAL("#\na 1234567\n"),                     "line 2: a secret has 8"              },
        {LITERAL("a 12345678 b:w\n"),                   "line 1: a bucket takes"              },
        {LITERAL("a 12345678 :r\n"),                    "line 1: a bucket's name"             },
        {LITERAL("a 12345678 b:\n"),                    "line 1: a bucket takes"              },
        {LITERAL("a 12345678 b\x01\n"),                 "line 1: a bucket's name holds"       },
        {LITERAL("a\xc3\xa4 12345678\n"),               "line 1: an access key and"           },
        {LITERAL("a 12345678\nb 12345678\0\n"),         "line 2: a NUL"                       },
        {LITERAL("a 12345678\nb 12345678\na 87654321"), "the access key a "                   },
    };
    char why[S3_KEYS_ERROR_MAX];
    struct s3_keys *keys = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_false(s3_keys_parse(&keys, rows[i].text, why));
        if (strncmp(why, rows[i].why, strlen(rows[i].why)) != 0) fail_msg("row %zu: %s", i, why);
        assert_null(keys);
    }
}

static void limits(void **state)
{
    size_t room = S3_KEYS_FILE_MAX + 1, n = 0;
    char *text = malloc(room), why[S3_KEYS_ERROR_MAX];
    struct s3_keys *keys;

    (void)state;
    assert_non_null(text);
    for (int i = 0; i < S3_KEYS_MAX; i++)
        n += (size_t)snprintf(text + n, room - n, "key%d secret-of-it\n", i);
    assert_true(s3_keys_parse(&keys, mkv_slice(text, n), why));
    assert_int_equal(s3_keys_count(keys), S3_KEYS_MAX);
    assert_non_null(s3_keys_find(keys, MKV_SLICE("key9999")));
    s3_keys_close(keys);
    n += (size_t)snprintf(text + n, room - n, "another secret-of-it\n");
    assert_false(s3_keys_parse(&keys, mkv_slice(text, n), why));
    assert_string_equal(why, "line 10001: more than 10000 keys");
    memset(text, '#', room);
    assert_false(s3_keys_parse(&keys, mkv_slice(text, room), why));
    assert_string_equal(why, "longer than 1 MB");
    n = (size_t)snprintf(text, room, "key secret-of-it");
    for (int i = 0; i < S3_GRANTS_MAX + 1; i++)
        n += (size_t)snprintf(text + n, room - n, " b%d", i);
    assert_false(s3_keys_parse(&keys, mkv_slice(text, n), why));
    assert_string_equal(why, "line 1: more than 1000 buckets");
    free(text);
}

static void files(void **state)
{
    static const struct {
        mode_t mode;
        bool ok;
    } rows[] = {
        {0600, true },
        {0400, true },
        {0640, true },
        {0644, false},
        {0604, false},
        {0660, false},
        {0602, false}
    };
    char folder[] = "/tmp/mkv-keys-XXXXXX", path[64], why[S3_KEYS_ERROR_MAX];
    struct s3_keys *keys;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/keys", folder);
    assert_false(s3_keys_read(&keys, path, why));
    assert_string_equal(why, "No such file or directory");
    assert_false(s3_keys_read(&keys, folder, why));
    assert_string_equal(why, "not a plain file");
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("a 12345678\n", f);
    fclose(f);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(chmod(path, rows[i].mode), 0);
        if (s3_keys_read(&keys, path, why) != rows[i].ok) fail_msg("%03o: %s", rows[i].mode, why);
        if (rows[i].ok)
            s3_keys_close(keys);
        else
            assert_non_null(strstr(why, "chmod 600"));
    }
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(limits),
        cmocka_unit_test(files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
