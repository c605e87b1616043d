/* GetObject and HeadObject: what the index knows, and the bytes from a volume. */
#include "api/s3_conditions.h"
#include "api/s3_handlers.h"
#include "api/s3_meta.h"
#include "mkv/uri.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>

enum wanted {
    WANT_ALL,  /* 200 */
    WANT_RANGE /* 206: of a Range, or of partNumber */
};

struct get {
    struct mkv_record rec;
    struct s3_conditions conditions; /* valid until the handler returns */
    char range[64], if_range[64];    /* copies, for a value whose size is not known yet */
    unsigned part;                   /* of partNumber; 0: none */
    bool checksum;                   /* x-amz-checksum-mode: ENABLED */
    char *overrides;                 /* owned: the query, for response-...; NULL: none */
    size_t overrides_len;
    enum wanted wanted;
    uint64_t first, length;          /* of what is sent */
    struct mkv_read *read;           /* owned until it calls back */
    struct mkv_locate *locate;       /* likewise: a redirect */
    struct evbuffer *out;            /* owned */
    bool begun;                      /* the head is out */
};

static void start_read(struct s3_call *c);

static void clear_get(struct s3_call *c)
{
    struct get *g = c->state;

    mkv_record_clear(&g->rec);
    free(g->overrides);
    if (g->out) evbuffer_free(g->out);
    free(g);
}

/* ---- the head --------------------------------------------------------------------- */

static void add_overrides(const struct get *g, struct s3_head *h)
{
    static const struct {
        struct mkv_slice parameter, header;
    } rows[] = {
        {{"response-content-type", 21},        {"Content-Type", 12}       },
        {{"response-content-language", 25},    {"Content-Language", 16}   },
        {{"response-content-encoding", 25},    {"Content-Encoding", 16}   },
        {{"response-content-disposition", 28}, {"Content-Disposition", 19}},
        {{"response-cache-control", 22},       {"Cache-Control", 13}      },
        {{"response-expires", 16},             {"Expires", 7}             },
    };
    struct mkv_slice rest = mkv_slice(g->overrides, g->overrides_len), name, value;
    char text[HTTP1_TARGET_MAX];
    size_t len;

    while (g->overrides && mkv_query_next(&rest, &name, &value))
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            if (mkv_slice_eq(name, rows[i].parameter) && value.len &&
                mkv_percent_decode(value, true, text, &len)) /* which went well before */
                s3_head_set(h, rows[i].header, mkv_slice(text, len));
}

static void add_range(const struct get *g, struct s3_head *h)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "bytes %llu-%llu/%lld", (unsigned long long)g->first,
                     (unsigned long long)(g->first + g->length - 1), (long long)g->rec.size);

    if (g->wanted == WANT_RANGE && g->length)
        s3_head_add(h, MKV_SLICE("Content-Range"), mkv_slice(text, (size_t)n));
    if (g->part && s3_meta_part_count(&g->rec))
        s3_head_number(h, MKV_SLICE("x-amz-mp-parts-count"), s3_meta_part_count(&g->rec));
}

static void make_head(const struct s3_call *c, const struct get *g, struct s3_head *h)
{
    s3_head_begin(h, c);
    s3_meta_headers(&g->rec, c->object, h);
    add_range(g, h);
    /* Of a piece, a checksum of the whole would be taken for the piece's. */
    if (g->checksum && g->wanted == WANT_ALL) s3_meta_checksum_headers(&g->rec, h);
    add_overrides(g, h);
}

static void send_head(struct s3_call *c)
{
    struct get *g = c->state;
    int status = g->wanted == WANT_RANGE ? 206 : 200;
    struct s3_head h;

    make_head(c, g, &h);
    g->begun = true;
    c->r->transport->head(c->r, status, h.h, h.n, (int64_t)g->length);
}

static void answer_head_only(struct s3_call *c)
{
    send_head(c);
    c->r->transport->end(c->r);
    s3_call_end(c);
}

/* As RFC 9110 wants it: with what a cache needs. */
static void reply_not_modified(struct s3_call *c)
{
    struct get *g = c->state;
    struct s3_head h;

    s3_head_begin(&h, c);
    s3_meta_headers(&g->rec, c->object, &h);
    s3_reply_head(c, 304, &h);
}

/* ---- the body --------------------------------------------------------------------- */

static void on_opened(uint64_t size, void *arg)
{
    struct s3_call *c = arg;
    struct get *g = c->state;

    if (g->rec.size >= 0) {
        if (!g->begun) send_head(c);
        return;
    }
    /* Adopted without a size: now what is wanted of it can be told. */
    mkv_read_cancel(g->read);
    g->read = NULL;
    g->rec.size = (int64_t)size;
    start_read(c);
}

static void break_off(struct s3_call *c, const char *why)
{
    struct get *g = c->state;

    mkv_read_cancel(g->read);
    g->read = NULL;
    c->r->transport->abort(c->r, why);
    s3_call_end(c);
}

static void on_body(struct mkv_bytes piece, void *arg)
{
    struct s3_call *c = arg;
    struct get *g = c->state;

    if (mkv_bytes_append(g->out, piece)) {
        break_off(c, "out of memory");
        return;
    }
    c->r->transport->body(c->r, g->out);
    if (c->r->transport->unsent(c->r) > MKV_OUTPUT_HIGH) mkv_read_pause(g->read, true);
}

/* The same without a copy, where the client has taken all that came before. */
static void on_piped(struct mkv_pipe *pipe, void *arg)
{
    struct s3_call *c = arg;
    struct get *g = c->state;
    bool shared = c->r->transport->share(c->r, pipe);
    struct mkv_bytes piece;

    while (!shared && g->read && mkv_pipe_len(pipe)) {
        if (mkv_pipe_read(pipe, mkv_store_blocks(c->api->store), &piece) > 0)
            on_body(piece, c);
        else
            break_off(c, "out of memory");
    }
    if (g->read && c->r->transport->unsent(c->r) > 0) mkv_read_pause(g->read, true);
}

static void on_read(enum mkv_err err, void *arg)
{
    struct s3_call *c = arg;
    struct get *g = c->state;

    g->read = NULL;
    if (!g->begun) {
        s3_reply_failure(c, err ? err : MKV_EVOLUME);
        return;
    }
    if (err)
        c->r->transport->abort(c->r, "no volume can go on with the value");
    else
        c->r->transport->end(c->r);
    s3_call_end(c);
}

static void on_drained(struct mkv_request *r)
{
    struct s3_call *c = r->state;
    struct get *g = c->state;

    if (g->read) mkv_read_pause(g->read, false);
}

static void on_gone(struct mkv_request *r, const char *why)
{
    struct s3_call *c = r->state;
    struct get *g = c->state;

    (void)why;
    mkv_read_cancel(g->read);
    if (g->locate) mkv_locate_cancel(g->locate);
    s3_call_end(c);
}

static const struct mkv_request_events get_events = {.drained = on_drained, .gone = on_gone};

/* ---- what is wanted ------------------------------------------------------------------ */

/* Once the size is known.  S3_OK, S3_INVALID_RANGE, S3_INVALID_PART_NUMBER. */
static enum s3_error choose(struct s3_call *c)
{
    struct get *g = c->state;
    struct s3_described object;
    const struct s3_conditions asked = {
        .range = g->range[0] ? mkv_slice_of(g->range) : mkv_slice(NULL, 0),
        .if_range = g->if_range[0] ? mkv_slice_of(g->if_range) : mkv_slice(NULL, 0)};
    struct s3_range range;

    s3_describe(&object, &g->rec, c->object);
    g->first = 0;
    g->length = object.is.size;
    g->wanted = WANT_ALL;
    if (g->part) {
        g->wanted = WANT_RANGE;
        return s3_meta_part(&g->rec, g->part, &g->first, &g->length) ? S3_OK
                                                                     : S3_INVALID_PART_NUMBER;
    }
    switch (s3_range(&asked, &object.is, &range)) {
    case S3_RANGE_ALL: return S3_OK;
    case S3_RANGE_UNSATISFIABLE: return S3_INVALID_RANGE;
    case S3_RANGE_PART: break;
    }
    g->wanted = WANT_RANGE;
    g->first = range.first;
    g->length = range.last - range.first + 1;
    return S3_OK;
}

/* As RFC 9110 wants it: with the size, so that the client can ask for less. */
static void reply_bad_range(struct s3_call *c)
{
    const struct get *g = c->state;
    char text[48];
    int n = snprintf(text, sizeof(text), "bytes */%lld", (long long)g->rec.size);
    const struct mkv_header size = {MKV_SLICE("Content-Range"), {text, (size_t)n}};

    s3_reply_error_with(c, S3_INVALID_RANGE, NULL, &size);
}

/* The size is known, or else has to be asked for first. */
static void start_read(struct s3_call *c)
{
    static const struct mkv_read_events events = {
        .opened = on_opened, .body = on_body, .piped = on_piped, .done = on_read};
    struct get *g = c->state;
    struct mkv_read_options opt = {.key = c->object, .record = &g->rec, .length = 0};
    enum s3_error bad = g->rec.size < 0 ? S3_OK : choose(c);
    enum mkv_err err;

    if (bad == S3_INVALID_RANGE) {
        reply_bad_range(c);
        return;
    }
    if (bad) {
        s3_reply_error(c, bad, NULL);
        return;
    }
    if (g->rec.size >= 0 && (c->is_head || g->length == 0)) {
        answer_head_only(c);
        return;
    }
    if (g->rec.size >= 0) {
        opt.first = g->first;
        opt.length = g->length;
    }
    err = mkv_store_read(&g->read, c->api->store, &opt, &events, c);
    if (err) s3_reply_failure(c, err);
}

/* ---- a redirect ------------------------------------------------------------------------ */

static void reply_location(struct s3_call *c, const struct mkv_location *where)
{
    struct s3_head h;

    s3_head_begin(&h, c);
    s3_head_add(&h, MKV_SLICE("Location"), mkv_slice(where->url, where->url_len));
    s3_reply_head(c, 302, &h);
}

static void on_located(enum mkv_err err, const struct mkv_location *where, void *arg)
{
    struct s3_call *c = arg;

    ((struct get *)c->state)->locate = NULL;
    if (err)
        s3_reply_failure(c, err);
    else
        reply_location(c, where);
}

static bool wants_redirect(const struct s3_call *c)
{
    const char *when = c->api->cfg->s3_redirect;
    const struct get *g = c->state;
    struct mkv_slice ignored;

    if (c->is_head || !when || strcmp(when, "never") == 0) return false;
    if (g->part || g->overrides) return false; /* of which a volume knows nothing */
    return strcmp(when, "always") == 0 || s3_param(c, "X-Amz-Signature", &ignored) ||
           s3_param(c, "Signature", &ignored);
}

static void redirect(struct s3_call *c)
{
    struct get *g = c->state;
    struct mkv_location where;
    enum mkv_err err =
        mkv_store_locate(c->api->store, c->object, &where, &g->locate, on_located, c);

    if (err == MKV_PENDING) return;
    g->locate = NULL;
    on_located(err, &where, c);
}

/* ---- the beginning ----------------------------------------------------------------------- */

/* A Range that does not fit is none that S3 knows; an If-Range that does not fit
 * names no version of ours, so that everything is sent. */
static void keep_range(struct get *g)
{
    struct mkv_slice range = g->conditions.range, if_range = g->conditions.if_range;

    if (!range.len || range.len >= sizeof(g->range)) return;
    if (if_range.data && (!if_range.len || if_range.len >= sizeof(g->if_range))) return;
    memcpy(g->range, range.data, range.len);
    if (if_range.len) memcpy(g->if_range, if_range.data, if_range.len);
}

/* False: a response-... that is no header's value. */
static bool overrides_are_clean(const struct get *g)
{
    struct mkv_slice rest = mkv_slice(g->overrides, g->overrides_len), name, value;
    char text[HTTP1_TARGET_MAX];
    size_t len;

    while (g->overrides && mkv_query_next(&rest, &name, &value)) {
        if (!mkv_slice_begins(name, MKV_SLICE("response-"))) continue;
        if (!mkv_percent_decode(value, true, text, &len)) return false;
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) return false;
    }
    return true;
}

static enum s3_error read_head(struct s3_call *c, struct get *g, const char **why)
{
    struct mkv_slice text;
    unsigned long long n;

    if (!s3_conditions_find(c->r->headers, c->r->nheaders, false, &g->conditions)) {
        *why = "A conditional header or Range comes more than once.";
        return S3_INVALID_REQUEST;
    }
    if (!overrides_are_clean(g)) {
        *why = "A response-... parameter holds what no header can.";
        return S3_INVALID_ARGUMENT;
    }
    keep_range(g);
    g->checksum = mkv_slice_ieq(s3_header(c, "x-amz-checksum-mode"), MKV_SLICE("ENABLED"));
    if (!s3_param(c, "partNumber", &text)) return S3_OK;
    if (!mkv_slice_number(text, S3_PARTS_MAX, &n) || n == 0) {
        *why = "partNumber must be a number from 1 to 10000.";
        return S3_INVALID_ARGUMENT;
    }
    if (g->range[0]) {
        *why = "Range and partNumber can not be had together.";
        return S3_INVALID_REQUEST;
    }
    g->part = (unsigned)n;
    return S3_OK;
}

static bool keep_overrides(struct s3_call *c, struct get *g)
{
    if (!c->r->has_query || !memmem(c->r->query.data, c->r->query.len, "response-", 9))
        return true;
    g->overrides = malloc(c->r->query.len);
    if (!g->overrides) return false;
    memcpy(g->overrides, c->r->query.data, c->r->query.len);
    g->overrides_len = c->r->query.len;
    return true;
}

static enum s3_error check_conditions(const struct s3_call *c, const struct get *g)
{
    struct s3_described object;

    s3_describe(&object, &g->rec, c->object);
    return s3_conditions_read(&g->conditions, &object.is);
}

void s3_get_object(struct s3_call *c)
{
    struct get *g = calloc(1, sizeof(*g));
    enum s3_error bad = S3_INTERNAL_ERROR;
    enum mkv_err err = MKV_OK;
    const char *why = NULL;

    if (!g) {
        s3_reply_error(c, bad, NULL);
        return;
    }
    mkv_record_init(&g->rec);
    c->state = g;
    c->clear = clear_get;
    c->r->events = &get_events;
    g->out = evbuffer_new();
    if (g->out && keep_overrides(c, g)) bad = read_head(c, g, &why);
    if (!bad) err = mkv_index_get(mkv_store_index(c->api->store), c->object, &g->rec, NULL, NULL);
    if (!bad && !err && g->rec.state != MKV_LIVE) err = MKV_ENOKEY;
    if (!bad && !err) bad = check_conditions(c, g);
    if (err)
        s3_reply_failure(c, err);
    else if (bad == S3_NOT_MODIFIED)
        reply_not_modified(c);
    else if (bad)
        s3_reply_error(c, bad, why);
    else if (wants_redirect(c))
        redirect(c);
    else
        start_read(c);
}
