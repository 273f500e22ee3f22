#pragma once
#include "console/accounts.h"

/*
 * console/roles: what which role may ask of the gateway's API. Pure.
 */

struct role_rule {
    const char *method;
    const char *pattern; /* "{}" stands for one segment */
    enum account_role least;
};

/* First match counts; what matches none: GET and HEAD a viewer, all else an administrator. */
extern const struct role_rule role_rules[];
extern const size_t role_rule_count;

/* The least role that may do this; `path` is decoded and normal. ROLE_NONE: nobody may. */
enum account_role role_needed(const char *method, struct str path);
