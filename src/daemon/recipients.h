#pragma once
#include "policy/explain_view.h"

/*
 * daemon/recipients: the gateway's questions about recipients go to the relay, which knows the next
 * hops (gateway/recipients.h, relay/callout.h).
 */

struct gateway_recipient_question;

/* gateway_recipients' ask(); the process is its `ctx`. */
bool recipients_ask(void *ctx, struct gateway_recipient_question *q);

/* For an explanation: asks as a session would, and waits. On a job thread. */
void recipients_look_up(void *ctx, const struct policy_snapshot *snap,
                        struct policy_explain_ask *ask);
