/* lib/api/s3_list_query.h - what a listing of objects asks for, and where its next
 * page begins.  Pure. */
#ifndef MKV_API_S3_LIST_QUERY_H
#define MKV_API_S3_LIST_QUERY_H

#include "api/s3_error.h"
#include "api/s3_text.h"
#include "mkv/err.h"
#include "mkv/limits.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>

enum s3_list_kind {
    S3_LIST_V1 = 1,
    S3_LIST_V2 = 2,
    S3_LIST_VERSIONS = 4 /* bits, so that a parameter can name several */
};

#define S3_LIST_PAGE_MAX 1000 /* keys and common prefixes */

struct s3_list_query {
    enum s3_list_kind kind;
    struct mkv_slice prefix, delimiter; /* empty: none */
    struct mkv_slice marker;            /* marker, start-after, key-marker; empty: none */
    struct mkv_slice version_marker;
    struct mkv_slice token; /* as it was sent; data NULL: none */
    struct mkv_slice from;  /* the page begins behind this: the marker, or
                                           what the token stands for */
    unsigned max_keys;      /* 0 to S3_LIST_PAGE_MAX */
    bool url;               /* keys are to be percent-encoded */
    bool fetch_owner;
    char position[MKV_KEY_MAX]; /* of the token */
    char *text;                 /* owned: what the slices point into */
};

/* query: behind the '?', still encoded; empty is fine.  S3_OK, S3_INVALID_ARGUMENT,
 * S3_INTERNAL_ERROR (memory); *why: static text or NULL.  To be cleared in any case. */
enum s3_error s3_list_query_parse(struct s3_list_query *q, enum s3_list_kind kind,
                                  struct mkv_slice query, const char **why) MKV_MUSTUSE;
void s3_list_query_clear(struct s3_list_query *q); /* zeroed is fine, too */

/* The prefix that name shares with others: up to the first delimiter behind the
 * query's prefix.  False where name stands for itself.  name begins with the prefix. */
bool s3_list_common_prefix(const struct s3_list_query *q, struct mkv_slice name,
                           struct mkv_slice *common);

/* A position as a continuation token: letters, digits, '-' and '_' alone, for
 * clients that put it into their next query as it is. */
#define S3_LIST_TOKEN_MAX S3_BASE64_MAX(1 + MKV_KEY_MAX)
size_t s3_list_token(struct mkv_slice position, char out[S3_LIST_TOKEN_MAX]);
/* False where it is none of ours. */
bool s3_list_untoken(struct mkv_slice token, char position[MKV_KEY_MAX], size_t *len) MKV_MUSTUSE;

#endif
