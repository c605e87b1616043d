/* lib/index/entries.h - how buckets, uploads and parts lie in LMDB's tables.  Pure.
 *
 * Every value begins with a version byte.  An upload's stored key is its key, a
 * NUL and its id, so that LMDB's order is that of keys and then ids (no key holds
 * a NUL).  A key of more than UPLOAD_PLAIN bytes is stored as that many of them,
 * a byte 1, the SHA-256 of the whole, and the id: such keys that share their
 * beginning form a group behind the one key that is this beginning, in the order
 * of their hashes.  docs/format.md describes the bytes. */
#ifndef MKV_INDEX_ENTRIES_H
#define MKV_INDEX_ENTRIES_H

#include "index/keys.h"
#include "mkv/index.h"

#define ENTRY_VERSION 1

/* ---- buckets ---------------------------------------------------------------- */
size_t bucket_value_len(const struct mkv_bucket *bucket);
void put_bucket_value(uint8_t *out, const struct mkv_bucket *bucket);
/* MKV_ECORRUPT, MKV_ENEWER: *out is as it was. */
enum mkv_err get_bucket(const MDB_val *stored, const MDB_val *value,
                        struct mkv_bucket *out) MKV_MUSTUSE;

/* ---- uploads ---------------------------------------------------------------- */
#define UPLOAD_PLAIN (STORED_MAX - 1 - MKV_SHA256_LEN - MKV_UPLOAD_ID_LEN)
#define UPLOAD_GROUP 1 /* the byte behind the beginning of long keys */

/* The stored form of (key, id), in buf. */
MDB_val stored_upload(struct mkv_slice key, const uint8_t id[MKV_UPLOAD_ID_LEN],
                      uint8_t buf[STORED_MAX]);
static inline bool stored_upload_is_long(const MDB_val *stored)
{
    return stored->mv_size == STORED_MAX;
}

struct upload_entry { /* all in LMDB's memory */
    struct mkv_slice key;
    const uint8_t *id;
    MDB_val record; /* encoded */
};
size_t upload_value_len(const struct mkv_upload *upload);
void put_upload_value(uint8_t *out, const struct mkv_upload *upload);
/* MKV_ECORRUPT, MKV_ENEWER.  The record is not looked at. */
enum mkv_err get_upload(const MDB_val *stored, const MDB_val *value,
                        struct upload_entry *out) MKV_MUSTUSE;

/* ---- parts ------------------------------------------------------------------ */
#define PART_KEY_LEN (MKV_UPLOAD_ID_LEN + 2)
void put_part_key(uint8_t out[PART_KEY_LEN], const uint8_t id[MKV_UPLOAD_ID_LEN], unsigned number);
size_t part_value_len(const struct mkv_part *part);
void put_part_value(uint8_t *out, const struct mkv_part *part);
/* out->what must be initialised.  MKV_ECORRUPT, MKV_ENEWER, MKV_ENOMEM. */
enum mkv_err get_part(const MDB_val *stored, const MDB_val *value,
                      struct mkv_part *out) MKV_MUSTUSE;

#endif
