#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "net/resolver.h"

/*
 * gateway/names: what the DNS says of a name that a client gave, as a fact for policy
 * (enum policy_dns).
 *
 * A name in HELO counts when it has an address or, failing that, MX records; a null MX says nothing
 * about a host that sends. A sender's domain counts when mail can go there (RFC 5321 5.1, RFC
 * 7505).
 */
struct names_question {
    struct net_query query; /* name and reply_to are set by the asker; then private, but `reason` */
    bool helo;
    void (*done)(struct names_question *q); /* on the loop */
    uint8_t answer;                         /* enum policy_dns */
    struct net_resolver *resolver;          /* private */
};

/* Asks; `q` is given up until `done`, and there is no cancelling. Any thread. */
void names_ask(struct names_question *q, struct net_resolver *resolver);
