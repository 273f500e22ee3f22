#include "daemon/status_tls.h"

#include <stdio.h>

#include "base/clock.h"
#include "daemon/process.h"
#include "tls/context.h"

/* ---- what is in force ---- */

static void add_certificate(struct api_status *out, const struct tls_certificate *c)
{
    const struct tls_certificate_info *info = tls_certificate_info(c);
    struct api_status_certificate *to;

    if (out->tls.certificate_count == API_CERTIFICATES_MAX)
        return;
    to = &out->tls.certificates[out->tls.certificate_count++];
    snprintf(to->id, sizeof to->id, "%s", tls_certificate_id(c));
    snprintf(to->subject, sizeof to->subject, "%s",
             info->subject[0]   ? info->subject
             : info->name_count ? info->names[0]
                                : "without a name");
    snprintf(to->key_type, sizeof to->key_type, "%s", info->key_type);
    to->ca = tls_certificate_is_ca(c);
    to->not_after_us = info->chain_not_after_us;
}

/* False: they cannot be had, which is told by other words. */
static bool certificates(struct control *c, struct api_status *out)
{
    struct tls_certificate *const *all;
    uint32_t count = 0;
    bool good;

    pthread_mutex_lock(&c->lock);
    all = c->tls ? tls_server_certificates(c->tls, &count) : NULL;
    for (uint32_t i = 0; i < count; i++)
        add_certificate(out, all[i]);
    if (c->tls && tls_server_client_ca(c->tls))
        add_certificate(out, tls_server_client_ca(c->tls));
    good = c->tls_fault.err == PT_ERR_OK;
    pthread_mutex_unlock(&c->lock);
    return good;
}

/* ---- what is to be said about it ---- */

static void warn_of_expiry(struct api_status *out, const struct api_status_certificate *c,
                           int64_t now_us)
{
    int64_t left = c->not_after_us - now_us;
    const char *what = c->ca ? "the CA of client certificates" : "the certificate";
    const char *remedy = c->ca ? "upload the authority's present certificate (\"postern tls "
                                 "upload --ca FILE\") and name it as connections.tls.client_ca"
                               : "have it renewed, then \"postern tls install\"";
    char date[CLOCK_RFC3339_SIZE];

    clock_rfc3339(c->not_after_us, date);
    date[10] = 0;
    if (left <= 0)
        status_warn(out, true, remedy, "%s %s (%s) or one of its chain expired on %s", what, c->id,
                    c->subject, date);
    else if (left < TLS_EXPIRES_SOON_DAYS * TLS_DAY_US)
        status_warn(out, false, remedy,
                    "%s %s (%s) or one of its chain expires on %s, in %lld days", what, c->id,
                    c->subject, date, (long long)(left / TLS_DAY_US));
}

void status_tls(struct process *p, const struct gateway_stats *g, struct api_status *out)
{
    bool good = certificates(&p->control, out);

    for (uint32_t i = 0; i < out->tls.certificate_count; i++)
        warn_of_expiry(out, &out->tls.certificates[i], clock_wall_us());
    if (!g)
        return;
    out->tls.handshakes = g->handshakes;
    out->tls.failed_handshakes = g->failed_handshakes;
    out->tls.messages = g->messages_tls;
    out->tls.handshakes_now = tls_handshaker_busy(p->handshaker);
    if (good)
        truth_alarm(p, out->tls.alarm);
    if (out->tls.alarm[0])
        status_warn(
            out, true,
            "look at \"postern tls show\": a proxy, a redirection of the firewall or another "
            "server may answer there",
            "clients do not get the TLS that is configured: %s", out->tls.alarm);
}
