#include "daemon/names_api.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/process.h"
#include "daemon/recipients.h"
#include "gateway/names.h"
#include "policy/policy.h"

static void on_answer(struct names_question *q)
{
}

/* Both side by side, on a loop of their own: a job thread has none. */
static void wait_for(struct net_resolver *resolver, struct net_loop *loop,
                     struct names_question *const questions[2])
{
    for (int i = 0; i < 2; i++)
        if (questions[i]) {
            questions[i]->query.reply_to = loop;
            names_ask(questions[i], resolver);
        }
    for (int i = 0; i < 2; i++)
        while (questions[i] && questions[i]->answer == POLICY_DNS_NOT_ASKED)
            net_loop_turn(loop, -1);
}

static void take_answer(const struct names_question *q, uint8_t *answer,
                        char why[POLICY_EXPLAIN_WHY])
{
    *answer = q ? q->answer : POLICY_DNS_UNTOLD;
    snprintf(why, POLICY_EXPLAIN_WHY, "%s", q ? q->query.reason : "");
}

void names_look_up(void *ctx, const struct policy_snapshot *snap, struct policy_explain_ask *ask)
{
    const struct process *p = ctx;
    struct names_question *room = calloc(2, sizeof *room), *questions[2] = { NULL };
    struct net_resolver *resolver = p->control.resolver;
    struct net_loop *loop = NULL;
    char names[2][SETTINGS_DOMAIN_SIZE];
    bool asks[2];

    for (int i = 0; i < 2; i++)
        asks[i] = policy_explain_asks(snap, ask, i == 0, names[i]);
    if (resolver && room && (asks[0] || asks[1]))
        loop = net_loop_new(0);
    for (int i = 0; loop && i < 2; i++)
        if (asks[i]) {
            room[i].helo = i == 0;
            room[i].done = on_answer;
            memcpy(room[i].query.name, names[i], sizeof names[i]);
            questions[i] = &room[i];
        }
    if (loop)
        wait_for(resolver, loop, questions);
    net_loop_free(loop);
    if (asks[0])
        take_answer(questions[0], &ask->helo_dns, ask->helo_why);
    if (asks[1])
        take_answer(questions[1], &ask->from_dns, ask->from_why);
    free(room);
    recipients_look_up(ctx, snap, ask);
}
