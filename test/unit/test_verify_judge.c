/* What the answers about the copies of one value mean. */
#include "jobs/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* A copy in one word: size and, after it, the one letter that its MD5 is made
 * of ("5a"; "5": not read); "-": no file; "?": could not be asked. */
static struct seen_copy seen_of(const char *word)
{
    struct seen_copy s = {.seen = SEEN_FILE, .size = word[0] - '0'};

    if (word[0] == '-') return (struct seen_copy){.seen = SEEN_NO_FILE};
    if (word[0] == '?') return (struct seen_copy){.seen = SEEN_TROUBLE};
    s.has_md5 = word[1] != '\0';
    memset(s.md5, word[1], sizeof(s.md5));
    return s;
}

/* By verdict: good, missing, wrong size, damaged, different, unknown. */
static const char letters[] = "GMSDXU";

static const struct {
    const char *what;
    int64_t size; /* in the record; -1: not known */
    char md5;     /* likewise; 0: not known */
    const char *copies[3];
    const char *verdicts;
} rows[] = {
    {"all is well", 5, 'a', {"5", "5", "5"}, "GGG"},
    {"all is well, read", 5, 'a', {"5a", "5a", "5a"}, "GGG"},
    {"one is missing", 5, 'a', {"5a", "-", "5a"}, "GMG"},
    {"one is short", 5, 'a', {"5", "5", "4"}, "GGS"},
    {"one is long, and so not read", 5, 'a', {"5a", "6", "5a"}, "GSG"},
    {"one is damaged", 5, 'a', {"5b", "5a", "5a"}, "DGG"},
    {"the odd one out is right", 5, 'a', {"5b", "5b", "5a"}, "DDG"},
    {"all are damaged alike", 5, 'a', {"5b", "5b", "5b"}, "DDD"},
    {"nothing is left", 5, 'a', {"-", "4", "5b"}, "MSD"},
    {"nobody answers", 5, 'a', {"?", "?", "?"}, "UUU"},
    {"one does not answer", 5, 'a', {"?", "5a", "-"}, "UGM"},
    {"no MD5 is known: sizes decide", 5, 0, {"5", "5", "4"}, "GGS"},
    {"no MD5 is known: read, alike", 5, 0, {"5a", "5a", "5a"}, "GGG"},
    {"no MD5 is known: read, not alike", 5, 0, {"5a", "5a", "5b"}, "XXX"},
    {"no MD5 is known: of wrong size is wrong all the same", 5, 0, {"5a", "5a", "4"}, "GGS"},
    {"no MD5 is known: one copy left", 5, 0, {"-", "5a", "?"}, "MGU"},
    {"nothing is known: alike", -1, 0, {"5", "5", "5"}, "GGG"},
    {"nothing is known: sizes differ", -1, 0, {"5", "4", "5"}, "XXX"},
    {"nothing is known: sizes differ, one missing", -1, 0, {"5", "4", "-"}, "XXM"},
    {"nothing is known: contents differ", -1, 0, {"5a", "5b", "5a"}, "XXX"},
    {"nothing is known: one left", -1, 0, {"-", "-", "5"}, "MMG"},
    {"the size is not known: the MD5 decides", -1, 'a', {"4b", "5a", "5a"}, "DGG"},
    {"the size is not known, not read: sizes differ", -1, 'a', {"4", "5", "5"}, "XXX"},
    {"empty values", 0, 'a', {"0a", "0a", "1"}, "GGS"},
};

static void judges(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct seen_copy seen[MKV_REPLICAS_MAX] = {{0}};
        enum verdict verdicts[MKV_REPLICAS_MAX];
        unsigned counts[VERDICTS], expected[VERDICTS] = {0};
        struct mkv_record rec;

        mkv_record_init(&rec);
        rec.size = rows[i].size;
        rec.has_md5 = rows[i].md5 != 0;
        memset(rec.md5, rows[i].md5, sizeof(rec.md5));
        rec.nreplicas = 3;
        for (size_t c = 0; c < 3; c++) seen[c] = seen_of(rows[i].copies[c]);
        verify_judge(&rec, seen, verdicts, counts);
        for (size_t c = 0; c < 3; c++) {
            if (letters[verdicts[c]] != rows[i].verdicts[c])
                fail_msg("%s: copy %zu: verdict %c", rows[i].what, c, letters[verdicts[c]]);
            expected[verdicts[c]]++;
        }
        assert_memory_equal(counts, expected, sizeof(counts));
    }
}

static void no_copies(void **state)
{
    struct mkv_record rec;
    unsigned counts[VERDICTS], none[VERDICTS] = {0};

    (void)state;
    mkv_record_init(&rec);
    verify_judge(&rec, NULL, NULL, counts);
    assert_memory_equal(counts, none, sizeof(counts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(judges), cmocka_unit_test(no_copies)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
