/* test/unit/test_s3_xml.c - the writer of XML, and the readers of request
 * bodies: whole, cut in two at every place, in single bytes. */
#include "api/s3_xml.h"

#include "api/s3_body.h"
#include "s3_helper.h"

#include <time.h>

/* ---- writing ------------------------------------------------------------------- */

static void elements(void **state)
{
    static const char expected[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><A><N>18446744073709551615</N><B>true</B>"
        "<B>false</B><D>2013-05-24T00:00:00.000Z</D><E>&quot;abc-2&quot;</E><T></T></A>  </R>";
    struct s3_xml x;
    char *data;
    size_t len;

    (void)state;
    s3_xml_init(&x, 10000);
    s3_xml_root(&x, "R");
    s3_xml_open(&x, "A");
    s3_xml_number(&x, "N", UINT64_MAX);
    s3_xml_bool(&x, "B", true);
    s3_xml_bool(&x, "B", false);
    s3_xml_date(&x, "D", EXAMPLE_NOW);
    s3_xml_etag(&x, "E", MKV_SLICE("abc-2"));
    s3_xml_text(&x, "T", mkv_slice(NULL, 0));
    s3_xml_close(&x, "A");
    s3_xml_raw(&x, MKV_SLICE("  "));
    s3_xml_close(&x, "R");
    data = s3_xml_take(&x, &len);
    assert_non_null(data);
    assert_slice(mkv_slice(data, len), MKV_SLICE(expected));
    free(data);
    assert_int_equal(x.len, 0);
    s3_xml_clear(&x);
}

static void escapes(void **state)
{
    static const struct {
        struct mkv_slice in;
        const char *text, *url;
    } rows[] = {
        {LITERAL(""), "", ""},
        {LITERAL("plain/key's"), "plain/key's", "plain/key%27s"},
        {LITERAL("<a&b>\"c\""), "&lt;a&amp;b&gt;&quot;c&quot;", "%3Ca%26b%3E%22c%22"},
        {LITERAL("a\tb\r\n\x01\x7f"), "a&#x9;b&#xd;&#xa;&#x1;&#x7f;", "a%09b%0D%0A%01%7F"},
        {LITERAL("\0"), "&#x0;", "%00"},
        {LITERAL("\xc3\xa4\xf0\x9f\x98\x80"), "\xc3\xa4\xf0\x9f\x98\x80", "%C3%A4%F0%9F%98%80"},
        {LITERAL("\xff" "a\xe2\x82"), "\xef\xbf\xbd" "a\xef\xbf\xbd\xef\xbf\xbd", "%FFa%E2%82"},
        {LITERAL("\xef\xbf\xbe\xef\xbf\xbf\xef\xbf\xbd"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
         "%EF%BF%BE%EF%BF%BF%EF%BF%BD"},
        {LITERAL("a b+c"), "a b+c", "a%20b%2Bc"},
        {LITERAL("]]>"), "]]&gt;", "%5D%5D%3E"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char expected[256];
        struct s3_xml x;

        s3_xml_init(&x, 1000);
        s3_xml_key(&x, "K", rows[i].in, false);
        s3_xml_key(&x, "U", rows[i].in, true);
        snprintf(expected, sizeof(expected), "<K>%s</K><U>%s</U>", rows[i].text, rows[i].url);
        assert_slice(mkv_slice(x.data, x.len), mkv_slice_of(expected));
        assert_false(x.failed);
        s3_xml_clear(&x);
    }
}

static void limit(void **state)
{
    struct s3_xml x;
    size_t len;

    (void)state;
    for (size_t max = 0; max <= 7; max++) {
        s3_xml_init(&x, max);
        s3_xml_text(&x, "a", mkv_slice(NULL, 0)); /* <a></a> */
        assert_int_equal(x.failed, max < 7);
        assert_true(x.len <= max);
        if (max < 7) {
            s3_xml_raw(&x, MKV_SLICE("")); /* once failed it stays so */
            assert_null(s3_xml_take(&x, &len));
            assert_int_equal(len, 0);
        }
        s3_xml_clear(&x);
    }
    s3_xml_init(&x, 1000000);
    for (int i = 0; i < 1000; i++)
        s3_xml_text(&x, "Key", MKV_SLICE("some key that is not short"));
    assert_false(x.failed);
    assert_int_equal(x.len, 1000 * 37);
    s3_xml_clear(&x);
}

/* ---- reading --------------------------------------------------------------------- */

/* What a body said, as text. */
static void describe(const struct s3_body_result *r, char *out, size_t room)
{
    size_t n = 0;

#define SAY(...) n += (size_t)snprintf(out + n, n < room ? room - n : 0, __VA_ARGS__)
    out[0] = '\0';
    if (r->quiet) SAY("quiet ");
    for (size_t i = 0; i < r->n && r->objects; i++) {
        const struct s3_body_object *o = &r->objects[i];

        SAY("[%.*s", (int)o->key.len, o->key.data);
        if (o->version.data) SAY("|v=%.*s", (int)o->version.len, o->version.data);
        if (o->etag.data) SAY("|e=%.*s", (int)o->etag.len, o->etag.data);
        SAY("]");
    }
    for (size_t i = 0; i < r->n && r->parts; i++) {
        const struct s3_body_part *p = &r->parts[i];
        char sum[S3_CHECKSUM_TEXT_MAX] = "";

        if (p->checksum.kind) s3_checksum_text(&p->checksum, sum);
        SAY("[%u %.*s %s%s]", p->number, (int)p->etag.len, p->etag.data,
            s3_checksum_name(p->checksum.kind).data, sum);
    }
    if (r->location.data) SAY("@%.*s", (int)r->location.len, r->location.data);
}

/* cut: into two there, or (SIZE_MAX) into single bytes. */
static enum s3_error read_body(enum s3_body_kind kind, const char *text, size_t len, size_t cut,
                               char *out, size_t room)
{
    struct s3_body_result result;
    struct s3_body *b;
    enum s3_error err;
    size_t at = 0;

    assert_int_equal(s3_body_open(&b, kind), S3_OK);
    for (err = S3_OK; at < len && !err;) {
        size_t n = cut == SIZE_MAX ? 1 : at < cut && cut < len ? cut - at : len - at;

        err = s3_body_add(b, text + at, n);
        at += n;
    }
    if (err) assert_int_equal(s3_body_add(b, "x", 1), err); /* it stays */
    if (!err || cut == 0) {
        enum s3_error end = s3_body_end(b, &result);

        assert_true(!err || end == err);
        err = end;
    }
    if (!err) describe(&result, out, room);
    s3_body_close(b);
    return err;
}

#define DELETE   S3_BODY_DELETE
#define COMPLETE S3_BODY_COMPLETE
#define CREATE   S3_BODY_CREATE_BUCKET
#define NS       " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static const struct body_row {
    enum s3_body_kind kind;
    const char *text, *said; /* said: NULL where it is malformed */
} bodies[] = {
    {DELETE, "<Delete><Object><Key>a</Key></Object></Delete>", "[a]"},
    {DELETE, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete" NS ">\n <Quiet>true</Quiet>\n <Object>\n  <Key>a</Key>"
             "\n </Object><Object><VersionId>null</VersionId><Key> b c\n</Key></Object></Delete>\n",
     "quiet [a][ b c\n|v=null]"},
    {DELETE, "<s:Delete xmlns:s=\"u\"><s:Object><s:Key>a</s:Key><s:ETag>&quot;e&quot;</s:ETag></s:Object></s:Delete>",
     "[a|e=e]"},
    {DELETE, "<Delete><Object><Key>&lt;&amp;&#x41;&#228;&gt;<![CDATA[<k>]]></Key></Object><Quiet>False</Quiet></Delete>",
     "[<&A\xc3\xa4><k>]"},
    {DELETE, "<Delete><Object><Key>a</Key><Size>5</Size><Other><Deep>1</Deep></Other></Object><More/></Delete>", "[a]"},
    {DELETE, "<Delete><More><Object><Key>b</Key></Object></More><Object><Key>a</Key></Object></Delete>", "[a]"},
    {DELETE, "<Delete></Delete>", NULL},
    {DELETE, "<Delete><Object></Object></Delete>", NULL},
    {DELETE, "<Delete><Object><Key></Key></Object></Delete>", NULL},
    {DELETE, "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>", NULL},
    {DELETE, "<Delete><Object><Key>a<b/></Key></Object></Delete>", NULL},
    {DELETE, "<Delete><Object><Key>a</Key></Object>", NULL},
    {DELETE, "<Delete><Object><Key>a</Object></Delete>", NULL},
    {DELETE, "<Delete><Object><Key>a</Key></Object></Delete><Delete/>", NULL},
    {DELETE, "<Delete><Object><Key>a&b;</Key></Object></Delete>", NULL},
    {DELETE, "<Delete><Object><Key>\x01</Key></Object></Delete>", NULL},
    {DELETE, "<Delete><Object><Key>\xff</Key></Object></Delete>", NULL},
    {DELETE, "<Delete><Quiet>maybe</Quiet><Object><Key>a</Key></Object></Delete>", NULL},
    {DELETE, "<Deleta><Object><Key>a</Key></Object></Deleta>", NULL},
    {DELETE, "<!DOCTYPE Delete><Delete><Object><Key>a</Key></Object></Delete>", NULL},
    {DELETE, "<!DOCTYPE Delete [<!ENTITY a \"b\">]><Delete><Object><Key>&a;</Key></Object></Delete>", NULL},
    {DELETE, "<!DOCTYPE Delete SYSTEM \"file:///etc/passwd\"><Delete><Object><Key>a</Key></Object></Delete>", NULL},
    {DELETE, "<Delete><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a>", NULL},
    {DELETE, "", NULL},
    {DELETE, "{}", NULL},
    {COMPLETE, "<CompleteMultipartUpload" NS "><Part><PartNumber>1</PartNumber><ETag>\"e1\"</ETag></Part>"
               "<Part><ETag>e2</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32><PartNumber> 10000 </PartNumber></Part>"
               "</CompleteMultipartUpload>", "[1 e1 ][10000 e2 CRC32AAAAAA==]"},
    {COMPLETE, "<CompleteMultipartUpload><Part><PartNumber>2</PartNumber><ETag>b</ETag></Part><Part><PartNumber>1"
               "</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>", "[2 b ][1 a ]"},
    {COMPLETE, "<CompleteMultipartUpload/>", NULL},
    {COMPLETE, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>", NULL},
    {COMPLETE, "<CompleteMultipartUpload><Part><ETag>a</ETag></Part></CompleteMultipartUpload>", NULL},
    {COMPLETE, "<CompleteMultipartUpload><Part><PartNumber>0</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>", NULL},
    {COMPLETE, "<CompleteMultipartUpload><Part><PartNumber>10001</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>", NULL},
    {COMPLETE, "<CompleteMultipartUpload><Part><PartNumber>1a</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>", NULL},
    {COMPLETE, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><PartNumber>1</PartNumber><ETag>a</ETag></Part>"
               "</CompleteMultipartUpload>", NULL},
    {COMPLETE, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumSHA1>AAAA</ChecksumSHA1>"
               "</Part></CompleteMultipartUpload>", NULL},
    {CREATE, "", ""},
    {CREATE, "<CreateBucketConfiguration" NS "><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>",
     "@eu-west-1"},
    {CREATE, "<CreateBucketConfiguration/>", ""},
    {CREATE, "<CreateBucketConfiguration><LocationConstraint/></CreateBucketConfiguration>", "@"},
    {CREATE, "<CreateBucketConfiguration><Tags><Tag/></Tags></CreateBucketConfiguration>", ""},
    {CREATE, "<Delete/>", NULL},
    {CREATE, " ", NULL},
};

static void check_body(size_t i, size_t cut)
{
    const struct body_row *row = &bodies[i];
    char said[512];
    enum s3_error err = read_body(row->kind, row->text, strlen(row->text), cut, said, sizeof(said));

    if (err != (row->said ? S3_OK : S3_MALFORMED_XML))
        fail_msg("row %zu, cut %zu: %s", i, cut, s3_error_code(err));
    if (!err) assert_string_equal(said, row->said);
}

static void every_body_in_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bodies); i++) {
        for (size_t cut = 0; cut < strlen(bodies[i].text); cut++)
            check_body(i, cut);
        check_body(i, SIZE_MAX);
    }
}

/* n entries with keys or ETags of width bytes; the caller frees. */
static char *many(enum s3_body_kind kind, size_t n, int width, size_t *len)
{
    size_t room = n * ((size_t)width + 128) + 256, at;
    char *text = malloc(room);

    assert_non_null(text);
    at = (size_t)snprintf(text, room, kind == DELETE ? "<Delete>" : "<CompleteMultipartUpload>");
    for (size_t i = 1; i <= n; i++)
        at += (size_t)snprintf(text + at, room - at,
                               kind == DELETE ? "<Object><Key>%0*zu</Key></Object>"
                                              : "<Part><ETag>%0*zu</ETag><PartNumber>1</PartNumber></Part>",
                               width, i);
    at += (size_t)snprintf(text + at, room - at, kind == DELETE ? "</Delete>" : "</CompleteMultipartUpload>");
    *len = at;
    return text;
}

static void limits(void **state)
{
    static const struct {
        enum s3_body_kind kind;
        size_t n;
        int width;
        enum s3_error err;
    } rows[] = {
        {DELETE,   1000,  1024, S3_OK           },
        {DELETE,   1001,  8,    S3_MALFORMED_XML},
        {DELETE,   1,     4096, S3_OK           },
        {DELETE,   1,     4097, S3_MALFORMED_XML},
        {COMPLETE, 10000, 32,   S3_OK           },
        {COMPLETE, 10001, 32,   S3_MALFORMED_XML},
    };
    size_t len;
    char said[64], *text;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        text = many(rows[i].kind, rows[i].n, rows[i].width, &len);
        if (read_body(rows[i].kind, text, len, 0, said, sizeof(said)) != rows[i].err)
            fail_msg("row %zu", i);
        free(text);
    }
    text = malloc(S3_BODY_MAX + 1);
    assert_non_null(text);
    memset(text, ' ', S3_BODY_MAX + 1);
    memcpy(text, "<Delete>", 8);
    assert_int_equal(read_body(DELETE, text, S3_BODY_MAX + 1, 0, said, sizeof(said)),
                     S3_MAX_MESSAGE_LENGTH_EXCEEDED);
    memcpy(text, "<CreateBucketConfiguration/>", 28);
    assert_int_equal(read_body(CREATE, text, S3_BODY_SMALL_MAX, 0, said, sizeof(said)), S3_OK);
    assert_int_equal(read_body(CREATE, text, S3_BODY_SMALL_MAX + 1, 0, said, sizeof(said)),
                     S3_MAX_MESSAGE_LENGTH_EXCEEDED);
    free(text);
}

/* Whatever is long without an end costs no more for being sent in little pieces:
 * expat by itself would take more than a minute for this. */
static void long_tokens_in_single_bytes(void **state)
{
    static const char *const beginnings[] = {"<Delete><!--", "<Delete a=\"", "<Delete><?a ", "<Delete><a"};
    enum { LEN = 300000 };
    char *text = malloc(LEN), said[64];
    clock_t begun = clock();

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < COUNT(beginnings); i++) {
        memset(text, 'a', LEN);
        memcpy(text, beginnings[i], strlen(beginnings[i]));
        assert_int_equal(read_body(DELETE, text, LEN, SIZE_MAX, said, sizeof(said)), S3_MALFORMED_XML);
    }
    assert_true((clock() - begun) / CLOCKS_PER_SEC < 30);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements), cmocka_unit_test(escapes),
        cmocka_unit_test(limit),    cmocka_unit_test(every_body_in_every_cut),
        cmocka_unit_test(limits),   cmocka_unit_test(long_tokens_in_single_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
