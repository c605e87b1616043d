/* What clients ask before they work, and what a bucket here has none of. */
#include "api/s3_handlers.h"
#include "api/s3_server.h"

#define ANSWER_MAX 4096

void s3_get_location(struct s3_call *c)
{
    struct s3_xml x;

    s3_xml_init(&x, ANSWER_MAX);
    s3_xml_raw(&x, MKV_SLICE("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                             "<LocationConstraint xmlns=\"" S3_XML_NAMESPACE "\">"));
    s3_xml_raw(&x, mkv_slice_of(c->api->cfg->s3_region));
    s3_xml_close(&x, "LocationConstraint");
    s3_reply_xml(c, 200, NULL, &x);
}

static void reply_empty_root(struct s3_call *c, const char *root, const char *child)
{
    struct s3_xml x;

    s3_xml_init(&x, ANSWER_MAX);
    s3_xml_root(&x, root);
    if (child) {
        s3_xml_open(&x, child);
        s3_xml_close(&x, child);
    }
    s3_xml_close(&x, root);
    s3_reply_xml(c, 200, NULL, &x);
}

void s3_get_versioning(struct s3_call *c)
{
    reply_empty_root(c, "VersioningConfiguration", NULL); /* it was never switched on */
}

/* Of a bucket, or of an object, which must be there. */
static bool object_is_missing(struct s3_call *c)
{
    struct mkv_record rec;
    enum mkv_err err;
    bool live;

    if (!c->key.len) return false;
    mkv_record_init(&rec);
    err = mkv_index_get(mkv_store_index(c->api->store), c->object, &rec, NULL, NULL);
    live = !err && rec.state == MKV_LIVE;
    mkv_record_clear(&rec);
    if (!live) s3_reply_failure(c, err ? err : MKV_ENOKEY);
    return !live;
}

void s3_get_tagging(struct s3_call *c)
{
    if (!object_is_missing(c)) reply_empty_root(c, "Tagging", "TagSet");
}

void s3_get_acl(struct s3_call *c)
{
    struct s3_xml x;

    if (object_is_missing(c)) return;
    s3_xml_init(&x, ANSWER_MAX);
    s3_xml_root(&x, "AccessControlPolicy");
    s3_xml_open(&x, "Owner");
    s3_who_xml(&x, c);
    s3_xml_close(&x, "Owner");
    s3_xml_open(&x, "AccessControlList");
    s3_xml_open(&x, "Grant");
    s3_xml_raw(&x, MKV_SLICE("<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
                             "xsi:type=\"CanonicalUser\">"));
    s3_who_xml(&x, c);
    s3_xml_close(&x, "Grantee");
    s3_xml_text(&x, "Permission", MKV_SLICE("FULL_CONTROL"));
    s3_xml_close(&x, "Grant");
    s3_xml_close(&x, "AccessControlList");
    s3_xml_close(&x, "AccessControlPolicy");
    s3_reply_xml(c, 200, NULL, &x);
}

void s3_no_policy(struct s3_call *c)
{
    s3_reply_error(c, S3_NO_SUCH_BUCKET_POLICY, NULL);
}

void s3_no_cors(struct s3_call *c)
{
    s3_reply_error(c, S3_NO_SUCH_CORS, NULL);
}

void s3_no_lifecycle(struct s3_call *c)
{
    s3_reply_error(c, S3_NO_SUCH_LIFECYCLE, NULL);
}

void s3_no_encryption(struct s3_call *c)
{
    s3_reply_error(c, S3_NO_SUCH_ENCRYPTION, NULL);
}

void s3_no_object_lock(struct s3_call *c)
{
    s3_reply_error(c, S3_NO_SUCH_OBJECT_LOCK, NULL);
}

void s3_no_website(struct s3_call *c)
{
    s3_reply_error(c, S3_NO_SUCH_WEBSITE, NULL);
}

void s3_not_implemented(struct s3_call *c)
{
    s3_reply_error(c, S3_NOT_IMPLEMENTED, NULL);
}

void s3_method_not_allowed(struct s3_call *c)
{
    s3_reply_error(c, S3_METHOD_NOT_ALLOWED, NULL);
}
