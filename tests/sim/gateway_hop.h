#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "gateway_net.h"

/*
 * gateway_hop: next hops that speak SMTP, and misbehave at any step.
 */

enum { LATENCY_MS = 20 };

struct sim_hop {
    unsigned index;
    bool down, unreachable, black_hole; /* how a connect fails; else it stands */
    bool saint;                         /* never does anything wrong */
    bool slow;                          /* minutes where others take milliseconds */
    unsigned percent;                   /* how often a step goes wrong */
    bool lacks_8bit;                    /* some connection did not offer 8BITMIME */
    uint64_t smallest_size;             /* offered with SIZE; 0: none */
};

/* A connection stands. */
void hop_greet(struct link *l);
/* Octets of the client. */
void hop_take(struct link *l, const char *octets, size_t n);
/* Nothing more will come. */
void hop_forget(struct link *l);
/* The client has closed; what it has not read it never will. */
void hop_client_gone(struct link *l);
/* The client has read so much of what was sent. */
void hop_was_read(struct link *l);
/* All its connections break. */
void hop_dies(struct sim_hop *h);
