#include "policy/snapshot.h"

#include <stdlib.h>

/* ---- the lists ---- */

static struct access_table *list_table(const struct settings_list *list)
{
    struct access_row *rows = malloc((list->count ? list->count : 1) * sizeof *rows);
    struct access_table *t = NULL;

    for (uint32_t i = 0; rows && i < list->count; i++)
        rows[i] = (struct access_row){ list->entries[i].prefix, settings_list_expires_us(list, i) };
    if (rows)
        t = access_table_new(rows, list->count);
    free(rows);
    return t;
}

static void table_unref(struct policy_table *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    access_table_free(t->table);
    settings_list_unref(t->list);
    free(t);
}

/* That of the snapshot before, if it has the same list. */
static struct policy_table *table_of(const struct settings_list *list,
                                     const struct policy_snapshot *before)
{
    struct policy_table *t = NULL;

    if (before && before->deny->list == list)
        t = before->deny;
    else if (before && before->permit->list == list)
        t = before->permit;
    if (t) {
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
        return t;
    }
    t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    atomic_init(&t->refs, 1);
    t->list = settings_list_ref(list);
    t->table = list_table(list);
    if (t->table)
        return t;
    table_unref(t);
    return NULL;
}

/* ---- who may relay ---- */

static struct net_prefix cleared(struct net_prefix p, unsigned length)
{
    p.length = (uint8_t)length;
    PT_IGNORE(net_prefix_clear(&p), "host bits are expected");
    return p;
}

/* Class A, B or C by the leading bits (RFC 791 3.2). Classes D and E are no networks of hosts, and
 * IPv6 has no classes: the address alone, and the subnet. */
static struct net_prefix class_of(const struct net_prefix *net)
{
    uint8_t first = net->addr.octets[0];

    if (net->addr.family == NET_IPV6)
        return cleared(*net, net->length);
    if (first < 128)
        return cleared(*net, 8);
    if (first < 192)
        return cleared(*net, 16);
    return cleared(*net, first < 224 ? 24 : 32);
}

/* What a net of this host lets relay. A length of 0, as a tunnel may have, says nothing about who
 * is near: it counts as the address alone. */
static struct net_prefix relay_prefix(enum settings_relay_hosts hosts, const struct net_prefix *net)
{
    if (net->length > 0 && hosts == SETTINGS_RELAY_SAME_SUBNET)
        return cleared(*net, net->length);
    if (net->length > 0 && hosts == SETTINGS_RELAY_SAME_CLASS)
        return class_of(net);
    return cleared(*net, net_addr_bits(&net->addr));
}

/* The addresses of this host, loopback among them, as wide as `hosts` has it. */
static struct access_table *host_relay_table(enum settings_relay_hosts hosts,
                                             const struct net_prefix *nets, uint32_t count)
{
    static const struct net_prefix loopback[] = {
        { { NET_IPV4, { 127 } }, 8 },
        { { NET_IPV6, { [15] = 1 } }, 128 },
    };
    struct access_row *rows = calloc(count + PT_ARRAY_LEN(loopback), sizeof *rows);
    struct access_table *t;

    if (!rows)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        rows[i].prefix = relay_prefix(hosts, &nets[i]);
    for (uint32_t i = 0; i < PT_ARRAY_LEN(loopback); i++)
        rows[count + i].prefix = loopback[i];
    t = access_table_new(rows, count + (uint32_t)PT_ARRAY_LEN(loopback));
    free(rows);
    return t;
}

static struct access_table *networks_table(const struct net_prefix *networks, uint32_t count)
{
    struct access_row *rows = calloc(count ? count : 1, sizeof *rows);
    struct access_table *t;

    if (!rows)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        rows[i].prefix = networks[i];
    t = access_table_new(rows, count);
    free(rows);
    return t;
}

/* ---- checks ---- */

/* False: memory is short. */
static bool take_checks(struct policy_snapshot *snap, const struct settings *s,
                        const struct net_prefix *nets, uint32_t count)
{
    for (int i = 0; i < SETTINGS_CHECK_COUNT; i++)
        snap->checked = snap->checked || s->message_rules.checks[i] != SETTINGS_LIMIT_OFF;
    if (!settings_domain_normalise(str_of(s->identity.hostname), snap->hostname))
        snap->hostname[0] = 0;
    if (s->message_rules.checks[SETTINGS_CHECK_HELO_OWN_NAME] == SETTINGS_LIMIT_OFF)
        return true;
    snap->self = host_relay_table(SETTINGS_RELAY_HOST_ONLY, nets, count);
    return snap->self;
}

/* ---- limits ---- */

static bool any_limit(const struct settings *s)
{
    bool any = s->limits.ban_mode != SETTINGS_LIMIT_OFF;

    for (int i = 0; i < SETTINGS_LIMIT_COUNT; i++)
        any = any || s->limits.of[i].mode != SETTINGS_LIMIT_OFF;
    return any;
}

/* False: memory is short. */
static bool take_limits(struct policy_snapshot *snap, const struct settings *s)
{
    snap->limited = any_limit(s);
    if (s->limits.exempt_count == 0)
        return true;
    snap->exempt = networks_table(s->limits.exempt, s->limits.exempt_count);
    return snap->exempt;
}

/* ---- life ---- */

struct policy_snapshot *policy_snapshot_new(const struct settings *s,
                                            const struct net_prefix *host_nets,
                                            uint32_t host_net_count)
{
    return policy_snapshot_next(NULL, s, host_nets, host_net_count);
}

struct policy_snapshot *policy_snapshot_next(const struct policy_snapshot *before,
                                             const struct settings *s,
                                             const struct net_prefix *host_nets,
                                             uint32_t host_net_count)
{
    struct policy_snapshot *snap = calloc(1, sizeof *snap);

    if (!snap)
        return NULL;
    atomic_init(&snap->refs, 1);
    snap->settings = settings_ref(s);
    snap->deny = table_of(s->control.deny_list, before);
    snap->permit = table_of(s->control.permit_list, before);
    if (s->message_rules.relay_hosts == SETTINGS_RELAY_SPECIFIED)
        snap->relay =
            networks_table(s->message_rules.relay_networks, s->message_rules.relay_network_count);
    else
        snap->relay = host_relay_table(s->message_rules.relay_hosts, host_nets, host_net_count);
    if (snap->deny && snap->permit && snap->relay && take_limits(snap, s) &&
        take_checks(snap, s, host_nets, host_net_count))
        return snap;
    policy_snapshot_unref(snap);
    return NULL;
}

struct policy_snapshot *policy_snapshot_ref(const struct policy_snapshot *snap)
{
    struct policy_snapshot *mine = (struct policy_snapshot *)snap;

    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

void policy_snapshot_unref(const struct policy_snapshot *snap)
{
    struct policy_snapshot *mine = (struct policy_snapshot *)snap;

    if (!snap || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) != 1)
        return;
    table_unref(snap->deny);
    table_unref(snap->permit);
    access_table_free(snap->relay);
    access_table_free(snap->exempt);
    access_table_free(snap->self);
    settings_unref(snap->settings);
    free(mine);
}

const struct settings *policy_snapshot_settings(const struct policy_snapshot *snap)
{
    return snap->settings;
}
