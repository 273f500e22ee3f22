#include "spool_kit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "spool/disk.h"

int64_t kit_now_us = 1000000;

/* Content is cut from one long piece of noise, at a place that follows from the ID: quick to make
 * and to compare. The period is a prime, so none that a page or a piece has. */
enum { PERIOD = 65521, STRETCH = 16384 };
static char noise[PERIOD + STRETCH];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_noise(void)
{
    struct rng rng;

    rng_seed(&rng, 1);
    for (size_t i = 0; i < PERIOD; i++)
        noise[i] = (char)rng_next(&rng);
    memcpy(noise + PERIOD, noise, STRETCH);
}

/* What stands at `at`, good for STRETCH octets. */
static const char *noise_at(uint64_t id, uint64_t at)
{
    pthread_once(&once, make_noise);
    return noise + (id % PERIOD * 4099 + at) % PERIOD;
}

char kit_octet(uint64_t id, uint64_t at)
{
    return *noise_at(id, at);
}

static struct spool_message *envelope(struct spool *s, uint64_t size, uint32_t recipients)
{
    struct spool_message *m = spool_message_new();

    m->id = spool_new_id(s);
    m->received_us = (int64_t)m->id;
    m->size = size;
    m->reverse_path = arena_str(&m->arena, STR("sender@example.org"));
    m->helo = arena_str(&m->arena, STR("client.example.org"));
    m->client = arena_str(&m->arena, STR("192.0.2.1"));
    m->recipients = arena_zalloc(&m->arena, recipients * sizeof *m->recipients);
    m->recipient_count = recipients;
    for (uint32_t i = 0; i < recipients; i++) {
        char address[64];

        snprintf(address, sizeof address, "recipient%u@example.com", i);
        m->recipients[i].address = arena_str(&m->arena, str_of(address));
        m->recipients[i].notify = (uint8_t)(i & 7);
    }
    return m;
}

static void fill(struct block_chain *c, uint64_t id, uint64_t from, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        size_t n = PT_MIN((uint64_t)STRETCH, size - at);

        pt_assert(block_chain_add(c, (struct str){ noise_at(id, from + at), n }));
        at += n;
    }
}

struct spool_message *kit_message(struct spool *s, uint64_t size, uint32_t recipients)
{
    struct spool_message *m = envelope(s, size, recipients);

    fill(&m->content, m->id, 0, size);
    m->cached = true;
    return m;
}

static void file_done(struct spool_file_op *op)
{
}

struct spool_message *kit_large(struct spool *s, uint64_t size)
{
    struct spool_message *m = envelope(s, size, 1);
    uint64_t at = 0;

    m->file = spool_file_new(s);
    do {
        struct spool_file_op op = { .file = m->file, .done = file_done };
        uint64_t n = PT_MIN((uint64_t)100000, size - at);

        fill(&op.content, m->id, at, n);
        at += n;
        op.finish = at == size;
        spool_file_submit(s, &op);
        if (op.result) {
            spool_message_unref(m);
            return NULL;
        }
    } while (at < size);
    return m;
}

static void op_done(struct spool_op *op)
{
    op->kind = SPOOL_OP_COPY; /* seen by run() */
}

static enum pt_err run(struct spool *s, struct spool_op *op)
{
    op->done = op_done;
    spool_submit(s, op);
    while (op->kind != SPOOL_OP_COPY)
        pt_assert(spool_turn(s, kit_now_us));
    return op->result;
}

enum pt_err kit_keep(struct spool *s, struct spool_message *m)
{
    return kit_do(s, SPOOL_OP_MESSAGE, m);
}

enum pt_err kit_do(struct spool *s, enum spool_op_kind kind, struct spool_message *m)
{
    struct spool_op op = { .kind = kind, .message = m };

    return run(s, &op);
}

enum pt_err kit_route(struct spool *s, struct spool_message *m, const struct spool_route *routes,
                      uint32_t count)
{
    struct spool_op op = {
        .kind = SPOOL_OP_ROUTE, .message = m, .routes = routes, .route_count = count
    };

    return run(s, &op);
}

enum pt_err kit_outcome(struct spool *s, struct spool_message *m, uint32_t recipient,
                        enum spool_state state, const char *reply, struct spool_message *bounce)
{
    struct spool_outcome o = {
        .recipient = recipient,
        .state = (uint8_t)state,
        .code = 451,
        .attempts = 3,
        .next_attempt_us = 77,
        .reply = str_of(reply),
        .delay_told = state == SPOOL_QUEUED || state == SPOOL_IN_DOUBT,
    };
    struct spool_op op = {
        .kind = SPOOL_OP_OUTCOME,
        .message = m,
        .outcomes = &o,
        .outcome_count = 1,
        .bounce = bounce,
    };

    return run(s, &op);
}

void kit_nothing_done(struct spool_op *op)
{
}

static void read_done(struct spool_read *r)
{
}

enum pt_err kit_check(struct spool *s, struct spool_message *m)
{
    uint64_t at = 0;

    do {
        struct spool_read r = { .message = m, .offset = at, .length = 300000, .done = read_done };

        spool_read(s, &r);
        if (r.result)
            return r.result;
        for (struct block *b = r.content.first; b; b = b->next) {
            pt_assert(b->used <= STRETCH);
            if (memcmp(b->data, noise_at(m->id, at), b->used) != 0)
                return PT_ERR_CONFLICT;
            at += b->used;
        }
        if (r.content.size == 0 && m->size)
            return PT_ERR_TOOBIG;
        block_chain_done(&r.content);
    } while (at < m->size);
    return at == m->size ? PT_ERR_OK : PT_ERR_TOOBIG;
}

void kit_load(struct spool *s)
{
    struct spool_stats stats;

    do {
        spool_turn(s, kit_now_us);
        spool_get_stats(s, &stats);
    } while (stats.loading);
}

void kit_on_recovered(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    struct kit_found *f = ctx;

    pt_assert(count <= KIT_FOUND_MAX - f->count);
    for (uint32_t i = 0; i < count; i++)
        f->messages[f->count++] = spool_message_ref(messages[i]);
}

void kit_on_damaged(void *ctx, uint64_t id, const struct pt_fault *fault)
{
    struct kit_found *f = ctx;

    f->damages++;
}

void kit_forget(struct kit_found *f)
{
    while (f->count)
        spool_message_unref(f->messages[--f->count]);
    f->damages = 0;
}
