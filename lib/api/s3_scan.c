#include "api/s3_scan.h"

#include <event2/event.h>

static bool examine(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct s3_scan *s = arg;
    size_t skip = 0;

    s->left--;
    if (mkv_record_peek_state(data, len) != MKV_LIVE) return true;
    s->step = s->visit(key, data, len, &skip, s->arg);
    if (s->step == S3_SCAN_SKIP) {
        memcpy(s->skip, key.data, skip);
        s->skip_len = skip;
    }
    return s->step == S3_SCAN_ON;
}

/* One slice: MKV_OK at the end of the walk, MKV_PENDING where there is more. */
static enum mkv_err work(struct s3_scan *s)
{
    struct mkv_index *ix = mkv_store_index(s->api->store);

    s->left = S3_SCAN_SLICE;
    while (s->left) {
        enum mkv_err err;

        s->step = S3_SCAN_ON;
        err = mkv_index_walk(ix, &s->walk, s->left, examine, s);
        if (err || s->step == S3_SCAN_STOP || s->walk.ended) return err;
        if (s->step == S3_SCAN_SKIP) mkv_walk_skip(&s->walk, mkv_slice(s->skip, s->skip_len));
        if (s->walk.ended) return MKV_OK;
    }
    return MKV_PENDING;
}

static void go_on_later(struct s3_scan *s)
{
    const struct timeval at_once = {0, 0};

    event_add(&s->turn, &at_once);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct s3_scan *s = arg;
    enum mkv_err err = work(s);

    (void)fd;
    (void)what;
    if (err == MKV_PENDING)
        go_on_later(s);
    else
        s->done(err, s->arg);
}

enum mkv_err s3_scan_start(struct s3_scan *s, const struct mkv_api *api, struct mkv_slice prefix,
                           struct mkv_slice start, bool after, s3_scan_visit *visit,
                           s3_scan_done *done, void *arg)
{
    enum mkv_err err;

    s->api = api;
    s->visit = visit;
    s->done = done;
    s->arg = arg;
    event_assign(&s->turn, mkv_loop_base(api->loop), -1, 0, on_turn, s);
    if (prefix.len > sizeof(s->prefix)) return MKV_OK; /* no key is that long */
    if (prefix.len) memcpy(s->prefix, prefix.data, prefix.len);
    mkv_walk_init(&s->walk, MKV_TABLE_RECORDS, 0, mkv_slice(s->prefix, prefix.len), start);
    if (s->walk.ended) return MKV_OK;
    s->walk.after = after && mkv_slice_eq(mkv_slice(s->walk.from, s->walk.from_len), start);
    err = work(s);
    if (err == MKV_PENDING) go_on_later(s);
    return err;
}

void s3_scan_cancel(struct s3_scan *s)
{
    if (s->api) event_del(&s->turn);
}
