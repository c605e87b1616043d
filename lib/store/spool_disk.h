/* lib/store/spool_disk.h - what the spool's threads do to files.  Waits for the disk.
 *
 * Everything lies below one directory, the root, which stays open: names are
 * relative to it.  Calls on one file are made one after the other, by any
 * thread. */
#ifndef MKV_STORE_SPOOL_DISK_H
#define MKV_STORE_SPOOL_DISK_H

#include "mkv/spool.h"

#include <pthread.h>
#include <sys/uio.h>

#define DISK_DIR_MAX  (2 * MKV_UPLOAD_ID_LEN + 1)
#define DISK_NAME_MAX (DISK_DIR_MAX + sizeof("/4294967295.18446744073709551615~"))

struct disk_root {
    int fd;
    pthread_mutex_t lock;
    bool unsynced; /* under lock: a directory was made since the last sync */
};

/* What went wrong first, for the log. */
struct disk_fault {
    int error;         /* errno; 0: nothing did */
    const char *doing; /* "writing" */
};
#define DISK_SHORT (-1) /* an error that is no errno: the file ends too early */

struct disk_file {
    struct disk_root *root; /* borrowed */
    char dir[DISK_DIR_MAX];
    char name[DISK_NAME_MAX]; /* DIR/NUMBER.SERIAL */
    char half[DISK_NAME_MAX]; /* the same with "~", until it is whole */
    int fd;                   /* -1: not open */
    bool made;                /* it is there, as half... */
    bool named;               /* ...or by now as name */
    uint64_t at;              /* written, or read, up to here */
    uint64_t flushed;         /* the disk was told to begin writing up to here */
    struct disk_fault fault;
};

void disk_dir_name(char out[DISK_DIR_MAX], const uint8_t id[MKV_UPLOAD_ID_LEN]);
void disk_file_init(struct disk_file *f, struct disk_root *root, const struct mkv_spool_name *name);

/* ---- writing.  False: f->fault says why; disk_drop() is due. ---- */
bool disk_write(struct disk_file *f, struct iovec *iov, int n); /* changes iov */
/* On disk, under its name, and closed. */
bool disk_finish(struct disk_file *f);
/* Nothing is left of it.  Keeps f->fault. */
void disk_drop(struct disk_file *f);

/* ---- reading, from f->at on ---- */
/* Opens it too; with len 0 does only that. */
bool disk_read(struct disk_file *f, uint8_t *data, size_t len);
void disk_close(struct disk_file *f);

/* ---- removing.  What is not there counts as removed. ---- */
struct disk_fault disk_remove_file(struct disk_root *root, const char *name);
struct disk_fault disk_remove_dir(struct disk_root *root, const char *dir);
void disk_remove_empty(struct disk_root *root, const char *dir); /* not empty: it stays */
/* See mkv_spool_sweep(). */
size_t disk_sweep(struct disk_root *root, mkv_spool_known *known, void *arg,
                  struct disk_fault *fault);

#endif
