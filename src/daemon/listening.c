#include "daemon/listening.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/notify.h"

enum { WANTED_MAX = 4 };

struct wanted {
    struct net_endpoint at;
    bool tls;      /* from the first octet */
    bool optional; /* the IPv6 half where a host has no IPv6 */
};

static unsigned wanted_at(const struct settings *s, uint16_t port, bool tls, struct wanted *out)
{
    struct net_addr any4 = { .family = NET_IPV4 }, any6 = { .family = NET_IPV6 };

    switch (s->interface.listen) {
    case SETTINGS_LISTEN_ADDRESS:
        out[0] = (struct wanted){ { s->interface.address, port }, tls, false };
        return 1;
    case SETTINGS_LISTEN_LOOPBACK:
        memcpy(any4.octets, (uint8_t[]){ 127, 0, 0, 1 }, 4);
        any6.octets[15] = 1;
        break;
    case SETTINGS_LISTEN_ALL:
        break;
    }
    out[0] = (struct wanted){ { any4, port }, tls, false };
    out[1] = (struct wanted){ { any6, port }, tls, true };
    return 2;
}

static unsigned wanted_by(const struct settings *s, bool plain_only, struct wanted out[WANTED_MAX])
{
    unsigned n = wanted_at(s, s->interface.port, false, out);

    if (s->tls.implicit_port && !plain_only)
        n += wanted_at(s, s->tls.implicit_port, true, out + n);
    return n;
}

/* Listeners that are open: those in service, then those that retire. */
struct known {
    struct gateway_listener *listeners[GATEWAY_LISTENERS_MAX + GATEWAY_RETIRING_MAX];
    unsigned count, serving;
};

static void known_init(struct known *k, const struct listening *now, struct gateway *gateway)
{
    k->count = k->serving = now->count;
    for (unsigned i = 0; i < now->count; i++)
        k->listeners[i] = gateway_listener_ref(now->listeners[i]);
    if (gateway)
        k->count += gateway_retiring(gateway, k->listeners + k->count);
}

static void known_done(struct known *k)
{
    for (unsigned i = 0; i < k->count; i++)
        gateway_listener_unref(k->listeners[i]);
}

static struct gateway_listener *find(const struct known *k, const struct net_endpoint *at)
{
    for (unsigned i = 0; i < k->count; i++) {
        const struct net_endpoint *have = &k->listeners[i]->listener.endpoint;

        if (have->port == at->port && net_addr_eq(&have->addr, &at->addr))
            return k->listeners[i];
    }
    return NULL;
}

/* Those that have the port on an address that covers this one, or is covered by it. */
static unsigned beside(const struct known *k, const struct net_endpoint *at,
                       const struct net_listener **out)
{
    unsigned n = 0;

    for (unsigned i = 0; i < k->count; i++)
        if (net_endpoint_overlaps(&k->listeners[i]->listener.endpoint, at))
            out[n++] = &k->listeners[i]->listener;
    return n;
}

static bool is_any(const struct net_addr *a)
{
    static const struct net_addr any4 = { .family = NET_IPV4 }, any6 = { .family = NET_IPV6 };

    return net_addr_eq(a, &any4) || net_addr_eq(a, &any6);
}

static bool host_has_no_ipv6(const struct pt_fault *fault)
{
    return fault->err == PT_ERR_NOTFOUND || fault->sys_errno == EAFNOSUPPORT;
}

void listening_adopt(struct listening *out)
{
    int fds[GATEWAY_LISTENERS_MAX];
    unsigned n = notify_listen_fds(fds, PT_ARRAY_LEN(fds));

    *out = (struct listening){ .count = 0 };
    for (unsigned i = 0; i < n; i++) {
        struct gateway_listener *gl = NULL;
        struct net_listener l;
        struct pt_fault fault;

        if (net_listener_adopt(&l, fds[i], &fault) != PT_ERR_OK)
            log_text(LOG_ERROR, "listen", "%s", fault.text);
        else
            gl = gateway_listener_new(&l);
        if (gl)
            out->listeners[out->count++] = gl;
    }
    out->asked = out->count;
    out->adopted = out->count > 0;
}

static enum pt_err bind_one(const struct known *k, const struct net_endpoint *at,
                            struct gateway_listener **out, struct pt_fault *fault)
{
    const struct net_listener *others[PT_ARRAY_LEN(k->listeners)];
    unsigned n = beside(k, at, others);
    struct net_listener bound;
    enum pt_err err = net_listener_bind(&bound, at, others, n, fault);

    if (err != PT_ERR_OK)
        return err;
    *out = gateway_listener_new(&bound);
    return *out ? PT_ERR_OK : pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a listener");
}

/* `out` is filled as far as it went. */
static enum pt_err bind_all(const struct known *k, const struct wanted *wanted, unsigned n,
                            struct listening *out, struct pt_fault *fault)
{
    for (unsigned i = 0; i < n; i++) {
        struct gateway_listener *have = find(k, &wanted[i].at);
        struct pt_fault why;

        if (have) {
            gateway_listener_ref(have);
        } else if (bind_one(k, &wanted[i].at, &have, &why) != PT_ERR_OK) {
            if (wanted[i].optional && host_has_no_ipv6(&why))
                continue;
            out->tls_refused = wanted[i].tls;
            *fault = why;
            return why.err;
        }
        out->tls[out->count] = wanted[i].tls;
        out->listeners[out->count++] = have;
    }
    out->asked = out->count;
    return PT_ERR_OK;
}

/*
 * From one address to all of them: the narrow socket stays open. The wildcard's would get the
 * clients only after it is closed, and those in its queue would be lost.
 */
static void keep_covered(const struct known *k, struct listening *l)
{
    for (unsigned i = 0; i < k->count; i++)
        for (unsigned asked = 0; asked < l->asked; asked++)
            if (l->count < GATEWAY_LISTENERS_MAX &&
                net_endpoint_overlaps(&l->listeners[asked]->listener.endpoint,
                                      &k->listeners[i]->listener.endpoint) &&
                is_any(&l->listeners[asked]->listener.endpoint.addr)) {
                l->tls[l->count] = l->tls[asked];
                l->listeners[l->count++] = gateway_listener_ref(k->listeners[i]);
            }
}

enum pt_err listening_prepare(const struct listening *now, struct gateway *gateway,
                              const struct settings *s, bool plain_only, struct listening *out,
                              struct pt_fault *fault)
{
    struct listening l = { .count = 0 };
    struct wanted wanted[WANTED_MAX];
    struct pt_fault why;
    struct known known;
    enum pt_err err;

    if (now->adopted) {
        *out = *now;
        for (unsigned i = 0; i < out->count; i++)
            gateway_listener_ref(out->listeners[i]);
        return PT_ERR_OK;
    }
    known_init(&known, now, gateway);
    err = bind_all(&known, wanted, wanted_by(s, plain_only, wanted), &l, &why);
    if (err == PT_ERR_OK) {
        keep_covered(&known, &l);
        *out = l;
    } else {
        listening_release(&l);
        out->tls_refused = l.tls_refused;
        if (fault)
            *fault = why;
    }
    known_done(&known);
    return err;
}

static void drop(struct listening *l, unsigned i)
{
    gateway_listener_unref(l->listeners[i]);
    memmove(&l->listeners[i], &l->listeners[i + 1],
            (--l->count - i) * sizeof(struct gateway_listener *));
    memmove(&l->tls[i], &l->tls[i + 1], (l->count - i) * sizeof l->tls[0]);
    l->asked -= i < l->asked;
}

enum pt_err listening_start(struct listening *l, const struct listening *now,
                            struct gateway *gateway, struct pt_fault *fault)
{
    const struct net_listener *others[GATEWAY_LISTENERS_MAX + GATEWAY_RETIRING_MAX];
    enum pt_err err = PT_ERR_OK;
    struct known known;

    known_init(&known, now, gateway);
    for (unsigned i = 0; i < l->count;) {
        struct net_listener *one = &l->listeners[i]->listener;
        enum pt_err failed = PT_ERR_OK;

        if (!one->listening)
            failed =
                net_listener_listen(one, others, beside(&known, &one->endpoint, others), fault);
        if (failed == PT_ERR_OK) {
            i++;
        } else {
            err = failed;
            drop(l, i);
        }
    }
    known_done(&known);
    return err;
}

void listening_release(struct listening *l)
{
    for (unsigned i = 0; i < l->count; i++)
        gateway_listener_unref(l->listeners[i]);
    l->count = l->asked = 0;
}

void listening_name(const struct listening *l, char out[NET_ENDPOINT_SIZE])
{
    if (l->count)
        net_endpoint_format(&l->listeners[0]->listener.endpoint, out);
    else
        snprintf(out, NET_ENDPOINT_SIZE, "none");
}
