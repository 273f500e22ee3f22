#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "access/bans.h"
#include "access/counts.h"
#include "base/buf.h"
#include "base/defs.h"
#include "base/str.h"
#include "net/addr.h"
#include "policy/recipient.h"
#include "settings/settings.h"
#include "smtp/reply.h"

/*
 * policy: the one evaluator.
 *
 * Whatever is decided about a client, a command or a recipient is decided here, as a pure function
 * of a snapshot and facts: no I/O, no clock, no counter of its own, and for ASCII domains no
 * allocation. Live sessions, explanations, previews and tests call the same functions. The order
 * is that of the README; the first rule that refuses decides.
 *
 * Any thread. A snapshot is immutable and reference-counted; it is built off the event loops.
 */

struct policy_snapshot;

/*
 * The settings with their prefix tables and domain sets. `host_nets` are the addresses of this
 * host, each with the length of its subnet and its host bits left in place; loopback need not be
 * among them. Takes a reference to `s`. NULL when memory is short.
 */
struct policy_snapshot *policy_snapshot_new(const struct settings *s,
                                            const struct net_prefix *host_nets,
                                            uint32_t host_net_count);
/* The same for settings that follow those of a snapshot: the tables of lists that both share are
 * not built again. */
struct policy_snapshot *policy_snapshot_next(const struct policy_snapshot *before,
                                             const struct settings *s,
                                             const struct net_prefix *host_nets,
                                             uint32_t host_net_count);
struct policy_snapshot *policy_snapshot_ref(const struct policy_snapshot *snap);
void policy_snapshot_unref(const struct policy_snapshot *snap); /* NULL is accepted */
const struct settings *policy_snapshot_settings(const struct policy_snapshot *snap);

/* ---- facts ---- */

/* What the DNS says about a name. */
enum policy_dns {
    POLICY_DNS_NOT_ASKED, /* not known (yet): nothing is refused for it, see policy_verdict.asks */
    POLICY_DNS_FOUND,     /* it has MX, A or AAAA records */
    POLICY_DNS_NOTHING,   /* it has none of them */
    POLICY_DNS_NULL_MX,   /* it takes no mail (RFC 7505) */
    POLICY_DNS_UNTOLD,    /* it cannot be told now */
};

/* Which names a verdict needs to know more of: the first two from the DNS, the last from its next
 * hop. */
enum policy_ask { POLICY_ASK_HELO = 1, POLICY_ASK_SENDER = 2, POLICY_ASK_RECIPIENT = 4 };

/* What is known by the time of the question; unknown: zero. */
struct policy_facts {
    struct net_addr client;
    int64_t now_us;        /* wall time, for entries that expire */
    uint32_t sessions;     /* of this node, without the one in question */
    uint32_t sessions_max; /* what the system allows; 0: not known */
    bool tls;              /* the session is encrypted */
    bool tls_lacking;      /* nothing to begin TLS with is in force, whatever the settings say */
    uint32_t messages;     /* transactions begun in this session, without the one in question */
    uint64_t data;         /* octets of content in this session so far */
    uint64_t size;         /* octets the client announced by SIZE; 0: none */
    uint32_t recipients;   /* taken in this transaction, without the one in question */
    struct str helo;
    struct str sender;                     /* reverse-path; empty: null */
    uint8_t helo_dns;                      /* enum policy_dns, about the name in HELO … */
    uint8_t sender_dns;                    /* … and about the domain of the reverse-path */
    struct str recipient;                  /* address without angle brackets and source route */
    const struct policy_recipient *answer; /* of its next hop; NULL: it was not asked (yet) */
    /* What this client and its network did before; NULL: not counted, and no limit is asked. */
    const struct access_client *usage;
    const struct access_ban *ban; /* that the client is under; NULL: none */
    /* A number by which this decision can be found again, shown in a refusal; 0: none. The low 40
     * bits count. */
    uint64_t ref;
};

/* ---- verdicts ---- */

enum policy_action {
    POLICY_ACCEPT,
    POLICY_REFUSE,     /* answer `reply` and go on */
    POLICY_DISCONNECT, /* answer `reply` and close */
};

/* In the order of decision. */
#define POLICY_RULE_LIST(X)                                                                        \
    X(CONNECTION_CONTROL, "connection control")                                                    \
    X(MAX_CONNECTIONS, "simultaneous connections")                                                 \
    X(BAN, "temporary ban")                                                                        \
    X(EXEMPT, "exemption from limits")                                                             \
    X(LIMIT_SESSIONS, "connections of a client at once")                                           \
    X(LIMIT_CONNECTIONS, "connections per minute")                                                 \
    X(LIMIT_MESSAGES, "messages per minute")                                                       \
    X(LIMIT_RECIPIENTS, "recipients per minute")                                                   \
    X(LIMIT_FAILURES, "failures per minute")                                                       \
    X(REQUIRED_TLS, "required TLS")                                                                \
    X(MAX_MESSAGES, "messages per connection")                                                     \
    X(MAX_DATA, "data per connection")                                                             \
    X(MAX_MESSAGE_SIZE, "message size")                                                            \
    X(HELO_SYNTAX, "HELO syntax")                                                                  \
    X(HELO_OWN_NAME, "own name in HELO")                                                           \
    X(SENDER_SYNTAX, "reverse-path syntax")                                                        \
    X(SENDER_OWN_DOMAIN, "own domain in the reverse-path")                                         \
    X(HELO_RESOLVABLE, "HELO name in the DNS")                                                     \
    X(SENDER_RESOLVABLE, "reverse-path in the DNS")                                                \
    X(MAX_RECIPIENTS, "recipients per message")                                                    \
    X(POSTMASTER, "postmaster")                                                                    \
    X(PERMITTED_RELAY, "permitted relay")                                                          \
    X(RELAY_DOMAINS, "relay domains")                                                              \
    X(SOURCE_ROUTE, "routing in the local part")                                                   \
    X(ROUTE_SIZE, "message size of the route")                                                     \
    X(RECIPIENT_CHECK, "recipient check")

enum policy_rule {
#define POLICY_RULE_ENUM(name, text) POLICY_RULE_##name,
    POLICY_RULE_LIST(POLICY_RULE_ENUM)
#undef POLICY_RULE_ENUM
        POLICY_RULE_COUNT
};

/* The name people see, never NULL. */
const char *policy_rule_name(enum policy_rule rule);

/* Of an enum policy_list as the API and the records of refusals have it: "deny", "permit",
 * "networks", "relay_domains", "exempt"; NULL: none. */
const char *policy_list_name(uint8_t list);

enum policy_outcome {
    POLICY_PASS,    /* the rule has nothing against it; the next one is asked */
    POLICY_SETTLED, /* the rule accepts it for good */
    POLICY_BLOCKED, /* the rule refuses it */
    POLICY_SHADOW,  /* the rule would refuse it, but is only watched; the next one is asked */
};

enum policy_list {
    POLICY_LIST_NONE,
    POLICY_LIST_DENY,
    POLICY_LIST_PERMIT,
    POLICY_LIST_NETWORKS,
    POLICY_LIST_RELAY_DOMAINS,
    POLICY_LIST_EXEMPT,
};

/* Whose count was compared with a limit. */
enum policy_scope { POLICY_SCOPE_NONE, POLICY_SCOPE_ADDRESS, POLICY_SCOPE_PREFIX };

#define POLICY_NO_ENTRY SETTINGS_NO_ENTRY

struct policy_step {
    uint8_t rule;    /* enum policy_rule */
    uint8_t outcome; /* enum policy_outcome */
    uint8_t list;    /* enum policy_list: the list that was asked */
    bool decisive;   /* this step made the verdict; later ones are what would have come next */
    uint8_t scope;   /* enum policy_scope */
    uint8_t stage;   /* enum policy_stage: when it was asked */
    uint32_t entry;  /* index in that list of the settings, or POLICY_NO_ENTRY */
    uint64_t value;  /* what was compared: sessions, octets, messages, recipients */
    uint64_t limit;  /* with what; 0: no limit */
};

/* The moments of a session at which something is decided. */
enum policy_stage { POLICY_STAGE_CONNECT, POLICY_STAGE_MAIL, POLICY_STAGE_RCPT };

#define POLICY_STEPS_MAX 40
#define POLICY_TEXT_MAX 200

/* On the caller's stack, and never copied: the reply's text lies within. Only the steps below
 * `step_count` and, in a refusal, `text` are set. */
struct policy_verdict {
    enum policy_action action;
    uint8_t rule;            /* enum policy_rule that decided */
    uint8_t list;            /* enum policy_list */
    uint32_t entry;          /* as in policy_step */
    struct smtp_reply reply; /* code 0 when accepted; its text lies in `text` below */
    uint32_t shadow;    /* bits: 1 << rule, for rules that would have refused (POLICY_SHADOW) */
    uint8_t asks;       /* enum policy_ask: with these facts it may be another; ask again then */
    bool explain;       /* set by policy_verdict_init() */
    uint8_t step_count; /* 0 unless `explain` */
    char text[POLICY_TEXT_MAX];
    struct policy_step steps[POLICY_STEPS_MAX];
};

/* Once before the first use. With `explain` every rule is asked, also after one has refused, and
 * the steps of all calls gather; without, only the verdict is made. */
void policy_verdict_init(struct policy_verdict *v, bool explain);

/*
 * The questions, in the order in which a session comes to them. Each sets action, rule, list,
 * entry, shadow and reply anew. The reply's text is valid as long as the verdict stays where it is.
 *
 * connect  client, now_us, sessions, sessions_max:
 *                                         554 5.7.1, 421 4.3.2, both with POLICY_DISCONNECT
 * limits   client, now_us, usage, ban:    421 4.7.0 with POLICY_DISCONNECT; behind connect, and
 *                                         only while policy_limits_asked() or there is a ban
 * client   client, now_us:                421 4.7.0 with POLICY_DISCONNECT, for a session that is
 *                                         open already and new rules refuse
 * mail     client, now_us, usage, ban, tls, messages, data, size, helo, sender, helo_dns,
 *          sender_dns:                    421 4.7.0 with POLICY_DISCONNECT, 530 5.7.0, 552 5.3.4,
 *                                         and what the checks refuse with (checks.c)
 * rcpt     client, now_us, usage, ban, tls, size, recipients, recipient, answer:
 *                                         421 4.7.0 with POLICY_DISCONNECT, 530 5.7.0, 452 4.5.3,
 *                                         550 5.7.1, 552 5.3.4, 550 5.1.1, 451 4.4.1
 */
void policy_connect(const struct policy_snapshot *snap, const struct policy_facts *facts,
                    struct policy_verdict *v);
void policy_limits(const struct policy_snapshot *snap, const struct policy_facts *facts,
                   struct policy_verdict *v);
void policy_client(const struct policy_snapshot *snap, const struct policy_facts *facts,
                   struct policy_verdict *v);
void policy_mail(const struct policy_snapshot *snap, const struct policy_facts *facts,
                 struct policy_verdict *v);
void policy_rcpt(const struct policy_snapshot *snap, const struct policy_facts *facts,
                 struct policy_verdict *v);

/* Connection control alone: would this address be let in, and which entry decides. */
void policy_test_address(const struct policy_snapshot *snap, const struct net_addr *address,
                         int64_t now_us, struct policy_verdict *v);

/* The whole chain for such a client: connect, mail and, where facts name a recipient, rcpt. The
 * verdict is the first refusal, or acceptance. `v` was initialised with `explain`. */
void policy_explain(const struct policy_snapshot *snap, const struct policy_facts *facts,
                    struct policy_verdict *v);

/* True if this client may send to any domain (message_rules.permitted_relay). */
bool policy_may_relay(const struct policy_snapshot *snap, const struct net_addr *client,
                      int64_t now_us);

/* The name to ask the DNS about for one bit of `asks`, A-labels in lower case. False: there is
 * none. About a HELO name its addresses count, or MX; about a sender's domain what RFC 5321 5.1
 * asks. */
PT_NODISCARD bool policy_ask_name(const struct policy_facts *facts, enum policy_ask ask,
                                  char out[SETTINGS_DOMAIN_SIZE]);

/* The largest message that the route of this recipient takes; 0: it says nothing. */
uint64_t policy_route_size(const struct policy_snapshot *snap, struct str recipient);

/* ---- limits ---- */

/* True if any limit is on or watched: then what clients do has to be counted. */
bool policy_limits_asked(const struct policy_snapshot *snap);

/* Minutes over which failures are added up. */
uint32_t policy_failure_span(const struct policy_snapshot *snap);

/* After a failure: does this client, with the failures in `usage`, get a ban? *out is what to give
 * to access_bans_set(). */
bool policy_ban_due(const struct policy_snapshot *snap, const struct net_addr *client,
                    int64_t now_us, const struct access_client *usage, struct access_ban *out);

/* ---- telling ---- */

/* The entry that a verdict or step names, in `room` or in the settings; NULL: none. */
const char *policy_entry_text(const struct policy_snapshot *snap, uint8_t list, uint32_t entry,
                              char room[SETTINGS_ENTRY_SIZE]);

/* The deny or permit list; NULL for any other. */
const struct settings_list *policy_list(const struct policy_snapshot *snap, uint8_t list);

/* The comment of such a list's entry; NULL: none. */
const char *policy_entry_comment(const struct policy_snapshot *snap, uint8_t list, uint32_t entry);

/* "passed", "accepted", "refused", "shadow". */
const char *policy_outcome_name(uint8_t outcome);

/* What the rule looked at, in words. */
void policy_step_tell(const struct policy_snapshot *snap, const struct policy_step *step,
                      struct buf *out);

/* One line for a person: the rule, what came of it, and what it looked at. */
void policy_step_write(const struct policy_snapshot *snap, const struct policy_step *step,
                       struct buf *out);

/* "XXXX-XXXX" of the low 40 bits, in the alphabet of base/msgid.h. */
#define POLICY_REF_SIZE 10
void policy_ref_format(uint64_t ref, char out[POLICY_REF_SIZE]);
PT_NODISCARD bool policy_ref_parse(struct str text, uint64_t *out);
