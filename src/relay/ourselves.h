#pragma once
#include "relay/relay_private.h"

/*
 * relay/ourselves: is a next hop this gateway itself? Mail for it would go in circles (RFC 5321
 * 5.1).
 */

struct relay_ourselves {
    uint8_t listen;          /* enum settings_listen */
    struct net_endpoint own; /* the port; the address with SETTINGS_LISTEN_ADDRESS */
    char hostname[256];
};

/* Under these settings. */
void relay_ourselves_of(const struct settings *s, struct relay_ourselves *out);

/* As it is now. Takes the relay's lock. */
void relay_ourselves(struct relay *r, struct relay_ourselves *out);

/* `exchanger`: the name by which the DNS has it, where it has; with our name it is us at whatever
 * address, for there may be a translation of addresses before us. */
bool relay_is_ourselves(const struct relay_ourselves *us, const struct net_endpoint *e,
                        const char *exchanger);

/* How many of the targets of mail exchangers may be used: where we stand among them, those that are
 * better than us. */
uint32_t relay_targets_before_us(const struct relay_ourselves *us, const struct net_target *targets,
                                 uint32_t count);
