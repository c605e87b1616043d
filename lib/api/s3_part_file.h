/* lib/api/s3_part_file.h - a part on its way: into a file of the spool, and then,
 * when that is on disk, into the index.
 *
 * Until the index has it nobody sees it; where it comes to nothing its file goes. */
#ifndef MKV_API_S3_PART_FILE_H
#define MKV_API_S3_PART_FILE_H

#include "api/s3_multipart.h"
#include "mkv/spool.h"
#include "net/block.h"

enum s3_part_step {
    S3_PART_FILE,  /* bytes come, and are written                        */
    S3_PART_SYNC,  /* all came: they get on disk                         */
    S3_PART_INDEX, /* the index is asked to keep it: runs to its end     */
    S3_PART_OVER
};

struct s3_part_events {
    void (*drained)(void *arg); /* s3_part_full() was true and no longer is */
    /* The end: once, unless s3_part_cancel() returned true. */
    void (*done)(enum s3_error err, void *arg);
};

struct s3_part_file {
    enum s3_part_step step;
    struct s3_call *c;           /* borrowed */
    uint8_t id[MKV_UPLOAD_ID_LEN];
    struct s3_upload_sum sum;    /* what the upload wants of each part          */
    struct mkv_part part;        /* what the index will get                     */
    uint64_t replaces;           /* serial of the part that was there; 0: none  */
    struct mkv_spool_file *file; /* owned until it calls back                   */
    const struct s3_part_events *events; /* borrowed */
    void *arg;
};

void s3_part_init(struct s3_part_file *p);
void s3_part_clear(struct s3_part_file *p);

/* By the uploadId and partNumber of c.  S3_OK, S3_INVALID_ARGUMENT, S3_NO_SUCH_BUCKET,
 * S3_NO_SUCH_UPLOAD, S3_INTERNAL_ERROR; *why: static text or NULL.  Only during the
 * handler's begin. */
enum s3_error s3_part_find(struct s3_part_file *p, struct s3_call *c,
                           const char **why) MKV_MUSTUSE;
enum s3_error s3_part_open(struct s3_part_file *p, const struct s3_part_events *events,
                           void *arg) MKV_MUSTUSE;
void s3_part_add(struct s3_part_file *p, struct mkv_bytes piece);
bool s3_part_full(const struct s3_part_file *p); /* pause */
/* That was all, and it is as it should be.  sum: kept with it; kind NONE: none.
 * S3_OK: done() follows; S3_INTERNAL_ERROR: it has been cancelled. */
enum s3_error s3_part_end(struct s3_part_file *p, const uint8_t md5[MKV_MD5_LEN],
                          const struct s3_checksum_value *sum) MKV_MUSTUSE;
/* Nobody wants it any more.  False: the index has been asked, and done() follows. */
bool s3_part_cancel(struct s3_part_file *p);

#endif
