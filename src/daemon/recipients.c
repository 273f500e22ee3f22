#include "daemon/recipients.h"

#include "daemon/process.h"
#include "gateway/recipients.h"
#include "relay/callout.h"

_Static_assert(sizeof(struct relay_callout) <= GATEWAY_RECIPIENT_ROOM, "it has its place there");

static struct relay_callout *callout_of(struct gateway_recipient_question *q)
{
    return (struct relay_callout *)(void *)q->room;
}

static void on_answered(struct relay_callout *c)
{
    char *room = (char *)c;
    struct gateway_recipient_question *q =
        (void *)(room - offsetof(struct gateway_recipient_question, room));

    q->answered(q);
}

bool recipients_ask(void *ctx, struct gateway_recipient_question *q)
{
    struct process *p = ctx;
    struct relay_callout *c = callout_of(q);

    *c = (struct relay_callout){
        .recipient = q->recipient, .home = q->home, .answered = on_answered, .answer = &q->answer
    };
    return relay_callout_ask(p->relay, c);
}

/* ---- for an explanation ---- */

struct looking {
    struct gateway_recipient_question q;
    bool answered;
};

static void on_looked(struct gateway_recipient_question *q)
{
    PT_CONTAINER_OF(q, struct looking, q)->answered = true;
}

void recipients_look_up(void *ctx, const struct policy_snapshot *snap,
                        struct policy_explain_ask *ask)
{
    struct process *p = ctx;
    struct net_loop *loop;
    struct looking l = { .q = { .recipient = ask->to, .answered = on_looked } };

    if (!policy_explain_asks_recipient(snap, ask) || !atomic_load(&p->serving))
        return;
    loop = l.q.home = net_loop_new(0); /* a job thread has none */
    if (!loop)
        return;
    if (!recipients_ask(p, &l.q))
        while (!l.answered)
            net_loop_turn(loop, -1);
    net_loop_free(loop);
    ask->answer = l.q.answer;
}
