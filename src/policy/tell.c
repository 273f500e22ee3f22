/* Decisions in words. */
#include "base/clock.h"
#include "policy/question.h"

const char *policy_rule_name(enum policy_rule rule)
{
    static const char *const names[] = {
#define POLICY_RULE_TEXT(name, text) text,
        POLICY_RULE_LIST(POLICY_RULE_TEXT)
#undef POLICY_RULE_TEXT
    };

    return (unsigned)rule < PT_ARRAY_LEN(names) ? names[rule] : "unknown rule";
}

/* ---- entries ---- */

const struct settings_list *policy_list(const struct policy_snapshot *snap, uint8_t list)
{
    if (list == POLICY_LIST_DENY)
        return snap->settings->control.deny_list;
    return list == POLICY_LIST_PERMIT ? snap->settings->control.permit_list : NULL;
}

const char *policy_entry_comment(const struct policy_snapshot *snap, uint8_t list, uint32_t entry)
{
    const struct settings_list *l = policy_list(snap, list);

    return l && entry < l->count ? settings_list_comment(l, entry) : NULL;
}

const char *policy_entry_text(const struct policy_snapshot *snap, uint8_t list, uint32_t entry,
                              char room[SETTINGS_ENTRY_SIZE])
{
    const struct settings *s = snap->settings;
    const struct settings_list *l = policy_list(snap, list);

    if (l && entry < l->count) {
        settings_entry_format(&l->entries[entry], room);
        return room;
    }
    if (list == POLICY_LIST_NETWORKS && entry < s->message_rules.relay_network_count)
        return s->message_rules.relay_network_texts[entry];
    if (list == POLICY_LIST_RELAY_DOMAINS && entry < s->message_rules.relay_domains->count)
        return settings_list_pattern(s->message_rules.relay_domains, entry);
    if (list == POLICY_LIST_EXEMPT && entry < s->limits.exempt_count)
        return s->limits.exempt_texts[entry];
    return NULL;
}

/* ---- steps ---- */

static void write_control(const struct policy_snapshot *snap, const struct policy_step *step,
                          struct buf *out)
{
    const char *comment = policy_entry_comment(snap, step->list, step->entry);
    char room[SETTINGS_ENTRY_SIZE];
    const char *text = policy_entry_text(snap, step->list, step->entry, room);
    bool permit = step->list == POLICY_LIST_PERMIT;

    buf_addf(out, "%s: ", permit ? "deny_all_except" : "accept_all_except");
    if (!text) {
        buf_addf(out, "no entry of the %s list fits", permit ? "permit" : "deny");
        return;
    }
    buf_addf(out, "entry %s of the %s list fits", text, permit ? "permit" : "deny");
    if (comment)
        buf_addf(out, " (%s)", comment);
}

static void write_limit(const struct policy_step *step, struct buf *out)
{
    if (step->limit)
        buf_addf(out, "%llu, the limit is %llu", (unsigned long long)step->value,
                 (unsigned long long)step->limit);
    else
        buf_addf(out, "%llu, there is no limit", (unsigned long long)step->value);
}

static void write_tls(const struct policy_step *step, struct buf *out)
{
    buf_addf(out, "%s, the session is %s", step->limit ? "required" : "not required",
             step->value ? "encrypted" : "in clear");
}

static void write_relay(const struct policy_snapshot *snap, const struct policy_step *step,
                        struct buf *out)
{
    static const char *const hosts[] = { "host_only", "same_subnet", "same_class", "specified" };
    char room[SETTINGS_ENTRY_SIZE];
    const char *text = policy_entry_text(snap, step->list, step->entry, room);

    buf_addf(out, "%s: ", hosts[step->limit & 3]);
    if (text)
        buf_addf(out, "the client is in %s", text);
    else
        buf_addf(out, "the client is %samong them", step->value ? "" : "not ");
}

static void write_domain(const struct policy_snapshot *snap, const struct policy_step *step,
                         struct buf *out)
{
    char room[SETTINGS_ENTRY_SIZE];
    const char *text = policy_entry_text(snap, step->list, step->entry, room);

    if (text)
        buf_addf(out, "the recipient's domain is in %s", text);
    else
        BUF_LIT(out, "the recipient's domain is none of them");
}

static void write_ban(const struct policy_step *step, struct buf *out)
{
    static const char *const kinds[] = { "for too many failures, were bans on,",
                                         "for too many failures", "by an administrator" };
    char until[CLOCK_RFC3339_SIZE];

    if (step->value == 0) {
        BUF_LIT(out, "there is none");
        return;
    }
    clock_rfc3339((int64_t)step->value, until);
    buf_addf(out, "kept out %s until %s", kinds[PT_MIN(step->limit, (uint64_t)ACCESS_BAN_SET)],
             until);
}

static void write_count(const struct policy_step *step, struct buf *out)
{
    buf_addf(out, "%s: ", step->scope == POLICY_SCOPE_PREFIX ? "its network" : "its address");
    write_limit(step, out);
}

static void write_exempt(const struct policy_snapshot *snap, const struct policy_step *step,
                         struct buf *out)
{
    char room[SETTINGS_ENTRY_SIZE];
    const char *text = policy_entry_text(snap, step->list, step->entry, room);

    buf_addf(out, "the client is in %s", text ? text : "the list");
}

static void write_check(const struct policy_snapshot *snap, const struct policy_step *step,
                        struct buf *out)
{
    char room[SETTINGS_ENTRY_SIZE];
    const char *text = policy_entry_text(snap, step->list, step->entry, room);

    buf_addf(out, "%s", question_finding_text(step->value));
    if (text)
        buf_addf(out, ", %s", text);
}

static void write_facts(const struct policy_snapshot *snap, const struct policy_step *step,
                        struct buf *out)
{
    switch ((enum policy_rule)step->rule) {
    case POLICY_RULE_CONNECTION_CONTROL:
        write_control(snap, step, out);
        return;
    case POLICY_RULE_MAX_CONNECTIONS:
    case POLICY_RULE_MAX_MESSAGES:
    case POLICY_RULE_MAX_DATA:
    case POLICY_RULE_MAX_MESSAGE_SIZE:
    case POLICY_RULE_MAX_RECIPIENTS:
        write_limit(step, out);
        return;
    case POLICY_RULE_HELO_SYNTAX:
    case POLICY_RULE_HELO_OWN_NAME:
    case POLICY_RULE_SENDER_SYNTAX:
    case POLICY_RULE_SENDER_OWN_DOMAIN:
    case POLICY_RULE_HELO_RESOLVABLE:
    case POLICY_RULE_SENDER_RESOLVABLE:
        write_check(snap, step, out);
        return;
    case POLICY_RULE_RECIPIENT_CHECK:
        buf_addf(out, "%s", question_recipient_text(step->value));
        return;
    case POLICY_RULE_BAN:
        write_ban(step, out);
        return;
    case POLICY_RULE_EXEMPT:
        write_exempt(snap, step, out);
        return;
    case POLICY_RULE_LIMIT_SESSIONS:
    case POLICY_RULE_LIMIT_CONNECTIONS:
    case POLICY_RULE_LIMIT_MESSAGES:
    case POLICY_RULE_LIMIT_RECIPIENTS:
    case POLICY_RULE_LIMIT_FAILURES:
        write_count(step, out);
        return;
    case POLICY_RULE_REQUIRED_TLS:
        write_tls(step, out);
        return;
    case POLICY_RULE_POSTMASTER:
        buf_addf(out, "the recipient is %s<postmaster>",
                 step->outcome == POLICY_SETTLED ? "" : "not ");
        return;
    case POLICY_RULE_PERMITTED_RELAY:
        write_relay(snap, step, out);
        return;
    case POLICY_RULE_RELAY_DOMAINS:
        write_domain(snap, step, out);
        return;
    case POLICY_RULE_SOURCE_ROUTE:
        BUF_LIT(out, "the local part names another host");
        return;
    case POLICY_RULE_ROUTE_SIZE:
        write_limit(step, out);
        return;
    case POLICY_RULE_COUNT:
        break;
    }
}

const char *policy_list_name(uint8_t list)
{
    switch ((enum policy_list)list) {
    case POLICY_LIST_DENY:
        return "deny";
    case POLICY_LIST_PERMIT:
        return "permit";
    case POLICY_LIST_NETWORKS:
        return "networks";
    case POLICY_LIST_RELAY_DOMAINS:
        return "relay_domains";
    case POLICY_LIST_EXEMPT:
        return "exempt";
    default:
        return NULL;
    }
}

const char *policy_outcome_name(uint8_t outcome)
{
    static const char *const names[] = { "passed", "accepted", "refused", "shadow" };

    return outcome < PT_ARRAY_LEN(names) ? names[outcome] : "unknown";
}

void policy_step_tell(const struct policy_snapshot *snap, const struct policy_step *step,
                      struct buf *out)
{
    write_facts(snap, step, out);
    if (!step->decisive && (step->outcome == POLICY_BLOCKED || step->outcome == POLICY_SETTLED))
        BUF_LIT(out, " (decided before)");
    else if (step->outcome == POLICY_SHADOW)
        BUF_LIT(out, " (would be refused, were it on)");
}

void policy_step_write(const struct policy_snapshot *snap, const struct policy_step *step,
                       struct buf *out)
{
    buf_addf(out, "%s: %s: ", policy_rule_name(step->rule), policy_outcome_name(step->outcome));
    policy_step_tell(snap, step, out);
}

/* ---- references ---- */

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void policy_ref_format(uint64_t ref, char out[POLICY_REF_SIZE])
{
    for (int i = 8; i >= 0; i--) {
        if (i == 4) {
            out[i] = '-';
            continue;
        }
        out[i] = alphabet[ref & 31];
        ref >>= 5;
    }
    out[9] = 0;
}

static int digit_of(char c)
{
    const char *at;

    c = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

bool policy_ref_parse(struct str text, uint64_t *out)
{
    uint64_t ref = 0;

    if (text.n != POLICY_REF_SIZE - 1 || text.p[4] != '-')
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int digit = digit_of(text.p[i]);

        if (i == 4)
            continue;
        if (digit < 0)
            return false;
        ref = ref << 5 | (uint64_t)digit;
    }
    *out = ref;
    return true;
}
