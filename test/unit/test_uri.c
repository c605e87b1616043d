#include "mkv/uri.h"

#include "table.h"

#define SLICE(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void percent_decode(void **state)
{
    static const struct {
        struct mkv_slice in;
        bool form, ok;
        struct mkv_slice out;
    } rows[] = {
        {SLICE(""),           false, true,  SLICE("")            },
        {SLICE("/we%20have"), false, true,  SLICE("/we have")    },
        {SLICE("/a+b"),       false, true,  SLICE("/a+b")        },
        {SLICE("/a+b%2B"),    true,  true,  SLICE("/a b+")       },
        {SLICE("%e4%E4%aF"),  false, true,  SLICE("\xe4\xe4\xaf")},
        {SLICE("%00"),        false, true,  SLICE("\0")          },
        {SLICE("a\0b"),       false, true,  SLICE("a\0b")        },
        {SLICE("%2541"),      false, true,  SLICE("%41")         }, /* once only */
        {SLICE("%%"),         false, false, SLICE("")            },
        {SLICE("%"),          false, false, SLICE("")            },
        {SLICE("a%4"),        false, false, SLICE("")            },
        {SLICE("%4g"),        false, false, SLICE("")            },
        {SLICE("%g4"),        false, false, SLICE("")            },
        {SLICE("%+4"),        true,  false, SLICE("")            },
        {SLICE("%-1"),        false, false, SLICE("")            },
        {SLICE("% 1"),        false, false, SLICE("")            },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_slice in = rows[i].in;
        char apart[32], within[32];
        size_t len = 99;

        assert_int_equal(mkv_percent_decode(in, rows[i].form, apart, &len), rows[i].ok);
        if (rows[i].ok) assert_slice(mkv_slice(apart, len), rows[i].out);
        memcpy(within, in.data, in.len);
        in.data = within;
        assert_int_equal(mkv_percent_decode(in, rows[i].form, within, &len), rows[i].ok);
        if (rows[i].ok) assert_slice(mkv_slice(within, len), rows[i].out);
    }
}

static void percent_encode(void **state)
{
    static const struct {
        struct mkv_slice in, out;
    } rows[] = {
        {SLICE(""),                  SLICE("")                           },
        {SLICE("/we have"),          SLICE("/we%20have")                 },
        {SLICE("//a/../b/"),         SLICE("//a/../b/")                  },
        {SLICE("-._~!$&'()*+,;=:@"), SLICE("-._~!$&'()*+,;=:@")          },
        {SLICE("%?#[]"),             SLICE("%25%3F%23%5B%5D")            },
        {SLICE("\"<>\\^`{|}"),       SLICE("%22%3C%3E%5C%5E%60%7B%7C%7D")},
        {SLICE("\xc3\xa4\xff"),      SLICE("%C3%A4%FF")                  },
        {SLICE("\0\r\n\x7f"),        SLICE("%00%0D%0A%7F")               },
    };
    char every[256], out[3 * 256], back[3 * 256];
    size_t len, back_len;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        len = mkv_percent_encode_path(rows[i].in, out);
        assert_slice(mkv_slice(out, len), rows[i].out);
    }
    for (unsigned i = 0; i < 256; i++)
        every[i] = (char)i;
    len = mkv_percent_encode_path(mkv_slice(every, 256), out);
    for (size_t i = 0; i < len; i++)
        assert_true(out[i] > ' ' && out[i] < 0x7f);
    assert_true(mkv_percent_decode(mkv_slice(out, len), false, back, &back_len));
    assert_slice(mkv_slice(back, back_len), mkv_slice(every, 256));
}

/* The walk, written as "name=value" or "name" for each step, joined by '|'. */
static void queries(void **state)
{
    static const struct {
        const char *query, *walk;
    } rows[] = {
        {"",             ""            },
        {"&",            ""            },
        {"&&&",          ""            },
        {"list",         "list"        },
        {"list&limit=5", "list|limit=5"},
        {"a=b&c&d=",     "a=b|c|d="    },
        {"&a&&b&",       "a|b"         },
        {"a=b=c",        "a=b=c"       },
        {"=",            "="           },
        {"=x&y",         "=x|y"        },
        {"a%26b=%3D&c",  "a%26b=%3D|c" },
        {"a;b=c",        "a;b=c"       },
        {"a?b",          "a?b"         },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_slice rest = mkv_slice_of(rows[i].query), name, value;
        char walk[64], *p = walk;

        while (mkv_query_next(&rest, &name, &value)) {
            if (p > walk) *p++ = '|';
            memcpy(p, name.data, name.len);
            p += name.len;
            if (!value.data) continue;
            *p++ = '=';
            memcpy(p, value.data, value.len);
            p += value.len;
        }
        assert_slice(mkv_slice(walk, (size_t)(p - walk)), mkv_slice_of(rows[i].walk));
        assert_false(mkv_query_next(&rest, &name, &value));
    }
}

static void no_query(void **state)
{
    struct mkv_slice rest = {NULL, 0}, name, value;

    (void)state;
    assert_false(mkv_query_next(&rest, &name, &value));
}

/* Every code point, encoded by the book. */
static void every_character_is_utf8(void **state)
{
    (void)state;
    for (unsigned c = 0; c <= 0x110400; c++) {
        char s[4];
        size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        bool valid = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);

        if (len == 1) s[0] = (char)c;
        if (len == 2) s[0] = (char)(0xc0 | c >> 6);
        if (len == 3) s[0] = (char)(0xe0 | c >> 12);
        if (len == 4) s[0] = (char)(0xf0 | c >> 18);
        for (size_t i = 1; i < len; i++)
            s[i] = (char)(0x80 | (c >> 6 * (len - 1 - i) & 0x3f));
        assert_int_equal(mkv_utf8_first(mkv_slice(s, len)), valid ? len : 0);
        assert_int_equal(mkv_utf8_valid(mkv_slice(s, len)), valid);
        for (size_t cut = 1; cut < len; cut++)
            assert_false(mkv_utf8_valid(mkv_slice(s, cut)));
    }
}

static void utf8(void **state)
{
    static const struct {
        struct mkv_slice s;
        bool valid;
    } rows[] = {
        {SLICE(""),                                     true },
        {SLICE("plain ascii, longer than eight bytes"), true },
        {SLICE("a\0b"),                                 true },
        {SLICE("\xc3\xa4 in front of ascii"),           true },
        {SLICE("ascii in front of \xe2\x82\xac"),       true },
        {SLICE("1234567\xc3\xa4"),                      true }, /* across the eighth byte */
        {SLICE("1234567\xc3"),                          false},
        {SLICE("12345678\xc3"),                         false},
        {SLICE("\x80"),                                 false},
        {SLICE("1234567\x80"
               "12345678"),
         false                                               },
        {SLICE("\xc0\x80"),                             false}, /* overlong */
        {SLICE("\xc1\xbf"),                             false},
        {SLICE("\xe0\x9f\xbf"),                         false},
        {SLICE("\xf0\x8f\xbf\xbf"),                     false},
        {SLICE("\xed\xa0\x80"),                         false}, /* surrogates */
        {SLICE("\xed\xbf\xbf"),                         false},
        {SLICE("\xf4\x90\x80\x80"),                     false}, /* beyond the last character */
        {SLICE("\xf5\x80\x80\x80"),                     false},
        {SLICE("\xff"),                                 false},
        {SLICE("\xe2\x28\xa1"),                         false},
        {SLICE("\xe2\x82\x28"),                         false},
        {SLICE("\xf0\x9f\x98\x28"),                     false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (mkv_utf8_valid(rows[i].s) != rows[i].valid) fail_msg("row %zu", i);
    assert_int_equal(mkv_utf8_first(mkv_slice(NULL, 0)), 0);
}

static void json_escape(void **state)
{
    static const struct {
        struct mkv_slice in, out;
    } rows[] = {
        {SLICE(""),                                     SLICE("")                            },
        {SLICE("/wehave"),                              SLICE("/wehave")                     },
        {SLICE("a\"b\\c"),                              SLICE("a\\\"b\\\\c")                 },
        {SLICE("\b\f\n\r\t"),                           SLICE("\\b\\f\\n\\r\\t")             },
        {SLICE("\0\x01\x1f\x7f"),                       SLICE("\\u0000\\u0001\\u001f\x7f")   },
        {SLICE("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
         SLICE("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")                                       },
        {SLICE("a\xff\xfe"),                            SLICE("a\xef\xbf\xbd\xef\xbf\xbd")   },
        {SLICE("\xe2\x82"),                             SLICE("\xef\xbf\xbd\xef\xbf\xbd")    }, /* one for each byte */
        {SLICE("\xe2\x82\""),                           SLICE("\xef\xbf\xbd\xef\xbf\xbd\\\"")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[64];
        size_t len = mkv_json_escape(rows[i].in, out);

        assert_slice(mkv_slice(out, len), rows[i].out);
        assert_true(len <= 6 * rows[i].in.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent_decode),
        cmocka_unit_test(percent_encode),
        cmocka_unit_test(queries),
        cmocka_unit_test(no_query),
        cmocka_unit_test(every_character_is_utf8),
        cmocka_unit_test(utf8),
        cmocka_unit_test(json_escape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
