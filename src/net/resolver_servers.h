#pragma once
#include "net/addr.h"

/*
 * net/resolver_servers: whom DNS questions are sent to, as people write it. Pure.
 */

enum { NET_SERVERS_MAX = 16 };

/* "IP" or "IP@PORT"; port 53 where none is named. False leaves *out untouched. */
PT_NODISCARD bool net_server_parse(struct str text, struct net_endpoint *out);

/* Into `out`, "IP" for port 53. */
#define NET_SERVER_SIZE 56
void net_server_format(const struct net_endpoint *e, char out[NET_SERVER_SIZE]);

/* The name servers that a resolv.conf names, in order; returns how many. Lines that say anything
 * else, or name an address that is none (with a zone, too), are passed over. */
unsigned net_resolv_conf_read(struct str text, struct net_endpoint out[NET_SERVERS_MAX]);
