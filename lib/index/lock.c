#include "index/lock.h"

#include "mkv/index.h"
#include "mkv/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOCK_FILE     "mkv.lock"
#define LOCK_TEXT_MAX 512 /* an address and a process id */

struct holder {
    char address[LOCK_TEXT_MAX];
    long pid;
};

static bool lock_path(char path[PATH_MAX], const char *dir)
{
    int n = snprintf(path, PATH_MAX, "%s/" LOCK_FILE, dir);

    return n > 0 && n < PATH_MAX;
}

static void read_holder(int fd, struct holder *who)
{
    char text[LOCK_TEXT_MAX];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    char *end;

    who->address[0] = '\0';
    who->pid = 0;
    if (n <= 0) return;
    text[n] = '\0';
    end = strchr(text, '\n');
    if (!end) return;
    *end = '\0';
    memcpy(who->address, text, (size_t)(end - text) + 1);
    who->pid = strtol(end + 1, NULL, 10);
}

static enum mkv_err write_holder(int fd, const char *address)
{
    char text[LOCK_TEXT_MAX];
    int n = snprintf(text, sizeof(text), "%s\n%ld\n", address ? address : "", (long)getpid());

    if (n < 0 || (size_t)n >= sizeof(text)) return MKV_EINVAL;
    /* Over what was there, so that it works on a full disk too. */
    if (pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n)) return MKV_EIO;
    return MKV_OK;
}

static void explain_holder(int fd, const char *dir, char *why, size_t why_size)
{
    struct holder who;

    read_holder(fd, &who);
    if (who.address[0])
        snprintf(why, why_size,
                 "the index %s is in use by the server at %s (process %ld): stop it first, or use "
                 "another -db",
                 dir, who.address, who.pid);
    else
        snprintf(why, why_size,
                 "the index %s is in use by another program (process %ld): wait for it or stop it, "
                 "or use another -db",
                 dir, who.pid);
}

enum mkv_err index_lock_take(int *out, const char *dir, const char *address, char *why,
                             size_t why_size)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    enum mkv_err err = MKV_EINDEX;
    char path[PATH_MAX];
    int fd = -1;

    errno = ENAMETOOLONG;
    if (lock_path(path, dir)) fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        snprintf(why, why_size, "can not write to the index %s: %s: check -db and who owns it", dir,
                 strerror(errno));
        goto out;
    }
    if (fcntl(fd, F_OFD_SETLK, &whole)) {
        if (errno == EAGAIN || errno == EACCES) {
            err = MKV_ELOCKED;
            explain_holder(fd, dir, why, why_size);
        } else {
            snprintf(why, why_size, "can not lock %s: %s: put -db on a file system with locks",
                     path, strerror(errno));
        }
        goto out;
    }
    /* A lock without a name is still a lock: that must not keep a server down. */
    if (write_holder(fd, address))
        mkv_log_warn("can not write %s: %s: the jobs will not find this server", path,
                     strerror(errno));
    *out = fd;
    fd = -1;
    err = MKV_OK;
out:
    if (fd >= 0) close(fd);
    return err;
}

void index_lock_release(int fd)
{
    if (fd >= 0) close(fd); /* the text stays: without the lock it says nothing */
}

enum mkv_err mkv_index_holder(const char *dir, char *address, size_t size)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    enum mkv_err err = MKV_OK;
    char path[PATH_MAX];
    struct holder who;
    int fd, n;

    if (!lock_path(path, dir)) return MKV_EINVAL;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || errno == ENOTDIR ? MKV_ENOKEY : MKV_EIO;
    if (fcntl(fd, F_OFD_GETLK, &whole)) {
        err = MKV_EIO;
    } else if (whole.l_type == F_UNLCK) {
        err = MKV_ENOKEY;
    } else {
        read_holder(fd, &who);
        n = snprintf(address, size, "%s", who.address);
        if (n < 0 || (size_t)n >= size) err = MKV_EINVAL;
    }
    close(fd);
    return err;
}
