#include "fake_dns.h"

#include <stdio.h>
#include <stdlib.h>

struct fake_answer fake_dns[8];
uint32_t fake_dns_count, fake_dns_questions;
bool fake_dns_holds;
struct net_query *fake_dns_held;

static void fill(struct net_query *q, const struct fake_answer *a)
{
    q->result = a->result;
    q->null_mx = a->null_mx;
    snprintf(q->reason, sizeof q->reason, "%s", a->reason ? a->reason : "");
    q->targets = calloc(a->target_count + 1, sizeof *q->targets);
    pt_assert(q->targets);
    for (uint32_t i = 0; i < a->target_count; i++) {
        q->targets[i].priority = a->priorities[i];
        q->targets[i].addr = a->targets[i].addr;
        snprintf(q->targets[i].host, sizeof q->targets[i].host, "%s", a->hosts[i]);
    }
    q->target_count = a->target_count;
}

static void answer(struct mail *mail)
{
    struct net_query *q = PT_CONTAINER_OF(mail, struct net_query, mail);

    q->result = PT_ERR_NOTFOUND;
    for (uint32_t i = 0; i < fake_dns_count; i++)
        if (fake_dns[i].kind == q->kind && str_eq(str_of(fake_dns[i].name), str_of(q->name)))
            fill(q, &fake_dns[i]);
    q->done(q);
}

void net_resolve(struct net_resolver *r, struct net_query *q)
{
    (void)r;
    fake_dns_questions++;
    q->mail.run = answer;
    if (fake_dns_holds)
        fake_dns_held = q;
    else
        net_loop_post(q->reply_to, &q->mail);
}

void net_query_clear(struct net_query *q)
{
    free(q->targets);
    q->targets = NULL;
    q->target_count = 0;
}
