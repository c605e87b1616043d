/* lib/base/md5_lanes.h - MD5 of several streams at once, side by side.
 *
 * MD5 of one stream is a single chain of operations: 0.76 GB/s on a core here,
 * whoever computes it; so one or two are left to it.  Eight independent streams in
 * the lanes of one vector come to 4 GB/s with AVX2: bodies that arrive together, and
 * the scores of a key on all volumes.  libcrypto offers no such thing for MD5; it
 * stays in use for everything else.  RFC 1321.  Pure. */
#ifndef MKV_BASE_MD5_LANES_H
#define MKV_BASE_MD5_LANES_H

#include "mkv/digest.h"
#include "mkv/slice.h"

#include <stddef.h>
#include <stdint.h>

#define MD5_LANES 8
#define MD5_FEW   2 /* so many streams are faster one after the other, as if libcrypto did it */
#define MD5_BLOCK 64

/* One stream. */
struct md5_lane {
    uint32_t state[4];
    uint64_t len;            /* bytes so far                        */
    uint8_t tail[MD5_BLOCK]; /* the last len % MD5_BLOCK of them    */
};

void md5_lane_init(struct md5_lane *lane);
/* pieces[i] is added to lanes[i]; n is at most MD5_LANES, and no lane is named
 * twice.  Fastest where the pieces are equally long. */
void md5_lanes_add(struct md5_lane *const lanes[], const struct mkv_slice pieces[], size_t n);
/* out[i] is the MD5 of lanes[i], which ends with it; as above otherwise. */
void md5_lanes_final(struct md5_lane *const lanes[], uint8_t (*out)[MKV_MD5_LEN], size_t n);

#endif
