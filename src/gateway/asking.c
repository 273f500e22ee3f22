#include "gateway/asking.h"

#include <stdlib.h>

#include "gateway/loop.h"
#include "gateway/names.h"
#include "gateway/recipients.h"
#include "gateway/session.h"

/* RFC 5321 4.5.3.2: a client waits five minutes for the reply. A next hop has a limit of its own,
 * which is shorter. */
enum { PATIENCE_S = 30, HOP_PATIENCE_S = 150, ADDRESS_MAX = 320 };

struct asking {
    struct asking *prev, *next; /* of the loop's, until all is answered */
    struct gateway_loop *loop;
    struct session *session; /* NULL: it does not wait any more */
    struct names_question names[2];
    struct gateway_recipient_question recipient; /* of its next hop */
    unsigned pending;                            /* questions without an answer */
    bool rcpt;                                   /* it is about RCPT, not MAIL */
    char address[ADDRESS_MAX];                   /* the recipient's */
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

static void remember(struct gateway_loop *l, const struct names_question *q)
{
    if (!l->names)
        l->names = names_known_new();
    if (l->names)
        names_known_add(l->names, q, net_loop_now(l->loop));
}

static void on_answer(struct names_question *q)
{
    struct asking *a = q->helo ? PT_CONTAINER_OF(q, struct asking, names[0])
                               : PT_CONTAINER_OF(q, struct asking, names[1]);

    if (q->helo)
        a->known.facts.helo_dns = q->answer;
    else
        a->known.facts.sender_dns = q->answer;
    remember(a->loop, q);
    a->pending--;
    if (a->pending == 0 && !a->session)
        asking_free(a);
    else if (a->pending == 0)
        session_asked(a->session);
}

/* The first facts point to what lies on the asker's stack. */
static void keep_facts(struct asking_facts *k, const struct policy_snapshot *snapshot,
                       const struct policy_facts *facts)
{
    k->snapshot = policy_snapshot_ref(snapshot);
    k->facts = *facts;
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

/* What was asked about is held from now on. NULL: memory is short. */
static struct asking *asking_new(struct session *s, const struct policy_snapshot *snapshot,
                                 const struct policy_facts *facts)
{
    struct asking *a = calloc(1, sizeof *a);

    if (!a || !smtp_server_hold(&s->smtp)) {
        free(a);
        return NULL;
    }
    a->loop = s->loop;
    a->session = s;
    a->since_ns = net_loop_now(s->loop->loop);
    keep_facts(&a->known, snapshot, facts);
    link_in(s->loop, a);
    return a;
}

static void on_recipient(struct gateway_recipient_question *q)
{
    struct asking *a = PT_CONTAINER_OF(q, struct asking, recipient);

    a->pending = 0;
    if (!a->session) {
        asking_free(a);
        return;
    }
    a->known.facts.answer = &q->answer;
    session_asked(a->session);
}

bool asking_recipient(struct session *s, const struct policy_snapshot *snapshot,
                      struct policy_facts *facts, struct policy_recipient *answer)
{
    const struct gateway_recipients *r = s->loop->gateway->recipients;
    struct asking *a = r ? asking_new(s, snapshot, facts) : NULL;

    facts->answer = answer;
    answer->said = POLICY_RECIPIENT_UNTOLD;
    if (!a)
        return false;
    a->rcpt = true;
    a->known.facts.recipient = s->smtp.asked.rcpt.address;
    /* Its own copy: the session may be gone before the answer comes. */
    if (a->known.facts.recipient.n <= sizeof a->address) {
        memcpy(a->address, a->known.facts.recipient.p, a->known.facts.recipient.n);
        a->recipient.recipient = (struct str){ a->address, a->known.facts.recipient.n };
    }
    a->recipient.home = s->loop->loop;
    a->recipient.answered = on_recipient;
    if (a->recipient.recipient.n == 0 || r->ask(r->ctx, &a->recipient)) {
        if (a->recipient.recipient.n)
            *answer = a->recipient.answer;
        asking_free(a);
        return false;
    }
    a->pending = 1;
    s->asking = a;
    return true;
}

/* One name; true as well when it is not asked about. */
static bool is_known(struct session *s, const struct policy_facts *facts, uint8_t asks,
                     enum policy_ask ask, uint8_t *out)
{
    struct gateway_loop *l = s->loop;
    char name[SETTINGS_DOMAIN_SIZE];

    if (!(asks & ask))
        return true;
    return l->names && policy_ask_name(facts, ask, name) &&
           names_known_find(l->names, name, ask == POLICY_ASK_HELO, net_loop_now(l->loop), out);
}

bool asking_known(struct session *s, struct policy_facts *facts, uint8_t asks)
{
    return is_known(s, facts, asks, POLICY_ASK_HELO, &facts->helo_dns) &&
           is_known(s, facts, asks, POLICY_ASK_SENDER, &facts->sender_dns);
}

bool asking_begin(struct session *s, const struct policy_facts *facts, uint8_t asks)
{
    struct net_resolver *resolver = s->loop->gateway->resolver;
    struct asking *a = resolver ? asking_new(s, s->loop->snapshot, facts) : NULL;
    bool ask[2];

    if (!a)
        return false;
    a->known.facts.sender = s->smtp.asked.mail.reverse_path;
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

bool asking_is_about_recipient(const struct asking *a)
{
    return a->rcpt;
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

    if (now_ns - a->since_ns < (a->rcpt ? HOP_PATIENCE_S : PATIENCE_S) * INT64_C(1000000000))
        return false;
    if (a->rcpt) {
        static const struct policy_recipient untold = { .said = POLICY_RECIPIENT_UNTOLD };

        f->answer = &untold;
        return true;
    }
    f->helo_dns = f->helo_dns == POLICY_DNS_NOT_ASKED ? POLICY_DNS_UNTOLD : f->helo_dns;
    f->sender_dns = f->sender_dns == POLICY_DNS_NOT_ASKED ? POLICY_DNS_UNTOLD : f->sender_dns;
    return true;
}

void asking_forget_all(struct gateway_loop *l)
{
    while (l->askings)
        asking_free(l->askings);
}
