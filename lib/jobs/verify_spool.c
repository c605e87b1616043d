/* The spool (mkv/spool.h): files that no upload or part names, and parts without
 * their file.
 *
 * An upload is in the index before its directory is made and until after the
 * last use of it; a part is there soon after its file has got its name.  So where
 * nobody else is at work, what nothing names is nobody's.  Beside a master only
 * what has not been touched for SPOOL_GRACE_S is believed to be, and half-written
 * files of uploads are the master's own business.  The files are looked at before
 * the index is. */
#include "jobs/verify.h"
#include "mkv/log.h"

#include <dirent.h>
#include <event2/event.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SPOOL_GRACE_S 60
#define ID_HEX        (2 * MKV_UPLOAD_ID_LEN)

struct ids { /* MKV_UPLOAD_ID_LEN bytes each */
    uint8_t *data; /* owned */
    size_t n, room;
};

struct spool {
    struct verify *v;     /* borrowed */
    char dir[PATH_MAX];
    DIR *root;            /* owned */
    struct ids found;     /* directories, as they are named */
    struct ids known;     /* uploads, sorted                */
    int64_t untouched;    /* since then: seconds since 1970 */
};

struct spool_file {
    unsigned number;
    uint64_t serial;
    bool half; /* being written, or left so */
};

/* ---- words ------------------------------------------------------------------------ */

static void complain(struct spool *s, const char *name, const char *what)
{
    job_error(&s->v->job, mkv_slice(NULL, 0), "the spool %s%s%s: %s", s->dir, name ? "/" : "",
              name ? name : "", what);
}

static void say_foreign(struct spool *s, const char *in, const char *name)
{
    char path[NAME_MAX + ID_HEX + 2];
    int len = snprintf(path, sizeof(path), "%s%s%s", in ? in : "", in ? "/" : "", name);

    s->v->counts[COUNT_FOREIGN]++;
    verify_say(s->v, mkv_slice(path, (size_t)len), "in the spool: foreign, no part's file: left alone");
}

/* An orphan, which -repair deletes: done says whether it has. */
static void report(struct spool *s, const char *name, const char *kind, bool done)
{
    const struct mkv_config *cfg = s->v->job.cfg;

    s->v->counts[COUNT_SPOOL_ORPHANS]++;
    s->v->counts[COUNT_SPOOL_DELETED] += done;
    if (done)
        verify_say(s->v, mkv_slice_of(name), "orphan in the spool: %s: deleted", kind);
    else
        job_error(&s->v->job, mkv_slice_of(name), "orphan in the spool: %s%s", kind,
                  !cfg->repair   ? ""
                  : cfg->dry_run ? ", would be deleted"
                                 : ", which could not be deleted");
}

/* ---- names ------------------------------------------------------------------------- */

static bool parse_id(const char *name, uint8_t id[MKV_UPLOAD_ID_LEN])
{
    char again[ID_HEX + 1];

    if (strlen(name) != ID_HEX || !mkv_unhex(id, MKV_UPLOAD_ID_LEN, mkv_slice_of(name))) return false;
    mkv_hex(again, id, MKV_UPLOAD_ID_LEN);
    return strcmp(again, name) == 0; /* in lower case */
}

/* "NUMBER.SERIAL", or with '~' behind it. */
static bool parse_file(const char *name, struct spool_file *f)
{
    const char *dot = strchr(name, '.');
    char again[48];
    struct mkv_slice number, serial;
    unsigned long long n, m;

    if (!dot) return false;
    number = mkv_slice(name, (size_t)(dot - name));
    serial = mkv_slice_of(dot + 1);
    f->half = serial.len && serial.data[serial.len - 1] == '~';
    if (f->half) serial.len--;
    if (!mkv_slice_number(number, MKV_PARTS_MAX, &n) || n == 0 ||
        !mkv_slice_number(serial, UINT64_MAX, &m))
        return false;
    f->number = (unsigned)n;
    f->serial = m;
    snprintf(again, sizeof(again), "%llu.%llu%s", n, m, f->half ? "~" : "");
    return strcmp(again, name) == 0; /* without leading zeros */
}

/* ---- which uploads there are ---------------------------------------------------------- */

static bool add_id(struct ids *ids, const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    if (ids->n == ids->room) {
        size_t room = ids->room ? 2 * ids->room : 64;
        uint8_t *more = realloc(ids->data, room * MKV_UPLOAD_ID_LEN);

        if (!more) return false;
        ids->data = more;
        ids->room = room;
    }
    memcpy(ids->data + ids->n++ * MKV_UPLOAD_ID_LEN, id, MKV_UPLOAD_ID_LEN);
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, MKV_UPLOAD_ID_LEN);
}

static bool is_known(const struct spool *s, const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    return s->known.n && bsearch(id, s->known.data, s->known.n, MKV_UPLOAD_ID_LEN, by_bytes);
}

/* What comes now is read from the index as it is now; Ctrl-C is noticed. */
static void look_anew(struct spool *s)
{
    event_base_loop(mkv_loop_base(s->v->job.loop), EVLOOP_NONBLOCK);
    mkv_loop_settle(s->v->job.loop);
}

static enum mkv_err learn_uploads(struct spool *s)
{
    struct mkv_upload u = {.key_len = 0};
    enum mkv_err err = MKV_OK;

    look_anew(s);
    mkv_record_init(&u.what);
    while (!err) {
        err = mkv_index_upload_after(s->v->job.index, mkv_slice(u.key, u.key_len), u.id, &u);
        if (!err && !add_id(&s->known, u.id)) err = MKV_ENOMEM;
    }
    mkv_record_clear(&u.what);
    if (s->known.n) qsort(s->known.data, s->known.n, MKV_UPLOAD_ID_LEN, by_bytes);
    return err == MKV_ENOKEY ? MKV_OK : err;
}

static enum mkv_err learn_directories(struct spool *s)
{
    uint8_t id[MKV_UPLOAD_ID_LEN];
    struct dirent *entry;

    while ((entry = readdir(s->root))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (!parse_id(entry->d_name, id))
            say_foreign(s, NULL, entry->d_name);
        else if (!add_id(&s->found, id))
            return MKV_ENOMEM;
    }
    return MKV_OK;
}

/* ---- one directory ------------------------------------------------------------------- */

/* NULL, with errno; the caller's. */
static DIR *open_id(const struct spool *s, const char *name)
{
    int fd = openat(dirfd(s->root), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

    if (!d && fd >= 0) close(fd);
    return d;
}

/* The next entry that is not "." or ".."; NULL after the last. */
static const char *next_name(DIR *d)
{
    struct dirent *entry;

    while ((entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    return NULL;
}

static bool is_untouched(const struct spool *s, int fd, const char *name)
{
    struct stat st;

    return (name ? fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) : fstat(fd, &st)) == 0 &&
           st.st_mtime < s->untouched;
}

static bool may_delete(const struct spool *s)
{
    return s->v->job.cfg->repair && !s->v->job.cfg->dry_run;
}

static void check_unknown(struct spool *s, const char *name, DIR *d)
{
    struct spool_file f;
    bool touched = !is_untouched(s, dirfd(d), NULL), gone;
    const char *file;

    while (!touched && (file = next_name(d))) touched = !is_untouched(s, dirfd(d), file);
    if (touched) return;
    if (!may_delete(s)) {
        report(s, name, "no upload has that id", false);
        return;
    }
    rewinddir(d);
    while ((file = next_name(d))) {
        if (parse_file(file, &f))
            (void)unlinkat(dirfd(d), file, 0); /* what stays keeps the directory */
        else
            say_foreign(s, name, file);
    }
    gone = unlinkat(dirfd(s->root), name, AT_REMOVEDIR) == 0;
    report(s, name, "no upload has that id", gone);
}

/* Whether the index names the file; where that can not be told it may. */
static bool is_named(struct spool *s, const uint8_t id[MKV_UPLOAD_ID_LEN],
                     const struct spool_file *f)
{
    struct mkv_part part;
    enum mkv_err err;

    mkv_record_init(&part.what);
    err = mkv_index_part_get(s->v->job.index, id, f->number, &part);
    mkv_record_clear(&part.what);
    return err ? err != MKV_ENOKEY : part.serial == f->serial;
}

static void check_file(struct spool *s, const uint8_t id[MKV_UPLOAD_ID_LEN], const char *name,
                       DIR *d, const char *file)
{
    const char *kind = "no part has it";
    char path[NAME_MAX + ID_HEX + 2];
    struct spool_file f;

    if (!parse_file(file, &f)) {
        say_foreign(s, name, file);
        return;
    }
    if (f.half) {
        if (s->v->beside) return;
        kind = "half-written";
    } else {
        if (is_named(s, id, &f)) return;
        look_anew(s); /* it may be there since a moment ago */
        if (is_named(s, id, &f)) return;
    }
    if (!is_untouched(s, dirfd(d), file)) return;
    snprintf(path, sizeof(path), "%s/%s", name, file);
    report(s, path, kind, may_delete(s) && unlinkat(dirfd(d), file, 0) == 0);
}

static void check_directory(struct spool *s, const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    char name[ID_HEX + 1];
    const char *file;
    DIR *d;

    mkv_hex(name, id, MKV_UPLOAD_ID_LEN);
    d = open_id(s, name);
    if (!d) {
        if (errno != ENOENT) complain(s, name, strerror(errno)); /* else gone by now */
        return;
    }
    if (!is_known(s, id))
        check_unknown(s, name, d);
    else
        while ((file = next_name(d))) check_file(s, id, name, d, file);
    closedir(d);
}

/* ---- parts --------------------------------------------------------------------------- */

/* The file's size; -1 where there is none. */
static int64_t size_of(const struct spool *s, const char *path)
{
    struct stat st;

    return fstatat(dirfd(s->root), path, &st, AT_SYMLINK_NOFOLLOW) ? -1 : (int64_t)st.st_size;
}

/* Of a part that a completed or aborted upload had, the index says no more. */
static void check_part(struct spool *s, const uint8_t id[MKV_UPLOAD_ID_LEN],
                       const struct mkv_part *part)
{
    const struct spool_file f = {.number = part->number, .serial = part->serial};
    char path[2 * ID_HEX + 32], name[ID_HEX + 1];
    int64_t size;

    mkv_hex(name, id, MKV_UPLOAD_ID_LEN);
    snprintf(path, sizeof(path), "%s/%u.%llu", name, f.number, (unsigned long long)f.serial);
    size = size_of(s, path);
    if (size == part->what.size || (size >= 0 && part->what.size < 0)) return;
    look_anew(s);
    if (!is_named(s, id, &f)) return;
    s->v->counts[COUNT_PARTS_MISSING]++;
    if (size < 0)
        job_error(&s->v->job, mkv_slice_of(path), "a part of an unfinished upload is missing in the "
                                                  "spool: to be uploaded again");
    else
        job_error(&s->v->job, mkv_slice_of(path),
                  "a part of an unfinished upload has %lld bytes in the spool instead of %lld: to "
                  "be uploaded again",
                  (long long)size, (long long)part->what.size);
}

static void check_parts(struct spool *s, const uint8_t id[MKV_UPLOAD_ID_LEN])
{
    struct mkv_part part = {.number = 0};
    enum mkv_err err = MKV_OK;

    mkv_record_init(&part.what);
    while (!err && !s->v->job.stopping) {
        err = mkv_index_part_next(s->v->job.index, id, part.number, &part);
        if (!err) check_part(s, id, &part);
    }
    mkv_record_clear(&part.what);
    if (err && err != MKV_ENOKEY) complain(s, NULL, mkv_strerror(err));
}

/* ---- the whole ------------------------------------------------------------------------- */

/* False: there is nothing to look at, and where that is wrong it was said. */
static bool open_spool(struct spool *s)
{
    const struct mkv_config *cfg = s->v->job.cfg;
    struct mkv_index_stats stats;
    int n = cfg->spool ? snprintf(s->dir, sizeof(s->dir), "%s", cfg->spool)
                       : snprintf(s->dir, sizeof(s->dir), "%s/spool", cfg->db);

    if (n < 0 || (size_t)n >= sizeof(s->dir)) {
        complain(s, NULL, strerror(ENAMETOOLONG));
        return false;
    }
    mkv_index_stats(s->v->job.index, &stats);
    s->root = opendir(s->dir);
    if (s->root) return true;
    if (errno == ENOENT && !stats.uploads && !cfg->spool) return false;
    job_error(&s->v->job, mkv_slice(NULL, 0), "the spool %s can not be read: %s: give -spool as the "
                                              "master has it",
              s->dir, strerror(errno));
    return false;
}

void verify_spool(struct verify *v)
{
    struct spool s = {.v = v, .untouched = INT64_MAX};
    enum mkv_err err;

    if (!open_spool(&s)) return;
    if (v->beside) s.untouched = (int64_t)time(NULL) - SPOOL_GRACE_S;
    err = learn_directories(&s);
    if (!err) err = learn_uploads(&s);
    if (err) complain(&s, NULL, mkv_strerror(err));
    for (size_t i = 0; i < s.found.n && !err && !v->job.stopping; i++)
        check_directory(&s, s.found.data + i * MKV_UPLOAD_ID_LEN);
    for (size_t i = 0; i < s.known.n && !err && !v->job.stopping; i++)
        check_parts(&s, s.known.data + i * MKV_UPLOAD_ID_LEN);
    closedir(s.root);
    free(s.found.data);
    free(s.known.data);
}
