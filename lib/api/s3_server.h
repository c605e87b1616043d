/* lib/api/s3_server.h - what the S3 API keeps for all requests.  Inside it only. */
#ifndef MKV_API_S3_SERVER_H
#define MKV_API_S3_SERVER_H

#include "api/s3.h"
#include "api/s3_call.h"
#include "index/token.h"

#include <sys/queue.h>

/* A bucket whose DeleteBucket is under way: nothing may be written into it. */
struct s3_dying_bucket {
    LIST_ENTRY(s3_dying_bucket) all;
    char name[S3_BUCKET_MAX];
    size_t name_len;
};

/* An upload that is being completed, aborted or let expire: by one at a time. */
struct s3_ending {
    LIST_ENTRY(s3_ending) all;
    uint8_t id[MKV_UPLOAD_ID_LEN];
    void (*drop)(void *arg); /* the server stops: end it; NULL: the index will */
    void *arg;
};

struct s3_expiry;

struct mkv_s3 {
    struct mkv_loop *loop;        /* borrowed, as the next two */
    struct mkv_store *store;
    const struct mkv_config *cfg;
    struct s3_keys *keys;         /* owned; NULL without -keys */
    struct s3_key_cache cache;
    struct mkv_token token;       /* of the jobs; empty without -keys */
    LIST_HEAD(, s3_dying_bucket) dying;
    LIST_HEAD(, s3_ending) endings;
    struct s3_expiry *expiry;     /* owned */
    uint64_t serial;              /* the last one given to a part's file */
    uint64_t id_base;             /* so that the ids of two runs differ */
};

bool s3_is_dying(const struct mkv_s3 *s3, struct mkv_slice bucket);

#endif
