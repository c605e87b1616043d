/* test/unit/test_token.c - what lets a job move keys through a master with -keys. */
#include "index/token.h"

#include "table.h"

#include <sys/stat.h>
#include <unistd.h>

static void made_and_read(void **state)
{
    char dir[] = "/tmp/test_token_XXXXXX", path[64], why[256], header[MKV_TOKEN_HEADER_MAX];
    struct mkv_token first, second, got;
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    mkv_token_read(&got, dir);
    assert_string_equal(got.text, "");
    assert_int_equal(mkv_token_make(&first, dir, why, sizeof(why)), MKV_OK);
    assert_int_equal(strlen(first.text), MKV_TOKEN_LEN);
    mkv_token_read(&got, dir);
    assert_string_equal(got.text, first.text);
    assert_int_equal(mkv_token_make(&second, dir, why, sizeof(why)), MKV_OK);
    assert_string_not_equal(second.text, first.text); /* each start has its own */
    mkv_token_read(&got, dir);
    assert_string_equal(got.text, second.text);

    mkv_token_header(&second, header);
    assert_true(mkv_token_matches(&second, mkv_slice_of(header)));
    assert_false(mkv_token_matches(&first, mkv_slice_of(header)));
    assert_false(mkv_token_matches(&second, mkv_slice(header, strlen(header) - 1)));
    header[0] = 'm';
    assert_false(mkv_token_matches(&second, mkv_slice_of(header)));

    snprintf(path, sizeof(path), "%s/" MKV_TOKEN_FILE, dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(truncate(path, 10), 0);
    mkv_token_read(&got, dir);
    assert_string_equal(got.text, "");
    unlink(path);
    rmdir(dir);
}

/* A server without -keys has none, which nothing matches. */
static void none(void **state)
{
    struct mkv_token token = {""};
    char header[MKV_TOKEN_HEADER_MAX], why[256];

    (void)state;
    mkv_token_header(&token, header);
    assert_false(mkv_token_matches(&token, mkv_slice_of(header)));
    assert_false(mkv_token_matches(&token, MKV_SLICE("")));
    assert_int_equal(mkv_token_make(&token, "/nonexistent", why, sizeof(why)), MKV_EIO);
    assert_non_null(strstr(why, "/nonexistent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_and_read),
        cmocka_unit_test(none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
