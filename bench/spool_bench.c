#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "spool/disk.h"
#include "spool/spool.h"

/*
 * How fast the spool keeps messages: spool_bench DIRECTORY [WRITERS [SECONDS [OCTETS]]]
 *
 * Each writer submits a message, waits until it is durable, submits its delivery lazily, and goes
 * on, as a session and a delivery do. Prints messages per second, syncs per message, octets written
 * per message (what the spool handed to the disk, and what the kernel wrote), and CPU per message.
 */

struct writer {
    struct spool *spool;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
    uint64_t count;
};

static uint64_t message_size = 4096;
static char text[1 << 20];
static _Atomic bool stop;

struct delivery {
    struct spool_op op;
    struct spool_outcome outcome;
};

static void on_kept(struct spool_op *op)
{
    struct writer *w = (struct writer *)(void *)op->outcomes; /* unused by a MESSAGE */

    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void on_delivered(struct spool_op *op)
{
    spool_message_unref(op->message);
    free(PT_CONTAINER_OF(op, struct delivery, op));
}

static struct spool_message *make(struct spool *s)
{
    struct spool_message *m = spool_message_new();

    m->id = spool_new_id(s);
    m->size = message_size;
    m->reverse_path = arena_str(&m->arena, STR("sender@example.org"));
    m->helo = arena_str(&m->arena, STR("client.example.org"));
    m->client = arena_str(&m->arena, STR("192.0.2.1"));
    m->recipients = arena_zalloc(&m->arena, sizeof *m->recipients);
    m->recipient_count = 1;
    m->recipients[0].address = arena_str(&m->arena, STR("recipient@example.com"));
    if (!block_chain_add(&m->content, (struct str){ text, message_size }))
        abort();
    m->cached = true;
    return m;
}

static void *write_on(void *arg)
{
    struct writer *w = arg;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        struct spool_message *m = make(w->spool);
        struct spool_op op = { .kind = SPOOL_OP_MESSAGE, .message = m, .done = on_kept };
        struct delivery *d = calloc(1, sizeof *d);

        op.outcomes = (const struct spool_outcome *)(const void *)w;
        w->done = false;
        spool_submit(w->spool, &op);
        pthread_mutex_lock(&w->lock);
        while (!w->done)
            pthread_cond_wait(&w->wake, &w->lock);
        pthread_mutex_unlock(&w->lock);
        if (op.result) {
            fprintf(stderr, "refused: %s\n", pt_err_text(op.result));
            exit(1);
        }
        d->outcome = (struct spool_outcome){ .state = SPOOL_DELIVERED, .code = 250 };
        d->op = (struct spool_op){ .kind = SPOOL_OP_OUTCOME,
                                   .message = m,
                                   .outcomes = &d->outcome,
                                   .outcome_count = 1,
                                   .lazy = true,
                                   .done = on_delivered };
        spool_submit(w->spool, &d->op);
        w->count++;
    }
    block_thread_done();
    return NULL;
}

static uint64_t kernel_wrote(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    unsigned long long n = 0;
    char line[128];

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "write_bytes: %llu", &n) == 1)
            break;
    if (f)
        fclose(f);
    return n;
}

static uint64_t total(const struct writer *writers, unsigned n)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < n; i++)
        count += *(const volatile uint64_t *)&writers[i].count;
    return count;
}

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return 1e6 * (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void measure(struct spool *s, struct writer *writers, unsigned n, unsigned seconds)
{
    struct spool_stats before, after;
    uint64_t count, wrote, last;
    int64_t start;
    double took, cpu;

    sleep(seconds); /* the first round of segments */
    spool_get_stats(s, &before);
    count = total(writers, n);
    wrote = kernel_wrote();
    cpu = cpu_us();
    start = clock_mono_ns();
    sleep(seconds);
    spool_get_stats(s, &after);
    last = total(writers, n) - count;
    took = (double)(clock_mono_ns() - start) / 1e9;
    if (last == 0)
        return;
    printf("writers %u: %.0f messages/s, %.3f syncs, %.0f octets handed over, %.0f written, "
           "%.1f us CPU a message; %llu segments\n",
           n, (double)last / took, (double)(after.syncs - before.syncs) / (double)last,
           (double)(after.octets_written - before.octets_written) / (double)last,
           (double)(kernel_wrote() - wrote) / (double)last, (cpu_us() - cpu) / (double)last,
           (unsigned long long)after.segments);
}

/* ---- start-up ---- */

static _Atomic uint64_t kept, found;

static void on_filled(struct spool_op *op)
{
    spool_message_unref(op->message);
    atomic_fetch_add(&kept, 1);
    free(op);
}

static void on_found(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    atomic_fetch_add(&found, count);
}

static int measure_start(struct spool_config *config, uint64_t count)
{
    struct spool_stats stats;
    struct pt_fault fault;
    struct spool *s;
    int64_t start;

    if (spool_open(&s, config, &fault))
        return 1;
    for (uint64_t i = 0; i < count; i++) {
        struct spool_op *op = calloc(1, sizeof *op);

        while (i > atomic_load(&kept) + 5000)
            usleep(100);
        *op = (struct spool_op){ .message = make(s), .done = on_filled };
        spool_submit(s, op);
    }
    spool_close(s);
    config->recovered = on_found;
    start = clock_mono_ns();
    if (spool_open(&s, config, &fault))
        return 1;
    printf("open after %.0f ms\n", (double)(clock_mono_ns() - start) / 1e6);
    do {
        usleep(100);
        spool_get_stats(s, &stats);
    } while (stats.loading);
    printf("%llu messages loaded after %.0f ms\n", (unsigned long long)atomic_load(&found),
           (double)(clock_mono_ns() - start) / 1e6);
    spool_close(s);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 20;
    unsigned seconds = argc > 3 ? (unsigned)atoi(argv[3]) : 3;
    struct writer *writers = calloc(n, sizeof *writers);
    struct spool_config config = {
        .disk = disk_real(),
        .segment_size = 64u << 20,
        .now_us = clock_wall_us(),
    };
    struct pt_fault fault;
    struct spool *s;

    if (argc < 2) {
        fprintf(stderr, "usage: spool_bench DIRECTORY [WRITERS [SECONDS [OCTETS]]]\n");
        return 2;
    }
    if (argc > 4)
        message_size = PT_MIN((uint64_t)atoi(argv[4]), sizeof text);
    memset(text, 'x', sizeof text);
    config.directory = argv[1];
    if (argc > 3 && strcmp(argv[2], "start") == 0)
        return measure_start(&config, (uint64_t)atoll(argv[3]));
    if (spool_open(&s, &config, &fault)) {
        fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    for (unsigned i = 0; i < n; i++) {
        writers[i].spool = s;
        pthread_mutex_init(&writers[i].lock, NULL);
        pthread_cond_init(&writers[i].wake, NULL);
        pthread_create(&writers[i].thread, NULL, write_on, &writers[i]);
    }
    measure(s, writers, n, seconds);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < n; i++)
        pthread_join(writers[i].thread, NULL);
    spool_close(s);
    free(writers);
    return 0;
}
