#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "spool/internal.h"

/* Opening, closing, and what is answered from counters. */

static enum pt_err check_config(const struct spool_config *c, struct pt_fault *fault)
{
    if (c->segment_size < FORMAT_SEGMENT_MIN || c->segment_size > FORMAT_SEGMENT_MAX ||
        c->segment_size % FORMAT_PAGE)
        return pt_fault_set(fault, PT_ERR_INVALID, "a spool segment of %llu octets",
                            (unsigned long long)c->segment_size);
    if (c->segment_first && (c->segment_first < FORMAT_SEGMENT_MIN ||
                             c->segment_first > c->segment_size || c->segment_first % FORMAT_PAGE))
        return pt_fault_set(fault, PT_ERR_INVALID, "a first spool segment of %llu octets",
                            (unsigned long long)c->segment_first);
    return PT_ERR_OK;
}

static struct spool *make(const struct spool_config *config)
{
    struct spool *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->config = *config;
    s->disk = config->disk;
    s->segment_now = config->segment_first ? config->segment_first
                                           : PT_MIN(config->segment_size, (uint64_t)SEGMENT_FIRST);
    s->directory = s->large = -1;
    s->next_epoch = 1;
    atomic_init(&s->refs, 1);
    s->now_us = config->now_us;
    s->lazy_due_us = s->retry_us = INT64_MAX;
    pthread_mutex_init(&s->lock, NULL);
    s->batch.scratch = malloc(BATCH_SCRATCH);
    s->batch.scratch_size = s->batch.scratch ? BATCH_SCRATCH : 0;
    return s;
}

static enum pt_err open_directories(struct spool *s, struct pt_fault *fault)
{
    struct disk *d = s->disk;

    s->directory = d->open_directory(d, s->config.directory, !s->config.read_only);
    if (s->directory < 0)
        return pt_fault_errno(fault, -s->directory, "opening %s", s->config.directory);
    s->large = d->open_subdirectory(d, s->directory, "large", !s->config.read_only);
    if (s->large < 0)
        return pt_fault_errno(fault, -s->large, "opening %s/large", s->config.directory);
    return PT_ERR_OK;
}

static enum pt_err start_thread(struct spool *s, struct pt_fault *fault)
{
    sigset_t all, before;
    int r;

    if (s->config.manual)
        return PT_ERR_OK;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&s->thread, NULL, commit_run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->thread_runs = r == 0;
    return r ? pt_fault_errno(fault, r, "starting the commit thread") : PT_ERR_OK;
}

static void free_list(struct segment_list *l)
{
    while (l->first) {
        struct spool_segment *g = l->first;

        segment_list_remove(l, g);
        while (g->living) {
            struct spool_message *m = g->living;

            /* Whoever still has the message finds that it is in no log. */
            g->living = m->place.next;
            m->place.next = m->place.previous = NULL;
            m->place.segment = NULL;
            spool_message_unref(m);
        }
        segment_free(g);
    }
}

static void destroy(struct spool *s)
{
    struct disk *d = s->disk;

    free_list(&s->used);
    free_list(&s->spares);
    free_list(&s->free);
    if (s->large >= 0)
        d->close(d, s->large);
    if (s->directory >= 0)
        d->close(d, s->directory);
    free(s->batch.scratch);
    pthread_mutex_destroy(&s->lock);
    atomic_store(&s->closed, true);
    spool_unref(s);
}

void spool_ref(struct spool *s)
{
    atomic_fetch_add(&s->refs, 1);
}

void spool_unref(struct spool *s)
{
    if (atomic_fetch_sub(&s->refs, 1) == 1)
        free(s);
}

enum pt_err spool_open(struct spool **out, const struct spool_config *config,
                       struct pt_fault *fault)
{
    struct pt_fault ignored;
    struct spool *s;
    enum pt_err err;

    fault = fault ? fault : &ignored;
    err = check_config(config, fault);
    if (err)
        return err;
    s = make(config);
    if (!s || !s->batch.scratch || workers_start(&s->workers, config->manual)) {
        if (s)
            destroy(s);
        return pt_fault_set(fault, PT_ERR_NOMEM, "opening the spool");
    }
    err = open_directories(s, fault);
    if (err == PT_ERR_OK)
        err = recover_all(s, fault);
    if (err == PT_ERR_OK) {
        space_manage(s);
        /* From here on another clock may count: times noted so far say nothing. */
        s->opened_us = 0;
        s->retry_us = s->retry_us == INT64_MAX ? INT64_MAX : INT64_MIN;
        err = start_thread(s, fault);
    }
    if (err) {
        workers_stop(&s->workers);
        space_collect(s);
        load_drop(s);
        destroy(s);
        return err;
    }
    *out = s;
    return PT_ERR_OK;
}

/* An orderly stop leaves every segment with a footer. */
static void write_last_footer(struct spool *s)
{
    struct spool_segment *g = s->open;

    if (g && !g->entries.failed)
        segment_do(g, SEGMENT_FOOT);
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    atomic_store(&s->stop, true);
    if (s->thread_runs) {
        commit_wake(s);
        pthread_join(s->thread, NULL);
    } else {
        while (commit_turn(s))
            ;
    }
    workers_stop(&s->workers);
    load_drop(s);
    write_last_footer(s);
    destroy(s);
}

bool spool_turn(struct spool *s, int64_t now_us)
{
    s->now_us = now_us;
    return commit_turn(s);
}

uint64_t spool_new_id(struct spool *s)
{
    return atomic_fetch_add_explicit(&s->next_id, 1, memory_order_relaxed);
}

void spool_get_stats(struct spool *s, struct spool_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    pthread_mutex_unlock(&s->lock);
}
