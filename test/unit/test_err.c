#include "mkv/err.h"

#include "table.h"

#include <string.h>

static const enum mkv_err all[] = {
#define X(name, http, text) name,
    MKV_ERR_MAP(X)
#undef X
};

static void success_is_zero(void **state)
{
    (void)state;
    assert_int_equal(MKV_OK, 0);
    assert_int_equal(mkv_err_http(MKV_OK), 200);
}

/* A text for people, of one line; a status that says an error. */
static void every_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        const char *text = mkv_strerror(all[i]);
        int status = mkv_err_http(all[i]);

        assert_int_equal(all[i], i);
        assert_true(strlen(text) >= 2 && strlen(text) < 200);
        assert_null(strpbrk(text, "\r\n"));
        if (all[i] != MKV_OK && (status < 400 || status > 599)) fail_msg("%s: %d", text, status);
        for (size_t j = 0; j < i; j++) assert_string_not_equal(text, mkv_strerror(all[j]));
    }
}

/* What api.md promises. */
static void statuses(void **state)
{
    static const struct {
        enum mkv_err err;
        int http;
    } rows[] = {
        {MKV_ENOKEY, 404},      {MKV_EGONE, 410},    {MKV_EEXISTS, 403}, {MKV_EPROTECTED, 403},
        {MKV_EBUSY, 409},       {MKV_EEMPTY, 411},   {MKV_EKEYLONG, 414}, {MKV_EKEYNUL, 400},
        {MKV_EKEYUTF8, 400},    {MKV_EVOLUME, 500},  {MKV_ECANNOTASK, 503}, {MKV_ETOOFEW, 503},
        {MKV_ENOSPACE, 507},    {MKV_EINDEX, 500},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(mkv_err_http(rows[i].err), rows[i].http);
}

static void no_error_of_ours(void **state)
{
    static const int numbers[] = {-1, COUNT(all), 1000000};

    (void)state;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        assert_string_equal(mkv_strerror((enum mkv_err)numbers[i]), "unknown error");
        assert_int_equal(mkv_err_http((enum mkv_err)numbers[i]), 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(success_is_zero),
        cmocka_unit_test(every_error),
        cmocka_unit_test(statuses),
        cmocka_unit_test(no_error_of_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
