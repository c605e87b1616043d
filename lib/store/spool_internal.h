/* lib/store/spool_internal.h - what the spool's two kinds of files share. */
#ifndef MKV_STORE_SPOOL_INTERNAL_H
#define MKV_STORE_SPOOL_INTERNAL_H

#include "mkv/spool.h"
#include "store/spool_disk.h"
#include "store/spool_threads.h"

#include <sys/queue.h>

struct mkv_spool_file {
    struct mkv_spool *spool;       /* borrowed; gone once only the memory is left */
    struct mkv_loop *loop;         /* borrowed */
    bool writes;                   /* a spool_writer; else a spool_reader */
    bool busy;                     /* a thread has the job, the disk's file and what it works on */
    struct spool_job job;
    struct disk_file disk;
    void (*cancel)(struct mkv_spool_file *f);
    void (*destroy)(void *f);      /* frees its memory, touches no disk */
    struct mkv_retired retired;
    LIST_ENTRY(mkv_spool_file) all;
};

struct removal;

struct mkv_spool {
    struct mkv_loop *loop;         /* borrowed */
    char *dir;                     /* owned */
    struct disk_root root;
    struct spool_threads *threads; /* owned */
    struct mkv_blocks *blocks;     /* owned: what is read into */
    LIST_HEAD(, mkv_spool_file) files;    /* owned: those that have not ended */
    STAILQ_HEAD(, removal) removals;      /* owned: the first is under way, alone, so that
                                             big uploads that go leave threads to the others */
};

void spool_begin(struct mkv_spool *s, struct mkv_spool_file *f, const struct mkv_spool_name *name);
/* The file is not the spool's any more; freed at the end of the turn. */
void spool_end(struct mkv_spool_file *f);
/* To a thread; then finished() on the loop, with busy false. */
void spool_give(struct mkv_spool_file *f, void (*work)(void *), void (*finished)(void *));
/* Writes the file's fault to the log, and says which error it is. */
enum mkv_err spool_fault(const struct mkv_spool_file *f);

/* The upload goes: what is being written for it is broken off. */
void spool_writer_doom(struct mkv_spool_file *f);

#endif
