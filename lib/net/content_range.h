/* lib/net/content_range.h - what a Content-Range header says: bytes in, result
 * out.  RFC 9110, 14.4. */
#ifndef MKV_NET_CONTENT_RANGE_H
#define MKV_NET_CONTENT_RANGE_H

#include "mkv/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct content_range {
    bool satisfied;      /* "bytes FIRST-LAST/SIZE", of a 206; else a 416's: only the size */
    uint64_t first, end; /* the bytes sent: from first, up to and without end; both 0 where
                            not satisfied                                        */
    uint64_t size;       /* of the whole: at most INT64_MAX                      */
};

/* False, *out untouched, where it is malformed, counts in another unit than
 * bytes, or does not tell the size of the whole. */
bool content_range_parse(struct mkv_slice value, struct content_range *out);

#endif
