#include "net/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

static void unmap(struct net_addr *a)
{
    static const uint8_t mapped[12] = { [10] = 0xFF, [11] = 0xFF };

    if (a->family != NET_IPV6 || memcmp(a->octets, mapped, sizeof mapped) != 0)
        return;
    memmove(a->octets, a->octets + 12, 4);
    memset(a->octets + 4, 0, 12);
    a->family = NET_IPV4;
}

static bool parse_ipv4(struct str text, uint8_t out[4])
{
    uint8_t octets[4];

    for (int i = 0; i < 4; i++) {
        ptrdiff_t dot = str_find(text, '.', 0);
        struct str part = dot < 0 ? text : str_head(text, (size_t)dot);
        uint64_t value;

        if ((dot < 0) != (i == 3) || part.n > 3 || !str_to_u64(part, &value) || value > 255)
            return false;
        if (part.n > 1 && part.p[0] == '0')
            return false;
        octets[i] = (uint8_t)value;
        if (dot >= 0)
            text = str_from(text, (size_t)dot + 1);
    }
    memcpy(out, octets, 4);
    return true;
}

bool net_addr_parse(struct str text, struct net_addr *out)
{
    struct net_addr a = { 0 };
    char copy[NET_ADDR_SIZE];

    if (parse_ipv4(text, a.octets)) {
        a.family = NET_IPV4;
        *out = a;
        return true;
    }
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, 0, text.n))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    if (inet_pton(AF_INET6, copy, a.octets) != 1)
        return false;
    a.family = NET_IPV6;
    unmap(&a);
    *out = a;
    return true;
}

void net_addr_format(const struct net_addr *a, char out[NET_ADDR_SIZE])
{
    const char *done = NULL;

    if (a->family == NET_IPV4)
        done = inet_ntop(AF_INET, a->octets, out, NET_ADDR_SIZE);
    else if (a->family == NET_IPV6)
        done = inet_ntop(AF_INET6, a->octets, out, NET_ADDR_SIZE);
    if (!done)
        snprintf(out, NET_ADDR_SIZE, "none");
}

void net_endpoint_format(const struct net_endpoint *e, char out[NET_ENDPOINT_SIZE])
{
    char text[NET_ADDR_SIZE];

    net_addr_format(&e->addr, text);
    snprintf(out, NET_ENDPOINT_SIZE, e->addr.family == NET_IPV6 ? "[%s]:%u" : "%s:%u", text,
             (unsigned)e->port);
}

bool net_addr_eq(const struct net_addr *a, const struct net_addr *b)
{
    return a->family == b->family && memcmp(a->octets, b->octets, sizeof a->octets) == 0;
}

bool net_addr_is_loopback(const struct net_addr *a)
{
    static const uint8_t one[16] = { [15] = 1 };

    if (a->family == NET_IPV4)
        return a->octets[0] == 127;
    return a->family == NET_IPV6 && memcmp(a->octets, one, sizeof one) == 0;
}

bool net_addr_is_link_local(const struct net_addr *a)
{
    return a->family == NET_IPV6 && a->octets[0] == 0xFE && (a->octets[1] & 0xC0) == 0x80;
}

bool net_addr_is_multicast(const struct net_addr *a)
{
    return a->family == NET_IPV6 ? a->octets[0] == 0xFF
                                 : a->family == NET_IPV4 && (a->octets[0] & 0xF0) == 0xE0;
}

unsigned net_addr_bits(const struct net_addr *a)
{
    return a->family == NET_IPV4 ? 32 : 128;
}

bool net_prefix_clear(struct net_prefix *p)
{
    bool any = false;

    for (unsigned i = 0; i < net_addr_bits(&p->addr) / 8; i++) {
        unsigned kept = p->length > i * 8 ? PT_MIN(p->length - i * 8u, 8u) : 0;
        uint8_t mask = (uint8_t)(0xFF00u >> kept);

        if (p->addr.octets[i] & (uint8_t)~mask)
            any = true;
        p->addr.octets[i] &= mask;
    }
    return any;
}

bool net_prefix_has(const struct net_prefix *p, const struct net_addr *a)
{
    unsigned whole = p->length / 8, rest = p->length % 8;

    if (p->addr.family != a->family || memcmp(p->addr.octets, a->octets, whole) != 0)
        return false;
    return rest == 0 ||
           ((p->addr.octets[whole] ^ a->octets[whole]) & (uint8_t)(0xFF00u >> rest)) == 0;
}

void net_prefix_format(const struct net_prefix *p, char out[NET_PREFIX_SIZE])
{
    char text[NET_ADDR_SIZE];

    net_addr_format(&p->addr, text);
    if (p->length == net_addr_bits(&p->addr))
        snprintf(out, NET_PREFIX_SIZE, "%s", text);
    else
        snprintf(out, NET_PREFIX_SIZE, "%s/%u", text, (unsigned)p->length);
}

socklen_t net_to_sockaddr(const struct net_endpoint *e, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (e->addr.family == NET_IPV4) {
        struct sockaddr_in *sin = (struct sockaddr_in *)out;

        sin->sin_family = AF_INET;
        sin->sin_port = htons(e->port);
        memcpy(&sin->sin_addr, e->addr.octets, 4);
        return sizeof *sin;
    }
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)out;

    sin6->sin6_family = AF_INET6;
    sin6->sin6_port = htons(e->port);
    memcpy(&sin6->sin6_addr, e->addr.octets, 16);
    return sizeof *sin6;
}

bool net_from_sockaddr(const struct sockaddr *sa, struct net_endpoint *out)
{
    struct net_endpoint e = { 0 };

    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;

        e.addr.family = NET_IPV4;
        memcpy(e.addr.octets, &sin->sin_addr, 4);
        e.port = ntohs(sin->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;

        e.addr.family = NET_IPV6;
        memcpy(e.addr.octets, &sin6->sin6_addr, 16);
        e.port = ntohs(sin6->sin6_port);
        unmap(&e.addr);
    } else {
        return false;
    }
    *out = e;
    return true;
}
