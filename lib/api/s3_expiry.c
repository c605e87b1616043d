#include "api/s3_expiry.h"

#include "api/s3_bucket.h"
#include "api/s3_multipart.h"
#include "mkv/log.h"
#include "mkv/spool.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

struct s3_expiry {
    struct mkv_s3 *s3;        /* borrowed */
    struct event turn;        /* the next round, or the next slice of this one */
    bool stopped;
    struct mkv_upload upload; /* the one at hand: the round goes on behind it  */
    struct s3_ending ending;  /* of that one, while the index is asked         */
    size_t gone;              /* in this round */
};

static enum mkv_err find_next(struct s3_expiry *e, bool first)
{
    struct mkv_upload *u = &e->upload;

    return mkv_index_upload_after(mkv_store_index(e->s3->store),
                                  first ? mkv_slice(NULL, 0) : mkv_slice(u->key, u->key_len),
                                  u->id, u);
}

static void wait_for(struct s3_expiry *e, uint64_t ms)
{
    const struct timeval time = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

    if (!e->stopped) event_add(&e->turn, &time);
}

static void end_round(struct s3_expiry *e)
{
    uint64_t each = e->s3->cfg->multipart_expiry_ms / 10;

    if (e->gone)
        mkv_log_warn("s3: %zu uploads went: older than -multipart-expiry, or of no bucket",
                     e->gone);
    e->gone = 0;
    e->upload.key_len = 0;
    wait_for(e, each > S3_EXPIRY_EACH_MS ? S3_EXPIRY_EACH_MS : each < 1000 ? 1000 : each);
}

static bool is_old(const struct s3_expiry *e)
{
    int64_t age = mkv_loop_wall(e->s3->loop) - e->upload.what.mtime;

    return age >= 0 && (uint64_t)age * 1000 >= e->s3->cfg->multipart_expiry_ms;
}

/* Its bucket was deleted: nobody can complete or abort it. */
static bool is_forsaken(const struct s3_expiry *e)
{
    const struct mkv_api api = {
        .store = e->s3->store, .cfg = e->s3->cfg, .loop = e->s3->loop, .s3 = e->s3};
    const char *key = e->upload.key + 1, *slash = memchr(key, '/', e->upload.key_len - 1);

    return slash && s3_bucket_check(&api, mkv_slice(key, (size_t)(slash - key))) ==
                        S3_NO_SUCH_BUCKET;
}

static bool is_over(const struct s3_expiry *e)
{
    return (is_old(e) || is_forsaken(e)) && !s3_upload_is_ending(e->s3, e->upload.id);
}

static void on_removed(enum mkv_err err, void *arg)
{
    struct s3_expiry *e = arg;
    char id[S3_UPLOAD_ID_TEXT + 1], key[512];

    s3_ending_end(&e->ending);
    mkv_log_bytes(key, sizeof(key), e->upload.key, e->upload.key_len);
    if (err) {
        mkv_log_warn("s3: an old upload of %s stays: %s", key, mkv_strerror(err));
    } else {
        s3_upload_id_text(e->upload.id, id);
        mkv_log_info("s3: the upload %s of %s has expired", id, key);
        mkv_spool_remove(mkv_store_spool(e->s3->store), e->upload.id);
        e->gone++;
    }
    wait_for(e, 0);
}

static bool remove_it(struct s3_expiry *e)
{
    enum mkv_err err = mkv_index_upload_remove(mkv_store_index(e->s3->store),
                                               mkv_slice(e->upload.key, e->upload.key_len),
                                               e->upload.id, on_removed, e);

    if (!err) s3_ending_begin(&e->ending, e->s3, e->upload.id, NULL, NULL);
    return !err;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct s3_expiry *e = arg;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < S3_EXPIRY_SLICE; i++) {
        if (find_next(e, e->upload.key_len == 0)) {
            end_round(e);
            return;
        }
        if (is_over(e) && remove_it(e)) return; /* on_removed() goes on */
    }
    wait_for(e, 0);
}

/* ---- open, close --------------------------------------------------------------------------- */

enum mkv_err s3_expiry_open(struct s3_expiry **out, struct mkv_s3 *s3)
{
    struct s3_expiry *e = calloc(1, sizeof(*e));

    if (!e) return MKV_ENOMEM;
    e->s3 = s3;
    mkv_record_init(&e->upload.what);
    event_assign(&e->turn, mkv_loop_base(s3->loop), -1, 0, on_turn, e);
    wait_for(e, 0);
    *out = e;
    return MKV_OK;
}

void s3_expiry_stop(struct s3_expiry *e)
{
    if (!e) return;
    e->stopped = true;
    event_del(&e->turn);
}

void s3_expiry_close(struct s3_expiry *e)
{
    if (!e) return;
    s3_expiry_stop(e);
    mkv_record_clear(&e->upload.what);
    free(e);
}
