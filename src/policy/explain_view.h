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

/*
 * policy/explain_view: the whole chain of decisions about a client, told step by step.
 *
 * It is policy_explain(), the code that decides in a session, in words for who may not include the
 * rest of this room. Pure.
 */

struct policy_snapshot;

enum { POLICY_EXPLAIN_WHY = 400 };

struct policy_explain_ask {
    struct net_addr client;
    struct str helo, from;
    struct str to; /* empty: no recipient is asked about */
    bool tls;
    bool tls_lacking;                /* nothing to begin it with is in force */
    int64_t now_us;                  /* wall time */
    uint32_t sessions, sessions_max; /* of all clients, as in policy_facts */
    struct access_client usage;      /* of this one */
    bool banned;
    struct access_ban ban; /* if `banned` */
    uint64_t size;         /* octets that SIZE announces; 0: none */
    /* What the DNS says of the name in HELO and of the sender's domain: enum policy_dns, and why.
     */
    uint8_t helo_dns, from_dns;
    char helo_why[POLICY_EXPLAIN_WHY], from_why[POLICY_EXPLAIN_WHY];
    struct policy_recipient answer; /* of the recipient's next hop; said 0: it was not asked */
};

/* A step; texts are borrowed for the time of the call that shows it. */
struct policy_explain_step {
    unsigned number;     /* of the order of decisions in the documentation: 2 to 7 */
    const char *stage;   /* "connection", "MAIL", "RCPT" */
    const char *rule;    /* as in the log */
    const char *outcome; /* "passed", "accepted", "refused", "shadow" */
    bool decisive;       /* it made the verdict */
    const char *list;    /* "deny_list", …; NULL: none was asked */
    const char *entry;   /* the one that fits; NULL: none */
    const char *comment; /* of the entry or the ban; NULL: none */
    const char *scope;   /* whose count it is: "address", "prefix"; NULL: no count of a client's */
    bool counted;        /* `value` was compared with `limit` */
    uint64_t value;
    uint64_t limit;  /* 0: none */
    struct str text; /* the whole in words */
};

typedef void policy_explain_fn(void *user, const struct policy_explain_step *step);

/* The name to ask the DNS about first, of HELO or of the sender's domain (policy_ask_name()).
 * False: none. */
PT_NODISCARD bool policy_explain_asks(const struct policy_snapshot *snap,
                                      const struct policy_explain_ask *ask, bool helo,
                                      char out[SETTINGS_DOMAIN_SIZE]);

/* Is the recipient's next hop to be asked first? */
PT_NODISCARD bool policy_explain_asks_recipient(const struct policy_snapshot *snap,
                                                const struct policy_explain_ask *ask);

#define POLICY_EXPLAIN_TEXT 600

struct policy_explained {
    const char *decision; /* "accept", "refuse", "disconnect" */
    const char *rule;     /* that decided; NULL: none had anything against it */
    uint16_t code;        /* the reply that the client gets */
    uint8_t status[3];    /* class 0: no enhanced status */
    char text[POLICY_EXPLAIN_TEXT];
};

void policy_explain_tell(const struct policy_snapshot *snap, const struct policy_explain_ask *ask,
                         policy_explain_fn *show, void *user, struct policy_explained *out);

/* Is it an address as RCPT takes it: a mailbox, or "postmaster"? */
bool policy_explain_is_recipient(struct str text);

/* Is it a mailbox, as MAIL takes it? */
bool policy_explain_is_sender(struct str text);

/* As in policy/policy.h. */
const struct settings *policy_snapshot_settings(const struct policy_snapshot *snap);
