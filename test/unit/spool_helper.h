/* test/unit/spool_helper.h - what the tests of the spool share: a spool in a
 * directory of its own, files that are fed and taken, and a disk that fails or
 * stands still on demand. */
#ifndef TEST_SPOOL_HELPER_H
#define TEST_SPOOL_HELPER_H

#include "mkv/spool.h"
#include "net/block.h"

#include "index_helper.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define PATTERN 1000003 /* bytes until the contents repeat: shares no factor with any size */
#define PIECE   70000   /* of a block: kept by reference */
#define SMALL   5000    /* copied */

/* ---- the disk: these stand before libc's ------------------------------------------ */

enum { HOLD_WRITE = 1, HOLD_SYNC = 2 };

static atomic_int held, inside; /* in which calls threads stand still; how many do */
static atomic_int write_error, sync_error;

static inline int disk_call(int which, atomic_int *error)
{
    if (atomic_load(&held) & which) {
        atomic_fetch_add(&inside, 1);
        while (atomic_load(&held) & which) usleep(200);
        atomic_fetch_sub(&inside, 1);
    }
    errno = atomic_load(error);
    return errno ? -1 : 0;
}

/* Looks at each page, as the kernel will: for the sanitizers. */
ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    volatile char seen;

    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < iov[i].iov_len; k += 4096) seen = ((const char *)iov[i].iov_base)[k];
    (void)seen;
    return disk_call(HOLD_WRITE, &write_error) ? -1 : syscall(SYS_pwritev, fd, iov, n, at, 0);
}

int fdatasync(int fd)
{
    return disk_call(HOLD_SYNC, &sync_error) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* ---- the spool ------------------------------------------------------------------------ */

struct spool_fixture {
    struct mkv_loop *loop;
    struct mkv_spool *spool;
    struct mkv_blocks *blocks;
    uint8_t *pattern; /* twice, so that any piece is in one piece */
    char dir[64];
    char why[512];
    uint8_t id[MKV_UPLOAD_ID_LEN];
};

static inline enum mkv_err open_spool(struct spool_fixture *f)
{
    return mkv_spool_open(&f->spool, f->loop, f->dir, f->why, sizeof(f->why));
}

static inline int set_up(void **state)
{
    struct spool_fixture *f = calloc(1, sizeof(*f));

    if (!f || mkv_loop_open(&f->loop) || mkv_blocks_open(&f->blocks)) return -1;
    snprintf(f->dir, sizeof(f->dir), "/tmp/mkv-test-spool-XXXXXX");
    if (!mkdtemp(f->dir) || open_spool(f)) return -1;
    f->pattern = malloc(2 * PATTERN);
    if (!f->pattern) return -1;
    for (size_t i = 0; i < 2 * PATTERN; i++)
        f->pattern[i] = (uint8_t)((i % PATTERN) * 2654435761u >> 16);
    for (size_t i = 0; i < sizeof(f->id); i++) f->id[i] = (uint8_t)(0xa0 + i);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct spool_fixture *f = *state;

    atomic_store(&held, 0);
    atomic_store(&write_error, 0);
    atomic_store(&sync_error, 0);
    mkv_spool_close(f->spool);
    mkv_blocks_close(f->blocks);
    mkv_loop_close(f->loop);
    remove_tree(f->dir);
    free(f->pattern);
    free(f);
    return 0;
}

static inline struct mkv_spool_name name_of(const struct spool_fixture *f, unsigned number,
                                            uint64_t serial)
{
    return (struct mkv_spool_name){f->id, number, serial};
}

/* dir/ID/NAME; without name the upload's directory. */
static inline const char *path_of(const struct spool_fixture *f, const char *name)
{
    static char path[256];
    char hex[2 * MKV_UPLOAD_ID_LEN + 1];

    mkv_hex(hex, f->id, sizeof(f->id));
    snprintf(path, sizeof(path), "%s/%s%s%s", f->dir, hex, name ? "/" : "", name ? name : "");
    return path;
}

static inline bool there(const struct spool_fixture *f, const char *name)
{
    return access(path_of(f, name), F_OK) == 0;
}

/* How many entries a directory has; -1: it is not there. */
static inline int entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static inline void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

static inline void turn_for(struct spool_fixture *f, long ms)
{
    const struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    bool over = false;

    assert_int_equal(
        event_base_once(mkv_loop_base(f->loop), -1, EV_TIMEOUT, on_time, &over, &tv), 0);
    while (!over) mkv_loop_turn(f->loop);
}

/* Until the upload's directory has so many entries; -1: until it is gone. */
static inline void wait_for_entries(struct spool_fixture *f, int n)
{
    for (int i = 0; i < 2000 && entries(path_of(f, NULL)) != n; i++) turn_for(f, 5);
    assert_int_equal(entries(path_of(f, NULL)), n);
}

static inline void hold(int which)
{
    atomic_store(&held, which);
}

static inline void wait_inside(struct spool_fixture *f, int n)
{
    for (int i = 0; i < 5000 && atomic_load(&inside) < n; i++) turn_for(f, 1);
    assert_int_equal(atomic_load(&inside), n);
}

/* Nobody sleeps on into the next hold(). */
static inline void let_go(void)
{
    atomic_store(&held, 0);
    while (atomic_load(&inside)) usleep(200);
}

/* ---- a file that is fed ------------------------------------------------------------------ */

struct feed {
    struct spool_fixture *f;
    struct mkv_spool_file *file; /* NULL once it is done */
    size_t size, given, seed;
    unsigned drained, dones;
    bool ended;
    enum mkv_err err;
};

static inline void feed_drained(void *arg)
{
    struct feed *feed = arg;

    assert_false(mkv_spool_full(feed->file));
    feed->drained++;
}

static inline void feed_done(enum mkv_err err, void *arg)
{
    struct feed *feed = arg;

    feed->dones++;
    feed->err = err;
    feed->file = NULL;
}

static const struct mkv_spool_write_events feed_events = {feed_drained, feed_done};

static inline void open_feed(struct feed *feed, struct spool_fixture *f, unsigned number,
                             uint64_t serial, size_t size)
{
    const struct mkv_spool_name name = name_of(f, number, serial);

    *feed = (struct feed){.f = f, .size = size, .seed = number * 1000 + serial};
    assert_int_equal(mkv_spool_write(&feed->file, f->spool, &name, &feed_events, feed), MKV_OK);
}

/* Large and small pieces in turn. */
static inline void give_piece(struct feed *feed)
{
    size_t n = feed->given % (PIECE + SMALL) == 0 ? PIECE : SMALL;
    const uint8_t *from = feed->f->pattern + (feed->given + feed->seed) % PATTERN;
    struct mkv_block *b;

    if (n > feed->size - feed->given) n = feed->size - feed->given;
    feed->given += n;
    if (n <= SMALL) {
        mkv_spool_add(feed->file, (struct mkv_bytes){from, n, NULL});
        return;
    }
    b = mkv_blocks_take(feed->f->blocks);
    memcpy(mkv_block_data(b), from, n);
    mkv_spool_add(feed->file, (struct mkv_bytes){mkv_block_data(b), n, b});
    mkv_block_release(b);
}

/* As much as is taken now. */
static inline void give(struct feed *feed)
{
    while (feed->file && feed->given < feed->size && !mkv_spool_full(feed->file)) give_piece(feed);
    if (!feed->file || feed->given < feed->size || feed->ended) return;
    feed->ended = true;
    mkv_spool_end(feed->file);
}

static inline enum mkv_err finish_feed(struct feed *feed)
{
    while (feed->file) {
        give(feed);
        mkv_loop_turn(feed->f->loop);
    }
    assert_int_equal(feed->dones, 1);
    return feed->err;
}

static inline void write_file(struct spool_fixture *f, unsigned number, uint64_t serial,
                              size_t size)
{
    struct feed feed;

    open_feed(&feed, f, number, serial, size);
    assert_int_equal(finish_feed(&feed), MKV_OK);
}

/* ---- a file that is taken ------------------------------------------------------------------ */

struct take {
    struct spool_fixture *f;
    struct mkv_spool_file *file; /* NULL once it is done */
    size_t first, got, seed;
    bool wants_pause; /* after each piece */
    bool paused;
    size_t cancel_at; /* so many bytes; 0: never */
    unsigned pieces, dones;
    enum mkv_err err;
};

static inline void take_body(struct mkv_bytes piece, void *arg)
{
    struct take *take = arg;
    struct spool_fixture *f = take->f;

    assert_false(take->paused);
    assert_true(piece.len > 0 && piece.len <= MKV_BLOCK_SIZE);
    assert_non_null(piece.block);
    for (size_t i = 0; i < piece.len;) {
        size_t from = (take->first + take->got + i + take->seed) % PATTERN;
        size_t n = piece.len - i < PATTERN ? piece.len - i : PATTERN;

        assert_memory_equal(piece.data + i, f->pattern + from, n);
        i += n;
    }
    take->got += piece.len;
    take->pieces++;
    if (take->wants_pause) mkv_spool_pause(take->file, take->paused = true);
    if (take->cancel_at && take->got >= take->cancel_at) {
        mkv_spool_cancel(take->file);
        take->file = NULL;
    }
}

static inline void take_done(enum mkv_err err, void *arg)
{
    struct take *take = arg;

    take->dones++;
    take->err = err;
    take->file = NULL;
}

static const struct mkv_spool_read_events take_events = {take_body, take_done};

static inline void open_take(struct take *take, struct spool_fixture *f, unsigned number,
                             uint64_t serial, uint64_t first, uint64_t length)
{
    const struct mkv_spool_name name = name_of(f, number, serial);

    *take = (struct take){.f = f, .first = first, .seed = number * 1000 + serial};
    assert_int_equal(
        mkv_spool_read(&take->file, f->spool, &name, first, length, &take_events, take), MKV_OK);
    assert_int_equal(take->pieces + take->dones, 0);
}

static inline enum mkv_err finish_take(struct take *take)
{
    while (take->file) mkv_loop_turn(take->f->loop);
    assert_int_equal(take->dones, 1);
    return take->err;
}

static inline void expect_file(struct spool_fixture *f, unsigned number, uint64_t serial,
                               size_t size)
{
    struct take take;

    open_take(&take, f, number, serial, 0, size);
    assert_int_equal(finish_take(&take), MKV_OK);
    assert_int_equal(take.got, size);
}

#endif
