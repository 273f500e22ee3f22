#pragma once
#include <stdint.h>

#include "net/addr.h"
#include "net/loop.h"
#include "policy/policy.h"

/*
 * gateway/refused: telling the log whom a loop has refused, without it becoming what a flood costs.
 *
 * The first GATEWAY_REFUSED_LINES of a second get a line each; those beyond are counted, and one
 * line at the end of the second says how many they were. One per loop; the loop's thread.
 */

struct gateway_loop;

enum { GATEWAY_REFUSED_LINES = 100 };

struct gateway_refused {
    struct net_timer second; /* runs while lines are counted */
    bool counting;
    uint32_t lines;
    uint64_t untold;
};

void gateway_refused_init(struct gateway_refused *r, struct net_loop *loop);
void gateway_refused_done(struct gateway_refused *r); /* says what is untold still */

void gateway_refused_tell(struct gateway_loop *l, const struct net_endpoint *peer,
                          const struct policy_verdict *v);
