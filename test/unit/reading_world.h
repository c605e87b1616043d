/* test/unit/reading_world.h - a store whose volumes hold one value, and answer as
 * a test has planned: they break off, lie, or are gone.  And who reads it. */
#ifndef READING_WORLD_H
#define READING_WORLD_H

#include "net/pipe.h"
#include "store_helper.h"

#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/queue.h>

#define SERVERS    3
#define PLAN_MAX   16
#define TO_THE_END UINT64_MAX

enum answer_how {
    GOOD,
    CUT,         /* closes after `bytes` of the body                   */
    HANG_UP,     /* closes instead of an answer                        */
    SILENT,      /* says nothing                                       */
    NO_RANGES,   /* sends all of it, whatever was asked...             */
    NO_END,      /* ...or `bytes` bytes of that, and then no more      */
    CHUNKED,     /* does not tell the length                           */
    LONGER,      /* tells of a value that is one byte longer           */
    OTHER_BYTES, /* begins one byte too late                           */
    MORE,        /* sends `bytes` bytes behind the range, which it did not tell of there */
    FEWER,       /* sends `bytes` bytes of the range, and says so      */
    STATUS       /* answers with `bytes`, without the value            */
};

/* The answer to one request, whichever volume gets it. */
struct answer {
    enum answer_how how;
    size_t bytes;
};

struct toy_connection {
    struct reading_world *rw;
    struct bufferevent *io;
    bool closing; /* once all is sent */
    LIST_ENTRY(toy_connection) link;
};

struct reading_world {
    struct world w;
    struct evconnlistener *listeners[SERVERS];
    LIST_HEAD(, toy_connection) open;
    char names[SERVERS][32];
    char *value; /* owned: what every volume holds */
    size_t size;
    struct mkv_record record;     /* of the key: without an MD5, its size known */
    struct answer plan[PLAN_MAX]; /* of the first requests; the others are answered well... */
    unsigned nplan;
    bool forever; /* ...or as the last one of the plan */
    unsigned asked, heads, connections;
};

#define THE_KEY text("/bucket/key")

static inline struct answer next_answer(struct reading_world *rw, const char *head)
{
    unsigned i = rw->asked++;

    rw->heads += strncmp(head, "HEAD ", 5) == 0;
    if (rw->forever && i >= rw->nplan) i = rw->nplan - 1;
    return i < rw->nplan ? rw->plan[i] : (struct answer){GOOD, 0};
}

static inline void close_toy(struct toy_connection *c)
{
    LIST_REMOVE(c, link);
    bufferevent_free(c->io);
    free(c);
}

/* The rest of a head, and the body from first up to end. */
static inline void send_bytes(struct toy_connection *c, struct answer a, uint64_t first,
                              uint64_t end, bool to_head)
{
    struct evbuffer *out = bufferevent_get_output(c->io);
    size_t len = (size_t)(end - first);

    if (a.how == CHUNKED) {
        evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
        evbuffer_add(out, c->rw->value + first, len);
        evbuffer_add_printf(out, "\r\n0\r\n\r\n");
        return;
    }
    evbuffer_add_printf(out, "Content-Length: %zu\r\n\r\n",
                        len + (a.how == LONGER) + (a.how == MORE ? a.bytes : 0));
    c->closing = a.how == CUT || a.how == LONGER;
    if ((a.how == CUT || a.how == NO_END) && a.bytes < len) len = a.bytes;
    if (!to_head) evbuffer_add(out, c->rw->value + first, len);
    if (a.how == MORE) evbuffer_add(out, c->rw->value, a.bytes);
}

static inline void send_part(struct toy_connection *c, struct answer a, uint64_t first,
                             uint64_t end)
{
    struct evbuffer *out = bufferevent_get_output(c->io);
    uint64_t size = c->rw->size, told = size + (a.how == LONGER);

    if (first >= size) {
        evbuffer_add_printf(out, "HTTP/1.1 416 No\r\nContent-Range: bytes */%" PRIu64 "\r\n", told);
        evbuffer_add_printf(out, "Content-Length: 5\r\n\r\nsorry");
        return;
    }
    if (end > size) end = size;
    if (a.how == FEWER && end - first > a.bytes) end = first + a.bytes;
    if (a.how == OTHER_BYTES) first++;
    evbuffer_add_printf(out, "HTTP/1.1 206 Yes\r\n");
    evbuffer_add_printf(out, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", first,
                        end - 1, told);
    send_bytes(c, a, first, end, false);
}

static inline void answer(struct toy_connection *c, struct answer a, const char *head)
{
    const char *range = strstr(head, "Range: bytes=");
    struct evbuffer *out = bufferevent_get_output(c->io);
    bool to_head = strncmp(head, "HEAD ", 5) == 0;
    uint64_t first = 0, end = UINT64_MAX;

    if (a.how == SILENT) return;
    if (a.how == STATUS) {
        evbuffer_add_printf(out, "HTTP/1.1 %zu No\r\nContent-Length: 5\r\n\r\n%s", a.bytes,
                            to_head ? "" : "sorry");
    } else if (range && a.how != NO_RANGES && a.how != NO_END) {
        if (sscanf(range, "Range: bytes=%" SCNu64 "-%" SCNu64, &first, &end) == 2)
            assert_true(++end <= INT64_MAX); /* more is beyond nginx */
        send_part(c, a, first, end);
    } else {
        evbuffer_add_printf(out, "HTTP/1.1 200 Yes\r\n");
        send_bytes(c, a, 0, c->rw->size, to_head);
    }
}

static inline void on_sent(struct bufferevent *io, void *arg)
{
    struct toy_connection *c = arg;

    (void)io;
    if (c->closing) close_toy(c);
}

static inline void on_asked(struct bufferevent *io, void *arg)
{
    struct toy_connection *c = arg;
    struct evbuffer *in = bufferevent_get_input(io);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    char head[4096];
    size_t len = (size_t)end.pos + 4;
    struct answer a = {STATUS, 200};

    if (end.pos < 0) return; /* the rest will come; one request at a time */
    assert_true(len < sizeof(head));
    evbuffer_remove(in, head, len);
    head[len] = '\0';
    if (strncmp(head, "HEAD / ", 7) != 0) a = next_answer(c->rw, head); /* else: is it up? */
    if (a.how == HANG_UP)
        close_toy(c);
    else
        answer(c, a, head);
}

static inline void on_closed(struct bufferevent *io, short what, void *arg)
{
    (void)io;
    (void)what;
    close_toy(arg);
}

static inline void on_connection(struct evconnlistener *l, evutil_socket_t fd,
                                 struct sockaddr *from, int len, void *arg)
{
    struct toy_connection *c = calloc(1, sizeof(*c));

    (void)from;
    (void)len;
    assert_non_null(c);
    c->rw = arg;
    c->rw->connections++;
    c->io = bufferevent_socket_new(evconnlistener_get_base(l), fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_set_max_single_write(c->io, 1 << 20); /* as fast as a volume */
    LIST_INSERT_HEAD(&c->rw->open, c, link);
    bufferevent_setcb(c->io, on_asked, on_sent, on_closed, c);
    bufferevent_enable(c->io, EV_READ | EV_WRITE);
}

static inline void listen_on(struct reading_world *rw, unsigned i)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    rw->listeners[i] =
        evconnlistener_new_bind(mkv_loop_base(rw->w.loop), on_connection, rw, LEV_OPT_CLOSE_ON_FREE,
                                -1, (struct sockaddr *)&at, sizeof(at));
    assert_non_null(rw->listeners[i]);
    assert_int_equal(
        getsockname(evconnlistener_get_fd(rw->listeners[i]), (struct sockaddr *)&at, &len), 0);
    snprintf(rw->names[i], sizeof(rw->names[i]), "127.0.0.1:%u", ntohs(at.sin_port));
}

/* ---- the index -------------------------------------------------------------------------- */

struct storing {
    unsigned done;
};

static inline void on_stored(enum mkv_err err, void *arg)
{
    struct storing *s = arg;

    assert_int_equal(err, MKV_OK);
    s->done++;
}

/* What the index says of the key from now on; NULL: nothing. */
static inline void store_record(struct reading_world *rw, const struct mkv_record *rec)
{
    const struct mkv_index_change change = {
        .key = THE_KEY, .record_op = rec ? MKV_SET : MKV_REMOVE, .record = rec};
    struct storing s = {0};

    assert_int_equal(mkv_index_apply(mkv_store_index(rw->w.store), &change, on_stored, &s), MKV_OK);
    run_until(&rw->w, s.done);
}

static inline void begin_reading(struct reading_world *rw, size_t size)
{
    char list[SERVERS * sizeof(rw->names[0])];
    uint32_t random = 1;

    signal(SIGPIPE, SIG_IGN); /* a reader may leave */
    memset(rw, 0, sizeof(*rw));
    LIST_INIT(&rw->open);
    assert_int_equal(mkv_loop_open(&rw->w.loop), MKV_OK);
    for (unsigned i = 0; i < SERVERS; i++)
        listen_on(rw, i);
    snprintf(list, sizeof(list), "%s,%s,%s", rw->names[0], rw->names[1], rw->names[2]);
    open_world(&rw->w, list, "3", NULL);
    rw->size = size;
    rw->value = malloc(size + 1);
    assert_non_null(rw->value);
    for (size_t i = 0; i < size; i++)
        rw->value[i] = (char)next_random(&random);
    mkv_record_init(&rw->record);
    rw->record.size = (int64_t)size;
    rw->record.mtime = 1700000000;
    rw->record.nreplicas = SERVERS;
    for (unsigned i = 0; i < SERVERS; i++) {
        rw->record.replicas[i].subvolume = MKV_NO_SUBVOLUME;
        assert_int_equal(mkv_index_volume_id(mkv_store_index(rw->w.store), text(rw->names[i]),
                                             &rw->record.replicas[i].volume),
                         MKV_OK);
    }
    store_record(rw, &rw->record);
}

static inline void end_reading(struct reading_world *rw)
{
    struct toy_connection *c;

    while ((c = LIST_FIRST(&rw->open)))
        close_toy(c);
    for (unsigned i = 0; i < SERVERS; i++)
        evconnlistener_free(rw->listeners[i]);
    free(rw->value);
    finish(&rw->w); /* which has no volumes of its own */
}

/* ---- a reader ------------------------------------------------------------------------ */

enum leave { STAYS, LEAVES_AT_OPENED, LEAVES_AT_BODY };

struct reader {
    struct mkv_read *read;
    struct evbuffer *got; /* owned */
    bool inside, paused, pauses_at_opened, pauses_at_body;
    enum leave leave;
    struct mkv_blocks *blocks; /* for pipes; NULL: takes none */
    unsigned opened, pieces, pipes, done;
    uint64_t size;
    enum mkv_err err;
};

static inline void pause_reader(struct reader *r, bool paused)
{
    r->paused = paused;
    r->inside = true;
    mkv_read_pause(r->read, paused);
    r->inside = false;
}

static inline void on_opened(uint64_t size, void *arg)
{
    struct reader *r = arg;

    assert_false(r->inside);
    assert_int_equal(r->opened + r->pieces + r->done, 0);
    r->opened++;
    r->size = size;
    if (r->pauses_at_opened) pause_reader(r, true);
    if (r->leave == LEAVES_AT_OPENED) mkv_read_cancel(r->read);
}

static inline void on_body(struct mkv_bytes piece, void *arg)
{
    struct reader *r = arg;

    assert_false(r->inside);
    assert_false(r->paused);
    assert_int_equal(r->opened, 1);
    assert_int_equal(r->done, 0);
    assert_true(piece.len > 0);
    r->pieces++;
    assert_int_equal(mkv_bytes_append(r->got, piece), MKV_OK);
    if (r->pauses_at_body) pause_reader(r, true);
    if (r->leave == LEAVES_AT_BODY) mkv_read_cancel(r->read);
}

static inline void on_piped(struct mkv_pipe *pipe, void *arg)
{
    struct reader *r = arg;
    struct mkv_bytes piece;

    r->pipes++;
    while (mkv_pipe_read(pipe, r->blocks, &piece) > 0) on_body(piece, r);
}

static inline void on_read(enum mkv_err err, void *arg)
{
    struct reader *r = arg;

    assert_false(r->inside);
    r->done++;
    r->err = err;
}

static inline enum mkv_err start_reading(struct reading_world *rw, struct reader *r,
                                         const struct mkv_record *record, uint64_t first,
                                         uint64_t length)
{
    static const struct mkv_read_events events = {
        .opened = on_opened, .body = on_body, .done = on_read};
    static const struct mkv_read_events with_pipes = {
        .opened = on_opened, .body = on_body, .piped = on_piped, .done = on_read};
    const struct mkv_read_options opt = {
        .key = THE_KEY, .record = record, .first = first, .length = length};
    enum mkv_err err;

    if (!r->got) r->got = evbuffer_new();
    assert_non_null(r->got);
    r->inside = true;
    err = mkv_store_read(&r->read, rw->w.store, &opt, r->blocks ? &with_pipes : &events, r);
    r->inside = false;
    return err;
}

static inline void clear_reader(struct reader *r)
{
    evbuffer_free(r->got);
    memset(r, 0, sizeof(*r));
}

static inline void plan_answers(struct reading_world *rw, const struct answer *answers, unsigned n)
{
    memcpy(rw->plan, answers, n * sizeof(answers[0]));
    rw->nplan = n;
    rw->forever = false;
    rw->asked = rw->heads = 0;
}

static inline void assert_got(struct reading_world *rw, struct reader *r, uint64_t first,
                              size_t len)
{
    assert_int_equal(evbuffer_get_length(r->got), len);
    if (len && memcmp(evbuffer_pullup(r->got, -1), rw->value + first, len) != 0)
        fail_msg("other bytes");
}

/* Reads it to its end, which is a good one. */
static inline void read_well(struct reading_world *rw, const struct mkv_record *record,
                             uint64_t first, uint64_t length)
{
    uint64_t rest = first < rw->size ? rw->size - first : 0;
    struct reader r = {.read = NULL};

    assert_int_equal(start_reading(rw, &r, record, first, length), MKV_OK);
    run_until(&rw->w, r.done);
    assert_int_equal(r.err, MKV_OK);
    assert_int_equal(r.opened, 1);
    assert_int_equal(r.size, rw->size);
    assert_got(rw, &r, first, (size_t)(length < rest ? length : rest));
    assert_int_equal(mkv_store_busy(rw->w.store), 0);
    clear_reader(&r);
}

/* Reads all of it; how it ends. */
static inline enum mkv_err read_badly(struct reading_world *rw, const struct mkv_record *record,
                                      unsigned opened)
{
    struct reader r = {.read = NULL};
    enum mkv_err err;

    assert_int_equal(start_reading(rw, &r, record, 0, TO_THE_END), MKV_OK);
    run_until(&rw->w, r.done);
    err = r.err;
    assert_int_equal(r.opened, opened);
    assert_int_equal(mkv_store_busy(rw->w.store), 0);
    clear_reader(&r);
    return err;
}

#endif
