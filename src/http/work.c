#include "http/work.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/block.h"

enum { THREADS_MAX = 8 };

struct http_work {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct http_exchange *first, **last;
    unsigned waiting, waiting_max, threads;
    bool ending;
    pthread_t thread[THREADS_MAX];
};

static void *run(void *ctx)
{
    struct http_work *w = ctx;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct http_exchange *x = w->first;

        if (!x && w->ending)
            break;
        if (!x) {
            pthread_cond_wait(&w->more, &w->lock);
            continue;
        }
        w->first = x->next;
        if (!w->first)
            w->last = &w->first;
        w->waiting--;
        pthread_mutex_unlock(&w->lock);
        x->work(x);
        http_exchange_post(x);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    /* The work may have used blocks of content. */
    block_thread_done();
    return NULL;
}

struct http_work *http_work_new(unsigned threads, unsigned waiting_max)
{
    struct http_work *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->last = &w->first;
    w->waiting_max = waiting_max;
    for (unsigned i = 0; i < threads && i < THREADS_MAX; i++) {
        if (pthread_create(&w->thread[i], NULL, run, w) != 0)
            break;
        w->threads++;
    }
    if (w->threads == 0) {
        http_work_free(w);
        return NULL;
    }
    return w;
}

void http_work_stop(struct http_work *w)
{
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->threads; i++)
        pthread_join(w->thread[i], NULL);
    w->threads = 0;
}

void http_work_free(struct http_work *w)
{
    if (!w)
        return;
    http_work_stop(w);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void http_work_run(struct http_work *w, struct http_exchange *x,
                   void (*work)(struct http_exchange *x))
{
    bool taken = false;

    x->work = work;
    x->next = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->waiting < w->waiting_max && !w->ending) {
        *w->last = x;
        w->last = &x->next;
        w->waiting++;
        taken = true;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    if (!taken) {
        http_header_add(x, "Retry-After", "1");
        http_problem(x, 503, "Too many requests are waiting.");
        http_exchange_finish(x);
    }
}
