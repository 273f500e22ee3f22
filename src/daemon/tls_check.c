#include "daemon/tls_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/look.h"
#include "daemon/outgoing.h"
#include "daemon/process.h"

enum { PATIENCE_MS = 20000, SMTP_PORT = 25 };

struct check {
    struct process *p;
    const struct settings *s;
    struct relay_clients *clients;
    char host[NET_NAME_SIZE];
    uint16_t port;
    bool given_port;
    struct net_addr source;
    bool lmtp;
    struct look look; /* without insisting */
    struct api_tls_check seen;
    struct api_tls_demand demands[API_TLS_DEMANDS_MAX];
    char address[NET_ENDPOINT_SIZE];
};

/* ---- which next hop ---- */

/* HOST, HOST:PORT, [IPv6] or [IPv6]:PORT, a bare IPv6 address. */
static bool parse(struct check *c, struct str text)
{
    struct net_addr a;
    ptrdiff_t colon = -1;
    struct str host = text;
    uint64_t port = SMTP_PORT;

    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == ':')
            colon = (ptrdiff_t)i;
    if (colon >= 0 && !net_addr_parse(text, &a) && text.p[text.n - 1] != ']') {
        host = str_head(text, (size_t)colon);
        c->given_port = true;
        if (!str_to_u64(str_from(text, (size_t)colon + 1), &port) || port == 0 || port > UINT16_MAX)
            return false;
    }
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){ host.p + 1, host.n - 2 };
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n == 0 || host.n >= sizeof c->host)
        return false;
    memcpy(c->host, host.p, host.n);
    c->port = (uint16_t)port;
    return net_addr_parse(host, &a) || settings_domain_normalise(host, c->host);
}

struct question {
    struct net_query query;
    bool answered;
};

static void on_answer(struct net_query *q)
{
    PT_CONTAINER_OF(q, struct question, query)->answered = true;
}

/* On a loop of its own: a job thread has none. */
static enum pt_err resolve(struct check *c, struct question *q, struct pt_fault *fault)
{
    struct net_resolver *resolver = c->p->control.resolver;
    struct net_loop *loop = resolver ? net_loop_new(0) : NULL;

    if (!loop)
        return pt_fault_set(fault, PT_ERR_AGAIN, "%s cannot be looked up now", c->host);
    q->query.reply_to = loop;
    q->query.kind = NET_QUERY_ADDRESSES;
    q->query.done = on_answer;
    snprintf(q->query.name, sizeof q->query.name, "%s", c->host);
    net_resolve(resolver, &q->query);
    while (!q->answered)
        net_loop_turn(loop, -1);
    net_loop_free(loop);
    if (q->query.result == PT_ERR_OK)
        return PT_ERR_OK;
    return pt_fault_set(fault, PT_ERR_NOTFOUND, "%s: %s", c->host, q->query.reason);
}

/* ---- looking ---- */

static void look_with(const struct check *c, struct look *l, struct tls_client *client)
{
    *l = (struct look){ .to = c->look.to,
                        .source = c->source,
                        .lmtp = c->lmtp,
                        .hostname = str_of(c->s->identity.hostname),
                        .name = str_of(c->host),
                        .client = client,
                        .patience_ms = PATIENCE_MS };
    look_at(l);
}

/* At the first address that answers. */
static void look_around(struct check *c, const struct net_addr *addresses, uint32_t count)
{
    struct tls_client *any = relay_clients_find(c->clients, SETTINGS_ROUTE_TLS_OPPORTUNISTIC, NULL);

    for (uint32_t i = 0; i < count && !c->look.greeted; i++) {
        c->look.to = (struct net_endpoint){ addresses[i], c->port };
        look_with(c, &c->look, any);
    }
    net_endpoint_format(&c->look.to, c->address);
}

static enum pt_err look_at_host(struct check *c, struct pt_fault *fault)
{
    struct net_addr found[NET_TARGETS_MAX];
    struct question *q;
    enum pt_err err;

    if (net_addr_parse(str_of(c->host), &found[0])) {
        look_around(c, found, 1);
        return PT_ERR_OK;
    }
    q = calloc(1, sizeof *q);
    if (!q)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    err = resolve(c, q, fault);
    for (uint32_t i = 0; err == PT_ERR_OK && i < q->query.target_count; i++)
        found[i] = q->query.targets[i].addr;
    if (err == PT_ERR_OK)
        look_around(c, found, q->query.target_count);
    net_query_clear(&q->query);
    free(q);
    return err;
}

/* ---- which demands apply, and whether they are met ---- */

static const char *const names[] = {
    [SETTINGS_ROUTE_TLS_NONE] = "none",
    [SETTINGS_ROUTE_TLS_OPPORTUNISTIC] = "opportunistic",
    [SETTINGS_ROUTE_TLS_ENCRYPT] = "encrypt",
    [SETTINGS_ROUTE_TLS_VERIFY] = "verify",
};

static enum settings_route_tls demand_of(const struct settings *s, const struct settings_route *r)
{
    if (r && r->tls != SETTINGS_ROUTE_TLS_DEFAULT)
        return r->tls;
    return s->tls.outgoing ? SETTINGS_ROUTE_TLS_OPPORTUNISTIC : SETTINGS_ROUTE_TLS_NONE;
}

/* The same handshake as a delivery's. */
static void verify(struct check *c, struct api_tls_demand *d)
{
    struct tls_client *strict = relay_clients_find(c->clients, SETTINGS_ROUTE_TLS_VERIFY, d->ca);
    struct look l;

    if (!strict) {
        snprintf(d->detail, sizeof d->detail, "the CA %s cannot be read: upload it once more",
                 d->ca);
        return;
    }
    look_with(c, &l, strict);
    d->met = l.secured;
    snprintf(d->detail, sizeof d->detail, "%s",
             l.secured ? "the chain and the name verify" : l.error);
    look_done(&l);
}

static void judge(struct check *c, struct api_tls_demand *d, enum settings_route_tls demand)
{
    const struct look *l = &c->look;

    if (!l->greeted) {
        snprintf(d->detail, sizeof d->detail, "there is no session: nothing would be sent");
    } else if (demand == SETTINGS_ROUTE_TLS_NONE) {
        d->met = true;
        snprintf(d->detail, sizeof d->detail, "mail is sent in clear, TLS is not used");
    } else if (demand == SETTINGS_ROUTE_TLS_OPPORTUNISTIC) {
        d->met = true;
        snprintf(d->detail, sizeof d->detail, "%s",
                 l->secured    ? "mail is sent over TLS, whoever it may be"
                 : l->starttls ? "TLS fails: mail is sent in clear"
                               : "STARTTLS is not offered: mail is sent in clear");
    } else if (!l->secured) {
        snprintf(d->detail, sizeof d->detail, "mail waits: %s", l->error);
    } else if (demand == SETTINGS_ROUTE_TLS_ENCRYPT) {
        d->met = true;
        snprintf(d->detail, sizeof d->detail, "mail is sent over TLS, whoever it may be");
    } else {
        verify(c, d);
    }
}

static void add_demand(struct check *c, const struct settings_route *r)
{
    enum settings_route_tls demand = demand_of(c->s, r);
    struct api_tls_demand *d;

    if (c->seen.demand_count == API_TLS_DEMANDS_MAX)
        return;
    d = &c->demands[c->seen.demand_count++];
    *d = (struct api_tls_demand){ .domain = r ? r->domain : NULL,
                                  .tls = names[demand],
                                  .ca = r ? r->ca : NULL };
    judge(c, d, demand);
}

static bool leads_to(const struct check *c, const struct settings_route *r)
{
    for (uint32_t i = 0; i < r->next_hop_count; i++)
        if (str_eq_nocase(str_of(r->next_hops[i].host), str_of(c->host)) &&
            (r->next_hops[i].port == c->port || !c->given_port))
            return true;
    return false;
}

/* The port that routes name for the host, where none was given. */
static void choose_port(struct check *c)
{
    for (uint32_t i = 0; !c->given_port && i < c->s->route_count; i++)
        for (uint32_t k = 0; k < c->s->routes[i].next_hop_count; k++)
            if (str_eq_nocase(str_of(c->s->routes[i].next_hops[k].host), str_of(c->host))) {
                c->port = c->s->routes[i].next_hops[k].port;
                c->given_port = true;
                break;
            }
}

/* As the first route connects that leads there. */
static void choose_manner(struct check *c, struct str domain)
{
    const struct settings *s = c->s;
    const struct settings_route *r = domain.n ? settings_route_for(s, domain) : NULL;

    for (uint32_t i = 0; !r && !domain.n && i < s->route_count; i++)
        if (leads_to(c, &s->routes[i]))
            r = &s->routes[i];
    if (r) {
        c->source = r->source;
        c->lmtp = r->lmtp;
    }
}

/* With a domain, its route's. Otherwise those of the routes that name the next hop; of none, those
 * of the routes by MX; of none of these either, what holds where a route says nothing. */
static void add_demands(struct check *c, struct str domain)
{
    const struct settings *s = c->s;

    if (domain.n && settings_route_for(s, domain)) {
        add_demand(c, settings_route_for(s, domain));
        return;
    }
    if (domain.n) {
        c->demands[0] = (struct api_tls_demand){ .tls = "none" };
        snprintf(c->demands[0].detail, sizeof c->demands[0].detail,
                 "no route leads to %.*s: its mail waits", STR_FMT(str_head(domain, 255)));
        c->seen.demand_count = 1;
        return;
    }
    for (uint32_t i = 0; i < s->route_count; i++)
        if (leads_to(c, &s->routes[i]))
            add_demand(c, &s->routes[i]);
    for (uint32_t i = 0, none = !c->seen.demand_count; none && i < s->route_count; i++)
        if (s->routes[i].via == SETTINGS_VIA_MX)
            add_demand(c, &s->routes[i]);
    if (!c->seen.demand_count)
        add_demand(c, NULL);
}

/* ---- all of it ---- */

static enum pt_err run(struct check *c, struct str domain, struct pt_fault *fault)
{
    const struct look *l = &c->look;
    enum pt_err err;

    choose_port(c);
    choose_manner(c, domain);
    err = look_at_host(c, fault);
    if (err != PT_ERR_OK)
        return err;
    add_demands(c, domain);
    c->seen.host = c->host;
    c->seen.port = c->port;
    c->seen.address = c->address;
    c->seen.connected = l->greeted;
    c->seen.starttls = l->starttls;
    c->seen.secured = l->secured;
    c->seen.verified = l->verified;
    c->seen.version = l->version;
    c->seen.cipher = l->cipher;
    c->seen.unverified = l->unverified;
    c->seen.error = l->error;
    c->seen.certificate = l->certificate ? tls_certificate_info(l->certificate) : NULL;
    c->seen.demands = c->demands;
    return PT_ERR_OK;
}

enum pt_err tls_check(void *ctx, struct str next_hop, struct str domain,
                      void (*show)(void *user, const struct api_tls_check *seen), void *user,
                      struct pt_fault *fault)
{
    struct process *p = ctx;
    struct settings *s = control_current(&p->control);
    struct check *c = calloc(1, sizeof *c);
    enum pt_err err = PT_ERR_OK;

    if (c) {
        *c = (struct check){ .p = p, .s = s, .clients = outgoing_clients(&p->control) };
        if (!s || !c->clients)
            err = pt_fault_set(fault, PT_ERR_AGAIN, "no settings are in force now");
        else if (!parse(c, next_hop))
            err = pt_fault_set(fault, PT_ERR_INVALID,
                               "must be HOST or HOST:PORT, a name or an address");
        else
            err = run(c, domain, fault);
        if (err == PT_ERR_OK)
            show(user, &c->seen);
        look_done(&c->look);
        relay_clients_unref(c->clients);
    } else {
        err = pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    }
    free(c);
    settings_unref(s);
    return err;
}
