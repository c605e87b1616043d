/* include/mkv/server.h - the master: ports, signals, and everything behind them. */
#ifndef MKV_SERVER_H
#define MKV_SERVER_H

#include "mkv/config.h"

/* Runs until SIGTERM or SIGINT: then stops accepting, lets requests in flight
 * finish (SERVER_GRACE_MS at most; a second signal ends the wait), and returns.
 * The process's exit status: 0, or 1 after one line on standard error. */
#define SERVER_GRACE_MS 10000
int mkv_server_run(const struct mkv_config *cfg) MKV_MUSTUSE;

#endif
