/* lib/api/route.h - which handler answers a request: one table. */
#ifndef MKV_API_ROUTE_H
#define MKV_API_ROUTE_H

#include "mkv/config.h"
#include "mkv/store.h"
#include "net/request.h"

struct mkv_s3;

/* Borrowed by the fronts as their handler's argument. */
struct mkv_api {
    struct mkv_store *store;      /* borrowed */
    const struct mkv_config *cfg; /* borrowed */
    struct mkv_loop *loop;        /* borrowed */
    struct mkv_s3 *s3;            /* borrowed */
    bool only_s3;                 /* the port of -s3-port: nothing is native */
};

/* The fronts' handler: arg is a struct mkv_api. */
void mkv_route(struct mkv_request *r, void *arg);

#endif
