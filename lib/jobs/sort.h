/* lib/jobs/sort.h - files found in any order, given back in the order of their
 * keys.  What does not fit into memory goes to files, sorted, and is merged as
 * it is read: memory stays the same however many there are.
 *
 * Two entries of one key come in order of generation, then place. */
#ifndef MKV_JOBS_SORT_H
#define MKV_JOBS_SORT_H

#include "jobs/merge.h"
#include "mkv/err.h"

#define SORT_MEMORY (12 * 1024 * 1024) /* does for most */
#define SORT_WAYS   24 /* so many files of one level become one of the next */

struct sort;

/* prefix: files are called this and a number; copied.  memory: bytes, at least
 * 16 KB. */
enum mkv_err sort_open(struct sort **out, const char *prefix, size_t memory) MKV_MUSTUSE;
/* file's verdict is not kept.  key of 1..MKV_KEY_MAX bytes.  MKV_EIO, MKV_ENOSPACE,
 * MKV_ENOMEM: sort_add and sort_end. */
enum mkv_err sort_add(struct sort *s, struct mkv_slice key, const struct merge_file *file) MKV_MUSTUSE;
/* All have been added: from now on there is only sort_next. */
enum mkv_err sort_end(struct sort *s) MKV_MUSTUSE;
/* MKV_ENOKEY after the last.  key: valid until the next call. */
enum mkv_err sort_next(struct sort *s, struct mkv_slice *key, struct merge_file *file) MKV_MUSTUSE;
/* Removes its files.  NULL is fine. */
void sort_close(struct sort *s);

#endif
