/* The native API: everything but listings (native_list.c) and PUT (native_put.c). */
#include "api/native.h"

#include "mkv/uri.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- answers ------------------------------------------------------------------ */

void native_status(struct mkv_request *r, int status)
{
    r->transport->reply(r, status, NULL, 0, mkv_slice(NULL, 0));
}

void native_error(struct mkv_request *r, enum mkv_err err)
{
    static const struct mkv_header text = {{"Content-Type", 12}, {"text/plain", 10}};
    static const struct mkv_header later[] = {{{"Content-Type", 12}, {"text/plain", 10}},
                                              {{"Retry-After", 11}, {"1", 1}}};
    int status = mkv_err_http(err);
    char line[256];
    int n = snprintf(line, sizeof(line), "%s\n", mkv_strerror(err));

    r->transport->reply(r, status, status == 503 ? later : &text, status == 503 ? 2 : 1,
                        mkv_slice(line, (size_t)n));
}

void native_no_query(struct mkv_request *r, const struct mkv_api *api)
{
    (void)api;
    r->transport->reply(r, 403, NULL, 0,
                        MKV_SLICE("unknown operation: GET takes ?list, ?unlinked or ?writing\n"));
}

void native_no_method(struct mkv_request *r, const struct mkv_api *api)
{
    (void)api;
    r->transport->reply(r, 501, NULL, 0,
                        MKV_SLICE("unknown method: this server takes GET, HEAD, PUT, REPLACE, "
                                  "DELETE, UNLINK, RELINK and REBALANCE\n"));
}

/* ---- GET and HEAD ---------------------------------------------------------------- */

static void reply_found(struct mkv_request *r, const struct mkv_location *where)
{
    struct mkv_header h[4];
    size_t n = 0;

    h[n++] = (struct mkv_header){MKV_SLICE("Location"), {where->url, where->url_len}};
    if (where->md5[0])
        h[n++] = (struct mkv_header){MKV_SLICE("Content-Md5"), {where->md5, 2 * MKV_MD5_LEN}};
    h[n++] = (struct mkv_header){MKV_SLICE("Key-Balance"), where->balanced
                                                               ? MKV_SLICE("balanced")
                                                               : MKV_SLICE("unbalanced")};
    h[n++] = (struct mkv_header){MKV_SLICE("Key-Volumes"), {where->volumes, where->volumes_len}};
    r->transport->reply(r, 302, h, n, mkv_slice(NULL, 0));
}

/* The same key on another host: "http://HOST" and the key, percent-encoded. */
static void reply_fallback(struct mkv_request *r, const char *host)
{
    size_t host_len = strlen(host), n = 0;
    char *url = malloc(7 + host_len + 3 * r->key.len);
    struct mkv_header location = {MKV_SLICE("Location"), {url, 0}};

    if (!url) {
        native_error(r, MKV_ENOMEM);
        return;
    }
    memcpy(url, "http://", 7);
    memcpy(url + 7, host, host_len);
    n = 7 + host_len;
    n += mkv_percent_encode_path(r->key, url + n);
    location.value.len = n;
    r->transport->reply(r, 302, &location, 1, mkv_slice(NULL, 0));
    free(url);
}

static void on_located(enum mkv_err err, const struct mkv_location *where, void *arg)
{
    struct mkv_request *r = arg;

    if (!err)
        reply_found(r, where);
    else if (err == MKV_ENOKEY) /* deleted while its replicas were asked */
        native_status(r, 404);
    else
        native_error(r, err);
}

static void get_gone(struct mkv_request *r, const char *why)
{
    (void)why;
    mkv_locate_cancel(r->state);
}

void native_get(struct mkv_request *r, const struct mkv_api *api)
{
    static const struct mkv_request_events events = {.gone = get_gone};
    struct mkv_location where;
    struct mkv_locate *pending;
    enum mkv_err err = mkv_store_locate(api->store, r->key, &where, &pending, on_located, r);

    switch (err) {
    case MKV_OK: reply_found(r, &where); break;
    case MKV_PENDING:
        r->state = pending;
        r->events = &events;
        break;
    case MKV_ENOKEY:
        if (api->cfg->fallback)
            reply_fallback(r, api->cfg->fallback);
        else
            native_status(r, 404);
        break;
    default: native_error(r, err);
    }
}

/* ---- DELETE, UNLINK, RELINK -------------------------------------------------------- */

static void on_removed(enum mkv_err err, void *arg)
{
    if (err)
        native_error(arg, err);
    else
        native_status(arg, 204);
}

static void remove_gone(struct mkv_request *r, const char *why)
{
    (void)why;
    mkv_remove_forget(r->state); /* what was asked for is done all the same */
}

typedef enum mkv_err verb(struct mkv_store *store, struct mkv_slice key, struct mkv_remove **out,
                          mkv_done *done, void *arg);

static void start_removal(struct mkv_request *r, const struct mkv_api *api, verb *start)
{
    static const struct mkv_request_events events = {.gone = remove_gone};
    struct mkv_remove *removal;
    enum mkv_err err = start(api->store, r->key, &removal, on_removed, r);

    if (err == MKV_ENOKEY) {
        native_status(r, 404);
    } else if (err) {
        native_error(r, err);
    } else {
        r->state = removal;
        r->events = &events;
    }
}

void native_delete(struct mkv_request *r, const struct mkv_api *api)
{
    start_removal(r, api, mkv_store_delete);
}

void native_unlink(struct mkv_request *r, const struct mkv_api *api)
{
    start_removal(r, api, mkv_store_unlink);
}

void native_relink(struct mkv_request *r, const struct mkv_api *api)
{
    start_removal(r, api, mkv_store_relink);
}

/* ---- REBALANCE ----------------------------------------------------------------------- */

static void on_moved(enum mkv_err err, const char *why, void *arg)
{
    static const struct mkv_header text = {{"Content-Type", 12}, {"text/plain", 10}};
    struct mkv_request *r = arg;
    char line[1024];
    int n;

    if (!err) {
        native_status(r, 204);
    } else if (err == MKV_ENOKEY) {
        native_status(r, 404);
    } else if (err == MKV_ECANNOTMOVE) {
        n = snprintf(line, sizeof(line), "%.1000s\n", why);
        r->transport->reply(r, mkv_err_http(err), &text, 1, mkv_slice(line, (size_t)n));
    } else {
        native_error(r, err);
    }
}

static void move_gone(struct mkv_request *r, const char *why)
{
    (void)why;
    mkv_move_forget(r->state); /* once begun it is finished all the same */
}

static bool parse_move_flags(struct mkv_slice query, unsigned *flags)
{
    struct mkv_slice name, value;

    *flags = 0;
    while (mkv_query_next(&query, &name, &value)) {
        if (mkv_slice_eq(name, MKV_SLICE("unlinked")))
            *flags |= MKV_MOVE_UNLINKED;
        else if (mkv_slice_eq(name, MKV_SLICE("deep")))
            *flags |= MKV_MOVE_DEEP;
        else
            return false;
    }
    return true;
}

void native_rebalance(struct mkv_request *r, const struct mkv_api *api)
{
    static const struct mkv_request_events events = {.gone = move_gone};
    struct mkv_move *move;
    enum mkv_err err;
    unsigned flags;

    if (!parse_move_flags(r->has_query ? r->query : mkv_slice(NULL, 0), &flags)) {
        r->transport->reply(r, 400, NULL, 0,
                            MKV_SLICE("unknown operation: REBALANCE takes ?unlinked and ?deep\n"));
        return;
    }
    err = mkv_store_move(api->store, r->key, flags, &move, on_moved, r);
    if (err == MKV_ENOKEY) {
        native_status(r, 404);
    } else if (err) {
        native_error(r, err);
    } else {
        r->state = move;
        r->events = &events;
    }
}
