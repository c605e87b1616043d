/* lib/jobs/verify.h - what the files of mkv-verify share:
 *
 *   verify.c          begin, away volumes, sum up
 *   verify_key.c      one key, from the first question to the repair
 *   verify_ask.c      every copy of one value: asked for, or read
 *   verify_judge.c    what the answers mean; pure
 *   verify_orphans.c  files that the index does not know
 *   verify_spool.c    the same of the spool, and parts without a file
 *
 * The index is read while a master may be changing it: what looks wrong is
 * believed only where the record, read again, is the same, and where a second
 * look finds it again. */
#ifndef MKV_JOBS_VERIFY_H
#define MKV_JOBS_VERIFY_H

#include "jobs/job.h"
#include "mkv/digest.h"
#include "net/digester.h"

#include <event2/event_struct.h>

struct evbuffer;

#define VERIFY_AWAY_MS    10000 /* a volume that is down for longer is not waited for  */
#define VERIFY_RETRY_MS   500   /* until a copy that could not be asked for is tried again */
#define VERIFY_TRIES      3
#define VERIFY_CHANGES    8     /* a key that changes so often under the check is in use   */
#define VERIFY_ERASING_MS 300   /* an unlinked key may be on its way out: look a bit later */
#define VERIFY_SAID       100   /* lines about repairs and the like; then only counted     */
#define VERIFY_GATHER_MS  20    /* nobody waits for one MD5: they are to go eight at once   */

/* ---- verify_judge.c ---------------------------------------------------------------- */

enum seen {
    SEEN_NOTHING, /* no answer yet                                       */
    SEEN_FILE,    /* size is known, and md5 where it was read            */
    SEEN_NO_FILE, /* the volume says that it has none                    */
    SEEN_TROUBLE  /* it could not be asked, or not be read to the end    */
};

struct seen_copy {
    enum seen seen;
    int64_t size;
    bool has_md5;
    uint8_t md5[MKV_MD5_LEN];
};

enum verdict {
    COPY_GOOD,
    COPY_MISSING,
    COPY_WRONG_SIZE,
    COPY_DAMAGED,  /* its MD5 is not the value's                                        */
    COPY_DIFFERENT, /* from another, and the index does not know which of them is right */
    COPY_UNKNOWN   /* could not be checked                                              */
};
#define VERDICTS (COPY_UNKNOWN + 1)

/* One verdict for each replica of rec; counts[verdict]: how many. */
void verify_judge(const struct mkv_record *rec, const struct seen_copy *seen,
                  enum verdict *verdicts, unsigned counts[VERDICTS]);

/* ---- verify_ask.c --------------------------------------------------------------------- */

struct verify;

enum ask_how {
    ASK_SIZES,    /* HEAD                                                          */
    ASK_TOGETHER, /* read side by side and compared, so that one MD5 serves all    */
    ASK_APART     /* read, each with an MD5 of its own                             */
};

struct ask_slot {
    struct ask *ask;          /* the one it belongs to                             */
    struct mkv_exchange *x;   /* owned until it calls back                         */
    struct evbuffer *ahead;   /* owned; together: read and not compared yet        */
    struct mkv_digest *digest; /* owned; apart                                     */
    uint64_t left;            /* bytes still to be read                            */
    bool reads, paused;
};

/* Embedded in the machine that needs it; zero before first use. */
struct ask {
    struct verify *v;
    enum ask_how how;
    unsigned n, waiting;
    bool all_read;            /* together: to the end, and alike; the MD5 follows  */
    bool differ;              /* together: they do, so ask apart; seen says nothing then */
    int64_t size;             /* of the value; -1: not known                       */
    struct mkv_replica replicas[MKV_REPLICAS_MAX];
    struct seen_copy seen[MKV_REPLICAS_MAX];
    char why[MKV_REPLICAS_MAX][96]; /* SEEN_TROUBLE: what happened                 */
    struct ask_slot slots[MKV_REPLICAS_MAX];
    struct digest_stream *digest; /* owned until it calls back; together           */
    struct ask_slot *lead;    /* together: whose bytes are digested; NULL: none have come */
    struct mkv_chore end;
    void (*done)(void *arg);
    void *arg;
};

/* Calls done exactly once, never inside this call.  rec is copied as far as
 * needed.  Copies on volumes that have been given up are not asked for. */
void ask_start(struct ask *a, struct verify *v, struct mkv_slice key, const struct mkv_record *rec,
               enum ask_how how, void (*done)(void *arg), void *arg);
void ask_cancel(struct ask *a); /* no callback; not started or done: no-op */

/* ---- verify.c -------------------------------------------------------------------------- */

enum count {
    COUNT_KEYS,
    COUNT_COPIES,
    COUNT_BYTES,
    COUNT_MISSING,
    COUNT_WRONG_SIZE,
    COUNT_DAMAGED,
    COUNT_DIFFERENT,
    COUNT_UNDER,
    COUNT_LOST,
    COUNT_UNKNOWN,
    COUNT_UNBALANCED,
    COUNT_REPAIRED,
    COUNT_REPAIRABLE,
    COUNT_IN_USE,
    COUNT_FILES,
    COUNT_ORPHANS,
    COUNT_ORPHANS_DELETED,
    COUNT_FOREIGN,
    COUNT_SPOOL_ORPHANS,
    COUNT_SPOOL_DELETED,
    COUNT_PARTS_MISSING,
    COUNTS
};

struct check;

struct verify {
    struct job job;
    bool beside;          /* somebody else writes the index meanwhile           */
    uint64_t counts[COUNTS];
    uint64_t said;
    struct digester *digester; /* owned                                            */
    struct check *checks; /* owned: under way                                  */
    struct away {
        uint64_t since_ms; /* it is down; 0: it is not                         */
        bool told;
    } *away;              /* owned: by volume id                               */
    size_t naway;
};

/* A line for people, bounded; no error. */
void verify_say(struct verify *v, struct mkv_slice key, const char *format, ...) MKV_PRINTF(3, 4);

/* The volume did, or did not, answer. */
void verify_answered(struct verify *v, uint32_t id, bool answered);
/* It is down, and may come back soon: worth waiting for. */
bool verify_is_away(struct verify *v, uint32_t id);
/* It has been down for so long that it is asked nothing until a probe of the
 * volume client finds it up. */
bool verify_is_given_up(struct verify *v, uint32_t id);

/* ---- verify_key.c ------------------------------------------------------------------------ */
void verify_key(struct job_item *item, void *arg); /* arg: struct verify */
/* Ends what is under way, after job_each_key() was broken off. */
void verify_keys_drop(struct verify *v);

/* ---- verify_orphans.c --------------------------------------------------------------------- */
void verify_orphans(struct verify *v);

/* ---- verify_spool.c ------------------------------------------------------------------------ */
void verify_spool(struct verify *v);

#endif
