/* test/unit/test_s3_post_policy.c - forms.  The first policy and its signature
 * are AWS's published example (test/fixtures/s3/vectors); the others are signed
 * here, with keys that test_s3_sign.c checks. */
#include "api/s3_post_policy.h"

#include "api/s3_text.h"
#include "s3_helper.h"

#define FIELDS_MAX 24
#define NOW        1451390400 /* 2015-12-29T12:00:00Z */
#define SCOPE      "20151229/us-east-1/s3/aws4_request"

static const char policy[] =
    "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAg"
    "ICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAi"
    "dXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25f"
    "cmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxf"
    "dXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQog"
    "ICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRl"
    "LWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAi"
    "Il0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMt"
    "ZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEy"
    "NTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";

struct form {
    struct mkv_header fields[FIELDS_MAX];
    struct s3_post_form form;
    struct s3_signature signature;
    struct s3_post_limits limits;
};

static void set(struct form *f, const char *name, const char *value)
{
    size_t i = 0;

    while (i < f->form.nfields && !mkv_slice_ieq(f->fields[i].name, mkv_slice_of(name)))
        i++;
    assert_true(i < FIELDS_MAX);
    f->fields[i] = (struct mkv_header){mkv_slice_of(name), mkv_slice_of(value)};
    if (i == f->form.nfields) f->form.nfields++;
}

static void drop(struct form *f, const char *name)
{
    for (size_t i = 0; i < f->form.nfields; i++)
        if (mkv_slice_ieq(f->fields[i].name, mkv_slice_of(name)))
            f->fields[i] = f->fields[--f->form.nfields];
}

static enum s3_error check(struct form *f)
{
    struct s3_signer signer = {example_secret, NULL, NULL};

    f->form.fields = f->fields;
    return s3_post_check(&signer, &f->form, &f->signature, &f->limits);
}

static void example(struct form *f)
{
    memset(f, 0, sizeof(*f));
    f->form.now = NOW;
    set(f, "bucket", "sigv4examplebucket");
    set(f, "key", "user/user1/photo.jpg");
    set(f, "acl", "public-read");
    set(f, "success_action_redirect",
        "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html");
    set(f, "Content-Type", "image/jpeg");
    set(f, "x-amz-meta-uuid", "14365123651274");
    set(f, "x-amz-server-side-encryption", "AES256");
    set(f, "X-Amz-Credential", EXAMPLE_ACCESS "/" SCOPE);
    set(f, "X-Amz-Algorithm", "AWS4-HMAC-SHA256");
    set(f, "X-Amz-Date", "20151229T000000Z");
    set(f, "x-amz-meta-tag", "");
    set(f, "Policy", policy);
    set(f, "X-Amz-Signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e");
}

static void published(void **state)
{
    struct form f;

    (void)state;
    example(&f);
    assert_int_equal(check(&f), S3_OK);
    assert_int_equal(f.signature.kind, S3_SIGN_V4_QUERY);
    assert_string_equal(f.signature.access, EXAMPLE_ACCESS);
    assert_true(f.limits.min == 0 && f.limits.max == UINT64_MAX);
}

static void changed(void **state)
{
    static const struct {
        const char *name, *value; /* value NULL: the field is missing */
        enum s3_error err;
    } rows[] = {
        {"key", "user/user1/", S3_OK},
        {"key", "user/user2/photo.jpg", S3_ACCESS_DENIED},
        {"key", NULL, S3_ACCESS_DENIED},
        {"bucket", "other", S3_ACCESS_DENIED},
        {"acl", "private", S3_ACCESS_DENIED},
        {"acl", NULL, S3_ACCESS_DENIED},
        {"Content-Type", "text/html", S3_ACCESS_DENIED},
        {"content-type", "image/png", S3_OK},
        {"x-amz-meta-tag", "anything", S3_OK},
        {"x-amz-meta-tag", NULL, S3_OK},
        {"x-amz-meta-other", "1", S3_ACCESS_DENIED},
        {"Cache-Control", "none", S3_ACCESS_DENIED},
        {"x-ignore-this", "1", S3_OK},
        {"Policy", NULL, S3_ACCESS_DENIED},
        {"Policy", "e30=", S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699f",
         S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-signature", "8afd", S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-signature", NULL, S3_INVALID_ARGUMENT},
        {"x-amz-algorithm", "AWS4-HMAC-SHA1", S3_INVALID_ARGUMENT},
        {"x-amz-algorithm", NULL, S3_INVALID_ARGUMENT},
        {"x-amz-date", "20151230T000000Z", S3_INVALID_ARGUMENT},
        {"x-amz-date", "20151229T000001Z", S3_ACCESS_DENIED}, /* the policy names another one */
        {"x-amz-credential", "x/" SCOPE, S3_INVALID_ACCESS_KEY_ID},
        {"x-amz-credential", EXAMPLE_ACCESS "/20151229/us-east-2/s3/aws4_request", S3_SIGNATURE_DOES_NOT_MATCH},
        {"x-amz-credential", EXAMPLE_ACCESS, S3_INVALID_ARGUMENT},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct form f;
        enum s3_error err;

        example(&f);
        if (rows[i].value)
            set(&f, rows[i].name, rows[i].value);
        else
            drop(&f, rows[i].name);
        err = check(&f);
        if (err != rows[i].err)
            fail_msg("row %zu: %s (%s)", i, s3_error_code(err), f.signature.why ? f.signature.why : "");
    }
}

static void time_and_repeats(void **state)
{
    struct form f;

    (void)state;
    example(&f);
    f.form.now = 1451476800; /* 2015-12-30T12:00:00Z */
    assert_int_equal(check(&f), S3_OK);
    f.form.now++;
    assert_int_equal(check(&f), S3_ACCESS_DENIED);
    example(&f);
    f.fields[f.form.nfields++] = (struct mkv_header){MKV_SLICE("KEY"), MKV_SLICE("user/user1/other")};
    assert_int_equal(check(&f), S3_INVALID_ARGUMENT);
}

static void version_2(void **state)
{
    struct form f;

    (void)state;
    example(&f);
    drop(&f, "x-amz-signature");
    set(&f, "AWSAccessKeyId", EXAMPLE_ACCESS);
    set(&f, "signature", "QyigO3Da7gYxPW1IXllc6C7gI74=");
    assert_int_equal(check(&f), S3_OK);
    assert_int_equal(f.signature.kind, S3_SIGN_V2_QUERY);
    set(&f, "signature", "QyigO3Da7gYxPW1IXllc6C7gI75=");
    assert_int_equal(check(&f), S3_SIGNATURE_DOES_NOT_MATCH);
    set(&f, "AWSAccessKeyId", "x");
    assert_int_equal(check(&f), S3_INVALID_ACCESS_KEY_ID);
}

#define HEAD "{\"expiration\":\"2016-01-01T00:00:00Z\",\"conditions\":["

static void documents(void **state)
{
    static const struct {
        const char *text;
        enum s3_error err;
        uint64_t min, max;
    } rows[] = {
#define ANY 0, UINT64_MAX
        {HEAD "{\"key\":\"k\"}]}", S3_OK, ANY},
        {HEAD "[\"eq\",\"$key\",\"k\"]]}", S3_OK, ANY},
        {HEAD "[\"EQ\",\"$Key\",\"k\"]]}", S3_OK, ANY},
        {HEAD "[\"starts-with\",\"$key\",\"\"]]}", S3_OK, ANY},
        {HEAD "{\"key\":\"k\"},[\"content-length-range\",1,10]]}", S3_OK, 1, 10},
        {HEAD "{\"key\":\"k\"},[\"content-length-range\",\"0\",\"1048576\"]]}", S3_OK, 0, 1048576},
        {HEAD "{\"key\":\"k\"},[\"content-length-range\",1,10],[\"content-length-range\",5,20]]}", S3_OK, 5, 10},
        {HEAD "]}", S3_ACCESS_DENIED, ANY}, /* key is not spoken of */
        {HEAD "{\"key\":\"l\"}]}", S3_ACCESS_DENIED, ANY},
        {HEAD "{\"key\":1}]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {HEAD "[\"content-length-range\",2,1]]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {HEAD "[\"content-length-range\",-1,1]]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {HEAD "[\"content-length-range\",1]]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {HEAD "[\"matches\",\"$key\",\"k\"]]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {HEAD "[\"eq\",\"key\",\"k\"]]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {HEAD "[\"eq\",\"$key\",\"k\",1]]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {HEAD "1]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {HEAD, S3_INVALID_POLICY_DOCUMENT, ANY},
        {"[]", S3_INVALID_POLICY_DOCUMENT, ANY},
        {"{}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {"{\"expiration\":\"tomorrow\",\"conditions\":[]}", S3_INVALID_POLICY_DOCUMENT, ANY},
        {"{\"expiration\":\"2015-01-01T00:00:00Z\",\"conditions\":[{\"key\":\"k\"}]}", S3_ACCESS_DENIED, ANY},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char base64[1024], signature[S3_BASE64_MAX(MKV_SHA1_LEN)];
        uint8_t mac[MKV_SHA1_LEN];
        struct form f;
        enum s3_error err;

        s3_base64(base64, (const uint8_t *)rows[i].text, strlen(rows[i].text));
        mkv_hmac_sha1(MKV_SLICE(EXAMPLE_SECRET), mkv_slice_of(base64), mac);
        s3_base64(signature, mac, sizeof(mac));
        memset(&f, 0, sizeof(f));
        f.form.now = NOW;
        set(&f, "key", "k");
        set(&f, "policy", base64);
        set(&f, "AWSAccessKeyId", EXAMPLE_ACCESS);
        set(&f, "signature", signature);
        err = check(&f);
        if (err != rows[i].err)
            fail_msg("row %zu: %s (%s)", i, s3_error_code(err), f.signature.why ? f.signature.why : "");
        if (!err) assert_true(f.limits.min == rows[i].min && f.limits.max == rows[i].max);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published), cmocka_unit_test(changed),   cmocka_unit_test(time_and_repeats),
        cmocka_unit_test(version_2), cmocka_unit_test(documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
