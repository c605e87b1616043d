#include "jobs/sort.h"

#include "mkv/limits.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LEVELS_MAX 8 /* 24^8 times the memory */
#define RUNS_MAX   (LEVELS_MAX * SORT_WAYS)

/* One entry; its key follows.  Only ever read by the process that wrote it. */
struct item {
    struct merge_file file;
    uint16_t key_len;
};

/* A sorted file. */
struct run {
    unsigned number;  /* in its name */
    unsigned level;   /* merged so often */
    FILE *in;         /* owned; NULL: not being read */
    struct item item; /* read last */
    char key[MKV_KEY_MAX];
};

struct sort {
    char *prefix;     /* owned */
    char *memory;     /* owned: items and keys, one after the other, from the front... */
    size_t memory_size;
    size_t used;
    size_t nitems;    /* ...and their offsets, from the back */
    struct run *runs[RUNS_MAX]; /* owned, the higher levels first */
    size_t nruns;
    unsigned last_number;
    size_t at;        /* sort_next: of the offsets, where nothing went to files */
    struct run *heap[RUNS_MAX]; /* sort_next and merging: borrowed, the smallest at the top */
    size_t nheap;
    bool step_first;  /* the top of the heap has been given out */
};

/* ---- order ------------------------------------------------------------------------------ */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare(const struct item *a, const char *a_key, const struct item *b, const char *b_key)
{
    const struct merge_file *x = &a->file, *y = &b->file;
    int order = mkv_slice_cmp(mkv_slice(a_key, a->key_len), mkv_slice(b_key, b->key_len));

    if (!order) order = COMPARE(x->generation, y->generation);
    if (!order) order = COMPARE(x->at.volume, y->at.volume);
    if (!order) order = COMPARE(x->at.subvolume, y->at.subvolume);
    return order ? order : COMPARE(x->doomed, y->doomed);
}

/* ---- in memory ------------------------------------------------------------------------------ */

static uint32_t *offsets(struct sort *s)
{
    return (uint32_t *)(void *)(s->memory + s->memory_size) - s->nitems;
}

static int by_item(const void *a, const void *b, void *memory)
{
    const char *x = (const char *)memory + *(const uint32_t *)a;
    const char *y = (const char *)memory + *(const uint32_t *)b;

    return compare((const struct item *)(const void *)x, x + sizeof(struct item),
                   (const struct item *)(const void *)y, y + sizeof(struct item));
}

static size_t item_len(size_t key_len)
{
    size_t len = sizeof(struct item) + key_len;

    return (len + _Alignof(struct item) - 1) / _Alignof(struct item) * _Alignof(struct item);
}

/* ---- files -------------------------------------------------------------------------------------- */

static bool run_path(const struct sort *s, unsigned number, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s%u", s->prefix, number);

    return n > 0 && n < PATH_MAX;
}

static enum mkv_err file_error(void)
{
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? MKV_ENOSPACE : MKV_EIO;
}

static enum mkv_err write_item(FILE *out, const struct item *item, const char *key)
{
    if (fwrite(item, sizeof(*item), 1, out) != 1 || fwrite(key, item->key_len, 1, out) != 1)
        return file_error();
    return MKV_OK;
}

/* MKV_ENOKEY: the run is at its end. */
static enum mkv_err read_item(struct run *r)
{
    if (fread(&r->item, sizeof(r->item), 1, r->in) != 1) return ferror(r->in) ? MKV_EIO : MKV_ENOKEY;
    return fread(r->key, r->item.key_len, 1, r->in) == 1 ? MKV_OK : MKV_EIO;
}

static enum mkv_err run_create(struct sort *s, struct run **out, FILE **file, unsigned level)
{
    char path[PATH_MAX];
    struct run *r = calloc(1, sizeof(*r));

    if (!r) return MKV_ENOMEM;
    r->number = ++s->last_number;
    r->level = level;
    *file = run_path(s, r->number, path) ? fopen(path, "wxe") : NULL;
    if (!*file) {
        free(r);
        return file_error();
    }
    *out = r;
    return MKV_OK;
}

static void run_remove(struct sort *s, struct run *r)
{
    char path[PATH_MAX];

    if (r->in) fclose(r->in);
    if (run_path(s, r->number, path)) unlink(path);
    free(r);
}

/* Ends writing; the run joins the others, or is gone where that failed. */
static enum mkv_err run_finish(struct sort *s, struct run *r, FILE *file, enum mkv_err err)
{
    if (fclose(file) && !err) err = file_error();
    if (!err && s->nruns == RUNS_MAX) err = MKV_ENOSPACE;
    if (err)
        run_remove(s, r);
    else
        s->runs[s->nruns++] = r;
    return err;
}

/* ---- merging runs ---------------------------------------------------------------------------------- */

static bool is_before(const struct run *a, const struct run *b)
{
    return compare(&a->item, a->key, &b->item, b->key) < 0;
}

static void sift_down(struct sort *s, size_t i)
{
    struct run *moving = s->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= s->nheap) break;
        if (child + 1 < s->nheap && is_before(s->heap[child + 1], s->heap[child])) child++;
        if (!is_before(s->heap[child], moving)) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = moving;
}

/* Opens the runs from first on, each with its first item at hand. */
static enum mkv_err heap_fill(struct sort *s, size_t first)
{
    char path[PATH_MAX];

    s->nheap = 0;
    for (size_t i = first; i < s->nruns; i++) {
        struct run *r = s->runs[i];
        enum mkv_err err;

        r->in = run_path(s, r->number, path) ? fopen(path, "re") : NULL;
        if (!r->in) return MKV_EIO;
        err = read_item(r);
        if (err == MKV_ENOKEY) continue;
        if (err) return err;
        s->heap[s->nheap++] = r;
    }
    for (size_t i = s->nheap; i-- > 0;) sift_down(s, i);
    return MKV_OK;
}

/* The run at the top goes on to its next item, or out of the heap. */
static enum mkv_err heap_step(struct sort *s)
{
    enum mkv_err err = read_item(s->heap[0]);

    if (err && err != MKV_ENOKEY) return err;
    if (err) s->heap[0] = s->heap[--s->nheap];
    if (s->nheap) sift_down(s, 0);
    return MKV_OK;
}

static enum mkv_err merge_runs(struct sort *s, size_t first)
{
    struct run *merged;
    FILE *file;
    enum mkv_err err = run_create(s, &merged, &file, s->runs[first]->level + 1);

    if (err) return err;
    err = heap_fill(s, first);
    while (!err && s->nheap) {
        err = write_item(file, &s->heap[0]->item, s->heap[0]->key);
        if (!err) err = heap_step(s);
    }
    while (s->nruns > first) run_remove(s, s->runs[--s->nruns]);
    return run_finish(s, merged, file, err);
}

/* Where SORT_WAYS runs of a level stand at the end, they become one. */
static enum mkv_err merge_full_levels(struct sort *s)
{
    enum mkv_err err = MKV_OK;

    while (!err && s->nruns >= SORT_WAYS) {
        size_t first = s->nruns - SORT_WAYS;

        if (s->runs[first]->level != s->runs[s->nruns - 1]->level) break;
        err = merge_runs(s, first);
    }
    return err;
}

/* What is in memory becomes a run. */
static enum mkv_err spill(struct sort *s)
{
    uint32_t *all = offsets(s);
    struct run *r;
    FILE *file;
    enum mkv_err err = run_create(s, &r, &file, 0);

    if (err) return err;
    qsort_r(all, s->nitems, sizeof(*all), by_item, s->memory);
    for (size_t i = 0; i < s->nitems && !err; i++) {
        const char *at = s->memory + all[i];

        err = write_item(file, (const struct item *)(const void *)at, at + sizeof(struct item));
    }
    s->nitems = s->used = 0;
    err = run_finish(s, r, file, err);
    return err ? err : merge_full_levels(s);
}

/* ---- the interface --------------------------------------------------------------------------------- */

enum mkv_err sort_open(struct sort **out, const char *prefix, size_t memory)
{
    struct sort *s = calloc(1, sizeof(*s));

    if (!s) return MKV_ENOMEM;
    s->prefix = strdup(prefix);
    s->memory_size = memory / sizeof(uint64_t) * sizeof(uint64_t);
    s->memory = malloc(s->memory_size);
    if (!s->prefix || !s->memory) {
        sort_close(s);
        return MKV_ENOMEM;
    }
    *out = s;
    return MKV_OK;
}

enum mkv_err sort_add(struct sort *s, struct mkv_slice key, const struct merge_file *file)
{
    size_t len = item_len(key.len), taken = s->used + (s->nitems + 1) * sizeof(uint32_t);
    struct item *item;

    if (taken + len > s->memory_size) {
        enum mkv_err err = spill(s);

        if (err) return err;
    }
    item = (struct item *)(void *)(s->memory + s->used);
    memset(item, 0, sizeof(*item));
    item->file = *file;
    item->key_len = (uint16_t)key.len;
    memcpy(item + 1, key.data, key.len);
    s->nitems++;
    *offsets(s) = (uint32_t)s->used;
    s->used += len;
    return MKV_OK;
}

enum mkv_err sort_end(struct sort *s)
{
    enum mkv_err err;

    if (!s->nruns) {
        qsort_r(offsets(s), s->nitems, sizeof(uint32_t), by_item, s->memory);
        return MKV_OK;
    }
    err = s->nitems ? spill(s) : MKV_OK;
    if (err) return err;
    free(s->memory);
    s->memory = NULL;
    return heap_fill(s, 0);
}

static enum mkv_err next_in_memory(struct sort *s, struct mkv_slice *key, struct merge_file *file)
{
    const struct item *item;
    const char *at;

    if (s->at == s->nitems) return MKV_ENOKEY;
    at = s->memory + offsets(s)[s->at++];
    item = (const struct item *)(const void *)at;
    *key = mkv_slice(at + sizeof(*item), item->key_len);
    *file = item->file;
    return MKV_OK;
}

enum mkv_err sort_next(struct sort *s, struct mkv_slice *key, struct merge_file *file)
{
    struct run *r;

    if (!s->nruns) return next_in_memory(s, key, file);
    if (s->step_first) {
        enum mkv_err err = heap_step(s);

        if (err) return err;
    }
    if (!s->nheap) return MKV_ENOKEY;
    r = s->heap[0];
    s->step_first = true;
    *key = mkv_slice(r->key, r->item.key_len);
    *file = r->item.file;
    return MKV_OK;
}

void sort_close(struct sort *s)
{
    if (!s) return;
    while (s->nruns) run_remove(s, s->runs[--s->nruns]);
    free(s->memory);
    free(s->prefix);
    free(s);
}
