/*
 * console/throttle: a table of keyed hashes with the time up to which each has used up its tries
 * (the generic cell rate algorithm). A full bucket loses the entry that is over first: only
 * somebody with very many addresses gets that far, and the threads that check passwords bound him.
 */
#include "console/throttle.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024, WAYS = 4, KNOWN = 1024 };

struct entry {
    uint64_t key;
    int64_t until_ns; /* beyond now: tries that were made */
};

struct throttle {
    unsigned char secret[crypto_shorthash_KEYBYTES];
    struct entry table[BUCKETS][WAYS];
    uint64_t known[KNOWN]; /* address and account of good ones */
    unsigned next_known;
};

struct throttle *throttle_new(void)
{
    struct throttle *t = sodium_init() < 0 ? NULL : calloc(1, sizeof *t);

    if (t)
        randombytes_buf(t->secret, sizeof t->secret);
    return t;
}

void throttle_free(struct throttle *t)
{
    free(t);
}

/* Of an address, an account, or both; never 0. `codes`: of the codes of an account. */
static uint64_t key_for(bool codes, const struct throttle *t, const struct net_addr *from,
                        struct str name)
{
    unsigned char text[32 + 64] = { 0 }, hash[crypto_shorthash_BYTES];
    uint64_t key;
    size_t n = 32;

    text[31] = codes;
    if (from) {
        text[0] = from->family;
        memcpy(text + 1, from->octets, from->family == NET_IPV6 ? 8 : 16);
    }
    /* Names of accounts are no longer; of others the first octets do. */
    if (name.n) {
        n += PT_MIN(name.n, sizeof text - 32);
        memcpy(text + 32, name.p, n - 32);
    }
    crypto_shorthash(hash, text, n, t->secret);
    memcpy(&key, hash, sizeof key);
    return key ? key : 1;
}

static uint64_t key_of(const struct throttle *t, const struct net_addr *from, struct str name)
{
    return key_for(false, t, from, name);
}

static struct entry *entry_of(struct throttle *t, uint64_t key)
{
    struct entry *ways = t->table[key % BUCKETS], *first = ways;

    for (size_t i = 0; i < WAYS; i++) {
        if (ways[i].key == key)
            return &ways[i];
        if (ways[i].until_ns < first->until_ns)
            first = &ways[i];
    }
    *first = (struct entry){ .key = key };
    return first;
}

/* How long until one more may be tried; 0: now. */
static int64_t wait_ns(const struct entry *e, unsigned tries, unsigned seconds, int64_t now_ns)
{
    int64_t room = (int64_t)(tries - 1) * seconds * 1000000000LL;

    return PT_MAX(e->until_ns - now_ns - room, 0);
}

static void count(struct entry *e, unsigned seconds, int64_t now_ns)
{
    e->until_ns = PT_MAX(e->until_ns, now_ns) + seconds * 1000000000LL;
}

static bool is_known(const struct throttle *t, uint64_t key)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (t->known[i] == key)
            return true;
    return false;
}

unsigned throttle_try(struct throttle *t, const struct net_addr *from, struct str name,
                      int64_t now_ns)
{
    bool trusted = net_addr_is_loopback(from) || is_known(t, key_of(t, from, name));
    struct entry *address = entry_of(t, key_of(t, from, STR_NULL)), *account;
    int64_t wait = wait_ns(address, THROTTLE_ADDRESS_TRIES, THROTTLE_ADDRESS_S, now_ns);

    if (!wait && !trusted) {
        account = entry_of(t, key_of(t, NULL, name));
        wait = wait_ns(account, THROTTLE_ACCOUNT_TRIES, THROTTLE_ACCOUNT_S, now_ns);
        if (!wait) {
            count(account, THROTTLE_ACCOUNT_S, now_ns);
            address = entry_of(t, key_of(t, from, STR_NULL));
        }
    }
    if (!wait)
        count(address, THROTTLE_ADDRESS_S, now_ns);
    return (unsigned)((wait + 999999999) / 1000000000);
}

void throttle_give_back(struct throttle *t, const struct net_addr *from, struct str name)
{
    /* This one alone: otherwise an account of one's own would buy tries at another. */
    entry_of(t, key_of(t, from, STR_NULL))->until_ns -= THROTTLE_ADDRESS_S * 1000000000LL;
    if (!net_addr_is_loopback(from) && !is_known(t, key_of(t, from, name)))
        entry_of(t, key_of(t, NULL, name))->until_ns -= THROTTLE_ACCOUNT_S * 1000000000LL;
}

void throttle_good(struct throttle *t, const struct net_addr *from, struct str name)
{
    uint64_t key = key_of(t, from, name);

    throttle_give_back(t, from, name);
    if (!net_addr_is_loopback(from) && !is_known(t, key))
        t->known[t->next_known++ % KNOWN] = key;
}

unsigned throttle_try_code(struct throttle *t, struct str name, int64_t now_ns)
{
    struct entry *e = entry_of(t, key_for(true, t, NULL, name));
    int64_t wait = wait_ns(e, THROTTLE_CODE_TRIES, THROTTLE_CODE_S, now_ns);

    if (!wait)
        count(e, THROTTLE_CODE_S, now_ns);
    return (unsigned)((wait + 999999999) / 1000000000);
}

void throttle_good_code(struct throttle *t, struct str name)
{
    entry_of(t, key_for(true, t, NULL, name))->until_ns -= THROTTLE_CODE_S * 1000000000LL;
}
