#include "net/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* The one that every kernel has and lets everybody choose. */
#define UNPACED "reno"

static bool is_loopback_v4(struct in_addr address)
{
    return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool is_loopback_v6(const struct in6_addr *address)
{
    struct in_addr v4;

    if (!IN6_IS_ADDR_V4MAPPED(address)) return IN6_IS_ADDR_LOOPBACK(address);
    memcpy(&v4, address->s6_addr + 12, sizeof(v4)); /* RFC 4291, 2.5.5.2: the last four bytes */
    return is_loopback_v4(v4);
}

bool socket_is_loopback(const struct sockaddr *address)
{
    switch (address->sa_family) {
    case AF_INET: return is_loopback_v4(((const struct sockaddr_in *)address)->sin_addr);
    case AF_INET6: return is_loopback_v6(&((const struct sockaddr_in6 *)address)->sin6_addr);
    default: return false;
    }
}

/* None of this is needed to serve: a system that refuses is slower, no more. */
void socket_prepare(int fd, const struct sockaddr *peer)
{
    const int yes = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (socket_is_loopback(peer))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, UNPACED, strlen(UNPACED));
}

void socket_accepted(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
    } peer;
    socklen_t len = sizeof(peer);

    if (!getpeername(fd, &peer.any, &len)) socket_prepare(fd, &peer.any);
}
