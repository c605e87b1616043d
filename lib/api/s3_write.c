#include "api/s3_write.h"

#include "api/s3_meta.h"

void s3_write_take(struct s3_write *w, const struct s3_conditions *conditions)
{
    w->conditions = *conditions;
    w->conditional = conditions->if_match.data || conditions->if_none_match.data ||
                     conditions->if_unmodified_since.data;
}

enum s3_error s3_write_conditions(struct s3_write *w, const struct mkv_header *headers, size_t n)
{
    struct s3_conditions found;

    if (!s3_conditions_find(headers, n, false, &found)) return S3_INVALID_REQUEST;
    s3_write_take(w, &found);
    return S3_OK;
}

enum mkv_err s3_write_allow(struct s3_write *w, const struct s3_call *c,
                            const struct mkv_record *old)
{
    struct s3_described object;
    enum s3_error err;

    if (!w->conditional) return MKV_OK;
    if (old) s3_describe(&object, old, c->object);
    err = s3_conditions_write(&w->conditions, old ? &object.is : NULL);
    return err ? s3_write_refuse(w, err, NULL) : MKV_OK;
}

enum mkv_err s3_write_refuse(struct s3_write *w, enum s3_error err, const char *why)
{
    if (!w->err) {
        w->err = err;
        w->why = why;
    }
    return MKV_ECLIENT;
}
