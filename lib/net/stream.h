/* lib/net/stream.h - one non-blocking socket: the part that the front and the
 * volume client share.
 *
 * Output is gathered during a turn and written once at its end (stream_send() and
 * stream_share() write at once); EV_WRITE is armed only when the kernel takes less.
 * Input is read by the owner, in its readable() callback.  The stream never closes
 * itself: it tells the owner. */
#ifndef MKV_NET_STREAM_H
#define MKV_NET_STREAM_H

#include "mkv/loop.h"
#include "net/block.h"
#include "net/pipe.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;

struct stream_events {
    /* The socket can be read (or has been closed by the peer: read says so). */
    void (*readable)(struct stream *s);
    /* Bytes were written; stream_unsent() tells what is left.  Called at the
     * end of a turn or from a write event, never inside stream_add. */
    void (*written)(struct stream *s);
    /* Writing failed: errno in err.  Called where written() would be. */
    void (*failed)(struct stream *s, int err);
};

struct stream {
    int fd;
    bool reading, writing;             /* events armed                              */
    struct event read_event, write_event;
    struct mkv_loop *loop;             /* borrowed: outlives every stream           */
    struct evbuffer *out;              /* owned; NULL until something is unsent     */
    struct mkv_pipe *pipe;             /* owned: unsent, and then out is empty; or NULL */
    struct mkv_chore flush;            /* writes at the end of the turn             */
    const struct stream_events *events;
    uint64_t progress_ms;              /* when bytes last moved, either way         */
    uint64_t sent;                     /* bytes written since init                  */
};

/* fd must be non-blocking; it is the stream's from then on. */
void stream_init(struct stream *s, struct mkv_loop *loop, int fd, const struct stream_events *ev);
/* Closes the socket and drops unsent output.  Safe inside callbacks; the memory
 * of s itself must be retired, not freed at once. */
void stream_close(struct stream *s);

enum mkv_err stream_read_on(struct stream *s, bool on) MKV_MUSTUSE;

/* All three only queue; the socket is written at the end of the turn. */
enum mkv_err stream_add(struct stream *s, const void *data, size_t len) MKV_MUSTUSE; /* copies */
enum mkv_err stream_add_bytes(struct stream *s, struct mkv_bytes bytes) MKV_MUSTUSE;
enum mkv_err stream_add_buffer(struct stream *s, struct evbuffer *from) MKV_MUSTUSE; /* drains from */

/* Writes what lies in the pipe, at once; a share of what the kernel does not take
 * is kept.  The pipe stays as it is.  False, and nothing was done, where something
 * is unsent already or no pipe is to be had: read the pipe and add the bytes.
 * Nothing may be added while a share is unsent.  As stream_send() otherwise. */
bool stream_share(struct stream *s, struct mkv_pipe *pipe) MKV_MUSTUSE;

/* For a whole short answer: writes at once where nothing is unsent, and queues
 * what the kernel does not take.  Calls no event; one that fails to write is
 * told at the end of the turn. */
enum mkv_err stream_send(struct stream *s, const void *data, size_t len) MKV_MUSTUSE;

size_t stream_unsent(const struct stream *s);
/* Frees the output buffer where it is empty: for a connection that goes idle. */
void stream_trim(struct stream *s);

#endif
