/* lib/net/resolve.h - host names to addresses, without blocking the loop.
 *
 * A numeric address is taken as it is; then the hosts file counts, then DNS
 * (evdns).  Answers are kept for RESOLVE_KEEP_MS.  The hosts file and
 * resolv.conf are read anew for each look-up, so that a change of either needs
 * no restart; between look-ups nothing of evdns exists. */
#ifndef MKV_NET_RESOLVE_H
#define MKV_NET_RESOLVE_H

#include "mkv/loop.h"
#include "mkv/slice.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define RESOLVE_HOST_MAX      255   /* characters in a name                       */
#define RESOLVE_ADDRESSES_MAX 16    /* of one name; further ones are not tried    */
#define RESOLVE_KEEP_MS       30000 /* an answer is used for this long            */
#define RESOLVE_DOUBT_MS      1000  /* a younger answer is not doubted             */
#define RESOLVE_SECOND_MS     200   /* one family has answered: wait so long for the other */
#define RESOLVE_FILE_MAX      (1024 * 1024) /* of the hosts file; the rest is not read */

union resolve_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Somebody who waits for a name; embedded in the waiting object. */
struct resolve_wait {
    void (*done)(enum mkv_err err, void *arg); /* MKV_OK or MKV_EDNS */
    void *arg;
    bool waiting;
    TAILQ_ENTRY(resolve_wait) link;
};

struct resolve_lookup;
struct resolver_options {
    struct mkv_loop *loop;   /* borrowed */
    const char *hosts;       /* NULL: /etc/hosts.        Borrowed, as is */
    const char *resolv_conf; /* NULL: /etc/resolv.conf                   */
};

struct resolve_name {
    struct resolver_options with;
    char host[RESOLVE_HOST_MAX + 1];
    uint16_t port;
    bool numeric;
    bool doubtful;                   /* ask again before the answer expires        */
    unsigned n;                      /* addresses known; port filled in            */
    union resolve_address addresses[RESOLVE_ADDRESSES_MAX];
    uint64_t expires_ms;
    const char *why;                 /* static: why the last look-up failed, or "" */
    struct resolve_lookup *lookup;   /* owned; NULL: none under way                */
    TAILQ_HEAD(, resolve_wait) waiting;
};

/* host without brackets, at most RESOLVE_HOST_MAX characters; copied. */
void resolve_name_init(struct resolve_name *name, const struct resolver_options *with,
                       struct mkv_slice host, uint16_t port);
/* Gives up a look-up under way; who waits is not called. */
void resolve_name_clear(struct resolve_name *name);

/* MKV_OK: name->addresses may be used now (the order in which to try them).
 * MKV_PENDING: w->done runs later, never inside this call; w is the name's
 * until then.  MKV_EDNS: name->why says why not. */
enum mkv_err resolve(struct resolve_name *name, struct resolve_wait *w) MKV_MUSTUSE;
void resolve_forget(struct resolve_name *name, struct resolve_wait *w); /* not waiting: no-op */

/* The addresses did not work: the next resolve() asks again (at most once per
 * RESOLVE_DOUBT_MS: a server that is down must not make every request ask). */
void resolve_doubt(struct resolve_name *name);

/* "127.0.0.1", "::1": false where text is no numeric address.  Pure. */
bool resolve_numeric(const char *text, uint16_t port, union resolve_address *out);
/* The addresses that a hosts file gives a name, in the file's order: at most
 * max; returns how many.  Pure. */
unsigned resolve_hosts(struct mkv_slice file, const char *host, uint16_t port,
                       union resolve_address *out, unsigned max);

#endif
