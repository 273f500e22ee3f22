#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "policy/address.h"
#include "relay/callout_private.h"

enum { REST_S = 10, KEPT_WORDS = 128, DOMAIN_MAX = 256 };

struct relay_callouts *relay_callouts_new(uint64_t octets_max)
{
    struct relay_callouts *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->octets_max = octets_max ? octets_max : CALLOUT_OCTETS;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void entry_free(struct callout_entry *e)
{
    free(e->words);
    free(e);
}

void relay_callouts_free(struct relay_callouts *c)
{
    if (!c)
        return;
    for (size_t i = 0; c->buckets && i < CALLOUT_BUCKETS; i++)
        while (c->buckets[i]) {
            struct callout_entry *e = c->buckets[i];

            c->buckets[i] = e->hash_next;
            entry_free(e);
        }
    free(c->buckets);
    for (size_t i = 0; i < RELAY_LOOPS_MAX; i++)
        while (c->of_loop[i]) {
            struct callout_dest *d = c->of_loop[i];

            c->of_loop[i] = d->next;
            free(d);
        }
    relay_dest_table_done(&c->dests);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- what is remembered ---- */

static struct callout_entry **bucket(struct relay_callouts *c, uint64_t hash)
{
    return &c->buckets[hash & (CALLOUT_BUCKETS - 1)];
}

static struct callout_entry *find(struct relay_callouts *c, struct str recipient, uint64_t hash,
                                  uint64_t dest_hash)
{
    struct callout_entry *e = *bucket(c, hash);

    while (e && !(e->hash == hash && e->dest_hash == dest_hash && str_eq(e->recipient, recipient)))
        e = e->hash_next;
    return e;
}

static void unlink_lru(struct relay_callouts *c, struct callout_entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    e->newer = e->older = NULL;
    c->entries--;
}

static void link_newest(struct relay_callouts *c, struct callout_entry *e)
{
    e->older = c->newest;
    *(e->older ? &e->older->newer : &c->oldest) = e;
    c->newest = e;
    c->entries++;
}

/* It is in no list. */
static void forget(struct relay_callouts *c, struct callout_entry *e)
{
    struct callout_entry **p = bucket(c, e->hash);

    while (*p != e)
        p = &(*p)->hash_next;
    *p = e->hash_next;
    c->octets -= e->size;
    entry_free(e);
}

/* What was not asked for longest goes first. */
static void make_room(struct relay_callouts *c, size_t n)
{
    while (c->octets + n > c->octets_max && c->oldest) {
        struct callout_entry *e = c->oldest;

        unlink_lru(c, e);
        forget(c, e);
    }
}

static struct callout_entry *entry_new(struct relay_callouts *c, struct str recipient,
                                       uint64_t hash, uint64_t dest_hash)
{
    size_t size = sizeof(struct callout_entry) + recipient.n;
    struct callout_entry *e;

    make_room(c, size);
    e = c->octets + size <= c->octets_max ? calloc(1, size) : NULL;
    if (!e)
        return NULL;
    memcpy(e->octets, recipient.p, recipient.n);
    e->recipient = (struct str){ e->octets, recipient.n };
    e->hash = hash;
    e->dest_hash = dest_hash;
    e->size = size;
    e->hash_next = *bucket(c, hash);
    *bucket(c, hash) = e;
    c->octets += size;
    return e;
}

/* ---- answers ---- */

static void on_mail(struct mail *mail)
{
    struct relay_callout *q = PT_CONTAINER_OF(mail, struct relay_callout, mail);

    q->answered(q);
}

static void fill(struct policy_recipient *out, enum policy_recipient_said said, bool remembered,
                 uint16_t code, struct str words)
{
    *out =
        (struct policy_recipient){ .said = (uint8_t)said, .remembered = remembered, .code = code };
    words = str_head(words, sizeof out->words - 1);
    while (words.n && !str_is_utf8(words))
        words.n--; /* not in the middle of a character */
    if (words.n)
        memcpy(out->words, words.p, words.n);
}

static void tell(struct callout_entry *e, const struct policy_recipient *answer)
{
    while (e->waiters) {
        struct relay_callout *q = e->waiters;

        e->waiters = q->next;
        *q->answer = *answer;
        net_loop_post(q->home, &q->mail);
    }
}

static void fill_remembered(const struct callout_entry *e, struct policy_recipient *out)
{
    fill(out, (enum policy_recipient_said)e->said, true, e->code, str_of(e->words));
}

static void no_longer_asked(struct relay_callouts *c, struct callout_entry *e)
{
    e->dest->waiting--;
    c->waiting--;
    e->dest = NULL;
}

static void remember(struct relay *r, struct callout_entry *e, enum policy_recipient_said said,
                     uint16_t code, struct str words)
{
    struct relay_callouts *c = r->callouts;
    bool taken = said == POLICY_RECIPIENT_TAKEN;

    c->octets -= e->words ? strlen(e->words) + 1 : 0;
    e->size -= e->words ? strlen(e->words) + 1 : 0;
    free(e->words);
    e->words = taken ? NULL : str_dup(str_head(words, KEPT_WORDS));
    c->octets += e->words ? strlen(e->words) + 1 : 0;
    e->size += e->words ? strlen(e->words) + 1 : 0;
    e->said = (uint8_t)said;
    e->code = code;
    e->until_us = relay_now(r) + (taken ? c->taken_us : c->refused_us);
    link_newest(c, e);
    make_room(c, 0);
}

void callout_answer(struct relay *r, struct callout_entry *e, enum policy_recipient_said said,
                    uint16_t code, struct str words)
{
    struct relay_callouts *c = r->callouts;
    struct policy_recipient answer;

    fill(&answer, said, false, code, words);
    no_longer_asked(c, e);
    if (said != POLICY_RECIPIENT_UNTOLD) {
        tell(e, &answer);
        remember(r, e, said, code, words);
    } else if (e->said == POLICY_RECIPIENT_TAKEN) {
        fill_remembered(e, &answer); /* it was true once, and is asked again next time */
        tell(e, &answer);
        link_newest(c, e);
    } else {
        tell(e, &answer);
        forget(c, e);
    }
}

void callout_release(struct relay *r, struct callout_entry *e, struct str why)
{
    struct policy_recipient answer;

    if (e->said == POLICY_RECIPIENT_TAKEN)
        fill_remembered(e, &answer);
    else
        fill(&answer, POLICY_RECIPIENT_UNTOLD, false, 0, why);
    tell(e, &answer);
}

/* ---- destinations ---- */

static unsigned loop_for(struct relay *r, uint32_t hash)
{
    for (unsigned i = 0; i < r->config.loops; i++) {
        unsigned loop = (hash + i) % r->config.loops;

        if (atomic_load(&r->loops[loop]))
            return loop;
    }
    return RELAY_LOOPS_MAX;
}

/* By today's routes; NULL with the reason. */
static struct callout_dest *dest_for(struct relay *r, const struct settings *s, struct str domain,
                                     const char **why)
{
    struct relay_callouts *c = r->callouts;
    const struct settings_route *route = settings_route_for(s, domain);
    struct relay_dest *rd = route ? relay_dest_of_table(&c->dests, route, domain) : NULL;
    struct callout_dest *d = rd ? rd->callouts : NULL;
    unsigned loop;

    *why = route ? "out of memory" : "no route leads there";
    if (!rd || d)
        return d;
    loop = loop_for(r, rd->hash);
    d = loop < RELAY_LOOPS_MAX ? calloc(1, sizeof *d) : NULL;
    if (!d) {
        relay_dest_free(&c->dests, rd);
        return NULL;
    }
    d->d = rd;
    d->loop = loop;
    d->next = c->of_loop[loop];
    if (d->next)
        d->next->prev = d;
    c->of_loop[loop] = d;
    rd->callouts = d;
    return d;
}

bool callout_free_if_unused(struct relay *r, struct callout_dest *d, int64_t now_ns)
{
    struct relay_callouts *c = r->callouts;

    if (d->waiting || d->connections || d->rest_until_ns > now_ns)
        return false;
    *(d->prev ? &d->prev->next : &c->of_loop[d->loop]) = d->next;
    if (d->next)
        d->next->prev = d->prev;
    relay_dest_free(&c->dests, d->d);
    free(d);
    return true;
}

struct callout_entry *callout_take(struct callout_dest *d)
{
    struct callout_entry *e = d->first;

    if (!e)
        return NULL;
    d->first = e->queue_next;
    if (!d->first)
        d->last = NULL;
    e->queue_next = NULL;
    d->queued--;
    return e;
}

static void enqueue(struct callout_dest *d, struct callout_entry *e)
{
    *(d->last ? &d->last->queue_next : &d->first) = e;
    d->last = e;
    d->queued++;
}

void callout_put_back(struct callout_entry *e)
{
    struct callout_dest *d = e->dest;

    e->queue_next = d->first;
    d->first = e;
    if (!d->last)
        d->last = e;
    d->queued++;
}

void callout_rest(struct relay *r, struct callout_dest *d, struct str why, int64_t now_ns)
{
    struct callout_entry *e;
    struct policy_recipient room;

    fill(&room, POLICY_RECIPIENT_UNTOLD, false, 0, why);
    memcpy(d->reason, room.words, sizeof d->reason);
    d->rest_until_ns = now_ns + REST_S * INT64_C(1000000000);
    while ((e = callout_take(d)))
        callout_answer(r, e, POLICY_RECIPIENT_UNTOLD, 0, str_of(d->reason));
}

/* ---- questions ---- */

/* The domain in lower case; the local part is the next hop's affair. */
static struct str normalised(struct str recipient, struct str domain, struct buf *room)
{
    buf_add_str(room, str_head(recipient, recipient.n - domain.n));
    for (size_t i = 0; i < domain.n; i++)
        buf_add_char(room, ascii_lower(domain.p[i]));
    return buf_str(room);
}

static bool untold(struct relay_callout *q, struct str why)
{
    fill(q->answer, POLICY_RECIPIENT_UNTOLD, false, 0, why);
    return true;
}

/* Begins to ask about it, new or grown old. */
static void begin(struct relay_callouts *c, struct callout_dest *d, struct callout_entry *e)
{
    if (e->said)
        unlink_lru(c, e);
    e->dest = d;
    e->since_ns = clock_mono_ns();
    enqueue(d, e);
    d->waiting++;
    c->waiting++;
    c->counts.asked++;
}

/* From memory, or that nobody is asked now. False: it is to be asked about. */
static bool answer_now(struct relay *r, struct relay_callout *q, struct callout_dest *d,
                       struct callout_entry *e)
{
    struct relay_callouts *c = r->callouts;
    bool rests = d->rest_until_ns > clock_mono_ns();
    bool fresh = e && !e->dest && e->until_us > relay_now(r);

    if (e && e->dest)
        return false;
    /* A refusal that has grown old is none while nobody answers. */
    if (fresh || (rests && e && e->said == POLICY_RECIPIENT_TAKEN)) {
        fill_remembered(e, q->answer);
        c->counts.remembered++;
        unlink_lru(c, e);
        link_newest(c, e);
        return true;
    }
    return rests && untold(q, str_of(d->reason));
}

/* Under the lock. True: answered. */
static bool ask(struct relay *r, struct relay_callout *q, struct str recipient,
                struct callout_dest *d)
{
    struct relay_callouts *c = r->callouts;
    uint64_t dest_hash = str_hash_nocase(str_of(d->d->key)), hash = str_hash_nocase(recipient);
    struct callout_entry *e = find(c, recipient, hash, dest_hash);

    if (answer_now(r, q, d, e))
        return true;
    if (!e || !e->dest) {
        if (d->waiting >= CALLOUT_WAITING_DEST_MAX || c->waiting >= CALLOUT_WAITING_MAX)
            return untold(q, STR("too many recipients are being asked about"));
        if (!e)
            e = entry_new(c, recipient, hash, dest_hash);
        if (!e)
            return untold(q, STR("out of memory"));
        begin(c, d, e);
    }
    q->mail.run = on_mail;
    q->next = e->waiters;
    e->waiters = q;
    return false;
}

/* With its domain as the routes have it. */
static bool ask_about(struct relay *r, struct relay_callout *q, const struct settings *s,
                      struct str recipient, struct str domain)
{
    struct relay_callouts *c = r->callouts;
    struct callout_dest *d;
    unsigned loop = 0;
    bool answered = true;
    const char *why = "out of memory";

    pthread_mutex_lock(&c->lock);
    atomic_store(&c->timeout_ns,
                 s->message_rules.recipient_check_timeout_seconds * INT64_C(1000000000));
    c->taken_us = s->message_rules.recipient_check_taken_minutes * INT64_C(60000000);
    c->refused_us = s->message_rules.recipient_check_refused_minutes * INT64_C(60000000);
    if (!c->buckets)
        c->buckets = calloc(CALLOUT_BUCKETS, sizeof(struct callout_entry *));
    d = c->buckets ? dest_for(r, s, domain, &why) : NULL;
    if (d)
        loop = d->loop;
    answered = d ? ask(r, q, recipient, d) : untold(q, str_of(why));
    pthread_mutex_unlock(&c->lock);
    if (!answered)
        relay_wake_loops(r, UINT64_C(1) << loop);
    return answered;
}

bool relay_callout_ask(struct relay *r, struct relay_callout *q)
{
    char name[SETTINGS_DOMAIN_SIZE];
    struct str local, domain, recipient;
    const struct settings *s;
    struct buf room;
    bool answered;

    if (atomic_load_explicit(&r->stopping, memory_order_acquire) ||
        !policy_address_split(q->recipient, &local, &domain))
        return untold(q, STR("it cannot be asked about now"));
    buf_init(&room, 2048);
    recipient = normalised(q->recipient, domain, &room);
    domain = str_from(recipient, recipient.n - PT_MIN(recipient.n, domain.n));
    if (settings_domain_normalise(domain, name))
        domain = str_of(name);
    relay_lock(r);
    s = settings_ref(r->sched.settings);
    relay_unlock(r);
    answered =
        room.failed ? untold(q, STR("out of memory")) : ask_about(r, q, s, recipient, domain);
    settings_unref(s);
    buf_done(&room);
    return answered;
}

void relay_callout_get_stats(struct relay *r, struct relay_callout_stats *out)
{
    struct relay_callouts *c = r->callouts;

    pthread_mutex_lock(&c->lock);
    *out = c->counts;
    out->waiting = c->waiting;
    out->entries = c->entries;
    out->octets = c->octets;
    pthread_mutex_unlock(&c->lock);
}
