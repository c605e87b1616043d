/* The spool: opening and closing it, and what goes from it. */
#include "mkv/spool.h"

#include "mkv/log.h"
#include "net/block.h"
#include "store/spool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what both kinds of files share ---------------------------------------------- */

void spool_begin(struct mkv_spool *s, struct mkv_spool_file *f, const struct mkv_spool_name *name)
{
    f->spool = s;
    f->loop = s->loop;
    f->job.arg = f;
    disk_file_init(&f->disk, &s->root, name);
    LIST_INSERT_HEAD(&s->files, f, all);
}

void spool_end(struct mkv_spool_file *f)
{
    LIST_REMOVE(f, all);
    mkv_loop_retire(f->loop, &f->retired, f->destroy, f);
}

void spool_give(struct mkv_spool_file *f, void (*work)(void *), void (*finished)(void *))
{
    f->busy = true;
    f->job.work = work;
    f->job.finished = finished;
    spool_threads_give(f->spool->threads, &f->job);
}

static void log_fault(const struct mkv_spool *s, const char *name, struct disk_fault fault)
{
    mkv_log_error("spool %s/%s: %s: %s", s->dir, name, fault.doing,
                  fault.error == DISK_SHORT ? "it ends too early" : strerror(fault.error));
}

enum mkv_err spool_fault(const struct mkv_spool_file *f)
{
    log_fault(f->spool, f->disk.name, f->disk.fault);
    switch (f->disk.fault.error) {
    case ENOSPC:
    case EDQUOT: return MKV_ENOSPACE;
    default: return MKV_EIO;
    }
}

void mkv_spool_cancel(struct mkv_spool_file *f)
{
    if (f) f->cancel(f);
}

/* ---- removing ---------------------------------------------------------------------- */

struct removal {
    struct mkv_spool *spool; /* borrowed */
    struct spool_job job;
    char name[DISK_NAME_MAX];
    bool whole;              /* the upload's directory; else one file */
    struct disk_fault fault;
    STAILQ_ENTRY(removal) next;
};

static void remove_next(struct mkv_spool *s)
{
    struct removal *r = STAILQ_FIRST(&s->removals);

    if (r) spool_threads_give(s->threads, &r->job);
}

static void work_remove(void *arg)
{
    struct removal *r = arg;

    r->fault = r->whole ? disk_remove_dir(&r->spool->root, r->name)
                        : disk_remove_file(&r->spool->root, r->name);
}

static void on_removed(void *arg)
{
    struct removal *r = arg;
    struct mkv_spool *s = r->spool;

    if (r->fault.error) log_fault(s, r->name, r->fault);
    STAILQ_REMOVE_HEAD(&s->removals, next);
    free(r);
    remove_next(s);
}

static void remove_later(struct mkv_spool *s, const char *name, bool whole)
{
    struct removal *r = calloc(1, sizeof(*r));
    bool idle = STAILQ_EMPTY(&s->removals);

    if (!r) {
        log_fault(s, name, (struct disk_fault){ENOMEM, "removing"});
        return;
    }
    r->spool = s;
    r->whole = whole;
    r->job = (struct spool_job){.work = work_remove, .finished = on_removed, .arg = r};
    memcpy(r->name, name, strlen(name) + 1);
    STAILQ_INSERT_TAIL(&s->removals, r, next);
    if (idle) remove_next(s);
}

void mkv_spool_remove(struct mkv_spool *s, const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    char dir[DISK_DIR_MAX];
    struct mkv_spool_file *f;

    disk_dir_name(dir, id);
    LIST_FOREACH(f, &s->files, all)
        if (f->writes && strcmp(f->disk.dir, dir) == 0) spool_writer_doom(f);
    remove_later(s, dir, true);
}

void mkv_spool_remove_part(struct mkv_spool *s, const struct mkv_spool_name *name)
{
    struct disk_file f;

    disk_file_init(&f, &s->root, name);
    remove_later(s, f.name, false);
}

size_t mkv_spool_sweep(struct mkv_spool *s, mkv_spool_known *known, void *arg)
{
    struct disk_fault fault = {0, NULL};
    size_t gone = disk_sweep(&s->root, known, arg, &fault);

    if (fault.error) log_fault(s, "", fault);
    return gone;
}

/* ---- open, close ------------------------------------------------------------------- */

/* Another master would take our uploads for ones that nobody knows.  Where the
 * file system has no locks there is none. */
static enum mkv_err lock_root(struct mkv_spool *s, char *why, size_t why_size)
{
    if (flock(s->root.fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return MKV_OK;
    snprintf(why, why_size, "another server uses the spool %s: give each its own -spool", s->dir);
    return MKV_ELOCKED;
}

static enum mkv_err open_root(struct mkv_spool *s, char *why, size_t why_size)
{
    if (mkdir(s->dir, 0700) && errno != EEXIST) {
        snprintf(why, why_size, "can not make the directory %s: %s: check -spool", s->dir,
                 strerror(errno));
        return MKV_EIO;
    }
    s->root.fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root.fd < 0 || faccessat(s->root.fd, ".", W_OK | X_OK, AT_EACCESS)) {
        snprintf(why, why_size, "can not use the directory %s: %s: check -spool", s->dir,
                 strerror(errno));
        return MKV_EIO;
    }
    return lock_root(s, why, why_size);
}

/* The directory may be new: its own name has to last, too. */
static void sync_parent(const struct mkv_spool *s)
{
    int fd = openat(s->root.fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) return; /* not ours to read: then somebody else made it */
    if (fsync(fd)) mkv_log_warn("spool %s: syncing where it is: %s", s->dir, strerror(errno));
    close(fd);
}

enum mkv_err mkv_spool_open(struct mkv_spool **out, struct mkv_loop *loop, const char *dir,
                            char *why, size_t why_size)
{
    struct mkv_spool *s = calloc(1, sizeof(*s));
    enum mkv_err err = MKV_ENOMEM;

    if (why_size) why[0] = '\0';
    if (!s) goto out;
    s->loop = loop;
    s->root.fd = -1;
    pthread_mutex_init(&s->root.lock, NULL);
    LIST_INIT(&s->files);
    STAILQ_INIT(&s->removals);
    s->dir = strdup(dir);
    if (!s->dir) goto out;
    err = open_root(s, why, why_size);
    if (err) goto out;
    sync_parent(s);
    err = mkv_blocks_open(&s->blocks);
    if (err) goto out;
    err = spool_threads_open(&s->threads, loop);
    if (err) goto out;
    *out = s;
    s = NULL;
out:
    if (err && why_size && !why[0]) snprintf(why, why_size, "spool %s: %s", dir, mkv_strerror(err));
    mkv_spool_close(s);
    return err;
}

void mkv_spool_close(struct mkv_spool *s)
{
    struct mkv_spool_file *f;
    struct removal *r;

    if (!s) return;
    spool_threads_close(s->threads);
    while ((f = LIST_FIRST(&s->files))) {
        LIST_REMOVE(f, all);
        if (f->writes)
            disk_drop(&f->disk); /* nobody was told that it is whole */
        else
            disk_close(&f->disk);
        f->destroy(f);
    }
    while ((r = STAILQ_FIRST(&s->removals))) { /* the next start sweeps what is left */
        STAILQ_REMOVE_HEAD(&s->removals, next);
        free(r);
    }
    mkv_blocks_close(s->blocks);
    if (s->root.fd >= 0) close(s->root.fd);
    pthread_mutex_destroy(&s->root.lock);
    free(s->dir);
    free(s);
}
