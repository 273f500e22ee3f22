#include "gateway/names.h"

#include "policy/policy.h"

static uint8_t answer_of(const struct names_question *q)
{
    if (q->query.result == PT_ERR_OK)
        return POLICY_DNS_FOUND;
    if (q->query.result != PT_ERR_NOTFOUND)
        return POLICY_DNS_UNTOLD;
    return q->query.null_mx && !q->helo ? POLICY_DNS_NULL_MX : POLICY_DNS_NOTHING;
}

static void on_answer(struct net_query *query)
{
    struct names_question *q = PT_CONTAINER_OF(query, struct names_question, query);
    bool again = query->kind == NET_QUERY_ADDRESSES && query->result == PT_ERR_NOTFOUND;

    net_query_clear(query);
    if (again) {
        query->kind = NET_QUERY_MAIL;
        net_resolve(q->resolver, query);
        return;
    }
    q->answer = answer_of(q);
    q->done(q);
}

void names_ask(struct names_question *q, struct net_resolver *resolver)
{
    q->resolver = resolver;
    q->query.kind = q->helo ? NET_QUERY_ADDRESSES : NET_QUERY_MAIL;
    q->query.done = on_answer;
    net_resolve(resolver, &q->query);
}
