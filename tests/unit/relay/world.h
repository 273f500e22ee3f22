#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_hop.h"
#include "fake_spool.h"
#include "relay/relay_private.h"
#include "routes.h"
#include "smtp/envelope.h"

/*
 * The relay on a real loop, between a spool without a disk and next hops that misbehave. The wall
 * clock is the test's; the loop's own time limits are set to some milliseconds where a test needs
 * one to pass.
 */

static const int64_t second = 1000000;

struct world {
    struct net_loop *loop;
    struct fake_hop *hop, *second;
    struct fake_spool *spool;
    struct routes routes;
    struct relay_config config;
    struct relay *relay;
    struct relay_loop *rl;
    int64_t now;
    bool stopped;
};

int world_set_up(void **state);
int world_tear_down(void **state);

/* Starts the relay as configured: all mail to the first hop, or to the second when that fails. */
void world_begin(struct world *w, bool with_second);
void world_on_stopped(void *ctx); /* for relay_stop(), with the world as ctx */

/* Turns the loop and the spool until `cond` holds; fails the test if it never does. */
#define UNTIL(w, cond)                                                                             \
    do {                                                                                           \
        unsigned turns_ = 0;                                                                       \
        while (!(cond)) {                                                                          \
            assert_true(turns_++ < 4000);                                                          \
            world_turn(w);                                                                         \
        }                                                                                          \
    } while (0)
void world_turn(struct world *w);
void world_turns(struct world *w, unsigned n);

struct spool_message *world_message(struct world *w, const char *to, const char *content);

/* Hands it over as committed; the ID. */
uint64_t world_commit(struct world *w, struct spool_message *m);
uint64_t world_submit(struct world *w, const char *to); /* a small message */

struct relay_stats world_stats(struct world *w);

/* Is that the last outcome that the spool has of the recipient? */
bool world_stored(struct world *w, uint64_t id, uint32_t recipient, uint8_t state);

/* What a hop answers: the first rule whose text begins the line, so many times (0: always). The
 * array ends with an empty one and lives as long as it is used. */
struct rule {
    const char *line;
    const char *answer;
    unsigned times;
};
void world_rules(struct fake_hop *hop, struct rule *r);

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
