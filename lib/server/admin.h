/* lib/server/admin.h - the admin port: /healthz and /metrics, by evhttp. */
#ifndef MKV_SERVER_ADMIN_H
#define MKV_SERVER_ADMIN_H

#include "mkv/metrics.h"
#include "mkv/store.h"

struct admin;

/* address: "ADDR:PORT", or ":PORT" and "PORT" for 127.0.0.1.  Everything is
 * borrowed and outlives the admin port. */
enum mkv_err admin_open(struct admin **out, struct mkv_loop *loop, struct mkv_store *store,
                        const struct mkv_metrics *metrics, const char *address, char *why,
                        size_t why_size) MKV_MUSTUSE;
void admin_close(struct admin *a); /* NULL is fine */

#endif
