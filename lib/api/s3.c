#include "api/s3.h"

#include "api/s3_expiry.h"
#include "api/s3_server.h"
#include "mkv/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static enum mkv_err read_keys(struct mkv_s3 *s3, char *why, size_t why_size)
{
    char text[S3_KEYS_ERROR_MAX];

    if (s3_keys_read(&s3->keys, s3->cfg->keys, text)) return MKV_OK;
    snprintf(why, why_size, "-keys %s: %s", s3->cfg->keys, text);
    return MKV_EINVAL;
}

enum mkv_err mkv_s3_open(struct mkv_s3 **out, struct mkv_loop *loop, struct mkv_store *store,
                         const struct mkv_config *cfg, char *why, size_t why_size)
{
    struct mkv_s3 *s3 = calloc(1, sizeof(*s3));
    enum mkv_err err = MKV_ENOMEM;

    if (!s3) goto out;
    s3->loop = loop;
    s3->store = store;
    s3->cfg = cfg;
    LIST_INIT(&s3->dying);
    LIST_INIT(&s3->endings);
    if (getrandom(&s3->id_base, sizeof(s3->id_base), 0) != sizeof(s3->id_base))
        s3->id_base = (uint64_t)mkv_loop_wall(loop) << 32;
    err = MKV_OK;
    if (cfg->keys) err = read_keys(s3, why, why_size);
    if (!err && cfg->keys) err = mkv_token_make(&s3->token, cfg->db, why, why_size);
    if (!err && mkv_store_spool(store)) err = s3_expiry_open(&s3->expiry, s3);
    if (err) goto out;
    *out = s3;
    s3 = NULL;
out:
    mkv_s3_close(s3);
    return err;
}

void mkv_s3_stop(struct mkv_s3 *s3)
{
    struct s3_ending *e, *next;

    if (!s3) return;
    s3_expiry_stop(s3->expiry);
    for (e = LIST_FIRST(&s3->endings); e; e = next) {
        next = LIST_NEXT(e, all); /* drop takes e off, and no other */
        if (e->drop) e->drop(e->arg);
    }
}

void mkv_s3_close(struct mkv_s3 *s3)
{
    if (!s3) return;
    s3_expiry_close(s3->expiry);
    s3_keys_close(s3->keys);
    s3_key_cache_clear(&s3->cache);
    free(s3);
}

void mkv_s3_reload(struct mkv_s3 *s3)
{
    struct s3_keys *old = s3->keys;
    char why[1024];

    if (!s3->cfg->keys) {
        mkv_log_info("there is no -keys file to read again");
        return;
    }
    if (read_keys(s3, why, sizeof(why))) {
        s3->keys = old;
        mkv_log_error("%s; the keys that were read before stay in force", why);
        return;
    }
    s3_keys_close(old);
    mkv_log_warn("-keys %s: read again, %zu keys", s3->cfg->keys, s3_keys_count(s3->keys));
}
