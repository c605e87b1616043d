/* include/mkv/listing.h - nginx's directory listings ("autoindex_format json").
 *
 * An array of {"name","type":"file"|"directory","mtime","size"}.  Pure. */
#ifndef MKV_LISTING_H
#define MKV_LISTING_H

#include "mkv/err.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct mkv_listing_entry {
    struct mkv_slice name; /* borrowed: valid during the callback */
    bool is_directory;     /* else a file; other kinds are left out */
    int64_t size;          /* bytes; -1 for a directory */
    int64_t mtime;         /* seconds since 1970; -1 where the date is none */
};

/* Names are the bytes of the file name, also where they are not UTF-8.
 * Calls entry() for each; false from it stops (that is no error).
 * MKV_ECORRUPT: not such a listing, or cut short; entry() may have run.
 * MKV_ENOMEM. */
enum mkv_err mkv_listing_parse(const char *data, size_t len,
                               bool (*entry)(const struct mkv_listing_entry *e, void *arg),
                               void *arg) MKV_MUSTUSE;

#endif
