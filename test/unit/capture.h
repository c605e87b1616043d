/* test/unit/capture.h - what is written to a descriptor meanwhile. */
#ifndef TEST_CAPTURE_H
#define TEST_CAPTURE_H

#include "table.h"

#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#define CAPTURE_MAX (64 * 1024)

struct capture {
    int fd, saved;
    FILE *file; /* owned until capture_end */
    char text[CAPTURE_MAX];
    size_t len;
};

static inline void capture_begin(struct capture *c, int fd)
{
    fflush(NULL);
    c->fd = fd;
    c->saved = dup(fd);
    c->file = tmpfile();
    if (c->saved < 0 || !c->file || dup2(fileno(c->file), fd) < 0) fail_msg("can not capture");
}

/* Fills text, NUL-ended. */
static inline void capture_end(struct capture *c)
{
    fflush(NULL);
    dup2(c->saved, c->fd);
    close(c->saved);
    rewind(c->file);
    c->len = fread(c->text, 1, sizeof(c->text) - 1, c->file);
    c->text[c->len] = '\0';
    fclose(c->file);
}

#endif
