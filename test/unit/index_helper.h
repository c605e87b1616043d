/* test/unit/index_helper.h - what the tests of the index share: an index in a
 * directory of its own, and writes that are waited for. */
#ifndef TEST_INDEX_HELPER_H
#define TEST_INDEX_HELPER_H

#include "mkv/index.h"

#include "table.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_MAP (UINT64_C(256) << 20) /* valgrind has no room for the default */

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED false
#endif

struct fixture {
    struct mkv_loop *loop;
    struct mkv_index *ix;
    struct mkv_index_options opt;
    char dir[64];
    char why[512];
};

static inline struct mkv_slice text(const char *s)
{
    return mkv_slice_of(s);
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline void remove_tree(const char *dir)
{
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline enum mkv_err try_open(struct fixture *f)
{
    return mkv_index_open(&f->ix, f->loop, &f->opt, f->why, sizeof(f->why));
}

static inline void open_index(struct fixture *f)
{
    enum mkv_err err = try_open(f);

    if (err) fail_msg("open: %s", f->why);
}

static inline void close_index(struct fixture *f)
{
    mkv_index_close(f->ix);
    f->ix = NULL;
}

/* A loop and a new directory; the index is not open yet. */
static inline void prepare(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    /* In memory where that is possible: the tests make thousands of commits. */
    snprintf(f->dir, sizeof(f->dir), "%s/mkv-index-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    assert_non_null(mkdtemp(f->dir));
    f->opt.dir = f->dir;
    f->opt.map_size = SMALL_MAP;
    f->opt.address = "127.0.0.1:3000";
    assert_int_equal(mkv_loop_open(&f->loop), MKV_OK);
}

static inline int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));

    if (!f) return -1;
    prepare(f);
    open_index(f);
    *state = f;
    return 0;
}

static inline int setup_closed(void **state)
{
    struct fixture *f = malloc(sizeof(*f));

    if (!f) return -1;
    prepare(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    mkv_index_close(f->ix);
    mkv_loop_close(f->loop);
    remove_tree(f->dir);
    free(f);
    return 0;
}

/* ---- writing, and waiting for it --------------------------------------------------- */

struct waiting {
    unsigned left;      /* callbacks that still owe us an answer */
    unsigned count[64]; /* by error */
    enum mkv_err last;
};

static inline void on_done(enum mkv_err err, void *arg)
{
    struct waiting *w = arg;

    assert_true(w->left > 0);
    w->left--;
    w->count[err]++;
    w->last = err;
}

static inline void queue_change(struct fixture *f, const struct mkv_index_change *c,
                                struct waiting *w)
{
    w->left++; /* before the call: done() inside it would be a fault that shows */
    unsigned before = w->left;

    assert_int_equal(mkv_index_apply(f->ix, c, on_done, w), MKV_OK);
    assert_int_equal(w->left, before);
}

static inline void settle(struct fixture *f, struct waiting *w)
{
    while (w->left) mkv_loop_turn(f->loop);
}

static inline enum mkv_err apply(struct fixture *f, const struct mkv_index_change *c)
{
    struct waiting w = {0};

    queue_change(f, c, &w);
    settle(f, &w);
    return w.last;
}

/* A record that can be told from others by its size and generation. */
static inline struct mkv_record record_of(enum mkv_state state, uint64_t generation, int64_t size)
{
    struct mkv_record r;

    mkv_record_init(&r);
    r.state = state;
    r.generation = generation;
    r.size = size;
    r.nreplicas = 3;
    for (unsigned i = 0; i < 3; i++) r.replicas[i] = (struct mkv_replica){i, (uint16_t)(i + 7)};
    return r;
}

static inline enum mkv_err put(struct fixture *f, struct mkv_slice key, const struct mkv_record *r)
{
    struct mkv_index_change c = {.key = key, .record_op = MKV_SET, .record = r};

    return apply(f, &c);
}

static inline enum mkv_err put_size(struct fixture *f, struct mkv_slice key, int64_t size)
{
    struct mkv_record r = record_of(MKV_LIVE, 0, size);

    return put(f, key, &r);
}

static inline enum mkv_err take_away(struct fixture *f, struct mkv_slice key)
{
    struct mkv_index_change c = {.key = key, .record_op = MKV_REMOVE};

    return apply(f, &c);
}

/* The size in key's record; -1 where there is none. */
static inline int64_t size_of(struct fixture *f, struct mkv_slice key)
{
    struct mkv_record r;
    enum mkv_err err;
    int64_t size;

    mkv_record_init(&r);
    err = mkv_index_get(f->ix, key, &r, NULL, NULL);
    assert_true(err == MKV_OK || err == MKV_ENOKEY);
    size = err ? -1 : r.size;
    mkv_record_clear(&r);
    return size;
}

static inline struct mkv_index_stats stats_of(struct fixture *f)
{
    struct mkv_index_stats s;

    mkv_index_stats(f->ix, &s);
    return s;
}

/* A key of len bytes that begins with head and otherwise holds fill; in buf. */
static inline struct mkv_slice long_key(char *buf, const char *head, char fill, size_t len)
{
    size_t n = strlen(head);

    memset(buf, fill, len);
    memcpy(buf, head, n < len ? n : len);
    return mkv_slice(buf, len);
}

#endif
