/* lib/index/token.h - how a job on the same machine proves to a master with -keys
 * that it may move keys: it can read a file in the directory of the index.
 *
 * The master writes a new random token there at each start, for its owner's eyes
 * only, and takes it in place of a signature for REBALANCE. */
#ifndef MKV_INDEX_TOKEN_H
#define MKV_INDEX_TOKEN_H

#include "mkv/err.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>

#define MKV_TOKEN_FILE "mkv.token" /* in the directory of the index */
#define MKV_TOKEN_LEN  64          /* hex digits */

struct mkv_token {
    char text[MKV_TOKEN_LEN + 1]; /* empty: none */
};

/* Makes one and writes it; an older one is gone.  why says what keeps it from that. */
enum mkv_err mkv_token_make(struct mkv_token *out, const char *dir, char *why,
                            size_t why_size) MKV_MUSTUSE;
/* The one that is there; empty where there is none, or it can not be read. */
void mkv_token_read(struct mkv_token *out, const char *dir);

/* The value of Authorization. */
#define MKV_TOKEN_HEADER_MAX (sizeof("Mkv-Job ") + MKV_TOKEN_LEN)
void mkv_token_header(const struct mkv_token *t, char out[MKV_TOKEN_HEADER_MAX]);
/* Whether value is that of t, compared in constant time.  Never of an empty one. */
bool mkv_token_matches(const struct mkv_token *t, struct mkv_slice value);

#endif
