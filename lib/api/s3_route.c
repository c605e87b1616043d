/* From a request to a call: is it S3, who signed it, what may he do, and which
 * handler takes it. */
#include "api/s3.h"

#include "api/s3_bucket.h"
#include "api/s3_handlers.h"
#include "api/s3_server.h"
#include "mkv/log.h"
#include "mkv/uri.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the table ----------------------------------------------------------------- */

enum level { SERVICE, BUCKET, OBJECT };

enum {
    NEEDS_BUCKET = 1, /* it must be there: else NoSuchBucket       */
    FROM_SOURCE = 2   /* the request names an x-amz-copy-source    */
};

/* First match wins.  operation: the sub-resource of the query, "" for none. */
static const struct route {
    enum mkv_method method;
    enum level level;
    const char *operation;
    unsigned flags;
    enum s3_wish wish;
    s3_handler *handler;
} routes[] = {
    {MKV_GET,    SERVICE, "",            0,            S3_WISH_READ,    s3_list_buckets       },

    {MKV_PUT,    BUCKET,  "",            0,            S3_WISH_BUCKETS, s3_create_bucket      },
    {MKV_DELETE, BUCKET,  "",            0,            S3_WISH_BUCKETS, s3_delete_bucket      },
    {MKV_HEAD,   BUCKET,  "",            NEEDS_BUCKET, S3_WISH_READ,    s3_head_bucket        },
    {MKV_GET,    BUCKET,  "",            NEEDS_BUCKET, S3_WISH_READ,    s3_list_v1            },
    {MKV_GET,    BUCKET,  "list-type",   NEEDS_BUCKET, S3_WISH_READ,    s3_list_v2            },
    {MKV_GET,    BUCKET,  "versions",    NEEDS_BUCKET, S3_WISH_READ,    s3_list_versions      },
    {MKV_GET,    BUCKET,  "uploads",     NEEDS_BUCKET, S3_WISH_READ,    s3_list_uploads       },
    {MKV_POST,   BUCKET,  "delete",      NEEDS_BUCKET, S3_WISH_WRITE,   s3_delete_objects     },
    {MKV_POST,   BUCKET,  "",            0,            S3_WISH_WRITE,   s3_post_object        },
    {MKV_GET,    BUCKET,  "location",    NEEDS_BUCKET, S3_WISH_READ,    s3_get_location       },
    {MKV_GET,    BUCKET,  "versioning",  NEEDS_BUCKET, S3_WISH_READ,    s3_get_versioning     },
    {MKV_GET,    BUCKET,  "tagging",     NEEDS_BUCKET, S3_WISH_READ,    s3_get_tagging        },
    {MKV_GET,    BUCKET,  "acl",         NEEDS_BUCKET, S3_WISH_READ,    s3_get_acl            },
    {MKV_GET,    BUCKET,  "policy",      NEEDS_BUCKET, S3_WISH_READ,    s3_no_policy          },
    {MKV_GET,    BUCKET,  "cors",        NEEDS_BUCKET, S3_WISH_READ,    s3_no_cors            },
    {MKV_GET,    BUCKET,  "lifecycle",   NEEDS_BUCKET, S3_WISH_READ,    s3_no_lifecycle       },
    {MKV_GET,    BUCKET,  "encryption",  NEEDS_BUCKET, S3_WISH_READ,    s3_no_encryption      },
    {MKV_GET,    BUCKET,  "object-lock", NEEDS_BUCKET, S3_WISH_READ,    s3_no_object_lock     },
    {MKV_GET,    BUCKET,  "website",     NEEDS_BUCKET, S3_WISH_READ,    s3_no_website         },

    {MKV_GET,    OBJECT,  "",            NEEDS_BUCKET, S3_WISH_READ,    s3_get_object         },
    {MKV_HEAD,   OBJECT,  "",            NEEDS_BUCKET, S3_WISH_READ,    s3_get_object         },
    {MKV_PUT,    OBJECT,  "",            FROM_SOURCE,  S3_WISH_WRITE,   s3_copy_object        },
    {MKV_PUT,    OBJECT,  "",            0,            S3_WISH_WRITE,   s3_put_object         },
    {MKV_DELETE, OBJECT,  "",            NEEDS_BUCKET, S3_WISH_WRITE,   s3_delete_object      },
    {MKV_POST,   OBJECT,  "uploads",     0,            S3_WISH_WRITE,   s3_create_upload      },
    {MKV_PUT,    OBJECT,  "uploadId",    FROM_SOURCE,  S3_WISH_WRITE,   s3_upload_part_copy   },
    {MKV_PUT,    OBJECT,  "uploadId",    0,            S3_WISH_WRITE,   s3_upload_part        },
    {MKV_POST,   OBJECT,  "uploadId",    NEEDS_BUCKET, S3_WISH_WRITE,   s3_complete_upload    },
    {MKV_DELETE, OBJECT,  "uploadId",    NEEDS_BUCKET, S3_WISH_WRITE,   s3_abort_upload       },
    {MKV_GET,    OBJECT,  "uploadId",    NEEDS_BUCKET, S3_WISH_READ,    s3_list_parts         },
    {MKV_GET,    OBJECT,  "attributes",  NEEDS_BUCKET, S3_WISH_READ,    s3_get_attributes     },
    {MKV_GET,    OBJECT,  "tagging",     NEEDS_BUCKET, S3_WISH_READ,    s3_get_tagging        },
    {MKV_GET,    OBJECT,  "acl",         NEEDS_BUCKET, S3_WISH_READ,    s3_get_acl            },
};

/* Every sub-resource that S3 knows: one that no row above takes is answered with
 * NotImplemented, not with the object. */
static const char *const operations[] = {
    "accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption",
    "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "list-type", "location",
    "logging", "metadataConfiguration", "metadataTable", "metrics", "notification",
    "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock",
    "rename", "renameObject", "replication", "requestPayment", "restore", "retention", "select",
    "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website"};

/* The sub-resource that the query names; "" where it names none. */
static const char *find_operation(const struct mkv_request *r)
{
    struct mkv_slice rest = r->has_query ? r->query : mkv_slice(NULL, 0), name, value;

    while (mkv_query_next(&rest, &name, &value))
        for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
            if (mkv_slice_eq(name, mkv_slice_of(operations[i]))) return operations[i];
    return "";
}

static const struct route *find_route(const struct s3_call *c, const char *operation)
{
    enum level level = c->key.len ? OBJECT : c->bucket.len ? BUCKET : SERVICE;
    bool from_source = s3_header(c, "x-amz-copy-source").data != NULL;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *row = &routes[i];

        if (row->method == c->r->method && row->level == level &&
            strcmp(row->operation, operation) == 0 &&
            (from_source || !(row->flags & FROM_SOURCE)))
            return row;
    }
    return NULL;
}

/* ---- is it S3 ------------------------------------------------------------------- */

static struct s3_sign_request as_signed(const struct mkv_request *r, const struct mkv_api *api,
                                        struct mkv_slice host_bucket)
{
    return (struct s3_sign_request){.method = r->method_name,
                                    .path = r->path,
                                    .query = r->has_query ? r->query : mkv_slice(NULL, 0),
                                    .headers = r->headers,
                                    .nheaders = r->nheaders,
                                    .host_bucket = host_bucket,
                                    .now = mkv_loop_wall(api->loop)};
}

static bool has_amz_header(const struct mkv_request *r)
{
    static const struct mkv_slice prefixes[] = {
        {"x-amz-",   6},
        {"amz-sdk-", 8}
    };

    for (size_t i = 0; i < r->nheaders; i++)
        for (size_t p = 0; p < 2; p++) {
            struct mkv_slice name = r->headers[i].name;

            if (name.len > prefixes[p].len &&
                mkv_slice_ieq(mkv_slice(name.data, prefixes[p].len), prefixes[p]))
                return true;
        }
    return false;
}

static bool is_form(const struct mkv_request *r)
{
    static const struct mkv_slice form = {"multipart/form-data", 19};
    struct mkv_slice type;

    return r->method == MKV_POST && mkv_request_header(r, MKV_SLICE("content-type"), &type) &&
           type.len >= form.len && mkv_slice_ieq(mkv_slice(type.data, form.len), form);
}

/* Methods and operations that only the native API has. */
static bool is_native(const struct mkv_request *r)
{
    static const char *const natives[] = {"list", "unlinked", "writing"};
    struct mkv_slice rest = r->query, name, value;

    switch (r->method) {
    case MKV_UNLINK:
    case MKV_RELINK:
    case MKV_REPLACE:
    case MKV_REBALANCE: return true;
    default: break;
    }
    if (r->method != MKV_GET || !r->has_query || !mkv_query_next(&rest, &name, &value))
        return false;
    for (size_t i = 0; i < sizeof(natives) / sizeof(natives[0]); i++)
        if (mkv_slice_eq(name, mkv_slice_of(natives[i]))) return true;
    return false;
}

bool s3_checks_signatures(const struct mkv_api *api)
{
    return api->s3->keys != NULL;
}

bool s3_is_s3(const struct mkv_request *r, const struct mkv_api *api)
{
    struct s3_sign_request signed_as;

    if (api->only_s3) return true;
    if (is_native(r)) return false;
    if (has_amz_header(r) || is_form(r)) return true;
    signed_as = as_signed(r, api, mkv_slice(NULL, 0));
    return s3_sign_kind(&signed_as) != S3_SIGN_NONE || find_operation(r)[0];
}

/* ---- who asks -------------------------------------------------------------------- */

/* Fills signature: checked where there are keys, else only what it says of the
 * body. */
static enum s3_error check_signature(const struct mkv_request *r, const struct mkv_api *api,
                                     struct mkv_slice host_bucket, struct s3_signature *out)
{
    struct s3_sign_request signed_as = as_signed(r, api, host_bucket);
    struct s3_signer signer = {s3_keys_secret_of, api->s3->keys, &api->s3->cache};
    enum s3_error err;

    if (api->s3->keys) return s3_sign_check(&signer, &signed_as, out);
    memset(out, 0, sizeof(*out));
    err = s3_sign_payload(&signed_as, &out->payload, out->sha256);
    if (err) out->why = "The value of x-amz-content-sha256 is not valid.";
    return err;
}

/* An object's path is its native key; one whose bucket stands in Host gets it in
 * front.  S3_OK, or as s3_name_split. */
static enum s3_error read_name(struct s3_call *c, struct s3_name *name)
{
    struct mkv_slice host = s3_header(c, "host");
    const char *domain = c->api->cfg->s3_domain;
    size_t len;
    enum s3_error err =
        s3_name_split(c->r->key, host, mkv_slice_of(domain ? domain : ""), name);

    if (err) return err;
    if (!name->bucket.len) return S3_OK;
    if (!s3_object_key(name->bucket, name->key, c->text, &len)) return S3_KEY_TOO_LONG;
    c->bucket = mkv_slice(c->text + 1, name->bucket.len);
    c->key = mkv_slice(c->text + 2 + name->bucket.len, name->key.len);
    c->object = mkv_slice(c->text, len);
    return S3_OK;
}

/* versionId=null is the one version that an object has. */
static enum s3_error check_version(const struct s3_call *c)
{
    struct mkv_slice version;

    if (!s3_param(c, "versionId", &version) || mkv_slice_eq(version, MKV_SLICE("null")))
        return S3_OK;
    return S3_NO_SUCH_VERSION;
}

/* ---- a call ----------------------------------------------------------------------- */

static void log_refused(const struct s3_call *c, enum s3_error err)
{
    mkv_log_about(MKV_LOG_INFO, c->r->id, "s3: %s", s3_error_code(err));
}

static void refuse(struct s3_call *c, enum s3_error err, const char *why)
{
    log_refused(c, err);
    s3_reply_error(c, err, why);
}

static void take_route(struct s3_call *c)
{
    const struct route *row = find_route(c, find_operation(c->r));
    enum s3_error err;

    if (!row) {
        bool plain = !find_operation(c->r)[0];

        if (plain)
            s3_method_not_allowed(c);
        else
            s3_not_implemented(c);
        return;
    }
    /* A form says in itself who sent it. */
    if (row->handler != s3_post_object && c->bucket.len && !s3_may(c, c->bucket, row->wish)) {
        refuse(c, S3_ACCESS_DENIED, NULL);
        return;
    }
    err = check_version(c);
    if (!err && (row->flags & NEEDS_BUCKET)) err = s3_bucket_check(c->api, c->bucket);
    if (err)
        refuse(c, err, NULL);
    else
        row->handler(c);
}

static struct s3_call *new_call(struct mkv_request *r, const struct mkv_api *api)
{
    struct s3_call *c = malloc(sizeof(*c));

    if (!c) return NULL;
    memset(c, 0, offsetof(struct s3_call, text)); /* the text is filled in where it is used */
    memset(&c->is_head, 0, sizeof(*c) - offsetof(struct s3_call, is_head));
    c->r = r;
    c->api = api;
    c->is_head = r->method == MKV_HEAD;
    snprintf(c->id, sizeof(c->id), "%016llX", (unsigned long long)(api->s3->id_base + r->id));
    r->state = c;
    return c;
}

void s3_handle(struct mkv_request *r, const struct mkv_api *api)
{
    struct s3_call *c = new_call(r, api);
    struct s3_name name;
    enum s3_error err;

    if (!c) {
        r->transport->reply(r, 503, NULL, 0, mkv_slice(NULL, 0));
        return;
    }
    err = read_name(c, &name);
    if (err) {
        refuse(c, err, NULL);
        return;
    }
    /* A form carries its signature inside. */
    if (is_form(r) && !c->key.len && s3_header(c, "authorization").data == NULL) {
        s3_post_object(c);
        return;
    }
    err = check_signature(r, api, name.of_host ? name.bucket : mkv_slice(NULL, 0), &c->signature);
    if (err) {
        refuse(c, err, c->signature.why);
        return;
    }
    if (api->s3->keys) c->checked = &c->signature;
    take_route(c);
}

/* ---- native requests under -keys ---------------------------------------------------- */

/* The bucket that a native key, or a prefix of keys, lies in; empty: in none. */
static struct mkv_slice bucket_of(struct mkv_slice key)
{
    const char *slash;

    if (!key.len || key.data[0] != '/') return mkv_slice(NULL, 0);
    key = mkv_slice(key.data + 1, key.len - 1);
    slash = key.len ? memchr(key.data, '/', key.len) : NULL;
    return slash ? mkv_slice(key.data, (size_t)(slash - key.data)) : mkv_slice(NULL, 0);
}

enum s3_error s3_native_bucket(const struct mkv_api *api, struct mkv_slice key)
{
    struct mkv_slice bucket = bucket_of(key);

    if (!api->s3->keys) return S3_OK;
    return s3_bucket_name_valid(bucket) ? s3_bucket_may_write(api, bucket) : S3_OK;
}

static enum s3_wish native_wish(const struct mkv_request *r)
{
    return r->method == MKV_GET || r->method == MKV_HEAD ? S3_WISH_READ : S3_WISH_WRITE;
}

/* A job of the owner of the index, which moves keys through us. */
static bool is_job(const struct mkv_request *r, const struct mkv_api *api)
{
    struct mkv_slice value;

    return r->method == MKV_REBALANCE &&
           mkv_request_header(r, MKV_SLICE("authorization"), &value) &&
           mkv_token_matches(&api->s3->token, value);
}

/* Version 2 leaves "?list" unsigned: whoever holds a URL for one object could put
 * it there. */
static enum s3_error check_covers_native(struct s3_signature *signature)
{
    if (signature->kind == S3_SIGN_V4_HEADER || signature->kind == S3_SIGN_V4_QUERY) return S3_OK;
    signature->why = "Native requests take signatures of version 4 only.";
    return S3_ACCESS_DENIED;
}

bool s3_allows_native(struct mkv_request *r, const struct mkv_api *api,
                      struct s3_signature *signature)
{
    const struct s3_key *key;
    enum s3_error err;

    if (!api->s3->keys || is_job(r, api)) return true;
    err = check_signature(r, api, mkv_slice(NULL, 0), signature);
    if (!err) err = check_covers_native(signature);
    if (!err) {
        key = s3_keys_find(api->s3->keys, mkv_slice(signature->access, signature->access_len));
        if (!key || !s3_keys_allow(key, bucket_of(r->key), native_wish(r))) err = S3_ACCESS_DENIED;
    }
    if (!err && (r->method == MKV_REPLACE || r->method == MKV_RELINK))
        err = s3_native_bucket(api, r->key);
    if (err) {
        const struct mkv_header text = {MKV_SLICE("Content-Type"), MKV_SLICE("text/plain")};
        const char *why = signature->why ? signature->why : s3_error_message(err);
        char line[256];
        int n = snprintf(line, sizeof(line), "%s: %s\n", s3_error_code(err), why);

        r->transport->reply(r, s3_error_http(err), &text, 1, mkv_slice(line, (size_t)n));
    }
    return !err;
}
