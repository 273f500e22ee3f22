#pragma once
#include <stdatomic.h>

#include "access/table.h"
#include "policy/policy.h"

/*
 * policy/snapshot: the inside of a snapshot. For this room only.
 */

/* The table of a list. Snapshots whose settings share the list share it. */
struct policy_table {
    struct access_table *table;
    const struct settings_list *list; /* a reference */
    _Atomic uint32_t refs;
};

struct policy_snapshot {
    const struct settings *settings;
    struct policy_table *deny;
    struct policy_table *permit;
    struct access_table *relay; /* clients that may relay; its rows are those of relay_networks
                                   under SETTINGS_RELAY_SPECIFIED, otherwise of this host */
    struct access_table *self;  /* the addresses of this host; NULL unless a check asks for them */
    bool checked;               /* any of message_rules.…_checks is on or watched */
    char hostname[SETTINGS_DOMAIN_SIZE]; /* ours, normalised */
    struct access_table *exempt;         /* from limits; NULL: nobody */
    bool limited;                        /* any limit, or the ban, is on or watched */
    _Atomic uint32_t refs;
};
