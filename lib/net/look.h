/* lib/net/look.h - what the copies of one value look like: all are asked side
 * by side, with a HEAD, or read to their end and their MD5 taken. */
#ifndef MKV_NET_LOOK_H
#define MKV_NET_LOOK_H

#include "mkv/digest.h"
#include "mkv/limits.h"
#include "net/volume.h"

#define LOOK_WHY_MAX 96

enum look_verdict {
    LOOK_FOUND,   /* it is there                                              */
    LOOK_MISSING, /* the volume says that it is not                           */
    LOOK_UNASKED  /* the volume could not be asked, or what it says is no use */
};

struct look;

struct look_copy {
    struct look *look;         /* the one it belongs to */
    struct mkv_exchange *x;    /* owned until it calls back */
    enum look_verdict verdict;
    int64_t size;              /* LOOK_FOUND: bytes */
    bool has_md5;              /* it was read to its end */
    uint8_t md5[MKV_MD5_LEN];
    struct mkv_digest *digest; /* owned: while it is being read */
    char why[LOOK_WHY_MAX];    /* LOOK_UNASKED: "connection refused" */
};

/* Embedded in the machine that needs it. */
struct look {
    struct mkv_loop *loop;     /* borrowed */
    bool deep;
    unsigned n, waiting;       /* copies; those that still owe their answer */
    struct look_copy copies[MKV_REPLICAS_MAX];
    struct mkv_chore nothing_to_wait_for;
    void (*done)(struct look *look, void *arg);
    void *arg;
};

/* deep: read them.  done runs exactly once, after look_go() and never inside it;
 * look may be begun again then. */
void look_init(struct look *look, struct mkv_loop *loop, bool deep,
               void (*done)(struct look *look, void *arg), void *arg);
/* One more copy: copies[n], at most MKV_REPLICAS_MAX.  volume NULL: a server
 * that can not be used. */
void look_at(struct look *look, struct mkv_volume *volume, struct mkv_slice path);
void look_go(struct look *look); /* those were all */
/* Breaks off, without calling back.  Zeroed or done: no-op. */
void look_cancel(struct look *look);

#endif
