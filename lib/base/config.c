#include "mkv/config.h"

#include "mkv/limits.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum kind { TEXT, NUMBER, SWITCH, DURATION, SIZE };

#define ALL    (MKV_PROGRAM_SERVER | MKV_PROGRAM_REBUILD | MKV_PROGRAM_REBALANCE | MKV_PROGRAM_VERIFY)
#define WALKS  (MKV_PROGRAM_REBUILD | MKV_PROGRAM_REBALANCE | MKV_PROGRAM_VERIFY)

struct flag {
    const char *name;
    enum kind kind;
    size_t where;          /* in struct mkv_config */
    const char *fallback;  /* the default, as it would be typed; NULL: none */
    unsigned programs;
    uint64_t min, max;     /* for numbers */
    const char *help;
};

#define AT(field) offsetof(struct mkv_config, field)

/* One with another default for some programs has a row for each. */
static const struct flag flags[] = {
    {"db", TEXT, AT(db), NULL, ALL | MKV_PROGRAM_INDEX, 0, 0, "directory of the index; made if absent"},
    {"volumes", TEXT, AT(volumes_text), NULL, ALL | MKV_PROGRAM_INDEX, 0, 0,
     "volume servers, separated by commas: host:port or host:port/dir"},
    {"replicas", NUMBER, AT(replicas), "3", ALL | MKV_PROGRAM_INDEX, 1, MKV_REPLICAS_MAX,
     "copies of each value"},
    {"subvolumes", NUMBER, AT(subvolumes), "10", ALL | MKV_PROGRAM_INDEX, 1, MKV_SUBVOLUMES_MAX,
     "disks (svXX directories) per volume server"},
    {"port", NUMBER, AT(port), "3000", MKV_PROGRAM_SERVER, 0, 65535, "data port (0: any free one)"},
    {"bind", TEXT, AT(bind), NULL, MKV_PROGRAM_SERVER, 0, 0, "address to listen on (default: all)"},
    {"fallback", TEXT, AT(fallback), NULL, MKV_PROGRAM_SERVER, 0, 0,
     "host to redirect readers of a missing key to"},
    {"protect", SWITCH, AT(protect), "false", MKV_PROGRAM_SERVER, 0, 0, "DELETE needs UNLINK first"},
    {"md5sum", SWITCH, AT(md5sum), "true", ALL & ~MKV_PROGRAM_REBUILD, 0, 0,
     "compute and keep the MD5 of values"},
    {"md5sum", SWITCH, AT(md5sum), "false", MKV_PROGRAM_REBUILD, 0, 0,
     "read a copy of every value for its MD5"},
    {"voltimeout", DURATION, AT(voltimeout_ms), "1s", ALL, 1, 3600000,
     "how long a volume may take to connect or to answer"},
    {"probe-ttl", DURATION, AT(probe_ttl_ms), "1s", MKV_PROGRAM_SERVER, 0, 3600000,
     "a replica found within this time is not asked again (0: always ask)"},
    {"min-replicas", NUMBER, AT(min_replicas), "0", MKV_PROGRAM_SERVER, 0, MKV_REPLICAS_MAX,
     "accept a PUT with at least this many copies (0: as -replicas)"},
    {"admin", TEXT, AT(admin), NULL, MKV_PROGRAM_SERVER, 0, 0,
     "ADDR:PORT for /healthz and /metrics (default: off)"},
    {"db-size", SIZE, AT(db_size), "1T", ALL | MKV_PROGRAM_INDEX, 1 << 20, UINT64_C(1) << 46,
     "most bytes the index may grow to; address space, not disk"},
    {"keys", TEXT, AT(keys), NULL, MKV_PROGRAM_SERVER, 0, 0,
     "file of access keys: every request must then be signed (default: off)"},
    {"s3-port", NUMBER, AT(s3_port), "0", MKV_PROGRAM_SERVER, 0, 65535,
     "port where every request is S3 (0: none; the data port takes both)"},
    {"s3-domain", TEXT, AT(s3_domain), NULL, MKV_PROGRAM_SERVER, 0, 0,
     "take the bucket from hosts called BUCKET.DOMAIN"},
    {"s3-region", TEXT, AT(s3_region), "mkv", MKV_PROGRAM_SERVER, 0, 0,
     "the region's name that S3 clients are shown; any is accepted"},
    {"s3-redirect", TEXT, AT(s3_redirect), "never", MKV_PROGRAM_SERVER, 0, 0,
     "send S3 readers to the volumes: never, presigned or always"},
    {"spool", TEXT, AT(spool), NULL, MKV_PROGRAM_SERVER | MKV_PROGRAM_VERIFY, 0, 0,
     "where the parts of multipart uploads wait (default: in -db)"},
    {"multipart-expiry", DURATION, AT(multipart_expiry_ms), "168h", MKV_PROGRAM_SERVER, 1000,
     UINT64_C(315360000000), "age at which an unfinished multipart upload is removed"},
    {"jobs", NUMBER, AT(jobs), "32", MKV_PROGRAM_REBALANCE | MKV_PROGRAM_VERIFY, 1, 4096,
     "requests under way at once"},
    {"jobs", NUMBER, AT(jobs), "128", MKV_PROGRAM_REBUILD, 1, 4096,
     "listings under way at once, at most; with -md5sum a quarter as many values"},
    {"json", SWITCH, AT(json), "false", WALKS | MKV_PROGRAM_INDEX, 0, 0,
     "print the summary as JSON"},
    {"dry-run", SWITCH, AT(dry_run), "false", MKV_PROGRAM_REBALANCE | MKV_PROGRAM_VERIFY, 0, 0,
     "say what would be done, change nothing"},
    {"fresh", SWITCH, AT(fresh), "false", MKV_PROGRAM_REBUILD, 0, 0,
     "ignore what the old index knows"},
    {"deep", SWITCH, AT(deep), "false", MKV_PROGRAM_VERIFY, 0, 0, "read every replica and check its MD5"},
    {"repair", SWITCH, AT(repair), "false", MKV_PROGRAM_VERIFY, 0, 0,
     "make missing and damaged replicas anew from a good one"},
    {"orphans", SWITCH, AT(orphans), "false", MKV_PROGRAM_VERIFY, 0, 0,
     "look for files that no record names (with -repair: delete them)"},
    {"force", SWITCH, AT(force), "false", MKV_PROGRAM_INDEX, 0, 0,
     "load: also into an index that holds records or buckets"},
    {"encoded", SWITCH, AT(encoded), "false", MKV_PROGRAM_INDEX, 0, 0,
     "keys are given and printed percent-encoded, as in a URL"},
    {"v", SWITCH, AT(verbose), "false", ALL, 0, 0,
     "a line per request and every state change, with its reason"},
};

#define FLAGS (sizeof(flags) / sizeof(flags[0]))

static const struct program {
    enum mkv_program program;
    const char *name, *command; /* of its own; of the original's "mkv ... COMMAND" */
    const char *does;
    const char *usage; /* what follows the name; NULL: that of a program with volumes */
} programs[] = {
    {MKV_PROGRAM_SERVER, "mkv-server", "server", "the master: takes, finds, lists and deletes values",
     NULL},
    {MKV_PROGRAM_REBUILD, "mkv-rebuild", "rebuild", "makes the index anew from the volumes", NULL},
    {MKV_PROGRAM_REBALANCE, "mkv-rebalance", "rebalance", "brings every value to where it belongs",
     NULL},
    {MKV_PROGRAM_VERIFY, "mkv-verify", "verify", "checks, and repairs, every copy of every value", NULL},
    {MKV_PROGRAM_INDEX, "mkv-index", "index", "looks into the index",
     "[flags] COMMAND\n\n"
     "  get KEY                 the record of a key, as one line of JSON\n"
     "  dump                    every bucket and every record, a line each, in byte order\n"
     "  load                    reads such lines from standard input into an empty index\n"
     "  stat                    how many records there are, and which volumes they name\n"
     "  backup DIR              a copy in DIR, also while a server is using the index\n"
     "  path KEY [GENERATION]   where a key's files are (-db), where they belong (-volumes)\n"
     "  key PATH                the key of a file, from its path or its URL"},
};

#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))

static const struct program *program_of(enum mkv_program program)
{
    for (size_t i = 0; i < PROGRAMS; i++)
        if (programs[i].program == program) return &programs[i];
    abort(); /* an enum value that is not in the table: a bug */
}

/* ---- values ---------------------------------------------------------------- */

static bool parse_switch(const char *text, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"1", true},    {"t", true},  {"on", true},
                 {"false", false}, {"0", false},   {"f", false}, {"off", false}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (mkv_slice_ieq(mkv_slice_of(text), mkv_slice_of(words[i].word))) {
            *out = words[i].value;
            return true;
        }
    return false;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
    unsigned long long n;

    if (!mkv_slice_number(mkv_slice_of(text), max, &n)) return false;
    *out = n;
    return true;
}

/* Go's form: "1s", "500ms", "1m30s", "0"; whole numbers with a unit each. */
static bool parse_duration(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    uint64_t sum = 0;

    if (strcmp(text, "0") == 0) {
        *ms = 0;
        return true;
    }
    if (!*text) return false;
    while (*text) {
        size_t digits = strspn(text, "0123456789"), letters, i;
        unsigned long long n;

        if (!mkv_slice_number(mkv_slice(text, digits), 1000000000, &n)) return false;
        text += digits;
        letters = strcspn(text, "0123456789");
        for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (mkv_slice_eq(mkv_slice(text, letters), mkv_slice_of(units[i].unit))) break;
        if (i == sizeof(units) / sizeof(units[0])) return false;
        sum += n * units[i].ms;
        text += letters;
    }
    *ms = sum;
    return true;
}

/* "4096", "64K", "512M", "1G", "1T", powers of 1024. */
static bool parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    size_t len = strlen(text);
    const char *unit = len ? strchr(units, text[len - 1]) : NULL;
    unsigned shift = unit && *unit ? 10 * (unsigned)(unit - units + 1) : 0;
    unsigned long long n;

    if (!mkv_slice_number(mkv_slice(text, shift ? len - 1 : len), UINT64_MAX >> shift, &n))
        return false;
    *out = n << shift;
    return true;
}

static void *field_of(struct mkv_config *cfg, const struct flag *f)
{
    return (char *)cfg + f->where;
}

/* Says what is wrong with the value; false then. */
static bool set_flag(struct mkv_config *cfg, const struct flag *f, const char *value,
                     const char *program)
{
    char **text = field_of(cfg, f);
    uint64_t *number = field_of(cfg, f);
    bool *on = field_of(cfg, f);
    const char *wanted = NULL;

    switch (f->kind) {
    case TEXT:
        free(*text);
        *text = strdup(value);
        if (!*text) wanted = "memory, which has run out";
        break;
    case NUMBER:
        if (!parse_number(value, UINT64_MAX, number)) wanted = "a whole number";
        break;
    case SWITCH:
        if (!parse_switch(value, on)) wanted = "true or false";
        break;
    case DURATION:
        if (!parse_duration(value, number)) wanted = "a duration such as 1s or 500ms";
        break;
    case SIZE:
        if (!parse_size(value, number)) wanted = "a size such as 512M or 64G";
        break;
    }
    if (wanted) {
        fprintf(stderr, "%s: -%s %s: this flag takes %s\n", program, f->name, value, wanted);
        return false;
    }
    if (f->max && (*number < f->min || *number > f->max)) {
        fprintf(stderr, "%s: -%s %s: must be between %llu and %llu%s\n", program, f->name, value,
                (unsigned long long)f->min, (unsigned long long)f->max,
                f->kind == DURATION ? " ms" : "");
        return false;
    }
    return true;
}

/* ---- help ------------------------------------------------------------------- */

static void print_help(const struct program *p)
{
    static const char *const takes[] = {
        [TEXT] = " TEXT", [NUMBER] = " N", [SWITCH] = "", [DURATION] = " TIME", [SIZE] = " SIZE"};

    printf("%s %s - %s\n\nusage: %s %s\n\n", p->name, MKV_VERSION, p->does, p->name,
           p->usage ? p->usage : "-db DIR -volumes HOST:PORT,... [flags]");
    for (size_t i = 0; i < FLAGS; i++) {
        const struct flag *f = &flags[i];
        int column;

        if (!(f->programs & p->program)) continue;
        column = printf("  -%s%s", f->name, takes[f->kind]);
        printf("%*s%s", column < 24 ? 24 - column : 1, "", f->help);
        if (f->fallback && f->kind != SWITCH) printf(" (default %s)", f->fallback);
        if (f->kind == SWITCH && strcmp(f->fallback, "true") == 0)
            printf(" (default on; -%s=false)", f->name);
        printf("\n");
    }
    printf("  -help, -version\n\nDurations: 500ms, 1s, 1m30s.  Sizes: 64K, 512M, 1T.\n");
}

/* ---- the command line -------------------------------------------------------- */

static const struct flag *find_flag(struct mkv_slice name, enum mkv_program program)
{
    for (size_t i = 0; i < FLAGS; i++)
        if ((flags[i].programs & (unsigned)program) &&
            mkv_slice_eq(name, mkv_slice_of(flags[i].name)))
            return &flags[i];
    return NULL;
}

/* The argument's name without dashes and "=value"; {NULL, 0} where it is no flag. */
static struct mkv_slice flag_name(const char *arg)
{
    if (arg[0] != '-' || arg[1] == '\0') return mkv_slice(NULL, 0);
    arg += arg[1] == '-' ? 2 : 1;
    return mkv_slice(arg, strcspn(arg, "="));
}

static enum mkv_config_result parse_flags(struct mkv_config *cfg, const struct program *p, int argc,
                                          char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        struct mkv_slice name = flag_name(argv[i]);
        const char *value = name.data && name.data[name.len] == '=' ? name.data + name.len + 1 : NULL;
        const struct flag *f;

        if (!name.data) break;
        if (strcmp(argv[i], "--") == 0) { /* as in Go: the flags end here */
            i++;
            break;
        }
        if (mkv_slice_eq(name, MKV_SLICE("help")) || mkv_slice_eq(name, MKV_SLICE("h"))) {
            print_help(p);
            return MKV_CONFIG_DONE;
        }
        if (mkv_slice_eq(name, MKV_SLICE("version"))) {
            printf("%s %s\n", p->name, MKV_VERSION);
            return MKV_CONFIG_DONE;
        }
        f = find_flag(name, p->program);
        if (!f) {
            fprintf(stderr, "%s: unknown flag %s: see %s -help\n", p->name, argv[i], p->name);
            return MKV_CONFIG_BAD;
        }
        if (!value && f->kind == SWITCH) value = "true";
        if (!value && ++i < argc) value = argv[i];
        if (!value) {
            fprintf(stderr, "%s: -%s needs a value: see %s -help\n", p->name, f->name, p->name);
            return MKV_CONFIG_BAD;
        }
        if (!set_flag(cfg, f, value, p->name)) return MKV_CONFIG_BAD;
    }
    cfg->args = argv + i;
    cfg->nargs = argc - i;
    return MKV_CONFIG_RUN;
}

/* Splits volumes_text at its commas; says what is wrong with it. */
static bool split_volumes(struct mkv_config *cfg, const char *program)
{
    const char *rest = cfg->volumes_text;

    cfg->volumes = calloc(MKV_VOLUMES_MAX, sizeof(*cfg->volumes));
    if (!cfg->volumes) {
        fprintf(stderr, "%s: out of memory\n", program);
        return false;
    }
    for (;;) {
        struct mkv_slice name = mkv_slice(rest, strcspn(rest, ","));

        if (name.len == 0 || name.len > MKV_VOLUME_NAME_MAX || cfg->nvolumes == MKV_VOLUMES_MAX) {
            fprintf(stderr,
                    "%s: -volumes %s: give at most %d names of 1 to %d characters, "
                    "separated by commas\n",
                    program, cfg->volumes_text, MKV_VOLUMES_MAX, MKV_VOLUME_NAME_MAX);
            return false;
        }
        for (size_t i = 0; i < cfg->nvolumes; i++)
            if (mkv_slice_eq(cfg->volumes[i], name)) {
                fprintf(stderr, "%s: -volumes names %.*s twice: copies would share a disk\n",
                        program, (int)name.len, name.data);
                return false;
            }
        cfg->volumes[cfg->nvolumes++] = name;
        rest += name.len;
        if (*rest++ == '\0') return true;
    }
}

static bool check_s3(const struct mkv_config *cfg, const char *program)
{
    static const char *const redirects[] = {"never", "presigned", "always"};

    if (cfg->s3_port && cfg->s3_port == cfg->port) {
        fprintf(stderr, "%s: -s3-port %llu is -port, which takes S3 requests too: leave it out\n",
                program, (unsigned long long)cfg->s3_port);
        return false;
    }
    if (!cfg->s3_redirect) return true; /* another program's flag */
    for (size_t i = 0; i < sizeof(redirects) / sizeof(redirects[0]); i++)
        if (strcmp(cfg->s3_redirect, redirects[i]) == 0) return true;
    fprintf(stderr, "%s: -s3-redirect %s: this flag takes never, presigned or always\n", program,
            cfg->s3_redirect);
    return false;
}

static bool check(struct mkv_config *cfg, const char *program)
{
    /* Some commands of mkv-index need no index: they ask for -db themselves. */
    if ((!cfg->db && cfg->program != MKV_PROGRAM_INDEX) || (cfg->db && !*cfg->db)) {
        fprintf(stderr, "%s: -db is missing: give the directory of the index\n", program);
        return false;
    }
    if (!cfg->volumes_text) {
        if (cfg->program == MKV_PROGRAM_INDEX) return true;
        fprintf(stderr, "%s: -volumes is missing: give the volume servers, "
                        "such as -volumes localhost:3001,localhost:3002,localhost:3003\n",
                program);
        return false;
    }
    if (!split_volumes(cfg, program)) return false;
    if (cfg->nvolumes < cfg->replicas) {
        fprintf(stderr,
                "%s: -volumes names %zu servers, fewer than -replicas %llu: "
                "add volumes or lower -replicas\n",
                program, cfg->nvolumes, (unsigned long long)cfg->replicas);
        return false;
    }
    if (cfg->min_replicas > cfg->replicas) {
        fprintf(stderr, "%s: -min-replicas %llu is more than -replicas %llu\n", program,
                (unsigned long long)cfg->min_replicas, (unsigned long long)cfg->replicas);
        return false;
    }
    if (!cfg->min_replicas) cfg->min_replicas = cfg->replicas;
    return check_s3(cfg, program);
}

/* Of other programs' flags, too: what they stand for is used by all.  Of several rows
 * of such a flag the last one counts. */
static bool set_defaults(struct mkv_config *cfg, const struct program *p)
{
    for (size_t i = 0; i < FLAGS; i++) {
        const struct flag *own = find_flag(mkv_slice_of(flags[i].name), p->program);
        const struct flag *f = own ? own : &flags[i];

        if (f->fallback && !set_flag(cfg, f, f->fallback, p->name)) return false;
    }
    return true;
}

enum mkv_config_result mkv_config_parse(struct mkv_config *cfg, enum mkv_program program, int argc,
                                        char **argv)
{
    const struct program *p = program_of(program);
    enum mkv_config_result result;

    memset(cfg, 0, sizeof(*cfg));
    cfg->program = program;
    if (!set_defaults(cfg, p)) return MKV_CONFIG_BAD;
    result = parse_flags(cfg, p, argc, argv);
    if (result != MKV_CONFIG_RUN) return result;
    if (cfg->nargs && program != MKV_PROGRAM_INDEX) {
        fprintf(stderr, "%s: %s: flags only, see %s -help\n", p->name, cfg->args[0], p->name);
        return MKV_CONFIG_BAD;
    }
    return check(cfg, p->name) ? MKV_CONFIG_RUN : MKV_CONFIG_BAD;
}

static void print_commands(FILE *to)
{
    fprintf(to, "mkv %s\n\nusage: mkv FLAGS COMMAND\n\n", MKV_VERSION);
    for (size_t i = 0; i < PROGRAMS; i++)
        fprintf(to, "  %-10s %s (also: %s)\n", programs[i].command, programs[i].does,
                programs[i].name);
    fprintf(to, "\nThe flags of a command: %s -help, and so on.\n", programs[0].name);
}

enum mkv_config_result mkv_config_command(enum mkv_program *program, int *argc, char **argv)
{
    const char *last = *argc > 1 ? argv[*argc - 1] : "";
    struct mkv_slice flag = flag_name(last);

    for (size_t i = 0; i < PROGRAMS; i++)
        if (strcmp(last, programs[i].command) == 0) {
            *program = programs[i].program;
            argv[--*argc] = NULL;
            return MKV_CONFIG_RUN;
        }
    if (flag.data && (mkv_slice_eq(flag, MKV_SLICE("help")) || mkv_slice_eq(flag, MKV_SLICE("h")) ||
                      mkv_slice_eq(flag, MKV_SLICE("version")))) {
        print_commands(stdout);
        return MKV_CONFIG_DONE;
    }
    fprintf(stderr, "mkv: the command is missing: end the line with server, rebuild, rebalance, "
                    "verify or index (mkv -help)\n");
    return MKV_CONFIG_BAD;
}

void mkv_config_clear(struct mkv_config *cfg)
{
    for (size_t i = 0; i < FLAGS; i++)
        if (flags[i].kind == TEXT) free(*(char **)field_of(cfg, &flags[i]));
    free(cfg->volumes);
    memset(cfg, 0, sizeof(*cfg));
}
