#include "gateway/refused.h"

#include "base/log.h"
#include "gateway/loop.h"

static void tell_rest(struct gateway_refused *r)
{
    struct log_line line;

    if (r->untold > 0) {
        log_begin(&line, LOG_INFO, "refused_more");
        log_u64(&line, "count", r->untold);
        log_end(&line);
    }
    r->untold = 0;
    r->lines = 0;
    r->counting = false;
}

static void on_second(struct net_timer *t)
{
    tell_rest(PT_CONTAINER_OF(t, struct gateway_refused, second));
}

void gateway_refused_init(struct gateway_refused *r, struct net_loop *loop)
{
    net_timer_init(&r->second, loop, on_second);
}

void gateway_refused_done(struct gateway_refused *r)
{
    net_timer_stop(&r->second);
    tell_rest(r);
}

static void write_line(const struct gateway_loop *l, const struct net_endpoint *peer,
                       const struct policy_verdict *v)
{
    char client[NET_ENDPOINT_SIZE], ref[POLICY_REF_SIZE], entry[SETTINGS_ENTRY_SIZE];
    struct log_line line;

    net_endpoint_format(peer, client);
    log_begin(&line, LOG_INFO, "refused");
    log_cstr(&line, "client", client);
    log_cstr(&line, "rule", policy_rule_name(v->rule));
    log_cstr(&line, "entry", policy_entry_text(l->snapshot, v->list, v->entry, entry));
    log_u64(&line, "code", v->reply.code);
    policy_ref_format(l->next_ref, ref);
    log_cstr(&line, "ref", ref);
    log_end(&line);
}

void gateway_refused_tell(struct gateway_loop *l, const struct net_endpoint *peer,
                          const struct policy_verdict *v)
{
    struct gateway_refused *r = &l->refused;

    if (!r->counting) {
        r->counting = true;
        net_timer_start(&r->second, INT64_C(1000000000));
    }
    if (r->lines < GATEWAY_REFUSED_LINES) {
        r->lines++;
        write_line(l, peer, v);
    } else {
        r->untold++;
    }
}
