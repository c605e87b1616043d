/* lib/api/native.h - the handlers of the native API (api.md, section 2).
 *
 * Each answers at once or leaves its state in the request. */
#ifndef MKV_API_NATIVE_H
#define MKV_API_NATIVE_H

#include "api/route.h"

void native_get(struct mkv_request *r, const struct mkv_api *api); /* GET and HEAD */
void native_put(struct mkv_request *r, const struct mkv_api *api); /* PUT and REPLACE */
/* The same under -keys: the body must be what was signed. */
struct s3_signature;
void native_put_signed(struct mkv_request *r, const struct mkv_api *api,
                       const struct s3_signature *signature);
void native_delete(struct mkv_request *r, const struct mkv_api *api);
void native_unlink(struct mkv_request *r, const struct mkv_api *api);
void native_relink(struct mkv_request *r, const struct mkv_api *api);
void native_rebalance(struct mkv_request *r, const struct mkv_api *api); /* ?unlinked, ?deep */
void native_list(struct mkv_request *r, const struct mkv_api *api); /* ?list, ?unlinked, ?writing */
void native_no_query(struct mkv_request *r, const struct mkv_api *api);
void native_no_method(struct mkv_request *r, const struct mkv_api *api);

/* The status of the error, and its text as a line for the person who reads it. */
void native_error(struct mkv_request *r, enum mkv_err err);
/* What a PUT answers in the end. */
void native_stored(struct mkv_request *r, enum mkv_err err, const struct mkv_record *stored);
/* A status without a body. */
void native_status(struct mkv_request *r, int status);

#endif
