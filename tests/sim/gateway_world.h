#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rng.h"
#include "gateway_hop.h"
#include "gateway_model.h"
#include "gateway_net.h"
#include "relay/relay_private.h"
#include "settings/settings.h"
#include "sim_disk.h"
#include "spool/spool.h"

/*
 * gateway_world: spool, scheduler and relay of one gateway between a simulated disk, a simulated
 * network and a simulated clock, in one thread.
 *
 * The parts: gateway_net.c stands for the kernel's network and the event loop, gateway_hop.c is
 * the next hops, gateway_model.c knows what was promised and watches it, gateway_life.c starts and
 * ends the gateway, gateway_play.c does what clients, administrators and fate do, gateway_sim.c
 * runs worlds. Everything follows from the seed.
 */

enum {
    HOPS = 6,        /* 10.0.0.1 and up */
    DOMAINS = 6,     /* d0.example …; senders are in the last */
    ROUTES_MAX = 12, /* settings used in one world */
    LOOPS = 2,
};

/* What may go wrong in a world. */
struct trouble {
    bool disk_fails, disk_fills; /* calls fail now and then; there is no room for all */
    bool crashes, restarts;
    bool clock_jumps, reroutes, administrators;
    unsigned hop_percent; /* how often a next hop's step goes wrong */
};

struct world {
    uint64_t seed;
    struct rng rng;
    struct trouble trouble;
    struct sim_disk *disk;
    struct sim_net net;
    struct sim_hop hops[HOPS];
    struct model model;

    int64_t wall_offset_us; /* from the monotonic clock to wall time */
    struct retry_policy retry;
    struct sim_settings *settings[ROUTES_MAX];
    unsigned settings_count;

    struct spool_config spool_config;
    struct spool *spool; /* NULL: the gateway is down */
    struct relay_config relay_config;
    struct relay *relay;
    struct net_loop *loops[LOOPS];
    struct relay_loop *relay_loops[LOOPS];
    bool stopped;
    bool dead; /* the process has died, and what is left of it is cleared away */
    bool calm; /* everything behaves from now on */
    bool rerouted, jumped;
    bool one_call; /* the disk does what fail_call and crash_call say and nothing else */
    uint64_t fail_call, crash_call;
    int64_t next_commit_us; /* when the commit thread wakes by itself */

    uint64_t steps, crashes, blocks_before;
    uint64_t hash; /* over all that happened, to see that a seed repeats */
};

extern struct world *world; /* the one under way: what stands for the system has no context */

/* Ends the program with the command that repeats what was wrong. */
_Noreturn void world_fail(const char *fmt, ...) PT_PRINTF(1, 2);

static inline uint64_t below(uint64_t n)
{
    return rng_below(&world->rng, n);
}

/* Nothing that the process does now is seen by anybody. */
static inline bool world_is_dead(void)
{
    return world->dead || sim_disk_crashed(world->disk);
}

static inline bool disk_has_trouble(void)
{
    return world->trouble.disk_fails || world->trouble.disk_fills;
}

static inline bool one_in(uint64_t n)
{
    return rng_below(&world->rng, n) == 0;
}

static inline int64_t mono_us(void)
{
    return world->net.now_ns / 1000;
}

static inline int64_t wall_us(void)
{
    return mono_us() + world->wall_offset_us;
}

static inline void world_note(uint64_t what)
{
    world->hash = (world->hash ^ what) * UINT64_C(1099511628211);
}

/* ---- gateway_life.c ---- */

/* Starts the gateway on what the disk holds, however often that crashes, and judges what it found.
 */
void gateway_start(void);

/* The process has died, or the machine has: what is left of it goes. */
void gateway_bury(void);

/* Ends it in good order. */
void gateway_stop(void);

/* Some work of one thread, or time passes until there is some; not beyond `until_ns`. */
void gateway_step(int64_t until_ns);

/* ---- gateway_play.c ---- */

/* New settings: where the mail of each domain goes. `shift`: to other next hops. */
struct settings *world_settings(unsigned shift);

/* Does all mail of the domain go to next hops that never do anything wrong? */
bool domain_is_saintly(unsigned domain);

/* Lives through a world; `messages` are accepted. */
void world_play(unsigned messages);
