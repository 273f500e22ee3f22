#include "settings/settings.h"

struct settings *settings_ref(const struct settings *s)
{
    return (struct settings *)s;
}

void settings_unref(const struct settings *s)
{
    (void)s;
}

const struct settings_route *settings_route_for(const struct settings *s, struct str domain)
{
    const struct settings_route *best = NULL;

    for (uint32_t i = 0; i < s->route_count; i++) {
        struct str d = str_of(s->routes[i].domain);

        if (str_eq_nocase(d, domain))
            return &s->routes[i];
        if (str_eq(d, STR("*")))
            best = &s->routes[i];
    }
    return best;
}
