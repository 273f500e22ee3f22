#pragma once
#include "base/arena.h"
#include "relay/ourselves.h"
#include "relay/route_view.h"

/*
 * What the files of a route's test share: route_view.c has the route, route_hops.c where it leads.
 */

enum { ROUTE_HOPS_MAX = 64 };

struct route_test {
    struct relay *relay;
    struct net_resolver *resolver;
    const struct settings *settings;
    const struct settings_route *route; /* NULL: none fits */
    struct relay_ourselves us;
    struct arena arena;
    struct relay_route_view view;
    struct relay_route_hop hops[ROUTE_HOPS_MAX];
    char text[512];
    bool failed; /* memory */
};

/* Fills the next hops, their addresses, and what follows from them for `fate`. */
void relay_route_find_hops(struct route_test *t);

/* What is said in view.text. */
void relay_route_say(struct route_test *t, enum relay_route_fate fate, const char *fmt, ...)
    PT_PRINTF(3, 4);
