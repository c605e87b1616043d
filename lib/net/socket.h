/* lib/net/socket.h - what the kernel is told about each TCP socket of ours.
 *
 * Small writes leave at once: requests, answers and their pieces are gathered by
 * us.  A connection that does not leave this machine is not paced: nothing can be
 * congested there, and where the system's default is BBR its timers were more than
 * half of the loop's CPU for a PUT of 1 GB to volumes beside it.  Towards other
 * machines congestion control stays what the system says. */
#ifndef MKV_NET_SOCKET_H
#define MKV_NET_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>

/* Before connect(2), which settles it: a connection that has once been paced stays so. */
void socket_prepare(int fd, const struct sockaddr *peer);
/* One that a client has opened; of another kind than TCP: left as it is. */
void socket_accepted(int fd);

/* Of 127.0.0.0/8 or ::1, the former also as an IPv6 address. */
bool socket_is_loopback(const struct sockaddr *address);

#endif
