/* Walking records, or marks, in byte order of the whole keys.
 *
 * LMDB's order is that order, but for the long keys that share their first
 * STORED_PLAIN bytes: those lie side by side in the order of their hashes.
 * Such a group is read in passes, each of which picks the next keys in true
 * order, so that memory stays the same however large the group is.
 *
 * Pages of the map that were looked at count as this process's memory until
 * the kernel wants them back, so a walk gives them back as it goes.  One that
 * only hops from prefix to prefix does not, no more than lookups do: the pages
 * that it shares with them would have to be mapped anew all the time. */
#include "index/index_impl.h"
#include "mkv/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* ---- memory --------------------------------------------------------------------- */

/* The kernel maps pages in aligned windows of this size around one that is
 * touched; a walk that touched WINDOWS_MAX of them gives them back, and what
 * else of the map is in memory.  GIVE_BACK_MAX bounds what one such call
 * looks at: a larger map is gone through bit by bit. */
#define WINDOW_SHIFT  16
#define WINDOWS_MAX   64
#define GIVE_BACK_MAX ((size_t)1 << 30)

static void give_back(struct mkv_index *ix)
{
    size_t used = (size_t)env_used_pages(&ix->env) * ix->env.page_size;
    size_t from = ix->give_back_at, len;

    ix->windows = 0;
    if (used > ix->env.map_len) used = ix->env.map_len;
    if (from >= used) from = 0;
    len = used - from < GIVE_BACK_MAX ? used - from : GIVE_BACK_MAX;
    /* The map is shared and read-only: its pages are the file's, and come back
     * when they are touched again. */
    if (ix->env.map) madvise((void *)(ix->env.map + from), len, MADV_DONTNEED);
    ix->give_back_at = from + len;
}

/* A walk was put here, as a lookup would be: where it goes on from here counts. */
static void landed(struct mkv_index *ix, const void *data)
{
    ix->window = (uintptr_t)data >> WINDOW_SHIFT;
}

static void touched(struct mkv_index *ix, const void *data)
{
    uintptr_t window = (uintptr_t)data >> WINDOW_SHIFT;

    if (window == ix->window) return;
    ix->window = window;
    if (++ix->windows >= WINDOWS_MAX) give_back(ix);
}

/* ---- one call of a walk ----------------------------------------------------------- */

struct pass {
    struct mkv_index *ix;
    struct mkv_walk *w;
    MDB_cursor *cursor;      /* owned */
    MDB_val key, value;      /* under the cursor */
    size_t budget;           /* keys that may still be examined */
    mkv_walk_visit *visit;
    void *arg;
    struct mkv_slice last;   /* examined last, in LMDB's memory; data NULL: none */
    bool stopped;            /* the visitor wants no more */
};

void mkv_walk_init(struct mkv_walk *w, enum mkv_table table, enum mkv_state state,
                   struct mkv_slice prefix, struct mkv_slice start)
{
    struct mkv_slice from = mkv_slice_cmp(start, prefix) > 0 ? start : prefix;

    w->table = table;
    w->state = state;
    w->prefix = prefix;
    w->from_len = 0;
    w->after = false;
    w->ended = start.len > MKV_KEY_MAX || prefix.len > MKV_KEY_MAX ||
               !mkv_slice_begins(from, prefix);
    if (w->ended || !from.len) return;
    memcpy(w->from, from.data, from.len);
    w->from_len = from.len;
}

/* The first place behind all that begins with prefix: its last byte that can be
 * raised, raised by one.  Where there is none, nothing comes behind. */
void mkv_walk_skip(struct mkv_walk *w, struct mkv_slice prefix)
{
    char behind[MKV_KEY_MAX];
    size_t len = prefix.len;

    if (len > MKV_KEY_MAX) return; /* no key begins so */
    while (len > 0 && (uint8_t)prefix.data[len - 1] == 0xff) len--;
    if (len == 0) {
        w->ended = true;
        return;
    }
    memcpy(behind, prefix.data, len);
    behind[len - 1] = (char)((uint8_t)behind[len - 1] + 1);
    if (mkv_slice_cmp(mkv_slice(behind, len), mkv_slice(w->from, w->from_len)) <= 0) return;
    memcpy(w->from, behind, len);
    w->from_len = len;
    w->after = false;
    if (!mkv_slice_begins(mkv_slice(behind, len), w->prefix)) w->ended = true;
}

static int next(struct pass *p, MDB_cursor_op op)
{
    return mdb_cursor_get(p->cursor, &p->key, &p->value, op);
}

/* To the first entry of the group of long keys that begin with plain. */
static int seek_group(struct pass *p, const void *plain)
{
    uint8_t first[STORED_MAX] = {0};
    int rc;

    memcpy(first, plain, STORED_PLAIN);
    p->key = (MDB_val){sizeof(first), first};
    rc = next(p, MDB_SET_RANGE);
    if (!rc) landed(p->ix, p->value.mv_data);
    return rc;
}

static int seek(struct pass *p)
{
    struct mkv_walk *w = p->w;
    int rc;

    if (!w->from_len) return next(p, MDB_FIRST);
    if (w->from_len > STORED_PLAIN) return seek_group(p, w->from);
    p->key = (MDB_val){w->from_len, w->from};
    rc = next(p, MDB_SET_RANGE);
    if (!rc) landed(p->ix, p->value.mv_data);
    if (!rc && w->after && p->key.mv_size == w->from_len &&
        !memcmp(p->key.mv_data, w->from, w->from_len))
        rc = next(p, MDB_NEXT);
    return rc;
}

/* False: the walk is at its end, or the visitor stopped it here. */
static bool examine(struct pass *p, struct mkv_slice key, const MDB_val *body)
{
    struct mkv_walk *w = p->w;

    if (!mkv_slice_begins(key, w->prefix)) {
        w->ended = true;
        return false;
    }
    p->last = key;
    p->budget--;
    if (w->state &&
        mkv_record_peek_state(body->mv_data, body->mv_size) != w->state)
        return true;
    p->stopped = !p->visit(key, body->mv_data, body->mv_size, p->arg);
    return !p->stopped;
}

/* Where the next call begins: the key is copied, for LMDB's memory goes. */
static void remember(struct pass *p)
{
    if (!p->last.data) return;
    memcpy(p->w->from, p->last.data, p->last.len);
    p->w->from_len = p->last.len;
    p->w->after = !p->stopped;
}

/* ---- groups of long keys ------------------------------------------------------------ */

#define PICK_MAX 4096 /* keys of one pass: 128 KB */

struct picked {
    struct mkv_slice key; /* both in LMDB's memory: valid in this call */
    MDB_val body;
};

struct pick {
    struct picked *heap;  /* owned; the largest key at the top */
    size_t n, max;
    bool left_out;        /* there are more in the group */
};

static void sift_down(struct picked *heap, size_t n, size_t i)
{
    struct picked moving = heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= n) break;
        if (child + 1 < n && mkv_slice_cmp(heap[child + 1].key, heap[child].key) > 0) child++;
        if (mkv_slice_cmp(heap[child].key, moving.key) <= 0) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moving;
}

static void sift_up(struct picked *heap, size_t i)
{
    struct picked moving = heap[i];

    while (i > 0 && mkv_slice_cmp(moving.key, heap[(i - 1) / 2].key) > 0) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = moving;
}

/* Keeps the max smallest. */
static void pick_add(struct pick *pick, const struct picked *one)
{
    if (pick->n < pick->max) {
        pick->heap[pick->n] = *one;
        sift_up(pick->heap, pick->n++);
        return;
    }
    pick->left_out = true;
    if (mkv_slice_cmp(one->key, pick->heap[0].key) >= 0) return;
    pick->heap[0] = *one;
    sift_down(pick->heap, pick->n, 0);
}

/* The heap becomes an array in byte order. */
static void pick_sort(struct pick *pick)
{
    for (size_t n = pick->n; n > 1;) {
        struct picked largest = pick->heap[0];

        pick->heap[0] = pick->heap[--n];
        pick->heap[n] = largest;
        sift_down(pick->heap, n, 0);
    }
}

/* Is key before the place where the walk stands? */
static bool is_seen(const struct pass *p, struct mkv_slice key)
{
    bool after = p->last.data || p->w->after;
    struct mkv_slice from = p->last.data ? p->last : mkv_slice(p->w->from, p->w->from_len);
    int order = mkv_slice_cmp(key, from);

    return after ? order <= 0 : order < 0;
}

/* One pass over the group from its first entry; leaves the cursor behind it. */
static int pick_from_group(struct pass *p, struct pick *pick, const uint8_t *plain)
{
    struct picked one;
    int rc = 0;

    pick->n = 0;
    pick->max = p->budget < PICK_MAX ? p->budget : PICK_MAX;
    pick->left_out = false;
    for (; !rc; rc = next(p, MDB_NEXT)) {
        if (!stored_is_long(&p->key) || memcmp(p->key.mv_data, plain, STORED_PLAIN) != 0) break;
        touched(p->ix, p->value.mv_data);
        if (!stored_entry(&p->key, &p->value, &one.key, &one.body)) {
            mkv_log_error("the index holds a long key that can not be read: left out");
            continue;
        }
        if (!is_seen(p, one.key)) pick_add(pick, &one);
    }
    pick_sort(pick);
    return rc;
}

/* With the cursor on a group's first entry.  Every pass sees the whole group,
 * so a group of n keys costs n * n / PICK_MAX comparisons. */
static int walk_group(struct pass *p)
{
    struct pick pick = {.heap = malloc(PICK_MAX * sizeof(*pick.heap))};
    uint8_t plain[STORED_PLAIN];
    int rc = 0;

    if (!pick.heap) return ENOMEM;
    memcpy(plain, p->key.mv_data, sizeof(plain));
    for (;;) {
        bool more = true;

        rc = pick_from_group(p, &pick, plain);
        if (rc && rc != MDB_NOTFOUND) break;
        for (size_t i = 0; i < pick.n && more; i++)
            more = examine(p, pick.heap[i].key, &pick.heap[i].body);
        if (!more || !pick.left_out || !p->budget) break;
        rc = seek_group(p, plain);
        if (rc) break;
    }
    /* Out of budget in the midst of it: the next call comes back here. */
    if (pick.left_out && rc == MDB_NOTFOUND) rc = 0;
    free(pick.heap);
    return rc;
}

/* ---- marks ------------------------------------------------------------------------------ */

#define MARKS_AT_ONCE 64 /* each costs a look at all slots */

struct found_mark {
    uint8_t bytes[MARK_SLOT]; /* a copy: their writer may be another process */
    struct mkv_slice key, data;
};

/* The smallest key from the walk's place on; false where there is none. */
static bool next_mark(struct mkv_index *ix, const struct mkv_walk *w, struct found_mark *best)
{
    struct mkv_slice from = mkv_slice(w->from, w->from_len);
    struct found_mark one;
    bool found = false;

    for (uint32_t slot = 0; slot < ix->marks.nslots; slot++) {
        int order;

        if (!marks_read(&ix->marks, slot, one.bytes, &one.key, &one.data)) continue;
        order = mkv_slice_cmp(one.key, from);
        if (order < 0 || (order == 0 && w->after) || !mkv_slice_begins(one.key, w->prefix) ||
            (found && mkv_slice_cmp(one.key, best->key) >= 0))
            continue;
        memcpy(best->bytes, one.bytes, MARK_SLOT);
        best->key = mkv_slice((const char *)best->bytes + (one.key.data - (char *)one.bytes),
                              one.key.len);
        best->data = mkv_slice((const char *)best->bytes + (one.data.data - (char *)one.bytes),
                               one.data.len);
        found = true;
    }
    return found;
}

static enum mkv_err walk_marks(struct mkv_index *ix, struct mkv_walk *w, size_t budget,
                               mkv_walk_visit *visit, void *arg)
{
    struct found_mark mark;

    marks_refresh(&ix->marks);
    if (budget > MARKS_AT_ONCE) budget = MARKS_AT_ONCE;
    while (budget--) {
        if (!next_mark(ix, w, &mark)) {
            w->ended = true;
            return MKV_OK;
        }
        memcpy(w->from, mark.key.data, mark.key.len);
        w->from_len = mark.key.len;
        w->after = visit(mark.key, (const uint8_t *)mark.data.data, mark.data.len, arg);
        if (!w->after) break;
    }
    return MKV_OK;
}

/* ---- the call -------------------------------------------------------------------------- */

static int walk_on(struct pass *p)
{
    int rc = seek(p);

    while (!rc && p->budget && !p->w->ended && !p->stopped) {
        if (stored_is_long(&p->key)) {
            rc = walk_group(p);
            continue;
        }
        touched(p->ix, p->value.mv_data);
        if (!examine(p, mkv_slice(p->key.mv_data, p->key.mv_size), &p->value)) break;
        if (p->budget) rc = next(p, MDB_NEXT);
    }
    return rc;
}

enum mkv_err mkv_index_walk(struct mkv_index *ix, struct mkv_walk *w, size_t budget,
                            mkv_walk_visit *visit, void *arg)
{
    struct pass p = {.ix = ix, .w = w, .budget = budget, .visit = visit, .arg = arg};
    enum mkv_err err;
    MDB_txn *txn;
    int rc;

    if (w->ended || !budget) return MKV_OK;
    if (w->table == MKV_TABLE_MARKS) return walk_marks(ix, w, budget, visit, arg);
    err = index_read(ix, &txn);
    if (err) return err;
    rc = mdb_cursor_open(txn, ix->env.dbi[RECORDS], &p.cursor);
    if (rc) return index_read_failed(rc);
    rc = walk_on(&p);
    remember(&p);
    mdb_cursor_close(p.cursor);
    if (rc == MDB_NOTFOUND) {
        if (!p.stopped) w->ended = true;
        return MKV_OK;
    }
    return rc ? index_read_failed(rc) : MKV_OK;
}
