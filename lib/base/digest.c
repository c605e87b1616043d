#include "mkv/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

/* Fetched once for the process: EVP_md5() would look the algorithm up again
 * at every init, which costs more than hashing a key.  Immutable afterwards. */
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *fetched_md5, *fetched_sha1, *fetched_sha256;

static void fetch(void)
{
    fetched_md5 = EVP_MD_fetch(NULL, "MD5", NULL);
    fetched_sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    fetched_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!fetched_md5 || !fetched_sha1 || !fetched_sha256) abort(); /* no placement without them */
}

/* A context per call costs 30 ns more than one kept, and keeps no state. */
static void hash_two(EVP_MD *const *md, struct mkv_slice a, struct mkv_slice b, uint8_t *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    pthread_once(&fetch_once, fetch);
    if (!ctx || !EVP_DigestInit_ex2(ctx, *md, NULL) || !EVP_DigestUpdate(ctx, a.data, a.len) ||
        !EVP_DigestUpdate(ctx, b.data, b.len) || !EVP_DigestFinal_ex(ctx, out, NULL))
        abort(); /* only without memory, or with a broken libcrypto */
    EVP_MD_CTX_free(ctx);
}

void mkv_md5(struct mkv_slice a, uint8_t out[MKV_MD5_LEN])
{
    hash_two(&fetched_md5, a, mkv_slice(NULL, 0), out);
}

void mkv_md5_two(struct mkv_slice a, struct mkv_slice b, uint8_t out[MKV_MD5_LEN])
{
    hash_two(&fetched_md5, a, b, out);
}

void mkv_sha256(struct mkv_slice a, uint8_t out[MKV_SHA256_LEN])
{
    hash_two(&fetched_sha256, a, mkv_slice(NULL, 0), out);
}

/* Both of the hashes here take blocks of that many bytes. */
#define HMAC_BLOCK 64

/* libcrypto's own HMAC looks its algorithm up at every call. */
static void hmac(EVP_MD *const *md, size_t md_len, struct mkv_slice key, struct mkv_slice a,
                 uint8_t *out)
{
    uint8_t inner[HMAC_BLOCK] = {0}, outer[HMAC_BLOCK];
    struct mkv_slice nothing = {NULL, 0};

    if (key.len > sizeof(inner))
        hash_two(md, key, nothing, inner);
    else if (key.len)
        memcpy(inner, key.data, key.len);
    for (size_t i = 0; i < sizeof(inner); i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    hash_two(md, mkv_slice((const char *)inner, sizeof(inner)), a, out);
    hash_two(md, mkv_slice((const char *)outer, sizeof(outer)),
             mkv_slice((const char *)out, md_len), out);
    OPENSSL_cleanse(inner, sizeof(inner));
    OPENSSL_cleanse(outer, sizeof(outer));
}

void mkv_hmac_sha256(struct mkv_slice key, struct mkv_slice a, uint8_t out[MKV_SHA256_LEN])
{
    hmac(&fetched_sha256, MKV_SHA256_LEN, key, a, out);
}

void mkv_hmac_sha1(struct mkv_slice key, struct mkv_slice a, uint8_t out[MKV_SHA1_LEN])
{
    hmac(&fetched_sha1, MKV_SHA1_LEN, key, a, out);
}

/* libcrypto's context under our name: the cast is the whole of it. */
static enum mkv_err new_digest(struct mkv_digest **out, EVP_MD *const *md)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    pthread_once(&fetch_once, fetch);
    if (!ctx || !EVP_DigestInit_ex2(ctx, *md, NULL)) {
        EVP_MD_CTX_free(ctx);
        return MKV_ENOMEM;
    }
    *out = (struct mkv_digest *)ctx;
    return MKV_OK;
}

enum mkv_err mkv_digest_new_md5(struct mkv_digest **out)
{
    return new_digest(out, &fetched_md5);
}

enum mkv_err mkv_digest_new_sha1(struct mkv_digest **out)
{
    return new_digest(out, &fetched_sha1);
}

enum mkv_err mkv_digest_new_sha256(struct mkv_digest **out)
{
    return new_digest(out, &fetched_sha256);
}

void mkv_digest_add(struct mkv_digest *d, const void *data, size_t len)
{
    if (!EVP_DigestUpdate((EVP_MD_CTX *)d, data, len)) abort();
}

void mkv_digest_final(struct mkv_digest *d, uint8_t *out)
{
    if (!EVP_DigestFinal_ex((EVP_MD_CTX *)d, out, NULL)) abort();
    mkv_digest_free(d);
}

void mkv_digest_free(struct mkv_digest *d)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)d);
}

void mkv_hex(char *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool mkv_unhex(uint8_t *out, size_t len, struct mkv_slice hex)
{
    if (hex.len != 2 * len) return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(hex.data[2 * i]), low = hex_value(hex.data[2 * i + 1]);

        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
