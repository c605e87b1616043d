/* include/mkv/spool.h - where the parts of multipart uploads wait: plain files.
 *
 *     DIR/UPLOAD-ID/NUMBER.SERIAL       hex; decimal; decimal
 *     DIR/UPLOAD-ID/NUMBER.SERIAL~      being written
 *
 * Files are written, synced, read and removed by threads beside the loop, so
 * that the loop never waits for the disk.  Calls and callbacks are the loop's
 * thread's; callbacks run exactly once, never inside the call that started the
 * work, and not at all after a cancel.  Memory: at most SPOOL_AHEAD bytes a file.
 * Which uploads there are, the index knows (mkv/index.h). */
#ifndef MKV_SPOOL_H
#define MKV_SPOOL_H

#include "mkv/err.h"
#include "mkv/index.h"
#include "mkv/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mkv_spool;
struct mkv_spool_file; /* one being written or read */
struct mkv_blocks;
struct mkv_bytes;

#define SPOOL_AHEAD   (1024 * 1024) /* bytes given and not yet written; read and not yet taken */
#define SPOOL_THREADS 4

/* The directory is made if absent, and locked.  On an error why names it and says
 * what to do; MKV_ELOCKED: another server uses it. */
enum mkv_err mkv_spool_open(struct mkv_spool **out, struct mkv_loop *loop, const char *dir,
                            char *why, size_t why_size) MKV_MUSTUSE;
/* Waits for what the threads are doing; calls nobody back.  NULL is fine. */
void mkv_spool_close(struct mkv_spool *s);

struct mkv_spool_name {
    const uint8_t *id; /* MKV_UPLOAD_ID_LEN bytes */
    unsigned number;
    uint64_t serial; /* never given twice: no two writes share a file */
};

/* ---- writing ---- */
struct mkv_spool_write_events {
    void (*drained)(void *arg); /* mkv_spool_full() was true and no longer is */
    /* MKV_OK: the file is whole, has its name, and is on disk.  MKV_ENOSPACE,
     * MKV_EIO, MKV_ENOMEM, also before mkv_spool_end(): nothing is left of it.
     * MKV_ENOKEY: nor of its upload, which was removed meanwhile.  The file is
     * gone from here on. */
    void (*done)(enum mkv_err err, void *arg);
};
enum mkv_err mkv_spool_write(struct mkv_spool_file **out, struct mkv_spool *s,
                             const struct mkv_spool_name *name,
                             const struct mkv_spool_write_events *events, void *arg) MKV_MUSTUSE;
void mkv_spool_add(struct mkv_spool_file *f, struct mkv_bytes piece); /* keeps a reference */
bool mkv_spool_full(const struct mkv_spool_file *f);                  /* pause */
void mkv_spool_end(struct mkv_spool_file *f); /* that was all: done() follows */

/* ---- reading ---- */
struct mkv_spool_read_events {
    void (*body)(struct mkv_bytes piece, void *arg); /* none while paused */
    /* MKV_OK: all that was wanted was given; MKV_ENOKEY: no such file; MKV_EIO: it
     * can not be read, or is shorter.  The file is gone from here on. */
    void (*done)(enum mkv_err err, void *arg);
};
enum mkv_err mkv_spool_read(struct mkv_spool_file **out, struct mkv_spool *s,
                            const struct mkv_spool_name *name, uint64_t first, uint64_t length,
                            const struct mkv_spool_read_events *events, void *arg) MKV_MUSTUSE;
void mkv_spool_pause(struct mkv_spool_file *f, bool paused);

/* Either kind.  What was written is removed.  No callback; NULL is fine. */
void mkv_spool_cancel(struct mkv_spool_file *f);

/* ---- removing ---- */
/* The upload's directory with all in it, in the background; what fails is logged.
 * Writes under way for it are broken off: MKV_ENOKEY. */
void mkv_spool_remove(struct mkv_spool *s, const uint8_t id[MKV_UPLOAD_ID_LEN]);
/* One file that is whole: of a part that was written again. */
void mkv_spool_remove_part(struct mkv_spool *s, const struct mkv_spool_name *name);
/* Every directory of an upload that known() does not know, and every half-written file.  At
 * start, before any other call: waits for the disk.  Returns how many went. */
typedef bool mkv_spool_known(const uint8_t id[MKV_UPLOAD_ID_LEN], void *arg);
size_t mkv_spool_sweep(struct mkv_spool *s, mkv_spool_known *known, void *arg);

#endif
