#include "relay/ourselves.h"

#include <stdio.h>
#include <string.h>

#include "net/host.h"

enum { SMTP_PORT = 25 };

void relay_ourselves_of(const struct settings *s, struct relay_ourselves *out)
{
    out->listen = (uint8_t)s->interface.listen;
    out->own = (struct net_endpoint){ s->interface.address, s->interface.port };
    snprintf(out->hostname, sizeof out->hostname, "%s", s->identity.hostname);
}

void relay_ourselves(struct relay *r, struct relay_ourselves *out)
{
    relay_lock(r);
    out->listen = r->own_listen;
    out->own = r->own;
    memcpy(out->hostname, r->hostname, sizeof out->hostname);
    relay_unlock(r);
}

static bool is_one_loopback(const struct net_addr *a)
{
    static const struct net_addr four = { .family = NET_IPV4, .octets = { 127, 0, 0, 1 } };
    static const struct net_addr six = { .family = NET_IPV6, .octets = { [15] = 1 } };

    return net_addr_eq(a, &four) || net_addr_eq(a, &six);
}

bool relay_is_ourselves(const struct relay_ourselves *us, const struct net_endpoint *e,
                        const char *exchanger)
{
    if (exchanger && str_eq_nocase(str_of(exchanger), str_of(us->hostname)))
        return true;
    if (e->port != us->own.port)
        return false;
    switch ((enum settings_listen)us->listen) {
    case SETTINGS_LISTEN_LOOPBACK:
        return is_one_loopback(&e->addr);
    case SETTINGS_LISTEN_ALL:
        return net_host_has_address(&e->addr);
    case SETTINGS_LISTEN_ADDRESS:
        return net_addr_eq(&e->addr, &us->own.addr);
    }
    return false;
}

uint32_t relay_targets_before_us(const struct relay_ourselves *us, const struct net_target *targets,
                                 uint32_t count)
{
    uint32_t i = 0;

    while (i < count &&
           !relay_is_ourselves(us, &(struct net_endpoint){ targets[i].addr, SMTP_PORT },
                               targets[i].host))
        i++;
    if (i == count)
        return count;
    while (i > 0 && targets[i - 1].priority == targets[i].priority)
        i--;
    return i;
}
