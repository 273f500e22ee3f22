#pragma once
#include "api/api.h"

/*
 * daemon/limits_api: what api_deps has of clients, bans and limits. Job threads.
 */
void limits_client(void *ctx, const struct net_addr *client, int64_t now_us,
                   struct policy_explain_ask *out);
struct policy_snapshot *limits_draft_snapshot(void *ctx, const struct settings *s);
uint32_t limits_bans(void *ctx, struct access_ban *out, uint32_t max);
enum pt_err limits_ban_set(void *ctx, const struct access_ban *ban);
bool limits_ban_lift(void *ctx, const struct net_addr *client);
void limits_rules(void *ctx, void (*show)(void *user, const struct api_limit_rule *r), void *user);
uint32_t limits_clients(void *ctx, struct api_limit_client **out);

struct process;

/* The numbers of limits, for Prometheus. */
void limits_metrics(struct process *p, struct buf *out);
