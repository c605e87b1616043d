/* test/unit/test_s3_meta.c - headers into a record's fields and back, ETags,
 * checksums, parts. */
#include "api/s3_meta.h"

#include "table.h"

static size_t cut_headers(const char *text, struct mkv_header *out)
{
    size_t n = 0;

    while (*text) {
        const char *colon = strchr(text, ':'), *end = strchr(text, '\n');

        out[n].name = mkv_slice(text, (size_t)(colon - text));
        out[n++].value = mkv_slice(colon + 1, (size_t)(end - colon) - 1);
        text = end + 1;
    }
    return n;
}

static void write_head(const struct s3_head *h, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < h->n; i++)
        n += (size_t)snprintf(out + n, size - n, "%.*s:%.*s\n", (int)h->h[i].name.len,
                              h->h[i].name.data, (int)h->h[i].value.len, h->h[i].value.data);
}

#define ALWAYS                                                                                     \
    "Last-Modified:Thu, 01 Jan 1970 00:00:00 GMT\n"                                                \
    "ETag:\"00000000000000000000000000000000\"\nAccept-Ranges:bytes\n"

/* What is sent, and what comes back behind the lines that always do. */
static const struct {
    const char *sent, *back;
} kept[] = {
    {"", "Content-Type:binary/octet-stream\n"},
    {"content-type:text/x\nCACHE-CONTROL:no-store\nexpires:soon\n",
     "Content-Type:text/x\nCache-Control:no-store\nExpires:soon\n"},
    {"Content-Encoding:aws-chunked\n", "Content-Type:binary/octet-stream\n"},
    {"Content-Encoding:aws-chunked, gzip\n",
     "Content-Type:binary/octet-stream\nContent-Encoding:gzip\n"},
    {"Content-Encoding:gzip,AWS-Chunked ,br\n",
     "Content-Type:binary/octet-stream\nContent-Encoding:gzip,br\n"},
    {"x-amz-meta-Mtime:12\nX-AMZ-META-empty:\nx-amz-meta-mtime:13\n",
     "Content-Type:binary/octet-stream\nx-amz-meta-mtime:12\nx-amz-meta-empty:\n"
     "x-amz-meta-mtime:13\n"},
    {"x-amz-storage-class:STANDARD\n", "Content-Type:binary/octet-stream\n"},
    {"x-amz-storage-class:GLACIER\n",
     "Content-Type:binary/octet-stream\nx-amz-storage-class:GLACIER\n"},
    {"x-amz-acl:private\nx-amz-tagging:\nx-amz-object-lock-legal-hold:OFF\nOther:1\n",
     "Content-Type:binary/octet-stream\n"},
    {"Content-Disposition:attachment; filename=\"\xc3\xa4\"\nContent-Language:de\n",
     "Content-Type:binary/octet-stream\nContent-Disposition:attachment; filename=\"\xc3\xa4\"\n"
     "Content-Language:de\n"},
};

static void headers_are_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kept); i++) {
        struct mkv_header headers[16];
        size_t n = cut_headers(kept[i].sent, headers);
        struct mkv_record rec, copy;
        struct mkv_slice ignored;
        char text[2048];
        const char *why;
        struct s3_head h;

        mkv_record_init(&rec);
        mkv_record_init(&copy);
        assert_int_equal(s3_meta_of_headers(headers, n, &rec, &why), S3_OK);
        assert_int_equal(s3_meta_copy(&rec, &copy), S3_OK);
        copy.has_md5 = true;
        copy.mtime = 0;
        if (mkv_record_field(&rec, MKV_FIELD_STORAGE_CLASS, &ignored)) /* a copy has its own */
            assert_int_equal(mkv_record_set_field(&copy, MKV_FIELD_STORAGE_CLASS, ignored), MKV_OK);
        s3_head_init(&h);
        s3_meta_headers(&copy, MKV_SLICE("/b/k"), &h);
        write_head(&h, text, sizeof(text));
        assert_true(strncmp(text, ALWAYS, sizeof(ALWAYS) - 1) == 0);
        assert_string_equal(text + sizeof(ALWAYS) - 1, kept[i].back);
        mkv_record_clear(&copy);
        mkv_record_clear(&rec);
    }
}

static const struct {
    const char *sent;
    enum s3_error err;
} refused[] = {
    {"x-amz-server-side-encryption:AES256\n", S3_NOT_IMPLEMENTED},
    {"x-amz-server-side-encryption-customer-algorithm:AES256\n", S3_NOT_IMPLEMENTED},
    {"x-amz-tagging:a=b\n", S3_NOT_IMPLEMENTED},
    {"x-amz-acl:public-read\n", S3_NOT_IMPLEMENTED},
    {"x-amz-grant-read:id=1\n", S3_NOT_IMPLEMENTED},
    {"x-amz-object-lock-mode:GOVERNANCE\n", S3_NOT_IMPLEMENTED},
    {"x-amz-website-redirect-location:/x\n", S3_NOT_IMPLEMENTED},
};

static void what_is_not_done_is_refused(void **state)
{
    struct mkv_record rec;
    const char *why;

    (void)state;
    mkv_record_init(&rec);
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct mkv_header headers[4];
        size_t n = cut_headers(refused[i].sent, headers);

        assert_int_equal(s3_meta_of_headers(headers, n, &rec, &why), refused[i].err);
        assert_non_null(why);
    }
    mkv_record_clear(&rec);
}

static void user_metadata_ends_at_2_kb(void **state)
{
    static char value[S3_USER_METADATA_MAX + 1];
    struct mkv_header h = {MKV_SLICE("x-amz-meta-ab"), {value, S3_USER_METADATA_MAX - 2}};
    struct mkv_record rec;
    const char *why;

    (void)state;
    mkv_record_init(&rec);
    memset(value, 'v', sizeof(value));
    assert_int_equal(s3_meta_of_headers(&h, 1, &rec, &why), S3_OK);
    h.value.len++;
    assert_int_equal(s3_meta_of_headers(&h, 1, &rec, &why), S3_METADATA_TOO_LARGE);
    mkv_record_clear(&rec);
}

/* As fields of a form may be: longer than a request's head, and of any bytes. */
static void what_no_header_holds(void **state)
{
    static char value[HTTP1_HEAD_MAX + 1];
    static const struct {
        struct mkv_header h;
        enum s3_error err;
    } rows[] = {
        {{{"Content-Type", 12}, {"a\tb \xc3\xbc", 6}},                 S3_OK                },
        {{{"Content-Type", 12}, {"a\r\nX-Evil: 1", 12}},              S3_INVALID_ARGUMENT  },
        {{{"Cache-Control", 13}, {"a\0b", 3}},                        S3_INVALID_ARGUMENT  },
        {{{"Expires", 7}, {"\x7f", 1}},                               S3_INVALID_ARGUMENT  },
        {{{"x-amz-meta-a", 12}, {"1\n2", 3}},                         S3_INVALID_ARGUMENT  },
        {{{"x-amz-meta-a: 1\r\nb", 18}, {"1", 1}},                    S3_INVALID_ARGUMENT  },
        {{{"x-amz-meta-a b", 14}, {"1", 1}},                          S3_INVALID_ARGUMENT  },
        {{{"Content-Encoding", 16}, {value, HTTP1_HEAD_MAX - 16}},    S3_OK                },
        {{{"Content-Encoding", 16}, {value, HTTP1_HEAD_MAX + 1}},     S3_METADATA_TOO_LARGE},
        {{{"Content-Disposition", 19}, {value, HTTP1_HEAD_MAX - 18}}, S3_METADATA_TOO_LARGE},
    };
    const char *why;

    (void)state;
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mkv_record rec;

        mkv_record_init(&rec);
        if (s3_meta_of_headers(&rows[i].h, 1, &rec, &why) != rows[i].err)
            fail_msg("row %zu: not %s", i, s3_error_code(rows[i].err));
        mkv_record_clear(&rec);
    }
}

static void etags(void **state)
{
    char etag[S3_ETAG_MAX], other[S3_ETAG_MAX];
    struct mkv_record rec;

    (void)state;
    mkv_record_init(&rec);
    rec.size = 5;
    assert_int_equal(s3_etag(&rec, MKV_SLICE("/b/k"), etag), 34);
    assert_string_equal(etag + 32, "-1"); /* nobody takes it for an MD5 */
    rec.size = 6; /* of an adopted value it becomes known later */
    s3_etag(&rec, MKV_SLICE("/b/k"), other);
    assert_string_equal(etag, other);
    rec.generation = 1;
    s3_etag(&rec, MKV_SLICE("/b/k"), other);
    assert_string_not_equal(etag, other);
    rec.has_md5 = true;
    memset(rec.md5, 0xab, MKV_MD5_LEN);
    assert_int_equal(s3_etag(&rec, MKV_SLICE("/b/k"), etag), 32);
    assert_string_equal(etag, "abababababababababababababababab");
    assert_int_equal(mkv_record_set_field(&rec, MKV_FIELD_MULTIPART_ETAG,
                                          MKV_SLICE("0123456789abcdef0123456789abcdef-10000")),
                     MKV_OK);
    assert_int_equal(s3_etag(&rec, MKV_SLICE("/b/k"), etag), 38);
    assert_string_equal(etag, "0123456789abcdef0123456789abcdef-10000");
    mkv_record_clear(&rec);
}

static void checksums(void **state)
{
    struct s3_checksum_value in = {.kind = S3_CHECKSUM_SHA256, .parts = 300}, out;
    struct mkv_record rec;

    (void)state;
    mkv_record_init(&rec);
    assert_false(s3_meta_checksum(&rec, &out));
    memset(in.bytes, 0x5a, sizeof(in.bytes));
    for (int kind = S3_CHECKSUM_CRC32; kind < S3_CHECKSUM_COUNT; kind++) {
        in.kind = (enum s3_checksum)kind;
        assert_int_equal(s3_meta_set_checksum(&rec, &in), MKV_OK);
        assert_true(s3_meta_checksum(&rec, &out));
        assert_true(s3_checksum_equal(&in, &out));
        assert_int_equal(out.parts, 300);
    }
    in.kind = S3_CHECKSUM_NONE;
    assert_int_equal(s3_meta_set_checksum(&rec, &in), MKV_OK);
    assert_false(s3_meta_checksum(&rec, &out));
    /* damaged: a kind that is not known, too short, too long */
    assert_int_equal(mkv_record_set_field(&rec, MKV_FIELD_CHECKSUMS, MKV_SLICE("\x09\x00zzzz")), MKV_OK);
    assert_false(s3_meta_checksum(&rec, &out));
    assert_int_equal(mkv_record_set_field(&rec, MKV_FIELD_CHECKSUMS, MKV_SLICE("\x01\x00zzz")), MKV_OK);
    assert_false(s3_meta_checksum(&rec, &out));
    assert_int_equal(mkv_record_set_field(&rec, MKV_FIELD_CHECKSUMS, MKV_SLICE("\x01\x00zzzzz")), MKV_OK);
    assert_false(s3_meta_checksum(&rec, &out));
    mkv_record_clear(&rec);
}

static void parts(void **state)
{
    static uint64_t sizes[S3_PARTS_MAX];
    struct mkv_record rec;
    uint64_t first, length, sum = 0;
    uint32_t random = 1;

    (void)state;
    mkv_record_init(&rec);
    rec.size = 7;
    assert_int_equal(s3_meta_part_count(&rec), 0);
    assert_true(s3_meta_part(&rec, 1, &first, &length)); /* the whole is one part */
    assert_int_equal(length, 7);
    assert_false(s3_meta_part(&rec, 2, &first, &length));
    for (size_t i = 0; i < COUNT(sizes); i++)
        sizes[i] = next_random(&random) % 4 ? 5u << 20 : next_random(&random);
    assert_int_equal(s3_meta_set_parts(&rec, sizes, S3_PARTS_MAX), MKV_OK);
    assert_int_equal(s3_meta_part_count(&rec), S3_PARTS_MAX);
    for (unsigned i = 0; i < S3_PARTS_MAX; i++) {
        if (i % 97 == 0 || i == S3_PARTS_MAX - 1) {
            assert_true(s3_meta_part(&rec, i + 1, &first, &length));
            assert_int_equal(first, sum);
            assert_int_equal(length, sizes[i]);
        }
        sum += sizes[i];
    }
    assert_false(s3_meta_part(&rec, S3_PARTS_MAX + 1, &first, &length));
    assert_false(s3_meta_part(&rec, 0, &first, &length));
    mkv_record_clear(&rec);
}

/* A head takes what fits, and says that something was left out. */
static void heads(void **state)
{
    static char value[S3_HEAD_TEXT];
    struct s3_head h;

    (void)state;
    s3_head_init(&h);
    s3_head_number(&h, MKV_SLICE("N"), UINT64_MAX);
    assert_slice(h.h[0].value, MKV_SLICE("18446744073709551615"));
    s3_head_add(&h, MKV_SLICE("A"), MKV_SLICE("1"));
    s3_head_set(&h, MKV_SLICE("a"), MKV_SLICE("2"));
    assert_int_equal(h.n, 2);
    assert_slice(h.h[1].value, MKV_SLICE("2"));
    s3_head_etag(&h, MKV_SLICE("x"));
    assert_slice(h.h[2].value, MKV_SLICE("\"x\""));
    assert_false(h.full);
    s3_head_add(&h, MKV_SLICE("B"), mkv_slice(value, sizeof(value)));
    assert_true(h.full);
    assert_int_equal(h.n, 3);
    while (h.n < S3_HEAD_LINES)
        s3_head_add(&h, MKV_SLICE("C"), MKV_SLICE(""));
    s3_head_add(&h, MKV_SLICE("C"), MKV_SLICE(""));
    assert_int_equal(h.n, S3_HEAD_LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_kept),
        cmocka_unit_test(what_is_not_done_is_refused),
        cmocka_unit_test(user_metadata_ends_at_2_kb),
        cmocka_unit_test(what_no_header_holds),
        cmocka_unit_test(etags),
        cmocka_unit_test(checksums),
        cmocka_unit_test(parts),
        cmocka_unit_test(heads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
