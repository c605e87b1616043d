/* test/unit/store_helper.h - a store with its index and its volumes in this
 * process, and writes to it. */
#ifndef STORE_HELPER_H
#define STORE_HELPER_H

#include "mkv/config.h"
#include "mkv/store.h"
#include "net/block.h"

#include "index_helper.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdlib.h>
#include <time.h>

#define VOLUMES_MAX 18
#define FILES_MAX   64

/* ---- volumes ------------------------------------------------------------------- */

/* Keeps names and dates, no contents, in the same loop. */
struct toy_volume {
    struct evhttp *http;
    char name[32];
    char files[FILES_MAX][256], dates[FILES_MAX][MKV_HTTP_DATE_MAX];
    unsigned nfiles, puts, deletes;
    int refuse_puts, refuse_deletes; /* this status instead */
    bool unreadable;
};

struct world {
    struct mkv_loop *loop;
    struct mkv_config cfg;
    struct mkv_metrics metrics;
    struct mkv_store *store;
    struct toy_volume volumes[VOLUMES_MAX];
    unsigned nvolumes;
    char dir[64];
};

static inline int find_file(const struct toy_volume *v, const char *path)
{
    for (unsigned i = 0; i < v->nfiles; i++)
        if (strcmp(v->files[i], path) == 0) return (int)i;
    return -1;
}

static inline int toy_put(struct toy_volume *v, const char *path, const char *date)
{
    v->puts++;
    if (v->refuse_puts) return v->refuse_puts;
    if (find_file(v, path) < 0) {
        assert_true(v->nfiles < FILES_MAX && strlen(path) < sizeof(v->files[0]));
        memcpy(v->files[v->nfiles], path, strlen(path) + 1);
        snprintf(v->dates[v->nfiles++], sizeof(v->dates[0]), "%s", date ? date : "");
    }
    return 201;
}

static inline int toy_delete(struct toy_volume *v, const char *path)
{
    int i = find_file(v, path);

    v->deletes++;
    if (v->refuse_deletes) return v->refuse_deletes;
    if (i < 0) return 404;
    memmove(v->files[i], v->files[--v->nfiles], sizeof(v->files[i]));
    memmove(v->dates[i], v->dates[v->nfiles], sizeof(v->dates[i]));
    return 204;
}

static inline void on_toy_request(struct evhttp_request *req, void *arg)
{
    struct toy_volume *v = arg;
    const char *path = evhttp_request_get_uri(req);
    const struct evkeyvalq *said = evhttp_request_get_input_headers(req);
    struct evkeyvalq *says;
    struct evbuffer *value = NULL;
    int status, i;

    switch (evhttp_request_get_command(req)) {
    case EVHTTP_REQ_PUT: status = toy_put(v, path, evhttp_find_header(said, "Date")); break;
    case EVHTTP_REQ_DELETE: status = toy_delete(v, path); break;
    default:
        i = find_file(v, path);
        status = v->unreadable ? 500 : i < 0 ? 404 : 200;
        value = evbuffer_new();
        if (status != 200) break;
        evbuffer_add(value, "value", 5);
        says = evhttp_request_get_output_headers(req);
        evhttp_add_header(says, "Content-Length", "5"); /* to a HEAD, too */
        if (v->dates[i][0]) evhttp_add_header(says, "Last-Modified", v->dates[i]);
    }
    evhttp_send_reply(req, status, "Toy", value);
    if (value) evbuffer_free(value);
}

static inline void start_volume(struct world *w, struct toy_volume *v)
{
    struct evhttp_bound_socket *bound;
    struct sockaddr_in at;
    socklen_t len = sizeof(at);

    v->http = evhttp_new(mkv_loop_base(w->loop));
    evhttp_set_allowed_methods(v->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                            EVHTTP_REQ_DELETE);
    evhttp_set_gencb(v->http, on_toy_request, v);
    bound = evhttp_bind_socket_with_handle(v->http, "127.0.0.1", 0);
    assert_non_null(bound);
    assert_int_equal(
        getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&at, &len), 0);
    snprintf(v->name, sizeof(v->name), "127.0.0.1:%u", ntohs(at.sin_port));
}

/* ---- the world ------------------------------------------------------------------- */

static inline void open_store(struct world *w)
{
    char why[256];

    if (mkv_store_open(&w->store, w->loop, &w->cfg, &w->metrics, "127.0.0.1:1", why, sizeof(why)))
        fail_msg("open: %s", why);
}

/* A store in a directory of its own; more: one further flag, or NULL. */
static inline void open_world(struct world *w, char *list, const char *replicas, const char *more)
{
    snprintf(w->dir, sizeof(w->dir), "%s/mkv-store-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    assert_non_null(mkdtemp(w->dir));
    char *argv[] = {"mkv-server", "-db", w->dir, "-volumes", list, "-replicas", (char *)replicas,
                    "-probe-ttl", "0", "-db-size", "64M", "-voltimeout", "20s", (char *)more};
    assert_int_equal(mkv_config_parse(&w->cfg, MKV_PROGRAM_SERVER, more ? 14 : 13, argv),
                     MKV_CONFIG_RUN);
    open_store(w);
}

static inline void begin_with(struct world *w, unsigned nvolumes, const char *replicas,
                              const char *more)
{
    char list[VOLUMES_MAX * sizeof(w->volumes[0].name)];
    size_t len = 0;

    memset(w, 0, sizeof(*w));
    assert_int_equal(mkv_loop_open(&w->loop), MKV_OK);
    w->nvolumes = nvolumes;
    for (unsigned i = 0; i < nvolumes; i++) {
        start_volume(w, &w->volumes[i]);
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? "," : "",
                                w->volumes[i].name);
    }
    open_world(w, list, replicas, more);
}

static inline void begin(struct world *w, unsigned nvolumes, const char *replicas)
{
    begin_with(w, nvolumes, replicas, NULL);
}

static inline void finish(struct world *w)
{
    mkv_store_close(w->store);
    for (unsigned i = 0; i < w->nvolumes; i++) evhttp_free(w->volumes[i].http);
    mkv_config_clear(&w->cfg);
    mkv_loop_close(w->loop);
    remove_tree(w->dir);
}

static inline struct toy_volume *volume_called(struct world *w, struct mkv_slice name)
{
    for (unsigned i = 0; i < w->nvolumes; i++)
        if (mkv_slice_eq(name, mkv_slice_of(w->volumes[i].name))) return &w->volumes[i];
    fail_msg("no such volume");
    return NULL;
}

/* The volumes in placement order of key. */
static inline void by_placement(struct world *w, const char *key, struct toy_volume **ordered)
{
    struct mkv_replica places[VOLUMES_MAX];

    mkv_place(text(key), w->cfg.volumes, w->nvolumes, 10, places);
    for (unsigned i = 0; i < w->nvolumes; i++)
        ordered[i] = volume_called(w, w->cfg.volumes[places[i].volume]);
}

static inline unsigned all_files(const struct world *w)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->nvolumes; i++) n += w->volumes[i].nfiles;
    return n;
}

#define run_until(w, condition)                                                                   \
    do {                                                                                          \
        for (time_t end_ = time(NULL) + 30; !(condition);) {                                      \
            mkv_loop_turn((w)->loop);                                                             \
            if (time(NULL) > end_) fail_msg("never: %s", #condition);                             \
        }                                                                                         \
    } while (0)

/* ---- a write ---------------------------------------------------------------------- */

struct write {
    struct mkv_put *put;
    const char *value;
    const struct mkv_put_events *events; /* NULL: neither allow nor verify */
    const struct mkv_record *fields;
    bool md5;
    bool inside, cancel_at_ready, leave_open, hold;
    unsigned ready, done;
    enum mkv_err err;
    unsigned nreplicas;
};

static inline void send_value(struct write *wr)
{
    const struct mkv_bytes all = {(const uint8_t *)wr->value, strlen(wr->value), NULL};

    if (all.len) mkv_put_body(wr->put, all);
    if (!wr->leave_open) mkv_put_end(wr->put);
}

static inline void on_ready(void *arg)
{
    struct write *wr = arg;

    assert_false(wr->inside);
    wr->ready++;
    if (wr->cancel_at_ready) {
        mkv_put_cancel(wr->put);
        return;
    }
    if (!wr->hold) send_value(wr);
}

static inline void on_drained(void *arg)
{
    (void)arg;
}

static inline void on_put(enum mkv_err err, const struct mkv_record *stored, void *arg)
{
    struct write *wr = arg;

    assert_false(wr->inside);
    wr->done++;
    wr->err = err;
    wr->nreplicas = stored ? stored->nreplicas : 0;
}

static inline enum mkv_err start_put(struct world *w, struct write *wr, const char *key,
                                     bool replace)
{
    static const struct mkv_put_events events = {
        .ready = on_ready, .drained = on_drained, .done = on_put};
    const struct mkv_put_options opt = {.key = text(key),
                                        .length = (int64_t)strlen(wr->value),
                                        .replace = replace,
                                        .allow_empty = true,
                                        .md5 = wr->md5,
                                        .fields = wr->fields};
    enum mkv_err err;

    wr->inside = true;
    err = mkv_put_start(&wr->put, w->store, &opt, wr->events ? wr->events : &events, wr);
    wr->inside = false;
    return err;
}

static inline void write_value(struct world *w, struct write *wr, const char *key, bool replace)
{
    assert_int_equal(start_put(w, wr, key, replace), MKV_OK);
    run_until(w, wr->done);
}

static inline void put_well(struct world *w, const char *key)
{
    struct write wr = {.value = "value"};

    write_value(w, &wr, key, false);
    assert_int_equal(wr.err, MKV_OK);
}

static inline enum mkv_err read_record(struct world *w, const char *key, struct mkv_record *rec)
{
    mkv_record_init(rec);
    return mkv_index_get(mkv_store_index(w->store), text(key), rec, NULL, NULL);
}

static inline uint64_t marks(struct world *w)
{
    struct mkv_index_stats stats;

    mkv_index_stats(mkv_store_index(w->store), &stats);
    return stats.writing;
}

#endif
