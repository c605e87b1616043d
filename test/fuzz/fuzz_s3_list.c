/* The query of a listing; the first byte chooses which.  What was read lies within
 * its limits, and its position comes back from a token of its own. */
#include "api/s3_list_query.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static void check_token(struct mkv_slice position)
{
    char token[S3_LIST_TOKEN_MAX], back[MKV_KEY_MAX];
    size_t len = s3_list_token(position, token), back_len;

    CHECK(s3_list_untoken(mkv_slice(token, len), back, &back_len));
    CHECK(mkv_slice_eq(mkv_slice(back, back_len), position));
}

/* Of a name that begins with the prefix, as every name that is listed. */
static void check_prefix(const struct s3_list_query *q)
{
    char name[2 * MKV_KEY_MAX];
    struct mkv_slice common;
    size_t behind = q->from.len < MKV_KEY_MAX ? q->from.len : MKV_KEY_MAX;

    if (q->prefix.len > MKV_KEY_MAX) return;
    if (q->prefix.len) memcpy(name, q->prefix.data, q->prefix.len);
    if (behind) memcpy(name + q->prefix.len, q->from.data, behind);
    if (!s3_list_common_prefix(q, mkv_slice(name, q->prefix.len + behind), &common)) return;
    CHECK(common.data == name && common.len >= q->prefix.len + q->delimiter.len);
    CHECK(common.len <= q->prefix.len + behind);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const enum s3_list_kind kinds[] = {S3_LIST_V1, S3_LIST_V2, S3_LIST_VERSIONS};
    struct s3_list_query q;
    const char *why;
    enum s3_error err;

    if (len == 0) return 0;
    err = s3_list_query_parse(&q, kinds[bytes[0] % 3], mkv_slice((const char *)bytes + 1, len - 1),
                              &why);
    CHECK(err == S3_OK || (err == S3_INVALID_ARGUMENT && why));
    if (!err) {
        CHECK(q.max_keys <= S3_LIST_PAGE_MAX);
        if (q.from.len && q.from.len <= MKV_KEY_MAX) check_token(q.from);
        check_prefix(&q);
    }
    s3_list_query_clear(&q);
    return 0;
}
