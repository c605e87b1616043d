/* A form's policy, which is signed here so that it is looked into; and the same
 * text as a file of access keys. */
#include "api/s3_keys.h"
#include "api/s3_post_policy.h"
#include "api/s3_text.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static bool one_secret(struct mkv_slice access, struct mkv_slice *secret, void *arg)
{
    (void)access;
    (void)arg;
    *secret = MKV_SLICE("secret-of-it");
    return true;
}

static void check_policy(const uint8_t *bytes, size_t len)
{
    char *base64 = malloc(S3_BASE64_MAX(len)), signature[S3_BASE64_MAX(MKV_SHA1_LEN)];
    uint8_t mac[MKV_SHA1_LEN];
    struct mkv_header fields[] = {
        {MKV_SLICE("key"),            MKV_SLICE("k")                              },
        {MKV_SLICE("bucket"),         MKV_SLICE("b")                              },
        {MKV_SLICE("AWSAccessKeyId"), MKV_SLICE("a")                              },
        {MKV_SLICE("policy"),         {NULL, 0}                                   },
        {MKV_SLICE("signature"),      {signature, S3_BASE64_MAX(MKV_SHA1_LEN) - 1}},
    };
    struct s3_post_form form = {fields, sizeof(fields) / sizeof(fields[0]), 1451390400};
    struct s3_signer signer = {one_secret, NULL, NULL};
    struct s3_post_limits limits;
    struct s3_signature s;
    enum s3_error err;

    CHECK(base64);
    fields[3].value = mkv_slice(base64, s3_base64(base64, bytes, len));
    mkv_hmac_sha1(MKV_SLICE("secret-of-it"), fields[3].value, mac);
    s3_base64(signature, mac, sizeof(mac));
    err = s3_post_check(&signer, &form, &s, &limits);
    CHECK(err != S3_SIGNATURE_DOES_NOT_MATCH);
    free(base64);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char why[S3_KEYS_ERROR_MAX];
    struct s3_keys *keys;

    check_policy(bytes, len);
    if (!s3_keys_parse(&keys, mkv_slice((const char *)bytes, len), why)) {
        CHECK(why[0] != '\0');
        return 0;
    }
    CHECK(s3_keys_count(keys) > 0);
    s3_keys_close(keys);
    return 0;
}
