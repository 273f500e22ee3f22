#include "settings/table.h"

#include <stddef.h>

#include "settings/auth.h"
#include "settings/client_checks.h"
#include "settings/limits.h"

#define CHOICES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define CHILDREN(...) ((const struct schema_node[]){ __VA_ARGS__, { .key = NULL } })
#define ITEM(...) (&(const struct schema_node){ .key = "", __VA_ARGS__ })

enum { LIST_MAX = 4000000, DOMAINS_MAX = 1000000, NAME_MAX_OCTETS = 1000 };

#define ENTRY_LIST(name, text)                                                                     \
    {                                                                                              \
        .key = name, .type = SCHEMA_LIST, .max = LIST_MAX, .fallback = "[]", .item = &entry,       \
        .summary = text                                                                            \
    }

static const struct schema_node entry = {
    .key = "",
    .type = SCHEMA_OBJECT,
    .shorthand = "network",
    .summary = "An address or a group of addresses.",
    .children = CHILDREN(
        {
            .key = "network",
            .type = SCHEMA_STRING,
            .flags = SCHEMA_REQUIRED,
            .max = 100,
            .format = &schema_network,
            .summary = "ADDRESS, ADDRESS/PREFIX, or ADDRESS:MASK (IPv4). Host bits set in a group "
                       "are cleared.",
        },
        {
            .key = "comment",
            .type = SCHEMA_STRING,
            .flags = SCHEMA_NULLABLE,
            .max = 500,
            .format = &schema_line,
            .summary = "Why it is here; shown wherever the entry decides.",
        },
        {
            .key = "expires",
            .type = SCHEMA_STRING,
            .flags = SCHEMA_NULLABLE,
            .max = 64,
            .format = &schema_time,
            .summary = "From then on the entry counts for nothing and the next wider one decides.",
        }),
};

static const struct schema_node identity[] = {
    {
        .key = "hostname",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_HOST_NAME,
        .max = NAME_MAX_OCTETS,
        .format = &schema_hostname,
        .summary = "The name by which the gateway speaks of itself: in the greeting, in EHLO, in "
                   "trace headers and as domain of its own messages. Default: the name of this "
                   "host.",
    },
    {
        .key = "greeting",
        .type = SCHEMA_STRING,
        .max = 200,
        .format = &schema_greeting,
        .fallback = "\"ESMTP ready\"",
        .summary = "The text behind the host name in the first line a client reads.",
    },
    { .key = NULL },
};

static const struct schema_node interface[] = {
    {
        .key = "address",
        .type = SCHEMA_STRING,
        .max = 100,
        .choices = CHOICES("loopback", "all"),
        .format = &schema_address,
        .fallback = "\"loopback\"",
        .summary = "Where the SMTP server listens. \"loopback\": 127.0.0.1 and ::1 only; \"all\": "
                   "every IPv4 and IPv6 address of this host, also one that is added later; or "
                   "one address of this host.",
    },
    {
        .key = "port",
        .type = SCHEMA_INTEGER,
        .min = 1,
        .max = 65535,
        .fallback = "2525",
        .summary = "The port on which the SMTP server listens.",
    },
    {
        .key = "idle_timeout_minutes",
        .type = SCHEMA_INTEGER,
        .min = 1,
        .max = 1440,
        .fallback = "5",
        .unit = "minutes",
        .summary = "A client that is silent this long gets 421 4.4.2 and is disconnected. A change "
                   "counts for live sessions too. RFC 5321 section 4.5.3.2.7 asks for 5 or more.",
    },
    {
        .key = "max_connections",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 1000000,
        .fallback = "null",
        .summary = "How many sessions there may be at a time; refused clients do not count. null: "
                   "no limit but the system's own. A client beyond it gets 421 4.3.2. Lowering it "
                   "ends no session.",
    },
    { .key = NULL },
};

static const struct schema_node control[] = {
    {
        .key = "mode",
        .type = SCHEMA_STRING,
        .max = 100,
        .choices = CHOICES("accept_all_except", "deny_all_except"),
        .fallback = "\"accept_all_except\"",
        .summary = "Which list counts. \"accept_all_except\": everyone may connect but the "
                   "clients on deny_list; \"deny_all_except\": nobody but the clients on "
                   "permit_list. The other list is kept, not used. A refused client gets "
                   "554 5.7.1 in place of the greeting.",
    },
    ENTRY_LIST("deny_list", "Clients that may not connect, under \"accept_all_except\". The "
                            "longest match decides which entry is named."),
    ENTRY_LIST("permit_list", "Clients that may connect, under \"deny_all_except\". An entry lets "
                              "a client connect, it never lets it relay. Empty, it refuses "
                              "everyone: that must be confirmed (\"empty_permit_list\")."),
    { .key = NULL },
};

const struct schema_node schema_entries = { .type = SCHEMA_LIST, .max = LIST_MAX, .item = &entry };

static const struct schema_node tls[] = {
    {
        .key = "incoming",
        .type = SCHEMA_BOOLEAN,
        .fallback = "false",
        .summary = "Offer STARTTLS. Clients may still send in clear. Needs a certificate.",
    },
    {
        .key = "incoming_required",
        .type = SCHEMA_BOOLEAN,
        .fallback = "false",
        .summary = "Before TLS answer EHLO, NOOP, STARTTLS and QUIT only; all else gets "
                   "530 5.7.0. Only together with incoming.",
    },
    {
        .key = "certificate",
        .type = SCHEMA_LIST,
        .flags = SCHEMA_NULLABLE | SCHEMA_ONE_OR_LIST,
        .min = 1,
        .max = 8,
        .fallback = "null",
        .item = ITEM(.type = SCHEMA_STRING, .max = 100, .format = &schema_id),
        .summary = "The certificate of the SMTP server: the ID of an uploaded one, or a list of "
                   "IDs, one per key type. One that has expired must be confirmed "
                   "(\"expired_certificate\").",
    },
    {
        .key = "implicit_port",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 65535,
        .summary = "The port of a second listener with TLS from the first octet (RFC 8314). "
                   "Default: none.",
    },
    {
        .key = "client_certificates",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_NULLABLE,
        .max = 100,
        .choices = CHOICES("off", "request", "require"),
        .summary = "Whether clients are asked for a certificate, and turned away without one that "
                   "client_ca vouches for. Default: \"off\".",
    },
    {
        .key = "client_ca",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_NULLABLE,
        .max = 100,
        .format = &schema_id,
        .summary = "The ID of the uploaded CA that certificates of clients are checked against.",
    },
    {
        .key = "outgoing",
        .type = SCHEMA_BOOLEAN,
        .fallback = "false",
        .summary = "Use STARTTLS towards a next hop that offers it; the tls of a route overrides "
                   "it.",
    },
    { .key = NULL },
};

static const struct schema_node connections[] = {
    { .key = "interface",
      .type = SCHEMA_OBJECT,
      .children = interface,
      .summary = "Where and for how long clients may speak." },
    { .key = "control", .type = SCHEMA_OBJECT, .children = control, .summary = "Who may connect." },
    { .key = "tls", .type = SCHEMA_OBJECT, .children = tls, .summary = "Encryption." },
    { .key = "limits",
      .type = SCHEMA_OBJECT,
      .flags = SCHEMA_NULLABLE,
      .children = schema_limits,
      .summary = "What one client may do, and temporary bans: see docs/policy.md. Default: "
                 "no limit." },
    { .key = NULL },
};

static const struct schema_node permitted_relay[] = {
    {
        .key = "hosts",
        .type = SCHEMA_STRING,
        .max = 100,
        .choices = CHOICES("host_only", "same_subnet", "same_class", "specified"),
        .fallback = "\"host_only\"",
        .summary = "Who may send to any domain. \"host_only\": the addresses of this host, "
                   "loopback included; \"same_subnet\": every address in a subnet of this host; "
                   "\"same_class\": every address in the same class A, B or C network as an IPv4 "
                   "address of this host, and for IPv6, which has no classes, in the same subnet; "
                   "\"specified\": the addresses in networks and nothing else.",
    },
    {
        .key = "networks",
        .type = SCHEMA_LIST,
        .max = DOMAINS_MAX,
        .fallback = "[]",
        .item = ITEM(.type = SCHEMA_STRING, .max = 100, .format = &schema_network),
        .summary = "The clients that \"specified\" lets relay, as ADDRESS, ADDRESS/PREFIX or "
                   "ADDRESS:MASK. A prefix length of 0 makes an open relay: that must be confirmed "
                   "(\"open_relay\").",
    },
    { .key = NULL },
};

static const struct schema_node message_rules[] = {
    {
        .key = "max_message_size_mb",
        .type = SCHEMA_INTEGER,
        .min = 1,
        .max = 2047,
        .fallback = "50",
        .unit = "1,048,576 octets",
        .summary = "The largest message, announced by SIZE. Beyond it: 552 5.3.4 at MAIL or at "
                   "the end of data.",
    },
    {
        .key = "max_recipients",
        .type = SCHEMA_INTEGER,
        .min = 1,
        .max = 99999,
        .fallback = "1000",
        .summary = "Recipients of one message. A further RCPT gets 452 4.5.3.",
    },
    {
        .key = "max_messages_per_connection",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 1000000,
        .fallback = "null",
        .summary = "Messages in one session. A further MAIL gets 421 4.7.0, and the client may "
                   "connect again. null: no limit.",
    },
    {
        .key = "max_data_per_connection_mb",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 1048576,
        .unit = "1,048,576 octets",
        .summary = "Content in one session, not less than max_message_size_mb. A MAIL behind it, "
                   "or that announces by SIZE more than is left, gets 421 4.7.0, and the client "
                   "may connect again; a message that has begun may end. Default: no limit.",
    },
    {
        .key = "relay_domains",
        .type = SCHEMA_LIST,
        .max = DOMAINS_MAX,
        .fallback = "[]",
        .item =
            ITEM(.type = SCHEMA_STRING, .max = NAME_MAX_OCTETS, .format = &schema_domain_pattern),
        .summary = "Domains for which mail is accepted from anyone: \"example.com\", or "
                   "\"*.example.com\" for all below it but not itself. \"*\" makes an open relay: "
                   "that must be confirmed (\"open_relay\").",
    },
    { .key = "permitted_relay",
      .type = SCHEMA_OBJECT,
      .children = permitted_relay,
      .summary = "Clients that may send to any domain. Everyone else gets 550 5.7.1 for a "
                 "recipient outside relay_domains." },
    { .key = "helo_checks",
      .type = SCHEMA_OBJECT,
      .flags = SCHEMA_NULLABLE,
      .children = schema_helo_checks,
      .summary = "What is asked of the name in HELO and EHLO, at MAIL. Clients that "
                 "permitted_relay lets send to any domain are not asked." },
    { .key = "reverse_path_checks",
      .type = SCHEMA_OBJECT,
      .flags = SCHEMA_NULLABLE,
      .children = schema_reverse_path_checks,
      .summary = "What is asked of the sender's address in MAIL, unless it is null (\"<>\"). "
                 "Clients that permitted_relay lets send to any domain are not asked." },
    {
        .key = "recipient_check",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_NULLABLE,
        .max = 100,
        .choices = CHOICES("off", "shadow", "on"),
        .summary =
            "Whether the next hop of a recipient in relay_domains (\"*\" does not count) is "
            "asked if it takes it, before the client's RCPT is answered. \"on\": one that it "
            "refuses gets 550 5.1.1 with its words; while it does not answer, 451 4.4.1. "
            "\"shadow\": it is asked all the same, what it would refuse is counted and "
            "shown, and let through. Default: \"off\".",
    },
    {
        .key = "recipient_check_timeout_seconds",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 120,
        .unit = "seconds",
        .summary = "How long a client's RCPT waits for the next hop's answer. Default: 10.",
    },
    {
        .key = "recipient_check_taken_minutes",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 44640,
        .unit = "minutes",
        .summary = "How long it is remembered that a recipient is taken. Default: 1440.",
    },
    {
        .key = "recipient_check_refused_minutes",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 44640,
        .unit = "minutes",
        .summary = "How long it is remembered that a recipient is refused; not longer than "
                   "recipient_check_taken_minutes. A new mailbox may have to wait as long. "
                   "Default: 15.",
    },
    { .key = NULL },
};

static const struct schema_node next_hop[] = {
    {
        .key = "host",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_REQUIRED,
        .max = NAME_MAX_OCTETS,
        .format = &schema_host,
        .summary = "A host name, whose addresses are looked up and no MX records, or an address.",
    },
    {
        .key = "port",
        .type = SCHEMA_INTEGER,
        .min = 1,
        .max = 65535,
        .fallback = "25",
        .summary = "Its port.",
    },
    {
        .key = "order",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 0,
        .max = 65535,
        .summary = "The lowest is tried first; those with the same order share the messages. Where "
                   "one next hop of a route has it all need it. Default: the place in the list.",
    },
    {
        .key = "weight",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 1000,
        .summary = "Its share among those with the same order: one with 3 gets three times the "
                   "messages of one with 1. Needs order. Default: 1.",
    },
    { .key = NULL },
};

static const struct schema_node route[] = {
    {
        .key = "domain",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_REQUIRED,
        .max = NAME_MAX_OCTETS,
        .format = &schema_domain_pattern,
        .summary = "The recipients it is for: \"example.com\", \"*.example.com\" for all below it "
                   "but not itself, or \"*\". The most specific one wins.",
    },
    {
        .key = "via",
        .type = SCHEMA_STRING,
        .max = 100,
        .choices = CHOICES("mx", "next_hops"),
        .fallback = "\"mx\"",
        .unless = "next_hops",
        .summary = "\"mx\": as the DNS says. Where next_hops are given it may be left out.",
    },
    {
        .key = "next_hops",
        .type = SCHEMA_LIST,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 64,
        .item = ITEM(.type = SCHEMA_OBJECT, .children = next_hop,
                     .summary = "A host that takes the mail."),
        .summary = "Where the mail goes, in order of preference, or as order and weight say.",
    },
    {
        .key = "tls",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_NULLABLE,
        .max = 100,
        .choices = CHOICES("none", "opportunistic", "encrypt", "verify"),
        .summary = "\"none\": in clear; \"opportunistic\": STARTTLS where offered; \"encrypt\": "
                   "nothing without TLS; \"verify\": nothing without a certificate that the "
                   "system's trust store, SSL_CERT_FILE or ca vouches for. Default: what "
                   "connections.tls.outgoing says.",
    },
    {
        .key = "ca",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_NULLABLE,
        .max = 100,
        .format = &schema_id,
        .summary = "The ID of the uploaded CA that \"verify\" trusts instead of the system's.",
    },
    {
        .key = "auth",
        .type = SCHEMA_OBJECT,
        .flags = SCHEMA_NULLABLE | SCHEMA_SECRET,
        .children = schema_auth,
        .summary = "What the gateway logs in with at the next_hops, by AUTH PLAIN or LOGIN "
                   "(RFC 4954). Needs \"tls\": \"encrypt\" or \"verify\". Default: it does not.",
    },
    {
        .key = "protocol",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_NULLABLE,
        .max = 100,
        .choices = CHOICES("smtp", "lmtp"),
        .summary = "The protocol spoken there. \"lmtp\" (RFC 2033) is for mail stores such as "
                   "Dovecot, each recipient with its own answer, and needs next_hops. Default: "
                   "\"smtp\".",
    },
    {
        .key = "source",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_NULLABLE,
        .max = 100,
        .format = &schema_address,
        .summary = "The address of this host to connect from. Default: the system's choice.",
    },
    {
        .key = "max_concurrency",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 1000,
        .summary = "Connections to it at a time. Default: the gateway's own choice.",
    },
    {
        .key = "max_messages_per_minute",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 1000000,
        .unit = "messages",
        .summary = "Messages handed to it in a minute, spread evenly over it; the others wait "
                   "their turn. By \"mx\" it counts for each domain by itself. Default: no limit.",
    },
    {
        .key = "max_message_size_mb",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 2047,
        .unit = "MiB",
        .summary = "The largest message taken for its recipients: 552 5.3.4 at RCPT where SIZE "
                   "was announced, else while reading, for the whole message. Default: what "
                   "message_rules.max_message_size_mb says.",
    },
    { .key = NULL },
};

static const struct schema_node retry[] = {
    {
        .key = "first_after_seconds",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 86400,
        .unit = "seconds",
        .summary = "How long a message waits after its first attempt; the wait doubles from "
                   "attempt to attempt, a fifth more or less. Default: 30.",
    },
    {
        .key = "at_least_every_minutes",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 1440,
        .unit = "minutes",
        .summary = "The longest wait between two attempts. Default: 60.",
    },
    {
        .key = "delay_notice_after_minutes",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 0,
        .max = 43200,
        .unit = "minutes",
        .summary = "A sender whose message is still being tried after this time is told so, once, "
                   "unless the sender wished otherwise (NOTIFY without DELAY, RFC 3461). 0: nobody "
                   "is told. Default: 240.",
    },
    {
        .key = "give_up_after_hours",
        .type = SCHEMA_INTEGER,
        .flags = SCHEMA_NULLABLE,
        .min = 1,
        .max = 720,
        .unit = "hours",
        .summary = "A message that could not be delivered in this time goes back to its sender. "
                   "RFC 5321 section 4.5.4.1 asks for four days or more. Default: 120.",
    },
    { .key = NULL },
};

static const struct schema_node delivery[] = {
    {
        .key = "routes",
        .type = SCHEMA_LIST,
        .max = DOMAINS_MAX,
        .fallback = "[{\"domain\":\"*\",\"via\":\"mx\"}]",
        .item = ITEM(.type = SCHEMA_OBJECT, .children = route,
                     .summary = "Where mail for a domain goes."),
        .summary = "Where mail goes from here. Queued mail follows the routes of today. A domain "
                   "stands in one route only.",
    },
    { .key = "retry",
      .type = SCHEMA_OBJECT,
      .flags = SCHEMA_NULLABLE,
      .children = retry,
      .summary = "How often and for how long a next hop that does not take a message is tried. A "
                 "change counts for queued mail too, from its next attempt on." },
    { .key = NULL },
};

static const struct schema_node resolver[] = {
    {
        .key = "servers",
        .type = SCHEMA_LIST,
        .max = 16,
        .fallback = "[]",
        .item = ITEM(.type = SCHEMA_STRING, .max = 100, .format = &schema_server),
        .summary = "Where DNS questions go, each as IP or IP@PORT. Empty: the servers of the "
                   "system. Answers are validated.",
    },
    {
        .key = "trust_anchor",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_NULLABLE,
        .max = SCHEMA_TEXT_SIZE - 1,
        .choices = CHOICES("none"),
        .format = &schema_anchor,
        .fallback = "null",
        .summary =
            "Where validation starts: a DS record such as \". IN DS 20326 8 2 E06D…\". null: "
            "the root's; a private unsigned server is then bogus. \"none\": no validation, "
            "and so no DANE.",
    },
    { .key = NULL },
};

static const struct schema_node top[] = {
    { .key = "identity",
      .type = SCHEMA_OBJECT,
      .children = identity,
      .summary = "Who the gateway is." },
    { .key = "connections",
      .type = SCHEMA_OBJECT,
      .children = connections,
      .summary = "Clients and how they reach us." },
    { .key = "message_rules",
      .type = SCHEMA_OBJECT,
      .children = message_rules,
      .summary = "What is accepted from a client that may connect." },
    { .key = "delivery",
      .type = SCHEMA_OBJECT,
      .children = delivery,
      .summary = "Where mail goes." },
    { .key = "resolver",
      .type = SCHEMA_OBJECT,
      .children = resolver,
      .summary = "Where names are looked up." },
    { .key = NULL },
};

const struct schema_node schema_root = {
    .key = "",
    .type = SCHEMA_OBJECT,
    .children = top,
    .summary = "The settings of a Postern gateway.",
};
