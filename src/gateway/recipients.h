#pragma once
#include <stdbool.h>

#include "base/str.h"
#include "net/loop.h"
#include "policy/recipient.h"

/*
 * gateway/recipients: who can be asked whether a recipient's next hop takes it. Daemon gives it to
 * the gateway, which knows no routes and no next hops.
 */

enum { GATEWAY_RECIPIENT_ROOM = 128 };

/* One question: the answerer's from ask() until `answered`, and there is no cancelling. */
struct gateway_recipient_question {
    struct str recipient;  /* as in RCPT; stays where it is meanwhile */
    struct net_loop *home; /* of who asks */
    /* On that loop. Never within ask(). */
    void (*answered)(struct gateway_recipient_question *q);
    struct policy_recipient answer;
    _Alignas(16) char room[GATEWAY_RECIPIENT_ROOM]; /* the answerer's own */
};

struct gateway_recipients {
    void *ctx;
    /* True: the answer is there already. Any thread; does not wait. */
    bool (*ask)(void *ctx, struct gateway_recipient_question *q);
};
