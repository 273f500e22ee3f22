#include "console/sessions.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct sessions {
    struct session list[SESSIONS_MAX];
};

struct sessions *sessions_new(void)
{
    return sodium_init() < 0 ? NULL : calloc(1, sizeof(struct sessions));
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    sodium_memzero(s, sizeof *s);
    free(s);
}

static void end(struct session *session)
{
    sodium_memzero(session, sizeof *session);
}

static bool is_over(const struct session *s, int64_t now_ns)
{
    return now_ns - s->seen_ns > SESSION_IDLE_S * 1000000000LL ||
           now_ns - s->since_ns > SESSION_LIFE_S * 1000000000LL;
}

static void hash_of(struct str id, unsigned char out[32])
{
    crypto_hash_sha256(out, (const unsigned char *)id.p, id.n);
}

/* A place for one more of this account: a free one, or the one idle longest. */
static struct session *place_for(struct sessions *s, const char *name, int64_t now_ns)
{
    struct session *oldest = NULL, *own_oldest = NULL, *empty = NULL;
    size_t own = 0;

    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        struct session *one = &s->list[i];

        if (one->name[0] && is_over(one, now_ns))
            end(one);
        if (!one->name[0]) {
            empty = empty ? empty : one;
            continue;
        }
        if (!oldest || one->seen_ns < oldest->seen_ns)
            oldest = one;
        if (strcmp(one->name, name) != 0)
            continue;
        own++;
        if (!own_oldest || one->seen_ns < own_oldest->seen_ns)
            own_oldest = one;
    }
    if (own >= SESSIONS_OF_ONE_MAX)
        return own_oldest;
    return empty ? empty : oldest;
}

const struct session *sessions_add(struct sessions *s, const struct account *account,
                                   int64_t now_ns, char id[ACCOUNT_SECRET_SIZE])
{
    struct session *new = place_for(s, account->name, now_ns);

    end(new);
    accounts_secret(id);
    accounts_secret(new->csrf);
    hash_of(str_of(id), new->hash);
    memcpy(new->name, account->name, sizeof new->name);
    new->serial = account->serial;
    new->since_ns = new->seen_ns = now_ns;
    return new;
}

/* All of them are compared, each in constant time. */
static struct session *find(struct sessions *s, struct str id)
{
    struct session *found = NULL;
    unsigned char hash[32];

    if (id.n != ACCOUNT_SECRET_SIZE - 5) /* 43 octets: 256 bits in base64 */
        return NULL;
    hash_of(id, hash);
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (s->list[i].name[0] && sodium_memcmp(hash, s->list[i].hash, sizeof hash) == 0)
            found = &s->list[i];
    return found;
}

/* What has ended is forgotten. */
static struct session *peek(struct sessions *s, const struct accounts *accounts, struct str id,
                            int64_t now_ns)
{
    struct session *found = find(s, id);
    const struct account *account;
    bool over;

    if (!found)
        return NULL;
    over = is_over(found, now_ns);
    if (!over && accounts) {
        account = accounts_find(accounts, str_of(found->name));
        over = !account || account->serial != found->serial;
    }
    if (over)
        end(found);
    return over ? NULL : found;
}

const struct session *sessions_peek(struct sessions *s, const struct accounts *accounts,
                                    struct str id, int64_t now_ns)
{
    return peek(s, accounts, id, now_ns);
}

const struct session *sessions_find(struct sessions *s, const struct accounts *accounts,
                                    struct str id, int64_t now_ns)
{
    struct session *found = peek(s, accounts, id, now_ns);

    if (found)
        found->seen_ns = now_ns;
    return found;
}

void sessions_offer(struct sessions *s, struct str id, const uint8_t key[ACCOUNT_KEY_SIZE])
{
    struct session *found = find(s, id);

    if (!found)
        return;
    memcpy(found->key, key, sizeof found->key);
    found->offered = true;
}

bool sessions_offered(struct sessions *s, struct str id, uint8_t key[ACCOUNT_KEY_SIZE])
{
    const struct session *found = find(s, id);

    if (!found || !found->offered)
        return false;
    memcpy(key, found->key, sizeof found->key);
    return true;
}

void sessions_end(struct sessions *s, struct str id)
{
    struct session *found = find(s, id);

    if (found)
        end(found);
}

void sessions_end_all(struct sessions *s, struct str name)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (s->list[i].name[0] && str_eq(name, str_of(s->list[i].name)))
            end(&s->list[i]);
}
