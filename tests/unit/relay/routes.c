#include "routes.h"

void routes_init(struct routes *r)
{
    *r = (struct routes){ .settings = { .identity = { .hostname = "gw.example" } } };
    r->settings.routes = r->routes;
    atomic_init(&r->settings.refs, 1);
}

struct settings_route *routes_add(struct routes *r, const char *domain)
{
    uint32_t i = r->settings.route_count++;

    pt_assert(i < PT_ARRAY_LEN(r->routes));
    r->routes[i] = (struct settings_route){ .domain = domain, .via = SETTINGS_VIA_MX };
    r->routes[i].next_hops = r->hops[i];
    return &r->routes[i];
}

void routes_add_hop(struct routes *r, struct settings_route *route, const char *host, uint16_t port)
{
    pt_assert(route->next_hop_count < PT_ARRAY_LEN(r->hops[0]));
    route->via = SETTINGS_VIA_NEXT_HOPS;
    route->next_hops[route->next_hop_count++] =
        (struct settings_next_hop){ .host = host, .port = port };
}
