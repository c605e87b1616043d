/* include/mkv/jobs.h - whole-store work: what the programs beside the master do.
 *
 * Each runs to its end (or to Ctrl-C), shows its progress on standard error,
 * prints its summary on standard output, and returns the process's exit
 * status: 0; 1 where something could not be read, done or repaired, with lines
 * on standard error that say what; 2 for a command line that makes no sense. */
#ifndef MKV_JOBS_H
#define MKV_JOBS_H

#include "mkv/config.h"

int mkv_rebuild_run(const struct mkv_config *cfg) MKV_MUSTUSE;
int mkv_rebalance_run(const struct mkv_config *cfg) MKV_MUSTUSE;
int mkv_verify_run(const struct mkv_config *cfg) MKV_MUSTUSE;
int mkv_index_run(const struct mkv_config *cfg) MKV_MUSTUSE;

#endif
