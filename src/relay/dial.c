#include "relay/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/connection.h"
#include "relay/ourselves.h"

enum { CANDIDATES_MAX = 64, SMTP_PORT = 25, FAMILY_MS = 500 };
/* A next hop that failed is avoided for a minute; one that kept us waiting, for longer than it did,
 * lest every new connection waits for it again. */
static const int64_t avoid_us = 60 * 1000000, avoid_silent_us = 900 * 1000000;

struct relay_question {
    struct net_query query;
    struct relay_loop *rl;
    struct relay_conn *conn; /* NULL: nobody waits any more */
    uint16_t port;
    bool mx;
};

/* ---- candidates ---- */

static void note(struct relay_conn *conn, const char *fmt, ...) PT_PRINTF(2, 3);
static void note(struct relay_conn *conn, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(conn->reason, sizeof conn->reason, fmt, args);
    va_end(args);
}

/* From an address of the other family nothing can be reached. */
static bool can_reach(struct relay_conn *conn, const struct net_addr *addr, const char *host)
{
    const struct net_addr *source = &conn->dest->source;
    char from[NET_ADDR_SIZE], to[NET_ADDR_SIZE];

    if (source->family == NET_NONE || source->family == addr->family)
        return true;
    net_addr_format(source, from);
    net_addr_format(addr, to);
    note(conn, "4.4.4 %s (%s): an IPv%u address cannot be reached from the route's source %s", host,
         to, (unsigned)addr->family, from);
    return false;
}

static bool is_circle(struct relay_conn *conn, const struct net_addr *addr, uint16_t port,
                      const char *host)
{
    struct relay_ourselves us;

    relay_ourselves(conn->rl->relay, &us);
    if (!relay_is_ourselves(&us, &(struct net_endpoint){ *addr, port }, NULL))
        return false;
    note(conn, "4.4.6 %s: this is the gateway itself, mail would go in circles", host);
    return true;
}

static void add(struct relay_conn *conn, const struct net_addr *addr, uint16_t port,
                const char *host)
{
    struct relay_dial *dial = &conn->dial;
    struct relay_candidate *c;

    if (!can_reach(conn, addr, host) || is_circle(conn, addr, port, host))
        return;
    if (dial->count == dial->room) {
        uint32_t room = dial->room ? dial->room * 2 : 4;
        struct relay_candidate *more;

        if (room > CANDIDATES_MAX)
            return;
        more = realloc(dial->list, room * sizeof *more);
        if (!more)
            return;
        dial->list = more;
        dial->room = room;
    }
    c = &dial->list[dial->count];
    *c = (struct relay_candidate){ .endpoint = { *addr, port },
                                   .hop = dial->hop,
                                   .host = str_dup(str_of(host)) };
    c->hash = relay_endpoint_hash(&c->endpoint);
    if (c->host)
        dial->count++;
}

/* Where we are one of the mail exchangers, only better ones are asked. False: we are the best. */
static bool leave_us_out(struct relay_conn *conn, struct net_query *q)
{
    struct relay_ourselves us;
    uint32_t count;

    relay_ourselves(conn->rl->relay, &us);
    count = relay_targets_before_us(&us, q->targets, q->target_count);
    if (count == 0 && q->target_count)
        note(conn, "5.4.6 mail for %s would go in circles: its mail exchanger %s is this gateway",
             conn->dest->domain, q->targets[0].host);
    else
        q->target_count = count;
    return count || !q->target_count;
}

static void on_answer(struct net_query *q)
{
    struct relay_question *question = PT_CONTAINER_OF(q, struct relay_question, query);
    struct relay_loop *rl = question->rl;
    struct relay_conn *conn = question->conn;

    rl->jobs--;
    if (conn) {
        bool circle = question->mx && q->result == PT_ERR_OK && !leave_us_out(conn, q);

        conn->dial.question = NULL;
        for (uint32_t i = 0; !circle && q->result == PT_ERR_OK && i < q->target_count; i++)
            add(conn, &q->targets[i].addr, question->port, q->targets[i].host);
        if (q->result != PT_ERR_OK)
            note(conn, "4.4.3 %s", q->reason[0] ? q->reason : "the name cannot be resolved");
        if (question->mx && q->null_mx)
            relay_conn_hopeless(conn, "5.1.10 the domain accepts no mail (null MX)");
        else if (question->mx && q->result == PT_ERR_NOTFOUND)
            relay_conn_hopeless(conn, "5.1.2 there is no such domain, or no host takes its mail");
        else if (circle)
            relay_conn_hopeless(conn, conn->reason);
        else
            relay_dial_next(conn);
    }
    net_query_clear(q);
    free(question);
    relay_loop_check_stopped(rl);
}

static void ask(struct relay_conn *conn, enum net_query_kind kind, const char *name, uint16_t port)
{
    struct relay_loop *rl = conn->rl;
    struct net_resolver *resolver = rl->relay->config.resolver;
    struct relay_question *question = resolver ? calloc(1, sizeof *question) : NULL;

    if (!question) {
        note(conn, "4.4.3 %s cannot be looked up now", name);
        return;
    }
    question->rl = rl;
    question->conn = conn;
    question->port = port;
    question->mx = kind == NET_QUERY_MX;
    question->query.reply_to = rl->loop;
    question->query.kind = kind;
    question->query.done = on_answer;
    snprintf(question->query.name, sizeof question->query.name, "%s", name);
    conn->dial.question = question;
    rl->jobs++;
    net_resolve(resolver, &question->query);
}

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 4.1.3). */
static bool parse_literal(struct str domain, struct net_addr *out)
{
    if (domain.n < 3 || domain.p[0] != '[' || domain.p[domain.n - 1] != ']')
        return false;
    domain = (struct str){ domain.p + 1, domain.n - 2 };
    if (str_starts_nocase(domain, STR("IPv6:")))
        domain = str_from(domain, 5);
    return net_addr_parse(domain, out);
}

/* In which order the hops are tried is decided when the first is. */
static const struct relay_hop *next_hop(struct relay_conn *conn)
{
    struct relay_dial *dial = &conn->dial;
    struct relay *r = conn->rl->relay;

    if (!dial->ranked) {
        int64_t now_us = relay_now(r);

        relay_lock(r);
        relay_dest_rank(conn->dest, now_us, dial->rank);
        relay_unlock(r);
        dial->ranked = true;
    }
    dial->hop = dial->rank[dial->next_hop++];
    dial->looked_up = dial->next_hop == conn->dest->hop_count;
    return &conn->dest->hops[dial->hop];
}

/* Adds candidates for the next hop that was not looked up, or asks for them. */
static void look_up(struct relay_conn *conn)
{
    struct relay_dial *dial = &conn->dial;
    const struct relay_dest *d = conn->dest;
    struct net_addr addr;

    if (d->kind == RELAY_DEST_HOPS && dial->next_hop < d->hop_count) {
        const struct relay_hop *hop = next_hop(conn);

        if (net_addr_parse(str_of(hop->host), &addr))
            add(conn, &addr, hop->port, hop->host);
        else
            ask(conn, NET_QUERY_ADDRESSES, hop->host, hop->port);
        return;
    }
    dial->looked_up = true;
    if (d->kind == RELAY_DEST_NO_ROUTE)
        note(conn, "4.4.4 no route leads to %s", d->domain[0] ? d->domain : "this recipient");
    else if (d->kind == RELAY_DEST_MX && parse_literal(str_of(d->domain), &addr))
        add(conn, &addr, SMTP_PORT, d->domain);
    else if (d->kind == RELAY_DEST_MX)
        ask(conn, NET_QUERY_MX, d->domain, SMTP_PORT);
}

static bool failed_lately(struct relay_conn *conn, const struct relay_candidate *c)
{
    struct relay *r = conn->rl->relay;
    int64_t now_us = relay_now(r);
    bool bad;

    relay_lock(r);
    bad = relay_dest_is_bad(conn->dest, c->hash, now_us);
    relay_unlock(r);
    return bad;
}

/* The next to try among those at hand, or NULL. */
static struct relay_candidate *choose(struct relay_conn *conn)
{
    struct relay_dial *dial = &conn->dial;

    for (uint32_t i = 0; dial->prefer && i < dial->count; i++) {
        struct relay_candidate *c = &dial->list[i];

        if (c->hash == dial->prefer && !c->tried) {
            dial->prefer = 0;
            return c;
        }
    }
    for (uint32_t i = 0; i < dial->count; i++) {
        struct relay_candidate *c = &dial->list[i];

        if (c->tried || c->hurried || (c->skipped && !dial->second))
            continue;
        if (!dial->second && failed_lately(conn, c)) {
            c->skipped = true;
            continue;
        }
        return c;
    }
    for (uint32_t i = 0; dial->second && i < dial->count; i++)
        if (!dial->list[i].tried)
            return &dial->list[i];
    return NULL;
}

bool relay_dial_has_more(const struct relay_conn *conn)
{
    const struct relay_dial *dial = &conn->dial;

    for (uint32_t i = 0; i < dial->count; i++)
        if (!dial->list[i].tried)
            return true;
    return !dial->looked_up;
}

void relay_dial_leave_host(struct relay_conn *conn)
{
    struct relay_dial *dial = &conn->dial;

    for (uint32_t i = 0; i < dial->count; i++)
        dial->list[i].tried |= strcmp(dial->list[i].host, conn->host) == 0;
}

void relay_dial_mark(struct relay_conn *conn, bool bad)
{
    struct relay *r = conn->rl->relay;
    int64_t now_us = relay_now(r);

    if (!conn->host)
        return;
    relay_lock(r);
    if (bad) {
        int64_t until_us = now_us + (conn->timed_out ? avoid_silent_us : avoid_us);

        relay_dest_mark_bad(conn->dest, conn->endpoint, until_us);
        relay_dest_hop_down(conn->dest, conn->hop, until_us);
    } else {
        relay_dest_mark_good(conn->dest, conn->endpoint);
        relay_dest_hop_down(conn->dest, conn->hop, 0);
    }
    relay_unlock(r);
}

/* ---- connecting ---- */

void relay_dial_name(const struct relay_conn *conn, char out[RELAY_DIAL_NAME_SIZE])
{
    bool literal = strncmp(conn->peer, conn->host, strlen(conn->host)) == 0;

    if (literal)
        snprintf(out, RELAY_DIAL_NAME_SIZE, "%s", conn->peer);
    else
        snprintf(out, RELAY_DIAL_NAME_SIZE, "%s (%s)", conn->host, conn->peer);
}

static void failed(struct relay_conn *conn, const char *what)
{
    char name[RELAY_DIAL_NAME_SIZE];

    relay_dial_name(conn, name);
    note(conn, "4.4.1 %s: %s", name, what);
    net_watch_close(&conn->watch);
    net_stream_close(&conn->stream);
    relay_count(&conn->rl->relay->counters.connect_failures, 1);
    relay_dial_mark(conn, true);
}

static void on_connecting(struct net_watch *w, unsigned ready)
{
    struct relay_conn *conn = PT_CONTAINER_OF(w, struct relay_conn, watch);

    (void)ready;
    relay_dial_connected(conn);
}

/* Nothing that the next hop is to blame for. */
static void no_socket(struct relay_conn *conn, int sys_errno)
{
    char source[NET_ADDR_SIZE];

    if (sys_errno != EADDRNOTAVAIL) {
        note(conn, "4.3.2 no connection can be made now: %s", strerrordesc_np(sys_errno));
        return;
    }
    net_addr_format(&conn->dest->source, source);
    note(conn, "4.3.5 the route's source %s is not an address of this host any more", source);
}

/* Does its host have an address of the other family that was not tried? */
static bool has_other_family(const struct relay_dial *dial, const struct relay_candidate *c)
{
    for (uint32_t i = 0; i < dial->count; i++) {
        const struct relay_candidate *other = &dial->list[i];

        if (!other->tried && !other->hurried && strcmp(other->host, c->host) == 0 &&
            other->endpoint.addr.family != c->endpoint.addr.family)
            return true;
    }
    return false;
}

/* How long the candidate is waited for, in milliseconds. */
static int64_t patience(struct relay_conn *conn, struct relay_candidate *c)
{
    struct relay_dial *dial = &conn->dial;
    uint32_t connect_ms = conn->rl->relay->config.connect_ms;

    dial->brief = !c->hurried && has_other_family(dial, c) ? c : NULL;
    return dial->brief ? PT_MIN(connect_ms, (uint32_t)FAMILY_MS) : connect_ms;
}

/* Begins to connect; false: it failed at once. */
static bool begin(struct relay_conn *conn, struct relay_candidate *c)
{
    const struct net_addr *source = &conn->dest->source;
    int sys_errno;

    c->tried = true;
    conn->timed_out = false;
    conn->host = c->host;
    conn->endpoint = c->hash;
    relay_conn_on_hop(conn, c->hop);
    net_endpoint_format(&c->endpoint, conn->peer);
    relay_count(&conn->rl->relay->counters.connects, 1);
    sys_errno =
        net_stream_connect(&conn->stream, &c->endpoint, source->family == NET_NONE ? NULL : source);
    if (conn->stream.fd < 0) {
        no_socket(conn, sys_errno);
        return false;
    }
    net_watch_init(&conn->watch, conn->rl->loop, conn->stream.fd, on_connecting);
    if (sys_errno) {
        failed(conn, strerrordesc_np(sys_errno));
        return false;
    }
    net_watch_want(&conn->watch, NET_WRITE);
    relay_conn_set_deadline(conn, patience(conn, c));
    return true;
}

void relay_dial_next(struct relay_conn *conn)
{
    struct relay_dial *dial = &conn->dial;

    for (;;) {
        struct relay_candidate *c;

        /* The preferred endpoint may be behind any of the names. */
        if (!dial->looked_up && dial->prefer)
            c = NULL;
        else
            c = choose(conn);
        if (c) {
            if (begin(conn, c))
                return;
        } else if (!dial->looked_up) {
            look_up(conn);
            if (dial->question)
                return;
        } else if (!dial->second) {
            dial->second = true;
        } else {
            relay_conn_exhausted(conn);
            return;
        }
    }
}

void relay_dial_again(struct relay_conn *conn)
{
    struct relay_dial *dial = &conn->dial;

    for (uint32_t i = 0; i < dial->count; i++)
        if (dial->list[i].host == conn->host && dial->list[i].hash == conn->endpoint &&
            begin(conn, &dial->list[i]))
            return;
    relay_dial_next(conn);
}

void relay_dial_connected(struct relay_conn *conn)
{
    int sys_errno = net_stream_connected(&conn->stream);

    if (sys_errno) {
        failed(conn, strerrordesc_np(sys_errno));
        relay_dial_next(conn);
        return;
    }
    net_watch_want(&conn->watch, 0);
    relay_conn_dialled(conn);
}

void relay_dial_timed_out(struct relay_conn *conn)
{
    if (conn->stream.fd < 0)
        return; /* a question is under way; the resolver has its own limit */
    if (conn->dial.brief) {
        conn->dial.brief->hurried = true;
        conn->dial.brief->tried = false;
    }
    conn->timed_out = true;
    failed(conn, "connection timed out");
    relay_dial_next(conn);
}

void relay_dial_done(struct relay_conn *conn)
{
    struct relay_dial *dial = &conn->dial;

    if (dial->question)
        dial->question->conn = NULL;
    for (uint32_t i = 0; i < dial->count; i++)
        free(dial->list[i].host);
    free(dial->list);
    *dial = (struct relay_dial){ .looked_up = true };
}
