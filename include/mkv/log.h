/* include/mkv/log.h - lines for people, on standard error.
 *
 * A line is time, level, who, text.  Every function keeps errno.  The level
 * is the only mutable file-scope state in the project. */
#ifndef MKV_LOG_H
#define MKV_LOG_H

#include "mkv/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mkv_log_level {
    MKV_LOG_ERROR, /* somebody must act                                  */
    MKV_LOG_WARN,  /* something is not as it should be, and was dealt with */
    MKV_LOG_INFO,  /* -v: a line per request, every state change         */
    MKV_LOG_DEBUG  /* steps of machines; environment MKV_DEBUG=1         */
};

void mkv_log_set_level(enum mkv_log_level level); /* WARN until called */
bool mkv_log_enabled(enum mkv_log_level level);
/* What a program should say: WARN, INFO with -v, DEBUG with MKV_DEBUG=1 in the
 * environment. */
enum mkv_log_level mkv_log_level_wanted(bool verbose);

void mkv_log(enum mkv_log_level level, const char *format, ...) MKV_PRINTF(2, 3);
/* The same, with the request's number first. */
void mkv_log_about(enum mkv_log_level level, uint64_t request, const char *format, ...)
    MKV_PRINTF(3, 4);

/* The arguments are not evaluated where the level is off. */
#define mkv_log_at(level, ...)                                                                    \
    do {                                                                                          \
        if (mkv_log_enabled(level)) mkv_log((level), __VA_ARGS__);                                \
    } while (0)
#define mkv_log_error(...) mkv_log(MKV_LOG_ERROR, __VA_ARGS__)
#define mkv_log_warn(...)  mkv_log(MKV_LOG_WARN, __VA_ARGS__)
#define mkv_log_info(...)  mkv_log_at(MKV_LOG_INFO, __VA_ARGS__)
#define mkv_log_debug(...) mkv_log_at(MKV_LOG_DEBUG, __VA_ARGS__)

/* Bytes made safe for a log line: control and non-ASCII bytes as \xNN, cut
 * with "..." where they do not fit.  Returns buf, always NUL-terminated. */
const char *mkv_log_bytes(char *buf, size_t size, const char *data, size_t len);

#endif
