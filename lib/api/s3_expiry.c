#include "api/s3_expiry.h"

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

/* ---- the spool, at start ---------------------------------------------------------------- */

struct known {
    uint8_t (*ids)[MKV_UPLOAD_ID_LEN]; /* owned; in order once all are there */
    size_t n, size;
};

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, MKV_UPLOAD_ID_LEN);
}

static bool is_known(const uint8_t id[MKV_UPLOAD_ID_LEN], void *arg)
{
    const struct known *k = arg;

    return k->n && bsearch(id, k->ids, k->n, MKV_UPLOAD_ID_LEN, compare_ids);
}

static enum mkv_err add_known(struct known *k, const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    if (k->n == k->size) {
        size_t size = k->size ? 2 * k->size : 64;
        void *grown = realloc(k->ids, size * sizeof(*k->ids));

        if (!grown) return MKV_ENOMEM;
        k->ids = grown;
        k->size = size;
    }
    memcpy(k->ids[k->n++], id, MKV_UPLOAD_ID_LEN);
    return MKV_OK;
}

static enum mkv_err find_next(struct s3_expiry *e, bool first)
{
    struct mkv_upload *u = &e->upload;

    return mkv_index_upload_next(mkv_store_index(e->s3->store), mkv_slice(NULL, 0),
                                 first ? mkv_slice(NULL, 0) : mkv_slice(u->key, u->key_len),
                                 first ? NULL : u->id, u);
}

/* What the index does not name can have been left by a crash alone. */
static enum mkv_err sweep_spool(struct s3_expiry *e)
{
    struct known known = {NULL, 0, 0};
    enum mkv_err err = find_next(e, true);
    size_t gone;

    for (; !err; err = find_next(e, false)) {
        err = add_known(&known, e->upload.id);
        if (err) break;
    }
    if (err == MKV_ENOKEY) {
        err = MKV_OK;
        if (known.n) qsort(known.ids, known.n, MKV_UPLOAD_ID_LEN, compare_ids);
        gone = mkv_spool_sweep(mkv_store_spool(e->s3->store), is_known, &known);
        if (gone) mkv_log_warn("s3: %zu leftovers of uploads went from the spool", gone);
    }
    free(known.ids);
    return err;
}

/* ---- rounds ------------------------------------------------------------------------------- */

static void wait_for(struct s3_expiry *e, uint64_t ms)
{
    const struct timeval time = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

    if (!e->stopped) event_add(&e->turn, &time);
}

static void end_round(struct s3_expiry *e)
{
    uint64_t each = e->s3->cfg->multipart_expiry_ms / 10;

    if (e->gone) mkv_log_info("s3: %zu uploads were older than -multipart-expiry", e->gone);
    e->gone = 0;
    e->upload.key_len = 0;
    wait_for(e, each > S3_EXPIRY_EACH_MS ? S3_EXPIRY_EACH_MS : each < 1000 ? 1000 : each);
}

static bool is_old(const struct s3_expiry *e)
{
    int64_t age = mkv_loop_wall(e->s3->loop) - e->upload.what.mtime;

    return age >= 0 && (uint64_t)age * 1000 >= e->s3->cfg->multipart_expiry_ms &&
           !s3_upload_is_ending(e->s3, e->upload.id);
}

static void on_removed(enum mkv_err err, void *arg)
{
    struct s3_expiry *e = arg;
    char id[S3_UPLOAD_ID_TEXT + 1];

    s3_ending_end(&e->ending);
    if (err) {
        mkv_log_warn("s3: an old upload of %.*s stays: %s", (int)e->upload.key_len, e->upload.key,
                     mkv_strerror(err));
    } else {
        s3_upload_id_text(e->upload.id, id);
        mkv_log_info("s3: the upload %s of %.*s has expired", id, (int)e->upload.key_len,
                     e->upload.key);
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
        if (is_old(e) && remove_it(e)) return; /* on_removed() goes on */
    }
    wait_for(e, 0);
}

/* ---- open, close ----------------------------------------------------------------------------- */

enum mkv_err s3_expiry_open(struct s3_expiry **out, struct mkv_s3 *s3)
{
    struct s3_expiry *e = calloc(1, sizeof(*e));
    enum mkv_err err;

    if (!e) return MKV_ENOMEM;
    e->s3 = s3;
    mkv_record_init(&e->upload.what);
    event_assign(&e->turn, mkv_loop_base(s3->loop), -1, 0, on_turn, e);
    err = sweep_spool(e);
    if (err) {
        s3_expiry_close(e);
        return err;
    }
    e->upload.key_len = 0;
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
