#include "mkv/listing.h"

#include "table.h"

#define ENTRIES_MAX 64

struct seen {
    struct mkv_listing_entry entry[ENTRIES_MAX];
    char name[ENTRIES_MAX][64]; /* copies: an entry's name is borrowed */
    size_t n, stop_after;       /* 0: never */
};

static bool note(const struct mkv_listing_entry *e, void *arg)
{
    struct seen *seen = arg;

    assert_true(seen->n < ENTRIES_MAX && e->name.len <= 64);
    seen->entry[seen->n] = *e;
    memcpy(seen->name[seen->n], e->name.data, e->name.len);
    seen->entry[seen->n].name.data = seen->name[seen->n];
    return ++seen->n != seen->stop_after;
}

static enum mkv_err parse(struct seen *seen, struct mkv_slice json)
{
    memset(seen, 0, sizeof(*seen));
    return mkv_listing_parse(json.data, json.len, note, seen);
}

static struct mkv_slice read_file(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "rb");
    size_t len;

    assert_non_null(f);
    len = fread(out, 1, size, f);
    assert_true(len < size);
    fclose(f);
    return mkv_slice(out, len);
}

/* What nginx 1.22 said of a directory full of odd names. */
#define MADE 1795342962 /* Sun, 22 Nov 2026 10:22:42 GMT */
static const struct {
    struct mkv_slice name;
    bool is_directory;
    int64_t size, mtime;
} odd[] = {
    {{"dir", 3},              true,  -1, MADE       },
    {{"dir\xff", 4},          true,  -1, MADE       },
    {{"<html>&", 7},          false, 7,  MADE       },
    {{"back\\slash", 10},     false, 10, MADE       },
    {{"bad\xff\xfeutf", 8},   false, 8,  MADE       },
    {{"bell\a", 5},           false, 5,  MADE       },
    {{"cut\xe2\x82", 5},      false, 5,  MADE       },
    {{"del\x7f", 4},          false, 4,  MADE       },
    {{"epoch", 5},            false, 0,  0          },
    {{"far", 3},              false, 0,  15032385535}, /* the last second of its file system */
    {{"link", 4},             false, 5,  MADE       },
    {{"new\nline", 8},        false, 8,  MADE       },
    {{"old", 3},              false, 0,  0          },
    {{"plain", 5},            false, 5,  MADE       },
    {{"quo\"te", 6},          false, 6,  MADE       },
    {{"sp ace%20", 9},        false, 9,  MADE       },
    {{"sur\xed\xa0\x80", 6},  false, 6,  MADE       },
    {{"tab\t", 4},            false, 4,  MADE       },
    {{"uml\xc3\xa4", 5},      false, 5,  MADE       },
    {{"\xf4\x8f\xbf\xbf", 4}, false, 4,  MADE       }, /* the parser's own stand-in for 0xff */
};

static void as_nginx_writes_it(void **state)
{
    char text[8192];
    struct mkv_slice json = read_file(MKV_FIXTURES "/listing/nginx-1.22.json", text, sizeof(text));
    struct seen seen;

    (void)state;
    assert_int_equal(parse(&seen, json), MKV_OK);
    assert_int_equal(seen.n, COUNT(odd));
    for (size_t i = 0; i < COUNT(odd); i++) {
        assert_slice(seen.entry[i].name, odd[i].name);
        assert_int_equal(seen.entry[i].is_directory, odd[i].is_directory);
        assert_int_equal(seen.entry[i].size, odd[i].size);
        assert_int_equal(seen.entry[i].mtime, odd[i].mtime);
    }
}

/* A connection that breaks in the middle never passes for a shorter listing. */
static void cut_short(void **state)
{
    char text[8192];
    struct mkv_slice json = read_file(MKV_FIXTURES "/listing/nginx-1.22.json", text, sizeof(text));
    struct seen seen;

    (void)state;
    for (size_t len = 0; len < json.len; len++)
        assert_int_equal(parse(&seen, mkv_slice(json.data, len)), MKV_ECORRUPT);
}

static void what_is_a_listing(void **state)
{
#define FILE_A "{\"name\":\"a\",\"type\":\"file\",\"size\":1}"
    static const struct {
        const char *json;
        enum mkv_err err;
        size_t entries;
    } rows[] = {
        {"[\r\n]",                                                            MKV_OK,       0},
        {"[]\n",                                                              MKV_OK,       0},
        {"[" FILE_A "]",                                                      MKV_OK,       1},
        {"[" FILE_A "," FILE_A "]",                                           MKV_OK,       2},
        {"[{\"name\":\"a\",\"type\":\"directory\"}]",                         MKV_OK,       1},
        {"[{\"name\":\"a\",\"type\":\"other\"}," FILE_A "]",                  MKV_OK,       1},
        {"[{\"name\":\"a\",\"type\":\"file\",\"size\":1,\"inode\":[{}]}]",    MKV_OK,       1},
        {"",                                                                  MKV_ECORRUPT, 0},
        {"[",                                                                 MKV_ECORRUPT, 0},
        {"]",                                                                 MKV_ECORRUPT, 0},
        {"{}",                                                                MKV_ECORRUPT, 0},
        {"null",                                                              MKV_ECORRUPT, 0},
        {"[1]",                                                               MKV_ECORRUPT, 0},
        {"[null]",                                                            MKV_ECORRUPT, 0},
        {"[{}]",                                                              MKV_ECORRUPT, 0},
        {"[] []",                                                             MKV_ECORRUPT, 0},
        {"[" FILE_A ",]",                                                     MKV_ECORRUPT, 0},
        {"[" FILE_A "]x",                                                     MKV_ECORRUPT, 0},
        {"[" FILE_A ",{}]",                                                   MKV_ECORRUPT, 1},
        {"<html><title>Index of /</title>",                                   MKV_ECORRUPT, 0},
        {"[{\"name\":\"a\",\"size\":1}]",                                     MKV_ECORRUPT, 0},
        {"[{\"type\":\"file\",\"size\":1}]",                                  MKV_ECORRUPT, 0},
        {"[{\"name\":1,\"type\":\"file\",\"size\":1}]",                       MKV_ECORRUPT, 0},
        {"[{\"name\":\"a\",\"type\":1,\"size\":1}]",                          MKV_ECORRUPT, 0},
        {"[{\"name\":\"a\",\"type\":\"file\"}]",                              MKV_ECORRUPT, 0},
        {"[{\"name\":\"a\",\"type\":\"file\",\"size\":-1}]",                  MKV_ECORRUPT, 0},
        {"[{\"name\":\"a\",\"type\":\"file\",\"size\":1.5}]",                 MKV_ECORRUPT, 0},
        {"[{\"name\":\"a\",\"type\":\"file\",\"size\":\"1\"}]",               MKV_ECORRUPT, 0},
        {"[{\"name\":\"a\",\"type\":\"file\",\"size\":9223372036854775807}]", MKV_OK,       1},
        {"[{\"name\":\"a\",\"type\":\"file\",\"size\":9223372036854775808}]", MKV_ECORRUPT, 0},
        {"[{\"name\":\"\",\"type\":\"file\",\"size\":1}]",                    MKV_ECORRUPT, 0},
        {"[{\"name\":\".\",\"type\":\"directory\"}]",                         MKV_ECORRUPT, 0},
        {"[{\"name\":\"..\",\"type\":\"directory\"}]",                        MKV_ECORRUPT, 0},
        {"[{\"name\":\"a/b\",\"type\":\"file\",\"size\":1}]",                 MKV_ECORRUPT, 0},
        {"[{\"name\":\"a\\u0000b\",\"type\":\"file\",\"size\":1}]",           MKV_ECORRUPT, 0},
        {"[{\"name\":\"...\",\"type\":\"file\",\"size\":1}]",                 MKV_OK,       1},
    };
#undef FILE_A
    struct seen seen;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum mkv_err err = parse(&seen, mkv_slice_of(rows[i].json));

        if (err != rows[i].err || seen.n != rows[i].entries)
            fail_msg("%s: %s, %zu entries", rows[i].json, mkv_strerror(err), seen.n);
    }
}

static void deep_nesting_is_refused(void **state)
{
    static char json[100000];
    struct seen seen;

    (void)state;
    memset(json, '[', sizeof(json));
    assert_int_equal(parse(&seen, mkv_slice(json, sizeof(json))), MKV_ECORRUPT);
}

static void dates(void **state)
{
    static const struct {
        const char *text;
        int64_t mtime;
    } rows[] = {
        {"Wed, 04 Nov 2026 10:00:00 GMT", 1793786400      },
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0               },
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1              },
        {"Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(1) << 31},
        {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400       },
        {"Wed, 01 Mar 2000 00:00:00 GMT", 951868800       },
        {"Thu, 29 Feb 2024 12:34:56 GMT", 1709210096      },
        {"Mon, 01 Mar 2100 00:00:00 GMT", 4107542400      },
        {"Mon, 29 Feb 2100 00:00:00 GMT", -1              },
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800      }, /* a leap second */
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799    },
        {"Wed, 00 Nov 2026 10:00:00 GMT", -1              },
        {"Wed, 31 Nov 2026 10:00:00 GMT", -1              },
        {"Wed, 04 Foo 2026 10:00:00 GMT", -1              },
        {"Wed, 04 Nov 2026 24:00:00 GMT", -1              },
        {"Wed, 04 Nov 2026 10:60:00 GMT", -1              },
        {"Wed, 04 Nov 2026 10:00:61 GMT", -1              },
        {"Wed, 04 Nov 2026 10:00:00 CET", -1              },
        {"Wed, 04 Nov 2026 10:00:00",     -1              },
        {"Wed, +4 Nov 2026 10:00:00 GMT", -1              },
        {"Wed,  4 Nov 2026 10:00:00 GMT", -1              },
        {"2026-11-04T10:00:00Z",          -1              },
        {"",                              -1              },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct seen seen;
        char json[128];
        int len =
            snprintf(json, sizeof(json),
                     "[{\"name\":\"d\",\"type\":\"directory\",\"mtime\":\"%s\"}]", rows[i].text);

        assert_int_equal(parse(&seen, mkv_slice(json, (size_t)len)), MKV_OK);
        assert_int_equal(seen.n, 1);
        if (seen.entry[0].mtime != rows[i].mtime)
            fail_msg("%s: %lld", rows[i].text, (long long)seen.entry[0].mtime);
    }
}

/* Every byte that a name may hold comes through, alone and in company. */
static void names_keep_their_bytes(void **state)
{
    (void)state;
    for (unsigned a = 0x80; a < 0x100; a++) {
        for (unsigned b = 0x20; b < 0x100; b++) {
            char name[] = {'n', (char)a, (char)b, '\xf4', '\x8f', '\xbe', '\x80', '\0'};
            struct seen seen;
            char json[128];
            int len;

            if (b == '"' || b == '\\' || b == '/') continue;
            len = snprintf(json, sizeof(json), "[{\"name\":\"%s\",\"type\":\"directory\"}]", name);
            assert_int_equal(parse(&seen, mkv_slice(json, (size_t)len)), MKV_OK);
            assert_int_equal(seen.n, 1);
            assert_slice(seen.entry[0].name, mkv_slice_of(name));
        }
    }
}

static void the_caller_may_stop(void **state)
{
    struct seen seen = {.stop_after = 1};
    static const char json[] = "[{\"name\":\"a\",\"type\":\"directory\"},"
                               "{\"name\":\"b\",\"type\":\"directory\"}]";

    (void)state;
    assert_int_equal(mkv_listing_parse(json, sizeof(json) - 1, note, &seen), MKV_OK);
    assert_int_equal(seen.n, 1);
    assert_slice(seen.entry[0].name, MKV_SLICE("a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_nginx_writes_it),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(what_is_a_listing),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(dates),
        cmocka_unit_test(names_keep_their_bytes),
        cmocka_unit_test(the_caller_may_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
