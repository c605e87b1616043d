#include "api/s3_name.h"

#include "mkv/uri.h"

#define VERSION "?versionId="

/* ---- buckets ------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || is_digit(c);
}

/* Four groups of digits: a name that a client would take for an address. */
static bool looks_like_address(struct mkv_slice name)
{
    unsigned dots = 0;

    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '.')
            dots++;
        else if (!is_digit(name.data[i]))
            return false;
    }
    return dots == 3;
}

static bool ends_with(struct mkv_slice s, struct mkv_slice end)
{
    return s.len >= end.len && memcmp(s.data + s.len - end.len, end.data, end.len) == 0;
}

bool s3_bucket_name_valid(struct mkv_slice name)
{
    if (name.len < 3 || name.len > S3_BUCKET_MAX) return false;
    if (!is_alnum(name.data[0]) || !is_alnum(name.data[name.len - 1])) return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];

        if (!is_alnum(c) && c != '.' && c != '-') return false;
        if (c == '.' && !is_alnum(name.data[i + 1])) return false; /* the last one is alnum */
        if (c == '-' && name.data[i + 1] == '.') return false;
    }
    if (mkv_slice_begins(name, MKV_SLICE("xn--")) || mkv_slice_begins(name, MKV_SLICE("sthree-")) ||
        mkv_slice_begins(name, MKV_SLICE("amzn-s3-demo-")))
        return false;
    if (ends_with(name, MKV_SLICE("-s3alias")) || ends_with(name, MKV_SLICE("--ol-s3")) ||
        ends_with(name, MKV_SLICE(".mrap")) || ends_with(name, MKV_SLICE("--x-s3")))
        return false;
    return !looks_like_address(name);
}

/* ---- bucket and key -------------------------------------------------------------- */

static struct mkv_slice without_port(struct mkv_slice host)
{
    size_t n = host.len;

    while (n && is_digit(host.data[n - 1]))
        n--;
    return n && host.data[n - 1] == ':' ? mkv_slice(host.data, n - 1) : host;
}

/* The part of host before ".domain"; empty where there is none. */
static struct mkv_slice bucket_of_host(struct mkv_slice host, struct mkv_slice domain)
{
    size_t n;

    host = without_port(host);
    if (!domain.len || host.len < domain.len + 2) return mkv_slice(NULL, 0);
    n = host.len - domain.len;
    if (host.data[n - 1] != '.' || !mkv_slice_ieq(mkv_slice(host.data + n, domain.len), domain))
        return mkv_slice(NULL, 0);
    return mkv_slice(host.data, n - 1);
}

static enum s3_error check(const struct s3_name *name)
{
    if (name->bucket.len > S3_BUCKET_MAX || mkv_slice_eq(name->bucket, MKV_SLICE(".")) ||
        mkv_slice_eq(name->bucket, MKV_SLICE("..")))
        return S3_INVALID_BUCKET_NAME;
    return name->key.len > S3_KEY_MAX ? S3_KEY_TOO_LONG : S3_OK;
}

/* "bucket", "bucket/", "bucket/key" */
static void split_slash(struct mkv_slice s, struct s3_name *out)
{
    const char *slash = s.len ? memchr(s.data, '/', s.len) : NULL;

    out->bucket = slash ? mkv_slice(s.data, (size_t)(slash - s.data)) : s;
    out->key = slash ? mkv_slice(slash + 1, s.len - out->bucket.len - 1) : mkv_slice(NULL, 0);
}

enum s3_error s3_name_split(struct mkv_slice path, struct mkv_slice host, struct mkv_slice domain,
                            struct s3_name *out)
{
    struct mkv_slice bucket = bucket_of_host(host, domain);

    memset(out, 0, sizeof(*out));
    if (!path.len || path.data[0] != '/') return S3_INVALID_URI;
    path = mkv_slice(path.data + 1, path.len - 1);
    if (bucket.len) {
        *out = (struct s3_name){bucket, path, true};
    } else {
        split_slash(path, out);
        if (!out->bucket.len && path.len) return S3_INVALID_URI; /* "//key" */
    }
    return check(out);
}

/* ---- the source of a copy ------------------------------------------------------------ */

/* Where "?versionId=" begins, searched from the end: keys may hold '?', and
 * some clients send them as they are. */
static size_t find_version(struct mkv_slice value)
{
    static const size_t len = sizeof(VERSION) - 1;

    for (size_t at = value.len; at >= len; at--)
        if (memcmp(value.data + at - len, VERSION, len) == 0) return at - len;
    return value.len;
}

enum s3_error s3_copy_source(struct mkv_slice value, char buffer[S3_COPY_SOURCE_MAX],
                             struct s3_name *out)
{
    size_t end = find_version(value), len;
    bool has_version = end < value.len;
    struct mkv_slice version = mkv_slice(value.data + end, value.len - end), source;

    memset(out, 0, sizeof(*out));
    if (has_version) {
        version = mkv_slice(version.data + sizeof(VERSION) - 1, version.len - sizeof(VERSION) + 1);
        if (!version.len) return S3_INVALID_ARGUMENT;
        if (!mkv_slice_eq(version, MKV_SLICE("null"))) return S3_NO_SUCH_VERSION;
    }
    if (end > S3_COPY_SOURCE_MAX) return S3_KEY_TOO_LONG;
    if (!mkv_percent_decode(mkv_slice(value.data, end), false, buffer, &len))
        return S3_INVALID_ARGUMENT;
    source = mkv_slice(buffer, len);
    if (len && buffer[0] == '/') source = mkv_slice(buffer + 1, len - 1);
    split_slash(source, out);
    if (!out->bucket.len || !out->key.len) return S3_INVALID_ARGUMENT;
    return check(out);
}
