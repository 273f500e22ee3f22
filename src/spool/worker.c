#include "spool/worker.h"

#include <signal.h>
#include <sys/prctl.h>

#include "base/block.h"

static struct spool_job *take(struct spool_workers *w)
{
    struct spool_job *job;

    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->stop)
        pthread_cond_wait(&w->wake, &w->lock);
    job = w->first;
    if (job) {
        w->first = job->next;
        if (!w->first)
            w->last = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    return job;
}

static void *work(void *arg)
{
    struct spool_workers *w = arg;
    struct spool_job *job;

    prctl(PR_SET_NAME, "files");
    while ((job = take(w)))
        job->run(job);
    block_thread_done();
    return NULL;
}

enum pt_err workers_start(struct spool_workers *w, bool manual)
{
    sigset_t all, before;

    *w = (struct spool_workers){ .manual = manual };
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (manual)
        return PT_ERR_OK;
    /* Signals are the main thread's affair. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (w->count < WORKERS_COUNT && pthread_create(&w->threads[w->count], NULL, work, w) == 0)
        w->count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (w->count < WORKERS_COUNT) {
        workers_stop(w);
        return PT_ERR_NOMEM;
    }
    return PT_ERR_OK;
}

void workers_post(struct spool_workers *w, struct spool_job *job)
{
    if (w->manual) {
        job->run(job);
        return;
    }
    job->next = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->last)
        w->last->next = job;
    else
        w->first = job;
    w->last = job;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void workers_stop(struct spool_workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    while (w->count)
        pthread_join(w->threads[--w->count], NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
}
