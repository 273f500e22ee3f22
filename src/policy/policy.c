/*
 * The rules, each one function: it looks at facts, notes a step, and refuses or settles. The order
 * in which a question asks them is the order of decisions. A rule behind one that has refused is
 * asked only for an explanation and changes the verdict no more.
 */
#include "policy/policy.h"

#include "policy/address.h"
#include "policy/question.h"

/* Each gets the reference of its decision appended. */
static const struct smtp_reply
    not_allowed =
        QUESTION_REFUSAL(554, 5, 7, 1, "Access denied: your address may not connect here"),
    no_longer_allowed = QUESTION_REFUSAL(421, 4, 7, 0, "Your address may no longer connect here"),
    too_many_connections = QUESTION_REFUSAL(421, 4, 3, 2, "Too many connections, try again later"),
    too_much_data = QUESTION_REFUSAL(421, 4, 7, 0, "Too much data in one session; connect again"),
    no_relaying = QUESTION_REFUSAL(550, 5, 7, 1,
                                   "Relaying denied: you may not send to this domain from here"),
    no_routing =
        QUESTION_REFUSAL(550, 5, 7, 1, "Relaying denied: the local part names another host");

/* ---- refusing ---- */

static void set_reply(struct policy_verdict *v, const struct smtp_reply *reply, uint64_t ref)
{
    static const char before[] = " [ref ";
    size_t n = reply->text.n;

    memcpy(v->text, reply->text.p, n);
    if (ref) {
        memcpy(v->text + n, before, sizeof before - 1);
        n += sizeof before - 1;
        policy_ref_format(ref, v->text + n);
        n += POLICY_REF_SIZE - 1;
        v->text[n++] = ']';
    }
    v->reply = *reply;
    v->reply.text = (struct str){ v->text, n };
}

void question_block(struct question *q, struct policy_step step, enum policy_action action,
                    const struct smtp_reply *reply)
{
    step.outcome = POLICY_BLOCKED;
    step.decisive = question_undecided(q);
    question_note(q, &step);
    if (!step.decisive)
        return;
    q->v->action = action;
    question_name(q->v, &step);
    set_reply(q->v, reply, q->facts->ref);
}

/* A value that has to stay below its limit. */
static void below(struct question *q, enum policy_rule rule, uint64_t value, uint64_t limit,
                  bool over, enum policy_action action, const struct smtp_reply *reply)
{
    struct policy_step step = {
        .rule = (uint8_t)rule, .entry = POLICY_NO_ENTRY, .value = value, .limit = limit
    };

    if (limit && over)
        question_block(q, step, action, reply);
    else
        question_pass(q, step);
}

/* ---- the client ---- */

static void connection_control(struct question *q, const struct smtp_reply *reply)
{
    bool deny_all = q->snap->settings->control.mode == SETTINGS_DENY_ALL_EXCEPT;
    const struct policy_table *t = deny_all ? q->snap->permit : q->snap->deny;
    uint32_t entry = access_table_find(t->table, &q->facts->client, q->facts->now_us);
    struct policy_step step = {
        .rule = POLICY_RULE_CONNECTION_CONTROL,
        .list = deny_all ? POLICY_LIST_PERMIT : POLICY_LIST_DENY,
        .entry = entry,
    };

    if ((entry != ACCESS_NONE) == deny_all)
        question_pass(q, step);
    else
        question_block(q, step, POLICY_DISCONNECT, reply);
}

static void connect_rules(struct question *q)
{
    uint64_t limit = q->snap->settings->interface.max_connections;
    uint64_t system = q->facts->sessions_max;

    if (system && (!limit || system < limit))
        limit = system;
    connection_control(q, &not_allowed);
    if (question_open(q))
        below(q, POLICY_RULE_MAX_CONNECTIONS, q->facts->sessions, limit,
              q->facts->sessions >= limit, POLICY_DISCONNECT, &too_many_connections);
}

/* ---- the message ---- */

static void required_tls(struct question *q)
{
    const struct policy_step step = { .rule = POLICY_RULE_REQUIRED_TLS,
                                      .entry = POLICY_NO_ENTRY,
                                      .value = q->facts->tls,
                                      .limit = q->snap->settings->tls.incoming_required };

    if (step.limit && !q->facts->tls)
        question_block(q, step, POLICY_REFUSE,
                       q->facts->tls_lacking ? &smtp_reply_tls_lacking : &smtp_reply_need_tls);
    else
        question_pass(q, step);
}

static void mail_rules(struct question *q)
{
    const struct settings *s = q->snap->settings;
    uint64_t messages = s->message_rules.max_messages_per_connection;
    uint64_t data = s->message_rules.max_data_per_connection;
    uint64_t size = s->message_rules.max_message_size;

    required_tls(q);
    if (question_open(q))
        below(q, POLICY_RULE_MAX_MESSAGES, q->facts->messages, messages,
              q->facts->messages >= messages, POLICY_DISCONNECT, &smtp_reply_too_many_messages);
    if (data && question_open(q))
        below(q, POLICY_RULE_MAX_DATA, q->facts->data + q->facts->size, data,
              q->facts->data >= data || q->facts->size > data - q->facts->data, POLICY_DISCONNECT,
              &too_much_data);
    if (question_open(q))
        below(q, POLICY_RULE_MAX_MESSAGE_SIZE, q->facts->size, size, q->facts->size > size,
              POLICY_REFUSE, &smtp_reply_too_large);
    if (q->snap->checked && question_open(q))
        question_checks(q);
}

/* ---- the recipient ---- */

static uint32_t relay_row(const struct policy_snapshot *snap, const struct net_addr *client,
                          int64_t now_us)
{
    return access_table_find(snap->relay, client, now_us);
}

/* RFC 5321 4.5.1: "<postmaster>" without a domain is always taken. */
static void postmaster(struct question *q, struct str local, bool has_domain)
{
    struct policy_step step = { .rule = POLICY_RULE_POSTMASTER, .entry = POLICY_NO_ENTRY };

    if (!has_domain && str_eq_nocase(local, STR("postmaster")))
        question_settle(q, step);
    else
        question_pass(q, step);
}

static void permitted_relay(struct question *q)
{
    const struct settings *s = q->snap->settings;
    bool specified = s->message_rules.relay_hosts == SETTINGS_RELAY_SPECIFIED;
    uint32_t row = relay_row(q->snap, &q->facts->client, q->facts->now_us);
    struct policy_step step = {
        .rule = POLICY_RULE_PERMITTED_RELAY,
        .list = specified ? POLICY_LIST_NETWORKS : POLICY_LIST_NONE,
        .entry = specified ? row : POLICY_NO_ENTRY,
        .value = row != ACCESS_NONE,
        .limit = s->message_rules.relay_hosts,
    };

    if (row != ACCESS_NONE)
        question_settle(q, step);
    else
        question_pass(q, step);
}

/* Mail for a relay domain is taken from anyone, unless its local part sends it on from there. */
static void relay_domains(struct question *q, struct str local, struct str domain)
{
    struct policy_step step = {
        .rule = POLICY_RULE_RELAY_DOMAINS,
        .list = POLICY_LIST_RELAY_DOMAINS,
        .entry = domain.n ? settings_relay_domain(q->snap->settings, domain) : POLICY_NO_ENTRY,
    };

    if (step.entry == POLICY_NO_ENTRY) {
        question_block(q, step, POLICY_REFUSE, &no_relaying);
        return;
    }
    if (!policy_address_routes(local)) {
        question_settle(q, step);
        return;
    }
    question_pass(q, step);
    step = (struct policy_step){ .rule = POLICY_RULE_SOURCE_ROUTE, .entry = POLICY_NO_ENTRY };
    question_block(q, step, POLICY_REFUSE, &no_routing);
}

/* What was not announced is counted while it is read, see policy_route_size(). */
static void route_size(struct question *q, struct str domain)
{
    const struct settings *s = q->snap->settings;
    const struct settings_route *route =
        s->routes_limit_size ? settings_route_for(s, domain) : NULL;
    struct policy_step step = { .rule = POLICY_RULE_ROUTE_SIZE,
                                .entry = POLICY_NO_ENTRY,
                                .value = q->facts->size,
                                .limit = route ? route->max_message_size : 0 };

    if (!step.limit)
        return;
    if (step.value <= step.limit) {
        question_pass(q, step);
        return;
    }
    if (q->v->action == POLICY_ACCEPT)
        q->settled = false; /* what was settled is that mail may go there, not how much */
    question_block(q, step, POLICY_REFUSE, &smtp_reply_too_large);
}

uint64_t policy_route_size(const struct policy_snapshot *snap, struct str recipient)
{
    const struct settings_route *route;
    struct str local, domain;

    if (!snap->settings->routes_limit_size || !policy_address_split(recipient, &local, &domain))
        return 0;
    route = settings_route_for(snap->settings, domain);
    return route ? route->max_message_size : 0;
}

static void rcpt_rules(struct question *q)
{
    uint64_t recipients = q->snap->settings->message_rules.max_recipients;
    struct str local, domain;
    bool has_domain = policy_address_split(q->facts->recipient, &local, &domain);

    below(q, POLICY_RULE_MAX_RECIPIENTS, q->facts->recipients, recipients,
          q->facts->recipients >= recipients, POLICY_REFUSE, &smtp_reply_too_many_recipients);
    if (question_open(q))
        postmaster(q, local, has_domain);
    if (question_open(q))
        permitted_relay(q);
    if (question_open(q))
        relay_domains(q, local, domain);
    if (has_domain && (q->v->explain || q->v->action == POLICY_ACCEPT))
        route_size(q, domain);
    if (q->snap->settings->message_rules.recipient_check != SETTINGS_LIMIT_OFF)
        question_recipient(q, domain);
}

/* ---- the questions ---- */

void policy_verdict_init(struct policy_verdict *v, bool explain)
{
    v->explain = explain;
    v->step_count = 0;
}

void policy_connect(const struct policy_snapshot *snap, const struct policy_facts *facts,
                    struct policy_verdict *v)
{
    struct question q = question_begin(snap, facts, POLICY_STAGE_CONNECT, v);

    connect_rules(&q);
}

void policy_limits(const struct policy_snapshot *snap, const struct policy_facts *facts,
                   struct policy_verdict *v)
{
    struct question q = question_begin(snap, facts, POLICY_STAGE_CONNECT, v);

    question_limits_connect(&q);
}

void policy_client(const struct policy_snapshot *snap, const struct policy_facts *facts,
                   struct policy_verdict *v)
{
    struct question q = question_begin(snap, facts, POLICY_STAGE_CONNECT, v);

    connection_control(&q, &no_longer_allowed);
}

void policy_mail(const struct policy_snapshot *snap, const struct policy_facts *facts,
                 struct policy_verdict *v)
{
    struct question q = question_begin(snap, facts, POLICY_STAGE_MAIL, v);

    if (facts->usage || facts->ban)
        question_limits_mail(&q);
    if (question_open(&q))
        mail_rules(&q);
}

void policy_rcpt(const struct policy_snapshot *snap, const struct policy_facts *facts,
                 struct policy_verdict *v)
{
    struct question q = question_begin(snap, facts, POLICY_STAGE_RCPT, v);

    if (facts->usage || facts->ban)
        question_limits_rcpt(&q);
    if (question_open(&q))
        required_tls(&q);
    if (question_open(&q))
        rcpt_rules(&q);
}

void policy_test_address(const struct policy_snapshot *snap, const struct net_addr *address,
                         int64_t now_us, struct policy_verdict *v)
{
    const struct policy_facts facts = { .client = *address, .now_us = now_us };
    struct question q = question_begin(snap, &facts, POLICY_STAGE_CONNECT, v);

    connection_control(&q, &not_allowed);
}

void policy_explain(const struct policy_snapshot *snap, const struct policy_facts *facts,
                    struct policy_verdict *v)
{
    struct question q = question_begin(snap, facts, POLICY_STAGE_CONNECT, v);

    connect_rules(&q);
    question_limits_connect(&q);
    q.stage = POLICY_STAGE_MAIL;
    question_limit(&q, SETTINGS_LIMIT_MESSAGES);
    mail_rules(&q);
    if (facts->recipient.n == 0)
        return;
    q.stage = POLICY_STAGE_RCPT;
    question_limit(&q, SETTINGS_LIMIT_RECIPIENTS);
    rcpt_rules(&q);
}

bool policy_may_relay(const struct policy_snapshot *snap, const struct net_addr *client,
                      int64_t now_us)
{
    return relay_row(snap, client, now_us) != ACCESS_NONE;
}
