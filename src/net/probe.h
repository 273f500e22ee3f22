#pragma once
#include <poll.h>

#include "base/rng.h"
#include "net/resolver_servers.h"

/*
 * net/probe: do the DNS servers answer at all?
 *
 * libunbound says that a question failed, not whether anybody is there. A round sends each server
 * the smallest of questions, over UDP, and again, and takes any answer for one. Belongs to one
 * thread; nothing here waits.
 */

struct net_probe_server {
    struct net_endpoint endpoint;
    int fd; /* -1: none is open */
    uint16_t id;
    bool answered;
};

struct net_probe {
    struct net_probe_server servers[NET_SERVERS_MAX];
    unsigned count;
    unsigned sent;   /* times in this round; 0: no round is under way */
    int64_t next_ns; /* when net_probe_step() has something to do; INT64_MAX: never */
};

/* Begins a round. */
void net_probe_begin(struct net_probe *p, const struct net_endpoint *servers, unsigned count,
                     struct rng *rng, int64_t now_ns);

/* Adds what it waits for to `fds`, which has room for NET_SERVERS_MAX; returns how many. */
unsigned net_probe_poll(const struct net_probe *p, struct pollfd *fds);

/* Reads and sends what there is. True: the round is over, servers[].answered tell. */
PT_NODISCARD bool net_probe_step(struct net_probe *p, int64_t now_ns);

/* Ends a round, if one is under way. */
void net_probe_stop(struct net_probe *p);

/* Is this a DNS message that answers the question with that ID (RFC 1035 4.1.1)? */
bool net_probe_is_answer(const uint8_t *octets, size_t n, uint16_t id);
