#include "gateway/names.h"

#include <stdlib.h>

#include "base/str.h"
#include "policy/policy.h"

enum { KNOWN_MAX = 1024, KNOWN_SECONDS = 60 };

struct known {
    uint64_t hash;
    int64_t until_ns;
    uint8_t answer; /* enum policy_dns */
    bool helo;
    char name[SETTINGS_DOMAIN_SIZE]; /* "": a place that is free */
};

struct names_known {
    struct known places[KNOWN_MAX]; /* by hash; the newer displaces the older */
};

static uint8_t answer_of(const struct names_question *q)
{
    if (q->query.result == PT_ERR_OK)
        return POLICY_DNS_FOUND;
    if (q->query.result != PT_ERR_NOTFOUND)
        return POLICY_DNS_UNTOLD;
    return q->query.null_mx && !q->helo ? POLICY_DNS_NULL_MX : POLICY_DNS_NOTHING;
}

static void on_answer(struct net_query *query)
{
    struct names_question *q = PT_CONTAINER_OF(query, struct names_question, query);
    bool again = query->kind == NET_QUERY_ADDRESSES && query->result == PT_ERR_NOTFOUND;

    net_query_clear(query);
    if (again) {
        query->kind = NET_QUERY_MAIL;
        net_resolve(q->resolver, query);
        return;
    }
    q->answer = answer_of(q);
    q->done(q);
}

void names_ask(struct names_question *q, struct net_resolver *resolver)
{
    q->resolver = resolver;
    q->query.kind = q->helo ? NET_QUERY_ADDRESSES : NET_QUERY_MAIL;
    q->query.done = on_answer;
    net_resolve(resolver, &q->query);
}

/* ---- what is known ---- */

struct names_known *names_known_new(void)
{
    return calloc(1, sizeof(struct names_known));
}

void names_known_free(struct names_known *k)
{
    free(k);
}

static uint64_t hash_of(const char *name, bool helo)
{
    return str_hash_nocase(str_of(name)) + helo;
}

bool names_known_find(const struct names_known *k, const char *name, bool helo, int64_t now_ns,
                      uint8_t *out_answer)
{
    uint64_t hash = hash_of(name, helo);
    const struct known *place = &k->places[hash % KNOWN_MAX];

    if (place->hash != hash || place->helo != helo || place->until_ns <= now_ns ||
        strcmp(place->name, name) != 0)
        return false;
    *out_answer = place->answer;
    return true;
}

void names_known_add(struct names_known *k, const struct names_question *q, int64_t now_ns)
{
    uint64_t hash = hash_of(q->query.name, q->helo);
    struct known *place = &k->places[hash % KNOWN_MAX];
    size_t n = strlen(q->query.name);

    if (q->answer == POLICY_DNS_UNTOLD || n >= sizeof place->name)
        return;
    place->hash = hash;
    place->until_ns = now_ns + (int64_t)PT_MIN(q->query.ttl, (uint32_t)KNOWN_SECONDS) * 1000000000;
    place->answer = q->answer;
    place->helo = q->helo;
    memcpy(place->name, q->query.name, n + 1);
}
