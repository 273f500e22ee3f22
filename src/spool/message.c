#include "spool/message.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "spool/file.h"
#include "spool/text.h"

/*
 * Message objects. They come from a shared list of used ones, so that in steady state none is
 * allocated; what they hold is in their arena (pooled blocks) or, when found in the log, in one
 * piece of memory of the right size.
 */

enum { ARENA_MAX = 64 << 20, POOL_MAX = 4096 };

struct spool_piece {
    struct spool_piece *next;
    _Alignas(max_align_t) char octets[];
};

static struct {
    pthread_mutex_t lock;
    struct spool_message *first; /* linked by place.next */
    unsigned count;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct spool_message *take_pooled(void)
{
    struct spool_message *m;

    pthread_mutex_lock(&pool.lock);
    m = pool.first;
    if (m) {
        pool.first = m->place.next;
        pool.count--;
    }
    pthread_mutex_unlock(&pool.lock);
    return m;
}

static void put_pooled(struct spool_message *m)
{
    pthread_mutex_lock(&pool.lock);
    if (pool.count < POOL_MAX) {
        m->place.next = pool.first;
        pool.first = m;
        pool.count++;
        m = NULL;
    }
    pthread_mutex_unlock(&pool.lock);
    free(m);
}

struct spool_message *spool_message_new(void)
{
    struct spool_message *m = take_pooled();

    if (!m)
        m = malloc(sizeof *m);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    arena_init(&m->arena, ARENA_MAX);
    atomic_init(&m->refs, 1);
    return m;
}

struct spool_message *spool_message_ref(struct spool_message *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

static void free_next_hops(struct str *next_hops, uint32_t count)
{
    for (uint32_t i = 0; next_hops && i < count; i++)
        text_put(next_hops[i]);
    free(next_hops);
}

void spool_message_unref(struct spool_message *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    block_chain_done(&m->content);
    if (m->file)
        spool_file_leave(m->file);
    spool_states_free(m->place.states);
    free_next_hops(m->next_hops, m->recipient_count);
    for (uint32_t i = 0; i < m->recipient_count; i++)
        text_put(m->recipients[i].reply);
    arena_done(&m->arena);
    while (m->packed) {
        struct spool_piece *piece = m->packed;

        m->packed = piece->next;
        free(piece);
    }
    put_pooled(m);
}

void spool_message_uncache(struct spool_message *m)
{
    m->cached = false;
    block_chain_done(&m->content);
}

bool spool_message_send_to(struct spool_message *m, uint32_t recipient, struct str next_hop)
{
    struct str kept = STR_NULL;

    if (!m->next_hops && next_hop.n)
        m->next_hops = calloc(m->recipient_count, sizeof *m->next_hops);
    if (!m->next_hops)
        return !next_hop.n;
    if (next_hop.n) {
        kept = text_get(str_head(next_hop, SPOOL_REPLY_MAX));
        if (!kept.p)
            return false;
    }
    text_put(m->next_hops[recipient]);
    m->next_hops[recipient] = kept;
    return true;
}

char *spool_message_memory(struct spool_message *m, uint64_t n)
{
    struct spool_piece *piece = malloc(sizeof *piece + n);

    if (!piece)
        return NULL;
    piece->next = m->packed;
    m->packed = piece;
    return piece->octets;
}

/* ---- states ---- */

static bool set_reply(struct format_state *s, struct str reply)
{
    spool_reply_set(&s->reply, reply);
    return s->reply.p || reply.n == 0;
}

struct spool_states *spool_states_get(struct spool_message *m)
{
    struct spool_states *s = m->place.states;

    if (s)
        return s;
    s = calloc(1, sizeof *s + m->recipient_count * sizeof s->of[0]);
    if (!s)
        return NULL;
    s->count = m->recipient_count;
    m->place.states = s;
    return s;
}

bool spool_states_set(struct spool_states *s, const struct spool_outcome *o)
{
    struct format_state *to = &s->of[o->recipient];

    to->state = o->state;
    to->code = o->code;
    to->attempts = o->attempts;
    to->next_attempt_us = o->next_attempt_us;
    to->delay_told = o->delay_told;
    return set_reply(to, o->reply);
}

bool spool_states_make_routes(struct spool_states *s)
{
    if (!s->next_hops)
        s->next_hops = calloc(s->count, sizeof *s->next_hops);
    return s->next_hops != NULL;
}

void spool_states_route(struct spool_states *s, const struct spool_route *r)
{
    spool_reply_set(&s->next_hops[r->recipient], r->next_hop);
}

void spool_states_free(struct spool_states *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->count; i++)
        text_put(s->of[i].reply);
    free_next_hops(s->next_hops, s->count);
    free(s);
}
