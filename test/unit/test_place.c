#include "mkv/place.h"

#include "table.h"

static size_t split_names(struct mkv_slice list, struct mkv_slice *names, unsigned max)
{
    return split_at(list, ',', names, max);
}

static unsigned number(struct mkv_slice s)
{
    unsigned long long value = 0;

    assert_true(mkv_slice_number(s, 100000, &value));
    return (unsigned)value;
}

/* Every row of the original's own answers. */
static void places_as_the_original(void **state)
{
    struct table t;
    char key[CELL_MAX];
    size_t rows = 0;

    (void)state;
    table_open(&t, MKV_FIXTURES "/original/key2volume.tsv");
    while (table_next(&t)) {
        struct mkv_slice names[64];
        struct mkv_replica ordered[64];
        char text[4 * MKV_REPLICA_TEXT_MAX], *p = text;
        size_t n = split_names(t.column[1], names, 64);
        unsigned replicas = number(t.column[2]);

        assert_int_equal(t.columns, 5);
        assert_true(replicas <= n && replicas <= 4);
        mkv_place(from_hex(t.column[0], key), names, n, number(t.column[3]), ordered);
        for (unsigned i = 0; i < replicas; i++) {
            if (i) *p++ = ',';
            p += mkv_replica_text(p, names[ordered[i].volume], ordered[i].subvolume);
        }
        assert_slice(mkv_slice(text, (size_t)(p - text)), t.column[4]);
        rows++;
    }
    assert_int_equal(rows, 4459);
}

/* The example of docs/format.md. */
static void example(void **state)
{
    static const char *want[] = {"localhost:3001/sv07", "localhost:3002/sv04",
                                 "localhost:3003/sv07"};
    struct mkv_slice names[3];
    struct mkv_replica ordered[3];
    char text[MKV_REPLICA_TEXT_MAX];

    (void)state;
    split_names(MKV_SLICE("localhost:3001,localhost:3002,localhost:3003"), names, 3);
    mkv_place(MKV_SLICE("/wehave"), names, 3, 10, ordered);
    for (size_t i = 0; i < 3; i++) {
        mkv_replica_text(text, names[ordered[i].volume], ordered[i].subvolume);
        assert_string_equal(text, want[i]);
    }
}

static void score_of(const char *key, struct mkv_slice name, uint8_t *score)
{
    mkv_md5_two(mkv_slice_of(key), name, score);
}

/* Small lists and large ones are sorted by different code: the order must be
 * the same. */
static void every_length_is_sorted(void **state)
{
    static const size_t lengths[] = {0, 1, 2, 5, 31, 32, 33, 34, 100, MKV_VOLUMES_MAX};
    static char text[MKV_VOLUMES_MAX][24];
    struct mkv_slice names[MKV_VOLUMES_MAX];
    struct mkv_replica ordered[MKV_VOLUMES_MAX];

    (void)state;
    for (size_t i = 0; i < MKV_VOLUMES_MAX; i++) {
        snprintf(text[i], sizeof(text[i]), "volume-%zu:3001", i);
        names[i] = mkv_slice_of(text[i]);
    }
    for (size_t l = 0; l < COUNT(lengths); l++) {
        bool seen[MKV_VOLUMES_MAX] = {false};
        uint8_t last[MKV_MD5_LEN], score[MKV_MD5_LEN];

        mkv_place(MKV_SLICE("/a key"), names, lengths[l], 65535, ordered);
        for (size_t i = 0; i < lengths[l]; i++) {
            assert_true(ordered[i].volume < lengths[l]);
            assert_false(seen[ordered[i].volume]);
            seen[ordered[i].volume] = true;
            score_of("/a key", names[ordered[i].volume], score);
            if (i) assert_true(memcmp(last, score, sizeof(score)) > 0);
            memcpy(last, score, sizeof(score));
        }
    }
}

/* Several scores are worked out side by side, from a key that is hashed once: wherever
 * the key and the names end in a block of the hash, libcrypto must agree. */
static void keys_and_names_of_all_lengths(void **state)
{
    enum { NAMES = 19, KEY_MOST = 200 };
    static char key[KEY_MOST + 1], text[NAMES][128];
    struct mkv_slice names[NAMES];
    struct mkv_replica ordered[NAMES];

    (void)state;
    for (size_t len = 0; len < KEY_MOST; len++) {
        uint8_t last[MKV_MD5_LEN], score[MKV_MD5_LEN];

        key[len] = (char)('a' + len % 26);
        for (size_t i = 0; i < NAMES; i++) {
            size_t n = (7 * i + len) % (sizeof(text[i]) - 1) + 1;

            memset(text[i], 'A' + (int)i, n);
            names[i] = mkv_slice(text[i], n);
        }
        mkv_place(mkv_slice_of(key), names, NAMES, 65535, ordered);
        for (size_t i = 0; i < NAMES; i++) {
            score_of(key, names[ordered[i].volume], score);
            if (i) assert_true(memcmp(last, score, sizeof(score)) > 0);
            assert_int_equal(ordered[i].subvolume,
                             ((unsigned)score[12] << 24 | (unsigned)score[13] << 16 |
                              (unsigned)score[14] << 8 | score[15]) %
                                 65535);
            memcpy(last, score, sizeof(score));
        }
    }
}

/* The same name twice has the same score twice: the first given comes first. */
static void equal_scores_keep_their_order(void **state)
{
    static const size_t lengths[] = {8, 32, 33, 64};
    struct mkv_slice names[64];
    struct mkv_replica ordered[64];

    (void)state;
    for (size_t i = 0; i < 64; i++)
        names[i] = i % 2 ? MKV_SLICE("odd:1") : MKV_SLICE("even:1");
    for (size_t l = 0; l < COUNT(lengths); l++) {
        mkv_place(MKV_SLICE("/k"), names, lengths[l], 1, ordered);
        for (size_t i = 1; i < lengths[l]; i++)
            if (i != lengths[l] / 2) assert_int_equal(ordered[i].volume, ordered[i - 1].volume + 2);
    }
}

static void subvolumes(void **state)
{
    static const unsigned counts[] = {2, 3, 10, 256, 300, 65535};
    struct mkv_slice name = MKV_SLICE("localhost:3001");
    struct mkv_replica one;
    uint8_t score[MKV_MD5_LEN];
    uint32_t tail;

    (void)state;
    score_of("/wehave", name, score);
    tail = (uint32_t)score[12] << 24 | (uint32_t)score[13] << 16 | (uint32_t)score[14] << 8 |
           score[15];
    for (size_t i = 0; i < COUNT(counts); i++) {
        mkv_place(MKV_SLICE("/wehave"), &name, 1, counts[i], &one);
        assert_int_equal(one.subvolume, tail % counts[i]);
    }
    mkv_place(MKV_SLICE("/wehave"), &name, 1, 1, &one);
    assert_int_equal(one.subvolume, MKV_NO_SUBVOLUME);
}

static void replica_text(void **state)
{
    static const struct {
        const char *name;
        unsigned subvolume;
        const char *text;
    } rows[] = {
        {"a:1",     0,                "a:1/sv00"    },
        {"a:1",     9,                "a:1/sv09"    },
        {"a:1",     0xab,             "a:1/svAB"    },
        {"a:1",     0xff,             "a:1/svFF"    },
        {"a:1",     0x100,            "a:1/sv100"   },
        {"a:1",     0x12b,            "a:1/sv12B"   },
        {"a:1",     0xfff,            "a:1/svFFF"   },
        {"a:1",     0x1000,           "a:1/sv1000"  },
        {"a:1",     0xfffe,           "a:1/svFFFE"  },
        {"a:1/dir", 1,                "a:1/dir/sv01"},
        {"a:1",     MKV_NO_SUBVOLUME, "a:1"         },
        {"",        1,                "/sv01"       },
    };
    char out[MKV_REPLICA_TEXT_MAX], longest[MKV_VOLUME_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = mkv_replica_text(out, mkv_slice_of(rows[i].name), rows[i].subvolume);

        assert_string_equal(out, rows[i].text);
        assert_int_equal(len, strlen(rows[i].text));
    }
    memset(longest, 'v', sizeof(longest));
    assert_int_equal(mkv_replica_text(out, mkv_slice(longest, sizeof(longest)), 0xfffe),
                     MKV_REPLICA_TEXT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_as_the_original),
        cmocka_unit_test(example),
        cmocka_unit_test(every_length_is_sorted),
        cmocka_unit_test(keys_and_names_of_all_lengths),
        cmocka_unit_test(equal_scores_keep_their_order),
        cmocka_unit_test(subvolumes),
        cmocka_unit_test(replica_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
