#include "api/route.h"

#include "api/native.h"
#include "api/s3.h"
#include "api/s3_sign.h"
#include "mkv/uri.h"

typedef void handler(struct mkv_request *r, const struct mkv_api *api);

#define ANY NULL

/* First match wins.  query: the name of the first query parameter; ANY also
 * where there is none. */
static const struct route {
    enum mkv_method method;
    const char *query;
    handler *handler;
} routes[] = {
    {MKV_GET, "list", native_list},
    {MKV_GET, "unlinked", native_list},
    {MKV_GET, "writing", native_list},
    {MKV_GET, "", native_get}, /* no query at all */
    {MKV_GET, ANY, native_no_query},
    {MKV_HEAD, ANY, native_get},
    {MKV_PUT, ANY, native_put},
    {MKV_REPLACE, ANY, native_put},
    {MKV_DELETE, ANY, native_delete},
    {MKV_UNLINK, ANY, native_unlink},
    {MKV_RELINK, ANY, native_relink},
    {MKV_REBALANCE, ANY, native_rebalance},
};

static bool matches(const struct route *route, const struct mkv_request *r,
                    struct mkv_slice operation)
{
    if (route->method != r->method) return false;
    if (route->query == ANY) return true;
    if (!*route->query) return r->query.len == 0;
    return mkv_slice_eq(operation, mkv_slice_of(route->query));
}

void mkv_route(struct mkv_request *r, void *arg)
{
    const struct mkv_api *api = arg;
    struct s3_signature signature;
    struct mkv_slice rest = r->query, operation = {NULL, 0}, value;

    if (s3_is_s3(r, api)) {
        s3_handle(r, api);
        return;
    }
    if (!s3_allows_native(r, api, &signature)) return;
    if (r->has_query) mkv_query_next(&rest, &operation, &value);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (matches(&routes[i], r, operation)) {
            if (routes[i].handler == native_put && s3_checks_signatures(api))
                native_put_signed(r, api, &signature);
            else
                routes[i].handler(r, api);
            return;
        }
    native_no_method(r, api);
}
