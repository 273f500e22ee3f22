/*
 * What name servers write: the data of MX and address records; and a resolv.conf. Whatever is read
 * out of it is a name that may stand in a log and be asked for, or an address of one host; the best
 * exchangers stay, and come first.
 *
 * The input is a run of records: a kind, whose highest bit adds 256 to the length, the length, the
 * data.
 */
#include "fuzz.h"
#include "net/exchangers.h"
#include "net/probe.h"

static void check_name(const char *name)
{
    size_t n = strlen(name), label = 0;

    pt_assert(n > 0 && n < NET_NAME_SIZE - 1);
    for (size_t i = 0; i < n; i++) {
        char c = ascii_lower(name[i]);

        label = c == '.' ? 0 : label + 1;
        pt_assert((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.');
        pt_assert(label <= 63 && (c != '.' || (i > 0 && name[i - 1] != '.' && i + 1 < n)));
    }
}

static void check_targets(struct net_exchangers *e)
{
    struct net_target targets[NET_TARGETS_MAX];
    uint32_t n = net_exchangers_targets(e, targets), hosts = 0;

    pt_assert(n <= NET_TARGETS_MAX);
    for (unsigned i = 0; i < e->count; i++)
        hosts += e->list[i].addr_count > 0;
    pt_assert(n >= hosts);
    for (uint32_t i = 0; i < n; i++) {
        check_name(targets[i].host);
        pt_assert(targets[i].addr.family == NET_IPV4 || targets[i].addr.family == NET_IPV6);
        pt_assert(!net_addr_is_multicast(&targets[i].addr));
        pt_assert(i == 0 || targets[i - 1].priority <= targets[i].priority);
    }
}

static void read_resolv_conf(const uint8_t *octets, size_t n)
{
    struct net_endpoint servers[NET_SERVERS_MAX];
    unsigned count = net_resolv_conf_read((struct str){ (const char *)octets, n }, servers);

    pt_assert(count <= NET_SERVERS_MAX);
    for (unsigned i = 0; i < count; i++) {
        char text[NET_SERVER_SIZE];
        struct net_endpoint again;

        net_server_format(&servers[i], text);
        pt_assert(net_server_parse(str_of(text), &again));
        pt_assert(net_addr_eq(&again.addr, &servers[i].addr) && again.port == servers[i].port);
    }
}

static void read_record(struct net_exchangers *e, struct rng *rng, unsigned kind,
                        const uint8_t *data, size_t n)
{
    struct net_exchanger *host = e->count ? &e->list[kind / 4 % e->count] : NULL;
    bool null_mx = false;

    if (kind % 4 == 0)
        net_exchangers_read_mx(e, data, n, rng, &null_mx);
    else if (kind % 4 == 1 && host)
        net_exchanger_read_address(host, NET_IPV4, data, n);
    else if (kind % 4 == 2 && host)
        net_exchanger_read_address(host, NET_IPV6, data, n);
    else if (kind % 4 == 3)
        pt_assert(!net_probe_is_answer(data, n, 0xFFFF) || n >= 12);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct net_exchangers e = { 0 };
    struct rng rng;
    size_t at = 0;

    rng_seed(&rng, 1);
    read_resolv_conf(octets, n);
    while (n - at >= 2) {
        size_t length = octets[at + 1] + (octets[at] & 0x80 ? 256u : 0);

        length = PT_MIN(length, n - at - 2);

        read_record(&e, &rng, octets[at], octets + at + 2, length);
        at += 2 + length;
    }
    pt_assert(e.count <= NET_MX_MAX);
    for (unsigned i = 0; i < e.count; i++) {
        check_name(e.list[i].name);
        pt_assert(e.list[i].addr_count <= 2 * NET_FAMILY_MAX);
    }
    check_targets(&e);
    return 0;
}
