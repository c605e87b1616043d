/* lib/net/block.h - what sockets are read into: 256 KB, shared by reference.
 *
 * A body that does not go through pipes (net/pipe.h) is read into a block once and
 * handed to every replica's output by reference.  One block takes the reads of many
 * connections until it is full, so that slow senders do not own one each. */
#ifndef MKV_NET_BLOCK_H
#define MKV_NET_BLOCK_H

#include "mkv/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct evbuffer;

#define MKV_BLOCK_SIZE (256 * 1024)
#define MKV_BLOCK_ROOM (64 * 1024) /* a block with less room than this is not read into */
#define MKV_COPY_MAX   (16 * 1024) /* up to this, bytes are copied: a small piece must not
                                      keep a whole block alive */

struct mkv_block; /* reference-counted */

/* Bytes on their way through: borrowed for the length of a call.  Whoever
 * keeps them uses mkv_bytes_append(). */
struct mkv_bytes {
    const uint8_t *data;
    size_t len;
    struct mkv_block *block; /* what they lie in; NULL: somebody else's memory */
};

/* The block being filled, and a few free ones kept.  One for the loop. */
struct mkv_blocks;
enum mkv_err mkv_blocks_open(struct mkv_blocks **out) MKV_MUSTUSE;
void mkv_blocks_close(struct mkv_blocks *b); /* blocks still referenced live on */

/* Reads once from fd into the block being filled, at most max bytes.  As
 * read(2): > 0 and *out set, 0 at the end of file, -1 with errno (ENOMEM too).
 * out->block is referenced by the pool until the next call; keep it with
 * mkv_bytes_append. */
ssize_t mkv_blocks_read(struct mkv_blocks *b, int fd, size_t max, struct mkv_bytes *out);

/* A block that its taker fills, also on another thread: MKV_BLOCK_SIZE bytes at
 * mkv_block_data().  The one reference is the taker's; the calls are the loop's
 * thread's.  NULL without memory. */
struct mkv_block *mkv_blocks_take(struct mkv_blocks *b);
uint8_t *mkv_block_data(struct mkv_block *block);
void mkv_block_release(struct mkv_block *block);

/* Appends to an evbuffer: by reference where large and in a block, else copied. */
enum mkv_err mkv_bytes_append(struct evbuffer *to, struct mkv_bytes bytes) MKV_MUSTUSE;

#endif
