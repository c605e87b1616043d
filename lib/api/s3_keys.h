/* lib/api/s3_keys.h - the file of -keys: who may do what.
 *
 *     # a comment
 *     ACCESS SECRET                      everything; may create and delete buckets
 *     ACCESS SECRET photos logs:r        these buckets; ":r" reads only, ":rw" is the default
 *
 * An open table never changes: reading the file again makes a new one. */
#ifndef MKV_API_S3_KEYS_H
#define MKV_API_S3_KEYS_H

#include "api/s3_sign.h"
#include "mkv/err.h"
#include "mkv/slice.h"

#include <stdbool.h>

#define S3_KEYS_FILE_MAX  (1024 * 1024) /* bytes               */
#define S3_KEYS_MAX       10000         /* access keys         */
#define S3_GRANTS_MAX     1000          /* buckets of one key  */
#define S3_SECRET_MIN     8             /* bytes of a secret   */
#define S3_KEYS_ERROR_MAX 256

struct s3_grant {
    struct mkv_slice bucket;
    bool may_write;
};

/* Borrowed: until the table is closed. */
struct s3_key {
    struct mkv_slice access, secret;
    const struct s3_grant *grants;
    size_t ngrants; /* 0: every bucket */
};

struct s3_keys;

/* text is copied.  False, with a sentence in why (and the number of the line),
 * where it is not such a file or names no key; MKV's memory ends: the same. */
bool s3_keys_parse(struct s3_keys **out, struct mkv_slice text,
                   char why[S3_KEYS_ERROR_MAX]) MKV_MUSTUSE;

/* The same of a file, which must be a plain one and readable by its owner (and
 * group) only: nobody else. */
bool s3_keys_read(struct s3_keys **out, const char *path, char why[S3_KEYS_ERROR_MAX]) MKV_MUSTUSE;

/* Wipes the secrets; NULL is fine. */
void s3_keys_close(struct s3_keys *keys);

size_t s3_keys_count(const struct s3_keys *keys);
/* NULL where there is none. */
const struct s3_key *s3_keys_find(const struct s3_keys *keys, struct mkv_slice access);
/* For struct s3_signer: arg is a struct s3_keys. */
bool s3_keys_secret_of(struct mkv_slice access, struct mkv_slice *secret, void *arg);

enum s3_wish {
    S3_WISH_READ,   /* objects, lists, what a bucket says of itself  */
    S3_WISH_WRITE,  /* objects made, changed, deleted                */
    S3_WISH_BUCKETS /* the bucket itself made or deleted             */
};
bool s3_keys_allow(const struct s3_key *key, struct mkv_slice bucket, enum s3_wish wish);

#endif
