/* A new index beside the old one.
 *
 * Nothing is synced while it grows: if the machine stops, it is thrown away.
 * Transactions are ended now and then to give their memory back. */
#include "index/build.h"

#include "index/index_impl.h"
#include "index/lock.h"
#include "index/marks.h"
#include "mkv/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT_BYTES (4 * 1024 * 1024) /* of keys and values in one transaction */
#define DATA_FILE    "data.mdb"
#define READERS_FILE "lock.mdb"

struct build {
    char *dir;             /* owned: of the index              */
    int lock_fd;
    struct mkv_index *old; /* owned; NULL: none, or not wanted */
    struct mkv_index fresh; /* of it only what env.c uses: dir (owned), map_size, env */
    MDB_txn *txn;          /* owned; NULL: none is open        */
    size_t written;        /* bytes in txn                     */
    struct counters counters;
    uint32_t nvolumes;
    int rc;                /* LMDB's, of what failed           */
};

/* ---- files ------------------------------------------------------------------------- */

static bool path_in(char path[PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);

    return n > 0 && n < PATH_MAX;
}

/* What a build makes; nothing else is removed. */
static bool is_ours(const char *name)
{
    return !strcmp(name, DATA_FILE) || !strncmp(name, BUILD_RUN, strlen(BUILD_RUN));
}

static void remove_built(const char *dir)
{
    struct dirent *entry;
    DIR *d = opendir(dir);

    while (d && (entry = readdir(d)))
        if (is_ours(entry->d_name)) unlinkat(dirfd(d), entry->d_name, 0);
    if (d) closedir(d);
    rmdir(dir);
}

static bool has_index(const char *dir)
{
    char path[PATH_MAX];

    return path_in(path, dir, DATA_FILE) && access(path, F_OK) == 0;
}

/* ---- open ------------------------------------------------------------------------------ */

static enum mkv_err open_old(struct build *b, struct mkv_loop *loop,
                             const struct build_options *opt, char *why, size_t why_size)
{
    const struct mkv_index_options old = {
        .dir = opt->dir, .map_size = opt->map_size, .read_only = true};
    enum mkv_err err;
    size_t len;

    if (opt->fresh || !has_index(opt->dir)) return MKV_OK;
    err = mkv_index_open(&b->old, loop, &old, why, why_size);
    if (!err) return MKV_OK;
    len = strlen(why);
    snprintf(why + len, why_size - len,
             "; -fresh makes the index without the old one: then unlinked keys come back live, and "
             "MD5s, headers, buckets and unfinished uploads are gone");
    return err;
}

/* Ids go on where the old index's end: its records keep their meaning. */
static enum mkv_err copy_volumes(struct build *b)
{
    uint32_t n = b->old ? mkv_index_volume_count(b->old) : 0, id;

    for (uint32_t i = 0; i < n; i++) {
        enum mkv_err err = build_volume_id(b, mkv_index_volume_name(b->old, i), &id);

        if (err) return err;
    }
    return MKV_OK;
}

static enum mkv_err open_new(struct build *b, const struct build_options *opt, char *why,
                             size_t why_size)
{
    char path[PATH_MAX];
    enum mkv_err err;

    if (!path_in(path, opt->dir, BUILD_DIR)) return MKV_EINVAL;
    b->fresh.dir = strdup(path);
    if (!b->fresh.dir) return MKV_ENOMEM;
    b->fresh.map_size = opt->map_size ? opt->map_size : MKV_INDEX_MAP_DEFAULT;
    remove_built(path);
    err = env_prepare_dir(path, false, why, why_size);
    if (err) return err;
    b->fresh.env.alone = true; /* on a full disk LMDB's lock file is mapped, but not there: SIGBUS */
    err = env_open(&b->fresh, false, why, why_size);
    if (err) return err;
    b->counters.next_garbage = 1;
    return mdb_env_set_flags(b->fresh.env.mdb, MDB_NOSYNC, 1) ? MKV_EINDEX : MKV_OK;
}

enum mkv_err build_open(struct build **out, struct mkv_loop *loop, const struct build_options *opt,
                        char *why, size_t why_size)
{
    struct build *b = calloc(1, sizeof(*b));
    enum mkv_err err = MKV_ENOMEM;

    why[0] = '\0';
    if (!b) goto out;
    b->lock_fd = -1;
    b->dir = strdup(opt->dir);
    if (!b->dir) goto out;
    err = env_prepare_dir(opt->dir, false, why, why_size);
    if (err) goto out;
    err = index_lock_take(&b->lock_fd, opt->dir, NULL, why, why_size);
    if (err) goto out;
    err = open_old(b, loop, opt, why, why_size);
    if (err) goto out;
    err = open_new(b, opt, why, why_size);
    if (err) goto out;
    err = copy_volumes(b);
    if (err) goto out;
    *out = b;
    b = NULL;
out:
    if (err && !why[0]) snprintf(why, why_size, "%s: %s", opt->dir, mkv_strerror(err));
    build_close(b);
    return err;
}

struct mkv_index *build_old(struct build *b)
{
    return b->old;
}

const char *build_dir(const struct build *b)
{
    return b->fresh.dir;
}

/* ---- writing ---------------------------------------------------------------------------- */

static int commit(struct build *b)
{
    struct env *env = &b->fresh.env;
    int rc;

    if (!b->txn) return 0;
    rc = env_put_counters(env, b->txn, &b->counters);
    if (rc) {
        mdb_txn_abort(b->txn);
    } else {
        rc = mdb_txn_commit(b->txn);
    }
    b->txn = NULL;
    b->written = 0;
    /* The pages of the map that were looked at count as ours until given back;
     * they are the file's. */
    if (!rc && env->map) madvise((void *)env->map, env->map_len, MADV_DONTNEED);
    return rc;
}

/* A transaction with room for bytes more. */
static int begin(struct build *b, size_t bytes)
{
    int rc = 0;

    if (b->written > COMMIT_BYTES) rc = commit(b);
    if (!rc && !b->txn) rc = mdb_txn_begin(b->fresh.env.mdb, NULL, 0, &b->txn);
    b->written += bytes;
    return rc;
}

static enum mkv_err result(struct build *b, int rc)
{
    char why[8];

    if (!rc) return MKV_OK;
    b->rc = rc;
    return env_explain(&b->fresh, rc, why, sizeof(why));
}

void build_why(const struct build *b, char *why, size_t why_size)
{
    if (b->rc)
        (void)env_explain(&b->fresh, b->rc, why, why_size);
    else
        snprintf(why, why_size, "out of memory");
}

enum mkv_err build_volume_id(struct build *b, struct mkv_slice name, uint32_t *id)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    int rc;

    if (name.len == 0 || name.len > MKV_VOLUME_NAME_MAX) return MKV_EINVAL;
    rc = begin(b, name.len);
    if (rc) return result(b, rc);
    rc = mdb_cursor_open(b->txn, b->fresh.env.dbi[VOLUMES], &cursor);
    if (rc) return result(b, rc);
    *id = 0;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (mkv_slice_eq(mkv_slice(value.mv_data, value.mv_size), name)) break;
        ++*id;
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) rc = env_put_volume(&b->fresh.env, b->txn, *id, name);
    return result(b, rc);
}

/* Keys that come in order fill the pages one after the other; a long key among
 * those that share its beginning may not. */
static int append(struct build *b, const struct change *c)
{
    MDB_dbi dbi = b->fresh.env.dbi[RECORDS];
    MDB_val key = c->key, value = c->record;
    int rc = mdb_put(b->txn, dbi, &key, &value, MDB_APPEND);

    if (rc == MDB_KEYEXIST) rc = mdb_put(b->txn, dbi, &key, &value, MDB_NOOVERWRITE);
    if (!rc && c->unlinked) b->counters.unlinked++;
    return rc;
}

enum mkv_err build_record(struct build *b, struct mkv_slice key, const struct mkv_record *rec)
{
    const struct mkv_index_change change = {.key = key, .record_op = MKV_SET, .record = rec};
    struct change *c;
    enum mkv_err err = change_new(&c, &change);
    int rc;

    if (err) return err;
    rc = begin(b, c->len);
    if (!rc) rc = append(b, c);
    free(c);
    return result(b, rc);
}

enum mkv_err build_garbage(struct build *b, struct mkv_slice key, const struct mkv_record *files,
                           int64_t due)
{
    const struct mkv_index_change change = {.key = key, .garbage = files, .garbage_due = due};
    struct change *c;
    enum mkv_err err = change_new(&c, &change);
    int rc;

    if (err) return err;
    rc = begin(b, c->len);
    if (!rc) rc = change_write(c, &b->fresh.env, b->txn, &b->counters, false);
    free(c);
    return result(b, rc);
}

/* ---- what volumes do not know ---------------------------------------------------------------- */

/* Entry by entry, as they are. */
static int carry_table(struct build *b, MDB_txn *old, enum table table, uint64_t *n)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc;

    if (b->old->env.dbi[table] == NO_TABLE) return 0;
    rc = mdb_cursor_open(old, b->old->env.dbi[table], &cursor);
    if (rc) return rc;
    while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
        rc = begin(b, key.mv_size + value.mv_size);
        if (!rc) rc = mdb_put(b->txn, b->fresh.env.dbi[table], &key, &value, MDB_APPEND);
        if (rc) break;
        ++*n;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

enum mkv_err build_carry(struct build *b, uint64_t *buckets, uint64_t *uploads)
{
    uint64_t parts = 0;
    enum mkv_err err;
    MDB_txn *old;
    int rc;

    *buckets = *uploads = 0;
    if (!b->old) return MKV_OK;
    err = index_read(b->old, &old);
    if (err) return err;
    rc = carry_table(b, old, BUCKETS, buckets);
    if (!rc) rc = carry_table(b, old, UPLOADS, uploads);
    if (!rc) rc = carry_table(b, old, PARTS, &parts);
    return result(b, rc);
}

/* ---- the swap ------------------------------------------------------------------------------ */

/* Readers beside a server share LMDB's lock file with it, which must belong to
 * the data file.  So the old one goes first: if we are stopped here, the old
 * index gets a new one.  And once more, for one that a reader made in between. */
static int move_in(const struct build *b)
{
    char built[PATH_MAX], data[PATH_MAX], readers[PATH_MAX], marks[PATH_MAX];

    if (!path_in(built, b->fresh.dir, DATA_FILE) || !path_in(data, b->dir, DATA_FILE) ||
        !path_in(readers, b->dir, READERS_FILE) || !path_in(marks, b->dir, MARKS_FILE))
        return ENAMETOOLONG;
    if (unlink(readers) && errno != ENOENT) return errno;
    if (rename(built, data)) return errno;
    (void)unlink(readers);
    (void)unlink(marks); /* of writes that the old index knew: the new one has what is left of them */
    return env_sync_parent(data) ? errno : 0;
}

enum mkv_err build_swap(struct build *b, char *why, size_t why_size)
{
    int rc = begin(b, 0); /* counters of an empty index too */

    if (!rc) rc = commit(b);
    if (!rc) rc = mdb_env_sync(b->fresh.env.mdb, 1);
    if (!rc) {
        env_close(&b->fresh.env);
        mkv_index_close(b->old);
        b->old = NULL;
        rc = move_in(b);
    }
    if (!rc) return MKV_OK;
    b->rc = rc;
    return env_explain(&b->fresh, rc, why, why_size);
}

void build_close(struct build *b)
{
    if (!b) return;
    if (b->txn) mdb_txn_abort(b->txn);
    env_close(&b->fresh.env);
    mkv_index_close(b->old);
    if (b->fresh.dir && b->lock_fd >= 0) remove_built(b->fresh.dir);
    index_lock_release(b->lock_fd);
    free(b->fresh.dir);
    free(b->dir);
    free(b);
}
