/* lib/index/marks.h - writes under way, kept where a killed process leaves them.
 *
 * A mark says which files a write may leave behind.  It must outlive the
 * process, not the machine: a value whose PUT was not acknowledged promises
 * nothing after a power cut.  So marks need no commit: they lie in the slots of
 * a small file that is mapped, shared, and written by memcpy.  That saves every
 * PUT one of two commits (bench/README.md).
 *
 * A slot's checksum is written last and cleared first, so that a slot is whole
 * or free at every moment.  Slots are reused, the lowest first: the file grows
 * with the writes under way at once.  Written on the loop's thread only; a
 * reader in another process sees what is there at the moment it looks. */
#ifndef MKV_INDEX_MARKS_H
#define MKV_INDEX_MARKS_H

#include "mkv/digest.h"
#include "mkv/err.h"
#include "mkv/limits.h"
#include "mkv/record.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MARKS_FILE     "marks"
#define MARK_SLOT      2048  /* bytes: key, record without fields, and a head   */
#define MARKS_FIRST    128   /* slots in a new file: 256 KB                     */
#define MARKS_MAX      65536 /* more writes at once are refused: MKV_ENOSPACE   */
#define MARK_NONE      UINT32_MAX

struct mark_entry {
    uint8_t md5[MKV_MD5_LEN]; /* of the key */
    uint32_t next;            /* in its bucket, or among the free ones */
};

struct marks {
    int fd;
    bool read_only;
    uint8_t *slots;             /* the mapping                        */
    uint32_t nslots, used;
    struct mark_entry *entries; /* owned: one for each slot; NULL for a reader */
    uint32_t *buckets;          /* owned: nslots of them              */
    uint32_t free;              /* the first free slot                */
};

/* A missing file is made, or, for a reader, taken for an empty one. */
enum mkv_err marks_open(struct marks *m, const char *dir, bool read_only) MKV_MUSTUSE;
void marks_close(struct marks *m); /* never opened, with fd -1: fine */

/* The key's mark, new or in place of the one before.  MKV_ENOSPACE. */
enum mkv_err marks_set(struct marks *m, struct mkv_slice key,
                       const struct mkv_record *mark) MKV_MUSTUSE;
/* The key's slot; MARK_NONE where it has none.  Not for a reader. */
uint32_t marks_find(const struct marks *m, struct mkv_slice key);
void marks_clear(struct marks *m, uint32_t slot); /* MARK_NONE: no-op */

/* What a slot holds; false where it is free.  key and data point into the
 * mapping: for a reader they may change under its eyes, so it copies the slot
 * first (marks_read). */
bool marks_get(const struct marks *m, uint32_t slot, struct mkv_slice *key,
               struct mkv_slice *data);
/* The same out of a copy of MARK_SLOT bytes. */
bool marks_read(const struct marks *m, uint32_t slot, uint8_t copy[MARK_SLOT],
                struct mkv_slice *key, struct mkv_slice *data);
uint32_t marks_count(const struct marks *m);
/* A reader's file may have grown. */
void marks_refresh(struct marks *m);

#endif
