#include "api/s3_list_query.h"

#include "mkv/uri.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

/* ---- continuation tokens ------------------------------------------------------------ */

#define TOKEN_VERSION 1 /* the first byte; behind it, the position */

size_t s3_list_token(struct mkv_slice position, char out[S3_LIST_TOKEN_MAX])
{
    uint8_t bytes[1 + MKV_KEY_MAX] = {TOKEN_VERSION};
    size_t len;

    memcpy(bytes + 1, position.data, position.len);
    len = s3_base64(out, bytes, 1 + position.len);
    while (len && out[len - 1] == '=')
        len--;
    out[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if (out[i] == '+') out[i] = '-';
        if (out[i] == '/') out[i] = '_';
    }
    return len;
}

bool s3_list_untoken(struct mkv_slice token, char position[MKV_KEY_MAX], size_t *len)
{
    char text[S3_LIST_TOKEN_MAX];
    uint8_t bytes[1 + MKV_KEY_MAX];
    size_t padded = (token.len + 3) / 4 * 4, n;

    if (padded > sizeof(text)) return false;
    for (size_t i = 0; i < padded; i++) {
        char c = i < token.len ? token.data[i] : '=';

        if (i < token.len && (c == '+' || c == '/' || c == '=')) return false;
        text[i] = c == '-' ? '+' : c == '_' ? '/' : c;
    }
    if (!s3_unbase64(mkv_slice(text, padded), bytes, sizeof(bytes), &n)) return false;
    if (n < 2 || bytes[0] != TOKEN_VERSION) return false;
    *len = n - 1;
    memcpy(position, bytes + 1, *len);
    return true;
}

/* ---- parameters ---------------------------------------------------------------------- */

#define ALL (S3_LIST_V1 | S3_LIST_V2 | S3_LIST_VERSIONS)

/* Decoded; data NULL where there is none. */
struct given {
    struct mkv_slice prefix, delimiter, marker, version_marker, token, max_keys, encoding, owner,
        type;
};

static const struct {
    struct mkv_slice name;
    unsigned kinds;
    size_t where;
} parameters[] = {
    {{"prefix", 6},              ALL,              offsetof(struct given, prefix)        },
    {{"delimiter", 9},           ALL,              offsetof(struct given, delimiter)     },
    {{"max-keys", 8},            ALL,              offsetof(struct given, max_keys)      },
    {{"encoding-type", 13},      ALL,              offsetof(struct given, encoding)      },
    {{"marker", 6},              S3_LIST_V1,       offsetof(struct given, marker)        },
    {{"start-after", 11},        S3_LIST_V2,       offsetof(struct given, marker)        },
    {{"continuation-token", 18}, S3_LIST_V2,       offsetof(struct given, token)         },
    {{"fetch-owner", 11},        S3_LIST_V2,       offsetof(struct given, owner)         },
    {{"list-type", 9},           S3_LIST_V2,       offsetof(struct given, type)          },
    {{"key-marker", 10},         S3_LIST_VERSIONS, offsetof(struct given, marker)        },
    {{"version-id-marker", 17},  S3_LIST_VERSIONS, offsetof(struct given, version_marker)},
};

static struct mkv_slice *find_parameter(struct given *g, enum s3_list_kind kind,
                                        struct mkv_slice name)
{
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
        if ((parameters[i].kinds & kind) && mkv_slice_eq(parameters[i].name, name))
            return (struct mkv_slice *)((char *)g + parameters[i].where);
    return NULL;
}

/* Of several of one name the first counts.  text has room for the whole query. */
static bool read_parameters(struct given *g, enum s3_list_kind kind, struct mkv_slice query,
                            char *text)
{
    struct mkv_slice name, value;

    while (mkv_query_next(&query, &name, &value)) {
        struct mkv_slice *to = find_parameter(g, kind, name);
        size_t len;

        if (!to || to->data) continue;
        if (!mkv_percent_decode(value, true, text, &len)) return false;
        *to = mkv_slice(text, len);
        text += len;
    }
    return true;
}

/* More than a page has is fine, as long as it is a number that others could take. */
static bool read_max_keys(struct mkv_slice text, unsigned *out)
{
    unsigned long long n;

    *out = S3_LIST_PAGE_MAX;
    if (!text.len) return true;
    if (!mkv_slice_number(text, INT_MAX, &n)) return false;
    if (n < S3_LIST_PAGE_MAX) *out = (unsigned)n;
    return true;
}

/* What is wrong with them; NULL: nothing. */
static const char *take(struct s3_list_query *q, const struct given *g)
{
    size_t len;

    q->prefix = g->prefix;
    q->delimiter = g->delimiter;
    q->marker = q->from = g->marker;
    q->version_marker = g->version_marker;
    q->token = g->token;
    q->url = g->encoding.len > 0;
    q->fetch_owner = mkv_slice_ieq(g->owner, MKV_SLICE("true"));
    if (g->type.data && !mkv_slice_eq(g->type, MKV_SLICE("2"))) return "The only list-type is 2.";
    if (q->url && !mkv_slice_eq(g->encoding, MKV_SLICE("url")))
        return "The only encoding-type is url.";
    if (!read_max_keys(g->max_keys, &q->max_keys))
        return "max-keys must be a whole number from 0 to 2147483647.";
    if (g->version_marker.len && !g->marker.len) return "A version-id-marker needs a key-marker.";
    if (g->version_marker.len && !mkv_slice_eq(g->version_marker, MKV_SLICE("null")))
        return "The only version is null.";
    if (!g->token.data) return NULL;
    if (!s3_list_untoken(g->token, q->position, &len))
        return "The continuation-token is none that was given out here.";
    q->from = mkv_slice(q->position, len);
    return NULL;
}

enum s3_error s3_list_query_parse(struct s3_list_query *q, enum s3_list_kind kind,
                                  struct mkv_slice query, const char **why)
{
    struct given g = {
        .prefix = {NULL, 0}
    };

    memset(q, 0, sizeof(*q));
    q->kind = kind;
    *why = NULL;
    q->text = malloc(query.len + 1);
    if (!q->text) return S3_INTERNAL_ERROR;
    *why = read_parameters(&g, kind, query, q->text) ? take(q, &g)
                                                     : "A parameter is badly percent-encoded.";
    return *why ? S3_INVALID_ARGUMENT : S3_OK;
}

void s3_list_query_clear(struct s3_list_query *q)
{
    free(q->text);
    memset(q, 0, sizeof(*q));
}

bool s3_list_common_prefix(const struct s3_list_query *q, struct mkv_slice name,
                           struct mkv_slice *common)
{
    const char *at;

    if (!q->delimiter.len) return false;
    at = memmem(name.data + q->prefix.len, name.len - q->prefix.len, q->delimiter.data,
                q->delimiter.len);
    if (!at) return false;
    *common = mkv_slice(name.data, (size_t)(at - name.data) + q->delimiter.len);
    return true;
}
