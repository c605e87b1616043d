/* lib/store/probe.h - which replicas were seen to have which file just now.
 *
 * A fixed table: an entry may be overwritten by another key at any time, which
 * costs one more HEAD and nothing else. */
#ifndef MKV_STORE_PROBE_H
#define MKV_STORE_PROBE_H

#include "mkv/digest.h"
#include "mkv/err.h"

#include <stdbool.h>
#include <stdint.h>

#define PROBE_ENTRIES 16384 /* of 40 bytes: 640 KB, touched only where used */

struct probe {
    uint8_t md5[MKV_MD5_LEN]; /* of the key                                  */
    uint64_t generation;
    uint64_t until_ms;        /* on the loop's clock; 0: free                */
    uint16_t found;           /* bit i: replica i of the record has the file */
    bool balanced;            /* placement of the key, worked out already    */
    bool renewing;            /* somebody has been sent to ask again         */
};

struct probe_cache;

enum mkv_err probe_open(struct probe_cache **out, uint64_t ttl_ms) MKV_MUSTUSE;
void probe_close(struct probe_cache *c);
/* NULL where nothing is known.  Valid until the next call. */
const struct probe *probe_find(const struct probe_cache *c, const uint8_t md5[MKV_MD5_LEN],
                               uint64_t generation, uint64_t now_ms);
void probe_found(struct probe_cache *c, const uint8_t md5[MKV_MD5_LEN], uint64_t generation,
                 uint16_t replicas, bool balanced, uint64_t now_ms);
/* True once for an entry in the last quarter of its time: to ask again now, while
 * it still holds, so that readers of a busy key never wait for a volume. */
bool probe_renew(struct probe_cache *c, const uint8_t md5[MKV_MD5_LEN], uint64_t now_ms);
/* The key's replicas change: ask again. */
void probe_forget(struct probe_cache *c, const uint8_t md5[MKV_MD5_LEN]);

#endif
