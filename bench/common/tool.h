/* bench/common/tool.h - what every load tool needs: arguments, the clock,
 * samples of latency, and a way to stop with a sentence.
 *
 * The tools are short programs that print one JSON object per line on
 * standard output; whatever goes wrong ends them with one line on standard
 * error and exit status 1. */
#ifndef BENCH_TOOL_H
#define BENCH_TOOL_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#define TOOL_ADDRESS_MAX 64 /* "255.255.255.255:65535" and a NUL, with room */

/* "name: text" on standard error, then exit status 1. */
void tool_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* The number in text, which option gave; dies where it is none or over max. */
uint64_t tool_number(const char *option, const char *text, uint64_t max);
/* "127.0.0.1:3000": numeric IPv4 only, since nothing else is measured. */
struct sockaddr_in tool_address(const char *text);
/* A connected, blocking socket without Nagle's delay; dies where refused. */
int tool_connect(const struct sockaddr_in *to);
/* Lifts the limit on descriptors as far as it goes; dies under wanted. */
void tool_want_descriptors(uint64_t wanted);

void *tool_alloc(size_t n, size_t size); /* zeroed; dies instead of failing */

uint64_t tool_now(void); /* nanoseconds on a clock that never jumps */
static inline double tool_seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* ---- samples ---------------------------------------------------------------
 * Every latency is kept, so that a percentile is exact. */
struct samples {
    uint32_t *us; /* owned */
    size_t n, room;
};
void samples_add(struct samples *s, uint64_t ns);
/* Sorts on the way.  share: 0.5 is the median, 1 the maximum; 0 where empty. */
double samples_ms(struct samples *s, double share);
/* "NAME":{"n":..,"p50_ms":..,"p99_ms":..,"max_ms":..} without a newline. */
void samples_print(const char *name, struct samples *s);
void samples_clear(struct samples *s);

#endif
