/* lib/jobs/job_internal.h - what the files of job.h share:
 *
 *   job.c       begin, complain, sum up, end
 *   job_walk.c  all keys
 *   job_move.c  one key
 */
#ifndef MKV_JOBS_JOB_INTERNAL_H
#define MKV_JOBS_JOB_INTERNAL_H

#include "jobs/job.h"

/* The walk under way, if any, notices that the job stops. */
void job_walk_stop(struct job *job);
void job_walk_free(struct job *job);

/* Moves that wait for another try end with MKV_ESHUTDOWN. */
void job_moves_stop(struct job *job);
/* All moves end without calling back. */
void job_moves_drop(struct job *job);

#endif
