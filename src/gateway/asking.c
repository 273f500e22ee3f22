#include "gateway/asking.h"

#include <stdlib.h>

#include "gateway/loop.h"
#include "gateway/names.h"
#include "gateway/session.h"

enum { PATIENCE_S = 30 }; /* RFC 5321 4.5.3.2.2: a client waits five minutes for the reply */

struct asking {
    struct asking *prev, *next; /* of the loop's, until all is answered */
    struct gateway_loop *loop;
    struct session *session; /* NULL: it does not wait any more */
    struct names_question names[2];
    unsigned pending; /* questions without an answer */
    int64_t since_ns;
    struct asking_facts known;
};

static void link_in(struct gateway_loop *l, struct asking *a)
{
    a->next = l->askings;
    if (a->next)
        a->next->prev = a;
    l->askings = a;
}

static void asking_free(struct asking *a)
{
    if (a->prev)
        a->prev->next = a->next;
    else
        a->loop->askings = a->next;
    if (a->next)
        a->next->prev = a->prev;
    policy_snapshot_unref(a->known.snapshot);
    free(a);
}

static void on_answer(struct names_question *q)
{
    struct asking *a = q->helo ? PT_CONTAINER_OF(q, struct asking, names[0])
                               : PT_CONTAINER_OF(q, struct asking, names[1]);

    if (q->helo)
        a->known.facts.helo_dns = q->answer;
    else
        a->known.facts.sender_dns = q->answer;
    a->pending--;
    if (a->pending == 0 && !a->session)
        asking_free(a);
    else if (a->pending == 0)
        session_asked(a->session);
}

/* The first facts point to what lies on the asker's stack. */
static void keep_facts(struct asking_facts *k, struct session *s, const struct policy_facts *facts)
{
    k->snapshot = policy_snapshot_ref(s->loop->snapshot);
    k->facts = *facts;
    k->facts.sender = s->smtp.asked.mail.reverse_path;
    if (facts->usage) {
        k->room.usage = *facts->usage;
        k->facts.usage = &k->room.usage;
    }
    if (facts->ban) {
        k->room.ban = *facts->ban;
        k->facts.ban = &k->room.ban;
    }
}

static bool prepare(struct asking *a, bool helo)
{
    struct names_question *q = &a->names[helo ? 0 : 1];

    q->helo = helo;
    q->done = on_answer;
    q->query.reply_to = a->loop->loop;
    return policy_ask_name(&a->known.facts, helo ? POLICY_ASK_HELO : POLICY_ASK_SENDER,
                           q->query.name);
}

bool asking_begin(struct session *s, const struct policy_facts *facts, uint8_t asks)
{
    struct net_resolver *resolver = s->loop->gateway->resolver;
    struct asking *a = resolver ? calloc(1, sizeof *a) : NULL;
    bool ask[2];

    if (!a)
        return false;
    if (!smtp_server_hold(&s->smtp)) {
        free(a);
        return false;
    }
    a->loop = s->loop;
    a->session = s;
    a->since_ns = net_loop_now(s->loop->loop);
    keep_facts(&a->known, s, facts);
    link_in(s->loop, a);
    ask[0] = asks & POLICY_ASK_HELO && prepare(a, true);
    ask[1] = asks & POLICY_ASK_SENDER && prepare(a, false);
    a->pending = (unsigned)ask[0] + ask[1];
    for (int i = 0; i < 2; i++)
        if (ask[i])
            names_ask(&a->names[i], resolver);
    if (a->pending == 0) {
        asking_free(a);
        return false;
    }
    s->asking = a;
    return true;
}

const struct asking_facts *asking_facts(const struct asking *a)
{
    return &a->known;
}

void asking_drop(struct asking *a)
{
    if (!a)
        return;
    a->session = NULL;
    if (a->pending == 0)
        asking_free(a);
}

bool asking_gives_up(struct asking *a, int64_t now_ns)
{
    struct policy_facts *f = &a->known.facts;

    if (now_ns - a->since_ns < PATIENCE_S * INT64_C(1000000000))
        return false;
    f->helo_dns = f->helo_dns == POLICY_DNS_NOT_ASKED ? POLICY_DNS_UNTOLD : f->helo_dns;
    f->sender_dns = f->sender_dns == POLICY_DNS_NOT_ASKED ? POLICY_DNS_UNTOLD : f->sender_dns;
    return true;
}

void asking_forget_all(struct gateway_loop *l)
{
    while (l->askings)
        asking_free(l->askings);
}
