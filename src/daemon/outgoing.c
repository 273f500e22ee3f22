#include "daemon/outgoing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tls/store.h"

/* ---- the CAs that routes name ---- */

static bool is_listed(const struct relay_ca *cas, uint32_t count, const char *id)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(cas[i].id, id) == 0)
            return true;
    return false;
}

/* Each once, without its certificate; the number. `out` has room for one a route. */
static uint32_t list_cas(const struct settings *s, struct relay_ca *out)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->route_count; i++)
        if (s->routes[i].ca && !is_listed(out, n, s->routes[i].ca))
            out[n++] = (struct relay_ca){ .id = s->routes[i].ca };
    return n;
}

static bool names_all(const struct settings *s, const struct settings *of)
{
    for (uint32_t i = 0; i < of->route_count; i++) {
        bool found = !of->routes[i].ca;

        for (uint32_t k = 0; !found && k < s->route_count; k++)
            found = s->routes[k].ca && strcmp(s->routes[k].ca, of->routes[i].ca) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* The contexts of these settings. Those of a CA that cannot be had are missing, `fault` says why
 * (err OK: none is missing). NULL: none at all. */
static struct relay_clients *make(struct control *c, const struct settings *s,
                                  struct pt_fault *fault)
{
    struct relay_ca *cas = calloc(s->route_count ? s->route_count : 1, sizeof *cas);
    struct relay_clients *made = NULL;
    struct pt_fault why;
    uint32_t n = cas ? list_cas(s, cas) : 0;

    fault->err = PT_ERR_OK;
    for (uint32_t i = 0; i < n; i++) {
        struct tls_certificate *ca = NULL;

        why.err = tls_store_get(c->state->dir, str_of(cas[i].id), &ca, &why);
        if (why.err != PT_ERR_OK)
            *fault = why;
        cas[i].ca = ca;
    }
    why.err = cas ? relay_clients_new(&made, cas, n, &why)
                  : pt_fault_set(&why, PT_ERR_NOMEM, "out of memory");
    if (why.err != PT_ERR_OK)
        *fault = why;
    for (uint32_t i = 0; i < n; i++)
        tls_certificate_unref((struct tls_certificate *)cas[i].ca);
    free(cas);
    return made;
}

/* ---- taking part ---- */

static void put(struct control *c, struct relay_clients *clients, const struct pt_fault *fault)
{
    pthread_mutex_lock(&c->lock);
    c->outgoing = clients;
    c->outgoing_fault = *fault;
    pthread_mutex_unlock(&c->lock);
    if (c->relay)
        relay_set_clients(c->relay, clients);
}

static bool unchanged(const struct control *c, const struct settings *s)
{
    return c->current && c->outgoing && names_all(c->current, s) && names_all(s, c->current);
}

/* Unchanged contexts stay, with the sessions they remember: what is in force in spite of a fault
 * does not stand in the way of other changes. */
enum pt_err outgoing_prepare(void *ctx, const struct settings *s, void **out,
                             struct settings_refusal *why)
{
    struct control *c = ctx;
    struct relay_clients *made;

    if (unchanged(c, s)) {
        *out = relay_clients_ref(c->outgoing);
        return PT_ERR_OK;
    }
    made = make(c, s, &why->fault);
    if (why->fault.err == PT_ERR_OK) {
        *out = made;
        return PT_ERR_OK;
    }
    relay_clients_unref(made);
    why->pointer = "/delivery/routes";
    /* "Not found" is said of what a request names. */
    return why->fault.err == PT_ERR_NOTFOUND ? PT_ERR_INVALID : why->fault.err;
}

void outgoing_publish(void *ctx, const struct settings *s, void **prepared)
{
    struct control *c = ctx;
    struct relay_clients *old = c->outgoing;
    struct pt_fault fault = { .err = PT_ERR_OK };

    if (unchanged(c, s))
        fault = c->outgoing_fault;
    put(c, *prepared, &fault);
    *prepared = old;
}

void outgoing_release(void *ctx, void *prepared)
{
    relay_clients_unref(prepared);
}

void outgoing_begin(struct control *c, const struct settings *s)
{
    struct pt_fault fault;
    struct relay_clients *made = make(c, s, &fault);

    if (fault.err != PT_ERR_OK)
        log_text(LOG_ERROR, "tls", "to next hops: %s", fault.text);
    relay_clients_unref(c->outgoing); /* of a start that came to nothing */
    put(c, made, &fault);
}

void outgoing_retry(struct control *c)
{
    struct relay_clients *old = c->outgoing, *made;
    struct pt_fault fault;

    if (c->outgoing_fault.err == PT_ERR_OK)
        return;
    made = make(c, c->current, &fault);
    if (fault.err == PT_ERR_OK) {
        put(c, made, &fault);
        made = old;
    }
    relay_clients_unref(made);
}

struct relay_clients *outgoing_clients(struct control *c)
{
    struct relay_clients *clients;

    pthread_mutex_lock(&c->lock);
    clients = c->outgoing ? relay_clients_ref(c->outgoing) : NULL;
    pthread_mutex_unlock(&c->lock);
    return clients;
}
