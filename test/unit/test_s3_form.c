/* test/unit/test_s3_form.c - forms as browsers post them, whole, cut in two at
 * every place, and in single bytes. */
#include "api/s3_form.h"

#include "table.h"

#define TYPE "multipart/form-data; boundary=XyZ"
#define PART(name, value) "--XyZ\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_PART(value)                                                                           \
    "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\n"              \
    "Content-Type: text/plain\r\n\r\n" value "\r\n"
#define END "--XyZ--\r\n"

struct result {
    enum s3_error err;
    char file[4096];
    size_t len;
    char fields[4096]; /* "name=value;" */
    char filename[64], file_type[64];
};

static void put_fields(struct result *r, const struct s3_form *f)
{
    for (size_t i = 0; i < f->nfields; i++)
        snprintf(r->fields + strlen(r->fields), sizeof(r->fields) - strlen(r->fields), "%.*s=%.*s;",
                 (int)f->fields[i].name.len, f->fields[i].name.data, (int)f->fields[i].value.len,
                 f->fields[i].value.data);
    snprintf(r->filename, sizeof(r->filename), "%.*s", (int)f->filename.len, f->filename.data);
    snprintf(r->file_type, sizeof(r->file_type), "%.*s", (int)f->file_type.len, f->file_type.data);
}

/* cut: into two there, or (SIZE_MAX) into single bytes. */
static void decode(struct result *r, const char *type, const char *data, size_t len, size_t cut)
{
    struct s3_form f;
    bool told = false;

    memset(r, 0, sizeof(*r));
    r->err = s3_form_init(&f, mkv_slice_of(type));
    for (size_t at = 0; at < len && !r->err;) {
        size_t n = cut == SIZE_MAX ? 1 : at < cut && cut < len ? cut - at : len - at, used;
        struct mkv_slice piece;

        r->err = s3_form_next(&f, data + at, n, &used, &piece);
        assert_true(used <= n);
        assert_true(used || piece.len || r->err);
        at += used;
        if (f.has_file && !told) {
            assert_int_equal(piece.len, 0);
            put_fields(r, &f);
            told = true;
        }
        assert_true(!piece.len || told);
        assert_true(r->len + piece.len < sizeof(r->file));
        memcpy(r->file + r->len, piece.data ? piece.data : "", piece.len);
        r->len += piece.len;
    }
    if (!r->err) r->err = s3_form_end(&f);
    s3_form_clear(&f);
}

static const struct {
    const char *type, *body;
    enum s3_error err;
    const char *fields, *file;
} rows[] = {
    {TYPE, PART("key", "a") FILE_PART("hello") END, S3_OK, "key=a;", "hello"},
    {TYPE, FILE_PART("") END, S3_OK, "", ""},
    {TYPE, "preamble\r\n" PART("key", "") FILE_PART("x") END "epilogue", S3_OK, "key=;", "x"},
    /* what looks like a boundary, and is none */
    {TYPE, FILE_PART("\r\n--Xy\r\n--XyW\r\r\n\r\n-") END, S3_OK, "",
     "\r\n--Xy\r\n--XyW\r\r\n\r\n-"},
    {TYPE, PART("k", "\r\n--Xy\r") FILE_PART("x") END, S3_OK, "k=\r\n--Xy\r;", "x"},
    /* other parts behind the file are dropped */
    {TYPE, FILE_PART("x") PART("late", "1") END, S3_OK, "", "x"},
    {"multipart/form-data; charset=utf-8; boundary=\"XyZ\"", FILE_PART("x") END, S3_OK, "", "x"},
    {"Multipart/Form-Data;BOUNDARY=XyZ;x=y", FILE_PART("x") END, S3_OK, "", "x"},
    {TYPE, "--XyZ  \r\ncontent-disposition:form-data;name=file\r\n\r\nx\r\n" END, S3_OK, "", "x"},
    /* what is wrong */
    {"multipart/form-data", FILE_PART("x") END, S3_MALFORMED_POST_REQUEST, "", ""},
    {"multipart/form-data; boundary=", FILE_PART("x") END, S3_MALFORMED_POST_REQUEST, "", ""},
    {TYPE, PART("key", "a") END, S3_MALFORMED_POST_REQUEST, "", ""},
    {TYPE, "--XyZ\r\n\r\nx\r\n" END, S3_MALFORMED_POST_REQUEST, "", ""},
    {TYPE, "--XyZ\r\nContent-Disposition: form-data\r\n\r\nx\r\n" END, S3_MALFORMED_POST_REQUEST,
     "", ""},
    {TYPE, "--XyZ?\r\n", S3_MALFORMED_POST_REQUEST, "", ""},
    {TYPE, PART("key", "a") FILE_PART("hello"), S3_INCOMPLETE_BODY, "key=a;", "hello"},
    {TYPE, PART("key", "a"), S3_INCOMPLETE_BODY, "", ""},
    {TYPE, "", S3_INCOMPLETE_BODY, "", ""},
};

static void forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i].body);

        for (size_t cut = 0; cut <= len; cut++) {
            struct result r;

            decode(&r, rows[i].type, rows[i].body, len, cut == len ? SIZE_MAX : cut);
            if (r.err != rows[i].err) fail_msg("row %zu, cut %zu: %s", i, cut, s3_error_code(r.err));
            if (r.err && r.err != S3_INCOMPLETE_BODY) continue;
            assert_string_equal(r.fields, rows[i].fields);
            if (r.err) continue;
            assert_int_equal(r.len, strlen(rows[i].file));
            assert_memory_equal(r.file, rows[i].file, r.len);
        }
    }
}

static void file_headers(void **state)
{
    static const char body[] = FILE_PART("x") END;
    struct result r;

    (void)state;
    decode(&r, TYPE, body, sizeof(body) - 1, 0);
    assert_string_equal(r.filename, "a b.txt");
    assert_string_equal(r.file_type, "text/plain");
}

/* Fields end at 64 KB and at 64 of them, a part's head at 4 KB. */
static void limits(void **state)
{
    static char body[256 * 1024];
    struct result r;
    size_t n = 0;

    (void)state;
    for (int i = 0; i < S3_FORM_COUNT_MAX + 1; i++)
        n += (size_t)snprintf(body + n, sizeof(body) - n, "%s", PART("a", "b"));
    decode(&r, TYPE, body, n, 0);
    assert_int_equal(r.err, S3_MALFORMED_POST_REQUEST);

    n = (size_t)snprintf(body, sizeof(body), "--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n");
    memset(body + n, 'v', S3_FORM_FIELDS_MAX);
    decode(&r, TYPE, body, n + S3_FORM_FIELDS_MAX, 0);
    assert_int_equal(r.err, S3_MALFORMED_POST_REQUEST);
    decode(&r, TYPE, body, n + S3_FORM_FIELDS_MAX - 1, 0);
    assert_int_equal(r.err, S3_INCOMPLETE_BODY);

    n = (size_t)snprintf(body, sizeof(body), "--XyZ\r\nX: ");
    memset(body + n, 'v', S3_FORM_HEAD_MAX);
    decode(&r, TYPE, body, n + S3_FORM_HEAD_MAX, 0);
    assert_int_equal(r.err, S3_MALFORMED_POST_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(file_headers),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
