#include "api/s3_part_file.h"

#include "api/s3_bucket.h"
#include "api/s3_meta.h"

void s3_part_init(struct s3_part_file *p)
{
    memset(p, 0, sizeof(*p));
    mkv_record_init(&p->part.what);
}

void s3_part_clear(struct s3_part_file *p)
{
    mkv_record_clear(&p->part.what);
}

/* ---- which one ----------------------------------------------------------------------------- */

static enum s3_error read_number(struct s3_part_file *p, const char **why)
{
    struct mkv_slice text;
    unsigned long long number;

    if (s3_param(p->c, "partNumber", &text) && mkv_slice_number(text, MKV_PARTS_MAX, &number) &&
        number > 0) {
        p->part.number = (unsigned)number;
        return S3_OK;
    }
    *why = "partNumber must be a number from 1 to 10000.";
    return S3_INVALID_ARGUMENT;
}

static enum s3_error find_upload(struct s3_part_file *p)
{
    struct mkv_upload upload;
    enum s3_error err;

    mkv_record_init(&upload.what);
    err = s3_upload_find(p->c, &upload);
    if (!err) {
        memcpy(p->id, upload.id, sizeof(p->id));
        p->sum = s3_upload_sum(&upload.what);
    }
    mkv_record_clear(&upload.what);
    return err;
}

enum s3_error s3_part_find(struct s3_part_file *p, struct s3_call *c, const char **why)
{
    enum s3_error err;

    p->c = c;
    err = read_number(p, why);
    if (!err) err = s3_bucket_check(c->api, c->bucket);
    return err ? err : find_upload(p);
}

/* ---- the file ------------------------------------------------------------------------------ */

static struct mkv_spool *spool(const struct s3_part_file *p)
{
    return mkv_store_spool(p->c->api->store);
}

static void over(struct s3_part_file *p, enum s3_error err)
{
    p->step = S3_PART_OVER;
    p->events->done(err, p->arg);
}

/* What the index has of that number; 0: nothing. */
static uint64_t serial_in_index(const struct s3_part_file *p)
{
    struct mkv_part found = {.number = 0};
    uint64_t serial = 0;

    mkv_record_init(&found.what);
    if (!mkv_index_part_get(mkv_store_index(p->c->api->store), p->id, p->part.number, &found))
        serial = found.serial;
    mkv_record_clear(&found.what);
    return serial;
}

/* A Complete that is under way may have chosen it, and then removes it with the rest. */
static void remove_file(const struct s3_part_file *p, uint64_t serial)
{
    const struct mkv_spool_name name = {p->id, p->part.number, serial};

    if (serial && !s3_upload_is_ending(p->c->api->s3, p->id))
        mkv_spool_remove_part(spool(p), &name);
}

static void on_kept(enum mkv_err err, void *arg)
{
    struct s3_part_file *p = arg;
    uint64_t current = err ? p->replaces : serial_in_index(p);

    /* Two of the same number at once: the index has the later one.  Where it is
     * broken nobody knows which one, and both stay until the upload goes. */
    if (err != MKV_EINDEX) {
        if (current != p->part.serial) remove_file(p, p->part.serial);
        if (current != p->replaces) remove_file(p, p->replaces);
    }
    over(p, err == MKV_ENOKEY ? S3_NO_SUCH_UPLOAD : s3_error_of(err));
}

static void on_written(enum mkv_err err, void *arg)
{
    struct s3_part_file *p = arg;

    p->file = NULL;
    if (!err) {
        p->step = S3_PART_INDEX;
        p->replaces = serial_in_index(p);
        err = mkv_index_part_put(mkv_store_index(p->c->api->store), p->c->object, p->id,
                                 &p->part, on_kept, p);
        if (!err) return;
        remove_file(p, p->part.serial);
    }
    over(p, err == MKV_ENOKEY ? S3_NO_SUCH_UPLOAD : s3_error_of(err));
}

static void on_drained(void *arg)
{
    struct s3_part_file *p = arg;

    if (p->step == S3_PART_FILE) p->events->drained(p->arg);
}

/* Serials ascend with the clock, so that they also do from one run to the next. */
static uint64_t next_serial(struct s3_part_file *p)
{
    struct mkv_s3 *s3 = p->c->api->s3;
    uint64_t of_clock = (uint64_t)mkv_loop_wall(p->c->api->loop) << 20, old = serial_in_index(p);

    s3->serial = s3->serial < of_clock ? of_clock : s3->serial + 1;
    if (s3->serial <= old) s3->serial = old + 1;
    return s3->serial;
}

enum s3_error s3_part_open(struct s3_part_file *p, const struct s3_part_events *events, void *arg)
{
    static const struct mkv_spool_write_events of_file = {.drained = on_drained,
                                                          .done = on_written};
    struct mkv_spool_name name = {p->id, p->part.number, 0};

    p->events = events;
    p->arg = arg;
    name.serial = p->part.serial = next_serial(p);
    p->part.what.size = 0;
    return s3_error_of(mkv_spool_write(&p->file, spool(p), &name, &of_file, p));
}

void s3_part_add(struct s3_part_file *p, struct mkv_bytes piece)
{
    if (p->step != S3_PART_FILE) return; /* it has failed, and done() has said so */
    p->part.what.size += (int64_t)piece.len;
    mkv_spool_add(p->file, piece);
}

bool s3_part_full(const struct s3_part_file *p)
{
    return p->step == S3_PART_FILE && mkv_spool_full(p->file);
}

enum s3_error s3_part_end(struct s3_part_file *p, const uint8_t md5[MKV_MD5_LEN],
                          const struct s3_checksum_value *sum)
{
    p->part.what.has_md5 = true;
    memcpy(p->part.what.md5, md5, MKV_MD5_LEN);
    p->part.what.mtime = mkv_loop_wall(p->c->api->loop);
    if (s3_meta_set_checksum(&p->part.what, sum)) {
        s3_part_cancel(p);
        return S3_INTERNAL_ERROR;
    }
    p->step = S3_PART_SYNC;
    mkv_spool_end(p->file);
    return S3_OK;
}

bool s3_part_cancel(struct s3_part_file *p)
{
    if (p->step == S3_PART_INDEX) return false;
    mkv_spool_cancel(p->file);
    p->file = NULL;
    p->step = S3_PART_OVER;
    return true;
}
