/* A copy of the index beside whoever is writing it.
 *
 * The copy is made under another name and renamed when it is complete, so that
 * what opens as an index is one. */
#include "index/index_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define BACKUP_PART "data.mdb.part"

struct backup {
    char part[PATH_MAX], whole[PATH_MAX];
};

static bool name_files(struct backup *b, const char *dir)
{
    int part = snprintf(b->part, sizeof(b->part), "%s/" BACKUP_PART, dir);
    int whole = snprintf(b->whole, sizeof(b->whole), "%s/data.mdb", dir);

    return part > 0 && (size_t)part < sizeof(b->part) && whole > 0 &&
           (size_t)whole < sizeof(b->whole);
}

/* LMDB copies from one read transaction: one moment of the index. */
static int copy(struct mkv_index *ix, const struct backup *b)
{
    int fd = open(b->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), rc;

    if (fd < 0) return errno;
    rc = mdb_env_copyfd2(ix->env.mdb, fd, MDB_CP_COMPACT);
    if (close(fd) && !rc) rc = errno;
    return rc;
}

/* Empties the tables of garbage, and those of uploads, whose parts are not
 * copied; marks lie in a file of their own.  LMDB syncs as it commits. */
static int trim(const struct backup *b)
{
    static const enum table unwanted[] = {GARBAGE, GARBAGE_BY_KEY, UPLOADS, PARTS};
    MDB_txn *txn = NULL;
    MDB_env *env;
    MDB_dbi dbi;
    int rc = mdb_env_create(&env);

    if (rc) return rc;
    rc = mdb_env_set_maxdbs(env, TABLES);
    if (!rc) rc = mdb_env_open(env, b->part, MDB_NOSUBDIR | MDB_NOLOCK, 0644);
    if (!rc) rc = mdb_txn_begin(env, NULL, 0, &txn);
    for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]) && !rc; i++) {
        rc = mdb_dbi_open(txn, env_table_names[unwanted[i]], 0, &dbi);
        if (!rc) rc = mdb_drop(txn, dbi, 0);
        if (rc == MDB_NOTFOUND) rc = 0; /* an index made before there were uploads */
    }
    if (!rc) {
        rc = mdb_txn_commit(txn);
        txn = NULL;
    }
    if (txn) mdb_txn_abort(txn);
    mdb_env_close(env);
    return rc;
}

static int finish(const struct backup *b)
{
    int fd = open(b->part, O_RDONLY | O_CLOEXEC), rc = 0;

    /* A commit that had nothing to empty syncs nothing. */
    if (fd < 0 || fsync(fd) || rename(b->part, b->whole) || env_sync_parent(b->whole)) rc = errno;
    if (fd >= 0) close(fd);
    return rc;
}

enum mkv_err mkv_index_backup(struct mkv_index *ix, const char *dir, char *why, size_t why_size)
{
    struct backup b;
    enum mkv_err err;
    int rc;

    err = env_prepare_dir(dir, false, why, why_size);
    if (err) return err;
    if (!name_files(&b, dir)) {
        snprintf(why, why_size, "%s: the name is too long", dir);
        return MKV_EINVAL;
    }
    if (access(b.whole, F_OK) == 0) {
        snprintf(why, why_size, "%s holds an index already: give another directory", dir);
        return MKV_EEXISTS;
    }
    rc = copy(ix, &b);
    if (!rc) rc = trim(&b);
    if (!rc) rc = finish(&b);
    if (!rc) return MKV_OK;
    unlink(b.part);
    snprintf(why, why_size, "can not write the copy %s: %s", b.whole, mdb_strerror(rc));
    return rc == ENOSPC ? MKV_ENOSPACE : MKV_EIO;
}
