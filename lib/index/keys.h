/* lib/index/keys.h - how keys and values lie in LMDB's tables.  Pure.
 *
 * LMDB's keys end at 511 bytes, ours at MKV_KEY_MAX.  A key of up to
 * STORED_PLAIN bytes is stored as it is; a longer one as its first
 * STORED_PLAIN bytes and the SHA-256 of the whole, and the whole key then
 * stands at the head of the value.  Since no plain key is 511 bytes long, the
 * length tells the two apart.  Numbers are big-endian, so that byte order is
 * their order. */
#ifndef MKV_INDEX_KEYS_H
#define MKV_INDEX_KEYS_H

#include "mkv/digest.h"
#include "mkv/record.h"
#include "mkv/slice.h"

#include <lmdb.h>
#include <stdint.h>

#define STORED_PLAIN 479
#define STORED_MAX   (STORED_PLAIN + MKV_SHA256_LEN)
_Static_assert(STORED_MAX == 511, "LMDB's longest key");

/* The stored form of a key of 1..MKV_KEY_MAX bytes.  Its data is key's own
 * where key is plain, else buf. */
MDB_val stored_key(struct mkv_slice key, uint8_t buf[STORED_MAX]);
static inline bool stored_is_long(const MDB_val *stored)
{
    return stored->mv_size == STORED_MAX;
}

/* "length (2 bytes), key": the head of a long key's value, and of every value
 * in the garbage table.  Returns the byte after it. */
#define KEY_HEAD(len) (2 + (len))
uint8_t *put_key_head(uint8_t *out, struct mkv_slice key);
/* Splits "head, body".  False where the bytes are too short. */
bool get_key_head(const MDB_val *value, struct mkv_slice *key, MDB_val *body);

/* The key and the encoded record of an entry of records or marks; both point
 * into LMDB's memory.  False where the entry is damaged. */
bool stored_entry(const MDB_val *stored, const MDB_val *value, struct mkv_slice *key,
                  MDB_val *body);

static inline void put_be32(uint8_t *out, uint32_t n)
{
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(n >> (24 - 8 * i));
}

static inline uint32_t get_be32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static inline void put_be64(uint8_t *out, uint64_t n)
{
    put_be32(out, (uint32_t)(n >> 32));
    put_be32(out + 4, (uint32_t)n);
}

static inline uint64_t get_be64(const uint8_t *in)
{
    return (uint64_t)get_be32(in) << 32 | get_be32(in + 4);
}

/* The garbage table's key: (due, id), in that order also for times before 1970. */
#define GARBAGE_KEY_LEN 16
void put_garbage_key(uint8_t out[GARBAGE_KEY_LEN], int64_t due, uint64_t id);
bool get_garbage_key(const MDB_val *stored, int64_t *due, uint64_t *id);

/* The key of garbage-by-key: (MD5 of the key, generation, id), so that the last
 * entry that begins with a key's MD5 names its highest generation.  Two keys
 * with one MD5 would share a higher number than each needs, no more. */
#define BY_KEY_LEN (MKV_MD5_LEN + 16)
void put_by_key(uint8_t out[BY_KEY_LEN], const uint8_t md5[MKV_MD5_LEN], uint64_t generation,
                uint64_t id);

#endif
