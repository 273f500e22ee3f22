#include "access/bans.h"

#include <stdlib.h>

#include "access/counts.h"
#include "access/sets_inner.h"

enum { WAYS = 8, SETS = ACCESS_BANS_MAX / WAYS };

struct set {
    _Atomic uint32_t lock;
    struct access_ban bans[WAYS]; /* until_us 0: free */
};

struct access_bans {
    uint64_t seed;
    _Atomic int64_t last_until_us; /* from then on there is none */
    struct set sets[SETS];
};

struct access_bans *access_bans_new(uint64_t seed)
{
    struct access_bans *b = calloc(1, sizeof *b);

    if (b)
        b->seed = seed;
    return b;
}

void access_bans_free(struct access_bans *b)
{
    free(b);
}

static struct set *set_of(struct access_bans *b, const struct net_prefix *client)
{
    return &b->sets[sets_hash(b->seed, client->addr.octets, client->addr.family) % SETS];
}

/* The client's ban, whether it lasts or not. */
static struct access_ban *find(struct set *s, const struct net_prefix *client)
{
    for (int i = 0; i < WAYS; i++)
        if (s->bans[i].until_us && net_addr_eq(&s->bans[i].client.addr, &client->addr))
            return &s->bans[i];
    return NULL;
}

bool access_bans_find(struct access_bans *b, const struct net_addr *client, int64_t now_us,
                      struct access_ban *out)
{
    struct net_prefix key;
    struct access_ban *ban;
    struct set *s;
    bool found;

    if (atomic_load_explicit(&b->last_until_us, memory_order_relaxed) <= now_us)
        return false;
    key = access_client_of(client);
    s = set_of(b, &key);
    sets_lock(&s->lock);
    ban = find(s, &key);
    found = ban && ban->until_us > now_us;
    if (found)
        *out = *ban;
    sets_unlock(&s->lock);
    return found;
}

static bool lasts(const struct access_ban *ban, int64_t now_us)
{
    return ban->until_us > now_us;
}

/* A free place, else that of the ban that ends soonest and is no stronger; NULL: none. */
static struct access_ban *place_for(struct set *s, int64_t now_us)
{
    struct access_ban *soonest = NULL;

    for (int i = 0; i < WAYS; i++) {
        struct access_ban *ban = &s->bans[i];

        if (!lasts(ban, now_us))
            return ban;
        if (ban->kind != ACCESS_BAN_SET && (!soonest || ban->until_us < soonest->until_us))
            soonest = ban;
    }
    return soonest;
}

/* Does what is there stay as it is? */
static bool stays(const struct access_ban *there, const struct access_ban *ban, int64_t now_us)
{
    if (!lasts(there, now_us) || ban->kind > there->kind || ban->kind == ACCESS_BAN_SET)
        return false;
    return ban->kind < there->kind || ban->until_us <= there->until_us;
}

static void reach_until(struct access_bans *b, int64_t until_us)
{
    int64_t last = atomic_load(&b->last_until_us);

    while (last < until_us && !atomic_compare_exchange_weak(&b->last_until_us, &last, until_us))
        continue;
}

enum pt_err access_bans_set(struct access_bans *b, const struct access_ban *ban, int64_t now_us)
{
    struct set *s = set_of(b, &ban->client);
    struct access_ban *place;
    bool kept;

    sets_lock(&s->lock);
    place = find(s, &ban->client);
    kept = place && stays(place, ban, now_us);
    if (!place)
        place = place_for(s, now_us);
    if (place && !kept)
        *place = *ban;
    sets_unlock(&s->lock);
    if (!place)
        return PT_ERR_NOSPACE;
    reach_until(b, ban->until_us);
    return PT_ERR_OK;
}

bool access_bans_lift(struct access_bans *b, const struct net_addr *client, int64_t now_us)
{
    struct net_prefix key = access_client_of(client);
    struct set *s = set_of(b, &key);
    struct access_ban *ban;
    bool lasted;

    sets_lock(&s->lock);
    ban = find(s, &key);
    lasted = ban && lasts(ban, now_us);
    if (ban)
        ban->until_us = 0;
    sets_unlock(&s->lock);
    return lasted;
}

uint32_t access_bans_list(struct access_bans *b, int64_t now_us, struct access_ban *out,
                          uint32_t max)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < SETS; i++) {
        struct set *s = &b->sets[i];

        sets_lock(&s->lock);
        for (int way = 0; way < WAYS; way++) {
            if (!lasts(&s->bans[way], now_us))
                continue;
            if (count < max)
                out[count] = s->bans[way];
            count++;
        }
        sets_unlock(&s->lock);
    }
    return count;
}
