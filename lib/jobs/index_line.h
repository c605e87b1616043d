/* lib/jobs/index_line.h - a record or a bucket as one line of JSON, and back.
 *
 *   {"key":"/a","state":"live","generation":0,"size":5,"mtime":1793786400,
 *    "md5":"5d41...","replicas":["localhost:3001/sv03"],"fields":{"1":"6162"}}
 *
 * A key that is not UTF-8, or holds a NUL, is "key_hex" instead.  What is not
 * known (size, mtime, md5) is left out, and so are fields where there are none;
 * their values are hex.  A replica on a volume without subvolumes whose name
 * happens to end like one is an object: {"volume":"localhost:3001/sv03"}.
 *
 *   {"bucket":"photos","owner":"KEY","created":1793786400}
 *
 * The owner is left out where there is none.  Reading a line that was written
 * gives the same record or bucket, byte for byte. */
#ifndef MKV_JOBS_INDEX_LINE_H
#define MKV_JOBS_INDEX_LINE_H

#include "mkv/index.h"

#include <stdio.h>

#define INDEX_LINE_MAX (4 * 1024 * 1024) /* a key, sixteen volumes, and 1 MB of fields in hex */

enum mkv_err index_line_write(FILE *out, struct mkv_index *ix, struct mkv_slice key,
                              const struct mkv_record *rec) MKV_MUSTUSE;

/* MKV_ECORRUPT where a name can not be said in JSON. */
enum mkv_err index_line_write_bucket(FILE *out, const struct mkv_bucket *bucket) MKV_MUSTUSE;

struct index_line {
    bool is_bucket;
    struct mkv_bucket bucket;
    char key[MKV_KEY_MAX]; /* this and below: of a record                       */
    size_t key_len;
    struct mkv_record rec; /* initialised and cleared by the caller             */
};

/* Volumes that the index does not know yet are added to it.  On an error
 * (MKV_EINVAL where the line makes no sense) why says what is wrong, and
 * out->rec is cleared. */
enum mkv_err index_line_read(struct mkv_index *ix, struct mkv_slice line, struct index_line *out,
                             char *why, size_t why_size) MKV_MUSTUSE;

#endif
