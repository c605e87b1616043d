#include "mkv/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096 /* one write(2) per line keeps lines whole; longer ones are cut */

/* The one exception to "no mutable file-scope state": how much a process
 * says is a property of the process. */
static enum mkv_log_level current_level = MKV_LOG_WARN;

void mkv_log_set_level(enum mkv_log_level level)
{
    current_level = level;
}

bool mkv_log_enabled(enum mkv_log_level level)
{
    return level <= current_level;
}

enum mkv_log_level mkv_log_level_wanted(bool verbose)
{
    const char *debug = getenv("MKV_DEBUG");

    if (debug && *debug && *debug != '0') return MKV_LOG_DEBUG;
    return verbose ? MKV_LOG_INFO : MKV_LOG_WARN;
}

static size_t add_prefix(char *line, size_t size, enum mkv_log_level level, uint64_t request)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    struct timespec now;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, size - n, ".%03ldZ %s ", now.tv_nsec / 1000000, names[level]);
    if (request) n += (size_t)snprintf(line + n, size - n, "#%llu ", (unsigned long long)request);
    return n;
}

static void write_line(enum mkv_log_level level, uint64_t request, const char *format, va_list args)
    MKV_PRINTF(3, 0);

static void write_line(enum mkv_log_level level, uint64_t request, const char *format, va_list args)
{
    char line[LINE_MAX_BYTES];
    int saved = errno;
    size_t n = add_prefix(line, sizeof(line), level, request);
    int text = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
    ssize_t written;

    if (text > 0) n += (size_t)text;
    if (n > sizeof(line) - 2) n = sizeof(line) - 2;
    line[n++] = '\n';
    written = write(STDERR_FILENO, line, n);
    (void)written; /* there is nobody left to tell */
    errno = saved;
}

void mkv_log(enum mkv_log_level level, const char *format, ...)
{
    va_list args;

    if (!mkv_log_enabled(level)) return;
    va_start(args, format);
    write_line(level, 0, format, args);
    va_end(args);
}

void mkv_log_about(enum mkv_log_level level, uint64_t request, const char *format, ...)
{
    va_list args;

    if (!mkv_log_enabled(level)) return;
    va_start(args, format);
    write_line(level, request, format, args);
    va_end(args);
}

const char *mkv_log_bytes(char *buf, size_t size, const char *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '\\';

        if (n + (plain ? 1 : 4) + sizeof("...") > size) {
            for (int dots = 0; dots < 3 && n + 1 < size; dots++) buf[n++] = '.';
            break;
        }
        if (plain) {
            buf[n++] = (char)c;
        } else {
            buf[n++] = '\\';
            buf[n++] = 'x';
            buf[n++] = hex[c >> 4];
            buf[n++] = hex[c & 15];
        }
    }
    buf[n] = '\0';
    return buf;
}
