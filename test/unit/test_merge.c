#include "jobs/merge.h"

#include "table.h"

#include <inttypes.h>

/* Volumes a, b, c, d are walked, and are in placement order; z is not.  A
 * capital letter is the same volume with another subvolume than placement has.
 *
 *   file    a0:7@100    on a, generation 0, 7 bytes, mtime 100
 *   doomed  !a0@100     the old index doomed generation 0 on a, as written by 100
 *   record  L0:7@100=abc#   live (U: unlinked), generation, bytes, mtime ("-": not
 *                           known), replicas, "#": with MD5 and a field
 *   verdicts            R replica, G garbage, L left, N nothing: one for each file
 *   findings            l lost, w away, d differ, x damaged, n newer, c crowded */
struct row {
    const char *what, *old, *files, *record, *verdicts, *findings;
};

static const struct row rows[] = {
    {"nothing at all", "", "", "", "", ""},
    {"without an old index", "", "c0:7@9 a0:7@9 b0:7@9", "L0:7@9=abc", "RRR", ""},
    {"one copy", "", "b0:7@9", "L0:7@9=b", "R", ""},
    {"extra copies come last", "", "d0:7@9 A0:7@8 b0:7@9 a0:7@9", "L0:7@9=abdA", "RRRR", ""},
    {"the mtime is the first replica's", "", "b0:7@5 a0:7@6", "L0:7@6=ab", "RR", ""},
    {"an empty value", "", "a0:0@9 b0:0@9", "L0:0@9=ab", "RR", ""},

    /* generations */
    {"the highest wins", "", "a0:7@1 b0:7@1 a2:9@2 c2:9@2 b1:8@2", "L2:9@2=ac", "GGRRG", ""},
    {"one copy of the highest is enough", "", "a0:7@1 b0:7@1 c0:7@1 b1:9@2", "L1:9@2=b", "GGGR", ""},
    {"an empty file is too little to throw the older away", "", "a0:7@1 a1:0@2 b1:0@2",
     "L1:0@2=ab", "LRR", ""},
    {"nor are copies that differ", "", "a0:7@1 a1:8@2 b1:9@2", "L1:9@2=b", "LLR", "d"},
    {"an empty value that the index knows is enough", "L1:0@2=ab", "a0:7@1 a1:0@2 b1:0@2",
     "L1:0@2=ab", "GRR", ""},
    {"a newer one than the index has", "L0:7@1=abc#", "a0:7@1 b0:7@1 c0:7@1 a1:9@2 b1:9@2",
     "L1:9@2=ab", "GGGRR", "n"},
    {"a newer one is live though the old is unlinked", "U0:7@1=abc", "a0:7@1 a1:9@2", "L1:9@2=a",
     "GR", "n"},
    {"an older one does not come back", "L2:9@2=abc#", "a0:7@1 b1:7@1", "L2:9@2=abc#", "LL", "l"},

    /* what only the index knows */
    {"the old record stays", "L3:7@9=abc#", "c3:7@9 b3:7@9 a3:7@9", "L3:7@9=abc#", "RRR", ""},
    {"unlinked stays unlinked", "U0:7@9=abc#", "a0:7@9 b0:7@9 c0:7@9", "U0:7@9=abc#", "RRR", ""},
    {"its replicas are put in order", "L0:7@9=cab", "a0:7@9 b0:7@9 c0:7@9", "L0:7@9=abc", "RRR", ""},
    {"a replica has gone", "L0:7@9=abc#", "a0:7@9 c0:7@9", "L0:7@9=ac#", "RR", ""},
    {"a replica has come", "L0:7@9=abc#", "a0:7@9 b0:7@9 c0:7@9 d0:7@9", "L0:7@9=abcd#", "RRRR", ""},
    {"replicas have moved", "L0:7@9=AbC#", "a0:7@9 b0:7@9 c0:7@9", "L0:7@9=abc#", "RRR", ""},
    {"mtimes of the files do not matter", "L0:7@9=abc#", "a0:7@50 b0:7@51 c0:7@2", "L0:7@9=abc#",
     "RRR", ""},
    {"size and mtime are filled in", "L0:-@-=ab#", "a0:7@3 b0:7@4", "L0:7@3=ab#", "RR", ""},

    /* lost, away */
    {"lost", "L0:7@9=abc#", "", "L0:7@9=abc#", "", "l"},
    {"lost while unlinked", "U0:7@9=abc#", "", "U0:7@9=abc#", "", "l"},
    {"perhaps on a volume that was not walked", "L0:7@9=abz#", "", "L0:7@9=abz#", "", "w"},
    {"that keeps its replicas", "L0:7@9=azb#", "b0:7@9 a0:7@9", "L0:7@9=abz#", "RR", ""},
    {"but not those of another generation", "L0:7@9=azb#", "b1:8@10", "L1:8@10=b", "R", "n"},

    /* doomed: garbage and marks */
    {"garbage stays garbage", "L1:9@5=ab", "!a0@4 a0:7@1 a1:9@5 b1:9@5", "L1:9@5=ab", "GNRR", ""},
    {"garbage whose file has gone", "L1:9@5=ab", "!a0@4 a1:9@5 b1:9@5", "L1:9@5=ab", "GRR", ""},
    {"garbage of a key that is gone", "", "!a0@4 !b0@4 a0:7@1 b0:7@1", "", "GGNN", ""},
    {"a copy that was to go, beside good ones", "L0:7@1=bc", "!a0@4 a0:7@1 b0:7@1 c0:7@1",
     "L0:7@1=bc", "GNRR", ""},
    {"a half-written generation", "L0:7@1=abc#", "!a1@8 !b1@8 a0:7@1 b0:7@1 c0:7@1 a1:9@8",
     "L0:7@1=abc#", "GGRRRN", ""},
    {"half-written over an unlinked key", "U0:7@1=abc#", "!a1@8 a0:7@1 b0:7@1 c0:7@1 a1:9@8",
     "U0:7@1=abc#", "GRRRN", ""},
    {"half-written, and nothing before", "", "!a0@8 !b0@8 !c0@8 b0:9@8", "", "GGGN", ""},
    {"doomed, but the record names it too", "L0:7@1=ab", "!a0@4 a0:7@1 b0:7@1", "L0:7@1=ab", "NRR", ""},
    {"doomed, but written again later", "", "!a0@4 a0:7@5", "L0:7@5=a", "NR", ""},
    {"doomed and without an mtime", "", "!a0@4 a0:7@-", "", "GN", ""},
    {"lost, with garbage of an older one", "L1:9@5=ab", "!a0@4 a0:7@1", "L1:9@5=ab", "GN", "l"},

    /* sizes */
    {"the index's size decides", "L0:7@9=abc#", "a0:3@9 b0:7@9 c0:9@9", "L0:7@9=b#", "LRL", "d"},
    {"also against most", "L0:7@9=abc#", "a0:3@9 b0:3@9 c0:7@9", "L0:7@9=c#", "LLR", "d"},
    {"then the older generation is garbage", "L1:7@9=abc#", "c0:4@2 a1:3@9 b1:7@9", "L1:7@9=b#",
     "GLR", "d"},
    {"no copy is whole", "L1:7@9=abc#", "c0:4@2 a1:3@9 b1:5@9", "L1:7@9=ab#", "LRR", "dx"},
    {"no copy is whole, and they agree", "L0:7@9=abc#", "a0:3@9 b0:3@9", "L0:7@9=ab#", "RR", "x"},
    {"all were written again later", "U0:7@9=abc#", "a0:3@12 b0:3@12", "L0:3@12=ab", "RR", "n"},
    {"not all were", "U0:7@9=abc#", "a0:3@12 b0:3@9", "U0:7@9=ab#", "RR", "x"},
    {"most decide", "", "a0:5@9 b0:7@9 c0:5@9", "L0:5@9=ac", "RLR", "d"},
    {"the larger in a tie", "", "a0:5@9 b0:7@9", "L0:7@9=b", "LR", "d"},
    {"never an empty one", "", "a0:0@9 b0:0@9 c0:3@9", "L0:3@9=c", "LLR", "d"},
    {"the index without a size", "U0:-@9=abc#", "a0:5@9 b0:7@9 c0:7@9", "U0:7@9=bc#", "LRR", "d"},
};

/* ---- the notation ------------------------------------------------------------------------ */

static struct mkv_replica replica_of(char letter)
{
    bool elsewhere = letter >= 'A' && letter <= 'Z';
    uint32_t volume = (uint32_t)(letter - (elsewhere ? 'A' : 'a'));

    return (struct mkv_replica){volume, (uint16_t)(elsewhere ? 200 + volume : volume)};
}

static char letter_of(struct mkv_replica r)
{
    return (char)((r.subvolume == r.volume ? 'a' : 'A') + (int)r.volume);
}

static int64_t number_at(const char **p)
{
    char *end;
    int64_t n;

    if (**p == '-') {
        ++*p;
        return -1;
    }
    n = strtoll(*p, &end, 10);
    assert_true(end > *p);
    *p = end;
    return n;
}

static size_t parse_files(const char *p, struct merge_file *files)
{
    size_t n = 0;

    for (; *p; p += *p == ' ') {
        struct merge_file *f = &files[n++];

        *f = (struct merge_file){.doomed = *p == '!'};
        p += f->doomed;
        f->at = replica_of(*p++);
        f->generation = (uint64_t)number_at(&p);
        if (*p == ':') {
            p++;
            f->size = number_at(&p);
        }
        assert_int_equal(*p++, '@');
        f->mtime = number_at(&p);
    }
    return n;
}

static void parse_record(const char *p, struct mkv_record *r)
{
    mkv_record_init(r);
    r->state = *p++ == 'U' ? MKV_UNLINKED : MKV_LIVE;
    r->generation = (uint64_t)number_at(&p);
    p++;
    r->size = number_at(&p);
    p++;
    r->mtime = number_at(&p);
    for (p++; *p && *p != '#'; p++) r->replicas[r->nreplicas++] = replica_of(*p);
    if (*p != '#') return;
    r->has_md5 = true;
    memset(r->md5, 0x5a, sizeof(r->md5));
    assert_int_equal(mkv_record_set_field(r, MKV_FIELD_CONTENT_TYPE, MKV_SLICE("text/plain")), 0);
}

static void put_number(char **p, int64_t n)
{
    if (n < 0)
        *(*p)++ = '-';
    else
        *p += snprintf(*p, 24, "%" PRId64, n);
}

static void print_record(const struct mkv_record *r, char *p)
{
    struct mkv_slice type;

    *p++ = r->state == MKV_UNLINKED ? 'U' : 'L';
    put_number(&p, (int64_t)r->generation);
    *p++ = ':';
    put_number(&p, r->size);
    *p++ = '@';
    put_number(&p, r->mtime);
    *p++ = '=';
    for (unsigned i = 0; i < r->nreplicas; i++) *p++ = letter_of(r->replicas[i]);
    if (r->has_md5) *p++ = '#';
    assert_int_equal(r->has_md5, mkv_record_field(r, MKV_FIELD_CONTENT_TYPE, &type));
    *p = '\0';
}

static void print_findings(unsigned findings, char *p)
{
    static const char letters[] = "lwdxnc";

    for (unsigned i = 0; letters[i]; i++)
        if (findings & 1u << i) *p++ = letters[i];
    *p = '\0';
}

static void check(const struct row *row, const char *what, const char *got, const char *want)
{
    if (strcmp(got, want) != 0) fail_msg("%s: %s: got \"%s\", want \"%s\"", row->what, what, got, want);
}

static void run(const struct row *row)
{
    static const struct mkv_replica placement[] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
    struct merge_file files[32];
    struct mkv_record old;
    struct merge_result out;
    struct merge_input in = {.old = *row->old ? &old : NULL, .files = files,
                             .placement = placement, .nplacement = COUNT(placement)};
    char text[128] = "", verdicts[33];

    mkv_record_init(&old);
    if (in.old) parse_record(row->old, &old);
    in.nfiles = parse_files(row->files, files);
    assert_int_equal(merge_key(&in, &out), MKV_OK);
    if (out.has_record) print_record(&out.record, text);
    check(row, "record", text, row->record);
    for (size_t i = 0; i < in.nfiles; i++) verdicts[i] = "RGLN"[files[i].verdict];
    verdicts[in.nfiles] = '\0';
    check(row, "verdicts", verdicts, row->verdicts);
    print_findings(out.findings, text);
    check(row, "findings", text, row->findings);
    mkv_record_clear(&out.record);
    mkv_record_clear(&old);
}

static void merges(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) run(&rows[i]);
}

/* More copies than a record holds: those that are where they belong stay. */
static void is_crowded(void **state)
{
    struct mkv_replica placement[20];
    struct merge_file files[40];
    struct merge_input in = {.files = files, .placement = placement, .nplacement = 20};
    struct merge_result out;

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        placement[i] = (struct mkv_replica){i, (uint16_t)i};
        files[19 - i] = (struct merge_file){.at = {i, 99}, .size = 1, .mtime = 1};
        files[39 - i] = (struct merge_file){.at = {i, (uint16_t)i}, .size = 1, .mtime = 1};
    }
    in.nfiles = COUNT(files);
    assert_int_equal(merge_key(&in, &out), MKV_OK);
    assert_int_equal(out.findings, MERGE_CROWDED);
    assert_int_equal(out.record.nreplicas, MKV_REPLICAS_MAX);
    for (unsigned i = 0; i < MKV_REPLICAS_MAX; i++) {
        assert_int_equal(out.record.replicas[i].volume, i);
        assert_int_equal(out.record.replicas[i].subvolume, i);
    }
    for (size_t i = 0; i < COUNT(files); i++)
        assert_int_equal(files[i].verdict,
                         i >= 20 && 39 - i < MKV_REPLICAS_MAX ? MERGE_REPLICA : MERGE_LEFT);
    mkv_record_clear(&out.record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(merges), cmocka_unit_test(is_crowded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
