#include "daemon/certificates.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "tls/store.h"

/* ---- what an ID stands for ---- */

static enum settings_certificate what_is(void *ctx, struct str id)
{
    const struct state *state = ctx;
    enum settings_certificate what = SETTINGS_CERTIFICATE_SERVER;
    struct tls_certificate *c = NULL;
    enum pt_err err = tls_store_get(state->dir, id, &c, NULL);

    if (err != PT_ERR_OK)
        return err == PT_ERR_NOTFOUND ? SETTINGS_CERTIFICATE_MISSING : SETTINGS_CERTIFICATE_UNKNOWN;
    if (tls_certificate_is_ca(c))
        what = SETTINGS_CERTIFICATE_CA;
    else if (tls_certificate_info(c)->not_after_us <= clock_wall_us())
        what = SETTINGS_CERTIFICATE_EXPIRED;
    tls_certificate_unref(c);
    return what;
}

void certificates_host(const struct state *state, struct settings_host *host)
{
    host->certificate = what_is;
    host->certificate_ctx = (void *)state;
}

/* ---- the context ---- */

static bool same(const struct settings *a, const struct settings *b)
{
    if (a->tls.certificate_count != b->tls.certificate_count ||
        a->tls.client_certificates != b->tls.client_certificates ||
        !cstr_eq(a->tls.client_ca, b->tls.client_ca))
        return false;
    for (uint32_t i = 0; i < a->tls.certificate_count; i++)
        if (strcmp(a->tls.certificates[i], b->tls.certificates[i]) != 0)
            return false;
    return true;
}

struct loaded {
    struct tls_certificate *all[TLS_SERVER_CERTIFICATES_MAX], *client_ca;
    uint32_t count;
};

static void loaded_done(struct loaded *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        tls_certificate_unref(l->all[i]);
    tls_certificate_unref(l->client_ca);
}

static enum pt_err load(const struct control *c, const struct settings *s, struct loaded *out,
                        struct settings_refusal *why)
{
    enum pt_err err = PT_ERR_OK;

    why->pointer = "/connections/tls/certificate";
    for (uint32_t i = 0; err == PT_ERR_OK && i < s->tls.certificate_count; i++) {
        err =
            tls_store_get(c->state->dir, str_of(s->tls.certificates[i]), &out->all[i], &why->fault);
        out->count += err == PT_ERR_OK;
    }
    if (err != PT_ERR_OK || !s->tls.client_ca)
        return err;
    why->pointer = "/connections/tls/client_ca";
    return tls_store_get(c->state->dir, str_of(s->tls.client_ca), &out->client_ca, &why->fault);
}

/* The context of these settings; NULL where they name no certificate. */
static enum pt_err make(struct control *c, const struct settings *s, struct tls_server **out,
                        struct settings_refusal *why)
{
    struct loaded l = { .count = 0 };
    enum pt_err err;

    *out = NULL;
    if (s->tls.certificate_count == 0)
        return PT_ERR_OK;
    err = load(c, s, &l, why);
    if (err == PT_ERR_OK)
        err = tls_server_new(
            out,
            &(struct tls_server_config){
                .certificates = l.all,
                .certificate_count = l.count,
                .client_certificates = (enum tls_client_certificates)s->tls.client_certificates,
                .client_ca = l.client_ca,
                .tickets = c->tickets },
            &why->fault);
    loaded_done(&l);
    if (err == PT_ERR_NOTFOUND)
        err = PT_ERR_INVALID; /* "not found" is said of what a request names */
    return err;
}

/* ---- taking part ---- */

/* An unchanged context stays: what is in force in spite of a fault does not stand in the way of
 * other changes. */
enum pt_err certificates_prepare(void *ctx, const struct settings *s, void **out,
                                 struct settings_refusal *why)
{
    struct control *c = ctx;
    struct tls_server *made = NULL;
    enum pt_err err;

    if (c->current && same(c->current, s)) {
        *out = c->tls ? tls_server_ref(c->tls) : NULL;
        return PT_ERR_OK;
    }
    err = make(c, s, &made, why);
    *out = made;
    return err;
}

static void put(struct control *c, struct tls_server *tls, const struct pt_fault *fault)
{
    pthread_mutex_lock(&c->lock);
    c->tls = tls;
    c->tls_fault = *fault;
    pthread_mutex_unlock(&c->lock);
}

void certificates_publish(void *ctx, const struct settings *s, void **prepared)
{
    struct control *c = ctx;
    struct tls_server *old = c->tls;
    struct pt_fault none = { .err = PT_ERR_OK };
    bool unchanged = c->current && same(c->current, s);

    put(c, *prepared, unchanged ? &c->tls_fault : &none);
    *prepared = old;
}

void certificates_release(void *ctx, void *prepared)
{
    tls_server_unref(prepared);
}

void certificates_begin(struct control *c, const struct settings *s)
{
    struct settings_refusal why = { .pointer = NULL };
    struct tls_server *tls = NULL;

    if (make(c, s, &tls, &why) != PT_ERR_OK)
        log_text(LOG_ERROR, "tls", "%s", why.fault.text);
    else
        why.fault.err = PT_ERR_OK;
    put(c, tls, &why.fault);
}

bool certificates_retry(struct control *c)
{
    struct settings_refusal why = { .pointer = NULL };
    struct pt_fault none = { .err = PT_ERR_OK };
    struct tls_server *tls = NULL;

    if (c->tls_fault.err == PT_ERR_OK)
        return false;
    if (make(c, c->current, &tls, &why) != PT_ERR_OK)
        return false;
    put(c, tls, &none);
    log_text(LOG_INFO, "tls", "the certificate can be read again: TLS is offered to clients");
    return true;
}
