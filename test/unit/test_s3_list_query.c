/* test/unit/test_s3_list_query.c - parameters of listings, continuation tokens, common prefixes. */
#include "api/s3_list_query.h"

#include "s3_helper.h"

/* ---- tokens ---- */

static void check_token(struct mkv_slice position)
{
    char token[S3_LIST_TOKEN_MAX], back[MKV_KEY_MAX];
    size_t len = s3_list_token(position, token), back_len;

    assert_true(len < S3_LIST_TOKEN_MAX);
    assert_int_equal(strlen(token), len);
    for (size_t i = 0; i < len; i++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", token[i]))
            fail_msg("%s", token);
    assert_true(s3_list_untoken(mkv_slice(token, len), back, &back_len));
    assert_slice(mkv_slice(back, back_len), position);
}

static void tokens(void **state)
{
    char position[MKV_KEY_MAX];
    uint32_t seed = 1;

    (void)state;
    for (size_t len = 1; len <= MKV_KEY_MAX; len++) {
        for (size_t i = 0; i < len; i++)
            position[i] = (char)next_random(&seed);
        check_token(mkv_slice(position, len));
    }
    check_token(MKV_SLICE("\xff\xff\xff"));
    check_token(MKV_SLICE("\0"));
}

static void no_tokens(void **state)
{
    static const char *const bad[] = {"",
                                      "A",
                                      "AQ",
                                      "AQ==",
                                      "AmE",
                                      "AWE=",
                                      "AWF",
                                      "AW E",
                                      "AWE\n",
                                      "a/b",
                                      "AW+/",
                                      "=",
                                      "====",
                                      "AWE*",
                                      "key-12",
                                      "AWE=====",
                                      "\xff\xff\xff\xff"};
    char longest[S3_LIST_TOKEN_MAX + 4], back[MKV_KEY_MAX], position[MKV_KEY_MAX] = {0};
    size_t len;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (s3_list_untoken(mkv_slice_of(bad[i]), back, &len)) fail_msg("%s", bad[i]);
    len = s3_list_token(mkv_slice(position, sizeof(position)), longest);
    assert_true(s3_list_untoken(mkv_slice(longest, len), back, &len));
    memset(longest + len, 'A', 4);
    assert_false(s3_list_untoken(mkv_slice(longest, S3_LIST_TOKEN_MAX + 3), back, &len));
}

/* ---- parameters ---- */

static void parameters(void **state)
{
    struct s3_list_query q;
    const char *why;

    (void)state;
    assert_int_equal(s3_list_query_parse(&q, S3_LIST_V1, mkv_slice(NULL, 0), &why), S3_OK);
    assert_int_equal(q.max_keys, 1000);
    assert_true(!q.prefix.len && !q.delimiter.len && !q.marker.len && !q.from.len && !q.url);
    s3_list_query_clear(&q);

    assert_int_equal(
        s3_list_query_parse(&q, S3_LIST_V1,
                            MKV_SLICE("prefix=a%2Fb+c&delimiter=%2F%00&marker=m&start-"
                                      "after=s&max-keys=7&encoding-type=url&prefix=z&other"),
                            &why),
        S3_OK);
    assert_slice(q.prefix, MKV_SLICE("a/b c"));
    assert_slice(q.delimiter, MKV_SLICE("/\0"));
    assert_slice(q.marker, MKV_SLICE("m"));
    assert_slice(q.from, MKV_SLICE("m"));
    assert_int_equal(q.max_keys, 7);
    assert_true(q.url);
    s3_list_query_clear(&q);

    /* The token goes before start-after, which is kept for the echo. */
    assert_int_equal(s3_list_query_parse(&q, S3_LIST_V2,
                                         MKV_SLICE("list-type=2&continuation-token=AWFiYw&marker=m&"
                                                   "start-after=s&fetch-owner=true&max-keys=2000"),
                                         &why),
                     S3_OK);
    assert_slice(q.token, MKV_SLICE("AWFiYw"));
    assert_slice(q.marker, MKV_SLICE("s"));
    assert_slice(q.from, MKV_SLICE("abc"));
    assert_int_equal(q.max_keys, 1000);
    assert_true(q.fetch_owner && !q.url);
    s3_list_query_clear(&q);
    s3_list_query_clear(&q);
}

static void bad_parameters(void **state)
{
    static const struct {
        enum s3_list_kind kind;
        const char *query;
    } rows[] = {
        {S3_LIST_V1,       "max-keys=-1"                     },
        {S3_LIST_V1,       "max-keys=1%20"                   },
        {S3_LIST_V1,       "max-keys=2147483648"             },
        {S3_LIST_V1,       "encoding-type=x"                 },
        {S3_LIST_V1,       "prefix=%"                        },
        {S3_LIST_V2,       "list-type=1"                     },
        {S3_LIST_V2,       "continuation-token"              },
        {S3_LIST_V2,       "continuation-token=AQ"           },
        {S3_LIST_VERSIONS, "version-id-marker=null"          },
        {S3_LIST_VERSIONS, "key-marker=a&version-id-marker=1"},
    };
    struct s3_list_query q;
    const char *why;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (s3_list_query_parse(&q, rows[i].kind, mkv_slice_of(rows[i].query), &why) !=
            S3_INVALID_ARGUMENT)
            fail_msg("%s", rows[i].query);
        assert_non_null(why);
        s3_list_query_clear(&q);
    }
}

/* ---- common prefixes ---- */

static void common_prefixes(void **state)
{
    static const struct {
        const char *prefix, *delimiter, *name, *common; /* common NULL: stands for itself */
    } rows[] = {
        {"",    "",   "a/b",   NULL  },
        {"",    "/",  "a",     NULL  },
        {"",    "/",  "a/",    "a/"  },
        {"",    "/",  "a/b/c", "a/"  },
        {"",    "/",  "/a",    "/"   },
        {"a/",  "/",  "a/",    NULL  },
        {"a/",  "/",  "a/b",   NULL  },
        {"a/",  "/",  "a//b",  "a//" },
        {"a",   "/",  "a/b",   "a/"  },
        {"",    "ab", "aab",   "aab" },
        {"a",   "ab", "abab",  "abab"}, /* not the one that begins within the prefix */
        {"",    "ab", "aaa",   NULL  },
        {"",    "ab", "a",     NULL  },
        {"abc", "c",  "abc",   NULL  },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_list_query q = {.prefix = mkv_slice_of(rows[i].prefix),
                                  .delimiter = mkv_slice_of(rows[i].delimiter)};
        struct mkv_slice common;

        if (s3_list_common_prefix(&q, mkv_slice_of(rows[i].name), &common) !=
            (rows[i].common != NULL))
            fail_msg("row %zu", i);
        if (rows[i].common) assert_slice(common, mkv_slice_of(rows[i].common));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens),          cmocka_unit_test(no_tokens),
        cmocka_unit_test(parameters),      cmocka_unit_test(bad_parameters),
        cmocka_unit_test(common_prefixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
