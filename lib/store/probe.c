#include "store/probe.h"

#include <stdlib.h>
#include <string.h>

struct probe_cache {
    uint64_t ttl_ms;
    struct probe entries[PROBE_ENTRIES];
};

enum mkv_err probe_open(struct probe_cache **out, uint64_t ttl_ms)
{
    *out = calloc(1, sizeof(**out));
    if (!*out) return MKV_ENOMEM;
    (*out)->ttl_ms = ttl_ms;
    return MKV_OK;
}

void probe_close(struct probe_cache *c)
{
    free(c);
}

static size_t entry_of(const uint8_t md5[MKV_MD5_LEN])
{
    return (md5[8] | (unsigned)md5[9] << 8) % PROBE_ENTRIES;
}

const struct probe *probe_find(const struct probe_cache *c, const uint8_t md5[MKV_MD5_LEN],
                               uint64_t generation, uint64_t now_ms)
{
    const struct probe *p = &c->entries[entry_of(md5)];

    if (p->until_ms < now_ms || p->generation != generation ||
        memcmp(p->md5, md5, MKV_MD5_LEN) != 0)
        return NULL;
    return p;
}

void probe_found(struct probe_cache *c, const uint8_t md5[MKV_MD5_LEN], uint64_t generation,
                 uint16_t replicas, bool balanced, uint64_t now_ms)
{
    struct probe *p = &c->entries[entry_of(md5)];

    if (!c->ttl_ms) return;
    memcpy(p->md5, md5, MKV_MD5_LEN);
    p->generation = generation;
    p->until_ms = now_ms + c->ttl_ms;
    p->found = replicas;
    p->balanced = balanced;
    p->renewing = false;
}

bool probe_renew(struct probe_cache *c, const uint8_t md5[MKV_MD5_LEN], uint64_t now_ms)
{
    struct probe *p = &c->entries[entry_of(md5)];

    if (p->renewing || p->until_ms < now_ms || p->until_ms - now_ms > c->ttl_ms / 4 ||
        memcmp(p->md5, md5, MKV_MD5_LEN) != 0)
        return false;
    p->renewing = true;
    return true;
}

void probe_forget(struct probe_cache *c, const uint8_t md5[MKV_MD5_LEN])
{
    struct probe *p = &c->entries[entry_of(md5)];

    if (memcmp(p->md5, md5, MKV_MD5_LEN) == 0) p->until_ms = 0;
}
