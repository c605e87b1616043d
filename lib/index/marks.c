#include "index/marks.h"

#include "index/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A slot: checksum (8 bytes), length of the key (2), of the record (2), key,
 * record.  The checksum is the first 8 bytes of the MD5 of what follows it. */
#define CHECKSUM_LEN 8
#define HEAD_LEN     (CHECKSUM_LEN + 4)
_Static_assert(HEAD_LEN + MKV_KEY_MAX + MKV_RECORD_ENCODED_MAX <= MARK_SLOT, "a mark fits a slot");

static uint8_t *slot_at(const struct marks *m, uint32_t slot)
{
    return m->slots + (size_t)slot * MARK_SLOT;
}

static void checksum(const uint8_t *slot, size_t len, uint8_t out[MKV_MD5_LEN])
{
    mkv_md5(mkv_slice((const char *)slot + CHECKSUM_LEN, len - CHECKSUM_LEN), out);
}

/* ---- one slot --------------------------------------------------------------------- */

static bool read_slot(const uint8_t *slot, struct mkv_slice *key, struct mkv_slice *data)
{
    size_t key_len = (size_t)slot[8] << 8 | slot[9], data_len = (size_t)slot[10] << 8 | slot[11];
    uint8_t md5[MKV_MD5_LEN];

    if (key_len == 0 || key_len > MKV_KEY_MAX || data_len > MKV_RECORD_ENCODED_MAX) return false;
    checksum(slot, HEAD_LEN + key_len + data_len, md5);
    if (memcmp(md5, slot, CHECKSUM_LEN) != 0) return false;
    *key = mkv_slice((const char *)slot + HEAD_LEN, key_len);
    *data = mkv_slice((const char *)slot + HEAD_LEN + key_len, data_len);
    return true;
}

/* The compiler must not reorder what a kill may cut apart. */
static void barrier(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void clear_slot(uint8_t *slot)
{
    memset(slot, 0, CHECKSUM_LEN);
    barrier();
    memset(slot + CHECKSUM_LEN, 0, HEAD_LEN - CHECKSUM_LEN);
    barrier();
}

static void write_slot(uint8_t *slot, struct mkv_slice key, const struct mkv_record *mark)
{
    size_t data_len = mkv_record_encoded_len(mark);
    uint8_t md5[MKV_MD5_LEN];

    clear_slot(slot);
    slot[8] = (uint8_t)(key.len >> 8);
    slot[9] = (uint8_t)key.len;
    slot[10] = (uint8_t)(data_len >> 8);
    slot[11] = (uint8_t)data_len;
    memcpy(slot + HEAD_LEN, key.data, key.len);
    mkv_record_encode(mark, slot + HEAD_LEN + key.len);
    checksum(slot, HEAD_LEN + key.len + data_len, md5);
    barrier();
    memcpy(slot, md5, CHECKSUM_LEN);
    barrier();
}

bool marks_get(const struct marks *m, uint32_t slot, struct mkv_slice *key,
               struct mkv_slice *data)
{
    return slot < m->nslots && read_slot(slot_at(m, slot), key, data);
}

bool marks_read(const struct marks *m, uint32_t slot, uint8_t copy[MARK_SLOT],
                struct mkv_slice *key, struct mkv_slice *data)
{
    if (slot >= m->nslots) return false;
    memcpy(copy, slot_at(m, slot), MARK_SLOT);
    return read_slot(copy, key, data);
}

/* ---- which slot has which key ------------------------------------------------------- */

static uint32_t *bucket_of(const struct marks *m, const uint8_t md5[MKV_MD5_LEN])
{
    return &m->buckets[get_be32(md5) % m->nslots];
}

static void link_slot(struct marks *m, uint32_t slot)
{
    uint32_t *bucket = bucket_of(m, m->entries[slot].md5);

    m->entries[slot].next = *bucket;
    *bucket = slot;
}

/* All slots again, after the file was opened or has grown. */
static void link_all(struct marks *m)
{
    memset(m->buckets, 0xff, m->nslots * sizeof(*m->buckets)); /* MARK_NONE */
    m->free = MARK_NONE;
    m->used = 0;
    for (uint32_t slot = m->nslots; slot-- > 0;) { /* so that the lowest is free first */
        struct mkv_slice key, data;

        if (marks_get(m, slot, &key, &data)) {
            mkv_md5(key, m->entries[slot].md5);
            link_slot(m, slot);
            m->used++;
        } else {
            m->entries[slot].next = m->free;
            m->free = slot;
        }
    }
}

uint32_t marks_find(const struct marks *m, struct mkv_slice key)
{
    uint8_t md5[MKV_MD5_LEN];
    struct mkv_slice other, data;

    if (!m->used) return MARK_NONE;
    mkv_md5(key, md5);
    for (uint32_t s = *bucket_of(m, md5); s != MARK_NONE; s = m->entries[s].next)
        if (memcmp(m->entries[s].md5, md5, sizeof(md5)) == 0 && marks_get(m, s, &other, &data) &&
            mkv_slice_eq(other, key))
            return s;
    return MARK_NONE;
}

/* ---- the file ----------------------------------------------------------------------- */

/* Maps n slots; the file has them, on the disk: a hole that can not be filled
 * when it is written would be a SIGBUS. */
static enum mkv_err map_slots(struct marks *m, uint32_t n)
{
    size_t old_len = (size_t)m->nslots * MARK_SLOT, len = (size_t)n * MARK_SLOT;
    int access = m->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    void *map = m->slots ? mremap(m->slots, old_len, len, MREMAP_MAYMOVE)
                         : mmap(NULL, len, access, MAP_SHARED, m->fd, 0);

    if (map == MAP_FAILED) return MKV_ENOMEM;
    m->slots = map;
    m->nslots = n;
    return MKV_OK;
}

static enum mkv_err grow(struct marks *m, uint32_t n)
{
    struct mark_entry *entries;
    uint32_t *buckets;
    enum mkv_err err;

    if (n > MARKS_MAX) return MKV_ENOSPACE;
    if (posix_fallocate(m->fd, 0, (off_t)n * MARK_SLOT)) return MKV_ENOSPACE;
    entries = realloc(m->entries, n * sizeof(*entries));
    if (!entries) return MKV_ENOMEM;
    m->entries = entries;
    buckets = realloc(m->buckets, n * sizeof(*buckets));
    if (!buckets) return MKV_ENOMEM;
    m->buckets = buckets;
    err = map_slots(m, n);
    if (!err) link_all(m);
    return err;
}

static uint32_t slots_in_file(const struct marks *m)
{
    struct stat st;
    uint64_t n;

    if (fstat(m->fd, &st) || st.st_size < 0) return 0;
    n = (uint64_t)st.st_size / MARK_SLOT;
    return n < MARKS_MAX ? (uint32_t)n : MARKS_MAX;
}

enum mkv_err marks_open(struct marks *m, const char *dir, bool read_only)
{
    char path[PATH_MAX];
    uint32_t n;
    int len = snprintf(path, sizeof(path), "%s/%s", dir, MARKS_FILE);

    *m = (struct marks){.fd = -1, .read_only = read_only, .free = MARK_NONE};
    if (len < 0 || len >= PATH_MAX) return MKV_EIO;
    m->fd = open(path, read_only ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (m->fd < 0) return read_only && errno == ENOENT ? MKV_OK : MKV_EIO;
    n = slots_in_file(m);
    if (read_only) return n ? map_slots(m, n) : MKV_OK;
    return grow(m, n < MARKS_FIRST ? MARKS_FIRST : n);
}

void marks_close(struct marks *m)
{
    if (m->slots) munmap(m->slots, (size_t)m->nslots * MARK_SLOT);
    if (m->fd >= 0) close(m->fd);
    free(m->entries);
    free(m->buckets);
    *m = (struct marks){.fd = -1};
}

void marks_refresh(struct marks *m)
{
    uint32_t n = m->read_only && m->fd >= 0 ? slots_in_file(m) : 0;

    /* Where it can not be mapped, the slots seen so far are still good. */
    if (n > m->nslots && map_slots(m, n)) return;
}

/* ---- set, clear, count ---------------------------------------------------------------- */

enum mkv_err marks_set(struct marks *m, struct mkv_slice key, const struct mkv_record *mark)
{
    uint32_t slot = marks_find(m, key);

    if (slot == MARK_NONE) {
        enum mkv_err err = m->free == MARK_NONE ? grow(m, 2 * m->nslots) : MKV_OK;

        if (err) return err;
        slot = m->free;
        m->free = m->entries[slot].next;
        mkv_md5(key, m->entries[slot].md5);
        link_slot(m, slot);
        m->used++;
    }
    write_slot(slot_at(m, slot), key, mark);
    return MKV_OK;
}

void marks_clear(struct marks *m, uint32_t slot)
{
    uint32_t *at;

    if (slot == MARK_NONE) return;
    at = bucket_of(m, m->entries[slot].md5);
    while (*at != slot) at = &m->entries[*at].next;
    *at = m->entries[slot].next;
    clear_slot(slot_at(m, slot));
    m->entries[slot].next = m->free;
    m->free = slot;
    m->used--;
}

uint32_t marks_count(const struct marks *m)
{
    struct mkv_slice key, data;
    uint8_t copy[MARK_SLOT];
    uint32_t n = 0;

    if (!m->read_only) return m->used;
    for (uint32_t slot = 0; slot < m->nslots; slot++) n += marks_read(m, slot, copy, &key, &data);
    return n;
}
