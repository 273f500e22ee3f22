/*
 * The tracking thread: takes batches, writes them, cleans up once a minute.
 *
 * References come from one counter for all loops, stirred (tracking/number.h). So many numbers
 * ahead are reserved on the disk before they are given out; a process that was killed goes on
 * behind its reservation. Where there is none to go by, the counter begins anywhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "tracking/number.h"
#include "tracking/tracking_private.h"

enum {
    RESERVE = 1 << 19, /* numbers; reserved anew when half of them are gone */
    CLEAN_EVERY_S = 60,
    OPEN_EVERY_S = 1,
    SAID_EVERY_S = 60,
    FIND_WAITS = 5, /* seconds, for a reference of this moment */
};

static const int64_t second_ns = 1000000000;

struct tracking {
    char directory[4096];
    struct mailbox mailbox;
    pthread_t thread;
    atomic_bool stop;
    _Atomic uint64_t next; /* number of the next reference */
    uint64_t first;        /* of this run */
    atomic_bool damaged;   /* a reader has seen it */
    _Atomic uint64_t refusals, refusals_lost, clients_lost;

    /* the thread's own, and tracking_new()'s before it starts */
    struct tracking_store *store; /* NULL: see fault */
    uint64_t reserved, told;      /* up to which numbers are reserved, and spans written */
    int64_t told_us, cleaned_ns, opened_ns, said_ns;

    pthread_mutex_t lock;
    struct pt_fault fault;
    uint64_t rounds; /* how often the mailbox was emptied */
    pthread_cond_t round_over;
};

/* ---- trouble ---- */

static void set_fault(struct tracking *t, const struct pt_fault *fault)
{
    int64_t now = clock_mono_ns();

    pthread_mutex_lock(&t->lock);
    t->fault = *fault;
    pthread_mutex_unlock(&t->lock);
    if (fault->err == PT_ERR_OK || (t->said_ns && now - t->said_ns < SAID_EVERY_S * second_ns))
        return;
    t->said_ns = now;
    log_text(LOG_WARN, "tracking", "references and clients are not kept: %s", fault->text);
}

static void close_store(struct tracking *t)
{
    tracking_store_close(t->store);
    t->store = NULL;
}

/* Damage that shows while it is open: opening it again sees to it, or finds it sound. */
static void trouble(struct tracking *t, const struct pt_fault *fault)
{
    set_fault(t, fault);
    if (fault->err == PT_ERR_CORRUPT) {
        tracking_store_discard(t->store);
        close_store(t);
    }
}

/* ---- numbers ---- */

/* More are reserved when fewer than half are left. */
static void reserve(struct tracking *t)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    uint64_t next = atomic_load(&t->next);
    uint64_t left = (t->reserved - next) & TRACKING_NUMBER_MASK;
    uint64_t until = (next + RESERVE) & TRACKING_NUMBER_MASK;

    if (!t->store || (left >= RESERVE / 2 && left <= RESERVE))
        return;
    if (tracking_store_reserve(t->store, until, &fault) == PT_ERR_OK)
        t->reserved = until;
    else
        trouble(t, &fault);
}

uint64_t tracking_next_ref(struct tracking *t)
{
    uint64_t ref;

    do
        ref = tracking_number_to_ref(atomic_fetch_add(&t->next, 1) & TRACKING_NUMBER_MASK);
    while (ref == 0);
    return ref;
}

static void begin_numbers(struct tracking *t)
{
    struct rng rng;

    rng_seed_from_system(&rng);
    t->first = rng_next(&rng) & TRACKING_NUMBER_MASK;
    if (t->store)
        PT_IGNORE(tracking_store_reserved(t->store, &t->first, NULL), "then anywhere");
    atomic_store(&t->next, t->first);
    t->told = t->first;
    t->told_us = clock_wall_us();
}

/* ---- opening ---- */

static void open_store(struct tracking *t)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    const struct tracking_store_config config = { .directory = t->directory,
                                                  .mode = TRACKING_STORE_WRITE };
    int64_t now = clock_mono_ns();
    bool damaged = false;

    if (t->store || (t->opened_ns && now - t->opened_ns < OPEN_EVERY_S * second_ns))
        return;
    t->opened_ns = now;
    if (tracking_store_open(&t->store, &config, &damaged, &fault) != PT_ERR_OK)
        t->store = NULL;
    if (damaged)
        log_text(LOG_WARN, "tracking",
                 "a database of %s was damaged: it was moved aside, what it held is lost",
                 t->directory);
    set_fault(t, &fault);
}

/* ---- the thread ---- */

static void write_batch(struct tracking *t, struct tracking_batch *b)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    int64_t now_us = clock_wall_us();
    uint64_t next = atomic_load(&t->next);
    struct tracking_store_batch batch = {
        .refusals = b->refusals,
        .refusal_count = b->refusal_count,
        .clients = b->clients,
        .client_count = b->client_count,
        .number = t->told & TRACKING_NUMBER_MASK,
        .given = b->refusal_count || b->lost ? next - t->told : 0,
        .lost = b->lost,
        .from_us = t->told_us,
        .until_us = now_us,
    };
    enum pt_err err = t->store ? tracking_store_add(t->store, &batch, &fault) : PT_ERR_CLOSED;

    atomic_fetch_add(&t->refusals, err == PT_ERR_OK ? b->refusal_count : 0);
    atomic_fetch_add(&t->refusals_lost, b->lost + (err == PT_ERR_OK ? 0 : b->refusal_count));
    atomic_fetch_add(&t->clients_lost, b->clients_lost);
    if (err == PT_ERR_OK) {
        if (batch.given)
            t->told = next;
        t->told_us = now_us;
    }
    if (t->store && (fault.err != PT_ERR_OK || t->fault.err != PT_ERR_OK))
        trouble(t, &fault);
}

static void on_batch(struct mail *mail)
{
    struct tracking_batch *b = PT_CONTAINER_OF(mail, struct tracking_batch, mail);
    struct tracking *t = b->tracking;

    open_store(t);
    write_batch(t, b);
    reserve(t);
    tracking_batch_clear(b);
    atomic_store_explicit(&b->away, false, memory_order_release);
}

void tracking_take(struct tracking *t, struct tracking_batch *b)
{
    b->mail.run = on_batch;
    mailbox_post(&t->mailbox, &b->mail);
}

static void clean(struct tracking *t)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    int64_t now = clock_mono_ns();

    if (atomic_exchange(&t->damaged, false) && t->store) {
        pt_fault_set(&fault, PT_ERR_CORRUPT, "%s is damaged", t->directory);
        trouble(t, &fault);
    }
    open_store(t);
    if (!t->store || (t->cleaned_ns && now - t->cleaned_ns < CLEAN_EVERY_S * second_ns))
        return;
    t->cleaned_ns = now;
    if (tracking_store_clean(t->store, clock_wall_us(), &fault) != PT_ERR_OK)
        trouble(t, &fault);
}

static void *thread_main(void *ctx)
{
    struct tracking *t = ctx;
    bool stop;

    prctl(PR_SET_NAME, "tracking");
    do {
        stop = atomic_load(&t->stop);
        if (!stop)
            mailbox_wait(&t->mailbox, (t->store ? CLEAN_EVERY_S : OPEN_EVERY_S) * 1000);
        mailbox_drain(&t->mailbox);
        clean(t);
        pthread_mutex_lock(&t->lock);
        t->rounds++;
        pthread_cond_broadcast(&t->round_over);
        pthread_mutex_unlock(&t->lock);
    } while (!stop);
    return NULL;
}

void tracking_flush(struct tracking *t)
{
    uint64_t until;

    pthread_mutex_lock(&t->lock);
    /* The round under way may have emptied the box already. */
    until = t->rounds + 2;
    while (t->rounds < until) {
        mailbox_wake(&t->mailbox);
        pthread_cond_wait(&t->round_over, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- life ---- */

struct tracking *tracking_new(const char *directory)
{
    struct tracking *t = calloc(1, sizeof *t);
    int n;

    if (!t)
        return NULL;
    n = snprintf(t->directory, sizeof t->directory, "%s", directory);
    if (n < 0 || (size_t)n >= sizeof t->directory || !mailbox_init(&t->mailbox)) {
        free(t);
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->round_over, NULL);
    open_store(t);
    begin_numbers(t);
    reserve(t);
    if (pthread_create(&t->thread, NULL, thread_main, t) == 0)
        return t;
    close_store(t);
    mailbox_done(&t->mailbox);
    free(t);
    return NULL;
}

void tracking_free(struct tracking *t)
{
    if (!t)
        return;
    atomic_store(&t->stop, true);
    mailbox_wake(&t->mailbox);
    pthread_join(t->thread, NULL);
    /* Nothing is given out any more: what was reserved too many is given back. */
    if (t->store)
        PT_IGNORE(
            tracking_store_reserve(t->store, atomic_load(&t->next) & TRACKING_NUMBER_MASK, NULL),
            "then some numbers are left out");
    close_store(t);
    mailbox_done(&t->mailbox);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->round_over);
    free(t);
}

void tracking_get_stats(struct tracking *t, struct tracking_stats *out)
{
    out->refusals = atomic_load(&t->refusals);
    out->refusals_lost = atomic_load(&t->refusals_lost);
    out->clients_lost = atomic_load(&t->clients_lost);
    pthread_mutex_lock(&t->lock);
    out->fault = t->fault;
    pthread_mutex_unlock(&t->lock);
}

/* ---- asking ---- */

/* NULL and the error: there is nothing to read. */
static struct tracking_store *open_to_read(struct tracking *t, enum pt_err *out,
                                           struct pt_fault *fault)
{
    const struct tracking_store_config config = { .directory = t->directory,
                                                  .mode = TRACKING_STORE_READ };
    struct tracking_store *s = NULL;

    *out = tracking_store_open(&s, &config, NULL, fault);
    return *out == PT_ERR_OK ? s : NULL;
}

/* The thread sees to it. */
static enum pt_err done_reading(struct tracking *t, struct tracking_store *s, enum pt_err err)
{
    tracking_store_close(s);
    if (err == PT_ERR_CORRUPT) {
        atomic_store(&t->damaged, true);
        mailbox_wake(&t->mailbox);
    }
    return err;
}

static enum pt_err find_once(struct tracking *t, uint64_t ref, struct tracking_refusal *out,
                             struct tracking_span *span, struct pt_fault *fault)
{
    enum pt_err err;
    struct tracking_store *s = open_to_read(t, &err, fault);

    if (s)
        err = tracking_store_refusal(s, ref, out, fault);
    if (s && err == PT_ERR_NOTFOUND) {
        err = tracking_store_span(s, tracking_number_of_ref(ref), span, fault);
        if (err == PT_ERR_OK)
            err = PT_ERR_AGAIN;
    }
    return done_reading(t, s, err);
}

static uint64_t rounds_of(struct tracking *t)
{
    uint64_t rounds;

    pthread_mutex_lock(&t->lock);
    rounds = t->rounds;
    pthread_mutex_unlock(&t->lock);
    return rounds;
}

/* Until there was one more than `round`. False: it is too late for another. */
static bool wait_round(struct tracking *t, uint64_t round, const struct timespec *until)
{
    int error = 0;

    pthread_mutex_lock(&t->lock);
    while (t->rounds == round && !error)
        error = pthread_cond_timedwait(&t->round_over, &t->lock, until);
    pthread_mutex_unlock(&t->lock);
    return !error;
}

/* One of this run: it may not be written yet. */
static bool is_recent(struct tracking *t, uint64_t ref)
{
    uint64_t at = (tracking_number_of_ref(ref) - t->first) & TRACKING_NUMBER_MASK;

    return at < ((atomic_load(&t->next) - t->first) & TRACKING_NUMBER_MASK);
}

enum pt_err tracking_find_refusal(struct tracking *t, uint64_t ref, struct tracking_refusal *out,
                                  struct tracking_span *span, struct pt_fault *fault)
{
    struct timespec until;
    bool waits = is_recent(t, ref);
    enum pt_err err;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += FIND_WAITS;
    for (;;) {
        uint64_t round = rounds_of(t);

        err = find_once(t, ref, out, span, fault);
        /* Its number may have been taken before it was needed, and stand in a span already. */
        if ((err != PT_ERR_NOTFOUND && err != PT_ERR_AGAIN) || !waits)
            return err;
        waits = wait_round(t, round, &until);
    }
}

enum pt_err tracking_each_client(struct tracking *t, tracking_client_fn *show, void *user,
                                 struct pt_fault *fault)
{
    enum pt_err err;
    struct tracking_store *s = open_to_read(t, &err, fault);

    if (s)
        err = tracking_store_clients(s, show, user, fault);
    return done_reading(t, s, err == PT_ERR_NOTFOUND ? PT_ERR_OK : err);
}
