#include "daemon/confirm.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "settings/audit.h"

static void remember(struct control *c, const struct settings_pending *p)
{
    pthread_mutex_lock(&c->lock);
    c->pending = *p;
    if (p->revision == 0)
        c->confirm_fault.err = PT_ERR_OK;
    pthread_mutex_unlock(&c->lock);
}

void confirm_changed(struct control *c)
{
    struct settings_pending p;

    if (settings_store_pending(c->store, &p, NULL) == PT_ERR_OK)
        remember(c, &p);
}

void confirm_pending(struct control *c, struct settings_pending *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->pending;
    pthread_mutex_unlock(&c->lock);
}

enum pt_err confirm_allows_change(struct control *c, struct pt_fault *fault)
{
    char until[CLOCK_RFC3339_SIZE];

    if (c->pending.revision == 0)
        return PT_ERR_OK;
    clock_rfc3339(c->pending.confirm_by_us, until);
    return pt_fault_set(fault, PT_ERR_BUSY,
                        "Revision %llu waits to be confirmed until %.19sZ; confirm it, or go back, "
                        "before another change.",
                        (unsigned long long)c->pending.revision, until);
}

/* ---- going back ---- */

static struct settings_audit own_row(const struct settings_pending *p, char text[120])
{
    snprintf(text, 120, "revision %llu was not confirmed in time", (unsigned long long)p->revision);
    return (struct settings_audit){ .time_us = clock_wall_us(),
                                    .actor = STR("postern"),
                                    .uid = SETTINGS_AUDIT_NO_UID,
                                    .origin = STR("confirm_within"),
                                    .action = "settings.revert",
                                    .detail = str_of(text) };
}

static bool is_over(const struct settings_pending *p)
{
    return p->revision && clock_wall_us() >= p->confirm_by_us;
}

/* Nothing is in force yet: the store alone goes back. */
void confirm_begin(struct control *c)
{
    struct settings_pending p;
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct settings_audit row;
    struct settings_commit commit;
    char text[120];
    uint64_t revision;

    if (settings_store_pending(c->store, &p, &fault) != PT_ERR_OK)
        return; /* reading the settings tells the same trouble */
    if (is_over(&p)) {
        row = own_row(&p, text);
        commit = (struct settings_commit){ .author = row.actor,
                                           .comment = row.detail,
                                           .time_us = row.time_us,
                                           .expected = p.revision,
                                           .audit = &row };
        if (settings_store_rollback(c->store, p.before, &commit, &revision, &fault) == PT_ERR_OK) {
            log_text(LOG_WARN, "settings", "%s: back to revision %llu", text,
                     (unsigned long long)p.before);
            p.revision = 0;
        }
    }
    remember(c, &p);
}

/* Under the lock of changes. */
static enum pt_err go_back(struct control *c, const struct settings_pending *p,
                           const struct settings_audit *row, uint64_t *out_revision,
                           struct pt_fault *fault)
{
    struct api_change_result result = { 0 };
    struct settings_revision r = { 0 };
    struct api_change change = { .stored_form = true,
                                 .confirmed = SETTINGS_CONFIRM_ALL,
                                 .restored_from = p->before,
                                 .reverts = true,
                                 .author = row->actor,
                                 .comment = row->detail,
                                 .expected = p->revision,
                                 .audit = row };
    enum pt_err err = settings_store_get(c->store, p->before, &r, fault);

    settings_errors_init(&result.errors);
    if (err == PT_ERR_OK) {
        change.document = str_of(r.document);
        err = control_change_locked(c, &change, &result, fault);
        if (err != PT_ERR_OK && fault->err == PT_ERR_OK)
            pt_fault_set(fault, err, "%s",
                         result.errors.error_count ? result.errors.errors[0].detail
                                                   : pt_err_text(err));
    }
    if (err == PT_ERR_OK)
        *out_revision = result.revision;
    settings_unref(result.settings);
    settings_errors_done(&result.errors);
    settings_revision_done(&r);
    return err;
}

/* Under the lock of changes. */
static void check_locked(struct control *c)
{
    struct settings_pending p = c->pending;
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct settings_audit row;
    uint64_t revision;
    char text[120];
    bool news;

    if (!c->store || !is_over(&p))
        return;
    row = own_row(&p, text);
    if (go_back(c, &p, &row, &revision, &fault) == PT_ERR_OK) {
        log_text(LOG_WARN, "settings", "%s: back to revision %llu", text,
                 (unsigned long long)p.before);
        return;
    }
    pthread_mutex_lock(&c->lock);
    news = strcmp(c->confirm_fault.text, fault.text) != 0;
    c->confirm_fault = fault;
    pthread_mutex_unlock(&c->lock);
    if (news)
        log_text(LOG_ERROR, "settings", "%s, and going back fails: %s", text, fault.text);
}

void confirm_check(struct control *c)
{
    pthread_mutex_lock(&c->change);
    if (!c->stopping)
        check_locked(c);
    pthread_mutex_unlock(&c->change);
}

/* ---- a person's word ---- */

static enum pt_err expect_pending(struct control *c, struct settings_pending *out,
                                  struct pt_fault *fault)
{
    *out = c->pending;
    if (c->store && out->revision)
        return PT_ERR_OK;
    return pt_fault_set(fault, PT_ERR_NOTFOUND, "No change of the settings waits to be confirmed.");
}

enum pt_err confirm_now(struct control *c, const struct settings_audit *audit,
                        uint64_t *out_revision, struct pt_fault *fault)
{
    struct settings_pending p;
    enum pt_err err;

    pthread_mutex_lock(&c->change);
    err = expect_pending(c, &p, fault);
    if (err == PT_ERR_OK)
        err = settings_store_confirm(c->store, p.revision, audit, fault);
    if (err == PT_ERR_OK) {
        remember(c, &(struct settings_pending){ 0 });
        *out_revision = p.revision;
        log_text(LOG_INFO, "settings", "revision %llu is confirmed",
                 (unsigned long long)p.revision);
    }
    pthread_mutex_unlock(&c->change);
    return err;
}

enum pt_err confirm_revert(struct control *c, const struct settings_audit *audit,
                           uint64_t *out_revision, struct pt_fault *fault)
{
    struct settings_pending p;
    enum pt_err err;

    pthread_mutex_lock(&c->change);
    err = expect_pending(c, &p, fault);
    if (err == PT_ERR_OK)
        err = go_back(c, &p, audit, out_revision, fault);
    pthread_mutex_unlock(&c->change);
    return err;
}
