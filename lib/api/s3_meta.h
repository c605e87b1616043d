/* lib/api/s3_meta.h - what S3 keeps of an object beside its bytes: headers, user
 * metadata, ETag, checksum, parts; in the typed fields of its record.  Pure.
 * docs/format.md describes the fields byte by byte. */
#ifndef MKV_API_S3_META_H
#define MKV_API_S3_META_H

#include "api/s3_checksum.h"
#include "api/s3_conditions.h"
#include "api/s3_error.h"
#include "api/s3_head.h"
#include "api/s3_xml.h"
#include "mkv/record.h"

#define S3_PARTS_MAX         10000
#define S3_USER_METADATA_MAX 2048 /* bytes of names and values, without the prefix */

/* S3_NOT_IMPLEMENTED where a header asks for what we do not do (encryption, object
 * lock, tags, public grants); *why: static text or NULL. */
enum s3_error s3_meta_check_headers(const struct mkv_header *headers, size_t n,
                                    const char **why) MKV_MUSTUSE;
/* The headers of a request that are kept, into fields: Content-Type and its kin,
 * x-amz-meta-*, the storage class.  S3_OK, S3_METADATA_TOO_LARGE, S3_NOT_IMPLEMENTED
 * as above, S3_INVALID_ARGUMENT for what no header can hold, S3_INTERNAL_ERROR;
 * *why: static text or NULL. */
enum s3_error s3_meta_of_headers(const struct mkv_header *headers, size_t n,
                                 struct mkv_record *fields, const char **why) MKV_MUSTUSE;
/* The same for a copy: x-amz-metadata-directive COPY takes what the source has, but
 * for the storage class, which is the copy's own. */
enum s3_error s3_meta_copy(const struct mkv_record *source, struct mkv_record *fields) MKV_MUSTUSE;
/* What a GET or HEAD says of the object: all but length, range and checksum.
 * Content-Type is binary/octet-stream where none was given. */
void s3_meta_headers(const struct mkv_record *rec, struct mkv_slice object, struct s3_head *out);

/* "0123...ef", or "0123...ef-N" of a multipart upload.  A value whose MD5 is not
 * known gets one made of what is known, and "-1" so that nobody takes it for an
 * MD5.  NUL behind; returns the length. */
#define S3_ETAG_MAX 40
size_t s3_etag(const struct mkv_record *rec, struct mkv_slice object, char out[S3_ETAG_MAX]);

/* What conditions compare with. */
struct s3_described {
    struct s3_object is; /* etag points into the next */
    char etag[S3_ETAG_MAX];
};
void s3_describe(struct s3_described *out, const struct mkv_record *rec, struct mkv_slice object);

enum mkv_err s3_meta_set_checksum(struct mkv_record *rec,
                                  const struct s3_checksum_value *sum) MKV_MUSTUSE;
bool s3_meta_checksum(const struct mkv_record *rec, struct s3_checksum_value *out);
/* x-amz-checksum-... and x-amz-checksum-type, where there is one. */
void s3_meta_checksum_headers(const struct mkv_record *rec, struct s3_head *out);
/* <ChecksumCRC32> or another, and <ChecksumType>, likewise. */
void s3_meta_checksum_xml(const struct mkv_record *rec, struct s3_xml *x);

/* The parts of a multipart upload: their sizes in order, as runs of equal ones. */
enum mkv_err s3_meta_set_parts(struct mkv_record *rec, const uint64_t *sizes,
                               unsigned n) MKV_MUSTUSE;
/* 0: the object was not uploaded in parts. */
unsigned s3_meta_part_count(const struct mkv_record *rec);
/* Part 1 to n; an object without parts has one.  False where there is no such part. */
bool s3_meta_part(const struct mkv_record *rec, unsigned number, uint64_t *first,
                  uint64_t *length);

#endif
