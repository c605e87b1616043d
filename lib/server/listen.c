#include "server/listen.h"

#include "mkv/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

struct listen_port {
    struct mkv_loop *loop;             /* borrowed */
    struct evconnlistener *listener;   /* owned */
    struct event retry;
    size_t connections_max;
    const struct listen_events *events;
    void *arg;
    const char *host;                  /* borrowed: the caller's, for messages */
    unsigned port;
    bool paused;
    bool told;                         /* one warning per shortage */
};

static void pause_accepting(struct listen_port *l, const char *why)
{
    const struct timeval later = {0, LISTEN_RETRY_MS * 1000};

    if (!l->told) mkv_log_warn("new connections wait: %s", why);
    l->told = true;
    l->paused = true;
    evconnlistener_disable(l->listener);
    event_add(&l->retry, &later);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct listen_port *l = arg;
    const struct timeval later = {0, LISTEN_RETRY_MS * 1000};

    (void)fd;
    (void)what;
    if (l->events->connections(l->arg) >= l->connections_max) {
        event_add(&l->retry, &later);
        return;
    }
    l->paused = false;
    evconnlistener_enable(l->listener);
}

static void on_accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
                        int len, void *arg)
{
    struct listen_port *l = arg;

    (void)listener;
    (void)from;
    (void)len;
    l->events->accepted(fd, l->arg);
    if (l->events->connections(l->arg) >= l->connections_max)
        pause_accepting(l, "as many connections are open as file descriptors allow: "
                           "raise the limit of open files (ulimit -n)");
    else
        l->told = false;
}

static void on_error(struct evconnlistener *listener, void *arg)
{
    struct listen_port *l = arg;

    (void)listener;
    pause_accepting(l, strerror(errno)); /* EMFILE, ENFILE, ENOBUFS, ENOMEM */
}

/* -1 with errno. */
static int bind_socket(const struct sockaddr *address, socklen_t len, bool both_families)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1, v6only = !both_families;
    int saved;

    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
    if (bind(fd, address, len) == 0) return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Every address: one socket for both families, or IPv4 where there is no IPv6. */
static int bind_all(unsigned port)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = bind_socket((struct sockaddr *)&v6, sizeof(v6), true);

    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        fd = bind_socket((struct sockaddr *)&v4, sizeof(v4), false);
    return fd;
}

/* A numeric address: names would have to be resolved, and could be several. */
static int bind_one(const char *host, unsigned port)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
        return bind_socket((struct sockaddr *)&v4, sizeof(v4), false);
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)
        return bind_socket((struct sockaddr *)&v6, sizeof(v6), false);
    errno = EINVAL;
    return -1;
}

static void explain(char *why, size_t size, const char *host, unsigned port)
{
    const char *where = host ? host : "every address";

    switch (errno) {
    case EADDRINUSE:
        snprintf(why, size, "port %u is in use: stop what listens there, or give another -port",
                 port);
        break;
    case EINVAL:
        snprintf(why, size, "-bind %s is no address: give a numeric one, such as 127.0.0.1", where);
        break;
    default:
        snprintf(why, size, "can not listen on %s, port %u: %s", where, port, strerror(errno));
    }
}

enum mkv_err listen_open(struct listen_port **out, struct mkv_loop *loop, const char *host,
                         unsigned port, const struct listen_events *events, void *arg, char *why,
                         size_t why_size)
{
    struct listen_port *l = calloc(1, sizeof(*l));
    struct event_base *base = mkv_loop_base(loop);
    int fd;

    if (!l) return MKV_ENOMEM;
    l->loop = loop;
    l->events = events;
    l->arg = arg;
    fd = host ? bind_one(host, port) : bind_all(port);
    if (fd < 0) {
        explain(why, why_size, host, port);
        free(l);
        return MKV_EIO;
    }
    l->listener = evconnlistener_new(base, on_accepted, l,
                                     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC |
                                         LEV_OPT_DISABLED,
                                     0, fd);
    if (!l->listener) {
        close(fd);
        free(l);
        return MKV_ENOMEM;
    }
    l->host = host;
    l->port = port;
    evconnlistener_set_error_cb(l->listener, on_error);
    event_assign(&l->retry, base, -1, 0, on_retry, l);
    *out = l;
    return MKV_OK;
}

enum mkv_err listen_start(struct listen_port *l, size_t connections_max, char *why, size_t why_size)
{
    l->connections_max = connections_max;
    if (listen(evconnlistener_get_fd(l->listener), BACKLOG)) {
        explain(why, why_size, l->host, l->port);
        return MKV_EIO;
    }
    evconnlistener_enable(l->listener);
    return MKV_OK;
}

void listen_close(struct listen_port *l)
{
    if (!l) return;
    event_del(&l->retry);
    evconnlistener_free(l->listener);
    free(l);
}

void listen_address(const struct listen_port *l, char *out, size_t size)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    char text[INET6_ADDRSTRLEN];

    getsockname(evconnlistener_get_fd(l->listener), (struct sockaddr *)&ss, &len);
    if (ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&ss;

        inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof(text));
        if (IN6_IS_ADDR_UNSPECIFIED(&a->sin6_addr))
            snprintf(out, size, "127.0.0.1:%u", ntohs(a->sin6_port));
        else
            snprintf(out, size, "[%s]:%u", text, ntohs(a->sin6_port));
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&ss;

        inet_ntop(AF_INET, &a->sin_addr, text, sizeof(text));
        if (a->sin_addr.s_addr == htonl(INADDR_ANY)) snprintf(text, sizeof(text), "127.0.0.1");
        snprintf(out, size, "%s:%u", text, ntohs(a->sin_port));
    }
}

size_t listen_raise_limit(void)
{
    struct rlimit limit;
    size_t reserve;

    if (getrlimit(RLIMIT_NOFILE, &limit)) return 512;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit)) return 512;
    /* A quarter, up to 1024, for volumes, the index and what libraries open. */
    reserve = limit.rlim_cur / 4 < 1024 ? limit.rlim_cur / 4 : 1024;
    if (reserve < 24) reserve = 24;
    return limit.rlim_cur > reserve ? limit.rlim_cur - reserve : 1;
}
