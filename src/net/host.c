#include "net/host.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t mask_length(const struct sockaddr *mask)
{
    struct net_endpoint e;
    uint8_t bits = 0;

    if (!mask || !net_from_sockaddr(mask, &e))
        return 0;
    for (unsigned i = 0; i < sizeof e.addr.octets; i++)
        bits = (uint8_t)(bits + __builtin_popcount(e.addr.octets[i]));
    return bits;
}

static enum net_scope scope_of(const struct net_addr *a)
{
    if (net_addr_is_loopback(a))
        return NET_SCOPE_HOST;
    return net_addr_is_link_local(a) ? NET_SCOPE_LINK : NET_SCOPE_GLOBAL;
}

uint32_t net_host_interfaces(struct net_interface *out, uint32_t max)
{
    struct ifaddrs *all, *i;
    uint32_t n = 0;

    if (getifaddrs(&all) < 0)
        return 0;
    for (i = all; i && n < max; i = i->ifa_next) {
        struct net_endpoint e;

        if (!i->ifa_addr || !net_from_sockaddr(i->ifa_addr, &e))
            continue;
        out[n].prefix.addr = e.addr;
        out[n].scope = scope_of(&e.addr);
        out[n].prefix.length = mask_length(i->ifa_netmask);
        snprintf(out[n].name, sizeof out[n].name, "%s", i->ifa_name);
        n++;
    }
    freeifaddrs(all);
    return n;
}

int net_host_watch(void)
{
    struct sockaddr_nl address = { .nl_family = AF_NETLINK,
                                   .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What it says is not read: who wants to know asks for all addresses. More than the kernel could
 * keep for us (ENOBUFS) is news too. */
bool net_host_watch_read(int fd)
{
    char octets[8192];
    bool news = false;

    for (;;) {
        if (recv(fd, octets, sizeof octets, 0) >= 0 || errno == ENOBUFS)
            news = true;
        else if (errno != EINTR)
            return news;
    }
}

/* The kernel is asked which address it would send from: to one of its own, that one. No packet goes
 * out. */
static bool is_own(const struct net_addr *a)
{
    struct net_endpoint e = { .addr = *a, .port = 25 };
    struct sockaddr_storage address;
    socklen_t length = net_to_sockaddr(&e, &address);
    int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool own = fd >= 0 && connect(fd, (struct sockaddr *)&address, length) == 0;

    length = sizeof address;
    own = own && getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
          net_from_sockaddr((struct sockaddr *)&address, &e) && net_addr_eq(&e.addr, a);
    if (fd >= 0)
        close(fd);
    return own;
}

bool net_host_has_address(const struct net_addr *a)
{
    if (net_addr_is_link_local(a))
        return false;
    return (a->family == NET_IPV4 && net_addr_is_loopback(a)) || is_own(a);
}

void net_host_name(char out[256])
{
    char name[256] = "";

    /* The system's own word only: a look-up in the DNS could hold up the start. */
    if (gethostname(name, sizeof name - 1) < 0 || !name[0])
        snprintf(name, sizeof name, "localhost");
    snprintf(out, 256, "%s", name);
}
