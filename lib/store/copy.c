#include "store/copy.h"

#include "mkv/log.h"
#include "store/fanout.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

#define READING "reading for a copy"
#define WRITING "storing a copy"
#define WHY_MAX 96

struct copy {
    struct mkv_store *store;    /* borrowed */
    struct mkv_exchange *from;  /* owned until it calls back */
    struct mkv_exchange *to;    /* owned until it calls back; NULL until the size is known */
    struct mkv_replica source, target;
    char target_path[STORE_PATH_MAX];
    size_t target_path_len;
    int64_t size;               /* -1 until the source has said it */
    char date[MKV_HTTP_DATE_MAX]; /* for the target: the value's, else the source's; "" */
    uint64_t received;
    struct mkv_digest *digest;  /* owned; NULL where the MD5 is not known */
    uint8_t md5[MKV_MD5_LEN];
    bool paused;
    copy_done *done;
    void *arg;
    struct mkv_retired retired;
};

static void destroy(void *arg)
{
    struct copy *c = arg;

    mkv_digest_free(c->digest);
    free(c);
}

void copy_cancel(struct copy *c)
{
    if (!c) return;
    if (c->from) mkv_exchange_cancel(c->from);
    if (c->to) mkv_exchange_cancel(c->to);
    c->from = c->to = NULL;
    mkv_loop_retire(c->store->loop, &c->retired, destroy, c);
}

static void finish(struct copy *c, enum copy_verdict verdict)
{
    copy_done *done = c->done;
    void *arg = c->arg;

    copy_cancel(c);
    done(verdict, arg);
}

/* Which volume it was, and of which file. */
static void warn(const struct copy *c, struct mkv_replica r, const char *what, const char *why)
{
    struct mkv_slice name = mkv_index_volume_name(c->store->index, r.volume);

    mkv_log_warn("volume %.*s: %s, %.*s, failed: %s", (int)name.len, name.data, what,
                 (int)c->target_path_len, c->target_path, why);
}

static void warn_status(const struct copy *c, struct mkv_replica r, const char *what, int status)
{
    char why[WHY_MAX];

    snprintf(why, sizeof(why), "it answered %d", status);
    warn(c, r, what, why);
}

/* ---- the target ---------------------------------------------------------------- */

static void on_target_ready(struct mkv_exchange *x, void *arg)
{
    struct copy *c = arg;

    (void)x;
    if (c->size == 0) mkv_exchange_send_end(c->to);
    if (c->from && c->paused) mkv_exchange_pause(c->from, c->paused = false);
}

static void on_target_drained(struct mkv_exchange *x, void *arg)
{
    struct copy *c = arg;

    (void)x;
    if (c->from && c->paused) mkv_exchange_pause(c->from, c->paused = false);
}

static void on_target_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct copy *c = arg;
    bool complete = c->received == (uint64_t)c->size, stored = status == 201 || status == 204;

    if (err)
        warn(c, c->target, WRITING, mkv_exchange_why(x));
    else if (!stored)
        warn_status(c, c->target, WRITING, status);
    c->to = NULL;
    finish(c, !err && complete && stored ? COPY_DONE : COPY_TARGET_BAD);
}

static bool open_target(struct copy *c)
{
    static const struct mkv_exchange_events events = {
        .ready = on_target_ready, .drained = on_target_drained, .done = on_target_done};
    struct mkv_exchange_options opt = {.method = MKV_VOLUME_PUT,
                                       .volume = store_volume(c->store, c->target.volume),
                                       .path = {c->target_path, c->target_path_len},
                                       .body_length = c->size,
                                       .date = c->date[0] ? c->date : NULL};

    return opt.volume && !mkv_exchange_start(&c->to, &opt, &events, c);
}

/* ---- the source ---------------------------------------------------------------- */

static void warn_head(const struct copy *c, const struct http1_head *head)
{
    char why[WHY_MAX];

    if (head->status != 200) {
        warn_status(c, c->source, READING, head->status);
        return;
    }
    snprintf(why, sizeof(why), "%llu bytes instead of %lld", (unsigned long long)head->length,
             (long long)c->size);
    warn(c, c->source, READING, why);
}

static void on_source_head(struct mkv_exchange *x, const struct http1_head *head, void *arg)
{
    struct copy *c = arg;
    struct mkv_slice date;

    (void)x;
    if (head->status != 200 || head->framing != HTTP1_LENGTH ||
        (c->size >= 0 && head->length != (uint64_t)c->size)) {
        warn_head(c, head);
        finish(c, COPY_SOURCE_BAD);
        return;
    }
    c->size = (int64_t)head->length;
    if (!c->date[0] && http1_find(head, MKV_SLICE("Last-Modified"), &date) &&
        date.len < sizeof(c->date))
        memcpy(c->date, date.data, date.len); /* its end is zero already */
    mkv_exchange_pause(c->from, c->paused = true); /* until the target is ready */
    if (!open_target(c)) finish(c, COPY_TARGET_BAD);
}

static bool md5_is_right(struct copy *c)
{
    uint8_t md5[MKV_MD5_LEN];

    if (!c->digest) return true;
    mkv_digest_final(c->digest, md5);
    c->digest = NULL;
    return memcmp(md5, c->md5, MKV_MD5_LEN) == 0;
}

static void on_source_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    struct copy *c = arg;
    bool last;

    (void)x;
    c->received += piece.len;
    last = c->received == (uint64_t)c->size;
    if (c->digest) mkv_digest_add(c->digest, piece.data, piece.len);
    if (last && !md5_is_right(c)) {
        warn(c, c->source, READING, "the MD5 is not the value's: this copy is damaged");
        finish(c, COPY_SOURCE_BAD);
        return;
    }
    mkv_exchange_send(c->to, piece);
    if (last) mkv_exchange_send_end(c->to);
    if (!last && mkv_exchange_unsent(c->to) > COPY_HIGH)
        mkv_exchange_pause(c->from, c->paused = true);
}

static void on_source_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct copy *c = arg;

    if (err) warn(c, c->source, READING, mkv_exchange_why(x));
    c->from = NULL;
    if (err || status != 200 || c->received != (uint64_t)c->size) finish(c, COPY_SOURCE_BAD);
}

enum mkv_err copy_start(struct copy **out, struct mkv_store *store, const struct copy_options *opt,
                        copy_done *done, void *arg)
{
    static const struct mkv_exchange_events events = {
        .head = on_source_head, .body = on_source_body, .done = on_source_done};
    struct copy *c = calloc(1, sizeof(*c));
    enum mkv_err err = MKV_ENOMEM;
    char key_path[MKV_PATH_MAX], path[STORE_PATH_MAX];
    size_t len;
    struct mkv_exchange_options get = {.method = MKV_VOLUME_GET};

    if (!c) goto out;
    c->store = store;
    c->source = opt->from;
    c->target = opt->to;
    c->size = opt->size;
    if (opt->mtime >= 0) mkv_http_date(c->date, opt->mtime);
    c->done = done;
    c->arg = arg;
    if (opt->md5) {
        memcpy(c->md5, opt->md5, MKV_MD5_LEN);
        err = mkv_digest_new_md5(&c->digest);
        if (err) goto out;
    }
    len = mkv_key_path(key_path, opt->key, opt->to_generation);
    c->target_path_len = store_file_path(c->target_path, opt->to, mkv_slice(key_path, len));
    len = mkv_key_path(key_path, opt->key, opt->from_generation);
    get.path = mkv_slice(path, store_file_path(path, opt->from, mkv_slice(key_path, len)));
    get.volume = store_volume(store, opt->from.volume);
    err = get.volume ? mkv_exchange_start(&c->from, &get, &events, c) : MKV_EVOLUME;
    if (err) goto out;
    *out = c;
    c = NULL;
out:
    if (c) destroy(c);
    return err;
}
