/* The LMDB environment: its directory, its tables, its version. */
#include "index/index_impl.h"
#include "mkv/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_SIZE_MIN (UINT64_C(1) << 20) /* less would hold next to nothing */

const char *const env_table_names[TABLES] = {
    [RECORDS] = "records",
    [GARBAGE] = "garbage",
    [GARBAGE_BY_KEY] = "garbage-by-key",
    [VOLUMES] = "volumes",
    [BUCKETS] = "buckets",
    [UPLOADS] = "uploads",
    [PARTS] = "parts",
    [META] = "meta",
};

/* ---- the directory ---------------------------------------------------------- */

static bool file_in(const char *dir, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);

    return n > 0 && n < PATH_MAX && access(path, F_OK) == 0;
}

/* The original minikeyvalue's index: LevelDB's CURRENT and MANIFEST-*. */
static bool is_leveldb(const char *dir)
{
    bool found = false;
    struct dirent *entry;
    DIR *d;

    if (!file_in(dir, "CURRENT") || file_in(dir, "data.mdb")) return false;
    d = opendir(dir);
    if (!d) return false;
    while (!found && (entry = readdir(d))) found = !strncmp(entry->d_name, "MANIFEST-", 9);
    closedir(d);
    return found;
}

/* A new file or directory survives a power cut only once its parent is synced. */
int env_sync_parent(const char *path)
{
    char copy[PATH_MAX];
    int fd, rc;

    snprintf(copy, sizeof(copy), "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    rc = fsync(fd);
    close(fd);
    return rc;
}

/* Makes dir and every directory above it that is missing. */
static int make_dirs(const char *dir)
{
    char path[PATH_MAX];
    size_t len = strlen(dir);

    if (len == 0 || len >= sizeof(path)) {
        errno = len ? ENAMETOOLONG : ENOENT;
        return -1;
    }
    memcpy(path, dir, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        path[i] = '\0';
        if (mkdir(path, 0755) == 0) {
            if (env_sync_parent(path)) return -1;
        } else if (errno != EEXIST && access(path, F_OK)) {
            return -1;
        }
        path[i] = dir[i];
    }
    return 0;
}

enum mkv_err env_prepare_dir(const char *dir, bool read_only, char *why, size_t why_size)
{
    struct stat st;

    if (is_leveldb(dir)) {
        snprintf(why, why_size,
                 "%s holds an index of the original minikeyvalue, which this program does not "
                 "read: run mkv-rebuild with another -db, which makes the index from the volumes",
                 dir);
        return MKV_EINDEX;
    }
    if (read_only && !file_in(dir, "data.mdb")) {
        snprintf(why, why_size, "there is no index in %s: check -db", dir);
        return MKV_EINDEX;
    }
    if (!read_only && make_dirs(dir)) {
        snprintf(why, why_size, "can not make the directory %s: %s: check -db", dir,
                 strerror(errno));
        return MKV_EINDEX;
    }
    if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode)) {
        snprintf(why, why_size, "%s is not a directory: check -db", dir);
        return MKV_EINDEX;
    }
    return MKV_OK;
}

/* ---- tables and version ------------------------------------------------------ */

int env_put_counters(const struct env *env, MDB_txn *txn, const struct counters *n)
{
    uint8_t bytes[16];
    MDB_val key = {sizeof(META_COUNTERS) - 1, (void *)META_COUNTERS};
    MDB_val value = {sizeof(bytes), bytes};

    put_be64(bytes, n->unlinked);
    put_be64(bytes + 8, n->next_garbage);
    return mdb_put(txn, env->dbi[META], &key, &value, 0);
}

int env_put_volume(const struct env *env, MDB_txn *txn, uint32_t id, struct mkv_slice name)
{
    uint8_t at[4];
    MDB_val key = {sizeof(at), at}, value = {name.len, (void *)name.data};

    put_be32(at, id);
    return mdb_put(txn, env->dbi[VOLUMES], &key, &value, MDB_NOOVERWRITE);
}

/* Version and counters of an index that has just been made. */
static int put_meta(const struct env *env, MDB_txn *txn)
{
    const struct counters none = {.next_garbage = 1};
    uint8_t version[4];
    MDB_val key = {sizeof(META_VERSION) - 1, (void *)META_VERSION};
    MDB_val value = {sizeof(version), version};
    int rc;

    put_be32(version, FORMAT_VERSION);
    rc = mdb_put(txn, env->dbi[META], &key, &value, 0);
    return rc ? rc : env_put_counters(env, txn, &none);
}

struct counters env_counters(const struct env *env, MDB_txn *txn)
{
    MDB_val key = {sizeof(META_COUNTERS) - 1, (void *)META_COUNTERS}, value;
    struct counters n = {.next_garbage = 1};

    if (mdb_get(txn, env->dbi[META], &key, &value) == 0 && value.mv_size == 16) {
        n.unlinked = get_be64(value.mv_data);
        n.next_garbage = get_be64((const uint8_t *)value.mv_data + 8);
    }
    return n;
}

static enum mkv_err check_version(struct mkv_index *ix, MDB_txn *txn, char *why, size_t why_size)
{
    MDB_val key = {sizeof(META_VERSION) - 1, (void *)META_VERSION}, value;
    uint32_t version = 0;

    if (mdb_get(txn, ix->env.dbi[META], &key, &value) == 0 && value.mv_size == 4)
        version = get_be32(value.mv_data);
    if (version == FORMAT_VERSION) return MKV_OK;
    if (version == 0) {
        snprintf(why, why_size, "%s/data.mdb does not say its version: it is damaged", ix->dir);
        return MKV_EINDEX;
    }
    snprintf(why, why_size,
             "the index %s has format %" PRIu32 ", made by a newer version, and this is "
             "mkv " MKV_VERSION " (format %d): use the newer version",
             ix->dir, version, FORMAT_VERSION);
    return MKV_ENEWER;
}

static int open_other_tables(struct env *env, MDB_txn *txn, bool read_only, unsigned flags)
{
    int rc = 0;

    for (int t = 0; t < BUCKETS && !rc; t++)
        rc = mdb_dbi_open(txn, env_table_names[t], flags, &env->dbi[t]);
    for (int t = BUCKETS; t < META && !rc; t++) { /* they came later */
        rc = mdb_dbi_open(txn, env_table_names[t], read_only ? 0 : MDB_CREATE, &env->dbi[t]);
        if (rc != MDB_NOTFOUND || !read_only) continue;
        env->dbi[t] = NO_TABLE;
        rc = 0;
    }
    return rc;
}

/* The version is looked at before any table is made: a newer version may have
 * other tables. */
static int open_tables(struct mkv_index *ix, MDB_txn *txn, bool read_only, enum mkv_err *err,
                       char *why, size_t why_size)
{
    struct env *env = &ix->env;
    unsigned flags = 0;
    MDB_stat st;
    MDB_dbi root;
    int rc = mdb_dbi_open(txn, env_table_names[META], 0, &env->dbi[META]);

    if (rc == MDB_NOTFOUND && !read_only) {
        flags = MDB_CREATE;
        rc = mdb_dbi_open(txn, NULL, 0, &root);
        if (!rc) rc = mdb_stat(txn, root, &st);
        if (!rc && st.ms_entries) rc = MDB_INCOMPATIBLE; /* somebody else's LMDB file */
        if (!rc) rc = mdb_dbi_open(txn, env_table_names[META], flags, &env->dbi[META]);
        if (!rc) rc = put_meta(env, txn);
    }
    if (rc) return rc;
    *err = check_version(ix, txn, why, why_size);
    return *err ? 0 : open_other_tables(env, txn, read_only, flags);
}

/* ---- open and close ------------------------------------------------------------ */

enum mkv_err env_explain(const struct mkv_index *ix, int rc, char *why, size_t why_size)
{
    switch (rc) {
    case ENOMEM:
        snprintf(why, why_size,
                 "can not map %" PRIu64 " bytes of address space for the index %s: give a smaller "
                 "-db-size, or raise ulimit -v",
                 ix->map_size, ix->dir);
        return MKV_EINDEX;
    case EACCES:
    case EPERM:
    case EROFS:
        snprintf(why, why_size, "can not %s the index %s: %s: check -db and who owns its files",
                 ix->read_only ? "read" : "write to", ix->dir, mdb_strerror(rc));
        return MKV_EINDEX;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_NOTFOUND:
    case MDB_INCOMPATIBLE:
        snprintf(why, why_size, "%s/data.mdb is not an index of mkv, or is damaged: check -db",
                 ix->dir);
        return MKV_EINDEX;
    case MDB_VERSION_MISMATCH:
        snprintf(why, why_size, "%s/data.mdb was made by another version of LMDB", ix->dir);
        return MKV_ENEWER;
    case ENOSPC:
    case MDB_MAP_FULL:
        snprintf(why, why_size, "no space for the index %s: free disk space or raise -db-size",
                 ix->dir);
        return MKV_ENOSPACE;
    default:
        snprintf(why, why_size, "can not open the index %s: %s", ix->dir, mdb_strerror(rc));
        return MKV_EINDEX;
    }
}

/* LMDB does not say where it mapped the file: the kernel does.  Without /proc
 * it stays unknown, and walks give no memory back. */
static void find_map(struct env *env, const uint8_t *inside)
{
    unsigned long long from, to, at = (unsigned long long)(uintptr_t)inside;
    FILE *maps = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t size = 0;

    env->map = NULL;
    while (maps && getline(&line, &size, maps) > 0) {
        char *end;

        from = strtoull(line, &end, 16);
        if (*end != '-') continue;
        to = strtoull(end + 1, NULL, 16);
        if (at < from || at >= to) continue;
        env->map = inside - (at - from);
        env->map_len = (size_t)(to - from);
        break;
    }
    free(line);
    if (maps) fclose(maps);
}

static int learn_sizes(struct mkv_index *ix)
{
    MDB_val key = {sizeof(META_VERSION) - 1, (void *)META_VERSION}, value;
    struct env *env = &ix->env;
    MDB_envinfo info;
    MDB_stat st;
    MDB_txn *txn;
    int rc = mdb_env_info(env->mdb, &info);

    if (!rc) rc = mdb_env_stat(env->mdb, &st);
    if (rc) return rc;
    env->page_size = st.ms_psize;
    env->map_pages = info.me_mapsize / st.ms_psize;
    rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (rc) return rc;
    rc = mdb_get(txn, env->dbi[META], &key, &value);
    if (!rc) find_map(env, value.mv_data);
    mdb_txn_abort(txn);
    return rc;
}

/* LMDB maps its table of readers, and a page of it that the disk has no room for
 * would be a SIGBUS: the room is taken beforehand.  8 KB hold LMDB's usual 126. */
#define READERS_LEN 8192

static int reserve_readers(const char *dir)
{
    char path[PATH_MAX];
    struct stat st;
    int fd, rc = 0, n = snprintf(path, sizeof(path), "%s/lock.mdb", dir);

    if (n < 0 || n >= PATH_MAX) return ENAMETOOLONG;
    if (stat(path, &st) == 0 && st.st_size >= READERS_LEN) return 0;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return errno;
    rc = posix_fallocate(fd, 0, READERS_LEN);
    close(fd);
    return rc;
}

/* Without MDB_NORDAHEAD: from a cold disk a walk takes a quarter of the time,
 * and lookups take no longer. */
static int open_mdb(struct mkv_index *ix, bool read_only)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t size = ix->map_size < MAP_SIZE_MIN ? MAP_SIZE_MIN : ix->map_size;
    unsigned flags = MDB_NOTLS | (read_only ? MDB_RDONLY : 0) | (ix->env.alone ? MDB_NOLOCK : 0);
    int rc = mdb_env_create(&ix->env.mdb);

    size = (size + page - 1) / page * page + RESERVE_PAGES * page;
    if (!rc) rc = mdb_env_set_maxdbs(ix->env.mdb, TABLES);
    if (!rc) rc = mdb_env_set_mapsize(ix->env.mdb, size);
    if (!rc && !read_only && !ix->env.alone) rc = reserve_readers(ix->dir);
    if (!rc) rc = mdb_env_open(ix->env.mdb, ix->dir, flags, 0644);
    return rc;
}

enum mkv_err env_open(struct mkv_index *ix, bool read_only, char *why, size_t why_size)
{
    char data[PATH_MAX];
    enum mkv_err err = MKV_OK;
    MDB_txn *txn = NULL;
    int dead, rc = open_mdb(ix, read_only);

    if (rc) goto out;
    mdb_reader_check(ix->env.mdb, &dead); /* readers that were killed would pin old pages */
    rc = mdb_txn_begin(ix->env.mdb, NULL, read_only ? MDB_RDONLY : 0, &txn);
    if (rc) goto out;
    rc = open_tables(ix, txn, read_only, &err, why, why_size);
    if (rc || err) goto out;
    rc = mdb_txn_commit(txn);
    txn = NULL;
    if (rc) goto out;
    rc = learn_sizes(ix);
    snprintf(data, sizeof(data), "%s/data.mdb", ix->dir);
    if (!rc && !ix->read_only && env_sync_parent(data)) rc = errno;
out:
    if (txn) mdb_txn_abort(txn);
    if (rc) err = env_explain(ix, rc, why, why_size);
    if (err) env_close(&ix->env);
    return err;
}

void env_close(struct env *env)
{
    if (env->mdb) mdb_env_close(env->mdb);
    env->mdb = NULL;
}

/* ---- figures ------------------------------------------------------------------- */

uint64_t env_used_pages(const struct env *env)
{
    MDB_envinfo info;

    return mdb_env_info(env->mdb, &info) ? 0 : info.me_last_pgno + 1;
}

uint64_t env_entries(const struct env *env, MDB_txn *txn, enum table table)
{
    MDB_stat st;

    if (env->dbi[table] == NO_TABLE) return 0;
    return mdb_stat(txn, env->dbi[table], &st) ? 0 : st.ms_entries;
}
