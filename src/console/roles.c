#include "console/roles.h"

#include <string.h>

#define V1 "/api/v1"

const struct role_rule role_rules[] = {
    /* These only compute. */
    { "POST", V1 "/connections/test", ROLE_VIEWER },
    { "POST", V1 "/connections/preview", ROLE_VIEWER },
    { "POST", V1 "/explain", ROLE_VIEWER },
    { "POST", V1 "/queue/{}", ROLE_OPERATOR },
    { "POST", V1 "/queue/{}/{}", ROLE_OPERATOR },
    { "DELETE", V1 "/queue/{}", ROLE_OPERATOR },
    { "POST", V1 "/log/flush", ROLE_OPERATOR },
    /* The console alone writes there. */
    { "POST", V1 "/audit", ROLE_NONE },
};

const size_t role_rule_count = PT_ARRAY_LEN(role_rules);

static bool fits(const char *pattern, struct str path)
{
    size_t at = 0;

    while (*pattern && at < path.n) {
        if (strncmp(pattern, "{}", 2) == 0) {
            size_t from = at;

            while (at < path.n && path.p[at] != '/')
                at++;
            if (at == from)
                return false;
            pattern += 2;
        } else if (*pattern++ != path.p[at++]) {
            return false;
        }
    }
    return !*pattern && at == path.n;
}

enum account_role role_needed(const char *method, struct str path)
{
    for (size_t i = 0; i < role_rule_count; i++)
        if (strcmp(role_rules[i].method, method) == 0 && fits(role_rules[i].pattern, path))
            return role_rules[i].least;
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        return ROLE_VIEWER;
    return ROLE_ADMINISTRATOR;
}
