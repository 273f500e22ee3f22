/*
 * What a client may do in a minute and at a time, and bans. The counts are facts; what is on, off
 * or only watched is the settings'.
 */
#include "policy/question.h"

static const struct smtp_reply banned =
    QUESTION_REFUSAL(421, 4, 7, 0, "Your address is kept out for a while, try again later");

#define FROM(what)                                                                                 \
    {                                                                                              \
        QUESTION_REFUSAL(421, 4, 7, 0, what " from your address, try again later"),                \
            QUESTION_REFUSAL(421, 4, 7, 0, what " from your network, try again later")             \
    }

static const struct limit {
    enum policy_rule rule;
    enum access_counted counted; /* but for sessions */
    struct smtp_reply replies[2];
} limits[SETTINGS_LIMIT_COUNT] = {
    [SETTINGS_LIMIT_SESSIONS] = { POLICY_RULE_LIMIT_SESSIONS, ACCESS_COUNTED,
                                  FROM("Too many connections at once") },
    [SETTINGS_LIMIT_CONNECTIONS] = { POLICY_RULE_LIMIT_CONNECTIONS, ACCESS_CONNECTIONS,
                                     FROM("Too many connections") },
    [SETTINGS_LIMIT_MESSAGES] = { POLICY_RULE_LIMIT_MESSAGES, ACCESS_MESSAGES,
                                  FROM("Too many messages") },
    [SETTINGS_LIMIT_RECIPIENTS] = { POLICY_RULE_LIMIT_RECIPIENTS, ACCESS_RECIPIENTS,
                                    FROM("Too many recipients") },
    [SETTINGS_LIMIT_FAILURES] = { POLICY_RULE_LIMIT_FAILURES, ACCESS_FAILURES,
                                  FROM("Too many errors") },
};

static uint32_t exempt_row(const struct policy_snapshot *snap, const struct net_addr *client,
                           int64_t now_us)
{
    return snap->exempt ? access_table_find(snap->exempt, client, now_us) : ACCESS_NONE;
}

/* ---- limits ---- */

static void compare(struct question *q, const struct limit *l, enum settings_limit_mode mode,
                    enum policy_scope scope, uint32_t value, uint32_t most)
{
    const struct policy_step step = { .rule = (uint8_t)l->rule,
                                      .entry = POLICY_NO_ENTRY,
                                      .scope = (uint8_t)scope,
                                      .value = value,
                                      .limit = most };

    if (most == 0 || !question_open(q))
        return;
    if (value < most)
        question_pass(q, step);
    else if (mode == SETTINGS_LIMIT_SHADOW)
        question_shadow(q, step);
    else
        question_block(q, step, POLICY_DISCONNECT, &l->replies[scope - POLICY_SCOPE_ADDRESS]);
}

static uint32_t value_of(const struct access_usage *u, const struct limit *l)
{
    return l->counted == ACCESS_COUNTED ? u->sessions : u->in_minute[l->counted];
}

void question_limit(struct question *q, enum settings_limit_of of)
{
    const struct settings_limit *s = &q->snap->settings->limits.of[of];
    const struct access_client *usage = q->facts->usage;
    const struct limit *l = &limits[of];

    if (!usage || q->exempt || s->mode == SETTINGS_LIMIT_OFF)
        return;
    compare(q, l, s->mode, POLICY_SCOPE_ADDRESS, value_of(&usage->address, l), s->per_address);
    compare(q, l, s->mode, POLICY_SCOPE_PREFIX, value_of(&usage->prefix, l), s->per_prefix);
}

/* ---- bans ---- */

static void ban_set(struct question *q, enum settings_limit_mode mode)
{
    const struct access_ban *ban = q->facts->ban;
    struct policy_step step = { .rule = POLICY_RULE_BAN, .entry = POLICY_NO_ENTRY };

    if (ban) {
        step.value = (uint64_t)ban->until_us;
        step.limit = ban->kind;
    }
    if (!ban || (ban->kind != ACCESS_BAN_SET && mode == SETTINGS_LIMIT_OFF))
        question_pass(q, step);
    else if (ban->kind == ACCESS_BAN_SET ||
             (ban->kind == ACCESS_BAN_AUTOMATIC && mode == SETTINGS_LIMIT_ON))
        question_block(q, step, POLICY_DISCONNECT, &banned);
    else
        question_shadow(q, step);
}

static void ban_and_exemption(struct question *q)
{
    const struct settings *s = q->snap->settings;
    uint32_t row =
        q->snap->limited ? exempt_row(q->snap, &q->facts->client, q->facts->now_us) : ACCESS_NONE;
    const struct policy_step exempt = {
        .rule = POLICY_RULE_EXEMPT, .outcome = POLICY_PASS, .list = POLICY_LIST_EXEMPT, .entry = row
    };

    q->exempt = row != ACCESS_NONE;
    if (q->facts->ban || q->v->explain)
        ban_set(q, q->exempt ? SETTINGS_LIMIT_OFF : s->limits.ban_mode);
    if (q->exempt)
        question_note(q, &exempt);
}

/* ---- the stages ---- */

void question_limits_connect(struct question *q)
{
    ban_and_exemption(q);
    question_limit(q, SETTINGS_LIMIT_SESSIONS);
    question_limit(q, SETTINGS_LIMIT_CONNECTIONS);
    question_limit(q, SETTINGS_LIMIT_FAILURES);
}

void question_limits_mail(struct question *q)
{
    ban_and_exemption(q);
    question_limit(q, SETTINGS_LIMIT_FAILURES);
    question_limit(q, SETTINGS_LIMIT_MESSAGES);
}

void question_limits_rcpt(struct question *q)
{
    ban_and_exemption(q);
    question_limit(q, SETTINGS_LIMIT_FAILURES);
    question_limit(q, SETTINGS_LIMIT_RECIPIENTS);
}

/* ---- for those who count ---- */

bool policy_limits_asked(const struct policy_snapshot *snap)
{
    return snap->limited;
}

uint32_t policy_failure_span(const struct policy_snapshot *snap)
{
    return snap->settings->limits.ban_within_minutes;
}

bool policy_ban_due(const struct policy_snapshot *snap, const struct net_addr *client,
                    int64_t now_us, const struct access_client *usage, struct access_ban *out)
{
    const struct settings *s = snap->settings;
    uint32_t failures =
        client->family == NET_IPV4 ? usage->address.failures : usage->prefix.failures;

    if (s->limits.ban_mode == SETTINGS_LIMIT_OFF || failures < s->limits.ban_failures ||
        exempt_row(snap, client, now_us) != ACCESS_NONE)
        return false;
    *out = (struct access_ban){
        .client = access_client_of(client),
        .kind = s->limits.ban_mode == SETTINGS_LIMIT_ON ? ACCESS_BAN_AUTOMATIC : ACCESS_BAN_SHADOW,
        .since_us = now_us,
        .until_us = now_us + s->limits.ban_minutes * INT64_C(60000000),
        .failures = failures,
    };
    return true;
}
