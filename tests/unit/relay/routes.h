#pragma once
#include "settings/settings.h"

/* Settings whose routes are all that matters, made by hand. */
struct routes {
    struct settings settings;
    struct settings_route routes[8];
    struct settings_next_hop hops[8][4];
};

void routes_init(struct routes *r);
struct settings_route *routes_add(struct routes *r, const char *domain);
void routes_add_hop(struct routes *r, struct settings_route *route, const char *host,
                    uint16_t port);
