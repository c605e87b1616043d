/* ListBuckets: the records and, without -keys, what the keys themselves make. */
#include "api/s3_handlers.h"
#include "api/s3_scan.h"
#include "api/s3_server.h"

#include <stdlib.h>

/* Nobody has more buckets than this listing can show: 100,000 of them. */
#define BUCKETS_XML_MAX (32 * 1024 * 1024)

struct bucket_list {
    struct s3_scan scan;
    struct s3_xml xml;
    struct mkv_bucket next; /* the next record, where there is one */
    bool has_next;
};

static void clear_list(struct s3_call *c)
{
    struct bucket_list *l = c->state;

    s3_scan_cancel(&l->scan);
    s3_xml_clear(&l->xml);
    free(l);
}

static void put_bucket(struct s3_xml *x, struct mkv_slice name, int64_t created)
{
    s3_xml_open(x, "Bucket");
    s3_xml_text(x, "Name", name);
    s3_xml_date(x, "CreationDate", created);
    s3_xml_close(x, "Bucket");
}

/* Its own: those it made or nobody did, if it may use all; else those it was
 * given. */
static bool is_own(const struct s3_call *c, const struct mkv_bucket *b)
{
    const struct s3_key *key;

    if (!c->checked) return true;
    key = s3_keys_find(c->api->s3->keys, s3_asker(c));
    if (!key || !s3_keys_allow(key, mkv_slice(b->name, b->name_len), S3_WISH_READ)) return false;
    return key->ngrants || !b->owner_len ||
           mkv_slice_eq(mkv_slice(b->owner, b->owner_len), s3_asker(c));
}

static void read_next(struct s3_call *c, struct mkv_slice from, bool after)
{
    struct bucket_list *l = c->state;

    l->has_next =
        !mkv_index_bucket_next(mkv_store_index(c->api->store), from, after, &l->next);
}

/* Writes the records before name, and that of name itself: true where it is there. */
static bool put_records(struct s3_call *c, struct mkv_slice name)
{
    struct bucket_list *l = c->state;
    int order = -1;

    while (l->has_next && order < 0) {
        struct mkv_slice next = mkv_slice(l->next.name, l->next.name_len);
        struct mkv_bucket shown = l->next;

        order = name.data ? mkv_slice_cmp(next, name) : -1;
        if (order > 0) break;
        if (is_own(c, &shown)) put_bucket(&l->xml, next, shown.created);
        read_next(c, mkv_slice(shown.name, shown.name_len), true);
    }
    return order == 0;
}

/* Without -keys: each bucket that live keys make. */
static enum s3_scan_step find_bucket(struct mkv_slice key, const uint8_t *data, size_t len,
                                     size_t *skip, void *arg)
{
    struct s3_call *c = arg;
    struct bucket_list *l = c->state;
    const char *slash = memchr(key.data + 1, '/', key.len - 1);
    struct mkv_record rec;
    struct mkv_slice name;

    if (!slash) return S3_SCAN_ON;
    name = mkv_slice(key.data + 1, (size_t)(slash - key.data) - 1);
    *skip = name.len + 2;
    if (!s3_bucket_name_valid(name) || put_records(c, name)) return S3_SCAN_SKIP;
    mkv_record_init(&rec);
    if (!mkv_record_decode(&rec, data, len)) put_bucket(&l->xml, name, rec.mtime);
    mkv_record_clear(&rec);
    return S3_SCAN_SKIP;
}

static void on_listed(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct bucket_list *l = c->state;

    if (err) {
        s3_reply_failure(c, err);
        return;
    }
    put_records(c, mkv_slice(NULL, 0));
    s3_xml_close(&l->xml, "Buckets");
    s3_xml_close(&l->xml, "ListAllMyBucketsResult");
    s3_reply_xml(c, 200, NULL, &l->xml);
}

static void list_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;

    (void)why;
    s3_scan_cancel(&((struct bucket_list *)c->state)->scan);
    s3_call_end(c);
}

void s3_list_buckets(struct s3_call *c)
{
    static const struct mkv_request_events events = {.gone = list_gone};
    struct bucket_list *l = calloc(1, sizeof(*l));
    enum mkv_err err = MKV_OK;

    if (!l) {
        s3_reply_error(c, S3_INTERNAL_ERROR, NULL);
        return;
    }
    c->state = l;
    c->clear = clear_list;
    c->r->events = &events;
    s3_xml_init(&l->xml, BUCKETS_XML_MAX);
    s3_xml_root(&l->xml, "ListAllMyBucketsResult");
    s3_xml_open(&l->xml, "Owner");
    s3_who_xml(&l->xml, c);
    s3_xml_close(&l->xml, "Owner");
    s3_xml_open(&l->xml, "Buckets");
    read_next(c, mkv_slice(NULL, 0), false);
    if (!c->api->s3->keys)
        err = s3_scan_start(&l->scan, c->api, MKV_SLICE("/"), mkv_slice(NULL, 0), false,
                            find_bucket, on_listed, c);
    if (err != MKV_PENDING) on_listed(err, c);
}
