#include "policy/explain_view.h"

#include <stdio.h>

#include "policy/policy.h"
#include "smtp/address.h"
#include "smtp/reply.h"

enum { TEXT_MAX = 2048 };

static unsigned number_of(const struct policy_step *s)
{
    switch ((enum policy_rule)s->rule) {
    case POLICY_RULE_CONNECTION_CONTROL:
        return 2;
    case POLICY_RULE_MAX_CONNECTIONS:
        return 3;
    case POLICY_RULE_BAN:
    case POLICY_RULE_EXEMPT:
    case POLICY_RULE_LIMIT_SESSIONS:
    case POLICY_RULE_LIMIT_CONNECTIONS:
    case POLICY_RULE_LIMIT_MESSAGES:
    case POLICY_RULE_LIMIT_RECIPIENTS:
    case POLICY_RULE_LIMIT_FAILURES:
        return 4;
    case POLICY_RULE_REQUIRED_TLS:
        return 5;
    case POLICY_RULE_MAX_MESSAGES:
    case POLICY_RULE_MAX_DATA:
    case POLICY_RULE_MAX_MESSAGE_SIZE:
    case POLICY_RULE_HELO_SYNTAX:
    case POLICY_RULE_HELO_OWN_NAME:
    case POLICY_RULE_SENDER_SYNTAX:
    case POLICY_RULE_SENDER_OWN_DOMAIN:
    case POLICY_RULE_HELO_RESOLVABLE:
    case POLICY_RULE_SENDER_RESOLVABLE:
        return 6;
    default:
        return 7;
    }
}

static bool is_counted(const struct policy_step *s)
{
    return s->scope != POLICY_SCOPE_NONE || s->rule == POLICY_RULE_MAX_CONNECTIONS ||
           s->rule == POLICY_RULE_MAX_MESSAGES || s->rule == POLICY_RULE_MAX_DATA ||
           s->rule == POLICY_RULE_MAX_MESSAGE_SIZE || s->rule == POLICY_RULE_MAX_RECIPIENTS ||
           s->rule == POLICY_RULE_ROUTE_SIZE;
}

static void tell_answer(const struct policy_recipient *a, struct buf *text)
{
    if (!a->said)
        return;
    buf_addf(text, " (%s", a->remembered ? "remembered" : "asked now");
    if (a->code)
        buf_addf(text, ": %u %s", (unsigned)a->code, a->words);
    else if (a->words[0])
        buf_addf(text, ": %s", a->words);
    BUF_LIT(text, ")");
}

static void show_step(const struct policy_snapshot *snap, const struct policy_explain_ask *ask,
                      const struct policy_step *s, struct buf *text, policy_explain_fn *show,
                      void *user)
{
    static const char *const stages[] = { "connection", "MAIL", "RCPT" };
    static const char *const lists[] = { NULL,       "deny_list",     "permit_list",
                                         "networks", "relay_domains", "exempt" };
    static const char *const scopes[] = { NULL, "address", "prefix" };
    char room[SETTINGS_ENTRY_SIZE];
    bool noted = s->rule == POLICY_RULE_BAN && ask->banned && ask->ban.note[0];

    buf_clear(text);
    policy_step_tell(snap, s, text);
    if (s->outcome != POLICY_PASS && s->rule == POLICY_RULE_HELO_RESOLVABLE && ask->helo_why[0])
        buf_addf(text, " (%s)", ask->helo_why);
    if (s->outcome != POLICY_PASS && s->rule == POLICY_RULE_SENDER_RESOLVABLE && ask->from_why[0])
        buf_addf(text, " (%s)", ask->from_why);
    if (s->rule == POLICY_RULE_RECIPIENT_CHECK)
        tell_answer(&ask->answer, text);
    if (noted)
        buf_addf(text, " (%s)", ask->ban.note);
    show(user, &(struct policy_explain_step){
                   .number = number_of(s),
                   .stage = stages[s->stage],
                   .rule = policy_rule_name(s->rule),
                   .outcome = policy_outcome_name(s->outcome),
                   .decisive = s->decisive,
                   .list = lists[s->list],
                   .entry = policy_entry_text(snap, s->list, s->entry, room),
                   .comment = noted ? ask->ban.note : policy_entry_comment(snap, s->list, s->entry),
                   .scope = scopes[s->scope],
                   .counted = is_counted(s),
                   .value = s->value,
                   .limit = s->limit,
                   .text = buf_str(text),
               });
}

/* What a session would answer last: the refusal, or that all was taken. */
static void set_reply(const struct policy_explain_ask *ask, const struct policy_verdict *v,
                      struct policy_explained *out)
{
    const struct smtp_reply *reply = &v->reply;

    if (v->action == POLICY_ACCEPT)
        reply = ask->to.n ? &smtp_reply_recipient_ok : &smtp_reply_sender_ok;
    out->code = reply->code;
    memcpy(out->status, reply->status, sizeof out->status);
    snprintf(out->text, sizeof out->text, "%.*s", STR_FMT(reply->text));
}

static struct policy_facts facts_of(const struct policy_explain_ask *ask)
{
    return (struct policy_facts){
        .client = ask->client,
        .now_us = ask->now_us,
        .sessions = ask->sessions,
        .sessions_max = ask->sessions_max,
        .tls = ask->tls,
        .size = ask->size,
        .tls_lacking = ask->tls_lacking,
        .helo = ask->helo,
        .sender = ask->from,
        .helo_dns = ask->helo_dns,
        .sender_dns = ask->from_dns,
        .recipient = ask->to,
        .answer = ask->answer.said ? &ask->answer : NULL,
        .usage = &ask->usage,
        .ban = ask->banned ? &ask->ban : NULL,
    };
}

bool policy_explain_asks(const struct policy_snapshot *snap, const struct policy_explain_ask *ask,
                         bool helo, char out[SETTINGS_DOMAIN_SIZE])
{
    const struct policy_facts facts = facts_of(ask);
    enum policy_ask what = helo ? POLICY_ASK_HELO : POLICY_ASK_SENDER;
    struct policy_verdict v;

    policy_verdict_init(&v, true);
    policy_explain(snap, &facts, &v);
    return v.asks & what && policy_ask_name(&facts, what, out);
}

bool policy_explain_asks_recipient(const struct policy_snapshot *snap,
                                   const struct policy_explain_ask *ask)
{
    const struct policy_facts facts = facts_of(ask);
    struct policy_verdict v;

    policy_verdict_init(&v, true);
    policy_explain(snap, &facts, &v);
    return v.asks & POLICY_ASK_RECIPIENT && v.action == POLICY_ACCEPT;
}

void policy_explain_tell(const struct policy_snapshot *snap, const struct policy_explain_ask *ask,
                         policy_explain_fn *show, void *user, struct policy_explained *out)
{
    static const char *const decisions[] = { "accept", "refuse", "disconnect" };
    const struct policy_facts facts = facts_of(ask);
    struct policy_verdict v;
    bool decided = false;
    struct buf text;

    policy_verdict_init(&v, true);
    policy_explain(snap, &facts, &v);
    buf_init(&text, TEXT_MAX);
    for (uint32_t i = 0; i < v.step_count; i++) {
        show_step(snap, ask, &v.steps[i], &text, show, user);
        decided = decided || v.steps[i].decisive;
    }
    buf_done(&text);
    *out = (struct policy_explained){ .decision = decisions[v.action],
                                      .rule = decided ? policy_rule_name(v.rule) : NULL };
    set_reply(ask, &v, out);
}

bool policy_explain_is_sender(struct str text)
{
    struct smtp_address a;

    return smtp_address_parse(text, &a);
}

bool policy_explain_is_recipient(struct str text)
{
    struct smtp_address a;

    return smtp_address_parse(text, &a) || str_eq_nocase(text, STR("postmaster"));
}
