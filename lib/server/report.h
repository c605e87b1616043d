/* lib/server/report.h - the state of the master as text: Prometheus and JSON. */
#ifndef MKV_SERVER_REPORT_H
#define MKV_SERVER_REPORT_H

#include "mkv/metrics.h"
#include "mkv/store.h"

#include <stdbool.h>

struct evbuffer;

/* Prometheus text format 0.0.4. */
void report_metrics(struct evbuffer *out, struct mkv_store *store,
                    const struct mkv_metrics *metrics);

/* One JSON object: "status" ("ok", or why writes are not taken), the volumes
 * with their states, the index.  *healthy: whether a write would be taken: the
 * index works and -min-replicas volumes are not down. */
bool report_health(struct evbuffer *out, struct mkv_store *store, bool *healthy) MKV_MUSTUSE;

#endif
