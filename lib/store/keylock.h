/* lib/store/keylock.h - which keys are being written, deleted or moved.
 *
 * One request at a time may change a key; a second one is told 409.  A lock is
 * embedded in the machine that holds it. */
#ifndef MKV_STORE_KEYLOCK_H
#define MKV_STORE_KEYLOCK_H

#include "mkv/digest.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define KEYLOCK_BUCKETS 1024 /* a write under way each; chains beyond that are short */

struct keylock {
    struct mkv_slice key; /* borrowed: the machine's own copy */
    uint8_t md5[MKV_MD5_LEN];
    struct keylock *next, **prev; /* prev NULL: not held */
};

struct keylocks {
    struct keylock *buckets[KEYLOCK_BUCKETS];
};

/* Takes it, whoever else holds it: for a table in which holders do not mind
 * each other.  md5 is MD5(key). */
void keylock_join(struct keylocks *locks, struct keylock *lock, struct mkv_slice key,
                  const uint8_t md5[MKV_MD5_LEN]);
/* False where somebody holds it. */
bool keylock_take(struct keylocks *locks, struct keylock *lock, struct mkv_slice key,
                  const uint8_t md5[MKV_MD5_LEN]);
bool keylock_held(const struct keylocks *locks, struct mkv_slice key,
                  const uint8_t md5[MKV_MD5_LEN]);
void keylock_release(struct keylock *lock); /* not held: no-op */

#endif
