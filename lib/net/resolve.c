#include "net/resolve.h"

#include "mkv/log.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One question to DNS: both families at once, with an evdns of its own.  (A
 * question withdrawn from a shared evdns is answered later all the same;
 * freeing an evdns that serves one question is the clean way out.) */
struct resolve_lookup {
    struct resolve_name *name; /* borrowed; NULL once nobody wants the answer    */
    struct mkv_loop *loop;     /* borrowed */
    struct evdns_base *dns;    /* owned */
    struct event patience;     /* one family has answered, the other takes long  */
    unsigned open;             /* questions without an answer                    */
    bool absent;               /* some answer was: there is no such name         */
    unsigned n;
    union resolve_address addresses[RESOLVE_ADDRESSES_MAX];
    struct mkv_retired retired;
};

void resolve_name_init(struct resolve_name *name, const struct resolver_options *with,
                       struct mkv_slice host, uint16_t port)
{
    memset(name, 0, sizeof(*name));
    name->with = *with;
    if (!name->with.hosts) name->with.hosts = "/etc/hosts";
    if (!name->with.resolv_conf) name->with.resolv_conf = "/etc/resolv.conf";
    memcpy(name->host, host.data, host.len);
    name->port = port;
    name->why = "";
    TAILQ_INIT(&name->waiting);
    name->numeric = resolve_numeric(name->host, port, &name->addresses[0]);
    if (name->numeric) name->n = 1;
}

/* ---- the hosts file ------------------------------------------------------ */

/* Reads at most RESOLVE_FILE_MAX bytes; NULL where there is nothing to read.
 * The caller frees. */
static char *read_file(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t size = 4096;
    char *data = NULL;
    ssize_t got = 0;

    *len = 0;
    if (fd < 0) return NULL;
    do {
        char *more;

        if (*len == size) size *= 2;
        more = realloc(data, size);
        if (!more) break;
        data = more;
        got = read(fd, data + *len, size - *len);
        if (got > 0) *len += (size_t)got;
    } while (got > 0 && *len < RESOLVE_FILE_MAX);
    close(fd);
    return data;
}

static bool look_into_hosts(struct resolve_name *name)
{
    union resolve_address found[RESOLVE_ADDRESSES_MAX];
    size_t len;
    char *file = read_file(name->with.hosts, &len);
    unsigned n =
        resolve_hosts(mkv_slice(file, len), name->host, name->port, found, RESOLVE_ADDRESSES_MAX);

    free(file);
    if (n == 0 && mkv_slice_ieq(mkv_slice_of(name->host), MKV_SLICE("localhost"))) {
        resolve_numeric("127.0.0.1", name->port, &found[n++]); /* RFC 6761, 6.3 */
        resolve_numeric("::1", name->port, &found[n++]);
    }
    if (n == 0) return false;
    memcpy(name->addresses, found, n * sizeof(found[0]));
    name->n = n;
    return true;
}

/* ---- DNS ----------------------------------------------------------------- */

static void destroy_lookup(void *arg)
{
    struct resolve_lookup *l = arg;

    if (l->dns) evdns_base_free(l->dns, 0);
    free(l);
}

/* After this the name has no look-up.  evdns may have queued one more answer in
 * this turn: it finds that nobody wants it. */
static void end_lookup(struct resolve_name *name)
{
    struct resolve_lookup *l = name->lookup;

    if (!l) return;
    name->lookup = NULL;
    l->name = NULL;
    event_del(&l->patience);
    mkv_loop_retire(l->loop, &l->retired, destroy_lookup, l);
}

static void settle(struct resolve_name *name)
{
    struct resolve_lookup *l = name->lookup;
    struct resolve_wait *w;

    if (l->n) {
        memcpy(name->addresses, l->addresses, l->n * sizeof(l->addresses[0]));
        name->n = l->n;
        name->why = "";
    } else {
        name->why = l->absent ? "no such host name" : "the name servers do not answer";
        if (name->n) mkv_log_info("%s: %s: using the old address", name->host, name->why);
    }
    name->doubtful = false;
    name->expires_ms = mkv_loop_now(l->loop) + RESOLVE_KEEP_MS;
    end_lookup(name);
    while ((w = TAILQ_FIRST(&name->waiting))) {
        resolve_forget(name, w);
        w->done(name->n ? MKV_OK : MKV_EDNS, w->arg);
    }
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
    struct resolve_lookup *l = arg;

    (void)fd;
    (void)what;
    if (l->name) settle(l->name);
}

/* IPv4 goes before IPv6: it is what volumes listen on first. */
static void add_answer(struct resolve_lookup *l, char type, int count, const void *addresses)
{
    unsigned room = RESOLVE_ADDRESSES_MAX - l->n;
    unsigned n = (unsigned)count < room ? (unsigned)count : room;
    union resolve_address *at = l->addresses;

    if (type == DNS_IPv6_AAAA)
        at += l->n;
    else
        memmove(at + n, at, l->n * sizeof(*at));
    for (unsigned i = 0; i < n; i++) {
        memset(&at[i], 0, sizeof(at[i]));
        if (type == DNS_IPv6_AAAA) {
            at[i].v6.sin6_family = AF_INET6;
            at[i].v6.sin6_port = htons(l->name->port);
            memcpy(&at[i].v6.sin6_addr, (const struct in6_addr *)addresses + i,
                   sizeof(struct in6_addr));
        } else {
            at[i].v4.sin_family = AF_INET;
            at[i].v4.sin_port = htons(l->name->port);
            memcpy(&at[i].v4.sin_addr, (const struct in_addr *)addresses + i,
                   sizeof(struct in_addr));
        }
    }
    l->n += n;
}

static void on_answer(int result, char type, int count, int ttl, void *addresses, void *arg)
{
    static const struct timeval patience = {0, RESOLVE_SECOND_MS * 1000};
    struct resolve_lookup *l = arg;

    (void)ttl;
    if (!l->name) return;
    l->open--;
    if (result == DNS_ERR_NONE && count > 0 && (type == DNS_IPv4_A || type == DNS_IPv6_AAAA))
        add_answer(l, type, count, addresses);
    else if (result == DNS_ERR_NOTEXIST || result == DNS_ERR_NODATA || result == DNS_ERR_NONE)
        l->absent = true;
    if (l->open == 0 || (l->n && event_add(&l->patience, &patience))) settle(l->name);
}

static void log_evdns(int is_warning, const char *text)
{
    (void)is_warning;
    mkv_log_debug("dns: %s", text);
}

static enum mkv_err ask_dns(struct resolve_name *name)
{
    struct event_base *base = mkv_loop_base(name->with.loop);
    struct resolve_lookup *l = calloc(1, sizeof(*l));

    name->why = "out of memory";
    if (!l) return MKV_EDNS;
    evdns_set_log_fn(log_evdns);
    event_assign(&l->patience, base, -1, 0, on_patience, l);
    l->loop = name->with.loop;
    l->name = name;
    name->lookup = l;
    l->dns = evdns_base_new(base, 0);
    if (!l->dns) goto fail;
    /* Nobody waits as long as resolv.conf's defaults would let us. */
    evdns_base_set_option(l->dns, "timeout:", "1");
    evdns_base_set_option(l->dns, "attempts:", "2");
    evdns_base_resolv_conf_parse(l->dns, DNS_OPTIONS_ALL & ~DNS_OPTION_HOSTSFILE,
                                 name->with.resolv_conf);
    name->why = "no name server is configured";
    if (evdns_base_count_nameservers(l->dns) == 0) goto fail;
    if (evdns_base_resolve_ipv4(l->dns, name->host, 0, on_answer, l)) l->open++;
    if (evdns_base_resolve_ipv6(l->dns, name->host, 0, on_answer, l)) l->open++;
    name->why = "the name can not be asked for";
    if (l->open == 0) goto fail;
    return MKV_PENDING;
fail:
    end_lookup(name);
    return MKV_EDNS;
}

/* ---- both ---------------------------------------------------------------- */

enum mkv_err resolve(struct resolve_name *name, struct resolve_wait *w)
{
    bool expired = mkv_loop_now(name->with.loop) >= name->expires_ms;

    if (name->numeric || (name->n && !expired && !name->doubtful)) return MKV_OK;
    if (!name->lookup) {
        enum mkv_err err;

        if (look_into_hosts(name)) {
            name->doubtful = false;
            name->expires_ms = mkv_loop_now(name->with.loop) + RESOLVE_KEEP_MS;
            return MKV_OK;
        }
        err = ask_dns(name);
        if (err != MKV_PENDING) return name->n ? MKV_OK : err;
    }
    /* An old answer that still works is better than waiting. */
    if (name->n && !name->doubtful) return MKV_OK;
    w->waiting = true;
    TAILQ_INSERT_TAIL(&name->waiting, w, link);
    return MKV_PENDING;
}

void resolve_forget(struct resolve_name *name, struct resolve_wait *w)
{
    if (!w->waiting) return;
    w->waiting = false;
    TAILQ_REMOVE(&name->waiting, w, link);
}

void resolve_doubt(struct resolve_name *name)
{
    uint64_t learnt_ms = name->expires_ms - RESOLVE_KEEP_MS;

    if (mkv_loop_now(name->with.loop) - learnt_ms >= RESOLVE_DOUBT_MS) name->doubtful = true;
}

void resolve_name_clear(struct resolve_name *name)
{
    struct resolve_wait *w;

    while ((w = TAILQ_FIRST(&name->waiting)))
        resolve_forget(name, w);
    end_lookup(name);
}
