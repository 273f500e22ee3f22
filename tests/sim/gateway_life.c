#include <inttypes.h>
#include <stdlib.h>
#include <sys/types.h>

#include "gateway_world.h"
#include "relay/connection.h"
#include "relay/outcome.h"

/*
 * The gateway as a process: it starts, works a step at a time, dies or ends.
 */

static const int64_t second_us = 1000000;

void __wrap_relay_outcome_wait(struct relay_outcome_wait *w, uint32_t at_most);

/* An administrator's request waits for other threads; here it does their work. */
void __wrap_relay_outcome_wait(struct relay_outcome_wait *w, uint32_t at_most)
{
    int64_t limit_ns = world->net.now_ns + 5 * second_us * 1000;

    while (w->pending > at_most) {
        gateway_step(limit_ns);
        if (world->net.now_ns >= limit_ns)
            world_fail("%u operations are never answered", w->pending);
    }
}

ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags);

/* What nobody can foresee must repeat here. */
ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags)
{
    unsigned char *p = out;

    (void)flags;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)below(256);
    return (ssize_t)n;
}

/* ---- start ---- */

static int64_t relay_wall(void *ctx)
{
    (void)ctx;
    return wall_us();
}

static void on_committed(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    (void)ctx;
    relay_committed(world->relay, messages, count);
}

static void on_recovered(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    (void)ctx;
    for (uint32_t i = 0; i < count; i++)
        model_found(messages[i]);
    relay_recovered(world->relay, messages, count);
}

static void on_damaged(void *ctx, uint64_t id, const struct pt_fault *fault)
{
    (void)ctx;
    model_damaged(id, fault);
}

static void configure(void)
{
    struct world *w = world;

    w->spool_config.committed = on_committed;
    w->spool_config.recovered = on_recovered;
    w->spool_config.damaged = on_damaged;
    w->spool_config.now_us = wall_us();
    w->relay_config.settings = world_settings(0);
    w->relay_config.now_us = relay_wall;
    w->relay_config.retry = &w->retry;
    w->relay_config.resolver = (struct net_resolver *)w; /* never looked at */
}

static void let_go(void)
{
    relay_set_spool(world->relay, NULL);
    relay_free(world->relay);
    world->relay = NULL;
    world->dead = false;
}

static void start_loops(void)
{
    relay_set_spool(world->relay, world->spool);
    for (unsigned i = 0; i < LOOPS; i++) {
        world->loops[i] = net_loop_new(i);
        world->relay_loops[i] = relay_loop_new(world->relay, world->loops[i]);
        pt_assert(world->relay_loops[i]);
    }
}

static bool is_loading(void)
{
    struct spool_stats stats;

    spool_get_stats(world->spool, &stats);
    return stats.loading;
}

/* One try; false: it failed, or the machine stopped. */
static bool try_to_start(unsigned tries)
{
    struct world *w = world;
    struct pt_fault fault;
    bool well;

    if (w->trouble.crashes && tries < 3 && one_in(4))
        sim_disk_crash_in(w->disk, 1 + below(60));
    configure();
    w->relay = relay_new(&w->relay_config);
    pt_assert(w->relay);
    well = spool_open(&w->spool, &w->spool_config, &fault) == PT_ERR_OK;
    while (well && is_loading() && !sim_disk_crashed(w->disk))
        sim_net_advance(w->net.now_ns + 1000000 * !spool_turn(w->spool, mono_us()));
    if (well && !sim_disk_crashed(w->disk))
        return true;
    if (!well && !sim_disk_crashed(w->disk) && !w->fail_call && !w->trouble.disk_fills)
        world_fail("the spool cannot be opened: %s", fault.text);
    if (!well)
        sim_disk_capacity(w->disk, 0); /* somebody makes room */
    model_forget_found();
    if (well)
        spool_close(w->spool);
    w->spool = NULL;
    let_go();
    sim_disk_restart(w->disk, one_in(2));
    return false;
}

void gateway_start(void)
{
    struct world *w = world;
    struct relay_stats stats;
    struct spool_stats kept;

    if (!w->one_call) {
        sim_disk_fail_one_in(w->disk, 0);
        sim_disk_fail_in(w->disk, 0, 0);
    }
    for (unsigned tries = 0; !try_to_start(tries); tries++)
        w->crashes++;
    if (!w->one_call)
        sim_disk_crash_in(w->disk, 0);
    model_judge();
    relay_get_stats(w->relay, &stats);
    spool_get_stats(w->spool, &kept);
    if (stats.messages != kept.messages)
        world_fail("%" PRIu64 " messages are kept, and %" PRIu64 " queued", kept.messages,
                   stats.messages);
    start_loops();
    w->next_commit_us = mono_us();
    if (w->trouble.crashes && !w->calm && !one_in(3))
        sim_disk_crash_in(w->disk, 1 + below(one_in(3) ? 30 : 600));
}

/* ---- end ---- */

static void on_stopped(void *ctx)
{
    struct world *w = ctx;

    w->stopped = true;
}

static void free_loops(void)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        relay_loop_free(world->relay_loops[i]);
        net_loop_free(world->loops[i]);
        world->relay_loops[i] = NULL;
        world->loops[i] = NULL;
    }
}

/* With memory as it is, so that what leaks is noticed; all of it unseen. */
void gateway_bury(void)
{
    struct world *w = world;

    w->crashes++;
    w->dead = true;
    sim_disk_stop(w->disk);
    sim_net_flush();
    relay_stop(w->relay, on_stopped, w);
    sim_net_flush();
    for (unsigned i = 0; i < LOOPS; i++)
        while (w->relay_loops[i]->conns)
            relay_conn_stop(w->relay_loops[i]->conns, true);
    sim_net_flush();
    free_loops();
    while (spool_turn(w->spool, mono_us() + 10 * second_us))
        ;
    spool_close(w->spool);
    w->spool = NULL;
    let_go();
    sim_disk_restart(w->disk, one_in(2));
}

void gateway_stop(void)
{
    struct world *w = world;
    int64_t limit_ns = w->net.now_ns + 60 * second_us * 1000;
    bool disk_is_well;

    w->stopped = false;
    relay_stop(w->relay, on_stopped, w);
    while (!w->stopped && !sim_disk_crashed(w->disk)) {
        gateway_step(limit_ns);
        if (!w->stopped && w->net.now_ns >= limit_ns)
            world_fail("the relay does not stop");
    }
    if (sim_disk_crashed(w->disk)) {
        gateway_bury();
        return;
    }
    sim_net_flush();
    free_loops();
    spool_close(w->spool);
    w->spool = NULL;
    disk_is_well = !disk_has_trouble() && !sim_disk_crashed(w->disk);
    let_go();
    if (disk_is_well)
        model_check_orderly();
    sim_disk_restart(w->disk, one_in(3));
}

/* ---- work ---- */

/* When nothing is under way but clocks that tick, time passes quickly. */
static int64_t nothing_before(void)
{
    struct relay *r = world->relay;
    int64_t due_us = relay_sched_next_due(&r->sched);

    if (sim_net_links() || world->net.question_count || r->stopping || relay_sched_wants(&r->sched))
        return 0;
    for (unsigned i = 0; i < LOOPS; i++)
        if (world->relay_loops[i]->conns)
            return 0;
    return due_us == INT64_MAX ? INT64_MAX : (due_us - world->wall_offset_us) * 1000;
}

static void commit_thread_slept(void)
{
    struct spool_stats spool;
    struct relay_stats relay;

    spool_get_stats(world->spool, &spool);
    relay_get_stats(world->relay, &relay);
    world->next_commit_us = spool.accepting && !relay.unsaved && !world->model.flights
                                ? INT64_MAX
                                : mono_us() + second_us;
}

void gateway_step(int64_t until_ns)
{
    struct world *w = world;
    int64_t next, commit_ns;

    w->steps++;
    if (one_in(3) && spool_turn(w->spool, mono_us()))
        return;
    if (sim_net_run_one())
        return;
    if (spool_turn(w->spool, mono_us()))
        return;
    if (mono_us() >= w->next_commit_us)
        commit_thread_slept();
    commit_ns = w->next_commit_us == INT64_MAX ? INT64_MAX : w->next_commit_us * 1000;
    next = PT_MAX(sim_net_next(), nothing_before());
    sim_net_advance(PT_MIN(PT_MIN(next, commit_ns), until_ns));
}
