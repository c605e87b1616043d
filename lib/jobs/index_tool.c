/* mkv-index: looks into the index, writes it down and reads it back. */
#include "jobs/index_line.h"
#include "mkv/jobs.h"
#include "mkv/log.h"
#include "mkv/name.h"
#include "mkv/place.h"
#include "mkv/uri.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WHY_MAX     1024
#define WALK_BUDGET 4096
#define QUEUED_MAX  4096 /* lines of load on their way to the disk */

enum access { NO_INDEX, OPTIONAL_INDEX, READ_INDEX, WRITE_INDEX };

struct tool {
    const struct mkv_config *cfg; /* borrowed */
    struct mkv_loop *loop;        /* owned */
    struct mkv_index *index;      /* owned; NULL where none is needed or given */
    uint64_t queued;              /* load */
    uint64_t stored, buckets;
    enum mkv_err failed;          /* load: the first failure of the index */
};

static void complain(const char *format, ...) MKV_PRINTF(1, 2);

static void complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "mkv-index: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
}

static bool is_written(void)
{
    if (!fflush(stdout) && !ferror(stdout)) return true;
    complain("standard output can not be written");
    return false;
}

/* ---- keys on the command line ------------------------------------------------------- */

/* The key as typed, or decoded with -encoded; out holds MKV_KEY_MAX bytes. */
static bool key_given(const struct tool *t, const char *arg, char *out, struct mkv_slice *key)
{
    struct mkv_slice typed = mkv_slice_of(arg);
    char shown[256];
    size_t len = typed.len;

    if (len > 3 * MKV_KEY_MAX || (!t->cfg->encoded && len > MKV_KEY_MAX)) {
        complain("%s", mkv_strerror(MKV_EKEYLONG));
        return false;
    }
    char decoded[3 * MKV_KEY_MAX];
    memcpy(decoded, typed.data, len);
    if (t->cfg->encoded && !mkv_percent_decode(typed, false, decoded, &len)) {
        complain("%s: with -encoded a %% is followed by two hex digits",
                 mkv_log_bytes(shown, sizeof(shown), typed.data, typed.len));
        return false;
    }
    if (len == 0 || len > MKV_KEY_MAX) {
        complain("a key has 1 to %d bytes", MKV_KEY_MAX);
        return false;
    }
    memcpy(out, decoded, len);
    *key = mkv_slice(out, len);
    return true;
}

static void print_key(const struct tool *t, struct mkv_slice key)
{
    char encoded[3 * MKV_KEY_MAX];
    size_t len = key.len;

    if (t->cfg->encoded) len = mkv_percent_encode_path(key, encoded);
    fwrite(t->cfg->encoded ? encoded : key.data, 1, len, stdout);
    putchar('\n');
}

/* The record of the key; says so where there is none. */
static bool find_record(struct tool *t, struct mkv_slice key, struct mkv_record *rec)
{
    enum mkv_err err = mkv_index_get(t->index, key, rec, NULL, NULL);
    char shown[512];

    if (err)
        complain("%s: %s", mkv_log_bytes(shown, sizeof(shown), key.data, key.len),
                 mkv_strerror(err));
    return !err;
}

/* ---- get, dump ------------------------------------------------------------------------ */

static int run_get(struct tool *t, char **args, int nargs)
{
    char bytes[MKV_KEY_MAX];
    struct mkv_record rec;
    struct mkv_slice key;
    bool good = false;

    (void)nargs;
    if (!key_given(t, args[0], bytes, &key)) return 2;
    mkv_record_init(&rec);
    if (find_record(t, key, &rec)) {
        enum mkv_err err = index_line_write(stdout, t->index, key, &rec);

        if (err) complain("%s", mkv_strerror(err));
        good = !err && is_written();
    }
    mkv_record_clear(&rec);
    return good ? 0 : 1;
}

struct dump {
    struct tool *tool;
    struct mkv_record rec;
    bool bad;          /* a record that can not be written down */
    bool broken;       /* standard output */
};

static bool dump_one(struct mkv_slice key, const uint8_t *data, size_t len, void *arg)
{
    struct dump *d = arg;
    enum mkv_err err = mkv_record_decode(&d->rec, data, len);
    char shown[512];

    if (!err) err = index_line_write(stdout, d->tool->index, key, &d->rec);
    d->broken = err == MKV_EIO;
    if (!err || d->broken) return !d->broken;
    complain("%s: %s: left out", mkv_log_bytes(shown, sizeof(shown), key.data, key.len),
             mkv_strerror(err));
    d->bad = true;
    return true;
}

static enum mkv_err dump_buckets(struct dump *d)
{
    struct mkv_bucket b = {.name_len = 0};
    enum mkv_err err = MKV_OK;
    char shown[512];

    while (!err && !d->broken) {
        err = mkv_index_bucket_next(d->tool->index, mkv_slice(b.name, b.name_len), b.name_len > 0,
                                    &b);
        if (!err) err = index_line_write_bucket(stdout, &b);
        d->broken = err == MKV_EIO;
        if (err != MKV_ECORRUPT) continue;
        complain("the bucket %s has a name or an owner that is no text: left out",
                 mkv_log_bytes(shown, sizeof(shown), b.name, b.name_len));
        d->bad = true;
        err = MKV_OK;
    }
    return err == MKV_ENOKEY || d->broken ? MKV_OK : err; /* is_written() says so */
}

/* All within one turn of the loop: so it is one moment of the index, also while
 * a server is writing. */
static int run_dump(struct tool *t, char **args, int nargs)
{
    struct dump d = {.tool = t};
    struct mkv_walk walk;
    enum mkv_err err;

    (void)args;
    (void)nargs;
    mkv_record_init(&d.rec);
    mkv_walk_init(&walk, MKV_TABLE_RECORDS, 0, mkv_slice(NULL, 0), mkv_slice(NULL, 0));
    err = dump_buckets(&d);
    while (!err && !walk.ended && !d.broken)
        err = mkv_index_walk(t->index, &walk, WALK_BUDGET, dump_one, &d);
    mkv_record_clear(&d.rec);
    if (err) complain("%s", mkv_strerror(err));
    return !is_written() || err || d.bad ? 1 : 0;
}

/* ---- load ------------------------------------------------------------------------------- */

static void on_stored(enum mkv_err err, void *arg)
{
    struct tool *t = arg;

    t->queued--;
    if (err && !t->failed) t->failed = err;
    if (!err) t->stored++;
}

static void on_bucket_stored(enum mkv_err err, void *arg)
{
    struct tool *t = arg;

    t->queued--;
    if (err && !t->failed) t->failed = err;
    if (!err) t->buckets++;
}

static enum mkv_err store_line(struct tool *t, const struct index_line *line)
{
    const struct mkv_index_change change = {.key = mkv_slice(line->key, line->key_len),
                                            .record_op = MKV_SET,
                                            .record = &line->rec};

    return line->is_bucket ? mkv_index_bucket_put(t->index, &line->bucket, on_bucket_stored, t)
                           : mkv_index_apply(t->index, &change, on_stored, t);
}

static bool load_line(struct tool *t, struct mkv_slice line, uint64_t number)
{
    char why[WHY_MAX];
    struct index_line read;
    enum mkv_err err;

    if (line.len > INDEX_LINE_MAX) {
        complain("line %" PRIu64 ": longer than any record", number);
        return false;
    }
    mkv_record_init(&read.rec);
    err = index_line_read(t->index, line, &read, why, sizeof(why));
    if (!err) {
        err = store_line(t, &read);
        if (err) snprintf(why, sizeof(why), "%s", mkv_strerror(err));
    }
    mkv_record_clear(&read.rec);
    if (err) complain("line %" PRIu64 ": %s", number, why);
    t->queued += !err;
    return !err;
}

static bool load_lines(struct tool *t)
{
    uint64_t number = 0;
    bool good = true;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    while (good && !t->failed && (len = getline(&line, &size, stdin)) >= 0) {
        number++;
        if (len == 1 && line[0] == '\n') continue;
        good = load_line(t, mkv_slice(line, (size_t)len), number);
        while (t->queued >= QUEUED_MAX) mkv_loop_turn(t->loop);
    }
    if (ferror(stdin)) {
        complain("standard input can not be read");
        good = false;
    }
    free(line);
    return good;
}

/* Says so where there is something that would be added to. */
static bool may_load(const struct tool *t)
{
    struct mkv_index_stats stats;
    uint64_t records;

    mkv_index_stats(t->index, &stats);
    records = stats.live + stats.unlinked;
    if (t->cfg->force || !(records + stats.buckets)) return true;
    complain("%s holds %" PRIu64 " %s already: give an empty or a new directory, or -force to "
             "add to these and overwrite those of the same %s",
             t->cfg->db, records ? records : stats.buckets, records ? "records" : "buckets",
             records ? "key" : "name");
    return false;
}

static int run_load(struct tool *t, char **args, int nargs)
{
    char buckets[64] = "";
    bool good;

    (void)args;
    (void)nargs;
    if (!may_load(t)) return 1;
    good = load_lines(t);
    while (t->queued) mkv_loop_turn(t->loop);
    if (t->failed) complain("%s", mkv_strerror(t->failed));
    if (t->buckets) snprintf(buckets, sizeof(buckets), " and %" PRIu64 " buckets", t->buckets);
    fprintf(stderr, "mkv-index: %" PRIu64 " records%s loaded%s\n", t->stored, buckets,
            good && !t->failed ? "" : "; the rest was not: load again, with -force");
    return good && !t->failed ? 0 : 1;
}

/* ---- stat, backup ------------------------------------------------------------------------- */

static void print_stat(const struct mkv_index_stats *s, const char *holder)
{
    printf("live        %" PRIu64 "\nunlinked    %" PRIu64 "\nwriting     %" PRIu64
           "\ngarbage     %" PRIu64 "\nbuckets     %" PRIu64 "\nuploads     %" PRIu64
           "\nbytes       %" PRIu64 "\nin use by   %s\n",
           s->live, s->unlinked, s->writing, s->garbage, s->buckets, s->uploads, s->bytes_used,
           holder);
}

static void print_stat_json(const struct mkv_index_stats *s, const char *holder)
{
    char text[6 * WHY_MAX];
    size_t len = mkv_json_escape(mkv_slice_of(holder), text);

    printf("{\"live\":%" PRIu64 ",\"unlinked\":%" PRIu64 ",\"writing\":%" PRIu64
           ",\"garbage\":%" PRIu64 ",\"buckets\":%" PRIu64 ",\"uploads\":%" PRIu64
           ",\"bytes\":%" PRIu64 ",\"holder\":\"%.*s\",\"volumes\":[",
           s->live, s->unlinked, s->writing, s->garbage, s->buckets, s->uploads, s->bytes_used,
           (int)len, text);
}

static int run_stat(struct tool *t, char **args, int nargs)
{
    char holder[WHY_MAX] = "", text[6 * MKV_VOLUME_NAME_MAX];
    struct mkv_index_stats stats;
    bool json = t->cfg->json;
    enum mkv_err err;

    (void)args;
    (void)nargs;
    mkv_index_stats(t->index, &stats);
    err = mkv_index_holder(t->cfg->db, holder, sizeof(holder));
    if (json)
        print_stat_json(&stats, holder);
    else
        print_stat(&stats, err ? "nobody" : holder[0] ? holder : "a job");
    for (uint32_t id = 0; id < mkv_index_volume_count(t->index); id++) {
        struct mkv_slice name = mkv_index_volume_name(t->index, id);
        size_t len = mkv_json_escape(name, text);

        if (json)
            printf("%s\"%.*s\"", id ? "," : "", (int)len, text);
        else
            printf("volume %-4" PRIu32 " %.*s\n", id, (int)name.len, name.data);
    }
    if (json) printf("]}\n");
    return is_written() ? 0 : 1;
}

static int run_backup(struct tool *t, char **args, int nargs)
{
    char why[WHY_MAX];
    enum mkv_err err = mkv_index_backup(t->index, args[0], why, sizeof(why));

    (void)nargs;
    if (err) complain("%s", why);
    return err ? 1 : 0;
}

/* ---- path, key ---------------------------------------------------------------------------- */

static void print_file(struct mkv_slice volume, unsigned subvolume, const char *path)
{
    char text[MKV_REPLICA_TEXT_MAX];
    size_t len = mkv_replica_text(text, volume, subvolume);

    printf("http://%.*s%s\n", (int)len, text, path);
}

static void print_placed(const struct tool *t, struct mkv_slice key, const char *path)
{
    struct mkv_replica ordered[MKV_VOLUMES_MAX];

    mkv_place(key, t->cfg->volumes, t->cfg->nvolumes, (unsigned)t->cfg->subvolumes, ordered);
    for (size_t i = 0; i < t->cfg->replicas; i++)
        print_file(t->cfg->volumes[ordered[i].volume], ordered[i].subvolume, path);
}

static void print_recorded(const struct tool *t, const struct mkv_record *rec, const char *path)
{
    for (unsigned i = 0; i < rec->nreplicas; i++)
        print_file(mkv_index_volume_name(t->index, rec->replicas[i].volume),
                   rec->replicas[i].subvolume, path);
}

static int run_path(struct tool *t, char **args, int nargs)
{
    char bytes[MKV_KEY_MAX], path[MKV_PATH_MAX];
    unsigned long long generation = 0;
    struct mkv_record rec;
    struct mkv_slice key;
    int status = 1;

    if (!key_given(t, args[0], bytes, &key)) return 2;
    if (nargs > 1 && !mkv_slice_number(mkv_slice_of(args[1]), MKV_GENERATION_MAX, &generation)) {
        complain("%s: a generation is a whole number", args[1]);
        return 2;
    }
    mkv_record_init(&rec);
    if (t->index && !find_record(t, key, &rec)) goto out;
    mkv_key_path(path, key, nargs > 1 ? generation : rec.generation);
    if (t->cfg->nvolumes)
        print_placed(t, key, path);
    else if (t->index)
        print_recorded(t, &rec, path);
    else
        printf("%s\n", path);
    status = is_written() ? 0 : 1;
out:
    mkv_record_clear(&rec);
    return status;
}

/* A path on a volume, a URL, or a path in a file system that ends in one: the
 * MD5 in it tells where it begins. */
static int run_key(struct tool *t, char **args, int nargs)
{
    char key[MKV_KEY_MAX];
    uint64_t generation;
    size_t len;

    (void)nargs;
    for (const char *at = strchr(args[0], '/'); at; at = strchr(at + 1, '/')) {
        if (!mkv_path_key(mkv_slice_of(at), key, &len, &generation)) continue;
        print_key(t, mkv_slice(key, len));
        if (generation) fprintf(stderr, "mkv-index: generation %" PRIu64 "\n", generation);
        return is_written() ? 0 : 1;
    }
    complain("%s is not the path of a value's file", args[0]);
    return 1;
}

/* ---- the command ---------------------------------------------------------------------------- */

static const struct command {
    const char *name;
    enum access access;
    int least, most; /* arguments */
    int (*run)(struct tool *t, char **args, int nargs);
} commands[] = {
    {"get", READ_INDEX, 1, 1, run_get},       {"dump", READ_INDEX, 0, 0, run_dump},
    {"load", WRITE_INDEX, 0, 0, run_load},    {"stat", READ_INDEX, 0, 0, run_stat},
    {"backup", READ_INDEX, 1, 1, run_backup}, {"path", OPTIONAL_INDEX, 1, 2, run_path},
    {"key", NO_INDEX, 1, 1, run_key},
};

static const struct command *command_given(const struct mkv_config *cfg)
{
    const char *name = cfg->nargs ? cfg->args[0] : "";

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command *c = &commands[i];

        if (strcmp(c->name, name) != 0) continue;
        if (cfg->nargs - 1 < c->least || cfg->nargs - 1 > c->most) {
            complain("%s takes %s: see mkv-index -help", name,
                     !c->most       ? "no argument"
                     : c->most == 1 ? "one argument"
                                    : "one or two arguments");
            return NULL;
        }
        if (c->access >= READ_INDEX && !cfg->db) {
            complain("-db is missing: give the directory of the index");
            return NULL;
        }
        return c;
    }
    if (*name)
        complain("%s: no such command: see mkv-index -help", name);
    else
        complain("a command is missing: get, dump, load, stat, backup, path or key "
                 "(see mkv-index -help)");
    return NULL;
}

static enum mkv_err open_index(struct tool *t, enum access access)
{
    const struct mkv_index_options opt = {
        .dir = t->cfg->db, .map_size = t->cfg->db_size, .read_only = access != WRITE_INDEX};
    char why[WHY_MAX];
    enum mkv_err err;

    if (access == NO_INDEX || (access == OPTIONAL_INDEX && !t->cfg->db)) return MKV_OK;
    err = mkv_index_open(&t->index, t->loop, &opt, why, sizeof(why));
    if (err) complain("%s", why);
    return err;
}

int mkv_index_run(const struct mkv_config *cfg)
{
    const struct command *command = command_given(cfg);
    struct tool t = {.cfg = cfg};
    enum mkv_err err;
    int status = 1;

    if (!command) return 2;
    err = mkv_loop_open(&t.loop);
    if (err) complain("%s", mkv_strerror(err));
    if (!err) err = open_index(&t, command->access);
    if (!err) status = command->run(&t, cfg->args + 1, cfg->nargs - 1);
    mkv_index_close(t.index);
    mkv_loop_close(t.loop);
    return status;
}
