#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/str.h"
#include "net/loop.h"
#include "policy/recipient.h"

/*
 * relay/callout: asks a recipient's next hop whether it takes it, before anything is accepted.
 *
 * By today's routes, over connections of their own that a delivery's code makes: candidates, TLS as
 * the route demands, AUTH, SMTP or LMTP; then MAIL FROM:<>, RCPT and RSET for one recipient after
 * the other. What was said for good is remembered, a yes for longer than a no, in bounded memory;
 * it counts for the destination that said it. Questions about the same recipient are one question.
 *
 * A refusal is what the next hop said 5yz to RCPT about the recipient. Everything else is untold:
 * no connection, silence, 4yz, a null reverse-path that is refused, an answer about our commands.
 * A destination that gave no answer rests for some seconds, in which nobody waits for it; what is
 * remembered is answered all the same, and a yes that has grown old is better than no answer.
 */

struct relay;

/* Embedded in who asks, whose it is not from relay_callout_ask() until `answered`. */
struct relay_callout {
    struct str recipient; /* stays where it is meanwhile */
    struct net_loop *home;
    void (*answered)(struct relay_callout *q); /* on `home`, never within relay_callout_ask() */
    struct policy_recipient *answer;
    struct mail mail; /* private, as is the next */
    struct relay_callout *next;
};

/* True: *q->answer is there already, and `answered` is not called. Any thread; does not wait. */
bool relay_callout_ask(struct relay *r, struct relay_callout *q);

struct relay_callout_stats {
    uint64_t asked, taken, refused, untold; /* questions to next hops and what came of them */
    uint64_t remembered;                    /* answered from memory */
    uint64_t waiting;                       /* now */
    uint64_t entries, octets;               /* remembered now */
};
void relay_callout_get_stats(struct relay *r, struct relay_callout_stats *out); /* any thread */
