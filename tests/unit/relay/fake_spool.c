#include "fake_spool.h"

#include <stdlib.h>
#include <string.h>

struct fake_content {
    struct fake_content *next;
    uint64_t id;
    char *p;
    size_t n;
};

struct fake_spool *fake_spool_new(void)
{
    struct fake_spool *s = calloc(1, sizeof *s);

    pt_assert(s);
    s->end = &s->first;
    s->next_id = 1000;
    return s;
}

void fake_spool_free(struct fake_spool *s)
{
    while (fake_spool_turn(s))
        ;
    while (s->contents) {
        struct fake_content *c = s->contents;

        s->contents = c->next;
        free(c->p);
        free(c);
    }
    free(s);
}

struct spool *fake_spool_handle(struct fake_spool *s)
{
    return (struct spool *)s;
}

static void keep_content(struct fake_spool *s, const struct spool_message *m)
{
    struct fake_content *c = calloc(1, sizeof *c);

    pt_assert(c);
    c->id = m->id;
    c->n = m->content.size;
    c->p = malloc(c->n + 1);
    pt_assert(c->p);
    block_chain_copy(&m->content, 0, c->p, c->n);
    c->p[c->n] = 0;
    c->next = s->contents;
    s->contents = c;
}

/* ---- the spool's functions ---- */

struct spool_message *spool_message_new(void)
{
    struct spool_message *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    arena_init(&m->arena, 64 << 20);
    atomic_init(&m->refs, 1);
    return m;
}

struct spool_message *spool_message_ref(struct spool_message *m)
{
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void spool_message_unref(struct spool_message *m)
{
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    block_chain_done(&m->content);
    for (uint32_t i = 0; i < m->recipient_count; i++)
        spool_reply_set(&m->recipients[i].reply, STR_NULL);
    for (uint32_t i = 0; m->next_hops && i < m->recipient_count; i++)
        spool_reply_set(&m->next_hops[i], STR_NULL);
    free(m->next_hops);
    arena_done(&m->arena);
    free(m);
}

bool spool_message_send_to(struct spool_message *m, uint32_t recipient, struct str next_hop)
{
    if (!m->next_hops)
        m->next_hops = calloc(m->recipient_count, sizeof *m->next_hops);
    spool_reply_set(&m->next_hops[recipient], next_hop);
    return true;
}

void spool_message_uncache(struct spool_message *m)
{
    block_chain_done(&m->content);
    m->cached = false;
}

uint64_t spool_new_id(struct spool *spool)
{
    return ((struct fake_spool *)spool)->next_id++;
}

void spool_submit(struct spool *spool, struct spool_op *first)
{
    struct fake_spool *s = (struct fake_spool *)spool;

    *s->end = first;
    while (*s->end)
        s->end = &(*s->end)->next;
    if (s->at_once)
        fake_spool_turn(s);
}

void spool_read(struct spool *spool, struct spool_read *r)
{
    struct fake_spool *s = (struct fake_spool *)spool;
    const struct fake_content *c = s->contents;

    while (c && c->id != r->message->id)
        c = c->next;
    r->result = s->fail_read ? s->fail_read : c ? PT_ERR_OK : PT_ERR_NOTFOUND;
    if (c && !s->fail_read && r->offset <= c->n) {
        size_t n = PT_MIN((size_t)r->length, c->n - (size_t)r->offset);

        pt_assert(block_chain_add(&r->content, (struct str){ c->p + r->offset, n }));
    }
    r->done(r);
}

/* ---- the commit thread ---- */

static bool any_failed(const struct spool_op *op)
{
    for (uint32_t i = 0; i < op->outcome_count; i++)
        if (op->outcomes[i].state == SPOOL_FAILED)
            return true;
    return false;
}

static void store_outcomes(struct fake_spool *s, const struct spool_op *op)
{
    for (uint32_t i = 0; i < op->outcome_count; i++) {
        const struct spool_outcome *o = &op->outcomes[i];
        struct fake_outcome *to = &s->outcomes[s->outcome_count++];
        size_t n = PT_MIN(o->reply.n, (size_t)SPOOL_REPLY_MAX);

        pt_assert(s->outcome_count < FAKE_OUTCOMES_MAX);
        to->id = op->message->id;
        to->recipient = o->recipient;
        to->state = o->state;
        to->code = o->code;
        to->delay_told = o->delay_told;
        to->with_bounce = op->bounce && i == 0;
        to->failure_told = to->with_bounce && any_failed(op);
        if (n)
            memcpy(to->reply, o->reply.p, n);
        to->reply[n] = 0;
    }
}

static void store_bounce(struct fake_spool *s, struct spool_message *m)
{
    size_t n = PT_MIN(m->content.size, sizeof s->last_bounce - 1);
    struct str to = m->recipients[0].address;

    s->bounces++;
    block_chain_copy(&m->content, 0, s->last_bounce, n);
    s->last_bounce[n] = 0;
    n = PT_MIN(to.n, sizeof s->last_bounce_to - 1);
    memcpy(s->last_bounce_to, to.p, n);
    s->last_bounce_to[n] = 0;
    pt_assert(m->reverse_path.n == 0);
    keep_content(s, m);
    if (s->committed)
        s->committed(s->ctx, &m, 1);
}

static void store(struct fake_spool *s, struct spool_op *op)
{
    switch (op->kind) {
    case SPOOL_OP_OUTCOME:
        store_outcomes(s, op);
        if (op->bounce)
            store_bounce(s, op->bounce);
        break;
    case SPOOL_OP_HOLD:
        s->holds++;
        break;
    case SPOOL_OP_RELEASE:
        s->releases++;
        break;
    case SPOOL_OP_DELETE:
        s->deletes++;
        break;
    case SPOOL_OP_ROUTE:
        s->routes += op->route_count;
        break;
    default:
        break;
    }
}

bool fake_spool_turn(struct fake_spool *s)
{
    struct spool_op *op = s->first;
    bool any = op != NULL;

    s->first = NULL;
    s->end = &s->first;
    while (op) {
        struct spool_op *next = op->next;

        op->result = s->fail;
        if (!s->fail)
            store(s, op);
        op->done(op);
        op = next;
    }
    return any;
}

/* ---- for the tests ---- */

static uint32_t count_words(const char *text)
{
    uint32_t n = 1;

    for (; *text; text++)
        n += *text == ' ';
    return n;
}

struct spool_message *fake_spool_message(struct fake_spool *s, const char *from, const char *to,
                                         struct str content, int64_t received_us)
{
    struct spool_message *m = spool_message_new();
    struct str rest = str_of(to);

    pt_assert(m);
    m->id = s->next_id++;
    m->received_us = received_us;
    m->reverse_path = arena_str(&m->arena, str_of(from));
    m->recipient_count = count_words(to);
    m->recipients = arena_zalloc(&m->arena, m->recipient_count * sizeof *m->recipients);
    pt_assert(m->recipients);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        ptrdiff_t end = str_find(rest, ' ', 0);
        size_t n = end < 0 ? rest.n : (size_t)end;

        m->recipients[i].address = arena_str(&m->arena, str_head(rest, n));
        rest = str_from(rest, end < 0 ? n : n + 1);
    }
    pt_assert(block_chain_add(&m->content, content));
    m->size = content.n;
    m->cached = true;
    if (str_has_8bit(content))
        m->flags |= SPOOL_8BIT;
    keep_content(s, m);
    return m;
}

const struct fake_outcome *fake_spool_outcome(const struct fake_spool *s, uint64_t id,
                                              uint32_t recipient)
{
    for (uint32_t i = s->outcome_count; i-- > 0;)
        if (s->outcomes[i].id == id && s->outcomes[i].recipient == recipient)
            return &s->outcomes[i];
    return NULL;
}

uint32_t fake_spool_count(const struct fake_spool *s, uint64_t id, uint32_t recipient,
                          uint8_t state)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->outcome_count; i++)
        n += s->outcomes[i].id == id && s->outcomes[i].recipient == recipient &&
             s->outcomes[i].state == state;
    return n;
}
