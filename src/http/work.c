#include "http/work.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/block.h"

enum { THREADS_MAX = 8 };

struct http_work {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct http_task *first, **last;
    unsigned waiting, waiting_max, threads;
    bool ending;
    pthread_t thread[THREADS_MAX];
};

static void *run(void *ctx)
{
    struct http_work *w = ctx;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct http_task *t = w->first;

        if (!t && w->ending)
            break;
        if (!t) {
            pthread_cond_wait(&w->more, &w->lock);
            continue;
        }
        w->first = t->next;
        if (!w->first)
            w->last = &w->first;
        w->waiting--;
        pthread_mutex_unlock(&w->lock);
        t->run(t);
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

bool http_work_add(struct http_work *w, struct http_task *task)
{
    bool taken = false;

    task->next = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->waiting < w->waiting_max && !w->ending) {
        *w->last = task;
        w->last = &task->next;
        w->waiting++;
        taken = true;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    return taken;
}

static void run_exchange(struct http_task *t)
{
    struct http_exchange *x = PT_CONTAINER_OF(t, struct http_exchange, task);

    x->work(x);
    http_exchange_post(x);
}

void http_work_run(struct http_work *w, struct http_exchange *x,
                   void (*work)(struct http_exchange *x))
{
    http_work_then(w, x, work, NULL);
}

void http_work_then(struct http_work *w, struct http_exchange *x,
                    void (*work)(struct http_exchange *x), void (*then)(struct http_exchange *x))
{
    x->on_loop = false;
    x->work = work;
    x->then = then;
    x->task.run = run_exchange;
    if (http_work_add(w, &x->task))
        return;
    x->then = NULL;
    http_header_add(x, "Retry-After", "1");
    http_problem(x, 503, "Too many requests are waiting.");
    http_exchange_finish(x);
}
