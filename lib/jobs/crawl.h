/* lib/jobs/crawl.h - every file on the volumes, found through their listings.
 *
 * Walks "/", svXX/, xx/, yy/ and what sub-directories the '/' and the cuts in
 * names make, on all volumes at once, many listings under way.  What a volume
 * has counts, not what the configuration would put there: any svXX is walked,
 * and so is xx/ without one.  Only directories that can hold a value are gone
 * into; everything else is foreign, and nginx's own working directories are
 * passed over.
 *
 * Memory does not grow with the number of files: directories are walked depth
 * first, so that those that wait are the brothers of those under way, and all
 * listings together are held to CRAWL_BUFFERED_MAX. */
#ifndef MKV_JOBS_CRAWL_H
#define MKV_JOBS_CRAWL_H

#include "mkv/loop.h"
#include "mkv/slice.h"
#include "net/volume.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRAWL_LISTING_MAX  (16 * 1024 * 1024) /* of one directory: about 130,000 files      */
#define CRAWL_BUFFERED_MAX (8 * 1024 * 1024)  /* of all: beyond it only one goes on growing */
#define CRAWL_QUICK_US     1000 /* a listing, on average: then they share connections...  */
#define CRAWL_QUICK_MAX    32   /* ...and so many are under way on a volume at most...    */
#define CRAWL_SLOW_PART    4    /* ...else a quarter of its share, each on its own one... */
#define CRAWL_SLOW_MIN     10   /* ...so many in any case                                 */
#define CRAWL_TRIES        4                  /* of one listing...                          */
#define CRAWL_BACKOFF_MS   250                /* ...after this long, then twice as long, ... */
#define CRAWL_GIVE_UP      8                  /* listings in a row that a volume did not answer,
                                                 each after all its tries: the rest is not
                                                 asked for                                   */

struct crawl;

struct crawl_options {
    struct mkv_loop *loop;         /* borrowed */
    struct mkv_volumes *volumes;   /* borrowed */
    const struct mkv_slice *names; /* borrowed: the volumes to walk */
    size_t nnames;
    size_t jobs;                   /* listings under way at once */
};

struct crawl_file {
    size_t volume;         /* in names                                        */
    uint16_t subvolume;    /* or MKV_NO_SUBVOLUME                              */
    struct mkv_slice path; /* "/xx/yy/NAME", below the subvolume: for mkv_path_key */
    int64_t size;
    int64_t mtime;         /* -1: the volume did not say                       */
};

/* Slices and text are valid during the call.  From within, the crawl may be
 * paused, but not ended. */
struct crawl_events {
    /* A file where values lie.  Its name may still be no key's. */
    void (*file)(const struct crawl_file *f, void *arg);
    /* A file or directory (with a final '/') where no value can be; the path is
     * the volume's. */
    void (*foreign)(size_t volume, struct mkv_slice path, void *arg);
    /* The directory could not be listed, and so nothing below it: why. */
    void (*failed)(size_t volume, struct mkv_slice path, const char *why, void *arg);
    /* Exactly once, last, never inside crawl_start(): all was seen or failed. */
    void (*done)(void *arg);
};

struct crawl_stats {
    uint64_t listings; /* directories read              */
    uint64_t files;    /* that file() was told          */
    uint64_t foreign;  /* that foreign() was told       */
    uint64_t failed;   /* that failed() was told        */
    uint64_t retries;
};

/* MKV_EINVAL: a name that is no volume's; MKV_ENOMEM. */
enum mkv_err crawl_start(struct crawl **out, const struct crawl_options *opt,
                         const struct crawl_events *events, void *arg) MKV_MUSTUSE;
/* Begins no further listing; those under way still come in. */
void crawl_pause(struct crawl *c, bool paused);
void crawl_stats(const struct crawl *c, struct crawl_stats *out);
/* Ends it, whether or not it is done, without calling back.  NULL is fine. */
void crawl_close(struct crawl *c);

#endif
