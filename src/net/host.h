#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

/*
 * net/host: the addresses of this host, asked anew at each call.
 */
enum net_scope {
    NET_SCOPE_HOST,   /* loopback: this host alone reaches it */
    NET_SCOPE_LINK,   /* link-local: means nothing without a zone, so nobody can listen on it */
    NET_SCOPE_GLOBAL, /* all others, private ones too */
};

struct net_interface {
    char name[32];
    struct net_prefix
        prefix; /* the whole address with the length of its subnet; bits not cleared */
    enum net_scope scope;
};

/* At most `max` are written to `out`; returns how many. Addresses of interfaces that are down are
 * among them. Any thread. */
uint32_t net_host_interfaces(struct net_interface *out, uint32_t max);

/* A descriptor that can be read when addresses of this host come or go; the caller closes it. -1:
 * the system tells nobody. Any thread. */
int net_host_watch(void);

/* Takes what there is to read, without waiting; true: something may have changed. */
bool net_host_watch_read(int fd);

/* Can a connection be made from this address: is it one of this host's, and no link-local one? All
 * of 127.0.0.0/8 is. Waits for nothing. Any thread. */
bool net_host_has_address(const struct net_addr *a);

/* This host's name as the system was told it. Never empty; no look-up. */
void net_host_name(char out[256]);
