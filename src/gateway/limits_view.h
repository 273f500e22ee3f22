#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "access/bans.h"
#include "access/counts.h"
#include "access/tally.h"

/*
 * gateway/limits_view: what clients have done and who is kept out, for an administrator. Any
 * thread.
 */

struct gateway;

struct gateway_client {
    uint32_t sessions, sessions_max; /* of all clients, and what the system allows */
    struct access_client usage;
    bool banned;
    struct access_ban ban; /* if `banned` */
};

/* What is known of a client now. `span_minutes`: policy_failure_span() of the settings in force. */
void gateway_limits_client(struct gateway *g, const struct net_addr *client, int64_t now_us,
                           uint32_t span_minutes, struct gateway_client *out);

/* Live as long as the gateway. */
struct access_bans *gateway_bans(struct gateway *g);
struct access_tally *gateway_shadow(struct gateway *g);

/* Lets a client in again, its failures forgiven. False: there was no ban. */
bool gateway_limits_lift(struct gateway *g, const struct net_addr *client, int64_t now_us);

/* How often a rule (enum policy_rule) has refused, and would have, since the start. Of connection
 * control and the count of all sessions gateway_get_stats() tells. */
void gateway_limits_counts(struct gateway *g, uint8_t rule, uint64_t *out_refused,
                           uint64_t *out_shadow);

/* Bans that came by failures since the start. */
uint64_t gateway_limits_banned(struct gateway *g);
