#include "access/tally.h"

#include <stdlib.h>

#include "access/counts.h"
#include "access/sets_inner.h"

enum { WAYS = 8, SETS = ACCESS_TALLY_MAX / WAYS };

struct set {
    _Atomic uint32_t lock;
    struct access_tally_row rows[WAYS]; /* count 0: free */
};

struct access_tally {
    uint64_t seed;
    struct set sets[SETS];
};

struct access_tally *access_tally_new(uint64_t seed)
{
    struct access_tally *t = calloc(1, sizeof *t);

    if (t)
        t->seed = seed;
    return t;
}

void access_tally_free(struct access_tally *t)
{
    free(t);
}

static struct access_tally_row *row_for(struct set *s, uint8_t what,
                                        const struct net_prefix *client, int64_t now_us)
{
    struct access_tally_row *least = &s->rows[0];

    for (int i = 0; i < WAYS; i++) {
        struct access_tally_row *r = &s->rows[i];

        if (r->count && r->what == what && net_addr_eq(&r->client.addr, &client->addr))
            return r;
        if (r->count < least->count || (r->count == least->count && r->last_us < least->last_us))
            least = r;
    }
    *least = (struct access_tally_row){ .client = *client, .what = what, .first_us = now_us };
    return least;
}

void access_tally_add(struct access_tally *t, uint8_t what, const struct net_addr *client,
                      int64_t now_us)
{
    struct net_prefix key = access_client_of(client);
    struct set *s = &t->sets[sets_hash(t->seed, key.addr.octets, what) % SETS];
    struct access_tally_row *row;

    sets_lock(&s->lock);
    row = row_for(s, what, &key, now_us);
    row->count++;
    row->last_us = now_us;
    sets_unlock(&s->lock);
}

uint32_t access_tally_list(struct access_tally *t, struct access_tally_row *out, uint32_t max)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SETS; i++) {
        struct set *s = &t->sets[i];

        sets_lock(&s->lock);
        for (int way = 0; way < WAYS && n < max; way++)
            if (s->rows[way].count)
                out[n++] = s->rows[way];
        sets_unlock(&s->lock);
    }
    return n;
}
