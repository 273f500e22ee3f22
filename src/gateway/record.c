#include "gateway/record.h"

#include "base/clock.h"
#include "base/rng.h"
#include "gateway/loop.h"
#include "gateway/session.h"

enum { HAND_OVER_MS = 1000, AGAIN_MS = 100 };

#define REF_MASK ((UINT64_C(1) << 40) - 1)

/* ---- references ---- */

static void set_ref(struct gateway_loop *l, uint64_t ref)
{
    static const char before[] = " [ref ";
    size_t n = sizeof before - 1;

    l->next_ref = ref;
    memcpy(l->ref_tail, before, n);
    policy_ref_format(ref, l->ref_tail + n);
    n += POLICY_REF_SIZE - 1;
    l->ref_tail[n++] = ']';
    l->config.refusal_tail = (struct str){ l->ref_tail, n };
}

/* Without tracking each loop counts in steps of its own from a random start, so that no two
 * refusals of a run have the same. */
static uint64_t first_ref(const struct gateway_loop *l)
{
    struct rng rng;
    uint64_t steps = l->gateway->loops_max;

    if (l->gateway->tracking)
        return tracking_next_ref(l->gateway->tracking);
    rng_seed_from_system(&rng);
    return rng_below(&rng, (UINT64_C(1) << 40) / steps) * steps + net_loop_index(l->loop);
}

static void use_up_ref(struct gateway_loop *l)
{
    set_ref(l, l->gateway->tracking ? tracking_next_ref(l->gateway->tracking)
                                    : (l->next_ref + l->gateway->loops_max) & REF_MASK);
}

const struct smtp_reply *record_words(const struct gateway_loop *l, const struct smtp_reply *reply,
                                      struct record_words *room)
{
    struct str tail = l->config.refusal_tail;
    size_t n = PT_MIN(reply->text.n, sizeof room->text - tail.n);

    memcpy(room->text, reply->text.p, n);
    memcpy(room->text + n, tail.p, tail.n);
    room->reply = *reply;
    room->reply.text = (struct str){ room->text, n + tail.n };
    return &room->reply;
}

/* ---- handing over: within a second or so ---- */

static void on_hand_over(struct net_timer *timer)
{
    struct gateway_loop *l = PT_CONTAINER_OF(timer, struct gateway_loop, record);

    l->recording = !tracking_feed_hand_over(l->feed);
    if (l->recording)
        net_timer_start(timer, AGAIN_MS * INT64_C(1000000));
}

static void recorded(struct gateway_loop *l)
{
    if (l->recording || !l->feed)
        return;
    l->recording = true;
    net_timer_start(&l->record, HAND_OVER_MS * INT64_C(1000000));
}

void record_init(struct gateway_loop *l)
{
    l->feed = tracking_feed_new(l->gateway->tracking);
    net_timer_init(&l->record, l->loop, on_hand_over);
    set_ref(l, first_ref(l));
}

void record_done(struct gateway_loop *l)
{
    net_timer_stop(&l->record);
    tracking_feed_free(l->feed);
}

/* ---- clients ---- */

static struct str domain_of(struct str address)
{
    size_t at = address.n;

    while (at > 0 && address.p[at - 1] != '@')
        at--;
    return at > 0 ? str_from(address, at) : STR_NULL;
}

static struct tracking_client *client_of(struct gateway_loop *l, const struct net_addr *client)
{
    struct tracking_client *c = tracking_feed_client(l->feed, client, clock_wall_us());

    recorded(l);
    return c;
}

/* A longer name than there is room for is cut: it is for people, nothing is decided by it. */
static void set_helo(struct tracking_client *c, const struct session *s)
{
    struct str helo = smtp_server_helo(&s->smtp);

    if (helo.n)
        tracking_text(c->helo, sizeof c->helo, helo);
}

void record_connected(struct gateway_loop *l, const struct net_addr *client)
{
    struct tracking_client *c = client_of(l, client);

    if (c)
        c->connections++;
}

void record_helo(const struct session *s)
{
    struct tracking_client *c = client_of(s->loop, &s->client.addr);

    if (c)
        set_helo(c, s);
}

void record_mail(const struct session *s, struct str reverse_path)
{
    struct tracking_client *c = client_of(s->loop, &s->client.addr);

    if (!c)
        return;
    c->mail = true;
    c->tls = smtp_server_tls(&s->smtp);
    tracking_add_name(c->senders, &c->sender_count, TRACKING_SENDERS, domain_of(reverse_path));
}

void record_rcpt(const struct session *s, struct str address)
{
    struct tracking_client *c = client_of(s->loop, &s->client.addr);

    if (c)
        tracking_add_name(c->recipients, &c->recipient_count, TRACKING_RECIPIENTS,
                          domain_of(address));
}

void record_message(const struct session *s, uint64_t size, uint32_t recipients)
{
    struct tracking_client *c = client_of(s->loop, &s->client.addr);

    if (!c)
        return;
    c->messages++;
    c->code = 0;
    c->messages_max = PT_MAX(c->messages_max, s->messages);
    c->recipients_max = PT_MAX(c->recipients_max, recipients);
    c->size_max = PT_MAX(c->size_max, size);
}

/* ---- refusals ---- */

/* The list and the entry as they are now: tomorrow they may be others. */
static void set_entry(struct tracking_refusal *t, const struct record_refusal *r)
{
    char room[SETTINGS_ENTRY_SIZE];
    const struct policy_verdict *v = r->verdict;
    const char *entry, *comment;

    if (!v || !r->snapshot)
        return;
    entry = policy_entry_text(r->snapshot, v->list, v->entry, room);
    comment = policy_entry_comment(r->snapshot, v->list, v->entry);
    t->revision = policy_snapshot_settings(r->snapshot)->revision;
    tracking_text(t->list, sizeof t->list, str_of(policy_list_name(v->list)));
    tracking_text(t->entry, sizeof t->entry, str_of(entry));
    tracking_text(t->comment, sizeof t->comment, str_of(comment));
}

static void set_session(struct tracking_refusal *t, const struct session *s)
{
    t->tls = smtp_server_tls(&s->smtp);
    tracking_text(t->helo, sizeof t->helo, smtp_server_helo(&s->smtp));
}

static const char *step_of(const struct record_refusal *r)
{
    return r->verdict ? policy_rule_name(r->verdict->rule) : r->step;
}

static void keep(struct gateway_loop *l, const struct record_refusal *r)
{
    int64_t now_us = clock_wall_us();
    struct tracking_refusal *t = tracking_feed_refusal(l->feed, &r->client->addr, now_us);

    if (!t)
        return;
    t->ref = l->next_ref;
    t->time_us = now_us;
    t->client = *r->client;
    t->code = r->reply->code;
    set_entry(t, r);
    tracking_text(t->step, sizeof t->step, str_of(step_of(r)));
    tracking_text(t->command, sizeof t->command, str_of(r->command));
    tracking_text(t->reply, sizeof t->reply, r->reply->text);
    tracking_text(t->sender, sizeof t->sender, r->sender);
    tracking_text(t->recipient, sizeof t->recipient, r->recipient);
    if (r->session)
        set_session(t, r->session);
}

void record_refusal(struct gateway_loop *l, const struct record_refusal *r)
{
    struct tracking_client *c = client_of(l, &r->client->addr);

    if (c) {
        c->refusals++;
        c->code = r->reply->code;
        tracking_text(c->step, sizeof c->step, str_of(step_of(r)));
        if (r->session)
            set_helo(c, r->session);
    }
    keep(l, r);
    use_up_ref(l);
}
