#include "api/s3_keys.h"

#include "api/s3_canonical.h"
#include "api/s3_name.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct s3_keys {
    char *text; /* owned: every slice points into it */
    size_t text_len;
    struct s3_key *keys; /* owned; in order of their access keys */
    size_t nkeys;
    struct s3_grant *grants; /* owned */
    size_t ngrants;
};

static int by_access(const void *a, const void *b)
{
    const struct s3_key *x = a, *y = b;

    return mkv_slice_cmp(x->access, y->access);
}

/* ---- one line ------------------------------------------------------------------ */

static bool next_word(struct mkv_slice *rest, struct mkv_slice *word)
{
    size_t from = 0, to;

    while (from < rest->len && strchr(" \t\r", rest->data[from]))
        from++;
    for (to = from; to < rest->len && !strchr(" \t\r", rest->data[to]); to++)
        ;
    *word = mkv_slice(rest->data + from, to - from);
    *rest = mkv_slice(rest->data + to, rest->len - to);
    return word->len > 0;
}

static bool printable(struct mkv_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= 0x20 || s.data[i] == 0x7f) return false;
    return true;
}

static const char *parse_grant(struct mkv_slice word, struct s3_grant *g)
{
    const char *colon = memchr(word.data, ':', word.len);
    struct mkv_slice right = MKV_SLICE("rw");

    g->bucket = word;
    if (colon) {
        g->bucket.len = (size_t)(colon - word.data);
        right = mkv_slice(colon + 1, word.len - g->bucket.len - 1);
    }
    g->may_write = mkv_slice_eq(right, MKV_SLICE("rw"));
    if (!g->may_write && !mkv_slice_eq(right, MKV_SLICE("r"))) return "a bucket takes :r or :rw";
    if (!g->bucket.len || g->bucket.len > S3_BUCKET_MAX) return "a bucket's name has 1 to 63 bytes";
    if (!printable(g->bucket)) return "a bucket's name holds a control character";
    return NULL;
}

/* The grants are counted first: word by word, at most one for each. */
static const char *parse_line(struct s3_keys *t, struct mkv_slice line)
{
    struct s3_key *k = &t->keys[t->nkeys];
    struct mkv_slice word;
    const char *why;

    if (!next_word(&line, &k->access) || k->access.data[0] == '#') return NULL;
    if (k->access.len > S3_ACCESS_MAX) return "an access key has at most 128 bytes";
    if (!next_word(&line, &k->secret)) return "an access key needs a secret behind it";
    if (k->secret.len < S3_SECRET_MIN || k->secret.len > S3_SECRET_MAX)
        return "a secret has 8 to 128 bytes";
    if (!printable(k->access) || !printable(k->secret))
        return "an access key and a secret hold printable ASCII only";
    k->grants = t->grants + t->ngrants;
    k->ngrants = 0;
    while (next_word(&line, &word)) {
        if (word.data[0] == '#') break;
        if (k->ngrants == S3_GRANTS_MAX) return "more than 1000 buckets";
        why = parse_grant(word, &t->grants[t->ngrants]);
        if (why) return why;
        t->ngrants++;
        k->ngrants++;
    }
    t->nkeys++;
    return NULL;
}

/* ---- the whole text --------------------------------------------------------------- */

static size_t count(struct mkv_slice text, const char *of)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] && strchr(of, text.data[i]) != NULL;
    return n;
}

static bool make_room(struct s3_keys *t, struct mkv_slice text)
{
    size_t lines = count(text, "\n") + 1, words = count(text, " \t\r") + 1;

    if (lines > S3_KEYS_MAX) lines = S3_KEYS_MAX;
    t->text = malloc(text.len ? text.len : 1);
    t->keys = calloc(lines + 1, sizeof(*t->keys)); /* one more: where a line is tried */
    t->grants = calloc(words, sizeof(*t->grants));
    if (!t->text || !t->keys || !t->grants) return false;
    if (text.len) memcpy(t->text, text.data, text.len);
    t->text_len = text.len;
    return true;
}

static bool parse_lines(struct s3_keys *t, char why[S3_KEYS_ERROR_MAX])
{
    struct mkv_slice rest = mkv_slice(t->text, t->text_len), line;
    const char *problem;

    for (unsigned number = 1; s3_list_next(&rest, '\n', &line); number++) {
        problem = memchr(line.data, '\0', line.len) ? "a NUL byte" : parse_line(t, line);
        if (!problem && t->nkeys > S3_KEYS_MAX) problem = "more than 10000 keys";
        if (!problem) continue;
        snprintf(why, S3_KEYS_ERROR_MAX, "line %u: %s", number, problem);
        return false;
    }
    if (!t->nkeys) {
        snprintf(why, S3_KEYS_ERROR_MAX, "no key in it");
        return false;
    }
    qsort(t->keys, t->nkeys, sizeof(*t->keys), by_access);
    for (size_t i = 1; i < t->nkeys; i++) {
        if (by_access(&t->keys[i - 1], &t->keys[i]) != 0) continue;
        snprintf(why, S3_KEYS_ERROR_MAX, "the access key %.*s stands there twice",
                 (int)t->keys[i].access.len, t->keys[i].access.data);
        return false;
    }
    return true;
}

bool s3_keys_parse(struct s3_keys **out, struct mkv_slice text, char why[S3_KEYS_ERROR_MAX])
{
    struct s3_keys *t = NULL;
    bool ok = false;

    snprintf(why, S3_KEYS_ERROR_MAX, "out of memory");
    if (text.len > S3_KEYS_FILE_MAX) {
        snprintf(why, S3_KEYS_ERROR_MAX, "longer than 1 MB");
        goto out;
    }
    t = calloc(1, sizeof(*t));
    if (!t || !make_room(t, text) || !parse_lines(t, why)) goto out;
    *out = t;
    t = NULL;
    ok = true;
out:
    s3_keys_close(t);
    return ok;
}

void s3_keys_close(struct s3_keys *keys)
{
    if (!keys) return;
    if (keys->text) OPENSSL_cleanse(keys->text, keys->text_len);
    free(keys->text);
    free(keys->keys);
    free(keys->grants);
    free(keys);
}

/* ---- the file ---------------------------------------------------------------------- */

/* Reads at most max bytes; -1 with errno set. */
static ssize_t read_all(int fd, char *data, size_t max)
{
    size_t len = 0;

    while (len < max) {
        ssize_t n = read(fd, data + len, max - len);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

bool s3_keys_read(struct s3_keys **out, const char *path, char why[S3_KEYS_ERROR_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe may not block us */
    char *text = NULL;
    bool ok = false;
    struct stat st;
    ssize_t len;

    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(why, S3_KEYS_ERROR_MAX, "%s", strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        snprintf(why, S3_KEYS_ERROR_MAX, "not a plain file");
        goto out;
    }
    if (st.st_mode & (S_IRWXO | S_IWGRP)) {
        snprintf(why, S3_KEYS_ERROR_MAX,
                 "others may read or change it (mode %03o): chmod 600 first",
                 (unsigned)st.st_mode & 0777);
        goto out;
    }
    text = malloc(S3_KEYS_FILE_MAX + 1);
    len = text ? read_all(fd, text, S3_KEYS_FILE_MAX + 1) : -1;
    if (len < 0) {
        snprintf(why, S3_KEYS_ERROR_MAX, "%s", strerror(errno));
        goto out;
    }
    ok = s3_keys_parse(out, mkv_slice(text, (size_t)len), why);
    OPENSSL_cleanse(text, (size_t)len);
out:
    free(text);
    if (fd >= 0) close(fd);
    return ok;
}

/* ---- questions ----------------------------------------------------------------------- */

size_t s3_keys_count(const struct s3_keys *keys)
{
    return keys->nkeys;
}

const struct s3_key *s3_keys_find(const struct s3_keys *keys, struct mkv_slice access)
{
    struct s3_key wanted = {.access = access};

    return bsearch(&wanted, keys->keys, keys->nkeys, sizeof(*keys->keys), by_access);
}

bool s3_keys_secret_of(struct mkv_slice access, struct mkv_slice *secret, void *arg)
{
    const struct s3_key *key = s3_keys_find(arg, access);

    if (key) *secret = key->secret;
    return key != NULL;
}

bool s3_keys_allow(const struct s3_key *key, struct mkv_slice bucket, enum s3_wish wish)
{
    if (!key->ngrants) return true;
    if (wish == S3_WISH_BUCKETS) return false;
    for (size_t i = 0; i < key->ngrants; i++)
        if (mkv_slice_eq(key->grants[i].bucket, bucket))
            return wish == S3_WISH_READ || key->grants[i].may_write;
    return false;
}
