/* test/unit/table.h - what the tests of the formats share: rows of a
 * tab-separated file, and keys written in hex. */
#ifndef TEST_TABLE_H
#define TEST_TABLE_H

#include "mkv/digest.h"
#include "mkv/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define COLUMNS_MAX 8
#define CELL_MAX    4096

struct table {
    FILE *file; /* owned */
    char *line; /* owned */
    size_t size;
    struct mkv_slice column[COLUMNS_MAX]; /* borrowed from line */
    unsigned columns;
};

static inline void table_open(struct table *t, const char *path)
{
    memset(t, 0, sizeof(*t));
    t->file = fopen(path, "r");
    if (!t->file) fail_msg("can not open %s", path);
}

/* Splits s at each c into at most max pieces; returns how many there are. */
static inline unsigned split_at(struct mkv_slice s, char c, struct mkv_slice *out, unsigned max)
{
    unsigned n = 0;
    const char *found;

    while (n + 1 < max && (found = memchr(s.data, c, s.len)) != NULL) {
        size_t len = (size_t)(found - s.data);

        out[n++] = mkv_slice(s.data, len);
        s = mkv_slice(found + 1, s.len - len - 1);
    }
    out[n++] = s;
    return n;
}

/* The next row in t->column; false, with everything closed, after the last. */
static inline bool table_next(struct table *t)
{
    ssize_t len = getline(&t->line, &t->size, t->file);

    if (len <= 0) {
        fclose(t->file);
        free(t->line);
        return false;
    }
    if (t->line[len - 1] == '\n') len--;
    t->columns = split_at(mkv_slice(t->line, (size_t)len), '\t', t->column, COLUMNS_MAX);
    return true;
}

/* The bytes that hex stands for, in out (CELL_MAX bytes). */
static inline struct mkv_slice from_hex(struct mkv_slice hex, char *out)
{
    assert_true(hex.len / 2 <= CELL_MAX);
    assert_true(mkv_unhex((uint8_t *)out, hex.len / 2, hex));
    return mkv_slice(out, hex.len / 2);
}

static inline void assert_slice(struct mkv_slice got, struct mkv_slice want)
{
    if (!mkv_slice_eq(got, want))
        fail_msg("got \"%.*s\", want \"%.*s\"", (int)got.len, got.data, (int)want.len, want.data);
}

/* A small generator with a known sequence, so that every run is the same. */
static inline uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

#endif
