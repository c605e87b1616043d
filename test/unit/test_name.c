#include "mkv/name.h"

#include "mkv/uri.h"
#include "table.h"

#define KEY_WHOLE_MAX 189 /* the longest key that the original's names can hold */

static const uint64_t generations[] = {0, 1, 0xf, 0x10, 0x1234abcd, MKV_GENERATION_MAX};

/* The path leads back to the key, and names fit the file system. */
static void check_path(struct mkv_slice key, uint64_t generation, struct mkv_slice path)
{
    char found[MKV_KEY_MAX];
    size_t found_len;
    uint64_t found_generation;
    size_t component = 0;

    assert_true(path.len < MKV_PATH_MAX);
    assert_true(path.data[path.len - 1] != '/');
    for (size_t i = 0; i < path.len; i++) {
        component = path.data[i] == '/' ? 0 : component + 1;
        assert_true(component <= 255);
    }
    assert_true(mkv_path_key(path, found, &found_len, &found_generation));
    assert_slice(mkv_slice(found, found_len), key);
    assert_int_equal(found_generation, generation);
}

static void check_key(struct mkv_slice key)
{
    for (size_t g = 0; g < COUNT(generations); g++) {
        char path[MKV_PATH_MAX];
        size_t len = mkv_key_path(path, key, generations[g]);

        assert_int_equal(path[len], '\0');
        assert_int_equal(len, strlen(path));
        check_path(key, generations[g], mkv_slice(path, len));
    }
}

/* path without the "-/" of our cuts and without a final "-". */
static struct mkv_slice without_cuts(struct mkv_slice path, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] != '-')
            out[n++] = path.data[i];
        else if (i + 1 < path.len)
            assert_int_equal(path.data[++i], '/');
    }
    return mkv_slice(out, n);
}

/* Every row: the original's path to the byte for a key that it can store, the
 * same path with our cuts for one that it can not. */
static void paths_as_the_original(void **state)
{
    struct table t;
    size_t rows = 0, longer = 0, final_slash = 0;

    (void)state;
    table_open(&t, MKV_FIXTURES "/original/key2path.tsv");
    while (table_next(&t)) {
        char bytes[CELL_MAX], path[MKV_PATH_MAX], plain[MKV_PATH_MAX];
        struct mkv_slice key = from_hex(t.column[0], bytes), want = t.column[1];
        struct mkv_slice got = mkv_slice(path, mkv_key_path(path, key, 0));

        rows++;
        check_key(key);
        if (key.len > KEY_WHOLE_MAX) {
            longer++;
            assert_false(mkv_slice_eq(got, want));
            assert_slice(without_cuts(got, plain), want);
        } else if (want.data[want.len - 1] == '/') {
            final_slash++;
            assert_int_equal(got.len, want.len + 1);
            assert_slice(without_cuts(got, plain), want);
        } else {
            assert_slice(got, want);
        }
    }
    assert_int_equal(rows, 532);
    assert_int_equal(longer, 9);
    assert_int_equal(final_slash, 1);
}

/* Every file that the original left is one of its keys. */
static void files_of_the_original(void **state)
{
    FILE *names = popen("tar -tzf '" MKV_FIXTURES "/original/volumes.tar.gz'", "r");
    char line[CELL_MAX];
    size_t files = 0;

    (void)state;
    assert_non_null(names);
    while (fgets(line, sizeof(line), names)) {
        size_t len = strcspn(line, "\n"), key_len;
        struct mkv_slice pieces[4]; /* ".", "vol1", "sv00", "xx/yy/NAME" */
        char key[MKV_KEY_MAX], path[MKV_PATH_MAX];
        uint64_t generation;

        if (line[len - 1] == '/') continue; /* a directory */
        assert_int_equal(split_at(mkv_slice(line, len), '/', pieces, 4), 4);
        pieces[3] = mkv_slice(pieces[3].data - 1, pieces[3].len + 1);
        if (!mkv_path_key(pieces[3], key, &key_len, &generation)) fail_msg("%s", line);
        assert_int_equal(generation, 0);
        assert_slice(mkv_slice(path, mkv_key_path(path, mkv_slice(key, key_len), 0)), pieces[3]);
        files++;
    }
    assert_int_equal(pclose(names), 0);
    assert_int_equal(files, 888);
}

/* Where the cuts come: the lengths of the components of a key of 'a's, whose
 * base64 has no slash. */
static void cuts(void **state)
{
    static const struct {
        size_t key_len;
        uint64_t generation;
        size_t component[8];
    } rows[] = {
        {180,         0,                  {240}                                 },
        {180,         1,                  {240 + 2}                             },
        {180,         MKV_GENERATION_MAX, {255}                                 },
        {181,         0,                  {244}                                 },
        {181,         1,                  {241, 4 + 2}                          },
        {189,         0,                  {252}                                 },
        {189,         1,                  {241, 12 + 2}                         },
        {190,         0,                  {241, 16}                             },
        {192,         0,                  {241, 16}                             },
        {360,         0,                  {241, 240}                            }, /* no empty last piece */
        {360,         0x10,               {241, 240 + 3}                        },
        {361,         0,                  {241, 241, 4}                         },
        {MKV_KEY_MAX, 0,                  {241, 241, 241, 241, 241, 241, 12}    },
        {MKV_KEY_MAX, 1,                  {241, 241, 241, 241, 241, 241, 12 + 2}},
    };
    char key[MKV_KEY_MAX], path[MKV_PATH_MAX];

    (void)state;
    memset(key, 'a', sizeof(key));
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = mkv_key_path(path, mkv_slice(key, rows[i].key_len), rows[i].generation);
        struct mkv_slice parts[16];
        unsigned n = split_at(mkv_slice(path, len), '/', parts, 16);

        for (unsigned c = 0; c < 8; c++)
            assert_int_equal(3 + c < n ? parts[3 + c].len : 0, rows[i].component[c]);
        for (unsigned c = 3; c + 1 < n; c++)
            assert_int_equal(parts[c].data[parts[c].len - 1], '-');
        check_path(mkv_slice(key, rows[i].key_len), rows[i].generation, mkv_slice(path, len));
    }
}

/* A directory part of up to 255 stays whole even where a suffix follows: only
 * the last part has to make room for it. */
static void cuts_beside_slashes(void **state)
{
    static const struct {
        size_t before; /* characters before the slash, a multiple of 4 */
        size_t after;  /* and after it, one less than a multiple of 4 */
        uint64_t generation;
        size_t component[4];
    } rows[] = {
        {252, 3,   1, {252, 3 + 2}    },
        {256, 3,   1, {241, 16, 3 + 2}},
        {4,   239, 1, {4, 239 + 2}    },
        {4,   243, 0, {4, 243}        },
        {4,   243, 1, {4, 241, 3 + 2} },
        {4,   259, 0, {4, 241, 19}    },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char key[MKV_KEY_MAX], path[MKV_PATH_MAX];
        size_t before = rows[i].before / 4 * 3, len = before + (rows[i].after + 1) / 4 * 3;
        struct mkv_slice parts[8];
        unsigned n;

        memset(key, 'a', sizeof(key));
        key[before] = '\xfc'; /* six one bits: the base64 digit '/' */
        n = split_at(mkv_slice(path, mkv_key_path(path, mkv_slice(key, len), rows[i].generation)),
                     '/', parts, 8);
        for (unsigned c = 0; c < 4; c++)
            assert_int_equal(3 + c < n ? parts[3 + c].len : 0, rows[i].component[c]);
        check_path(mkv_slice(key, len), rows[i].generation, mkv_slice_of(path));
    }
}

/* Whole paths, those of docs/format.md among them. */
static void examples(void **state)
{
    static const struct {
        const char *key;
        uint64_t generation;
        const char *path;
    } rows[] = {
        {"/wehave", 0,                  "/60/08/L3dlaGF2ZQ=="               },
        {"/wehave", 1,                  "/60/08/L3dlaGF2ZQ==~1"             },
        {"/wehave", 0x2a,               "/60/08/L3dlaGF2ZQ==~2a"            },
        {"/wehave", MKV_GENERATION_MAX, "/60/08/L3dlaGF2ZQ==~ffffffffffffff"},
        {"/a?",     0,                  "/fa/8a/L2E/-"                      },
        {"/a?",     1,                  "/fa/8a/L2E/-~1"                    },
        {"/a?/",    0,                  "/e5/ec/L2E/Lw=="                   },
    };
    char path[MKV_PATH_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        mkv_key_path(path, mkv_slice_of(rows[i].key), rows[i].generation);
        assert_string_equal(path, rows[i].path);
        check_path(mkv_slice_of(rows[i].key), rows[i].generation, mkv_slice_of(path));
    }
}

static void every_length_round_trips(void **state)
{
    char key[MKV_KEY_MAX];
    uint32_t seed = 1;

    (void)state;
    for (size_t len = 1; len <= MKV_KEY_MAX; len++) {
        for (size_t i = 0; i < len; i++)
            key[i] = (char)next_random(&seed);
        check_key(mkv_slice(key, len));
        for (size_t i = 0; i < len; i++)
            key[i] = '?'; /* "Pz8/Pz8/": as many parts as can be */
        check_key(mkv_slice(key, len));
        for (size_t i = 0; i < len; i++)
            key[i] = '\xff';
        check_key(mkv_slice(key, len));
    }
}

static size_t merge(char *path, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        if (i == 0 || path[i] != '/' || path[i - 1] != '/') path[n++] = path[i];
    return n;
}

/* nginx stores "//" as "/"; keys are in hex since none is UTF-8. */
static void merged_slashes_are_found_again(void **state)
{
    static const char *keys[] = {
        "2f61ffff", /* one "//" in the middle */
        "2fffff",   /* "L///": three in a row, at the end */
        "2fffffff61",
        "fc",     /* "/A==": at the beginning */
        "fffffc", /* "///8" */
        "ffffff", /* "////": nothing but slashes */
        "ffffffffff",
        "2f62696e2f00ffff0061ffff7a", /* two places */
        "2f62696e2f00ffff0061ffff7a00ffff31",
        "2f3f3f3f3f3f3f3f3f3f3f3fffffff3f", /* among slashes that were not merged */
        "2f776f72642fe9ffff2f636166e9",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        char bytes[CELL_MAX], path[MKV_PATH_MAX];
        struct mkv_slice key = from_hex(mkv_slice_of(keys[i]), bytes);

        for (uint64_t generation = 0; generation < 2; generation++) {
            size_t len = mkv_key_path(path, key, generation), merged = merge(path, len);

            assert_true(merged < len);
            check_path(key, generation, mkv_slice(path, merged));
        }
    }
}

/* UTF-8 has at most ten one bits in a row, and "//" is twelve: no key that we
 * write comes to lie under a path that nginx changes. */
static void utf8_keys_have_no_double_slash(void **state)
{
    char key[64], path[MKV_PATH_MAX];
    uint32_t seed = 7;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = 0;

        key[len++] = '/';
        while (len < 48) { /* characters with as many one bits as UTF-8 has */
            static const char *const rich[] = {"?",
                                               "o",
                                               "\x7f",
                                               "\xdf\xbf",
                                               "\xef\xbf\xbf",
                                               "\xef\xbf\xbd",
                                               "\xf3\xbf\xbf\xbf",
                                               "\xf0\xbf\xbf\xbf"};
            const char *c = rich[next_random(&seed) % COUNT(rich)];

            memcpy(key + len, c, strlen(c));
            len += strlen(c);
        }
        assert_true(mkv_utf8_valid(mkv_slice(key, len)));
        mkv_key_path(path, mkv_slice(key, len), 0);
        assert_null(strstr(path, "//"));
    }
}

static void foreign_names_are_no_keys(void **state)
{
    static const char *paths[] = {
        "",
        "/",
        "/60/08",
        "/60/08/",
        "/60/08/L3dlaGF2ZQ==/", /* a directory */
        "60/08/L3dlaGF2ZQ==",
        "/60/09/L3dlaGF2ZQ==", /* not its MD5 */
        "/61/08/L3dlaGF2ZQ==",
        "/60-08/L3dlaGF2ZQ==",
        "/6g/08/L3dlaGF2ZQ==",
        "/FA/8A/L2E/-",      /* upper case */
        "/60/08/L3dlaGF2ZQ", /* no padding */
        "/60/08/L3dlaGF2ZQ=",
        "/60/08/L3dlaGF2ZR==", /* an unused bit set */
        "/60/08/L3dlaGF2ZQ==~",
        "/60/08/L3dlaGF2ZQ==~0",
        "/60/08/L3dlaGF2ZQ==~01",
        "/60/08/L3dlaGF2ZQ==~A",
        "/60/08/L3dlaGF2ZQ==~1~1",
        "/60/08/L3dlaGF2ZQ==~100000000000000", /* beyond the last generation */
        "/60/08/L3dlaGF2ZQ==~1/",
        "/60/08~1/L3dlaGF2ZQ==",
        "/60/08/L3dlaGF2ZQ==-",
        "/60/08/L3dl-/aGF2ZQ==", /* a cut where none belongs */
        "/60/08/-/L3dlaGF2ZQ==",
        "/60/08/-L3dlaGF2ZQ==",
        "/60/08/L3dlaGF2ZQ==.tmp",
        "/60/08/L3dl aGF2ZQ==",
        "/60/08/L3dl\naGF2ZQ==",
        "/60/08/=",
        "/60/08/====",
        "/fa/8a/L2E", /* "/a?" without its final "/-" */
        "/fa/8a/L2E/",
        "/fa/8a/L2E/--",
        "/fa/8a/L2E/-/",
        "/fa/8a//L2E/-",
        "/fa/8a/L2E//-",
        "/d4/1d/-", /* the empty key is none */
        "/d4/1d/-~1",
        "/60/08/README",
    };
    char key[MKV_KEY_MAX];
    size_t len;
    uint64_t generation;

    (void)state;
    for (size_t i = 0; i < COUNT(paths); i++)
        if (mkv_path_key(mkv_slice_of(paths[i]), key, &len, &generation))
            fail_msg("%s is no key's path", paths[i]);
}

/* A name of the original's own shape that is too long for us to have made. */
static void other_cuts_are_no_keys(void **state)
{
    char key[MKV_KEY_MAX], path[MKV_PATH_MAX], bad[MKV_PATH_MAX + 8];
    size_t len, key_len;
    uint64_t generation;

    (void)state;
    memset(key, 'a', sizeof(key));
    len = mkv_key_path(path, mkv_slice(key, 300), 0);
    assert_memory_equal(path + 7 + 240, "-/", 2);
    memcpy(bad, path, 7 + 240); /* whole, as the original would have named it */
    memcpy(bad + 7 + 240, path + 7 + 242, len - 7 - 242);
    assert_false(mkv_path_key(mkv_slice(bad, len - 2), key, &key_len, &generation));
    memcpy(bad + 7 + 236, "-/", 2); /* cut four characters early */
    memcpy(bad + 7 + 238, path + 7 + 236, 4);
    memcpy(bad + 7 + 242, path + 7 + 242, len - 7 - 242);
    assert_false(mkv_path_key(mkv_slice(bad, len), key, &key_len, &generation));
    assert_true(mkv_path_key(mkv_slice(path, len), key, &key_len, &generation));
}

/* More slashes than can be tried: an answer all the same, and soon.  A few of
 * these names pass for a key by chance; then it is one that belongs there. */
static void the_search_is_bounded(void **state)
{
    char path[2 * MKV_PATH_MAX], key[MKV_KEY_MAX], again[MKV_PATH_MAX];
    unsigned found = 0;

    (void)state;
    memcpy(path, "/00/00/", 7);
    for (size_t len = 8; len < sizeof(path); len += 5) {
        size_t key_len;
        uint64_t generation;

        for (size_t i = 7; i < len; i++)
            path[i] = i % 2 ? 'z' : '/';
        if (!mkv_path_key(mkv_slice(path, len), key, &key_len, &generation)) continue;
        found++;
        assert_false(mkv_utf8_valid(mkv_slice(key, key_len)));
        key_len = mkv_key_path(again, mkv_slice(key, key_len), generation);
        assert_slice(mkv_slice(again, merge(again, key_len)), mkv_slice(path, len));
    }
    assert_true(found < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_as_the_original),
        cmocka_unit_test(files_of_the_original),
        cmocka_unit_test(examples),
        cmocka_unit_test(cuts),
        cmocka_unit_test(cuts_beside_slashes),
        cmocka_unit_test(every_length_round_trips),
        cmocka_unit_test(merged_slashes_are_found_again),
        cmocka_unit_test(utf8_keys_have_no_double_slash),
        cmocka_unit_test(foreign_names_are_no_keys),
        cmocka_unit_test(other_cuts_are_no_keys),
        cmocka_unit_test(the_search_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
