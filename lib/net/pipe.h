/* lib/net/pipe.h - large bodies that stay in the kernel.
 *
 * splice(2) moves the pages in which a body arrived from a socket into a pipe,
 * tee(2) shares them with the pipe of each replica, splice(2) moves them on into
 * that replica's socket.  Nothing is copied, where read(2) and write(2) copy a
 * body once for each socket.  Whoever needs the bytes themselves, for a digest
 * or because a replica lags, reads them out of the pipe last.
 *
 * A client on this machine that sends a file with sendfile(2) gives us the very
 * pages of that file: one that changes it meanwhile does not know what it stores,
 * and then one replica may not have the bytes that another one and the MD5 have.
 *
 * Pipes are an economy and never a need: where none is to be had (descriptors,
 * fs.pipe-user-pages-soft, a system without splice), bodies go through blocks.
 * All calls are the loop's thread's. */
#ifndef MKV_NET_PIPE_H
#define MKV_NET_PIPE_H

#include "mkv/err.h"
#include "net/block.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MKV_PIPE_SIZE  (1024 * 1024) /* of each; what fs.pipe-max-size allows everybody            */
#define MKV_PIPES_MAX  48            /* two descriptors each; others go without                    */
#define MKV_PIPE_WORTH (128 * 1024)  /* a read that brought less was cheaper with a block          */

struct mkv_pipe;  /* one pipe */
struct mkv_pipes; /* those of a loop; empty ones are kept */

enum mkv_err mkv_pipes_open(struct mkv_pipes **out) MKV_MUSTUSE;
void mkv_pipes_close(struct mkv_pipes *all); /* every pipe has been released; NULL is fine */

/* An empty one, to be released.  NULL: none is to be had; all may be NULL. */
struct mkv_pipe *mkv_pipe_take(struct mkv_pipes *all);
/* Also with bytes in it, which are lost.  NULL is fine. */
void mkv_pipe_release(struct mkv_pipe *p);
size_t mkv_pipe_len(const struct mkv_pipe *p); /* bytes in it */

/* Moves at most max bytes from a socket into p, which is empty.  As read(2): 0 at
 * the end of input, -1 with errno.  EAGAIN also where the system can not do it: no
 * pipe is to be had from then on. */
ssize_t mkv_pipe_fill(struct mkv_pipe *p, int fd, size_t max);
/* A pipe with all of p's bytes, which stay in p as well.  NULL: none to be had. */
struct mkv_pipe *mkv_pipe_share(struct mkv_pipe *p);
/* Moves bytes on into a socket.  As write(2). */
ssize_t mkv_pipe_drain(struct mkv_pipe *p, int fd);
/* Moves bytes into a block: as mkv_blocks_read(); 0 where p is empty. */
ssize_t mkv_pipe_read(struct mkv_pipe *p, struct mkv_blocks *blocks, struct mkv_bytes *out);

#endif
