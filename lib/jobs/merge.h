/* lib/jobs/merge.h - what a rebuild makes of one key.  Pure.
 *
 * In go the files of the key that the volumes showed, what the old index has
 * of it, and where it belongs; out comes the new record, and for each file
 * whether it is a replica, garbage, or left alone.
 *
 *  - The highest generation wins, except over a newer one that the old index
 *    knew and whose files are gone: an older value does not come back silently.
 *  - What the old index had doomed - garbage, and the files of writes that were
 *    never acknowledged - stays doomed, unless the file was written later: then
 *    the index is older than the volumes.
 *  - State, MD5, size and fields of the old record stay with its generation.
 *  - Where copies of the winner differ in size, the old record's size decides;
 *    without one that of most copies, the larger one in a tie, and never 0
 *    against more.  The others are left alone, neither replica nor garbage.
 *  - Lower generations are garbage only where the winner is beyond doubt.
 *  - A key without files keeps its old record: GET then says 410 and not 404. */
#ifndef MKV_JOBS_MERGE_H
#define MKV_JOBS_MERGE_H

#include "mkv/record.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum merge_verdict {
    MERGE_REPLICA, /* in the record                                       */
    MERGE_GARBAGE, /* to be deleted                                       */
    MERGE_LEFT,    /* neither: it stays where it is                       */
    MERGE_NOTHING  /* there is no such file, or another entry speaks of it */
};

struct merge_file {
    uint64_t generation;
    struct mkv_replica at;
    bool doomed;    /* from the old index; else seen on the volume              */
    int64_t size;   /* seen                                                     */
    int64_t mtime;  /* seen: -1, not known.  doomed: a file written later is not meant */
    int64_t due;    /* doomed: when it is to be deleted                         */
    enum merge_verdict verdict; /* out */
};

struct merge_input {
    const struct mkv_record *old;        /* borrowed; NULL: the old index has none       */
    struct merge_file *files;            /* borrowed                                     */
    size_t nfiles;
    const struct mkv_replica *placement; /* borrowed: all volumes, in placement order    */
    size_t nplacement;                   /* = the volumes that were walked               */
};

/* What a person should hear of. */
enum merge_finding {
    MERGE_LOST = 1 << 0,    /* no file of the value that the old index knows          */
    MERGE_AWAY = 1 << 1,    /* the same, but a volume that may have it was not walked */
    MERGE_DIFFER = 1 << 2,  /* copies of one generation differ in size                */
    MERGE_DAMAGED = 1 << 3, /* no copy has the size that the old index knows          */
    MERGE_NEWER = 1 << 4,   /* the volumes have a newer value than the old index      */
    MERGE_CROWDED = 1 << 5  /* more replicas than a record holds: the rest is left    */
};

struct merge_result {
    bool has_record;
    struct mkv_record record; /* the caller's to clear */
    unsigned findings;
};

/* out needs no initialisation.  MKV_ENOMEM. */
enum mkv_err merge_key(struct merge_input *in, struct merge_result *out) MKV_MUSTUSE;

#endif
