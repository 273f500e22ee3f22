#pragma once
#include "policy/explain_view.h"

/*
 * daemon/names_api: api_deps' look_up: what the DNS says of the names that an explanation is about,
 * and what the recipient's next hop says of it.
 */
void names_look_up(void *ctx, const struct policy_snapshot *snap, struct policy_explain_ask *ask);
