#include "mkv/log.h"

#include "capture.h"

#include <errno.h>
#include <regex.h>
#include <string.h>
#include <unistd.h>

static struct capture out;

static int setup(void **state)
{
    (void)state;
    mkv_log_set_level(MKV_LOG_WARN);
    unsetenv("MKV_DEBUG");
    return 0;
}

static bool looks_like(const char *text, const char *pattern)
{
    regex_t re;
    bool matches;

    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    matches = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return matches;
}

#define TIME "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

static void lines(void **state)
{
    (void)state;
    mkv_log_set_level(MKV_LOG_DEBUG);
    capture_begin(&out, STDERR_FILENO);
    mkv_log_error("%s is %d", "this", 1);
    capture_end(&out);
    assert_true(looks_like(out.text, TIME "error this is 1\n$"));
    capture_begin(&out, STDERR_FILENO);
    mkv_log_about(MKV_LOG_INFO, 4711, "of a request");
    capture_end(&out);
    assert_true(looks_like(out.text, TIME "info #4711 of a request\n$"));
    capture_begin(&out, STDERR_FILENO);
    mkv_log_warn("w");
    mkv_log_debug("d");
    capture_end(&out);
    assert_non_null(strstr(out.text, "Z warning w\n"));
    assert_non_null(strstr(out.text, "Z debug d\n"));
}

/* How many of the four levels come through. */
static void levels(void **state)
{
    (void)state;
    for (unsigned level = MKV_LOG_ERROR; level <= MKV_LOG_DEBUG; level++) {
        unsigned n = 0;

        mkv_log_set_level(level);
        capture_begin(&out, STDERR_FILENO);
        for (unsigned l = MKV_LOG_ERROR; l <= MKV_LOG_DEBUG; l++) {
            mkv_log(l, "x");
            mkv_log_about(l, 1, "x");
        }
        capture_end(&out);
        for (const char *p = out.text; (p = strchr(p, '\n')); p++) n++;
        assert_int_equal(n, 2 * (level + 1));
        for (unsigned l = MKV_LOG_ERROR; l <= MKV_LOG_DEBUG; l++)
            assert_int_equal(mkv_log_enabled(l), l <= level);
    }
}

static void arguments_of_a_level_that_is_off(void **state)
{
    unsigned evaluated = 0;

    (void)state;
    mkv_log_info("%u", ++evaluated);
    mkv_log_debug("%u", ++evaluated);
    assert_int_equal(evaluated, 0);
}

static void wanted_levels(void **state)
{
    static const struct {
        const char *debug;
        bool verbose;
        enum mkv_log_level level;
    } rows[] = {
        {NULL, false, MKV_LOG_WARN}, {NULL, true, MKV_LOG_INFO}, {"", true, MKV_LOG_INFO},
        {"0", false, MKV_LOG_WARN},  {"1", false, MKV_LOG_DEBUG}, {"1", true, MKV_LOG_DEBUG},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].debug)
            setenv("MKV_DEBUG", rows[i].debug, 1);
        else
            unsetenv("MKV_DEBUG");
        assert_int_equal(mkv_log_level_wanted(rows[i].verbose), rows[i].level);
    }
}

/* Cut, but still one line. */
static void long_lines(void **state)
{
    static char big[10000];

    (void)state;
    for (size_t len = 3900; len < sizeof(big); len += len < 4200 ? 1 : 1999) {
        memset(big, 'b', len);
        big[len] = '\0';
        capture_begin(&out, STDERR_FILENO);
        mkv_log_error("%s", big);
        capture_end(&out);
        assert_true(out.len <= 4096);
        assert_int_equal(strlen(out.text), out.len); /* no NUL within */
        assert_ptr_equal(strchr(out.text, '\n'), out.text + out.len - 1);
    }
}

static void errno_is_kept(void **state)
{
    int saved = dup(STDERR_FILENO);

    (void)state;
    close(STDERR_FILENO); /* so that write(2) fails */
    errno = ENOTTY;
    mkv_log_error("lost");
    mkv_log_about(MKV_LOG_ERROR, 1, "lost");
    mkv_log_info("off");
    assert_int_equal(errno, ENOTTY);
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void bytes_made_safe(void **state)
{
    static const struct {
        const char *data;
        size_t len, size;
        const char *text;
    } rows[] = {
        {"", 0, 20, ""},
        {"/key", 4, 20, "/key"},
        {"a b~", 4, 20, "a b~"},
        {"a\nb", 3, 20, "a\\x0ab"},
        {"\0\x1f\x7f", 3, 20, "\\x00\\x1f\\x7f"},
        {"\xff", 1, 20, "\\xff"},
        {"\\x0a", 4, 20, "\\x5cx0a"}, /* can not be taken for an escape */
        {"abcdefgh", 8, 8, "abcd..."},
        {"abc\n", 4, 8, "abc..."},
        {"\n\n", 2, 9, "\\x0a..."},
        {"abcdefgh", 8, 4, "..."},
        {"abcdefgh", 8, 2, "."},
        {"abcdefgh", 8, 1, ""},
    };
    char buf[32];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        memset(buf, '#', sizeof(buf));
        assert_ptr_equal(mkv_log_bytes(buf, rows[i].size, rows[i].data, rows[i].len), buf);
        assert_string_equal(buf, rows[i].text);
        for (size_t b = rows[i].size; b < sizeof(buf); b++) assert_int_equal(buf[b], '#');
    }
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines),         TEST(levels),     TEST(arguments_of_a_level_that_is_off),
        TEST(wanted_levels), TEST(long_lines), TEST(errno_is_kept),
        TEST(bytes_made_safe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
