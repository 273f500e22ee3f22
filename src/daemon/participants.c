#include "daemon/participants.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/certificates.h"
#include "daemon/outgoing.h"
#include "net/host.h"

enum { INTERFACES_MAX = 256 };

static void set_fault(struct control *c, struct pt_fault *which, const struct pt_fault *fault)
{
    pthread_mutex_lock(&c->lock);
    *which = *fault;
    pthread_mutex_unlock(&c->lock);
}

/* ---- rules ---- */

/* The addresses of this host that policy knows; on the heap. NULL: memory is short. */
static struct net_prefix *read_host(uint32_t *out_count)
{
    struct net_interface *i = calloc(INTERFACES_MAX, sizeof *i);
    struct net_prefix *nets = calloc(INTERFACES_MAX, sizeof *nets);
    uint32_t all = i && nets ? net_host_interfaces(i, INTERFACES_MAX) : 0, n = 0;

    for (uint32_t k = 0; k < all; k++)
        if (i[k].scope != NET_SCOPE_LINK)
            nets[n++] = i[k].prefix;
    if (!i) {
        free(nets);
        nets = NULL;
    }
    free(i);
    *out_count = n;
    return nets;
}

struct policy_snapshot *participants_snapshot(const struct policy_snapshot *before,
                                              const struct settings *s)
{
    uint32_t count;
    struct net_prefix *nets = read_host(&count);
    struct policy_snapshot *snapshot = nets ? policy_snapshot_next(before, s, nets, count) : NULL;

    free(nets);
    return snapshot;
}

static enum pt_err rules_prepare(void *ctx, const struct settings *s, void **out,
                                 struct settings_refusal *why)
{
    *out = participants_snapshot(((const struct control *)ctx)->snapshot, s);
    return *out ? PT_ERR_OK
                : pt_fault_set(&why->fault, PT_ERR_NOMEM, "no memory for the new settings");
}

static void rules_publish(void *ctx, const struct settings *s, void **prepared)
{
    struct control *c = ctx;
    struct policy_snapshot *old;

    pthread_mutex_lock(&c->lock);
    old = c->snapshot;
    c->snapshot = *prepared;
    pthread_mutex_unlock(&c->lock);
    *prepared = old;
}

static void rules_release(void *ctx, void *prepared)
{
    policy_snapshot_unref(prepared);
}

bool participants_begin(struct control *c, const struct settings *s, struct pt_fault *fault)
{
    certificates_begin(c, s);
    outgoing_begin(c, s);
    c->snapshot = participants_snapshot(c->snapshot, s);
    if (!c->snapshot)
        pt_fault_set(fault, PT_ERR_NOMEM, "no memory for the settings");
    return c->snapshot != NULL;
}

/* ---- net ---- */

/* `l` becomes what the loops accept from; what was so until now is left in it, for the caller to
 * release once the loops were told. */
static void serve(struct control *c, struct listening *l, const struct pt_fault *fault)
{
    struct listening old = c->listening;

    for (unsigned i = 0; i < l->count; i++)
        atomic_store(&l->listeners[i]->tls, l->tls[i]);
    gateway_publish(c->gateway, c->snapshot, c->tls, l->listeners, l->count);
    c->listening = *l;
    *l = old;
    pthread_mutex_lock(&c->lock);
    c->listen_fault = *fault;
    c->listening_count = c->listening.asked;
    for (unsigned i = 0; i < c->listening.asked && i < PT_ARRAY_LEN(c->listening_on); i++) {
        net_endpoint_format(&c->listening.listeners[i]->listener.endpoint, c->listening_on[i]);
        c->listening_tls[i] = c->listening.tls[i];
    }
    pthread_mutex_unlock(&c->lock);
}

static enum pt_err net_prepare(void *ctx, const struct settings *s, void **out,
                               struct settings_refusal *why)
{
    struct control *c = ctx;
    struct listening *l = calloc(1, sizeof *l);
    enum pt_err err;

    if (!l)
        return pt_fault_set(&why->fault, PT_ERR_NOMEM, "no memory for listeners");
    err = listening_prepare(&c->listening, c->gateway, s, false, l, &why->fault);
    if (err != PT_ERR_OK) {
        why->pointer = err == PT_ERR_NOTFOUND ? "/connections/interface/address"
                       : l->tls_refused       ? "/connections/tls/implicit_port"
                                              : "/connections/interface/port";
        free(l);
        /* "Not found" is said of what a request names; here it is a value that is wrong. */
        if (err == PT_ERR_NOTFOUND)
            err = why->fault.err = PT_ERR_INVALID;
        return err;
    }
    *out = l;
    return PT_ERR_OK;
}

static void net_publish(void *ctx, const struct settings *s, void **prepared)
{
    struct control *c = ctx;
    struct pt_fault fault = { .err = PT_ERR_OK };

    /* Without a gateway nobody would accept: participants_serve() opens them again. */
    if (!c->gateway)
        return;
    if (listening_start(*prepared, &c->listening, c->gateway, &fault) != PT_ERR_OK)
        log_text(LOG_ERROR, "listen", "%s", fault.text);
    serve(c, *prepared, &fault);
}

static void net_release(void *ctx, void *prepared)
{
    if (prepared)
        listening_release(prepared);
    free(prepared);
}

/* A second port that cannot be had does not close the first: the fault is told, and what is there
 * serves. False: nothing is there. */
static bool prepare_listening(struct control *c, struct listening *out, struct pt_fault *fault)
{
    struct pt_fault other;

    if (listening_prepare(&c->listening, c->gateway, c->current, false, out, fault) == PT_ERR_OK)
        return true;
    return out->tls_refused &&
           listening_prepare(&c->listening, c->gateway, c->current, true, out, &other) == PT_ERR_OK;
}

static bool listen_now(struct control *c)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct listening l = { .count = 0 };
    bool ok = prepare_listening(c, &l, &fault) &&
              listening_start(&l, &c->listening, c->gateway, &fault) == PT_ERR_OK;

    if (fault.err != PT_ERR_OK &&
        (c->listen_fault.err == PT_ERR_OK || strcmp(c->listen_fault.text, fault.text) != 0))
        log_text(LOG_ERROR, "listen", "%s", fault.text);
    if (!ok)
        listening_release(&l);
    serve(c, &l, &fault);
    listening_release(&l);
    return fault.err == PT_ERR_OK;
}

void participants_stop_listening(struct control *c)
{
    struct pt_fault none = { .err = PT_ERR_OK };
    struct listening nothing = { .count = 0 };

    serve(c, &nothing, &none);
    listening_release(&nothing);
}

/* ---- resolver ---- */

static struct net_resolver_config resolver_config(const struct settings *s)
{
    return (struct net_resolver_config){ .servers = s->resolver.servers,
                                         .server_count = s->resolver.server_count,
                                         .trust_anchor = s->resolver.trust_anchor };
}

static bool same_resolver(const struct settings *a, const struct settings *b)
{
    if (a->resolver.server_count != b->resolver.server_count ||
        !cstr_eq(a->resolver.trust_anchor, b->resolver.trust_anchor))
        return false;
    for (uint32_t i = 0; i < a->resolver.server_count; i++)
        if (!cstr_eq(a->resolver.servers[i], b->resolver.servers[i]))
            return false;
    return true;
}

/* An unchanged configuration keeps its cache. What is in force in spite of a fault is tried again,
 * and does not stand in the way of other changes. */
static enum pt_err resolver_prepare(void *ctx, const struct settings *s, void **out,
                                    struct settings_refusal *why)
{
    struct control *c = ctx;
    struct net_resolver_config config = resolver_config(s);
    struct net_resolver_change *change = NULL;
    bool same = c->current && same_resolver(c->current, s);
    enum pt_err err;

    if (!c->resolver || (same && c->resolver_fault.err == PT_ERR_OK))
        return PT_ERR_OK;
    err = net_resolver_prepare(c->resolver, &config, &change, &why->fault);
    if (err != PT_ERR_OK && !same) {
        why->pointer = "/resolver";
        return err;
    }
    *out = change;
    return PT_ERR_OK;
}

static void resolver_publish(void *ctx, const struct settings *s, void **prepared)
{
    struct control *c = ctx;
    struct pt_fault none = { .err = PT_ERR_OK };

    if (!*prepared)
        return;
    net_resolver_adopt_take(c->resolver, *prepared);
    *prepared = NULL;
    set_fault(c, &c->resolver_fault, &none);
}

static void resolver_release(void *ctx, void *prepared)
{
    net_resolver_change_free(prepared);
}

void participants_open_resolver(struct control *c)
{
    struct net_resolver_config config = { 0 };
    struct pt_fault fault = { .err = PT_ERR_OK };

    if (c->current)
        config = resolver_config(c->current);
    if (net_resolver_new(&c->resolver, &config, &fault) == PT_ERR_OK)
        return;
    log_text(LOG_ERROR, "resolver", "%s", fault.text);
    set_fault(c, &c->resolver_fault, &fault);
    /* Mail can go out with answers that nobody validated; the status says so in red. */
    config = (struct net_resolver_config){ .trust_anchor = "none" };
    if (net_resolver_new(&c->resolver, &config, &fault) != PT_ERR_OK)
        c->resolver = NULL;
}

static void tell_resolver_state(struct control *c)
{
    struct net_resolver_health h;

    if (!c->resolver)
        return;
    net_resolver_health(c->resolver, &h);
    if (h.state == c->resolver_state)
        return;
    if (h.state == NET_RESOLVER_SILENT)
        log_text(LOG_ERROR, "resolver", "the DNS does not answer: %s", h.servers);
    else if (h.state == NET_RESOLVER_FAILING)
        log_text(LOG_WARN, "resolver", "the last questions to the DNS all failed: %s", h.reason);
    else
        log_text(LOG_INFO, "resolver", "the DNS answers again");
    c->resolver_state = h.state;
}

/* ---- relay ---- */

static enum pt_err relay_prepare(void *ctx, const struct settings *s, void **out,
                                 struct settings_refusal *why)
{
    return PT_ERR_OK; /* routes are part of `s` */
}

static void hand_over_routes(struct control *c, const struct settings *s)
{
    bool behind = c->relay && !relay_set_settings(c->relay, s);

    if (behind && !c->relay_behind)
        log_text(LOG_ERROR, "settings", "out of memory: mail goes by the routes of before for now");
    c->relay_behind = behind;
}

static void relay_publish(void *ctx, const struct settings *s, void **prepared)
{
    hand_over_routes(ctx, s);
}

static void relay_release(void *ctx, void *prepared)
{
}

/* ---- all of them ---- */

void participants_register(struct control *c)
{
    const struct settings_participant all[] = {
        { "rules", c, rules_prepare, rules_publish, rules_release },
        { "tls", c, certificates_prepare, certificates_publish, certificates_release },
        { "net", c, net_prepare, net_publish, net_release },
        { "resolver", c, resolver_prepare, resolver_publish, resolver_release },
        { "outgoing", c, outgoing_prepare, outgoing_publish, outgoing_release },
        { "relay", c, relay_prepare, relay_publish, relay_release },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(all); i++)
        settings_participants_add(&c->participants, &all[i]);
}

void participants_serve(struct control *c)
{
    PT_IGNORE(listen_now(c), "tried again by participants_retry()");
    relay_set_clients(c->relay, c->outgoing);
    hand_over_routes(c, c->current);
}

/* The same sockets, and what sessions begin TLS with. */
static void publish_again(struct control *c)
{
    if (c->gateway)
        gateway_publish(c->gateway, c->snapshot, c->tls, c->listening.listeners,
                        c->listening.count);
}

/* Addresses may have come or gone. Whatever the system told, what policy knows is what there is
 * now. */
static void host_changed(struct control *c)
{
    uint32_t count;
    struct net_prefix *nets = read_host(&count);
    bool same = c->host_nets && count == c->host_net_count && nets &&
                memcmp(nets, c->host_nets, count * sizeof *nets) == 0;
    struct policy_snapshot *old,
        *next = nets && !same ? policy_snapshot_next(c->snapshot, c->current, nets, count) : NULL;

    c->host_news = !same && !next; /* tried again with the next look */
    if (!next) {
        free(nets);
        return;
    }
    free(c->host_nets);
    c->host_nets = nets;
    c->host_net_count = count;
    pthread_mutex_lock(&c->lock);
    old = c->snapshot;
    c->snapshot = next;
    pthread_mutex_unlock(&c->lock);
    publish_again(c);
    policy_snapshot_unref(old);
}

bool participants_retry(struct control *c)
{
    if (!c->host_nets || c->host_watch < 0 || c->host_news)
        host_changed(c);
    if (c->tickets)
        tls_tickets_rotate(c->tickets, clock_mono_ns() / 1000);
    if (certificates_retry(c))
        publish_again(c);
    outgoing_retry(c);
    tell_resolver_state(c);
    if (c->relay_behind)
        hand_over_routes(c, c->current);
    return c->listen_fault.err == PT_ERR_OK || listen_now(c);
}
