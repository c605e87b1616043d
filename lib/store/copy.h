/* lib/store/copy.h - one file from a volume to a volume, streaming.
 *
 * Constant memory; size checked, and MD5 where known: the last piece is held
 * back until it has been, so that a damaged copy is never stored. */
#ifndef MKV_STORE_COPY_H
#define MKV_STORE_COPY_H

#include "mkv/digest.h"
#include "mkv/record.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct mkv_store;
struct mkv_exchange;

enum copy_verdict {
    COPY_DONE,
    COPY_SOURCE_BAD, /* the source could not be read, or what it has is not the value */
    COPY_TARGET_BAD  /* the target did not store it */
};

struct copy_options {
    struct mkv_replica from, to;
    struct mkv_slice key;     /* both are files of this key...                 */
    uint64_t from_generation; /* ...of these generations                       */
    uint64_t to_generation;
    int64_t size;             /* -1: not known                                 */
    int64_t mtime;            /* for the target; -1: as the source shows it    */
    const uint8_t *md5;       /* NULL: not known.  Copied                      */
};

typedef void copy_done(enum copy_verdict verdict, void *arg);

struct copy; /* one under way */
enum mkv_err copy_start(struct copy **out, struct mkv_store *store, const struct copy_options *opt,
                        copy_done *done, void *arg) MKV_MUSTUSE;
void copy_cancel(struct copy *c); /* no callback; NULL is fine */

#endif
