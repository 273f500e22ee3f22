#pragma once
#include <stdint.h>

#include "net/addr.h"

/*
 * net/host: the addresses of this host, asked anew at each call.
 */
struct net_interface {
    char name[32];
    struct net_prefix
        prefix; /* the whole address with the length of its subnet; bits not cleared */
};

/* At most `max` are written to `out`; returns how many. IPv6 link-local addresses are left out:
 * they mean nothing without a zone. Any thread. */
uint32_t net_host_interfaces(struct net_interface *out, uint32_t max);

/* This host's name as the system was told it. Never empty; no look-up. */
void net_host_name(char out[256]);
