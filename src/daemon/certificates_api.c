#include "daemon/certificates_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/process.h"
#include "tls/store.h"

enum { LISTED_MAX = 1000 };

/* Where the settings name it; NULL: nowhere. */
static const char *named_by(const struct settings *s, struct str id)
{
    return s ? settings_names_certificate(s, id) : NULL;
}

/* What is to be said about it is said now: what came along and is of no use is not kept. */
static enum pt_err keep(struct process *p, const struct tls_certificate *c,
                        struct tls_findings *findings, struct pt_fault *fault)
{
    struct settings *s = control_current(&p->control);

    tls_certificate_check(c, s ? str_of(s->identity.hostname) : STR_NULL, clock_wall_us(),
                          findings);
    settings_unref(s);
    return tls_store_put(p->state.dir, c, fault);
}

enum pt_err certificates_upload(void *ctx, const struct tls_upload *upload,
                                struct tls_findings *findings, char id[TLS_ID_SIZE],
                                struct pt_fault *fault)
{
    struct process *p = ctx;
    struct tls_certificate *c = NULL;
    enum pt_err err = tls_certificate_read(&c, upload, findings);

    if (err == PT_ERR_OK)
        err = keep(p, c, findings, fault);
    else if (err != PT_ERR_INVALID)
        pt_fault_set(fault, err, "reading the certificate: %s", pt_err_text(err));
    if (err == PT_ERR_OK)
        memcpy(id, tls_certificate_id(c), TLS_ID_SIZE);
    tls_certificate_unref(c);
    return err;
}

/* ---- showing ---- */

static enum pt_err show_one(struct process *p, const struct settings *s,
                            const struct tls_store_entry *e, api_certificate_fn *show, void *user,
                            struct pt_fault *fault)
{
    struct tls_findings *findings = calloc(1, sizeof *findings);
    struct tls_certificate *c = NULL;
    struct api_certificate shown = { .id = e->id,
                                     .ca = e->ca,
                                     .in_use = named_by(s, str_of(e->id)) != NULL,
                                     .uploaded_us = e->uploaded_us,
                                     .findings = findings };
    struct pt_fault why = { 0 };
    enum pt_err err;

    if (!findings)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    err = tls_store_get(p->state.dir, str_of(e->id), &c, &why);
    if (err == PT_ERR_OK) {
        shown.info = tls_certificate_info(c);
        tls_certificate_check(c, s ? str_of(s->identity.hostname) : STR_NULL, clock_wall_us(),
                              findings);
    } else {
        tls_finding_add(findings, true, TLS_FIELD_CERTIFICATE, "damaged",
                        "Remove it and upload it once more.", "%s", why.text);
    }
    show(user, &shown);
    tls_certificate_unref(c);
    free(findings);
    return PT_ERR_OK;
}

enum pt_err certificates_each(void *ctx, struct str id, api_certificate_fn *show, void *user,
                              struct pt_fault *fault)
{
    struct process *p = ctx;
    struct tls_store_entry *list = calloc(LISTED_MAX, sizeof *list);
    struct settings *s = control_current(&p->control);
    uint32_t total = 0, shown = 0;
    enum pt_err err =
        list ? tls_store_list(p->state.dir, list, LISTED_MAX, &total, fault) : PT_ERR_NOMEM;

    for (uint32_t i = 0; err == PT_ERR_OK && i < PT_MIN(total, (uint32_t)LISTED_MAX); i++) {
        if (id.p && !str_eq(id, str_of(list[i].id)))
            continue;
        err = show_one(p, s, &list[i], show, user, fault);
        shown++;
    }
    if (err == PT_ERR_OK && id.p && shown == 0)
        err = pt_fault_set(fault, PT_ERR_NOTFOUND, "there is no such certificate");
    settings_unref(s);
    free(list);
    return err;
}

enum pt_err certificates_remove(void *ctx, struct str id, struct pt_fault *fault)
{
    struct process *p = ctx;
    struct settings *s;
    const char *where;
    enum pt_err err;

    if (!tls_id_valid(id))
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "there is no such certificate");
    /* No change of the settings may name it between the look and the removal. */
    pthread_mutex_lock(&p->control.change);
    s = control_current(&p->control);
    where = named_by(s, id);
    if (where)
        err = pt_fault_set(fault, PT_ERR_BUSY,
                           "Certificate %.*s is in use: the settings name it at %s.", STR_FMT(id),
                           where);
    else
        err = tls_store_remove(p->state.dir, id, fault);
    settings_unref(s);
    pthread_mutex_unlock(&p->control.change);
    return err;
}

/* ---- what is served ---- */

void certificates_served(void *ctx, void (*show)(void *user, const struct api_served *served),
                         void *user)
{
    truth_each(ctx, show, user);
}
