#include "daemon/truth.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "daemon/process.h"
#include "daemon/served.h"
#include "tls/context.h"

enum { LOOK_EVERY_S = 60, AGAIN_AFTER_MS = 200, LOOKS_MAX = TLS_SERVER_CERTIFICATES_MAX + 1 };

/* One look to be taken, and what it should show. */
struct ask {
    char address[NET_ENDPOINT_SIZE];
    bool implicit;
    const char *kind; /* of key; NULL: any */
};

struct asks {
    struct ask list[LOOKS_MAX];
    uint32_t count;
    struct tls_server *tls; /* in force; a reference, or NULL */
    struct settings *settings;
};

/* ---- kinds of keys ---- */

static const struct kind {
    const char *name, *signatures;
} kinds[] = {
    { "ECDSA", "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512" },
    { "RSA", "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:RSA+SHA256" },
    { "Ed25519", "ed25519" },
    { "Ed448", "ed448" },
};

static const struct kind *kind_of(const struct tls_certificate *c)
{
    const char *type = tls_certificate_info(c)->key_type;

    for (size_t i = 0; i < PT_ARRAY_LEN(kinds); i++)
        if (strncmp(type, kinds[i].name, strlen(kinds[i].name)) == 0)
            return &kinds[i];
    return NULL;
}

static const char *signatures_of(const char *kind)
{
    for (size_t i = 0; kind && i < PT_ARRAY_LEN(kinds); i++)
        if (kinds[i].name == kind)
            return kinds[i].signatures;
    return NULL;
}

/* ---- what to look at ---- */

static void add(struct asks *a, const char *address, bool implicit, const char *kind)
{
    struct ask *ask = &a->list[a->count++];

    snprintf(ask->address, sizeof ask->address, "%s", address);
    ask->implicit = implicit;
    ask->kind = kind;
}

static void add_plain(struct asks *a, const char *address)
{
    uint32_t count = 0;
    struct tls_certificate *const *all = a->tls ? tls_server_certificates(a->tls, &count) : NULL;

    if (count < 2)
        add(a, address, false, NULL);
    for (uint32_t i = 0; count > 1 && i < count; i++) {
        const struct kind *kind = kind_of(all[i]);

        if (kind)
            add(a, address, false, kind->name);
    }
}

static void gather(struct process *p, struct asks *a)
{
    struct control *c = &p->control;
    int plain = -1, implicit = -1;

    *a = (struct asks){ .settings = control_current(c) };
    pthread_mutex_lock(&c->lock);
    a->tls = c->tls ? tls_server_ref(c->tls) : NULL;
    for (int i = PT_MIN((int)c->listening_count, (int)PT_ARRAY_LEN(c->listening_on)) - 1; i >= 0;
         i--)
        *(c->listening_tls[i] ? &implicit : &plain) = i;
    add_plain(a, plain >= 0 ? c->listening_on[plain] : "");
    if (implicit >= 0)
        add(a, c->listening_on[implicit], true, NULL);
    pthread_mutex_unlock(&c->lock);
}

static void asks_done(struct asks *a)
{
    tls_server_unref(a->tls);
    settings_unref(a->settings);
}

/* ---- does it fit? ---- */

static bool is_in_force(const struct asks *a, const struct ask *ask,
                        const struct tls_certificate_info *seen)
{
    uint32_t count = 0;
    struct tls_certificate *const *all = a->tls ? tls_server_certificates(a->tls, &count) : NULL;

    for (uint32_t i = 0; i < count; i++) {
        const struct kind *kind = kind_of(all[i]);

        if ((!ask->kind || (kind && kind->name == ask->kind)) &&
            strcmp(tls_certificate_info(all[i])->fingerprint, seen->fingerprint) == 0)
            return true;
    }
    return false;
}

static void compare(const struct asks *a, const struct ask *ask, struct api_served *served)
{
    bool wanted = ask->implicit || a->settings->tls.incoming;

    if (served->unknown)
        return;
    if (!wanted && served->starttls)
        snprintf(served->alarm, sizeof served->alarm,
                 "STARTTLS is offered although incoming TLS is switched off.");
    if (!wanted)
        return;
    if (!served->info)
        snprintf(served->alarm, sizeof served->alarm, "%s on %s%s",
                 ask->implicit      ? "The TLS handshake fails"
                 : served->starttls ? "STARTTLS is offered and the handshake fails"
                                    : "Incoming TLS is switched on and STARTTLS is not offered",
                 served->address, served->error[0] ? ": see error." : ".");
    else if (!is_in_force(a, ask, served->info))
        snprintf(served->alarm, sizeof served->alarm,
                 "The certificate that is served on %s is not one that the settings name.",
                 served->address);
}

/* ---- looking ---- */

static void look(const struct asks *a, const struct ask *ask, struct api_served *served,
                 struct tls_certificate **out_seen, struct served_texts *texts)
{
    const struct timespec pause = { .tv_nsec = AGAIN_AFTER_MS * 1000000L };

    /* Settings count on a loop within a turn: what differs is looked at twice. */
    for (int turn = 0; turn < 2; turn++) {
        *served = (struct api_served){ .implicit = ask->implicit, .kind = ask->kind };
        snprintf(served->address, sizeof served->address, "%s", ask->address);
        served_look(served, signatures_of(ask->kind), out_seen, texts);
        if (*out_seen)
            served->info = tls_certificate_info(*out_seen);
        if (a->settings)
            compare(a, ask, served);
        if (!served->alarm[0] || turn == 1)
            return;
        tls_certificate_unref(*out_seen);
        nanosleep(&pause, NULL);
    }
}

void truth_each(struct process *p, void (*show)(void *user, const struct api_served *served),
                void *user)
{
    struct asks a;
    bool unknown = false;

    gather(p, &a);
    for (uint32_t i = 0; i < a.count && !unknown; i++) {
        struct tls_certificate *seen = NULL;
        struct served_texts texts;
        struct api_served served;

        look(&a, &a.list[i], &served, &seen, &texts);
        show(user, &served);
        tls_certificate_unref(seen);
        unknown = served.unknown; /* the others would say no more */
    }
    asks_done(&a);
}

/* ---- for the status ---- */

static void take_alarm(void *user, const struct api_served *served)
{
    char *alarm = user;

    if (!alarm[0])
        memcpy(alarm, served->alarm, sizeof served->alarm);
}

void truth_alarm(struct process *p, char out[240])
{
    struct settings *s = control_current(&p->control);
    struct truth *t = &p->truth;
    bool offered = s && (s->tls.incoming || s->tls.implicit_port);
    int64_t now = clock_mono_ns();

    out[0] = 0;
    /* One job looks, the other has what is known: a listener that hangs must not hold up both. */
    if (offered && pthread_mutex_trylock(&t->lock) == 0) {
        if (!t->looked_ns || now - t->looked_ns > LOOK_EVERY_S * INT64_C(1000000000) ||
            t->revision != s->revision) {
            t->alarm[0] = 0;
            truth_each(p, take_alarm, t->alarm);
            t->looked_ns = clock_mono_ns();
            t->revision = s->revision;
        }
        memcpy(out, t->alarm, sizeof t->alarm);
        pthread_mutex_unlock(&t->lock);
    }
    settings_unref(s);
}
