/* lib/server/listen.h - a listening socket that knows when to pause.
 *
 * Some descriptors are kept back for volumes and the index: beyond the limit,
 * and where the system has none left, accepting pauses and is tried again. */
#ifndef MKV_SERVER_LISTEN_H
#define MKV_SERVER_LISTEN_H

#include "mkv/err.h"
#include "mkv/loop.h"

#include <stddef.h>

#define LISTEN_RETRY_MS 100

struct listen_port;

struct listen_events {
    void (*accepted)(int fd, void *arg); /* non-blocking; given away */
    size_t (*connections)(void *arg);    /* open ones now            */
};

/* host NULL: every address, IPv6 and IPv4.  port 0: any free one.  On an error
 * why names the port and says what to do.  Does not accept before start. */
enum mkv_err listen_open(struct listen_port **out, struct mkv_loop *loop, const char *host,
                         unsigned port, const struct listen_events *events, void *arg, char *why,
                         size_t why_size) MKV_MUSTUSE;
/* Until then the port is held but clients are refused, so that who gets in is
 * served.  Errors as listen_open: another program began to listen first. */
enum mkv_err listen_start(struct listen_port *l, size_t connections_max, char *why,
                          size_t why_size) MKV_MUSTUSE;
void listen_close(struct listen_port *l); /* NULL is fine */

/* "host:port" by which a program on this machine reaches it. */
void listen_address(const struct listen_port *l, char *out, size_t size);

/* Raises the limit of open files as far as allowed; how many client
 * connections that leaves room for. */
size_t listen_raise_limit(void);

#endif
