#include "store/keylock.h"

/* MD5 spreads any keys, also those that somebody chose to collide. */
static unsigned bucket_of(const uint8_t md5[MKV_MD5_LEN])
{
    return (md5[4] | (unsigned)md5[5] << 8) % KEYLOCK_BUCKETS;
}

bool keylock_held(const struct keylocks *locks, struct mkv_slice key,
                  const uint8_t md5[MKV_MD5_LEN])
{
    for (const struct keylock *l = locks->buckets[bucket_of(md5)]; l; l = l->next)
        if (memcmp(l->md5, md5, MKV_MD5_LEN) == 0 && mkv_slice_eq(l->key, key)) return true;
    return false;
}

void keylock_join(struct keylocks *locks, struct keylock *lock, struct mkv_slice key,
                  const uint8_t md5[MKV_MD5_LEN])
{
    struct keylock **bucket = &locks->buckets[bucket_of(md5)];

    lock->key = key;
    memcpy(lock->md5, md5, MKV_MD5_LEN);
    lock->next = *bucket;
    lock->prev = bucket;
    if (lock->next) lock->next->prev = &lock->next;
    *bucket = lock;
}

bool keylock_take(struct keylocks *locks, struct keylock *lock, struct mkv_slice key,
                  const uint8_t md5[MKV_MD5_LEN])
{
    if (keylock_held(locks, key, md5)) return false;
    keylock_join(locks, lock, key, md5);
    return true;
}

void keylock_release(struct keylock *lock)
{
    if (!lock->prev) return;
    *lock->prev = lock->next;
    if (lock->next) lock->next->prev = lock->prev;
    lock->prev = NULL;
}
