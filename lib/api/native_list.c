/* ?list, ?unlinked, ?writing: keys in byte order, streamed as JSON.
 *
 * {"next":"","keys":["/a","/b"]}.  "next" comes first, so with a limit a first
 * walk looks for it; the second then ends before it. */
#include "api/native.h"

#include "mkv/uri.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#define SLICE_KEYS  2000        /* examined in one turn: about a millisecond        */
#define SLICE_BYTES (64 * 1024) /* gathered before they are handed to the front     */
#define ENTRY_MAX   (6 * MKV_KEY_MAX + 3) /* a key escaped, quotes, comma           */

enum list_step {
    LIST_COUNT, /* with a limit: find the first key left out */
    LIST_KEYS,  /* write the keys                            */
    LIST_END    /* close the array                           */
};

struct list {
    struct mkv_request *request; /* borrowed: it hears gone() first  */
    const struct mkv_api *api;
    enum list_step step;
    struct mkv_walk walk;
    enum mkv_table table;
    enum mkv_state state;
    struct mkv_slice prefix, start; /* owned: text behind this struct */
    uint64_t limit;              /* 0: none                          */
    uint64_t counted;
    char next[MKV_KEY_MAX];      /* the first key left out           */
    size_t next_len;             /* 0: none is                       */
    bool first;                  /* no key written yet               */
    char *text;                  /* owned: output not handed over    */
    size_t text_len;
    struct event turn;           /* the next slice                   */
    struct mkv_retired retired;
};

static void destroy(void *arg)
{
    struct list *l = arg;

    free(l->text);
    free(l);
}

static void end(struct list *l)
{
    event_del(&l->turn);
    mkv_loop_retire(l->api->loop, &l->retired, destroy, l);
}

/* ---- output ------------------------------------------------------------------------- */

static void add(struct list *l, struct mkv_slice s)
{
    memcpy(l->text + l->text_len, s.data, s.len);
    l->text_len += s.len;
}

static void add_key(struct list *l, struct mkv_slice key)
{
    if (!l->first) l->text[l->text_len++] = ',';
    l->first = false;
    l->text[l->text_len++] = '"';
    l->text_len += mkv_json_escape(key, l->text + l->text_len);
    l->text[l->text_len++] = '"';
}

static bool hand_over(struct list *l)
{
    struct evbuffer *out = evbuffer_new();
    bool ok = out && evbuffer_add(out, l->text, l->text_len) == 0;

    if (ok) l->request->transport->body(l->request, out);
    if (out) evbuffer_free(out);
    l->text_len = 0;
    return ok;
}

/* ---- the walk ----------------------------------------------------------------------- */

static bool count_one(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct list *l = arg;

    (void)data;
    (void)len;
    if (l->counted++ < l->limit) return true;
    memcpy(l->next, key.data, key.len);
    l->next_len = key.len;
    return false;
}

static bool write_one(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct list *l = arg;

    (void)data;
    (void)len;
    if (l->next_len && mkv_slice_cmp(key, mkv_slice(l->next, l->next_len)) >= 0) {
        l->step = LIST_END;
        return false;
    }
    if (l->text_len + ENTRY_MAX > SLICE_BYTES) return false; /* this one in the next slice */
    add_key(l, key);
    return true;
}

static void begin_keys(struct list *l)
{
    l->step = LIST_KEYS;
    mkv_walk_init(&l->walk, l->table, l->state, l->prefix, l->start);
    add(l, MKV_SLICE("{\"next\":\""));
    l->text_len += mkv_json_escape(mkv_slice(l->next, l->next_len), l->text + l->text_len);
    add(l, MKV_SLICE("\",\"keys\":["));
}

static void fail(struct list *l, const char *why)
{
    struct mkv_request *r = l->request;

    end(l);
    r->transport->abort(r, why);
}

/* One slice of the work.  The next one follows in the next turn, after what
 * others wait for, or when the reader has caught up. */
static void work(struct list *l)
{
    struct mkv_request *r = l->request;
    const struct timeval at_once = {0, 0};
    bool counting = l->step == LIST_COUNT;

    if (mkv_index_walk(mkv_store_index(l->api->store), &l->walk, SLICE_KEYS,
                       counting ? count_one : write_one, l)) {
        fail(l, "the index can not be read");
        return;
    }
    if (counting && (l->next_len || l->walk.ended))
        begin_keys(l);
    else if (!counting && l->walk.ended)
        l->step = LIST_END;
    if (l->step == LIST_END) add(l, MKV_SLICE("]}"));
    if (l->text_len && !hand_over(l)) {
        fail(l, "out of memory");
    } else if (l->step == LIST_END) {
        end(l);
        r->transport->end(r);
    } else if (r->transport->unsent(r) <= MKV_OUTPUT_HIGH) {
        event_add(&l->turn, &at_once);
    }
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    work(arg);
}

static void list_drained(struct mkv_request *r)
{
    const struct timeval at_once = {0, 0};
    struct list *l = r->state;

    event_add(&l->turn, &at_once);
}

static void list_gone(struct mkv_request *r, const char *why)
{
    (void)why;
    end(r->state);
}

/* ---- the query ----------------------------------------------------------------------- */

/* As the original reads it: a whole number; none, 0 or less: no limit. */
static bool parse_limit(struct mkv_slice s, uint64_t *limit)
{
    bool negative = s.len && s.data[0] == '-';
    unsigned long long n;

    if (negative) s = mkv_slice(s.data + 1, s.len - 1);
    if (!mkv_slice_number(s, INT64_MAX, &n)) return false;
    *limit = negative ? 0 : n;
    return true;
}

static bool parse_query(struct list *l, struct mkv_slice query, char *start_out)
{
    struct mkv_slice name, value;
    char number[32];
    size_t len;

    while (mkv_query_next(&query, &name, &value)) {
        if (mkv_slice_eq(name, MKV_SLICE("start"))) {
            if (!mkv_percent_decode(value, true, start_out, &len)) return false;
            l->start = mkv_slice(start_out, len);
        } else if (mkv_slice_eq(name, MKV_SLICE("limit")) && value.len) {
            if (value.len > sizeof(number) || !mkv_percent_decode(value, true, number, &len) ||
                !parse_limit(mkv_slice(number, len), &l->limit))
                return false;
        }
    }
    return true;
}

static enum mkv_err open_list(struct list **out, struct mkv_request *r, const struct mkv_api *api,
                              struct mkv_slice operation)
{
    /* Behind the struct: the prefix, then the start, which is no longer than the query. */
    struct list *l = malloc(sizeof(*l) + r->key.len + r->query.len + 1);
    char *behind;

    if (!l) return MKV_ENOMEM;
    memset(l, 0, offsetof(struct list, next));
    l->next_len = l->text_len = 0;
    l->first = true;
    behind = (char *)(l + 1);
    memcpy(behind, r->key.data, r->key.len);
    l->request = r;
    l->api = api;
    l->prefix = mkv_slice(behind, r->key.len);
    if (!parse_query(l, r->query, behind + r->key.len)) {
        free(l);
        return MKV_EINVAL;
    }
    /* Room for the head of the object and what a slice may overshoot by. */
    l->text = malloc(SLICE_BYTES + 2 * ENTRY_MAX);
    if (!l->text) {
        free(l);
        return MKV_ENOMEM;
    }
    l->table = MKV_TABLE_RECORDS;
    l->state = MKV_LIVE;
    if (mkv_slice_eq(operation, MKV_SLICE("unlinked"))) l->state = MKV_UNLINKED;
    if (mkv_slice_eq(operation, MKV_SLICE("writing"))) {
        l->table = MKV_TABLE_MARKS;
        l->state = 0;
    }
    event_assign(&l->turn, mkv_loop_base(api->loop), -1, 0, on_turn, l);
    *out = l;
    return MKV_OK;
}

void native_list(struct mkv_request *r, const struct mkv_api *api)
{
    static const struct mkv_request_events events = {.drained = list_drained, .gone = list_gone};
    static const struct mkv_header json = {{"Content-Type", 12}, {"application/json", 16}};
    struct mkv_slice rest = r->query, operation, value;
    struct list *l;
    enum mkv_err err;

    mkv_query_next(&rest, &operation, &value);
    err = open_list(&l, r, api, operation);
    if (err == MKV_EINVAL) {
        r->transport->reply(r, 400, NULL, 0,
                            MKV_SLICE("limit must be a whole number, and start a "
                                      "percent-encoded key\n"));
        return;
    }
    if (err) {
        native_error(r, err);
        return;
    }
    r->state = l;
    r->events = &events;
    r->transport->head(r, 200, &json, 1, MKV_LENGTH_UNKNOWN);
    if (l->limit) {
        l->step = LIST_COUNT;
        mkv_walk_init(&l->walk, l->table, l->state, l->prefix, l->start);
    } else {
        begin_keys(l);
    }
    work(l);
}
