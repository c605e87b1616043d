/* Every copy of one value at once: HEAD, or reading it all.
 *
 * Reading together costs one MD5 for all copies: their bytes are compared with
 * each other as they come, and only one copy is digested.  The first
 * difference ends it; who is right is then found by reading apart. */
#include "jobs/verify.h"
#include "mkv/name.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>

#define AHEAD_HIGH (256 * 1024) /* a copy so far ahead of the slowest waits... */
#define AHEAD_LOW  (64 * 1024) /* ...until it is only so far ahead            */
#define PATH_SIZE  (sizeof("/svFFFF") + MKV_PATH_MAX)

static struct ask_slot *slot_of(struct ask *a, unsigned i)
{
    return &a->slots[i];
}

static unsigned index_of(const struct ask_slot *s)
{
    return (unsigned)(s - s->ask->slots);
}

static void release(struct ask_slot *s)
{
    if (s->x) mkv_exchange_cancel(s->x);
    if (s->ahead) evbuffer_free(s->ahead);
    mkv_digest_free(s->digest);
    s->x = NULL;
    s->ahead = NULL;
    s->digest = NULL;
    s->reads = false;
}

void ask_cancel(struct ask *a)
{
    if (!a->v) return;
    for (unsigned i = 0; i < a->n; i++) release(slot_of(a, i));
    digest_stream_cancel(a->digest);
    a->digest = NULL;
    mkv_loop_forget(a->v->job.loop, &a->end);
    a->v = NULL;
}

static void on_end(void *arg)
{
    struct ask *a = arg;

    ask_cancel(a);
    a->done(a->arg);
}

static void end(struct ask *a)
{
    mkv_loop_at_end(a->v->job.loop, &a->end);
}

/* The copy has its final answer. */
static void settle(struct ask_slot *s, enum seen seen, const char *why)
{
    struct ask *a = s->ask;
    unsigned i = index_of(s);

    a->seen[i].seen = seen;
    snprintf(a->why[i], sizeof(a->why[i]), "%s", why);
    release(s);
    if (--a->waiting == 0) end(a);
}

/* ---- together ------------------------------------------------------------------------- */

/* The copies that are being compared. */
static unsigned readers(struct ask *a, struct ask_slot *out[MKV_REPLICAS_MAX])
{
    unsigned n = 0;

    for (unsigned i = 0; i < a->n; i++)
        if (slot_of(a, i)->reads) out[n++] = slot_of(a, i);
    return n;
}

/* As many bytes as every copy has in one piece; 0: one of them has none. */
static size_t next_piece(struct ask_slot *const *slots, unsigned n, const uint8_t **pieces)
{
    size_t least = SIZE_MAX;

    for (unsigned i = 0; i < n; i++) {
        struct evbuffer_iovec v = {.iov_len = 0};

        if (evbuffer_get_length(slots[i]->ahead) == 0) return 0;
        evbuffer_peek(slots[i]->ahead, -1, NULL, &v, 1);
        pieces[i] = v.iov_base;
        if (v.iov_len < least) least = v.iov_len;
    }
    return least;
}

static bool is_equal(const uint8_t *const *pieces, unsigned n, size_t len)
{
    for (unsigned i = 1; i < n; i++)
        if (memcmp(pieces[0], pieces[i], len) != 0) return false;
    return true;
}

/* Every copy still being read has been read and compared to its end. */
static bool is_all_read(struct ask_slot *const *slots, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (slots[i]->left || evbuffer_get_length(slots[i]->ahead)) return false;
    return n > 0;
}

static void on_digested(const uint8_t *md5, void *arg)
{
    struct ask_slot *slots[MKV_REPLICAS_MAX];
    struct ask *a = arg;
    unsigned n = readers(a, slots);

    a->digest = NULL;
    for (unsigned i = 0; i < n; i++) {
        struct seen_copy *seen = &a->seen[index_of(slots[i])];

        memcpy(seen->md5, md5, MKV_MD5_LEN);
        seen->has_md5 = true;
        slots[i]->reads = false;
        if (!slots[i]->x) settle(slots[i], SEEN_FILE, ""); /* else its done() will */
    }
}

/* Who is right is not to be found out together. */
static void ask_apart(struct ask *a)
{
    a->differ = true;
    end(a);
}

static bool is_digest_full(const struct ask_slot *s)
{
    return s == s->ask->lead && digest_stream_full(s->ask->digest);
}

static void read_on(struct ask_slot *s)
{
    if (!s->paused || evbuffer_get_length(s->ahead) > AHEAD_LOW || is_digest_full(s)) return;
    s->paused = false;
    if (s->x) mkv_exchange_pause(s->x, false);
}

static void compare(struct ask *a)
{
    struct ask_slot *slots[MKV_REPLICAS_MAX];
    const uint8_t *pieces[MKV_REPLICAS_MAX];
    unsigned n = readers(a, slots);
    size_t len;

    for (unsigned i = 0; i < a->n; i++) /* some have not begun: they will be compared too */
        if (slot_of(a, i)->x && !slot_of(a, i)->reads) return;
    do {
        len = n ? next_piece(slots, n, pieces) : 0;
        if (len && !is_equal(pieces, n, len)) {
            ask_apart(a);
            return;
        }
        for (unsigned i = 0; i < n; i++) evbuffer_drain(slots[i]->ahead, len);
    } while (len);
    for (unsigned i = 0; i < n; i++) read_on(slots[i]);
    if (a->all_read || !is_all_read(slots, n)) return;
    a->all_read = true;
    digest_stream_end(a->digest);
}

static void on_room(void *arg)
{
    compare(arg);
}

/* ---- answers ---------------------------------------------------------------------------- */

static void on_head(struct mkv_exchange *x, const struct http1_head *head, void *arg)
{
    struct ask_slot *s = arg;
    struct ask *a = s->ask;
    struct seen_copy *seen = &a->seen[index_of(s)];

    (void)x;
    if (head->status != 200) return; /* done() says it */
    seen->size = (int64_t)head->length;
    if (a->how == ASK_SIZES) return;
    if (head->framing != HTTP1_LENGTH) {
        settle(s, SEEN_TROUBLE, "it answers without a Content-Length");
        return;
    }
    if (a->size >= 0 && seen->size != a->size) { /* that says enough: it need not be read */
        settle(s, SEEN_FILE, "");
    } else {
        s->left = head->length;
        s->reads = true;
    }
    if (a->how == ASK_TOGETHER) compare(a);
}

/* It could not be read to its end.  Of the leading copy a part has been digested. */
static void give_up(struct ask_slot *s, const char *why)
{
    struct ask *a = s->ask;

    if (s == a->lead) {
        ask_apart(a);
        return;
    }
    settle(s, SEEN_TROUBLE, why);
    if (a->how == ASK_TOGETHER) compare(a);
}

static void on_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    struct ask_slot *s = arg;
    struct ask *a = s->ask;

    (void)x;
    if (a->differ) return;
    s->left -= piece.len;
    a->v->counts[COUNT_BYTES] += piece.len;
    progress_add(a->v->job.progress, 0, piece.len);
    if (a->how == ASK_APART) {
        mkv_digest_add(s->digest, piece.data, piece.len);
        return;
    }
    if (!a->lead) a->lead = s;
    if (mkv_bytes_append(s->ahead, piece) || (s == a->lead && digest_stream_add(a->digest, piece))) {
        give_up(s, mkv_strerror(MKV_ENOMEM));
        return;
    }
    if (evbuffer_get_length(s->ahead) > AHEAD_HIGH || is_digest_full(s)) {
        s->paused = true;
        mkv_exchange_pause(s->x, true);
    }
    compare(a);
}

static void on_read(struct ask_slot *s)
{
    struct ask *a = s->ask;
    struct seen_copy *seen = &a->seen[index_of(s)];

    if (a->how == ASK_APART) {
        mkv_digest_final(s->digest, seen->md5);
        s->digest = NULL;
        seen->has_md5 = true;
    }
    if (a->how != ASK_TOGETHER || seen->has_md5)
        settle(s, SEEN_FILE, "");
    else
        compare(a); /* an empty one; or it waits for the others */
}

static void on_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct ask_slot *s = arg;
    struct ask *a = s->ask;
    char why[96];

    s->x = NULL;
    verify_answered(a->v, a->replicas[index_of(s)].volume, !err && status < 500);
    if (a->differ) return;
    if (!err && status == 200) {
        on_read(s);
        return;
    }
    if (!err && status == 404) {
        settle(s, SEEN_NO_FILE, "");
        if (a->how == ASK_TOGETHER) compare(a);
        return;
    }
    if (err)
        snprintf(why, sizeof(why), "%s", mkv_exchange_why(x));
    else
        snprintf(why, sizeof(why), "it answered %d", status);
    give_up(s, why);
}

/* ---- the beginning ------------------------------------------------------------------------ */

static const char *begin(struct ask_slot *s, struct mkv_slice key_path)
{
    static const struct mkv_exchange_events events = {
        .head = on_head, .body = on_body, .done = on_done};
    struct ask *a = s->ask;
    struct mkv_replica r = a->replicas[index_of(s)];
    struct mkv_exchange_options opt = {.volume = job_volume(&a->v->job, r.volume)};
    char path[PATH_SIZE];
    size_t len = mkv_replica_text(path, mkv_slice(NULL, 0), r.subvolume);
    enum mkv_err err = MKV_OK;

    if (!opt.volume) return "the index does not know its name";
    if (verify_is_given_up(a->v, r.volume)) return "the volume is down";
    if (a->how == ASK_TOGETHER && !(s->ahead = evbuffer_new())) err = MKV_ENOMEM;
    if (a->how == ASK_APART) err = mkv_digest_new_md5(&s->digest);
    memcpy(path + len, key_path.data, key_path.len);
    opt.path = mkv_slice(path, len + key_path.len);
    opt.method = a->how == ASK_SIZES ? MKV_VOLUME_HEAD : MKV_VOLUME_GET;
    if (!err) err = mkv_exchange_start(&s->x, &opt, &events, s);
    return err ? mkv_strerror(err) : NULL;
}

void ask_start(struct ask *a, struct verify *v, struct mkv_slice key, const struct mkv_record *rec,
               enum ask_how how, void (*done)(void *arg), void *arg)
{
    static const struct digest_options digest_options = {.md5 = true};
    static const struct digest_events digest_events = {.room = on_room, .done = on_digested};
    char path[MKV_PATH_MAX];
    size_t len = mkv_key_path(path, key, rec->generation);
    const char *why;

    memset(a, 0, sizeof(*a));
    a->v = v;
    a->how = how;
    a->n = rec->nreplicas;
    a->size = rec->size;
    memcpy(a->replicas, rec->replicas, sizeof(a->replicas));
    a->end.run = on_end;
    a->end.arg = a;
    a->done = done;
    a->arg = arg;
    a->waiting = a->n + 1; /* so that it does not end before all have begun */
    if (how == ASK_TOGETHER &&
        digest_stream_open(&a->digest, v->digester, &digest_options, &digest_events, a))
        a->how = ASK_APART;
    for (unsigned i = 0; i < a->n; i++) a->slots[i].ask = a;
    for (unsigned i = 0; i < a->n; i++) {
        why = begin(slot_of(a, i), mkv_slice(path, len));
        if (why) settle(slot_of(a, i), SEEN_TROUBLE, why);
    }
    if (--a->waiting == 0) end(a);
}
