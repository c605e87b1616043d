/* test/unit/test_s3_text.c - base64, percent-encoding, dates, errors. */
#include "api/s3_text.h"

#include "api/s3_error.h"
#include "s3_helper.h"

#include <time.h>

static void base64(void **state)
{
    static const struct {
        const char *text, *bytes;
        size_t len;
    } rows[] = {
        {"",         "",             0},
        {"Zg==",     "f",            1},
        {"Zm8=",     "fo",           2},
        {"Zm9v",     "foo",          3},
        {"Zm9vYg==", "foob",         4},
        {"+/+/",     "\xfb\xff\xbf", 3},
        {"AAA=",     "\0\0",         2},
    };
    static const char *const bad[] = {"Z",        "Zg",     "Zg=",  "Zh==", "Zm9=",  "Z===", "====",
                                      "Zg==Zg==", "Zm9v\n", " Zm9", "Zm-v", "Zm9v=", "=AAA"};
    uint8_t out[16];
    char text[32];
    size_t len;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(s3_base64(text, (const uint8_t *)rows[i].bytes, rows[i].len),
                         strlen(rows[i].text));
        assert_string_equal(text, rows[i].text);
        assert_true(s3_unbase64(mkv_slice_of(text), out, rows[i].len, &len));
        assert_int_equal(len, rows[i].len);
        assert_memory_equal(out, rows[i].bytes, len);
        if (len) assert_false(s3_unbase64(mkv_slice_of(text), out, len - 1, &len));
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (s3_unbase64(mkv_slice_of(bad[i]), out, sizeof(out), &len)) fail_msg("%s", bad[i]);
}

static void uri_encode(void **state)
{
    static const struct {
        struct mkv_slice in;
        bool keep_slash;
        const char *out;
    } rows[] = {
        {LITERAL("az AZ/09-._~"),   true,  "az%20AZ/09-._~"                   },
        {LITERAL("a/b"),            false, "a%2Fb"                            },
        {LITERAL("+%&=?#!*'()"),    true,  "%2B%25%26%3D%3F%23%21%2A%27%28%29"},
        {LITERAL("\0\x7f\xc3\xa4"), true,  "%00%7F%C3%A4"                     },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[128];
        size_t len = s3_uri_encode(rows[i].in, rows[i].keep_slash, out);

        assert_slice(mkv_slice(out, len), mkv_slice_of(rows[i].out));
    }
}

static void dates_out(void **state)
{
    static const struct {
        int64_t when;
        const char *amz, *iso;
    } rows[] = {
        {0,            "19700101T000000Z", "1970-01-01T00:00:00.000Z"},
        {1369353600,   "20130524T000000Z", "2013-05-24T00:00:00.000Z"},
        {951827696,    "20000229T123456Z", "2000-02-29T12:34:56.000Z"},
        {253402300799, "99991231T235959Z", "9999-12-31T23:59:59.000Z"},
        {253402300800, "19700101T000000Z", "1970-01-01T00:00:00.000Z"},
        {-1,           "19700101T000000Z", "1970-01-01T00:00:00.000Z"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char amz[S3_AMZ_DATE_LEN + 1], iso[S3_ISO_DATE_LEN + 1];

        s3_amz_date(amz, rows[i].when);
        s3_iso_date(iso, rows[i].when);
        assert_string_equal(amz, rows[i].amz);
        assert_string_equal(iso, rows[i].iso);
    }
}

/* Every day of the years 1970 to 9999, at another time each. */
static void dates_out_are_gmtime(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 2932896; day++) {
        char iso[S3_ISO_DATE_LEN + 1], want[64];
        time_t when = (time_t)(day * 86400 + day % 86400);
        struct tm tm;

        s3_iso_date(iso, when);
        gmtime_r(&when, &tm);
        strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
        if (strcmp(iso, want) != 0) fail_msg("%s, not %s", iso, want);
    }
}

static void dates_in(void **state)
{
    static const struct {
        bool (*parse)(struct mkv_slice in, int64_t *when);
        const char *text;
        int64_t when; /* -1: no such date */
    } rows[] = {
        {s3_parse_http_date, "Sun, 06 Nov 1994 08:49:37 GMT",   784111777 },
        {s3_parse_http_date, "Sunday, 06-Nov-94 08:49:37 GMT",  784111777 },
        {s3_parse_http_date, "Sun Nov  6 08:49:37 1994",        784111777 },
        {s3_parse_http_date, "Sun Nov 16 08:49:37 1994",        784975777 },
        {s3_parse_http_date, "Sun, 06 Nov 1994 08:49:37 +0000", 784111777 },
        {s3_parse_http_date, "Friday, 24-May-13 00:00:00 GMT",  1369353600},
        {s3_parse_http_date, "Thu, 01 Jan 1970 00:00:00 GMT",   0         },
        {s3_parse_http_date, "Wed, 31 Dec 2008 23:59:60 GMT",   1230768000},
        {s3_parse_http_date, "Tue, 29 Feb 2000 00:00:00 GMT",   951782400 },
        {s3_parse_http_date, "Mon, 29 Feb 2100 00:00:00 GMT",   -1        },
        {s3_parse_http_date, "Sun, 31 Jun 1994 08:49:37 GMT",   -1        },
        {s3_parse_http_date, "Sun, 00 Nov 1994 08:49:37 GMT",   -1        },
        {s3_parse_http_date, "Sun, 06 Nev 1994 08:49:37 GMT",   -1        },
        {s3_parse_http_date, "Sun, 06 Nov 1994 24:00:00 GMT",   -1        },
        {s3_parse_http_date, "Sun, 06 Nov 1994 08:60:37 GMT",   -1        },
        {s3_parse_http_date, "Sun, 06 Nov 1994 08:49:61 GMT",   -1        },
        {s3_parse_http_date, "Sun, 06 Nov 1994 08:49:37 CET",   -1        },
        {s3_parse_http_date, "Sun, 06 Nov 1994 08:49:37 +0100", -1        },
        {s3_parse_http_date, "Sun, 06 Nov 1994 08:49:37 GMT ",  -1        },
        {s3_parse_http_date, "Sun, 6 Nov 1994 08:49:37 GMT",    -1        },
        {s3_parse_http_date, "784111777",                       -1        },
        {s3_parse_http_date, ",",                               -1        },
        {s3_parse_http_date, "",                                -1        },
        {s3_parse_amz_date,  "20130524T000000Z",                1369353600},
        {s3_parse_amz_date,  "20130524T000000",                 -1        },
        {s3_parse_amz_date,  "2013052aT000000Z",                -1        },
        {s3_parse_amz_date,  "20131324T000000Z",                -1        },
        {s3_parse_iso_date,  "2013-05-24T00:00:00Z",            1369353600},
        {s3_parse_iso_date,  "2013-05-24T00:00:00.000Z",        1369353600},
        {s3_parse_iso_date,  "2013-05-24T00:00:00.999999999Z",  1369353600},
        {s3_parse_iso_date,  "2013-05-24T00:00:00.Z",           -1        },
        {s3_parse_iso_date,  "2013-05-24T00:00:00.0",           -1        },
        {s3_parse_iso_date,  "2013-05-24T00:00:00",             -1        },
        {s3_parse_iso_date,  "2013-05-24T00:00:00ZZ",           -1        },
        {s3_parse_iso_date,  "2013-05-24 00:00:00Z",            -1        },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t when = -1;
        bool ok = rows[i].parse(mkv_slice_of(rows[i].text), &when);

        if (ok != (rows[i].when >= 0) || (ok && when != rows[i].when))
            fail_msg("%s: %lld", rows[i].text, (long long)when);
    }
}

static void errors(void **state)
{
    (void)state;
    assert_string_equal(s3_error_code(S3_NO_SUCH_KEY), "NoSuchKey");
    assert_int_equal(s3_error_http(S3_NO_SUCH_KEY), 404);
    assert_int_equal(s3_error_http(S3_OK), 200);
    for (int err = S3_OK + 1; err <= S3_INTERNAL_ERROR; err++) {
        const char *code = s3_error_code((enum s3_error)err);

        assert_true(s3_error_http((enum s3_error)err) >= 304);
        assert_true(strlen(s3_error_message((enum s3_error)err)) > 0);
        for (int other = S3_OK; other < err; other++)
            assert_string_not_equal(code, s3_error_code((enum s3_error)other));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64),   cmocka_unit_test(uri_encode),
        cmocka_unit_test(dates_out), cmocka_unit_test(dates_out_are_gmtime),
        cmocka_unit_test(dates_in), cmocka_unit_test(errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
