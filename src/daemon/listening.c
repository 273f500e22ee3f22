#include "daemon/listening.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/notify.h"

struct wanted {
    struct net_endpoint at;
    bool optional; /* the IPv6 half where a host has no IPv6 */
};

static unsigned wanted_by(const struct settings *s, struct wanted out[2])
{
    uint16_t port = s->interface.port;
    struct net_addr any4 = { .family = NET_IPV4 }, any6 = { .family = NET_IPV6 };

    switch (s->interface.listen) {
    case SETTINGS_LISTEN_ADDRESS:
        out[0] = (struct wanted){ { s->interface.address, port }, false };
        return 1;
    case SETTINGS_LISTEN_LOOPBACK:
        memcpy(any4.octets, (uint8_t[]){ 127, 0, 0, 1 }, 4);
        any6.octets[15] = 1;
        break;
    case SETTINGS_LISTEN_ALL:
        break;
    }
    out[0] = (struct wanted){ { any4, port }, false };
    out[1] = (struct wanted){ { any6, port }, true };
    return 2;
}

static struct gateway_listener *find(const struct listening *l, const struct net_endpoint *at)
{
    for (unsigned i = 0; i < l->count; i++) {
        const struct net_endpoint *have = &l->listeners[i]->listener.endpoint;

        if (have->port == at->port && net_addr_eq(&have->addr, &at->addr))
            return l->listeners[i];
    }
    return NULL;
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
    out->adopted = out->count > 0;
}

enum pt_err listening_prepare(const struct listening *now, const struct settings *s,
                              struct listening *out, struct pt_fault *fault)
{
    struct listening l = { .count = 0 };
    struct wanted wanted[2];
    unsigned n = wanted_by(s, wanted);

    if (now->adopted) {
        *out = *now;
        for (unsigned i = 0; i < out->count; i++)
            gateway_listener_ref(out->listeners[i]);
        return PT_ERR_OK;
    }
    for (unsigned i = 0; i < n; i++) {
        struct gateway_listener *have = find(now, &wanted[i].at);
        struct net_listener opened;
        struct pt_fault why;

        if (have) {
            l.listeners[l.count++] = gateway_listener_ref(have);
            continue;
        }
        if (net_listener_open(&opened, &wanted[i].at, &why) != PT_ERR_OK) {
            if (wanted[i].optional && host_has_no_ipv6(&why))
                continue;
            listening_release(&l);
            if (fault)
                *fault = why;
            return why.err;
        }
        have = gateway_listener_new(&opened);
        if (!have) {
            listening_release(&l);
            return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a listener");
        }
        l.listeners[l.count++] = have;
    }
    *out = l;
    return PT_ERR_OK;
}

void listening_release(struct listening *l)
{
    for (unsigned i = 0; i < l->count; i++)
        gateway_listener_unref(l->listeners[i]);
    l->count = 0;
}

void listening_name(const struct listening *l, char out[NET_ENDPOINT_SIZE])
{
    if (l->count)
        net_endpoint_format(&l->listeners[0]->listener.endpoint, out);
    else
        snprintf(out, NET_ENDPOINT_SIZE, "none");
}
