/* Verbs whose files are still to come. */
#include "mkv/store.h"

enum mkv_err mkv_store_read(struct mkv_read **out, struct mkv_store *store,
                            const struct mkv_read_options *opt,
                            const struct mkv_read_events *events, void *arg)
{
    (void)out, (void)store, (void)opt, (void)events, (void)arg;
    return MKV_ECANNOTASK;
}

void mkv_read_pause(struct mkv_read *r, bool paused)
{
    (void)r, (void)paused;
}

void mkv_read_cancel(struct mkv_read *r)
{
    (void)r;
}

enum mkv_err mkv_store_describe(struct mkv_store *store, const struct mkv_describe_options *opt,
                                struct mkv_describe **out, mkv_done *done, void *arg)
{
    (void)out, (void)store, (void)opt, (void)done, (void)arg;
    return MKV_ECANNOTASK;
}

void mkv_describe_forget(struct mkv_describe *d)
{
    (void)d;
}
