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

/*
 * What has been answered lately, on a loop: the resolver's cache is a thread away, and most clients
 * say the same names again and again. A fixed number of names, each for a minute at most; what
 * could not be told is not kept. The loop's thread.
 */
struct names_known;

struct names_known *names_known_new(void); /* NULL: memory is short */
void names_known_free(struct names_known *k);
/* `name` as policy_ask_name() has it. */
bool names_known_find(const struct names_known *k, const char *name, bool helo, int64_t now_ns,
                      uint8_t *out_answer);
/* The answer of a question that is done. */
void names_known_add(struct names_known *k, const struct names_question *q, int64_t now_ns);
