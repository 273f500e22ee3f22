#include "relay/clients.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *id;
    struct tls_client *client;
};

struct relay_clients {
    _Atomic uint32_t refs;
    struct tls_client *any;    /* tells whether it would verify, and goes on */
    struct tls_client *system; /* insists */
    uint32_t count;
    struct entry cas[];
};

static enum pt_err add_ca(struct entry *e, const struct relay_ca *ca, struct pt_fault *fault)
{
    e->id = str_dup(str_of(ca->id));
    if (!e->id)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    if (!ca->ca)
        return PT_ERR_OK;
    return tls_client_new(&e->client, &(struct tls_client_config){ .ca = ca->ca, .verify = true },
                          fault);
}

enum pt_err relay_clients_new(struct relay_clients **out, const struct relay_ca *cas,
                              uint32_t count, struct pt_fault *fault)
{
    struct relay_clients *c = calloc(1, sizeof *c + count * sizeof c->cas[0]);
    enum pt_err err;

    if (!c)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    atomic_init(&c->refs, 1);
    err = tls_client_new(&c->any, &(struct tls_client_config){ .verify = false }, fault);
    if (err == PT_ERR_OK)
        err = tls_client_new(&c->system, &(struct tls_client_config){ .verify = true }, fault);
    for (uint32_t i = 0; err == PT_ERR_OK && i < count; i++) {
        c->count++;
        err = add_ca(&c->cas[i], &cas[i], fault);
    }
    if (err == PT_ERR_OK)
        *out = c;
    else
        relay_clients_unref(c);
    return err;
}

struct relay_clients *relay_clients_ref(struct relay_clients *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void relay_clients_unref(struct relay_clients *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    tls_client_unref(c->any);
    tls_client_unref(c->system);
    for (uint32_t i = 0; i < c->count; i++) {
        tls_client_unref(c->cas[i].client);
        free(c->cas[i].id);
    }
    free(c);
}

struct tls_client *relay_clients_find(const struct relay_clients *c, enum settings_route_tls demand,
                                      const char *ca)
{
    if (demand != SETTINGS_ROUTE_TLS_VERIFY)
        return c->any;
    if (!ca)
        return c->system;
    for (uint32_t i = 0; i < c->count; i++)
        if (strcmp(c->cas[i].id, ca) == 0)
            return c->cas[i].client;
    return NULL;
}
