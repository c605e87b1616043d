/* One value is read for its MD5. */
#include "jobs/rebuild_internal.h"

#include "mkv/name.h"
#include "net/volume.h"

#include <inttypes.h>
#include <stdio.h>

static struct mkv_slice key_of(const struct md5_read *m)
{
    return mkv_slice(m->key, m->key_len);
}

static void try_next(struct md5_read *m);

static void finish(struct md5_read *m)
{
    m->busy = false;
    m->done(m);
    mkv_record_clear(&m->record);
}

/* A whole copy: is it the value?  True: no other needs to be read. */
static bool judge(struct md5_read *m, const uint8_t md5[MKV_MD5_LEN])
{
    char place[MKV_REPLICA_TEXT_MAX + 1], hex[2 * MKV_MD5_LEN + 1], known[2 * MKV_MD5_LEN + 1];

    m->whole = true;
    if (!m->record.has_md5) {
        m->record.has_md5 = true;
        memcpy(m->record.md5, md5, MKV_MD5_LEN);
        return true;
    }
    if (memcmp(m->record.md5, md5, MKV_MD5_LEN) == 0) return true;
    mkv_hex(hex, md5, MKV_MD5_LEN);
    mkv_hex(known, m->record.md5, MKV_MD5_LEN);
    job_error(&m->rebuild->job, key_of(m),
              "the copy on %s has the MD5 %s, and the old index knows %s, which is kept",
              tell_place(m->rebuild, m->record.replicas[m->at], place), hex, known);
    return false;
}

static void on_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    struct md5_read *m = arg;

    (void)x;
    m->size += (int64_t)piece.len;
    m->rebuild->counts.md5_bytes += piece.len;
    progress_add(m->rebuild->job.progress, 0, piece.len);
    mkv_digest_add(m->digest, piece.data, piece.len);
}

static void on_done(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    char place[MKV_REPLICA_TEXT_MAX + 1];
    struct md5_read *m = arg;
    uint8_t md5[MKV_MD5_LEN];
    bool good = false;

    m->x = NULL;
    mkv_digest_final(m->digest, md5);
    m->digest = NULL;
    tell_place(m->rebuild, m->record.replicas[m->at], place);
    if (err)
        job_error(&m->rebuild->job, key_of(m), "the copy on %s can not be read: %s", place,
                  mkv_exchange_why(x));
    else if (status != 200)
        job_error(&m->rebuild->job, key_of(m), "the copy on %s can not be read: the volume "
                  "answered %d", place, status);
    else if (m->record.size >= 0 && m->size != m->record.size)
        job_error(&m->rebuild->job, key_of(m), "the copy on %s has %" PRId64 " bytes, not %" PRId64,
                  place, m->size, m->record.size);
    else
        good = judge(m, md5);
    if (good) {
        m->rebuild->counts.md5_read++;
        finish(m);
    } else {
        m->at++;
        try_next(m);
    }
}

static enum mkv_err read_copy(struct md5_read *m)
{
    static const struct mkv_exchange_events events = {.body = on_body, .done = on_done};
    struct mkv_replica at = m->record.replicas[m->at];
    char path[sizeof("/svFFFF") + MKV_PATH_MAX];
    struct mkv_exchange_options opt = {.method = MKV_VOLUME_GET};
    struct mkv_slice name = tell_volume(m->rebuild, at.volume);
    size_t len = mkv_replica_text(path, mkv_slice(NULL, 0), at.subvolume);
    enum mkv_err err;

    len += mkv_key_path(path + len, key_of(m), m->record.generation);
    opt.path = mkv_slice(path, len);
    if (!name.data) return MKV_EINVAL;
    err = mkv_volumes_get(m->rebuild->job.volumes, name, &opt.volume);
    if (err) return err;
    err = mkv_digest_new_md5(&m->digest);
    if (err) return err;
    m->size = 0;
    err = mkv_exchange_start(&m->x, &opt, &events, m);
    if (!err) return MKV_OK;
    m->x = NULL;
    mkv_digest_free(m->digest);
    m->digest = NULL;
    return err;
}

static void try_next(struct md5_read *m)
{
    for (; m->at < m->record.nreplicas; m->at++)
        if (!read_copy(m)) return;
    if (!m->whole) job_error(&m->rebuild->job, key_of(m), "no copy of it could be read whole");
    finish(m);
}

void md5_start(struct md5_read *m, struct mkv_slice key, struct mkv_record *record)
{
    memcpy(m->key, key.data, key.len);
    m->key_len = key.len;
    m->record = *record;
    mkv_record_init(record);
    m->busy = true;
    m->whole = false;
    m->at = 0;
    try_next(m);
}

void md5_cancel(struct md5_read *m)
{
    if (!m->busy) return;
    if (m->x) mkv_exchange_cancel(m->x);
    mkv_digest_free(m->digest);
    mkv_record_clear(&m->record);
    m->busy = false;
}
