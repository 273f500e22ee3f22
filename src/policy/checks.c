/*
 * What a client says of itself (HELO) and of its sender (reverse-path): message_rules.helo_checks
 * and reverse_path_checks. Clients that may send to any domain are not asked: they are our own, and
 * what printers and cron jobs say of themselves is rarely true.
 *
 * The rules that need the DNS come last, so that nobody is looked up who is refused anyway.
 */
#include "net/addr.h"
#include "policy/address.h"
#include "policy/question.h"

/* What a rule has found; the first that refuses is FINDING_UNQUALIFIED. */
#define FINDINGS(X)                                                                                \
    X(RELAYS, "not asked: the client may send to any domain")                                      \
    X(NOTHING, "there is nothing to look at")                                                      \
    X(NAME, "is a fully qualified domain name")                                                    \
    X(LITERAL, "is an address literal")                                                            \
    X(STRANGE, "is none of ours")                                                                  \
    X(THIS_HOST, "the client is this host")                                                        \
    X(RESOLVES, "has MX, A or AAAA records")                                                       \
    X(NOT_LOOKED_UP, "was not looked up")                                                          \
    X(UNQUALIFIED, "is no fully qualified domain name")                                            \
    X(MALFORMED, "is neither a domain name nor an address literal")                                \
    X(OWN_NAME, "is the name of this gateway")                                                     \
    X(OWN_ADDRESS, "is an address of this host")                                                   \
    X(OWN_DOMAIN, "is in a relay domain of ours")                                                  \
    X(NO_RECORDS, "has no MX, A or AAAA record")                                                   \
    X(NULL_MX, "takes no mail (null MX)")                                                          \
    X(UNTOLD, "cannot be looked up now")

enum finding {
#define ROW(name, text) FINDING_##name,
    FINDINGS(ROW)
#undef ROW
};

const char *question_finding_text(uint64_t finding)
{
    static const char *const texts[] = {
#define ROW(name, text) text,
        FINDINGS(ROW)
#undef ROW
    };

    return finding < PT_ARRAY_LEN(texts) ? texts[finding] : "";
}

static const struct smtp_reply
    helo_malformed = QUESTION_REFUSAL(
        504, 5, 5, 2, "HELO with the full name of your host, or its address in brackets"),
    helo_ours = QUESTION_REFUSAL(550, 5, 7, 1, "The name in your HELO is ours, not yours"),
    helo_unknown =
        QUESTION_REFUSAL(550, 5, 7, 1, "The name in your HELO has no address in the DNS"),
    helo_untold = QUESTION_REFUSAL(451, 4, 4, 3,
                                   "The name in your HELO cannot be looked up, try again later"),
    sender_malformed = QUESTION_REFUSAL(553, 5, 1, 7, "The sender's domain is not fully qualified"),
    sender_ours =
        QUESTION_REFUSAL(550, 5, 7, 1, "The sender's domain is ours: you may not send for it"),
    sender_unknown =
        QUESTION_REFUSAL(553, 5, 1, 8, "The sender's domain has no MX or address in the DNS"),
    /* RFC 7505 4.2 */
    sender_null_mx = QUESTION_REFUSAL(550, 5, 7, 27, "The sender's domain takes no mail (null MX)"),
    sender_untold =
        QUESTION_REFUSAL(450, 4, 1, 8, "The sender's domain cannot be looked up, try again later");

/* ---- what they look at ---- */

/* Without a trailing dot; `out` gets the name. Single labels are none that others can use. */
static bool is_qualified(struct str name, char out[SETTINGS_DOMAIN_SIZE])
{
    return settings_domain_normalise(name, out) && strchr(out, '.');
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 4.1.3). */
static bool is_literal(struct str text, struct net_addr *out)
{
    struct str tag = STR("IPv6:");

    if (text.n < 3 || text.p[0] != '[' || text.p[text.n - 1] != ']')
        return false;
    text = (struct str){ text.p + 1, text.n - 2 };
    if (str_eq_nocase(str_head(text, tag.n), tag))
        return str_find(text, ':', tag.n) >= 0 && net_addr_parse(str_from(text, tag.n), out);
    return net_addr_parse(text, out) && out->family == NET_IPV4;
}

static struct str sender_domain(const struct policy_facts *facts)
{
    struct str local, domain;

    return policy_address_split(facts->sender, &local, &domain) ? domain : STR_NULL;
}

bool policy_ask_name(const struct policy_facts *facts, enum policy_ask ask,
                     char out[SETTINGS_DOMAIN_SIZE])
{
    struct str name = ask == POLICY_ASK_HELO ? facts->helo : sender_domain(facts);

    return settings_domain_normalise(name, out);
}

/* ---- findings ---- */

static enum finding helo_syntax(const struct question *q)
{
    char name[SETTINGS_DOMAIN_SIZE];
    struct net_addr a;

    if (is_literal(q->facts->helo, &a))
        return FINDING_LITERAL;
    return is_qualified(q->facts->helo, name)                ? FINDING_NAME
           : settings_domain_normalise(q->facts->helo, name) ? FINDING_UNQUALIFIED
                                                             : FINDING_MALFORMED;
}

static bool is_self(const struct question *q, const struct net_addr *a)
{
    return access_table_find(q->snap->self, a, q->facts->now_us) != ACCESS_NONE;
}

static enum finding helo_own_name(const struct question *q)
{
    char name[SETTINGS_DOMAIN_SIZE];
    struct net_addr a;

    if (is_self(q, &q->facts->client))
        return FINDING_THIS_HOST;
    if (is_literal(q->facts->helo, &a) || net_addr_parse(q->facts->helo, &a))
        return is_self(q, &a) ? FINDING_OWN_ADDRESS : FINDING_STRANGE;
    return settings_domain_normalise(q->facts->helo, name) &&
                   (strcmp(name, q->snap->hostname) == 0 || strcmp(name, "localhost") == 0)
               ? FINDING_OWN_NAME
               : FINDING_STRANGE;
}

static enum finding sender_syntax(const struct question *q)
{
    struct str domain = sender_domain(q->facts);
    char name[SETTINGS_DOMAIN_SIZE];
    struct net_addr a;

    if (is_literal(domain, &a))
        return FINDING_LITERAL;
    return is_qualified(domain, name)                ? FINDING_NAME
           : settings_domain_normalise(domain, name) ? FINDING_UNQUALIFIED
                                                     : FINDING_MALFORMED;
}

/* What the DNS has said, or that it is to be asked. */
static enum finding of_dns(struct question *q, enum policy_ask ask, struct str name, uint8_t dns)
{
    static const enum finding said[] = {
        [POLICY_DNS_NOT_ASKED] = FINDING_NOT_LOOKED_UP, [POLICY_DNS_FOUND] = FINDING_RESOLVES,
        [POLICY_DNS_NOTHING] = FINDING_NO_RECORDS,      [POLICY_DNS_NULL_MX] = FINDING_NULL_MX,
        [POLICY_DNS_UNTOLD] = FINDING_UNTOLD,
    };
    char ascii[SETTINGS_DOMAIN_SIZE];
    struct net_addr a;

    if (is_literal(name, &a))
        return FINDING_LITERAL;
    if (!settings_domain_normalise(name, ascii))
        return FINDING_NO_RECORDS;
    if (dns == POLICY_DNS_NOT_ASKED)
        q->v->asks |= (uint8_t)ask;
    return said[dns];
}

/* ---- the rules ---- */

/* Refuses for a finding that is none of the harmless ones. */
static void judge(struct question *q, enum policy_rule rule, enum settings_client_check check,
                  enum finding finding, const struct smtp_reply *reply)
{
    const struct policy_step step = { .rule = (uint8_t)rule,
                                      .entry = POLICY_NO_ENTRY,
                                      .value = finding,
                                      .limit = q->snap->settings->message_rules.checks[check] };

    if (finding < FINDING_UNQUALIFIED)
        question_pass(q, step);
    else if (step.limit == SETTINGS_LIMIT_SHADOW)
        question_shadow(q, step);
    else
        question_block(q, step, POLICY_REFUSE, reply);
}

/* True if the check is to be made: it is on or watched, and nothing has refused. */
static bool asked(const struct question *q, enum settings_client_check check)
{
    return q->snap->settings->message_rules.checks[check] != SETTINGS_LIMIT_OFF && question_open(q);
}

static void own_domain(struct question *q)
{
    const struct settings *s = q->snap->settings;
    struct str domain = sender_domain(q->facts);
    struct policy_step step = {
        .rule = POLICY_RULE_SENDER_OWN_DOMAIN,
        .list = POLICY_LIST_RELAY_DOMAINS,
        .entry = domain.n ? settings_relay_domain(s, domain) : POLICY_NO_ENTRY,
        .value = FINDING_OWN_DOMAIN,
    };

    /* "*" is every domain: nobody's own. */
    if (step.entry == POLICY_NO_ENTRY ||
        strcmp(settings_list_pattern(s->message_rules.relay_domains, step.entry), "*") == 0) {
        step.entry = POLICY_NO_ENTRY;
        step.value = FINDING_STRANGE;
        question_pass(q, step);
    } else if (s->message_rules.checks[SETTINGS_CHECK_REVERSE_PATH_OWN_DOMAIN] ==
               SETTINGS_LIMIT_SHADOW) {
        question_shadow(q, step);
    } else {
        question_block(q, step, POLICY_REFUSE, &sender_ours);
    }
}

static void resolvable(struct question *q)
{
    const struct policy_facts *f = q->facts;
    enum finding found;

    if (f->helo.n && asked(q, SETTINGS_CHECK_HELO_RESOLVABLE)) {
        found = of_dns(q, POLICY_ASK_HELO, f->helo, f->helo_dns);
        judge(q, POLICY_RULE_HELO_RESOLVABLE, SETTINGS_CHECK_HELO_RESOLVABLE, found,
              found == FINDING_UNTOLD ? &helo_untold : &helo_unknown);
    }
    if (f->sender.n && asked(q, SETTINGS_CHECK_REVERSE_PATH_RESOLVABLE)) {
        found = of_dns(q, POLICY_ASK_SENDER, sender_domain(f), f->sender_dns);
        judge(q, POLICY_RULE_SENDER_RESOLVABLE, SETTINGS_CHECK_REVERSE_PATH_RESOLVABLE, found,
              found == FINDING_UNTOLD    ? &sender_untold
              : found == FINDING_NULL_MX ? &sender_null_mx
                                         : &sender_unknown);
    }
}

/* A step for each check that would be made, in the order of the rules. */
static void note_relays(struct question *q)
{
    static const struct {
        enum policy_rule rule;
        enum settings_client_check check;
    } rows[] = {
        { POLICY_RULE_HELO_SYNTAX, SETTINGS_CHECK_HELO_SYNTAX },
        { POLICY_RULE_HELO_OWN_NAME, SETTINGS_CHECK_HELO_OWN_NAME },
        { POLICY_RULE_SENDER_SYNTAX, SETTINGS_CHECK_REVERSE_PATH_SYNTAX },
        { POLICY_RULE_SENDER_OWN_DOMAIN, SETTINGS_CHECK_REVERSE_PATH_OWN_DOMAIN },
        { POLICY_RULE_HELO_RESOLVABLE, SETTINGS_CHECK_HELO_RESOLVABLE },
        { POLICY_RULE_SENDER_RESOLVABLE, SETTINGS_CHECK_REVERSE_PATH_RESOLVABLE },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(rows); i++)
        if (asked(q, rows[i].check))
            question_pass(q, (struct policy_step){ .rule = (uint8_t)rows[i].rule,
                                                   .entry = POLICY_NO_ENTRY,
                                                   .value = FINDING_RELAYS });
}

void question_checks(struct question *q)
{
    bool helo = q->facts->helo.n, sender = q->facts->sender.n;

    if (policy_may_relay(q->snap, &q->facts->client, q->facts->now_us)) {
        if (q->v->explain)
            note_relays(q);
        return;
    }
    if (helo && asked(q, SETTINGS_CHECK_HELO_SYNTAX))
        judge(q, POLICY_RULE_HELO_SYNTAX, SETTINGS_CHECK_HELO_SYNTAX, helo_syntax(q),
              &helo_malformed);
    if (helo && asked(q, SETTINGS_CHECK_HELO_OWN_NAME))
        judge(q, POLICY_RULE_HELO_OWN_NAME, SETTINGS_CHECK_HELO_OWN_NAME, helo_own_name(q),
              &helo_ours);
    if (sender && asked(q, SETTINGS_CHECK_REVERSE_PATH_SYNTAX))
        judge(q, POLICY_RULE_SENDER_SYNTAX, SETTINGS_CHECK_REVERSE_PATH_SYNTAX, sender_syntax(q),
              &sender_malformed);
    if (sender && asked(q, SETTINGS_CHECK_REVERSE_PATH_OWN_DOMAIN))
        own_domain(q);
    resolvable(q);
}
