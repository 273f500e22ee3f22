#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_spool.h"
#include "relay/scheduler.h"
#include "routes.h"

/*
 * A scheduler by itself, for the tests of what it decides: messages of a fake spool, three routes
 * (all by one next hop, other.example by another, mx.example by MX), and a clock that the test
 * moves.
 */

static const int64_t second = 1000000;
static const int64_t start = INT64_C(1800000000) * 1000000;

struct world {
    struct fake_spool *spool;
    struct relay_sched s;
    struct routes routes;
    int64_t now;
};

static inline int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct settings_route *any;

    w->spool = fake_spool_new();
    w->now = start;
    routes_init(&w->routes);
    any = routes_add(&w->routes, "*");
    routes_add_hop(&w->routes, any, "192.0.2.1", 25);
    routes_add_hop(&w->routes, routes_add(&w->routes, "other.example"), "192.0.2.2", 25);
    routes_add(&w->routes, "mx.example");
    relay_sched_init(&w->s, &retry_policy_default, 2, 7);
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;

    relay_sched_done(&w->s);
    fake_spool_free(w->spool);
    free(w);
    return 0;
}

static inline uint64_t add(struct world *w, const char *to)
{
    struct spool_message *m = fake_spool_message(w->spool, "a@a.example", to, STR("x\r\n"), w->now);
    uint64_t id = m->id;

    assert_true(relay_sched_add(&w->s, m, w->now, NULL));
    spool_message_unref(m);
    return id;
}

static inline struct relay_dest *dest(struct world *w, const char *key)
{
    struct relay_dest *d = relay_dest_find(&w->s.dests, str_of(key));

    assert_non_null(d);
    return d;
}

static inline struct relay_dest *default_dest(struct world *w)
{
    return dest(w, "192.0.2.1:25");
}

static inline struct relay_group *pull_one(struct world *w, struct relay_dest *d)
{
    struct relay_group *g;

    return relay_sched_pull(&w->s, d, 0, &g, 1) ? g : NULL;
}

static inline void settle(struct world *w, struct relay_group *g, uint8_t state, int64_t next)
{
    struct relay_result results[8] = { 0 };
    struct relay_again again = { .next_us = next };

    assert_true(g->count <= 8);
    for (uint32_t i = 0; i < g->count; i++)
        results[i] = (struct relay_result){ .state = state, .code = 450, .reply = STR("later") };
    relay_sched_settle(&w->s, g, results, &again, w->now);
}
