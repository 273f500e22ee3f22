#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway_world.h"

/*
 * The whole of a gateway behind its sessions, from a seed, in one thread:
 *
 *     gateway_sim [--seed N] [--worlds N]      worlds N and up
 *     gateway_sim --calls N                    world N once for each of its disk calls, which
 * fails, and once for each at which the machine stops
 *     --log                                    with the gateway's own log on stderr
 *
 * What is promised stands in docs/guarantees.md. The first promise broken ends the program, with
 * the command that repeats it.
 */

struct world *world;

static const char *mode = "--worlds 1 --seed";
static uint64_t fail_call, crash_call;

void world_fail(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fprintf(stderr, "gateway_sim: ");
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nat step %" PRIu64 ", after %.3f s", world->steps,
            (double)world->net.now_ns / 1e9);
    if (fail_call || crash_call)
        fprintf(stderr, ", where disk call %" PRIu64 " %s", fail_call + crash_call,
                fail_call ? "fails" : "is the last");
    fprintf(stderr, "; to repeat: gateway_sim %s %" PRIu64 "\n", mode, world->seed);
    abort();
}

/* ---- one world ---- */

static void choose_troubles(struct world *w)
{
    static const unsigned percents[] = { 0, 2, 5, 10, 25 };
    static const int64_t lives_h[] = { 4, 24, 120 };

    w->trouble = (struct trouble){
        .disk_fails = one_in(4),
        .disk_fills = one_in(6),
        .crashes = one_in(2),
        .restarts = one_in(3),
        .clock_jumps = one_in(5),
        .reroutes = one_in(4),
        .administrators = one_in(2),
        .hop_percent = percents[below(PT_ARRAY_LEN(percents))],
    };
    w->retry = retry_policy_default;
    w->retry.life_us = lives_h[below(PT_ARRAY_LEN(lives_h))] * 3600 * INT64_C(1000000);
    for (unsigned i = 0; i < HOPS; i++)
        w->hops[i] = (struct sim_hop){ .index = i, .percent = w->trouble.hop_percent };
    w->hops[0].saint = one_in(2);
}

static void choose_sizes(struct world *w)
{
    static const uint64_t segments[] = { 512 << 10, 512 << 10, 1 << 20 };

    w->spool_config = (struct spool_config){
        .directory = "spool",
        .disk = sim_disk_face(w->disk),
        .segment_size = segments[below(PT_ARRAY_LEN(segments))],
        .segment_first = 128 << 10,
        .load_piece = 1 + (uint32_t)below(8),
        .manual = true,
    };
    w->relay_config = (struct relay_config){
        .loops = LOOPS,
        .seed = w->seed,
        .cache_budget = one_in(3) ? 1 + below(20000) : 0,
        .read_budget = one_in(3) ? 1 + below(600000) : 0,
    };
}

static struct world *world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);

    pt_assert(w);
    world = w;
    w->seed = seed;
    rng_seed(&w->rng, seed);
    w->net.now_ns = 1000000000;
    w->wall_offset_us = INT64_C(1700000000) * 1000000;
    w->next_commit_us = INT64_MAX;
    w->disk = sim_disk_new(seed);
    sim_disk_nameless(w->disk, !one_in(4));
    choose_troubles(w);
    choose_sizes(w);
    w->blocks_before = block_in_use();
    return w;
}

static void world_free(struct world *w)
{
    sim_net_done();
    model_free();
    while (w->settings_count)
        free(w->settings[--w->settings_count]);
    sim_disk_free(w->disk);
    free(w);
    world = NULL;
}

/* ---- many ---- */

struct totals {
    uint64_t worlds, steps, crashes, accepted, taken, delivered, failed, notices, in_doubt, looks;
    uint64_t hash;
};

static void add(struct totals *t, const struct world *w)
{
    t->worlds++;
    t->steps += w->steps;
    t->crashes += w->crashes;
    t->accepted += w->model.accepted;
    t->taken += w->model.taken;
    t->delivered += w->model.delivered;
    t->failed += w->model.failed;
    t->notices += w->model.notices;
    t->in_doubt += w->model.in_doubt;
    t->looks += w->model.durable_checks;
    t->hash = w->hash;
}

static void run_world(struct totals *t, uint64_t seed)
{
    struct world *w = world_new(seed);

    world_play(4 + (unsigned)below(24));
    add(t, w);
    world_free(w);
}

/* What does not repeat could not be mended. */
static void check_repeats(uint64_t seed)
{
    struct totals first = { 0 }, second = { 0 };

    run_world(&first, seed);
    run_world(&second, seed);
    if (first.hash == second.hash && first.steps == second.steps)
        return;
    fprintf(stderr, "gateway_sim: world %" PRIu64 " does not repeat\n", seed);
    abort();
}

/* ---- each disk call of one world ---- */

/* Nothing goes wrong but what follows from one call of the disk. */
static uint64_t run_with_call(struct totals *t, uint64_t seed)
{
    struct world *w = world_new(seed);
    uint64_t calls;

    w->trouble = (struct trouble){ .disk_fails = fail_call, .hop_percent = 15 };
    w->relay_config.cache_budget = 4000;
    w->retry.life_us = INT64_C(4) * 3600 * 1000000;
    for (unsigned i = 0; i < HOPS; i++) {
        w->hops[i].percent = 15;
        w->hops[i].saint = false;
    }
    w->one_call = true;
    w->fail_call = fail_call;
    w->crash_call = crash_call;
    world_play(10);
    calls = sim_disk_calls(w->disk);
    add(t, w);
    world_free(w);
    return calls;
}

static void run_all_calls(struct totals *t, uint64_t seed)
{
    uint64_t calls;

    mode = "--calls";
    fail_call = crash_call = 0;
    calls = run_with_call(t, seed);
    for (uint64_t k = 1; k <= calls; k++) {
        fail_call = k;
        crash_call = 0;
        run_with_call(t, seed);
        fail_call = 0;
        crash_call = k;
        run_with_call(t, seed);
    }
    printf("each of %" PRIu64 " disk calls failed once, and was the last one once\n", calls);
}

static void report(const struct totals *t)
{
    printf("%" PRIu64 " worlds, %" PRIu64 " steps, %" PRIu64 " crashes; %" PRIu64
           " messages accepted, %" PRIu64 " taken by next hops; recipients: %" PRIu64
           " delivered, %" PRIu64 " failed, %" PRIu64 " times in doubt; %" PRIu64
           " notices; %" PRIu64 " looks at the disk: all well\n",
           t->worlds, t->steps, t->crashes, t->accepted, t->taken, t->delivered, t->failed,
           t->in_doubt, t->notices, t->looks);
}

int main(int argc, char **argv)
{
    struct totals t = { 0 };
    uint64_t seed = 1, worlds = 100, calls_of = 0;

    log_set_level((enum log_level)(LOG_ERROR + 1));
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;

        if (strcmp(argv[i], "--log") == 0)
            log_set_level(LOG_INFO);
        else if (more && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else if (more && strcmp(argv[i], "--worlds") == 0)
            worlds = strtoull(argv[++i], NULL, 10);
        else if (more && strcmp(argv[i], "--calls") == 0)
            calls_of = strtoull(argv[++i], NULL, 10);
        else
            return 2;
    }
    if (calls_of) {
        run_all_calls(&t, calls_of);
    } else {
        for (uint64_t i = 0; i < worlds; i++) {
            run_world(&t, seed + i);
            if (i % 1000 == 999)
                check_repeats(seed + i);
        }
    }
    report(&t);
    return 0;
}
