/* lib/index/build.h - a new index, written beside the old one and swapped in.
 *
 * The new one grows in DIR/rebuild.tmp and takes the old one's place with one
 * rename, when all of it is on the disk.  Whatever happens before, SIGKILL too,
 * leaves the old index as it was, and the next build removes what was left
 * behind.  From open to close the index's lock is held: no server starts on it
 * meanwhile.  Single-threaded; calls wait for the disk. */
#ifndef MKV_INDEX_BUILD_H
#define MKV_INDEX_BUILD_H

#include "mkv/index.h"

#define BUILD_DIR "rebuild.tmp"
#define BUILD_RUN "run-" /* scratch files in it begin so; they go with it */

struct build;

struct build_options {
    const char *dir;   /* of the index; made if absent                  */
    uint64_t map_size; /* as for mkv_index_open                         */
    bool fresh;        /* the old index is not looked at, nor its ids kept */
};

/* MKV_ELOCKED (why names the holder's address) and what mkv_index_open() may
 * return, why says what to do. */
enum mkv_err build_open(struct build **out, struct mkv_loop *loop, const struct build_options *opt,
                        char *why, size_t why_size) MKV_MUSTUSE;
/* The old index, read-only; borrowed until build_swap().  NULL: there is none. */
struct mkv_index *build_old(struct build *b);
/* DIR/rebuild.tmp; borrowed. */
const char *build_dir(const struct build *b);

/* The volume's id: the old index's where that knows it. */
enum mkv_err build_volume_id(struct build *b, struct mkv_slice name, uint32_t *id) MKV_MUSTUSE;
/* Each key once; in byte order it is fast. */
enum mkv_err build_record(struct build *b, struct mkv_slice key,
                          const struct mkv_record *rec) MKV_MUSTUSE;
enum mkv_err build_garbage(struct build *b, struct mkv_slice key, const struct mkv_record *files,
                           int64_t due) MKV_MUSTUSE;
/* Buckets, uploads and their parts, as the old index has them; once.  How many. */
enum mkv_err build_carry(struct build *b, uint64_t *buckets, uint64_t *uploads) MKV_MUSTUSE;
/* What went wrong, after an error of the four above. */
void build_why(const struct build *b, char *why, size_t why_size);

/* To the disk, and into the old one's place; the old one's marks go with it.  On
 * an error the old index stays. */
enum mkv_err build_swap(struct build *b, char *why, size_t why_size) MKV_MUSTUSE;
/* Removes what was not swapped in; ends the lock.  NULL is fine. */
void build_close(struct build *b);

#endif
