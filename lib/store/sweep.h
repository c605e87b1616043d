/* lib/store/sweep.h - deletes files that no record names any more.
 *
 * Walks the index's garbage once a second, SWEEP_JOBS entries at a time.  What
 * can not be deleted now, because a volume is away, is tried again after a
 * while that grows with the entry's age.  A write does not wait for it, since no
 * write takes a name that garbage holds.  A move may: a value that comes back to
 * where it was takes its old names.  So a key is never swept and moved at once
 * (store.h: moves, sweeps): the sweeper passes by keys that are being moved, a
 * move waits for deletions under way, and what the record names is spared. */
#ifndef MKV_STORE_SWEEP_H
#define MKV_STORE_SWEEP_H

#include "mkv/digest.h"
#include "mkv/err.h"
#include "mkv/slice.h"

#include <stdbool.h>

#define SWEEP_JOBS          32
#define SWEEP_EVERY_MS      1000
#define SWEEP_RETRY_MIN_S   2
#define SWEEP_RETRY_MAX_S   600
#define SWEEP_SUPERSEDED_S  5  /* an old generation stays for readers just redirected */
#define SWEEP_AMBIGUOUS_S   30 /* a volume that got the whole body and never answered may
                                  still be storing it */

struct mkv_store;
struct store_sweeper;

enum mkv_err sweep_open(struct store_sweeper **out, struct mkv_store *store) MKV_MUSTUSE;
/* Cancels the deletions under way; their entries stay.  Then, once the index
 * has called back for the rest (it is closed in between), close frees.  NULL is
 * fine for both. */
void sweep_stop(struct store_sweeper *sweeper);
void sweep_close(struct store_sweeper *sweeper);

#endif
