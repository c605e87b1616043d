#include "index/token.h"

#include "mkv/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#define SCHEME "Mkv-Job "

static bool token_path(char path[PATH_MAX], const char *dir, const char *suffix)
{
    int n = snprintf(path, PATH_MAX, "%s/" MKV_TOKEN_FILE "%s", dir, suffix);

    return n > 0 && n < PATH_MAX;
}

/* Under another name first: nobody may ever read half of one. */
static int write_token(const struct mkv_token *t, const char *path, const char *new_path)
{
    int fd;
    bool written;

    unlink(new_path);
    fd = open(new_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    written = write(fd, t->text, MKV_TOKEN_LEN) == MKV_TOKEN_LEN;
    if (close(fd) || !written) return -1;
    return rename(new_path, path);
}

enum mkv_err mkv_token_make(struct mkv_token *out, const char *dir, char *why, size_t why_size)
{
    uint8_t random[MKV_TOKEN_LEN / 2];
    char path[PATH_MAX], new_path[PATH_MAX];

    out->text[0] = '\0';
    errno = ENAMETOOLONG;
    if (!token_path(path, dir, "") || !token_path(new_path, dir, ".new") ||
        getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        goto fail;
    mkv_hex(out->text, random, sizeof(random));
    if (write_token(out, path, new_path)) goto fail;
    return MKV_OK;
fail:
    snprintf(why, why_size, "can not write %s/" MKV_TOKEN_FILE ": %s: check -db and who owns it",
             dir, strerror(errno));
    return MKV_EIO;
}

void mkv_token_read(struct mkv_token *out, const char *dir)
{
    char path[PATH_MAX];
    int fd = token_path(path, dir, "") ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = -1;

    if (fd >= 0) {
        n = read(fd, out->text, MKV_TOKEN_LEN);
        close(fd);
    }
    out->text[n == MKV_TOKEN_LEN ? MKV_TOKEN_LEN : 0] = '\0';
}

void mkv_token_header(const struct mkv_token *t, char out[MKV_TOKEN_HEADER_MAX])
{
    snprintf(out, MKV_TOKEN_HEADER_MAX, SCHEME "%s", t->text);
}

bool mkv_token_matches(const struct mkv_token *t, struct mkv_slice value)
{
    static const size_t scheme = sizeof(SCHEME) - 1;

    return t->text[0] && value.len == scheme + MKV_TOKEN_LEN &&
           mkv_slice_begins(value, MKV_SLICE(SCHEME)) &&
           CRYPTO_memcmp(value.data + scheme, t->text, MKV_TOKEN_LEN) == 0;
}
