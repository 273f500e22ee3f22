#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "net/addr.h"
#include "settings/settings.h"

/*
 * policy/preview_view: what other settings would mean for the clients of the last days.
 *
 * What is known of a client is asked about under two snapshots, by the functions that decide in a
 * session: may it connect, may it send as it did last, and to each of the domains it sent to. What
 * was told by time (simultaneous connections, rates, bans) is not known and refuses nobody. Pure;
 * a million clients take a second or two: not on an event loop.
 */

struct policy_snapshot;
struct policy_preview;

/* What is known of a client; borrowed for the time of a call. */
struct policy_past {
    struct net_addr address;
    bool mail;               /* it has tried to send, … */
    bool tls;                /* … encrypted */
    uint32_t messages_max;   /* in one connection */
    uint32_t recipients_max; /* of one message */
    uint64_t size_max;       /* octets of one message */
    uint64_t connections, messages, refusals;
    int64_t last_us;
    const char *helo;
    const char *const *recipients; /* domains */
    uint32_t recipient_count;
};

enum { POLICY_PREVIEW_NAME = 64, POLICY_PREVIEW_ENTRY = 256, POLICY_PREVIEW_REPLY = 200 };

/* A client for whom it would be otherwise, with what refuses it: under the new settings, or until
 * now. */
struct policy_preview_row {
    struct net_addr address;
    char helo[POLICY_PREVIEW_NAME];
    uint64_t connections, messages, refusals;
    int64_t last_us;
    const char *command;                 /* "MAIL" or "RCPT"; NULL: it may not connect */
    char recipient[POLICY_PREVIEW_NAME]; /* the domain; "": all of them */
    const char *rule;
    const char *list;                   /* "deny", …; NULL: none */
    char entry[POLICY_PREVIEW_ENTRY];   /* "": none */
    char comment[POLICY_PREVIEW_ENTRY]; /* of the entry */
    uint16_t code;
    char reply[POLICY_PREVIEW_REPLY];
};

struct policy_preview_side {
    uint64_t clients, connections, messages;
    const struct policy_preview_row *rows; /* those with the most traffic, the most first */
    uint32_t count;
};

struct policy_preview_result {
    uint64_t clients; /* that were asked about */
    struct policy_preview_side refused, let_in;
    /* Of those seen since `since_us`: how many there are, and how many may not connect. */
    uint64_t seen, seen_refused_before, seen_refused_after;
};

/* With the `rows_max` first rows of each side. Takes references. NULL: memory is short. */
struct policy_preview *policy_preview_new(const struct policy_snapshot *before,
                                          const struct policy_snapshot *after, int64_t now_us,
                                          int64_t since_us, uint32_t rows_max);
void policy_preview_free(struct policy_preview *p); /* NULL is accepted */

void policy_preview_add(struct policy_preview *p, const struct policy_past *past);

/* Valid as long as the preview. */
const struct policy_preview_result *policy_preview_end(struct policy_preview *p);

/* Would this client be refused a connection, and which entry does it? `out` (may be NULL) gets the
 * row. */
bool policy_preview_refuses(const struct policy_snapshot *snap, const struct net_addr *client,
                            int64_t now_us, struct policy_preview_row *out);
