/* include/mkv/record.h - what the index knows of one key, and its bytes.
 *
 * Pure: no I/O.  docs/format.md describes the encoding byte by byte. */
#ifndef MKV_RECORD_H
#define MKV_RECORD_H

#include "mkv/digest.h"
#include "mkv/err.h"
#include "mkv/limits.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define MKV_NO_SUBVOLUME UINT16_MAX /* the replica's path has no svXX part */

/* Generations stay under this, so that a file name of 240 characters, '~' and
 * the number in hex fits the 255 bytes that a file system allows. */
#define MKV_GENERATION_MAX ((UINT64_C(1) << 56) - 1)

struct mkv_replica {
    uint32_t volume;    /* id in the index's table of volume names           */
    uint16_t subvolume; /* svXX, or MKV_NO_SUBVOLUME                          */
};

enum mkv_state {
    MKV_LIVE = 1,     /* GET finds it                                         */
    MKV_UNLINKED = 2, /* a virtual delete: the files are there, GET does not find it */
    MKV_WRITING = 3   /* a mark, beside the record: files of this generation may lie
                         on these replicas, and nothing has been acknowledged */
};

struct mkv_record {
    enum mkv_state state;
    uint64_t generation; /* 0: the file name has no suffix                    */
    int64_t size;        /* bytes; -1: not known (adopted)                    */
    int64_t mtime;       /* seconds since 1970, as the volumes show it or, where it was
                            described since, newer; -1: not known             */
    bool has_md5;
    uint8_t md5[MKV_MD5_LEN];
    unsigned nreplicas;
    struct mkv_replica replicas[MKV_REPLICAS_MAX]; /* in placement order */
    uint8_t *fields;     /* owned: typed optional fields, encoded; NULL where none */
    size_t fields_len;
};

void mkv_record_init(struct mkv_record *r);  /* live, nothing known, no replica */
void mkv_record_clear(struct mkv_record *r); /* frees fields; r is as after init */
/* to must be initialised and may be from; on an error it is as it was. */
enum mkv_err mkv_record_copy(struct mkv_record *to, const struct mkv_record *from) MKV_MUSTUSE;

/* The most bytes that a record without fields takes. */
#define MKV_RECORD_ENCODED_MAX 256

/* Bytes needed: mkv_record_encoded_len().  Encode writes exactly that many.
 * A size or mtime below 0 is not known: it comes back as -1. */
size_t mkv_record_encoded_len(const struct mkv_record *r);
void mkv_record_encode(const struct mkv_record *r, uint8_t *out);

/* r must be initialised and is overwritten; on an error it is cleared.
 * MKV_ECORRUPT, MKV_ENEWER (unknown version byte), MKV_ENOMEM. */
enum mkv_err mkv_record_decode(struct mkv_record *r, const uint8_t *data, size_t len) MKV_MUSTUSE;
/* Only the state, without decoding the rest; 0 where the bytes are no record. */
enum mkv_state mkv_record_peek_state(const uint8_t *data, size_t len);

/* Typed optional fields: a type number, at least 1, and bytes.  Unknown types
 * are kept.  The numbers are on disk: never change or reuse one. */
enum mkv_field {
    MKV_FIELD_CONTENT_TYPE = 1,        /* the header's value, as sent              */
    MKV_FIELD_CACHE_CONTROL = 2,       /* likewise                                 */
    MKV_FIELD_CONTENT_DISPOSITION = 3, /* likewise                                 */
    MKV_FIELD_CONTENT_ENCODING = 4,    /* likewise, without aws-chunked            */
    MKV_FIELD_CONTENT_LANGUAGE = 5,    /* likewise                                 */
    MKV_FIELD_EXPIRES = 6,             /* likewise                                 */
    MKV_FIELD_USER_METADATA = 7,       /* the x-amz-meta-* headers                 */
    MKV_FIELD_STORAGE_CLASS = 8,       /* x-amz-storage-class, as sent             */
    MKV_FIELD_MULTIPART_ETAG = 9,      /* MD5(MD5s)-N of a multipart upload        */
    MKV_FIELD_CHECKSUMS = 10,          /* which x-amz-checksum-*, of what, and its bytes */
    MKV_FIELD_PART_SIZES = 11,         /* the parts of a multipart upload, in order */
    MKV_FIELD_UPLOAD_CHECKSUM = 12,    /* of an upload: which checksum its object will get */
    MKV_FIELD_UPLOAD_ID = 13,          /* of the multipart upload that made it     */
    MKV_FIELD_END
};
#define MKV_RECORD_FIELDS_MAX (1024 * 1024) /* all together: 10,000 parts with a checksum each */
/* The field's bytes, borrowed from r; false where r has no such field. */
bool mkv_record_field(const struct mkv_record *r, unsigned type, struct mkv_slice *out);
/* The field with the next type after *type, in ascending order: start with 0.
 * False after the last. */
bool mkv_record_next_field(const struct mkv_record *r, unsigned *type, struct mkv_slice *out);
/* Replaces the field, or removes it where value.len is 0.  value is copied and
 * may be borrowed from r.  MKV_ENOMEM; MKV_EINVAL where the type is 0 or the
 * fields would get longer than MKV_RECORD_FIELDS_MAX: r is as it was. */
enum mkv_err mkv_record_set_field(struct mkv_record *r, unsigned type,
                                  struct mkv_slice value) MKV_MUSTUSE;

#endif
