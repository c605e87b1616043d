/* Verbs whose files are still to come. */
#include "mkv/store.h"

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
