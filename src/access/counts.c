/*
 * Two tables of the same kind, one of addresses and one of networks. A place has a count for each
 * of the last six spells of ten seconds, and for each sixth of the longer span.
 */
#include "access/counts.h"

#include <stdlib.h>

#include "access/sets_inner.h"

enum { WAYS = 8, SETS = ACCESS_COUNTS_MAX / WAYS, SPELLS = 6, SPELL_US = 10000000 };
enum { IN_ADDRESS = 1, IN_PREFIX = 2 };

struct place {
    struct net_addr who;   /* family NET_NONE: free */
    uint16_t long_spell_s; /* length of a spell of the longer span */
    uint32_t sessions;
    uint32_t spell;      /* the number of the current one, since the clock's start */
    uint32_t long_spell; /* the same of the longer span */
    uint16_t counts[ACCESS_COUNTED][SPELLS];
    uint16_t failures[SPELLS];
};

struct set {
    _Atomic uint32_t lock;
    struct place places[WAYS];
};

struct access_counts {
    uint64_t seed;
    struct set addresses[SETS], prefixes[SETS];
};

struct access_counts *access_counts_new(uint64_t seed)
{
    struct access_counts *c = calloc(1, sizeof *c);

    if (c)
        c->seed = seed;
    return c;
}

void access_counts_free(struct access_counts *c)
{
    free(c);
}

struct net_prefix access_client_of(const struct net_addr *client)
{
    return sets_prefix(client, client->family == NET_IPV4 ? 32 : 64);
}

struct net_prefix access_network_of(const struct net_addr *client)
{
    return sets_prefix(client, client->family == NET_IPV4 ? 24 : 64);
}

/* Whoever owns a /48 of IPv6 has as many addresses as he likes, and 65,536 networks. */
static struct set *set_of(struct access_counts *c, const struct net_addr *who, bool is_prefix)
{
    struct net_prefix p = sets_prefix(who, who->family == NET_IPV4 ? 32 : 48);
    uint64_t h = sets_hash(c->seed, p.addr.octets, p.addr.family + (is_prefix ? 1u : 0u));

    return &(is_prefix ? c->prefixes : c->addresses)[h % SETS];
}

/* ---- time ---- */

static void forget_spells(uint16_t *counts, uint32_t from, uint32_t to)
{
    uint32_t passed = PT_MIN(to - from, (uint32_t)SPELLS);

    for (uint32_t i = 0; i < passed; i++)
        counts[(to - i) % SPELLS] = 0;
}

static uint16_t long_spell_of(struct access_now now)
{
    return (uint16_t)(PT_MAX(now.span_minutes, 1u) * 60 / SPELLS);
}

/* Brings a place to now. A clock that went back a little leaves it as it is. */
static void advance(struct place *p, struct access_now now)
{
    uint32_t spell = (uint32_t)(now.us / SPELL_US), seconds = long_spell_of(now);
    uint32_t long_spell = (uint32_t)(now.us / 1000000 / seconds);

    if (spell > p->spell) {
        for (int i = 0; i < ACCESS_COUNTED; i++)
            forget_spells(p->counts[i], p->spell, spell);
        p->spell = spell;
    }
    if (seconds != p->long_spell_s) {
        memset(p->failures, 0, sizeof p->failures);
        p->long_spell_s = (uint16_t)seconds;
        p->long_spell = long_spell;
    } else if (long_spell > p->long_spell) {
        forget_spells(p->failures, p->long_spell, long_spell);
        p->long_spell = long_spell;
    }
}

static uint32_t sum(const uint16_t counts[SPELLS])
{
    uint32_t n = 0;

    for (int i = 0; i < SPELLS; i++)
        n += counts[i];
    return n;
}

static void add(uint16_t *count, uint32_t n)
{
    *count = (uint16_t)PT_MIN(*count + n, (uint32_t)UINT16_MAX);
}

/* ---- places ---- */

static struct place *find(struct set *s, const struct net_addr *who)
{
    for (int i = 0; i < WAYS; i++)
        if (s->places[i].who.family == who->family &&
            memcmp(s->places[i].who.octets, who->octets, sizeof who->octets) == 0)
            return &s->places[i];
    return NULL;
}

/* How much is lost with it; UINT32_MAX: it must stay. */
static uint32_t worth(struct place *p, struct access_now now)
{
    uint32_t most = 0;

    if (p->who.family == NET_NONE)
        return 0;
    if (p->sessions)
        return UINT32_MAX;
    advance(p, now);
    for (int i = 0; i < ACCESS_COUNTED; i++)
        most = PT_MAX(most, sum(p->counts[i]));
    return 1 + PT_MAX(most, sum(p->failures));
}

/* The client's place, made where there is none; NULL: all have sessions. */
static struct place *place_for(struct set *s, const struct net_addr *who, struct access_now now)
{
    struct place *p = find(s, who), *least = NULL;
    uint32_t least_worth = UINT32_MAX;

    for (int i = 0; !p && i < WAYS; i++) {
        uint32_t w = worth(&s->places[i], now);

        if (w < least_worth) {
            least = &s->places[i];
            least_worth = w;
        }
    }
    if (!p && least) {
        memset(least, 0, sizeof *least);
        least->who = *who;
        p = least;
    }
    if (p)
        advance(p, now);
    return p;
}

static void read_place(const struct place *p, struct access_usage *out)
{
    out->sessions = p->sessions;
    for (int i = 0; i < ACCESS_COUNTED; i++)
        out->in_minute[i] = sum(p->counts[i]);
    out->failures = sum(p->failures);
}

/* ---- the questions ---- */

static void read_one(struct access_counts *c, const struct net_addr *who, bool is_prefix,
                     struct access_now now, struct access_usage *out)
{
    struct set *s = set_of(c, who, is_prefix);
    struct place *p;

    sets_lock(&s->lock);
    p = find(s, who);
    if (p) {
        advance(p, now);
        read_place(p, out);
    }
    sets_unlock(&s->lock);
}

void access_counts_read(struct access_counts *c, const struct net_addr *client,
                        struct access_now now, struct access_client *out)
{
    struct net_prefix network = access_network_of(client);

    *out = (struct access_client){ 0 };
    read_one(c, client, false, now, &out->address);
    read_one(c, &network.addr, true, now, &out->prefix);
}

struct counting {
    enum access_counted what;
    uint32_t n;
    bool session;
};

/* False: there is no place. */
static bool count_one(struct access_counts *c, const struct net_addr *who, bool is_prefix,
                      const struct counting *more, struct access_now now,
                      struct access_usage *before)
{
    struct set *s = set_of(c, who, is_prefix);
    struct place *p;

    sets_lock(&s->lock);
    p = place_for(s, who, now);
    if (p) {
        read_place(p, before);
        add(&p->counts[more->what][p->spell % SPELLS], more->n);
        if (more->what == ACCESS_FAILURES)
            add(&p->failures[p->long_spell % SPELLS], more->n);
        p->sessions += more->session;
    }
    sets_unlock(&s->lock);
    return p;
}

static uint8_t count(struct access_counts *c, const struct net_addr *client,
                     const struct counting *more, struct access_now now,
                     struct access_client *before)
{
    struct net_prefix network = access_network_of(client);
    uint8_t where = 0;

    *before = (struct access_client){ 0 };
    if (count_one(c, client, false, more, now, &before->address))
        where |= IN_ADDRESS;
    if (count_one(c, &network.addr, true, more, now, &before->prefix))
        where |= IN_PREFIX;
    return where;
}

void access_counts_add(struct access_counts *c, const struct net_addr *client,
                       enum access_counted what, uint32_t n, struct access_now now,
                       struct access_client *before)
{
    const struct counting more = { what, n, false };

    PT_IGNORE(count(c, client, &more, now, before), "counted where there was a place");
}

uint8_t access_counts_open(struct access_counts *c, const struct net_addr *client,
                           struct access_now now, struct access_client *before)
{
    const struct counting more = { ACCESS_CONNECTIONS, 1, true };

    return count(c, client, &more, now, before);
}

static void close_one(struct access_counts *c, const struct net_addr *who, bool is_prefix)
{
    struct set *s = set_of(c, who, is_prefix);
    struct place *p;

    sets_lock(&s->lock);
    p = find(s, who);
    if (p && p->sessions)
        p->sessions--;
    sets_unlock(&s->lock);
}

void access_counts_close(struct access_counts *c, const struct net_addr *client, uint8_t where)
{
    struct net_prefix network = access_network_of(client);

    if (where & IN_ADDRESS)
        close_one(c, client, false);
    if (where & IN_PREFIX)
        close_one(c, &network.addr, true);
}

static void forgive_one(struct access_counts *c, const struct net_addr *who, bool is_prefix)
{
    struct set *s = set_of(c, who, is_prefix);
    struct place *p;

    sets_lock(&s->lock);
    p = find(s, who);
    if (p) {
        memset(p->failures, 0, sizeof p->failures);
        memset(p->counts[ACCESS_FAILURES], 0, sizeof p->counts[ACCESS_FAILURES]);
    }
    sets_unlock(&s->lock);
}

void access_counts_forgive(struct access_counts *c, const struct net_addr *client)
{
    struct net_prefix network = access_network_of(client);

    forgive_one(c, client, false);
    if (client->family == NET_IPV6)
        forgive_one(c, &network.addr, true);
}
