#include "store/spool_disk.h"

#include "mkv/digest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_EVERY (1024 * 1024) /* so often the disk begins to write what it was given */

void disk_dir_name(char out[DISK_DIR_MAX], const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    mkv_hex(out, id, MKV_UPLOAD_ID_LEN);
}

void disk_file_init(struct disk_file *f, struct disk_root *root, const struct mkv_spool_name *name)
{
    *f = (struct disk_file){.root = root, .fd = -1};
    disk_dir_name(f->dir, name->id);
    snprintf(f->name, sizeof(f->name), "%s/%u.%llu", f->dir, name->number,
             (unsigned long long)name->serial);
    snprintf(f->half, sizeof(f->half), "%s/%u.%llu~", f->dir, name->number,
             (unsigned long long)name->serial);
}

static bool failed(struct disk_file *f, const char *doing, int error)
{
    if (!f->fault.error) f->fault = (struct disk_fault){error, doing};
    return false;
}

/* ---- directories ------------------------------------------------------------------- */

static bool make_dir(struct disk_file *f)
{
    struct disk_root *root = f->root;
    bool made;

    pthread_mutex_lock(&root->lock);
    made = mkdirat(root->fd, f->dir, 0700) == 0 || errno == EEXIST;
    if (made) root->unsynced = true;
    pthread_mutex_unlock(&root->lock);
    return made ? true : failed(f, "making its directory", errno);
}

static bool sync_dir(struct disk_file *f)
{
    int fd = openat(f->root->fd, f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;

    if (!synced) failed(f, "syncing its directory", errno);
    if (fd >= 0) close(fd);
    return synced;
}

/* Whoever finds the directory of its file made waits here until that is on disk,
 * no matter who made it. */
static bool sync_root(struct disk_file *f)
{
    struct disk_root *root = f->root;
    bool synced;

    pthread_mutex_lock(&root->lock);
    synced = !root->unsynced || fsync(root->fd) == 0;
    if (synced) root->unsynced = false;
    pthread_mutex_unlock(&root->lock);
    return synced ? true : failed(f, "syncing the spool's directory", errno);
}

/* ---- writing ----------------------------------------------------------------------- */

static int create_once(const struct disk_file *f)
{
    return openat(f->root->fd, f->half, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static bool create(struct disk_file *f)
{
    f->fd = create_once(f);
    if (f->fd < 0 && errno == ENOENT) {
        if (!make_dir(f)) return false;
        f->fd = create_once(f);
    }
    if (f->fd < 0) return failed(f, "making it", errno);
    f->made = true;
    return true;
}

/* Takes n bytes off the front. */
static void advance(struct iovec **iov, int *count, size_t n)
{
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        ++*iov;
        --*count;
    }
    if (*count == 0) return;
    (*iov)->iov_base = (char *)(*iov)->iov_base + n;
    (*iov)->iov_len -= n;
}

/* So that the sync at the end finds little left to do.  A file system that can
 * not do this does all of it then. */
static void flush(struct disk_file *f)
{
    if (f->at - f->flushed < FLUSH_EVERY) return;
    (void)sync_file_range(f->fd, (off_t)f->flushed, (off_t)(f->at - f->flushed),
                          SYNC_FILE_RANGE_WRITE);
    f->flushed = f->at;
}

bool disk_write(struct disk_file *f, struct iovec *iov, int n)
{
    if (f->fd < 0 && !create(f)) return false;
    while (n > 0) {
        ssize_t done = pwritev(f->fd, iov, n, (off_t)f->at);

        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return failed(f, "writing", errno);
        f->at += (uint64_t)done;
        advance(&iov, &n, (size_t)done);
    }
    flush(f);
    return true;
}

bool disk_finish(struct disk_file *f)
{
    if (f->fd < 0 && !create(f)) return false;
    if (fdatasync(f->fd)) return failed(f, "syncing", errno);
    if (renameat(f->root->fd, f->half, f->root->fd, f->name)) return failed(f, "naming", errno);
    f->named = true;
    disk_close(f);
    return sync_dir(f) && sync_root(f);
}

void disk_drop(struct disk_file *f)
{
    disk_close(f);
    if (f->named)
        unlinkat(f->root->fd, f->name, 0);
    else if (f->made)
        unlinkat(f->root->fd, f->half, 0);
    f->made = f->named = false;
}

/* ---- reading ----------------------------------------------------------------------- */

bool disk_read(struct disk_file *f, uint8_t *data, size_t len)
{
    if (f->fd < 0) {
        f->fd = openat(f->root->fd, f->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (f->fd < 0) return failed(f, "opening", errno);
        (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* advice: it may fail */
    }
    while (len > 0) {
        ssize_t n = pread(f->fd, data, len, (off_t)f->at);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(f, "reading", errno);
        if (n == 0) return failed(f, "reading", DISK_SHORT);
        f->at += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

void disk_close(struct disk_file *f)
{
    if (f->fd >= 0) close(f->fd);
    f->fd = -1;
}

/* ---- removing ---------------------------------------------------------------------- */

static void note(struct disk_fault *fault, const char *doing)
{
    if (!fault->error) *fault = (struct disk_fault){errno, doing};
}

struct disk_fault disk_remove_file(struct disk_root *root, const char *name)
{
    struct disk_fault fault = {0, NULL};

    if (unlinkat(root->fd, name, 0) && errno != ENOENT) note(&fault, "removing");
    return fault;
}

static DIR *open_dir(int at, const char *dir, struct disk_fault *fault)
{
    int fd = openat(at, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d && errno != ENOENT) note(fault, "listing");
    if (!d && fd >= 0) close(fd);
    return d;
}

/* The files in dir that end in so, all with ""; returns how many went. */
static size_t remove_files(int at, const char *dir, const char *end, struct disk_fault *fault)
{
    DIR *d = open_dir(at, dir, fault);
    size_t removed = 0, end_len = strlen(end);
    struct dirent *e;

    if (!d) return 0;
    while ((e = readdir(d))) {
        size_t len = strlen(e->d_name);

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (len < end_len || strcmp(e->d_name + len - end_len, end) != 0) continue;
        if (unlinkat(dirfd(d), e->d_name, 0) == 0)
            removed++;
        else if (errno != ENOENT)
            note(fault, "removing what is in it");
    }
    closedir(d);
    return removed;
}

/* A file made meanwhile is that of a write which is being broken off, and which
 * removes the directory when it goes. */
struct disk_fault disk_remove_dir(struct disk_root *root, const char *dir)
{
    struct disk_fault fault = {0, NULL};
    size_t removed;

    do {
        removed = remove_files(root->fd, dir, "", &fault);
        if (unlinkat(root->fd, dir, AT_REMOVEDIR) == 0) return fault;
    } while (removed > 0 && errno == ENOTEMPTY);
    if (errno != ENOENT && errno != ENOTEMPTY) note(&fault, "removing");
    return fault;
}

void disk_remove_empty(struct disk_root *root, const char *dir)
{
    (void)unlinkat(root->fd, dir, AT_REMOVEDIR);
}

static bool upload_of(const char *name, uint8_t id[MKV_UPLOAD_ID_LEN])
{
    char same[DISK_DIR_MAX];

    if (!mkv_unhex(id, MKV_UPLOAD_ID_LEN, mkv_slice_of(name))) return false;
    disk_dir_name(same, id);
    return strcmp(same, name) == 0; /* lower case: else it is not ours */
}

size_t disk_sweep(struct disk_root *root, mkv_spool_known *known, void *arg,
                  struct disk_fault *fault)
{
    DIR *d = open_dir(root->fd, ".", fault);
    uint8_t id[MKV_UPLOAD_ID_LEN];
    size_t gone = 0;
    struct dirent *e;

    if (!d) return 0;
    while ((e = readdir(d))) {
        if (!upload_of(e->d_name, id)) continue;
        if (known(id, arg)) {
            gone += remove_files(root->fd, e->d_name, "~", fault);
        } else {
            struct disk_fault one = disk_remove_dir(root, e->d_name);

            if (one.error && !fault->error) *fault = one;
            gone += !one.error;
        }
    }
    closedir(d);
    return gone;
}
