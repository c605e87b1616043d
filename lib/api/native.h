/* lib/api/native.h - the handlers of the native API (api.md, section 2).
 *
 * Each answers at once or leaves its state in the request. */
#ifndef MKV_API_NATIVE_H
#define MKV_API_NATIVE_H

#include "api/route.h"

void native_get(struct mkv_request *r, const struct mkv_api *api); /* GET and HEAD */
void native_put(struct mkv_request *r, const struct mkv_api *api); /* PUT and REPLACE */
void native_delete(struct mkv_request *r, const struct mkv_api *api);
void native_unlink(struct mkv_request *r, const struct mkv_api *api);
void native_relink(struct mkv_request *r, const struct mkv_api *api);
void native_rebalance(struct mkv_request *r, const struct mkv_api *api); /* ?unlinked, ?deep */
void native_list(struct mkv_request *r, const struct mkv_api *api); /* ?list, ?unlinked, ?writing */
void native_no_query(struct mkv_request *r, const struct mkv_api *api);
void native_no_method(struct mkv_request *r, const struct mkv_api *api);

/* The status of the error, and its text as a line for the person who reads it. */
void native_error(struct mkv_request *r, enum mkv_err err);
/* A status without a body. */
void native_status(struct mkv_request *r, int status);

#endif
