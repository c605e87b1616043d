/* include/mkv/slice.h - bytes that belong to somebody else.
 *
 * A slice is borrowed: valid as long as its owner says.  It may hold any
 * byte, NUL included, and ends with none. */
#ifndef MKV_SLICE_H
#define MKV_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct mkv_slice {
    const char *data;
    size_t len;
};

#define MKV_SLICE(literal) ((struct mkv_slice){(literal), sizeof(literal) - 1})

static inline struct mkv_slice mkv_slice(const char *data, size_t len)
{
    return (struct mkv_slice){data, len};
}

static inline struct mkv_slice mkv_slice_of(const char *text)
{
    return (struct mkv_slice){text, strlen(text)};
}

static inline bool mkv_slice_eq(struct mkv_slice a, struct mkv_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII case-insensitive, for header names. */
bool mkv_slice_ieq(struct mkv_slice a, struct mkv_slice b);

static inline bool mkv_slice_begins(struct mkv_slice s, struct mkv_slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

/* Byte order; a prefix comes before what it begins. */
int mkv_slice_cmp(struct mkv_slice a, struct mkv_slice b);

/* Without the blanks and tabs around it. */
struct mkv_slice mkv_slice_trim(struct mkv_slice s);

/* Decimal digits only, the whole slice, at most max.  False otherwise. */
bool mkv_slice_number(struct mkv_slice s, unsigned long long max, unsigned long long *out);

#endif
