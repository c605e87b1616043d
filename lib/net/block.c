#include "net/block.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <unistd.h>

#define SPARE_MAX 8 /* free blocks kept for the next reads: 2 MB at most */

struct mkv_block {
    unsigned references;
    size_t used;
    struct mkv_blocks *pool;  /* borrowed; NULL once the pool is closed */
    struct mkv_block *next;   /* among the pool's spare blocks, or its busy ones */
    struct mkv_block **prev;
    uint8_t data[MKV_BLOCK_SIZE];
};

struct mkv_blocks {
    struct mkv_block *filling;  /* owned reference; NULL before the first read */
    struct mkv_block *spare;    /* owned: nobody references them */
    struct mkv_block *busy;     /* referenced; linked so that close can orphan them */
    unsigned nspare;
};

static void link_block(struct mkv_block **list, struct mkv_block *b)
{
    b->next = *list;
    b->prev = list;
    if (b->next) b->next->prev = &b->next;
    *list = b;
}

static void unlink_block(struct mkv_block *b)
{
    *b->prev = b->next;
    if (b->next) b->next->prev = b->prev;
}

struct mkv_block *mkv_blocks_take(struct mkv_blocks *pool)
{
    struct mkv_block *b = pool->spare;

    if (b) {
        unlink_block(b);
        pool->nspare--;
    } else {
        b = malloc(sizeof(*b));
        if (!b) return NULL;
        b->pool = pool;
    }
    b->references = 1;
    b->used = 0;
    link_block(&pool->busy, b);
    return b;
}

uint8_t *mkv_block_data(struct mkv_block *b)
{
    return b->data;
}

void mkv_block_release(struct mkv_block *b)
{
    if (--b->references) return;
    if (!b->pool) {
        free(b);
        return;
    }
    unlink_block(b);
    if (b->pool->nspare < SPARE_MAX) {
        link_block(&b->pool->spare, b);
        b->pool->nspare++;
    } else {
        free(b);
    }
}

enum mkv_err mkv_blocks_open(struct mkv_blocks **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? MKV_OK : MKV_ENOMEM;
}

void mkv_blocks_close(struct mkv_blocks *pool)
{
    struct mkv_block *b;

    if (!pool) return;
    if (pool->filling) mkv_block_release(pool->filling);
    while ((b = pool->spare)) {
        unlink_block(b);
        free(b);
    }
    for (b = pool->busy; b; b = b->next) b->pool = NULL;
    free(pool);
}

static size_t room(const struct mkv_block *b)
{
    return MKV_BLOCK_SIZE - b->used;
}

ssize_t mkv_blocks_read(struct mkv_blocks *pool, int fd, size_t max, struct mkv_bytes *out)
{
    struct mkv_block *b = pool->filling;
    ssize_t n;

    if (b && b->references == 1) b->used = 0; /* nobody kept anything: start over */
    if (!b || room(b) < MKV_BLOCK_ROOM) {
        struct mkv_block *fresh = mkv_blocks_take(pool);

        if (!fresh) {
            errno = ENOMEM;
            return -1;
        }
        if (b) mkv_block_release(b);
        pool->filling = b = fresh;
    }
    n = read(fd, b->data + b->used, max < room(b) ? max : room(b));
    if (n > 0) {
        *out = (struct mkv_bytes){b->data + b->used, (size_t)n, b};
        b->used += (size_t)n;
    }
    return n;
}

static void dereference(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    mkv_block_release(arg);
}

enum mkv_err mkv_bytes_append(struct evbuffer *to, struct mkv_bytes bytes)
{
    if (!bytes.block || bytes.len <= MKV_COPY_MAX)
        return evbuffer_add(to, bytes.data, bytes.len) ? MKV_ENOMEM : MKV_OK;
    if (evbuffer_add_reference(to, bytes.data, bytes.len, dereference, bytes.block))
        return MKV_ENOMEM;
    bytes.block->references++;
    return MKV_OK;
}
