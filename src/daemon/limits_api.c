#include "daemon/limits_api.h"

#include <stdlib.h>

#include "base/clock.h"
#include "daemon/participants.h"
#include "daemon/process.h"
#include "gateway/limits_view.h"
#include "tracking/metrics.h"

enum { CHECK_RECIPIENT = SETTINGS_CHECK_COUNT };

/* The rules that this is about, and the settings they have. */
static const struct limit_rule {
    enum policy_rule rule;
    int of;    /* enum settings_limit_of; -1: bans */
    int check; /* … or enum settings_client_check, or CHECK_RECIPIENT; -1: none */
    struct str label;
} rules[] = {
    { POLICY_RULE_BAN, -1, -1, STR("ban") },
    { POLICY_RULE_LIMIT_SESSIONS, SETTINGS_LIMIT_SESSIONS, -1, STR("simultaneous_connections") },
    { POLICY_RULE_LIMIT_CONNECTIONS, SETTINGS_LIMIT_CONNECTIONS, -1,
      STR("connections_per_minute") },
    { POLICY_RULE_LIMIT_MESSAGES, SETTINGS_LIMIT_MESSAGES, -1, STR("messages_per_minute") },
    { POLICY_RULE_LIMIT_RECIPIENTS, SETTINGS_LIMIT_RECIPIENTS, -1, STR("recipients_per_minute") },
    { POLICY_RULE_LIMIT_FAILURES, SETTINGS_LIMIT_FAILURES, -1, STR("failures_per_minute") },
    { POLICY_RULE_HELO_SYNTAX, -1, SETTINGS_CHECK_HELO_SYNTAX, STR("helo_syntax") },
    { POLICY_RULE_HELO_OWN_NAME, -1, SETTINGS_CHECK_HELO_OWN_NAME, STR("helo_own_name") },
    { POLICY_RULE_SENDER_SYNTAX, -1, SETTINGS_CHECK_REVERSE_PATH_SYNTAX,
      STR("reverse_path_syntax") },
    { POLICY_RULE_SENDER_OWN_DOMAIN, -1, SETTINGS_CHECK_REVERSE_PATH_OWN_DOMAIN,
      STR("reverse_path_own_domain") },
    { POLICY_RULE_HELO_RESOLVABLE, -1, SETTINGS_CHECK_HELO_RESOLVABLE, STR("helo_resolvable") },
    { POLICY_RULE_SENDER_RESOLVABLE, -1, SETTINGS_CHECK_REVERSE_PATH_RESOLVABLE,
      STR("reverse_path_resolvable") },
    { POLICY_RULE_RECIPIENT_CHECK, -1, CHECK_RECIPIENT, STR("recipient_check") },
};

/* ---- a client ---- */

void limits_client(void *ctx, const struct net_addr *client, int64_t now_us,
                   struct policy_explain_ask *out)
{
    struct process *p = ctx;
    struct settings *s = control_current(&p->control);
    struct gateway_client c = { 0 };

    if (atomic_load(&p->serving))
        gateway_limits_client(p->gateway, client, now_us, s ? s->limits.ban_within_minutes : 0, &c);
    settings_unref(s);
    pthread_mutex_lock(&p->control.lock);
    out->tls_lacking = !p->control.tls;
    pthread_mutex_unlock(&p->control.lock);
    out->sessions = c.sessions;
    out->sessions_max = c.sessions_max;
    out->usage = c.usage;
    out->banned = c.banned;
    out->ban = c.ban;
}

struct policy_snapshot *limits_draft_snapshot(void *ctx, const struct settings *s)
{
    struct process *p = ctx;
    struct policy_snapshot *before = control_snapshot(&p->control);
    struct policy_snapshot *snapshot = participants_snapshot(before, s);

    policy_snapshot_unref(before);
    return snapshot;
}

/* ---- bans ---- */

uint32_t limits_bans(void *ctx, struct access_ban *out, uint32_t max)
{
    struct process *p = ctx;

    if (!atomic_load(&p->serving))
        return 0;
    return PT_MIN(access_bans_list(gateway_bans(p->gateway), clock_wall_us(), out, max), max);
}

enum pt_err limits_ban_set(void *ctx, const struct access_ban *ban)
{
    struct process *p = ctx;

    return atomic_load(&p->serving)
               ? access_bans_set(gateway_bans(p->gateway), ban, clock_wall_us())
               : PT_ERR_AGAIN;
}

bool limits_ban_lift(void *ctx, const struct net_addr *client)
{
    struct process *p = ctx;

    return atomic_load(&p->serving) && gateway_limits_lift(p->gateway, client, clock_wall_us());
}

/* ---- what limits do ---- */

static const char *mode_of(const struct settings *s, const struct limit_rule *r)
{
    static const char *const names[] = { "off", "shadow", "on" };

    return names[!s                            ? 0
                 : r->check == CHECK_RECIPIENT ? s->message_rules.recipient_check
                 : r->check >= 0               ? s->message_rules.checks[r->check]
                 : r->of >= 0                  ? s->limits.of[r->of].mode
                                               : s->limits.ban_mode];
}

void limits_rules(void *ctx, void (*show)(void *user, const struct api_limit_rule *r), void *user)
{
    struct process *p = ctx;
    struct settings *s = control_current(&p->control);

    for (size_t i = 0; i < PT_ARRAY_LEN(rules); i++) {
        struct api_limit_rule r = { .rule = policy_rule_name(rules[i].rule),
                                    .mode = mode_of(s, &rules[i]) };

        if (atomic_load(&p->serving))
            gateway_limits_counts(p->gateway, rules[i].rule, &r.refused, &r.shadow);
        show(user, &r);
    }
    settings_unref(s);
}

static int by_count(const void *a, const void *b)
{
    const struct api_limit_client *x = a, *y = b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return (x->last_us < y->last_us) - (x->last_us > y->last_us);
}

uint32_t limits_clients(void *ctx, struct api_limit_client **out)
{
    struct process *p = ctx;
    struct access_tally_row *rows = calloc(ACCESS_TALLY_MAX, sizeof *rows);
    uint32_t n = 0;

    if (rows && atomic_load(&p->serving))
        n = access_tally_list(gateway_shadow(p->gateway), rows, ACCESS_TALLY_MAX);
    *out = n ? calloc(n, sizeof **out) : NULL;
    for (uint32_t i = 0; *out && i < n; i++)
        (*out)[i] = (struct api_limit_client){ .client = rows[i].client,
                                               .rule = policy_rule_name(rows[i].what),
                                               .count = rows[i].count,
                                               .first_us = rows[i].first_us,
                                               .last_us = rows[i].last_us };
    if (*out)
        qsort(*out, n, sizeof **out, by_count);
    free(rows);
    return *out ? n : 0;
}

/* ---- for Prometheus ---- */

void limits_metrics(struct process *p, struct buf *out)
{
    uint64_t refused[PT_ARRAY_LEN(rules)], shadow[PT_ARRAY_LEN(rules)];

    for (size_t i = 0; i < PT_ARRAY_LEN(rules); i++)
        gateway_limits_counts(p->gateway, rules[i].rule, &refused[i], &shadow[i]);
    metrics_family(out, "postern_limit_refused_total", METRICS_COUNTER,
                   "Connections and commands that a limit of a client's refused.");
    for (size_t i = 0; i < PT_ARRAY_LEN(rules); i++)
        metrics_sample(out, "postern_limit_refused_total", "limit", rules[i].label, refused[i]);
    metrics_family(out, "postern_limit_shadow_total", METRICS_COUNTER,
                   "Those that a limit that is only watched would have refused.");
    for (size_t i = 0; i < PT_ARRAY_LEN(rules); i++)
        metrics_sample(out, "postern_limit_shadow_total", "limit", rules[i].label, shadow[i]);
    metrics_counter(out, "postern_bans_total", "Bans that came by too many failures.",
                    gateway_limits_banned(p->gateway));
}
