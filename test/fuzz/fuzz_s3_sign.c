/* A request's head: its signature, checksums, conditions, range and names, as
 * the S3 handlers look at them. */
#include "api/s3_checksum.h"
#include "api/s3_conditions.h"
#include "api/s3_name.h"
#include "api/s3_sign.h"
#include "mkv/uri.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static bool any_secret(struct mkv_slice access, struct mkv_slice *secret, void *arg)
{
    (void)arg;
    CHECK(access.len > 0 && access.len <= S3_ACCESS_MAX);
    *secret = MKV_SLICE("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    return true;
}

static void check_signature(struct s3_sign_request *r)
{
    struct s3_signer signer = {any_secret, NULL, NULL};
    struct s3_signature s;
    enum s3_error err = s3_sign_check(&signer, r, &s);

    CHECK(s.kind == s3_sign_kind(r));
    CHECK(s.access_len <= S3_ACCESS_MAX && s.access[s.access_len] == '\0');
    if (!err) CHECK(s.kind != S3_SIGN_NONE && s.access_len > 0);
}

static void check_conditions(const struct http1_head *head)
{
    static const struct s3_object object = {
        {"abc", 3},
        784111777, 1000
    };
    struct s3_conditions c;
    struct s3_range range;

    if (s3_conditions_find(head->headers, head->nheaders, true, &c))
        CHECK(s3_conditions_copy(&c, &object) != S3_NOT_MODIFIED);
    if (!s3_conditions_find(head->headers, head->nheaders, false, &c)) return;
    CHECK(s3_conditions_read(&c, &object) != S3_NO_SUCH_KEY);
    CHECK(s3_conditions_write(&c, &object) != S3_NOT_MODIFIED);
    if (s3_range(&c, &object, &range) == S3_RANGE_PART)
        CHECK(range.first <= range.last && range.last < object.size);
    if (s3_copy_range(c.range, object.size, &range) == S3_OK)
        CHECK(range.first <= range.last && range.last < object.size);
}

static void check_names(const struct s3_sign_request *r, const struct http1_head *head)
{
    char path[HTTP1_TARGET_MAX], source[S3_COPY_SOURCE_MAX];
    struct mkv_slice host = {NULL, 0}, value = {NULL, 0};
    struct s3_name name;
    size_t len;

    http1_find(head, MKV_SLICE("host"), &host);
    if (mkv_percent_decode(r->path, false, path, &len) &&
        !s3_name_split(mkv_slice(path, len), host, MKV_SLICE("s3.local"), &name))
        CHECK(name.bucket.len <= S3_BUCKET_MAX && name.key.len <= S3_KEY_MAX);
    if (http1_find(head, MKV_SLICE("x-amz-copy-source"), &value) &&
        !s3_copy_source(value, source, &name))
        CHECK(name.bucket.len > 0 && name.key.len > 0 && name.key.len <= S3_KEY_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct http1_head head;
    struct s3_checksum_value want;
    enum s3_checksum trailer, algorithm;
    const char *why, *query;
    size_t scanned = 0, used;
    struct s3_sign_request r = {.now = 1369353600};

    if (http1_parse_request(&head, (const char *)bytes, len, &scanned, &used) != HTTP1_DONE)
        return 0;
    r.method = head.method;
    r.path = head.target;
    query = memchr(head.target.data, '?', head.target.len);
    if (query) {
        r.path.len = (size_t)(query - head.target.data);
        r.query = mkv_slice(query + 1, head.target.len - r.path.len - 1);
    }
    r.headers = head.headers;
    r.nheaders = head.nheaders;
    check_signature(&r);
    check_conditions(&head);
    check_names(&r, &head);
    if (s3_checksum_of_headers(head.headers, head.nheaders, &want, &trailer, &algorithm, &why))
        CHECK(why);
    return 0;
}
