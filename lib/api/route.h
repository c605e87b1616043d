/* lib/api/route.h - which handler answers a request: one table. */
#ifndef MKV_API_ROUTE_H
#define MKV_API_ROUTE_H

#include "mkv/config.h"
#include "mkv/store.h"
#include "net/request.h"

/* Borrowed by the fronts as their handler's argument. */
struct mkv_api {
    struct mkv_store *store;      /* borrowed */
    const struct mkv_config *cfg; /* borrowed */
    struct mkv_loop *loop;        /* borrowed */
};

/* The fronts' handler: arg is a struct mkv_api. */
void mkv_route(struct mkv_request *r, void *arg);

#endif
