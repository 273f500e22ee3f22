#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "access/bans.h"
#include "access/counts.h"
#include "access/tally.h"
#include "policy/policy.h"

/*
 * gateway/limits: counts what clients do and asks policy about it. Within the room only.
 *
 * Shared by all loops. While no limit is on or watched and nobody is banned, each question costs
 * two loads.
 */

struct gateway_loop;
struct session;

struct gateway_limits {
    struct access_counts *counts;
    struct access_bans *bans;
    struct access_tally *shadow; /* what would have been refused, by rule and client */
    _Atomic uint64_t refused[POLICY_RULE_COUNT], shadowed[POLICY_RULE_COUNT];
    _Atomic uint64_t banned; /* bans that came by failures */
};

PT_NODISCARD bool gateway_limits_init(struct gateway_limits *g); /* false: memory is short */
void gateway_limits_done(struct gateway_limits *g);

/* A client that connection control lets in: may it have a session? *out_where is for
 * session_start(), also when it may not. */
bool limits_admit(struct gateway_loop *l, const struct net_addr *client, struct policy_verdict *v,
                  uint8_t *out_where);

/* What limits_admit() counted as a session is none (any more). */
void limits_ended(struct gateway_loop *l, const struct net_addr *client, uint8_t where);

/* Room for what facts point to. */
struct limits_facts {
    struct access_client usage;
    struct access_ban ban;
};

/* Counts one of `what` and puts the usage and the ban into the facts, where they are asked for. */
void limits_count(struct session *s, enum access_counted what, struct policy_facts *facts,
                  struct limits_facts *room);

/* What the verdict says of limits that are only watched, or that have refused. */
void limits_note(struct gateway_loop *l, const struct policy_facts *facts,
                 const struct policy_verdict *v);

/* `n` things went wrong by the client's doing. */
void limits_failed(struct session *s, uint32_t n);
