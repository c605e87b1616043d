/* bench/fill.c - an index, and volumes, full of keys, without the master.
 *
 *   fill -n 100000 -d DIR/index -v 127.0.0.1:3001,127.0.0.1:3002,127.0.0.1:3003
 *   ... -f DIR/volume1,DIR/volume2,DIR/volume3 -k keys.txt -p paths.txt
 *
 * Writes the keys PREFIX0000000 and so on straight into the index; with -D 1000
 * PREFIX0000000/0000000 and so on, a thousand in each directory.  With -f the
 * values are written too, where the master would have put them; -k and -p then
 * list, line by line, each key and the path of its file on the first volume.
 * The volumes' directories must be there, and the master must not run. */
#include "common/tool.h"

#include "mkv/digest.h"
#include "mkv/index.h"
#include "mkv/loop.h"
#include "mkv/name.h"
#include "mkv/place.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define VOLUMES_MAX 16
#define QUEUED_MAX  20000 /* index writes under way: bounds the memory */
#define VALUE_MAX   65536

struct fill {
    const char *db, *prefix;
    uint64_t count;
    uint64_t directory; /* keys in each; 0: there are none */
    unsigned replicas, subvolumes;
    struct mkv_slice names[VOLUMES_MAX];
    unsigned nvolumes;
    struct mkv_slice dirs[VOLUMES_MAX]; /* of the volumes, in the same order; none without -f */
    unsigned ndirs;
    FILE *keys, *paths; /* owned; NULL where not wanted                       */
    size_t value_len;
    char *value; /* owned                                              */
    uint8_t value_md5[MKV_MD5_LEN];
    int64_t now;
    struct mkv_loop *loop;     /* owned                                              */
    struct mkv_index *index;   /* owned                                              */
    uint32_t ids[VOLUMES_MAX]; /* of the volumes in the index                        */
    uint64_t queued;           /* index writes that have not called back             */
};

/* ---- files ------------------------------------------------------------------ */

/* The missing directories above path, one after the other. */
static void make_parents(char *path, size_t skip)
{
    for (char *slash = strchr(path + skip, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) && errno != EEXIST) tool_die("mkdir %s: %s", path, strerror(errno));
        *slash = '/';
    }
}

static void write_file(char *path, size_t skip, const char *value, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 && errno == ENOENT) {
        make_parents(path, skip);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    }
    if (fd < 0 || write(fd, value, len) != (ssize_t)len || close(fd))
        tool_die("%s: %s", path, strerror(errno));
}

/* at: a replica whose volume is still the place in -v. */
static void write_replica(struct fill *f, const struct mkv_replica *at, const char *name)
{
    struct mkv_slice dir = f->dirs[at->volume];
    char path[PATH_MAX], under[16] = "";
    int n;

    if (at->subvolume != MKV_NO_SUBVOLUME)
        snprintf(under, sizeof(under), "/sv%02X", (unsigned)at->subvolume);
    n = snprintf(path, sizeof(path), "%.*s%s%s", (int)dir.len, dir.data, under, name);
    if (n < 0 || (size_t)n >= sizeof(path)) tool_die("the path of a volume is too long");
    write_file(path, dir.len + 1, f->value, f->value_len);
    if (f->paths && at->volume == 0) fprintf(f->paths, "%s%s\n", under, name);
}

/* ---- keys ------------------------------------------------------------------- */

static void on_applied(enum mkv_err err, void *arg)
{
    struct fill *f = arg;

    if (err) tool_die("index: %s", mkv_strerror(err));
    f->queued--;
}

static void add_record(struct fill *f, struct mkv_slice key, const struct mkv_replica *placed)
{
    struct mkv_record rec;
    struct mkv_index_change change = {.key = key, .record_op = MKV_SET, .record = &rec};
    enum mkv_err err;

    mkv_record_init(&rec);
    rec.size = (int64_t)f->value_len;
    rec.mtime = f->now;
    rec.has_md5 = true;
    memcpy(rec.md5, f->value_md5, sizeof(rec.md5));
    rec.nreplicas = f->replicas;
    for (unsigned i = 0; i < f->replicas; i++) {
        rec.replicas[i] = placed[i];
        rec.replicas[i].volume = f->ids[placed[i].volume];
    }
    err = mkv_index_apply(f->index, &change, on_applied, f);
    if (err) tool_die("index: %s", mkv_strerror(err));
    f->queued++;
}

static struct mkv_slice name_key(const struct fill *f, uint64_t i, char *text, size_t size)
{
    unsigned long long number = i;
    int n = f->directory ? snprintf(text, size, "%s%07llu/%07llu", f->prefix,
                                    number / f->directory, number % f->directory)
                         : snprintf(text, size, "%s%07llu", f->prefix, number);

    if (n < 0 || (size_t)n >= size) tool_die("the prefix is too long");
    return mkv_slice(text, (size_t)n);
}

static void add_key(struct fill *f, uint64_t i)
{
    struct mkv_replica placed[VOLUMES_MAX];
    char text[128], name[MKV_PATH_MAX];
    struct mkv_slice key = name_key(f, i, text, sizeof(text));

    mkv_place(key, f->names, f->nvolumes, f->subvolumes, placed);
    if (f->ndirs) {
        mkv_key_path(name, key, 0);
        for (unsigned r = 0; r < f->replicas; r++)
            write_replica(f, &placed[r], name);
        if (f->keys) fprintf(f->keys, "%s\n", text);
    }
    add_record(f, key, placed);
}

static void fill_index(struct fill *f)
{
    for (uint64_t i = 0; i < f->count; i++) {
        add_key(f, i);
        while (f->queued >= QUEUED_MAX)
            mkv_loop_turn(f->loop);
    }
    while (f->queued)
        mkv_loop_turn(f->loop);
}

/* ---- the program ------------------------------------------------------------ */

static void open_index(struct fill *f)
{
    struct mkv_index_options opt = {.dir = f->db, .address = "fill"};
    char why[512];

    if (mkv_loop_open(&f->loop)) tool_die("no event loop");
    if (mkv_index_open(&f->index, f->loop, &opt, why, sizeof(why))) tool_die("%s", why);
    for (unsigned i = 0; i < f->nvolumes; i++)
        if (mkv_index_volume_id(f->index, f->names[i], &f->ids[i]))
            tool_die("the index takes no volume");
}

static void fill_clear(struct fill *f)
{
    mkv_index_close(f->index);
    mkv_loop_close(f->loop);
    free(f->value);
    if (f->keys && fclose(f->keys)) tool_die("-k: %s", strerror(errno));
    if (f->paths && fclose(f->paths)) tool_die("-p: %s", strerror(errno));
}

/* "a,b,c" into slices of it. */
static unsigned split(const char *option, const char *text, struct mkv_slice *out)
{
    unsigned n = 0;

    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, ',');
        if (n == VOLUMES_MAX) tool_die("%s takes at most %d names", option, VOLUMES_MAX);
        out[n++] = mkv_slice(text, (size_t)(end - text));
    }
    return n;
}

static FILE *list_file(const char *path)
{
    FILE *file = fopen(path, "we");

    if (!file) tool_die("%s: %s", path, strerror(errno));
    return file;
}

static bool parse(struct fill *f, int argc, char **argv)
{
    int opt;

    while ((opt = getopt(argc, argv, "n:d:v:f:k:p:x:D:r:S:s:")) != -1) {
        switch (opt) {
        case 'n': f->count = tool_number("-n", optarg, 10000000); break;
        case 'd': f->db = optarg; break;
        case 'v': f->nvolumes = split("-v", optarg, f->names); break;
        case 'f': f->ndirs = split("-f", optarg, f->dirs); break;
        case 'k': f->keys = list_file(optarg); break;
        case 'p': f->paths = list_file(optarg); break;
        case 'x': f->prefix = optarg; break;
        case 'D': f->directory = tool_number("-D", optarg, 10000000); break;
        case 'r': f->replicas = (unsigned)tool_number("-r", optarg, MKV_REPLICAS_MAX); break;
        case 'S': f->subvolumes = (unsigned)tool_number("-S", optarg, MKV_SUBVOLUMES_MAX); break;
        case 's': f->value_len = tool_number("-s", optarg, VALUE_MAX); break;
        default: return false;
        }
    }
    return optind == argc && f->db && f->count && f->replicas && f->subvolumes &&
           f->nvolumes >= f->replicas && (f->ndirs == 0 || f->ndirs == f->nvolumes);
}

int main(int argc, char **argv)
{
    struct fill f = {.prefix = "/key-", .replicas = 3, .subvolumes = 10, .value_len = 100};
    uint64_t began = tool_now();

    if (!parse(&f, argc, argv)) {
        fprintf(stderr,
                "usage: fill -n COUNT -d INDEX_DIR -v VOLUME,... [-f VOLUME_DIR,... [-k KEYS_FILE] "
                "[-p PATHS_FILE]]\n            [-x PREFIX] [-D KEYS_PER_DIRECTORY] [-r REPLICAS] "
                "[-S SUBVOLUMES] [-s VALUE_BYTES]\n");
        return 2;
    }
    umask(022); /* the volumes' nginx may run as another user */
    f.now = (int64_t)time(NULL);
    f.value = tool_alloc(f.value_len + 1, 1);
    memset(f.value, 'v', f.value_len);
    mkv_md5(mkv_slice(f.value, f.value_len), f.value_md5);
    open_index(&f);
    fill_index(&f);
    fill_clear(&f);
    printf("{\"keys\":%llu,\"seconds\":%.2f}\n", (unsigned long long)f.count,
           tool_seconds(tool_now() - began));
    return 0;
}
