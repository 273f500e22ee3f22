#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "gateway/limits.h"
#include "policy/policy.h"

/*
 * gateway/asking: a MAIL whose verdict needs to know what the DNS says of names, or a RCPT that is
 * asked about at its next hop.
 *
 * The session waits, as it does for a commit: what comes meanwhile is kept. Who waits too long is
 * answered as if it could not be told. Within the room only; the loop's thread.
 */

struct gateway_loop;
struct session;
struct asking;

/* What was known when the command came. */
struct asking_facts {
    struct policy_snapshot *snapshot;
    struct policy_facts facts; /* its strings are the session's, its pointers lead into `room` */
    struct limits_facts room;
};

/* Puts what is known already into the facts. False: something must be asked. */
PT_NODISCARD bool asking_known(struct session *s, struct policy_facts *facts, uint8_t asks);

/* Asks what `asks` (enum policy_ask) names. session_asked() is called later. False: it cannot be
 * asked now, or there is no memory to. */
PT_NODISCARD bool asking_begin(struct session *s, const struct policy_facts *facts, uint8_t asks);

/* Asks the next hop about the recipient of a RCPT. True: session_asked() is called later. False: it
 * has answered, or cannot be asked now: facts->answer is `answer`, which says so. */
PT_NODISCARD bool asking_recipient(struct session *s, const struct policy_snapshot *snapshot,
                                   struct policy_facts *facts, struct policy_recipient *answer);

bool asking_is_about_recipient(const struct asking *a);

/* The facts with what the DNS has said; valid until asking_drop(). */
const struct asking_facts *asking_facts(const struct asking *a);

/* The session does not wait for it any more. NULL is accepted. */
void asking_drop(struct asking *a);

/* True once it has waited for too long, as of `now_ns`; what is not there counts as untold. */
bool asking_gives_up(struct asking *a, int64_t now_ns);

/* When nobody answers any more, because the resolver is gone: frees what waits for it. */
void asking_forget_all(struct gateway_loop *l);
