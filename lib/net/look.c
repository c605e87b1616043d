#include "net/look.h"

#include <stdio.h>

static void finish(void *arg)
{
    struct look *look = arg;

    look->done(look, look->arg);
}

static void unasked(struct look_copy *c, const char *why)
{
    c->verdict = LOOK_UNASKED;
    snprintf(c->why, sizeof(c->why), "%s", why);
}

static void on_head(struct mkv_exchange *x, const struct http1_head *head, void *arg)
{
    struct look_copy *c = arg;
    struct mkv_slice length;

    (void)x;
    if (head->status == 200 && http1_find(head, MKV_SLICE("Content-Length"), &length))
        c->size = (int64_t)head->length;
}

static void on_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    struct look_copy *c = arg;

    (void)x;
    mkv_digest_add(c->digest, piece.data, piece.len);
}

static void judge(struct look_copy *c, int status)
{
    char why[LOOK_WHY_MAX];

    if (status == 404) {
        c->verdict = LOOK_MISSING;
    } else if (status != 200 || c->size < 0) {
        snprintf(why, sizeof(why), "it answered %d", status);
        unasked(c, why);
    } else {
        c->verdict = LOOK_FOUND;
        if (!c->look->deep) return;
        mkv_digest_final(c->digest, c->md5);
        c->digest = NULL;
        c->has_md5 = true;
    }
}

static void on_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct look_copy *c = arg;

    c->x = NULL;
    if (err)
        unasked(c, mkv_exchange_why(x));
    else
        judge(c, status);
    mkv_digest_free(c->digest);
    c->digest = NULL;
    if (--c->look->waiting == 0) finish(c->look);
}

void look_init(struct look *look, struct mkv_loop *loop, bool deep,
               void (*done)(struct look *look, void *arg), void *arg)
{
    look->loop = loop;
    look->deep = deep;
    look->n = look->waiting = 0;
    look->nothing_to_wait_for = (struct mkv_chore){.run = finish, .arg = look};
    look->done = done;
    look->arg = arg;
}

void look_at(struct look *look, struct mkv_volume *volume, struct mkv_slice path)
{
    static const struct mkv_exchange_events events = {
        .head = on_head, .body = on_body, .done = on_done};
    const struct mkv_exchange_options opt = {.volume = volume,
                                             .path = path,
                                             .method = look->deep ? MKV_VOLUME_GET
                                                                  : MKV_VOLUME_HEAD};
    struct look_copy *c = &look->copies[look->n++];
    enum mkv_err err;

    *c = (struct look_copy){.look = look, .size = -1};
    if (!volume) {
        unasked(c, "no such server");
        return;
    }
    err = look->deep ? mkv_digest_new_md5(&c->digest) : MKV_OK;
    if (!err) err = mkv_exchange_start(&c->x, &opt, &events, c);
    if (!err) {
        look->waiting++;
        return;
    }
    mkv_digest_free(c->digest);
    c->digest = NULL;
    unasked(c, mkv_strerror(err));
}

void look_go(struct look *look)
{
    if (look->waiting == 0) mkv_loop_at_end(look->loop, &look->nothing_to_wait_for);
}

void look_cancel(struct look *look)
{
    if (!look->loop) return;
    mkv_loop_forget(look->loop, &look->nothing_to_wait_for);
    for (unsigned i = 0; i < look->n; i++) {
        struct look_copy *c = &look->copies[i];

        if (c->x) mkv_exchange_cancel(c->x);
        c->x = NULL;
        mkv_digest_free(c->digest);
        c->digest = NULL;
    }
    look->n = look->waiting = 0;
}
