#pragma once
#include <stdint.h>

/*
 * base/rng: random numbers for jitter and simulation. Not for secrets.
 *
 * The state is passed in, so that a simulation repeats from its seed.
 */
struct rng {
    uint64_t s[4]; /* private */
};

void rng_seed(struct rng *r, uint64_t seed);
void rng_seed_from_system(struct rng *r);

uint64_t rng_next(struct rng *r);

/* Evenly from 0 to n - 1; n must not be 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
