#pragma once
#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"
#include "spool/spool.h"

/*
 * spool/worker: the file workers, two threads for whatever has to wait for a disk and is not the
 * commit itself. Without threads (`manual`) a job runs inside workers_post().
 */

/* A job's run() may post it again or free it. */
enum { WORKERS_COUNT = 2 };

struct spool_workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct spool_job *first, *last;
    pthread_t threads[WORKERS_COUNT];
    unsigned count; /* threads running */
    bool manual, stop;
};

PT_NODISCARD enum pt_err workers_start(struct spool_workers *w, bool manual);

/* Any thread. First posted, first begun. */
void workers_post(struct spool_workers *w, struct spool_job *job);

/* Runs all that was posted, ends the threads. */
void workers_stop(struct spool_workers *w);
