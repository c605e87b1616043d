/* lib/api/s3_call.h - one S3 request under way: who asks, for which bucket and
 * key, and how it is answered.
 *
 * s3_route.c makes a call of each request, checks its signature and what its key
 * may do, and gives it to a handler.  The handler answers with one of the
 * s3_reply...() functions, at once or later; the call is over then, and freed at
 * the end of the turn after clear() has freed the handler's state.  A handler
 * that answers later sets c->r->events, whose gone() must end with s3_call_end().
 * c->r->state is c.  Headers and query are valid until the handler returns. */
#ifndef MKV_API_S3_CALL_H
#define MKV_API_S3_CALL_H

#include "api/route.h"
#include "api/s3_error.h"
#include "api/s3_head.h"
#include "api/s3_keys.h"
#include "api/s3_name.h"
#include "api/s3_sign.h"
#include "api/s3_xml.h"
#include "mkv/index.h"
#include "net/request.h"

#define S3_REQUEST_ID_LEN 16

struct s3_call {
    struct mkv_request *r;         /* borrowed: until it was answered, or is gone  */
    const struct mkv_api *api;     /* borrowed                                     */
    struct s3_signature signature; /* kind S3_SIGN_NONE: not signed, or no -keys.
                                      payload and sha256 are set in any case       */
    const struct s3_signature *checked; /* signature, where it was checked; else NULL */
    struct mkv_slice bucket, key;  /* into text; either may be empty               */
    struct mkv_slice object;       /* "/bucket/key", the native key; into text     */
    char text[MKV_KEY_MAX + 1];
    bool is_head;                  /* the answer has no body                       */
    char id[S3_REQUEST_ID_LEN + 1]; /* x-amz-request-id                            */
    void *state;                   /* the handler's                                */
    void (*clear)(struct s3_call *c); /* frees it; NULL: nothing to free          */
    struct mkv_retired retired;
};

/* ---- answering: each ends the call ---------------------------------------------- */

/* h with x-amz-request-id in it. */
void s3_head_begin(struct s3_head *h, const struct s3_call *c);
void s3_reply_empty(struct s3_call *c, int status); /* only x-amz-request-id */
void s3_reply_head(struct s3_call *c, int status, const struct s3_head *h); /* no body */
/* With Content-Type; x is cleared.  h NULL: only x-amz-request-id. */
void s3_reply_xml(struct s3_call *c, int status, const struct s3_head *h, struct s3_xml *x);
/* The error's status and XML; why NULL: its own message. */
void s3_reply_error(struct s3_call *c, enum s3_error err, const char *why);
/* With one more header. */
void s3_reply_error_with(struct s3_call *c, enum s3_error err, const char *why,
                         const struct mkv_header *more);
/* What a failure of the store is in S3's words. */
enum s3_error s3_error_of(enum mkv_err err);
const char *s3_failure_text(enum mkv_err err); /* NULL: the error's own message says it */
void s3_reply_failure(struct s3_call *c, enum mkv_err err);
/* <Error> as the body of an answer that has begun, or one of DeleteObjects. */
void s3_error_xml(struct s3_xml *x, const struct s3_call *c, enum s3_error err, const char *why);

/* <ID> and <DisplayName> of who asks, to whom everything here belongs. */
void s3_who_xml(struct s3_xml *x, const struct s3_call *c);

/* It was answered by other means (transport->end, abort), or is gone. */
void s3_call_end(struct s3_call *c);

/* ---- asking --------------------------------------------------------------------- */

/* A parameter of the query, still encoded; false where there is none.  "name" has
 * value->data NULL.  Only during the handler's begin. */
bool s3_param(const struct s3_call *c, const char *name, struct mkv_slice *value);
/* Decoded ('+' is a space) into out, at most size bytes.  *out_len 0 where there is
 * none.  False where it is badly encoded or too long. */
bool s3_param_text(const struct s3_call *c, const char *name, char *out, size_t size,
                   size_t *out_len) MKV_MUSTUSE;
struct mkv_slice s3_header(const struct s3_call *c, const char *name); /* data NULL: none */

/* Whether the asker may do that to another bucket than the call's. */
bool s3_may(const struct s3_call *c, struct mkv_slice bucket, enum s3_wish wish);

/* The access key of who asks; empty where signatures are not checked. */
struct mkv_slice s3_asker(const struct s3_call *c);

/* "/bucket/key" into out; false where it is longer than a key may be. */
bool s3_object_key(struct mkv_slice bucket, struct mkv_slice key, char out[MKV_KEY_MAX],
                   size_t *len) MKV_MUSTUSE;

#endif
