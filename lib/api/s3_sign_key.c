/* lib/api/s3_sign_key.c - scopes, signing keys and where they are kept. */
#include "api/s3_sign_parts.h"

#include <openssl/crypto.h>

#define SCOPE_END "/s3/aws4_request"

/* The day and the region of a scope. */
static const char *split_scope(struct mkv_slice scope, struct mkv_slice *day,
                               struct mkv_slice *region)
{
    static const size_t end = sizeof(SCOPE_END) - 1;
    size_t fixed = 8 + 1 + end;

    if (scope.len <= fixed || memcmp(scope.data + scope.len - end, SCOPE_END, end) != 0)
        return "The credential must end with /DAY/REGION/s3/aws4_request.";
    *day = mkv_slice(scope.data, 8);
    *region = mkv_slice(scope.data + 9, scope.len - fixed);
    for (size_t i = 0; i < day->len; i++)
        if (day->data[i] < '0' || day->data[i] > '9')
            return "The day of the credential is not eight digits.";
    if (scope.data[8] != '/') return "The day of the credential is not eight digits.";
    if (region->len > S3_REGION_MAX) return "The region of the credential is too long.";
    if (memchr(region->data, '/', region->len))
        return "The credential must end with /DAY/REGION/s3/aws4_request.";
    return NULL;
}

const char *s3_credential(struct mkv_slice credential, struct mkv_slice *access,
                          struct mkv_slice *scope)
{
    struct mkv_slice day, region;
    unsigned slashes = 0;
    size_t at = credential.len;

    /* From the end: an access key may hold slashes. */
    while (at > 0 && slashes < 4)
        slashes += credential.data[--at] == '/';
    if (slashes < 4) return "The credential must end with /DAY/REGION/s3/aws4_request.";
    *access = mkv_slice(credential.data, at);
    *scope = mkv_slice(credential.data + at + 1, credential.len - at - 1);
    if (access->len == 0 || access->len > S3_ACCESS_MAX)
        return "The access key of the credential is empty or too long.";
    return split_scope(*scope, &day, &region);
}

bool s3_signing_key(struct mkv_slice secret, struct mkv_slice scope, uint8_t key[MKV_SHA256_LEN])
{
    struct mkv_slice day, region, previous = mkv_slice((const char *)key, MKV_SHA256_LEN);
    char first[4 + S3_SECRET_MAX] = "AWS4";

    if (secret.len > S3_SECRET_MAX || split_scope(scope, &day, &region)) return false;
    memcpy(first + 4, secret.data, secret.len);
    mkv_hmac_sha256(mkv_slice(first, 4 + secret.len), day, key);
    mkv_hmac_sha256(previous, region, key);
    mkv_hmac_sha256(previous, MKV_SLICE("s3"), key);
    mkv_hmac_sha256(previous, MKV_SLICE("aws4_request"), key);
    OPENSSL_cleanse(first, sizeof(first));
    return true;
}

bool s3_key_cache_find(const struct s3_key_cache *cache, struct mkv_slice secret,
                       struct mkv_slice scope, uint8_t key[MKV_SHA256_LEN])
{
    for (size_t i = 0; i < cache->used; i++) {
        const struct s3_cached_key *k = &cache->keys[i];

        if (!mkv_slice_eq(mkv_slice_of(k->scope), scope) || k->secret_len != secret.len ||
            CRYPTO_memcmp(k->secret, secret.data, secret.len) != 0)
            continue;
        memcpy(key, k->key, MKV_SHA256_LEN);
        return true;
    }
    return false;
}

void s3_key_cache_add(struct s3_key_cache *cache, struct mkv_slice secret, struct mkv_slice scope,
                      const uint8_t key[MKV_SHA256_LEN])
{
    struct s3_cached_key *k = &cache->keys[cache->next];

    if (secret.len > sizeof(k->secret) || scope.len >= sizeof(k->scope)) return;
    memcpy(k->secret, secret.data, secret.len);
    k->secret_len = secret.len;
    memcpy(k->scope, scope.data, scope.len);
    k->scope[scope.len] = '\0';
    memcpy(k->key, key, MKV_SHA256_LEN);
    cache->next = (cache->next + 1) % S3_KEY_CACHE_SIZE;
    if (cache->used < S3_KEY_CACHE_SIZE) cache->used++;
}

void s3_key_cache_clear(struct s3_key_cache *cache)
{
    OPENSSL_cleanse(cache, sizeof(*cache));
}
