#include "mkv/config.h"
#include "mkv/limits.h"

#include "capture.h"

#include <string.h>
#include <unistd.h>

#define ARGS_MAX 24
#define THREE    "-db /db -volumes a:1,b:2/dir,c "

static struct capture err, out;

/* A command line in one piece; words are cut at blanks. */
struct line {
    char text[2048];
    char *argv[ARGS_MAX + 1];
    int argc;
};

static void cut(struct line *l, const char *name, const char *text)
{
    char *p = l->text;

    snprintf(l->text, sizeof(l->text), "%s %s", name, text);
    l->argc = 0;
    while (*p) {
        assert_true(l->argc < ARGS_MAX);
        l->argv[l->argc++] = p;
        p += strcspn(p, " ");
        while (*p == ' ') *p++ = '\0';
    }
    l->argv[l->argc] = NULL;
}

static enum mkv_config_result parse(struct mkv_config *cfg, struct line *l,
                                    enum mkv_program program, const char *text)
{
    enum mkv_config_result result;

    cut(l, "program", text);
    capture_begin(&err, STDERR_FILENO);
    capture_begin(&out, STDOUT_FILENO);
    result = mkv_config_parse(cfg, program, l->argc, l->argv);
    capture_end(&out);
    capture_end(&err);
    return result;
}

static void parse_well(struct mkv_config *cfg, struct line *l, enum mkv_program program,
                       const char *text)
{
    if (parse(cfg, l, program, text) != MKV_CONFIG_RUN) fail_msg("%s: %s", text, err.text);
    assert_int_equal(err.len + out.len, 0);
}

static void defaults(void **state)
{
    struct mkv_config cfg;
    struct line l;

    (void)state;
    parse_well(&cfg, &l, MKV_PROGRAM_SERVER, THREE);
    assert_string_equal(cfg.db, "/db");
    assert_int_equal(cfg.nvolumes, 3);
    assert_true(mkv_slice_eq(cfg.volumes[0], MKV_SLICE("a:1")));
    assert_true(mkv_slice_eq(cfg.volumes[1], MKV_SLICE("b:2/dir")));
    assert_true(mkv_slice_eq(cfg.volumes[2], MKV_SLICE("c")));
    assert_int_equal(cfg.replicas, 3);
    assert_int_equal(cfg.subvolumes, 10);
    assert_int_equal(cfg.port, 3000);
    assert_null(cfg.bind);
    assert_null(cfg.fallback);
    assert_null(cfg.admin);
    assert_false(cfg.protect);
    assert_true(cfg.md5sum);
    assert_int_equal(cfg.voltimeout_ms, 1000);
    assert_int_equal(cfg.probe_ttl_ms, 1000);
    assert_int_equal(cfg.min_replicas, 3);
    assert_true(cfg.db_size == UINT64_C(1) << 40);
    assert_false(cfg.verbose);
    assert_int_equal(cfg.nargs, 0);
    mkv_config_clear(&cfg);
    mkv_config_clear(&cfg); /* twice */
}

static void defaults_of_the_others(void **state)
{
    struct mkv_config cfg;
    struct line l;

    (void)state;
    parse_well(&cfg, &l, MKV_PROGRAM_REBUILD, THREE);
    assert_false(cfg.md5sum); /* it would read every value */
    assert_int_equal(cfg.jobs, 128);
    mkv_config_clear(&cfg);
    parse_well(&cfg, &l, MKV_PROGRAM_REBALANCE, THREE);
    assert_int_equal(cfg.jobs, 32);
    mkv_config_clear(&cfg);
    parse_well(&cfg, &l, MKV_PROGRAM_REBUILD, THREE "-md5sum -fresh");
    assert_true(cfg.md5sum && cfg.fresh);
    mkv_config_clear(&cfg);
    parse_well(&cfg, &l, MKV_PROGRAM_VERIFY, THREE "-deep -repair -orphans -json -dry-run -jobs 4");
    assert_true(cfg.deep && cfg.repair && cfg.orphans && cfg.json && cfg.dry_run && cfg.md5sum);
    assert_int_equal(cfg.jobs, 4);
    mkv_config_clear(&cfg);
    parse_well(&cfg, &l, MKV_PROGRAM_INDEX, "-db /db get -x /key");
    assert_int_equal(cfg.nargs, 3);
    assert_string_equal(cfg.args[0], "get");
    assert_string_equal(cfg.args[1], "-x"); /* behind the first word there are no flags */
    mkv_config_clear(&cfg);
    parse_well(&cfg, &l, MKV_PROGRAM_INDEX, "path /key"); /* needs no index */
    assert_null(cfg.db);
    mkv_config_clear(&cfg);
    parse_well(&cfg, &l, MKV_PROGRAM_INDEX, "-db /db -- -key");
    assert_int_equal(cfg.nargs, 1);
    assert_string_equal(cfg.args[0], "-key");
    mkv_config_clear(&cfg);
}

/* Every form of a flag, and the last one wins. */
static void forms(void **state)
{
    static const struct {
        const char *flags;
        uint64_t port;
        bool protect, md5sum, verbose;
    } rows[] = {
        {"-port 1", 1, false, true, false},
        {"-port=2", 2, false, true, false},
        {"--port 3", 3, false, true, false},
        {"--port=4", 4, false, true, false},
        {"-port 5 -port 6", 6, false, true, false},
        {"-port 0", 0, false, true, false},
        {"-port 65535", 65535, false, true, false},
        {"-protect", 3000, true, true, false},
        {"--protect -v", 3000, true, true, true},
        {"-protect -port 7", 7, true, true, false}, /* a switch takes no word behind it */
        {"-protect=true -md5sum=false", 3000, true, false, false},
        {"-protect=1 -md5sum=0", 3000, true, false, false},
        {"-protect=t -md5sum=f", 3000, true, false, false},
        {"-protect=T -md5sum=F", 3000, true, false, false},
        {"-protect=TRUE -md5sum=False", 3000, true, false, false},
        {"-protect=on -md5sum=off", 3000, true, false, false},
        {"-protect -protect=false", 3000, false, true, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_config cfg;
        struct line l;
        char text[256];

        snprintf(text, sizeof(text), THREE "%s", rows[i].flags);
        parse_well(&cfg, &l, MKV_PROGRAM_SERVER, text);
        assert_int_equal(cfg.port, rows[i].port);
        assert_int_equal(cfg.protect, rows[i].protect);
        assert_int_equal(cfg.md5sum, rows[i].md5sum);
        assert_int_equal(cfg.verbose, rows[i].verbose);
        mkv_config_clear(&cfg);
    }
}

static void values(void **state)
{
    struct mkv_config cfg;
    struct line l;

    (void)state;
    parse_well(&cfg, &l, MKV_PROGRAM_SERVER,
               THREE "-replicas 2 -subvolumes 65535 -bind ::1 -fallback h:1 -admin :9 "
                     "-min-replicas 1 -fallback h:2");
    assert_int_equal(cfg.replicas, 2);
    assert_int_equal(cfg.subvolumes, 65535);
    assert_string_equal(cfg.bind, "::1");
    assert_string_equal(cfg.fallback, "h:2"); /* and the first one is freed */
    assert_string_equal(cfg.admin, ":9");
    assert_int_equal(cfg.min_replicas, 1);
    mkv_config_clear(&cfg);
    parse_well(&cfg, &l, MKV_PROGRAM_SERVER, THREE "-replicas 2 -min-replicas 0");
    assert_int_equal(cfg.min_replicas, 2);
    mkv_config_clear(&cfg);
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: none */
    } rows[] = {
        {"1s", 1000},    {"500ms", 500}, {"1m30s", 90000}, {"1h", 3600000}, {"0", 0},
        {"0s", 0},       {"1s500ms", 1500}, {"90m", -1},   {"1h1ms", -1},   {"1", -1},
        {"s", -1},       {"1.5s", -1},   {"-1s", -1},       {"1sec", -1},
        {"1S", -1},      {"1s5", -1},    {"1d", -1},       {"fast", -1},    {"1000000001ms", -1},
        {"99999999999999999999s", -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_config cfg;
        struct line l;
        char text[256];
        bool good;

        snprintf(text, sizeof(text), THREE "-probe-ttl %s", rows[i].text);
        good = parse(&cfg, &l, MKV_PROGRAM_SERVER, text) == MKV_CONFIG_RUN;
        if (good != (rows[i].ms >= 0)) fail_msg("%s: %s", rows[i].text, err.text);
        if (good) assert_int_equal(cfg.probe_ttl_ms, rows[i].ms);
        mkv_config_clear(&cfg);
    }
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: none */
    } rows[] = {
        {"1048576", 1 << 20},
        {"1024K", 1 << 20},
        {"1M", 1 << 20},
        {"3G", UINT64_C(3) << 30},
        {"64T", UINT64_C(64) << 40},
        {"65T", 0},
        {"1048575", 0},
        {"1k", 0},
        {"1MB", 0},
        {"M", 0},
        {"0", 0},
        {"-1M", 0},
        {"1.5G", 0},
        {"18446744073709551615", 0},
        {"18446744073709551615T", 0},
        {"16777216T", 0}, /* 2^64: must not wrap */
        {"16777217T", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_config cfg;
        struct line l;
        char text[256];
        bool good;

        snprintf(text, sizeof(text), THREE "-db-size %s", rows[i].text);
        good = parse(&cfg, &l, MKV_PROGRAM_SERVER, text) == MKV_CONFIG_RUN;
        if (good != (rows[i].bytes > 0)) fail_msg("%s: %s", rows[i].text, err.text);
        if (good) assert_true(cfg.db_size == rows[i].bytes);
        mkv_config_clear(&cfg);
    }
}

/* One line on standard error that names the program, the flag and what to do. */
static void errors(void **state)
{
    static const struct {
        enum mkv_program program;
        const char *flags, *name, *says;
    } rows[] = {
        {MKV_PROGRAM_SERVER, "", "mkv-server", "-db is missing"},
        {MKV_PROGRAM_SERVER, "-volumes a:1,b:2,c:3", "mkv-server", "-db is missing"},
        {MKV_PROGRAM_SERVER, "-db= -volumes a:1,b:2,c:3", "mkv-server", "-db is missing"},
        {MKV_PROGRAM_SERVER, "-db /db", "mkv-server", "-volumes is missing"},
        {MKV_PROGRAM_VERIFY, "-db /db", "mkv-verify", "-volumes is missing"},
        {MKV_PROGRAM_INDEX, "-db= get /key", "mkv-index", "-db is missing"},
        {MKV_PROGRAM_SERVER, "-db /db -volumes a:1,b:2", "mkv-server", "fewer than -replicas 3"},
        {MKV_PROGRAM_REBUILD, THREE "-replicas 4", "mkv-rebuild", "fewer than -replicas 4"},
        {MKV_PROGRAM_SERVER, THREE "-min-replicas 4", "mkv-server", "more than -replicas 3"},
        {MKV_PROGRAM_SERVER, "-db /db -volumes a:1,,c:3", "mkv-server", "1 to 255 characters"},
        {MKV_PROGRAM_SERVER, "-db /db -volumes ,a:1", "mkv-server", "1 to 255 characters"},
        {MKV_PROGRAM_SERVER, "-db /db -volumes a:1,", "mkv-server", "1 to 255 characters"},
        {MKV_PROGRAM_SERVER, "-db /db -volumes=", "mkv-server", "1 to 255 characters"},
        {MKV_PROGRAM_SERVER, "-db /db -volumes a:1,b:2,a:1", "mkv-server", "a:1 twice"},
        {MKV_PROGRAM_SERVER, THREE "-replicas three", "mkv-server", "takes a whole number"},
        {MKV_PROGRAM_SERVER, THREE "-replicas -3", "mkv-server", "takes a whole number"},
        {MKV_PROGRAM_SERVER, THREE "-replicas=", "mkv-server", "takes a whole number"},
        {MKV_PROGRAM_SERVER, THREE "-replicas 0", "mkv-server", "between 1 and 16"},
        {MKV_PROGRAM_SERVER, THREE "-replicas 17", "mkv-server", "between 1 and 16"},
        {MKV_PROGRAM_SERVER, THREE "-subvolumes 0", "mkv-server", "between 1 and 65535"},
        {MKV_PROGRAM_SERVER, THREE "-subvolumes 65536", "mkv-server", "between 1 and 65535"},
        {MKV_PROGRAM_SERVER, THREE "-port 65536", "mkv-server", "between 0 and 65535"},
        {MKV_PROGRAM_SERVER, THREE "-port 18446744073709551616", "mkv-server", "whole number"},
        {MKV_PROGRAM_SERVER, THREE "-protect=maybe", "mkv-server", "takes true or false"},
        {MKV_PROGRAM_SERVER, THREE "-protect=", "mkv-server", "takes true or false"},
        {MKV_PROGRAM_SERVER, THREE "-protect maybe", "mkv-server", "flags only"},
        {MKV_PROGRAM_SERVER, THREE "-voltimeout 1", "mkv-server", "a duration such as"},
        {MKV_PROGRAM_SERVER, THREE "-voltimeout 0", "mkv-server", "between 1 and 3600000 ms"},
        {MKV_PROGRAM_SERVER, THREE "-voltimeout 61m", "mkv-server", "between 1 and 3600000 ms"},
        {MKV_PROGRAM_SERVER, THREE "-db-size lots", "mkv-server", "a size such as"},
        {MKV_PROGRAM_SERVER, THREE "-port", "mkv-server", "-port needs a value"},
        {MKV_PROGRAM_SERVER, THREE "-nonsense", "mkv-server", "unknown flag -nonsense"},
        {MKV_PROGRAM_SERVER, THREE "--nonsense=1", "mkv-server", "unknown flag --nonsense=1"},
        {MKV_PROGRAM_SERVER, THREE "---port 1", "mkv-server", "unknown flag ---port"},
        {MKV_PROGRAM_SERVER, THREE "-por 1", "mkv-server", "unknown flag -por"},
        {MKV_PROGRAM_SERVER, THREE "-jobs 4", "mkv-server", "unknown flag -jobs"}, /* not its own */
        {MKV_PROGRAM_REBALANCE, THREE "-port 1", "mkv-rebalance", "unknown flag -port"},
        {MKV_PROGRAM_REBALANCE, THREE "-jobs 0", "mkv-rebalance", "between 1 and 4096"},
        {MKV_PROGRAM_SERVER, THREE "extra", "mkv-server", "extra: flags only"},
        {MKV_PROGRAM_SERVER, THREE "-- extra", "mkv-server", "extra: flags only"},
        {MKV_PROGRAM_SERVER, THREE "-", "mkv-server", "-: flags only"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_config cfg;
        struct line l;

        if (parse(&cfg, &l, rows[i].program, rows[i].flags) != MKV_CONFIG_BAD)
            fail_msg("%s: taken", rows[i].flags);
        assert_int_equal(out.len, 0);
        if (strncmp(err.text, rows[i].name, strlen(rows[i].name)) != 0 ||
            !strstr(err.text, rows[i].says) || strchr(err.text, '\n') != err.text + err.len - 1)
            fail_msg("%s: \"%s\"", rows[i].flags, err.text);
        mkv_config_clear(&cfg);
    }
}

/* "a1:1,a2:1,…" and a name of that many characters at the end. */
static char *many_volumes(size_t n, size_t last)
{
    size_t size = 16 * n + last + 1;
    char *text = malloc(size), *p = text;

    assert_non_null(text);
    for (size_t i = 0; i < n; i++) p += snprintf(p, size - (size_t)(p - text), "a%zu:1,", i);
    memset(p, 'x', last);
    p[last] = '\0';
    return text;
}

static void volumes_at_their_limits(void **state)
{
    static const struct {
        size_t n, last;
        bool good;
    } rows[] = {
        {2, MKV_VOLUME_NAME_MAX, true},
        {2, MKV_VOLUME_NAME_MAX + 1, false},
        {MKV_VOLUMES_MAX - 1, 5, true},
        {MKV_VOLUMES_MAX, 5, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *names = many_volumes(rows[i].n, rows[i].last);
        char *argv[] = {"program", "-db", "/db", "-volumes", names};
        struct mkv_config cfg;
        enum mkv_config_result result;

        capture_begin(&err, STDERR_FILENO);
        result = mkv_config_parse(&cfg, MKV_PROGRAM_SERVER, 5, argv);
        capture_end(&err);
        assert_int_equal(result, rows[i].good ? MKV_CONFIG_RUN : MKV_CONFIG_BAD);
        if (rows[i].good) {
            assert_int_equal(cfg.nvolumes, rows[i].n + 1);
            assert_int_equal(cfg.volumes[rows[i].n].len, rows[i].last);
        }
        mkv_config_clear(&cfg);
        free(names);
    }
}

/* On standard output, whatever else is on the line. */
static void help_and_version(void **state)
{
    static const char *const help[] = {"-help", "--help", "-h", "-port 1 -help -nonsense"};
    static const char *const version[] = {"-version", "--version"};
    struct mkv_config cfg;
    struct line l;

    (void)state;
    for (size_t i = 0; i < COUNT(help); i++) {
        assert_int_equal(parse(&cfg, &l, MKV_PROGRAM_SERVER, help[i]), MKV_CONFIG_DONE);
        assert_int_equal(err.len, 0);
        assert_non_null(strstr(out.text, "usage: mkv-server -db DIR"));
        assert_non_null(strstr(out.text, "  -port N "));
        assert_non_null(strstr(out.text, "(default 3000)"));
        assert_null(strstr(out.text, "-repair")); /* another program's */
        mkv_config_clear(&cfg);
    }
    for (size_t i = 0; i < COUNT(version); i++) {
        assert_int_equal(parse(&cfg, &l, MKV_PROGRAM_VERIFY, version[i]), MKV_CONFIG_DONE);
        assert_string_equal(out.text, "mkv-verify " MKV_VERSION "\n");
        mkv_config_clear(&cfg);
    }
}

/* The original's lines: the command comes last and goes away. */
static void commands(void **state)
{
    static const struct {
        const char *text;
        enum mkv_config_result result;
        enum mkv_program program;
    } rows[] = {
        {THREE "server", MKV_CONFIG_RUN, MKV_PROGRAM_SERVER},
        {THREE "rebuild", MKV_CONFIG_RUN, MKV_PROGRAM_REBUILD},
        {THREE "rebalance", MKV_CONFIG_RUN, MKV_PROGRAM_REBALANCE},
        {THREE "verify", MKV_CONFIG_RUN, MKV_PROGRAM_VERIFY},
        {"index", MKV_CONFIG_RUN, MKV_PROGRAM_INDEX},
        {"", MKV_CONFIG_BAD, 0},
        {THREE, MKV_CONFIG_BAD, 0},
        {THREE "serve", MKV_CONFIG_BAD, 0},
        {"server " THREE, MKV_CONFIG_BAD, 0},
        {"-help", MKV_CONFIG_DONE, 0},
        {"--version", MKV_CONFIG_DONE, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum mkv_program program = 0;
        enum mkv_config_result result;
        struct line l;
        int before;

        cut(&l, "mkv", rows[i].text);
        before = l.argc;
        capture_begin(&err, STDERR_FILENO);
        capture_begin(&out, STDOUT_FILENO);
        result = mkv_config_command(&program, &l.argc, l.argv);
        capture_end(&out);
        capture_end(&err);
        assert_int_equal(result, rows[i].result);
        assert_int_equal(program, rows[i].program);
        assert_int_equal(l.argc, result == MKV_CONFIG_RUN ? before - 1 : before);
        assert_null(l.argv[l.argc]);
        assert_int_equal(out.len > 0, result == MKV_CONFIG_DONE);
        assert_int_equal(err.len > 0, result == MKV_CONFIG_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),  cmocka_unit_test(defaults_of_the_others),
        cmocka_unit_test(forms),     cmocka_unit_test(values),
        cmocka_unit_test(durations), cmocka_unit_test(sizes),
        cmocka_unit_test(errors),    cmocka_unit_test(volumes_at_their_limits),
        cmocka_unit_test(commands),  cmocka_unit_test(help_and_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
