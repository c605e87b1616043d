#include "jobs/progress.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define EVERY_MS      500
#define LINE_MAX_CHARS 512
#define BAR_MIN       10 /* a narrower bar says nothing: it is left out */
#define BAR_MAX       40
#define COLUMNS_USUAL 80 /* of a terminal that does not say */

struct progress {
    struct progress_state state;
    double started;
    double next_plain; /* seconds since open */
    bool terminal;
    bool drawn;        /* the bar is on the screen */
    struct event tick;
};

/* ---- what the lines say -------------------------------------------------------- */

const char *progress_bytes(char out[PROGRESS_BYTES_MAX], double bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;

    while (bytes >= 999.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1000;
        unit++;
    }
    snprintf(out, PROGRESS_BYTES_MAX, "%.*f %s", unit ? 1 : 0, bytes, units[unit]);
    return out;
}

/* "0:35", "1:02:03" */
static void time_text(char *out, size_t size, double seconds)
{
    uint64_t s = seconds < 1e9 ? (uint64_t)(seconds + 0.5) : 1000000000;

    if (s >= 3600)
        snprintf(out, size, "%" PRIu64 ":%02u:%02u", s / 3600, (unsigned)(s / 60 % 60),
                 (unsigned)(s % 60));
    else
        snprintf(out, size, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
}

/* ", 2500/s, 12.0 MB/s, 0:35 left" */
static void rates_text(char *out, size_t size, const struct progress_state *s)
{
    double seconds = s->seconds > 0.001 ? s->seconds : 0.001, rate = (double)s->done / seconds;
    char bytes[PROGRESS_BYTES_MAX], left[32];
    size_t n = (size_t)snprintf(out, size, ", %.0f/s", rate);

    if (s->bytes)
        n += (size_t)snprintf(out + n, size - n, ", %s/s",
                              progress_bytes(bytes, (double)s->bytes / seconds));
    if (s->total <= s->done || s->done == 0) return;
    time_text(left, sizeof(left), (double)(s->total - s->done) / rate);
    snprintf(out + n, size - n, ", %s left", left);
}

/* "rebalance [=====>    ] ": into out, as wide as room allows. */
static size_t bar_text(char *out, size_t size, const struct progress_state *s, size_t room)
{
    char bar[BAR_MAX + 1];
    size_t width = room < BAR_MAX ? room : BAR_MAX;
    size_t full = (size_t)((double)width * ((double)s->done / (double)s->total));

    if (full > width) full = width;
    memset(bar, ' ', width);
    memset(bar, '=', full);
    if (full < width) bar[full] = '>';
    bar[width] = '\0';
    return (size_t)snprintf(out, size, "%s [%s] ", s->what, bar);
}

size_t progress_line(char *out, size_t size, const struct progress_state *s, unsigned columns)
{
    char counts[128], rates[128];
    size_t used, room, n;

    rates_text(rates, sizeof(rates), s);
    if (s->total)
        snprintf(counts, sizeof(counts), "%" PRIu64 " of %" PRIu64 " %s (%.0f%%)", s->done,
                 s->total, s->unit, 100.0 * (double)s->done / (double)s->total);
    else
        snprintf(counts, sizeof(counts), "%" PRIu64 " %s", s->done, s->unit);
    used = strlen(s->what) + sizeof(" [] ") - 1 + strlen(counts) + strlen(rates);
    room = columns > used ? columns - used : 0;
    if (s->total && room >= BAR_MIN)
        n = bar_text(out, size, s, room);
    else
        n = (size_t)snprintf(out, size, "%s: ", s->what);
    n += (size_t)snprintf(out + n, size - n, "%s%s", counts, rates);
    if (columns && n > columns) {
        n = columns;
        out[n] = '\0';
    }
    return n;
}

/* ---- showing them ---------------------------------------------------------------- */

static double clock_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double progress_seconds(const struct progress *p)
{
    return clock_seconds() - p->started;
}

static unsigned columns_of_terminal(void)
{
    struct winsize w;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || w.ws_col < 2) return COLUMNS_USUAL;
    /* The last column stays free: some terminals wrap there. */
    return w.ws_col < LINE_MAX_CHARS ? w.ws_col - 1u : LINE_MAX_CHARS - 1u;
}

/* The cursor goes back to the first column: a line of the log that comes from
 * elsewhere then covers the bar instead of following it. */
static void draw(struct progress *p)
{
    char line[LINE_MAX_CHARS];

    progress_line(line, sizeof(line), &p->state, columns_of_terminal());
    fprintf(stderr, "\r%s\033[K\r", line);
    fflush(stderr);
    p->drawn = true;
}

static void clear(struct progress *p)
{
    if (!p->drawn) return;
    fprintf(stderr, "\r\033[K");
    fflush(stderr);
    p->drawn = false;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct progress *p = arg;
    char line[LINE_MAX_CHARS];

    (void)fd;
    (void)what;
    p->state.seconds = progress_seconds(p);
    if (p->terminal) {
        draw(p);
    } else if (p->state.seconds >= p->next_plain) {
        progress_line(line, sizeof(line), &p->state, 0);
        fprintf(stderr, "%s\n", line);
        p->next_plain += PROGRESS_PLAIN_S;
    }
}

enum mkv_err progress_open(struct progress **out, struct mkv_loop *loop, const char *what,
                           const char *unit)
{
    const struct timeval every = {EVERY_MS / 1000, EVERY_MS % 1000 * 1000};
    struct progress *p = calloc(1, sizeof(*p));

    if (!p) return MKV_ENOMEM;
    p->state.what = what;
    p->state.unit = unit;
    p->started = clock_seconds();
    p->next_plain = PROGRESS_PLAIN_S;
    p->terminal = isatty(STDERR_FILENO);
    event_assign(&p->tick, mkv_loop_base(loop), -1, EV_PERSIST, on_tick, p);
    if (event_add(&p->tick, &every)) {
        free(p);
        return MKV_ENOMEM;
    }
    *out = p;
    return MKV_OK;
}

void progress_total(struct progress *p, uint64_t total)
{
    p->state.total = total;
}

void progress_add(struct progress *p, uint64_t units, uint64_t bytes)
{
    p->state.done += units;
    p->state.bytes += bytes;
}

void progress_say(struct progress *p, const char *format, ...)
{
    va_list args;

    clear(p);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void progress_close(struct progress *p)
{
    if (!p) return;
    clear(p);
    event_del(&p->tick);
    free(p);
}
