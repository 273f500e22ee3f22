#include "net/exchangers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_MAX = 63, NAME_WIRE_MAX = 255 };

/* ---- names ---- */

static bool is_of_a_host(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

bool net_name_read(const uint8_t *octets, size_t n, char out[NET_NAME_SIZE])
{
    char text[NET_NAME_SIZE];
    size_t at = 0, used = 0;

    for (;;) {
        size_t length;

        if (at >= n || at >= NAME_WIRE_MAX)
            return false;
        length = octets[at++];
        if (length == 0)
            break;
        if (length > LABEL_MAX || length > n - at || at + length >= NAME_WIRE_MAX)
            return false;
        if (used)
            text[used++] = '.';
        for (size_t i = 0; i < length; i++, at++) {
            if (!is_of_a_host(octets[at]))
                return false;
            text[used++] = (char)octets[at];
        }
    }
    text[used] = 0;
    memcpy(out, text, used + 1);
    return true;
}

/* ---- hosts ---- */

static int compare(const void *a, const void *b)
{
    const struct net_exchanger *x = a, *y = b;

    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static struct net_exchanger *worst_of(struct net_exchangers *e)
{
    struct net_exchanger *worst = &e->list[0];

    for (unsigned i = 1; i < e->count; i++)
        if (compare(&e->list[i], worst) > 0)
            worst = &e->list[i];
    return worst;
}

static bool is_there_already(struct net_exchangers *e, uint16_t priority, const char *name)
{
    for (unsigned i = 0; i < e->count; i++)
        if (str_eq_nocase(str_of(e->list[i].name), str_of(name))) {
            e->list[i].priority = PT_MIN(e->list[i].priority, priority);
            return true;
        }
    return false;
}

void net_exchangers_add(struct net_exchangers *e, uint16_t priority, const char *name,
                        struct rng *rng)
{
    struct net_exchanger host = { .priority = priority, .order = rng_next(rng) };

    if (is_there_already(e, priority, name))
        return;
    snprintf(host.name, sizeof host.name, "%s", name);
    if (e->count < NET_MX_MAX)
        e->list[e->count++] = host;
    else if (compare(&host, worst_of(e)) < 0)
        *worst_of(e) = host;
}

void net_exchangers_read_mx(struct net_exchangers *e, const uint8_t *rdata, size_t n,
                            struct rng *rng, bool *null_mx)
{
    char name[NET_NAME_SIZE];

    if (n < 3 || !net_name_read(rdata + 2, n - 2, name))
        return;
    if (name[0] == 0)
        *null_mx = true;
    else
        net_exchangers_add(e, (uint16_t)(rdata[0] << 8 | rdata[1]), name, rng);
}

/* ---- addresses ---- */

/* To connect to 0.0.0.0 or :: is to connect to this very host. */
static bool is_of_one_host(const struct net_addr *a)
{
    static const uint8_t nowhere[sizeof a->octets];
    static const uint8_t broadcast[4] = { 255, 255, 255, 255 };

    return memcmp(a->octets, nowhere, sizeof nowhere) != 0 && !net_addr_is_multicast(a) &&
           !net_addr_is_link_local(a) &&
           !(a->family == NET_IPV4 && memcmp(a->octets, broadcast, sizeof broadcast) == 0);
}

static unsigned count_of(const struct net_exchanger *host, enum net_family family)
{
    unsigned n = 0;

    for (unsigned i = 0; i < host->addr_count; i++)
        n += host->addrs[i].family == family;
    return n;
}

void net_exchanger_read_address(struct net_exchanger *host, enum net_family family,
                                const uint8_t *rdata, size_t n)
{
    struct net_endpoint e;
    struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
    struct sockaddr_in sin = { .sin_family = AF_INET };
    bool ok;

    if (n != (family == NET_IPV4 ? sizeof sin.sin_addr : sizeof sin6.sin6_addr))
        return;
    /* By way of a socket's address, which is where a mapped address becomes what it stands for. */
    if (family == NET_IPV4) {
        memcpy(&sin.sin_addr, rdata, n);
        ok = net_from_sockaddr((const struct sockaddr *)&sin, &e);
    } else {
        memcpy(&sin6.sin6_addr, rdata, n);
        ok = net_from_sockaddr((const struct sockaddr *)&sin6, &e);
    }
    if (ok && is_of_one_host(&e.addr) && count_of(host, e.addr.family) < NET_FAMILY_MAX)
        host->addrs[host->addr_count++] = e.addr;
}

/* ---- targets ---- */

static unsigned next_of(const struct net_exchanger *h, unsigned from, enum net_family family)
{
    while (from < h->addr_count && h->addrs[from].family != family)
        from++;
    return from;
}

/* Whichever family is broken, the other is tried next. */
static void interleave(struct net_exchanger *h)
{
    static const enum net_family families[] = { NET_IPV6, NET_IPV4 };
    unsigned at[] = { next_of(h, 0, NET_IPV6), next_of(h, 0, NET_IPV4) };
    struct net_addr sorted[PT_ARRAY_LEN(h->addrs)];
    unsigned n = 0;

    for (unsigned turn = 0; n < h->addr_count; turn = !turn)
        if (at[turn] < h->addr_count) {
            sorted[n++] = h->addrs[at[turn]];
            at[turn] = next_of(h, at[turn] + 1, families[turn]);
        }
    memcpy(h->addrs, sorted, n * sizeof *sorted);
}

static unsigned with_addresses(const struct net_exchangers *e)
{
    unsigned n = 0;

    for (unsigned i = 0; i < e->count; i++)
        n += e->list[i].addr_count > 0;
    return n;
}

uint32_t net_exchangers_targets(struct net_exchangers *e, struct net_target out[NET_TARGETS_MAX])
{
    unsigned left = with_addresses(e), total = 0;

    qsort(e->list, e->count, sizeof e->list[0], compare);
    for (unsigned i = 0; i < e->count; i++) {
        struct net_exchanger *h = &e->list[i];
        unsigned share;

        if (h->addr_count == 0)
            continue;
        interleave(h);
        share = (NET_TARGETS_MAX - total) / left--;
        share = PT_MIN(share, h->addr_count);
        for (unsigned k = 0; k < share; k++) {
            struct net_target *t = &out[total++];

            *t = (struct net_target){ .priority = h->priority, .addr = h->addrs[k] };
            memcpy(t->host, h->name, sizeof t->host);
        }
    }
    return total;
}
