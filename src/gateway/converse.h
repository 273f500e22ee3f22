#pragma once
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "policy/policy.h"

/*
 * gateway/converse: what a session says and does about what the server machine wants.
 * Replies gather in the loop's output buffer. Within the room only.
 */

struct session;

struct converse_result {
    bool closing;  /* the session is over once the output is written */
    bool quit;     /* … and the client has nothing more to say */
    bool securing; /* TLS begins once the output is written */
    struct str
        rest; /* input that cannot be used yet: the session is committing, asking or behind */
};

/* Uses the input as far as possible. */
struct converse_result converse(struct session *s, struct str in);

/* The answer to the end of data. */
void converse_committed(struct session *s, enum pt_err result);

/* The answer to MAIL or RCPT, now that it is known what session->asking was about. */
void converse_asked(struct session *s);

/* Would connection control still let this client in? The verdict says why not. */
bool converse_still_permitted(const struct session *s, struct policy_verdict *out);
