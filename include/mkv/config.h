/* include/mkv/config.h - the command line: one table of flags for all programs.
 *
 * Go-style as in the original: -name value, -name=value, --name; switches
 * -protect or -protect=false; durations 1s, 500ms, 1m30s; sizes 64M, 1G. */
#ifndef MKV_CONFIG_H
#define MKV_CONFIG_H

#include "mkv/err.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum mkv_program {
    MKV_PROGRAM_SERVER = 1 << 0,
    MKV_PROGRAM_REBUILD = 1 << 1,
    MKV_PROGRAM_REBALANCE = 1 << 2,
    MKV_PROGRAM_VERIFY = 1 << 3,
    MKV_PROGRAM_INDEX = 1 << 4
};

struct mkv_config {
    enum mkv_program program;
    char *db;              /* owned, as all text here                          */
    char *volumes_text;    /* as given                                         */
    struct mkv_slice *volumes; /* owned array into volumes_text                */
    size_t nvolumes;
    uint64_t replicas;
    uint64_t subvolumes;
    uint64_t port;
    char *bind;            /* NULL: every address                              */
    char *fallback;        /* NULL: none                                       */
    bool protect;
    bool md5sum;
    uint64_t voltimeout_ms;
    uint64_t probe_ttl_ms;
    uint64_t min_replicas; /* 0 given: as replicas                             */
    char *admin;           /* ADDR:PORT; NULL: off                             */
    uint64_t db_size;      /* most bytes the index may grow to; 0: the default */
    char *keys;            /* file of access keys; NULL: signatures are not checked */
    uint64_t s3_port;      /* where everything is S3; 0: off                   */
    char *s3_domain;       /* "BUCKET.DOMAIN" hosts; NULL: path style only     */
    char *s3_region;       /* the region's name that clients are shown         */
    char *s3_redirect;     /* never, presigned, always: when GET answers 302   */
    char *spool;           /* where parts wait; NULL: "spool" inside db        */
    uint64_t multipart_expiry_ms; /* age at which an unfinished upload goes    */
    bool verbose;
    uint64_t jobs;         /* rebuild, rebalance, verify                       */
    bool json;
    bool dry_run;
    bool fresh;
    bool deep;
    bool repair;
    bool orphans;
    bool force;            /* index: load into an index that is not empty      */
    bool encoded;          /* index: keys are percent-encoded                  */
    char **args;           /* borrowed from argv: what follows the flags       */
    int nargs;
};

enum mkv_config_result {
    MKV_CONFIG_RUN,  /* cfg is filled                                          */
    MKV_CONFIG_DONE, /* -help or -version was answered: exit 0                 */
    MKV_CONFIG_BAD   /* one line on standard error has said why: exit 2        */
};

/* cfg needs no initialisation and must be cleared whatever the result. */
enum mkv_config_result mkv_config_parse(struct mkv_config *cfg, enum mkv_program program, int argc,
                                        char **argv) MKV_MUSTUSE;
void mkv_config_clear(struct mkv_config *cfg);

/* The original's command lines, "mkv FLAGS COMMAND": takes the command off
 * the end of the arguments and says which program it means.  MKV_CONFIG_DONE
 * and _BAD: as above. */
enum mkv_config_result mkv_config_command(enum mkv_program *program, int *argc,
                                          char **argv) MKV_MUSTUSE;

#endif
