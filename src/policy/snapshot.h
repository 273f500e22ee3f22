#pragma once
#include <stdatomic.h>

#include "access/table.h"
#include "policy/policy.h"
#include "settings/domain.h"

/*
 * policy/snapshot: the inside of a snapshot. For this room only.
 */
struct policy_snapshot {
    const struct settings *settings;
    struct access_table *deny;
    struct access_table *permit;
    struct access_table *relay; /* clients that may relay; its rows are those of relay_networks
                                   under SETTINGS_RELAY_SPECIFIED, otherwise of this host */
    struct settings_domains *relay_domains;
    _Atomic uint32_t refs;
};
