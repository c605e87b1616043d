/* Committing a group of changes in one transaction, with LMDB's default
 * durability: when it returns, the group is on the disk.
 *
 * Where there is no room for the whole group, the changes that fit still go
 * through, one by one; where room is short before it is used up, only changes
 * that add no entry do, so that a full index can always be emptied. */
#include "index/index_impl.h"
#include "mkv/log.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <time.h>

static bool is_space(int rc)
{
    return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC || rc == EDQUOT || rc == EFBIG;
}

/* ---- room ------------------------------------------------------------------------- */

/* Pages by which the file can still grow: in the map and on the disk. */
static uint64_t tail_pages(const struct mkv_index *ix)
{
    uint64_t used = env_used_pages(&ix->env), map = ix->env.map_pages, disk;
    struct statvfs fs;

    map = map > used ? map - used : 0;
    if (statvfs(ix->dir, &fs) || fs.f_blocks == 0) return map; /* not known: the write will tell */
    disk = (uint64_t)fs.f_bavail * fs.f_frsize / ix->env.page_size;
    return disk < map ? disk : map;
}

/* Pages inside the file that LMDB lists as free: table 0, each value of which
 * begins with how many page numbers follow. */
static uint64_t sum_free_lists(MDB_txn *txn)
{
    uint64_t pages = 0;
    MDB_cursor *cursor;
    MDB_val key, value;

    if (mdb_cursor_open(txn, 0, &cursor)) return 0;
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        size_t n = 0;

        if (value.mv_size >= sizeof(n)) memcpy(&n, value.mv_data, sizeof(n));
        pages += n;
    }
    mdb_cursor_close(cursor);
    return pages;
}

static uint64_t free_pages(const struct env *env)
{
    uint64_t pages = 0;
    MDB_txn *txn;

    if (mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn)) return 0;
    pages = sum_free_lists(txn);
    mdb_txn_abort(txn);
    return pages;
}

static uint64_t pages_for(const struct mkv_index *ix, const struct change *c, bool first)
{
    return (first ? FIRST_PAGES : MORE_PAGES) + c->len / ix->env.page_size;
}

/* Moves the changes that surely fit from the head of from to piece.  Where the
 * first one alone does not: all that follow and do not either, and true, for
 * of these only what adds nothing may pass. */
static bool take_piece(const struct mkv_index *ix, struct change_list *from,
                       struct change_list *piece)
{
    uint64_t need = RESERVE_PAGES, room = tail_pages(ix);
    bool counted = false;

    while (from->first) {
        need += pages_for(ix, from->first, !piece->first);
        if (room < need && !counted) {
            room += free_pages(&ix->env);
            counted = true;
        }
        if (room < need) break;
        list_add(piece, list_take(from));
    }
    if (piece->first) return false;
    while (from->first && room < RESERVE_PAGES + pages_for(ix, from->first, true))
        list_add(piece, list_take(from));
    return true;
}

/* ---- one transaction ---------------------------------------------------------------- */

/* All of the changes, or none; but where tight, without those that add. */
static int commit_once(struct mkv_index *ix, struct change_list *changes, bool tight)
{
    const struct env *env = &ix->env;
    struct counters before, n;
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);

    if (rc) return rc;
    before = n = env_counters(env, txn);
    for (struct change *c = changes->first; c && !rc; c = c->next)
        rc = change_write(c, env, txn, &n, tight);
    if (!rc && memcmp(&before, &n, sizeof(n)) != 0) rc = env_put_counters(env, txn, &n);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn); /* which frees txn whatever comes of it */
}

/* ---- figures ------------------------------------------------------------------------- */

static uint64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The first i with value <= unit * 2^i; the last takes the rest. */
static unsigned bucket(uint64_t value, uint64_t unit)
{
    unsigned i = 0;

    while (i < MKV_INDEX_BUCKETS - 1 && value > unit << i) i++;
    return i;
}

static void count_commit(struct mkv_index *ix, const struct change_list *changes, uint64_t us)
{
    struct mkv_index_stats *s = &ix->stats;
    uint64_t written = 0;

    for (const struct change *c = changes->first; c; c = c->next) written += c->err == MKV_OK;
    pthread_mutex_lock(&ix->stats_lock);
    s->commits++;
    s->changes += written;
    s->commit_us_sum += us;
    s->sizes[bucket(written, 1)]++;
    s->durations[bucket(us, 100)]++;
    pthread_mutex_unlock(&ix->stats_lock);
}

static void count_failed(struct mkv_index *ix, const struct change_list *changes)
{
    uint64_t failed = 0;

    for (const struct change *c = changes->first; c; c = c->next)
        failed += c->err != MKV_OK && c->err != MKV_ENOKEY; /* that is an answer */
    if (!failed) return;
    pthread_mutex_lock(&ix->stats_lock);
    ix->stats.failed += failed;
    pthread_mutex_unlock(&ix->stats_lock);
}

/* ---- a group --------------------------------------------------------------------------- */

static int commit_counted(struct mkv_index *ix, struct change_list *changes, bool tight)
{
    uint64_t start = clock_us();
    int rc = commit_once(ix, changes, tight);

    if (!rc) count_commit(ix, changes, clock_us() - start);
    return rc;
}

static void fail_all(struct change_list *changes, enum mkv_err err)
{
    for (struct change *c = changes->first; c; c = c->next) c->err = err;
}

/* After a failed write or fsync nobody knows what the kernel still holds of
 * it: taking more writes would promise what may not be there. */
static void set_broken(struct mkv_index *ix, int rc)
{
    atomic_store(&ix->broken, true);
    mkv_log_error("the index %s can not be written: %s: no more writes until this program is "
                  "restarted; check the disk",
                  ix->dir, mdb_strerror(rc));
}

/* Space is back once something was added: removals go through all along. */
static void set_full(struct mkv_index *ix, const struct change_list *changes)
{
    bool refused = false, added = false;

    for (const struct change *c = changes->first; c; c = c->next) {
        refused |= c->err == MKV_ENOSPACE;
        added |= c->err == MKV_OK && c->adds;
    }
    if (refused && !atomic_exchange(&ix->full, true))
        mkv_log_error("no space left for the index %s: free disk space or raise -db-size", ix->dir);
    else if (added && !refused && atomic_exchange(&ix->full, false))
        mkv_log_warn("the index %s has space again", ix->dir);
}

/* False where there was no space: then nothing of piece is written. */
static bool commit_piece(struct mkv_index *ix, struct change_list *piece, bool tight)
{
    int rc = atomic_load(&ix->broken) ? MDB_PANIC : commit_counted(ix, piece, tight);

    if (!rc) return true;
    if (!is_space(rc) && !atomic_load(&ix->broken)) set_broken(ix, rc);
    fail_all(piece, is_space(rc) ? MKV_ENOSPACE : MKV_EINDEX);
    return !is_space(rc);
}

/* Each in a transaction of its own. */
static void commit_one_by_one(struct mkv_index *ix, struct change_list *changes)
{
    struct change_list tried, one, piece;
    struct change *c;

    list_init(&tried);
    list_init(&one);
    list_init(&piece);
    while ((c = list_take(changes))) {
        bool tight;

        list_add(&one, c);
        tight = take_piece(ix, &one, &piece);
        commit_piece(ix, &piece, tight);
        list_join(&tried, &piece);
    }
    list_join(changes, &tried);
}

void index_commit(struct mkv_index *ix, struct change_list *changes)
{
    struct change_list tried, piece;

    list_init(&tried);
    list_init(&piece);
    pthread_mutex_lock(&ix->write_lock);
    while (changes->first) {
        bool tight = take_piece(ix, changes, &piece);

        if (!commit_piece(ix, &piece, tight) && piece.count > 1) commit_one_by_one(ix, &piece);
        list_join(&tried, &piece);
    }
    list_join(changes, &tried);
    count_failed(ix, changes);
    set_full(ix, changes);
    pthread_mutex_unlock(&ix->write_lock);
}

enum mkv_err index_commit_volume(struct mkv_index *ix, uint32_t id, struct mkv_slice name)
{
    enum mkv_err err = MKV_EINDEX;
    MDB_txn *txn = NULL;
    int rc;

    pthread_mutex_lock(&ix->write_lock);
    if (atomic_load(&ix->broken)) goto out;
    rc = mdb_txn_begin(ix->env.mdb, NULL, 0, &txn);
    if (!rc) rc = env_put_volume(&ix->env, txn, id, name);
    if (!rc) {
        rc = mdb_txn_commit(txn);
        txn = NULL;
    }
    if (rc && !is_space(rc)) set_broken(ix, rc);
    err = !rc ? MKV_OK : is_space(rc) ? MKV_ENOSPACE : MKV_EINDEX;
out:
    if (txn) mdb_txn_abort(txn);
    pthread_mutex_unlock(&ix->write_lock);
    return err;
}
