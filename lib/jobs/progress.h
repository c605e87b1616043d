/* lib/jobs/progress.h - how far a job has come, for the person who waits.
 *
 * On a terminal one line that is drawn again twice a second: a bar, the rate,
 * the time left.  Elsewhere a plain line every PROGRESS_PLAIN_S seconds.
 * Everything goes to standard error; nothing is drawn before the first half
 * second, so that short jobs stay silent. */
#ifndef MKV_JOBS_PROGRESS_H
#define MKV_JOBS_PROGRESS_H

#include "mkv/loop.h"

#include <stddef.h>
#include <stdint.h>

#define PROGRESS_PLAIN_S 10

struct progress;

/* what: "rebalance"; unit: "keys".  Both borrowed: literals.  total may be 0:
 * not known (yet). */
enum mkv_err progress_open(struct progress **out, struct mkv_loop *loop, const char *what,
                           const char *unit) MKV_MUSTUSE;
void progress_total(struct progress *p, uint64_t total);
void progress_add(struct progress *p, uint64_t units, uint64_t bytes);
/* Prints a line (to standard error) without tearing the bar. */
void progress_say(struct progress *p, const char *format, ...) MKV_PRINTF(2, 3);
double progress_seconds(const struct progress *p); /* since open */
void progress_close(struct progress *p);           /* clears the bar; NULL is fine */

/* ---- pure: what the lines say ------------------------------------------------ */
struct progress_state {
    const char *what, *unit;
    uint64_t done, total; /* total 0: not known */
    uint64_t bytes;       /* 0: nothing is said of them */
    double seconds;
};
/* The line, without a newline.  columns 0: plain; else with a bar, no wider
 * than that.  Returns its length. */
size_t progress_line(char *out, size_t size, const struct progress_state *s, unsigned columns);
/* "512 B", "1.5 KB", "20.0 GB": powers of 1000. */
#define PROGRESS_BYTES_MAX 16
const char *progress_bytes(char out[PROGRESS_BYTES_MAX], double bytes);

#endif
