#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/certificates.h"
#include "daemon/confirm.h"
#include "daemon/participants.h"
#include "net/host.h"
#include "settings/audit.h"
#include "settings/changes.h"
#include "settings/secrets.h"

enum { FILE_MAX = SETTINGS_DOCUMENT_MAX, PUBLISH_MS = 1000 };

/* ---- small parts ---- */

static struct settings_host this_host(const struct control *c, char name[256], unsigned confirmed)
{
    net_host_name(name);
    return (struct settings_host){ .hostname = name,
                                   .now_us = clock_wall_us(),
                                   .confirmed = confirmed,
                                   .secret = settings_secret_read,
                                   .secret_ctx = (void *)c->state->dir };
}

static void set_fault(struct control *c, struct pt_fault *which, const struct pt_fault *fault)
{
    pthread_mutex_lock(&c->lock);
    *which = *fault;
    pthread_mutex_unlock(&c->lock);
}

/* Takes over the reference. */
static void make_current(struct control *c, struct settings *s)
{
    struct settings *old;

    pthread_mutex_lock(&c->lock);
    old = c->current;
    c->current = s;
    c->settings_fault.err = PT_ERR_OK;
    c->apply_fault.err = PT_ERR_OK;
    pthread_mutex_unlock(&c->lock);
    settings_unref(old);
}

/* ---- at start ---- */

/* Also tried before each change: an administrator who has moved a damaged database away need not
 * restart. */
static bool open_store(struct control *c)
{
    struct pt_fault fault = { .err = PT_ERR_OK };

    if (settings_store_open(&c->store, c->state->dir, SETTINGS_STORE_CREATE, &fault) != PT_ERR_OK)
        c->store = NULL;
    set_fault(c, &c->store_fault, &fault);
    if (c->store) {
        fault.err = PT_ERR_OK;
        PT_IGNORE(settings_store_reserve(c->store, &fault), "the fault tells");
        set_fault(c, &c->write_fault, &fault);
    }
    return c->store != NULL;
}

static enum pt_err load(struct control *c, struct settings **out, struct pt_fault *fault)
{
    struct settings_revision r = { 0 };
    enum pt_err err = settings_store_current(c->store, &r, fault);
    struct settings_errors errors;
    struct settings_host host;
    char name[256];
    struct buf text;

    if (err != PT_ERR_OK && err != PT_ERR_NOTFOUND)
        return err;
    /* Without a revision the default document is in force. */
    host = this_host(c, name, SETTINGS_CONFIRM_ALL);
    host.secrets_may_be_gone = true;
    host.find_list = settings_store_find_list;
    host.find_ctx = c->store;
    settings_errors_init(&errors);
    err = settings_parse(r.document ? r.document : "{}", r.document ? strlen(r.document) : 2, &host,
                         out, &errors);
    if (err == PT_ERR_OK) {
        settings_set_revision(*out, r.number);
    } else {
        buf_init(&text, 4096);
        settings_errors_write(&errors, &text);
        pt_fault_set(fault, err, "settings revision %llu is not valid: %.150s",
                     (unsigned long long)r.number, buf_cstr(&text) ? buf_cstr(&text) : "");
        fault->text[strcspn(fault->text, "\n")] = 0;
        buf_done(&text);
    }
    settings_errors_done(&errors);
    settings_revision_done(&r);
    return err;
}

/* The first start keeps the defaults as a revision before there is a spool: beside a spool, no
 * database, or one without a revision, is not the one that was there. None is made then, so that an
 * administrator can put the right one back. */
static enum pt_err expect_some(struct control *c, struct pt_fault *fault)
{
    char spool[STATE_PATH_SIZE], database[STATE_PATH_SIZE];
    uint64_t head = 0;
    bool used;
    enum pt_err err = PT_ERR_OK;

    state_path(c->state, "spool", spool);
    state_path(c->state, "settings.db", database);
    used = access(spool, F_OK) == 0;
    if (!used || access(database, F_OK) == 0) {
        if (!c->store && !open_store(c)) {
            *fault = c->store_fault;
            return fault->err;
        }
        err = settings_store_head(c->store, &head, fault);
    }
    if (err != PT_ERR_OK || head > 0 || !used)
        return err;
    settings_store_close(c->store); /* a change opens it again */
    c->store = NULL;
    return pt_fault_set(
        fault, PT_ERR_NOTFOUND,
        "this state folder was in use, but its settings are gone; apply them from a "
        "file, or put settings.db back from a backup");
}

/* Puts the stored settings into force; why not is in settings_fault, and logged when it is new. */
static bool take_stored(struct control *c)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct settings *s = NULL;
    enum pt_err err = expect_some(c, &fault);

    if (err == PT_ERR_OK)
        confirm_begin(c);
    if (err == PT_ERR_OK)
        err = load(c, &s, &fault);
    if (err == PT_ERR_OK && participants_begin(c, s, &fault)) {
        make_current(c, s);
        return true;
    }
    settings_unref(s);
    if (c->settings_fault.err != fault.err || strcmp(c->settings_fault.text, fault.text) != 0)
        log_text(LOG_ERROR, "settings", "%s", fault.text);
    set_fault(c, &c->settings_fault, &fault);
    return false;
}

void control_init(struct control *c, const struct state *state)
{
    *c = (struct control){ .state = state, .host_watch = net_host_watch() };
    pthread_mutex_init(&c->change, NULL);
    pthread_mutex_init(&c->lock, NULL);
    listening_adopt(&c->listening);
    c->tickets = tls_tickets_new();
    participants_register(c);
    PT_IGNORE(take_stored(c), "tried again by control_retry()");
    participants_open_resolver(c);
}

void control_keep_defaults(struct control *c)
{
    const struct settings_audit row = { .time_us = clock_wall_us(),
                                        .actor = STR("postern"),
                                        .uid = SETTINGS_AUDIT_NO_UID,
                                        .origin = STR("the first start"),
                                        .action = "settings.change",
                                        .detail = STR("the defaults") };
    const struct settings_commit commit = { .document = STR("{}"),
                                            .author = row.actor,
                                            .comment = row.detail,
                                            .time_us = row.time_us,
                                            .expected = 0,
                                            .audit = &row };
    struct pt_fault fault;
    uint64_t revision;

    if (!c->store || !c->current || c->current->revision != 0)
        return;
    if (settings_store_commit(c->store, &commit, &revision, &fault) == PT_ERR_OK)
        settings_set_revision(c->current, revision);
    else
        log_text(LOG_ERROR, "settings", "%s", fault.text);
}

void control_done(struct control *c)
{
    if (c->host_watch >= 0)
        close(c->host_watch);
    free(c->host_nets);
    listening_release(&c->listening);
    settings_store_close(c->store);
    settings_unref(c->current);
    policy_snapshot_unref(c->snapshot);
    tls_server_unref(c->tls);
    relay_clients_unref(c->outgoing);
    tls_tickets_free(c->tickets);
    net_resolver_free(c->resolver);
    pthread_mutex_destroy(&c->change);
    pthread_mutex_destroy(&c->lock);
}

static enum pt_err read_file(const char *path, struct buf *out, struct pt_fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;

    if (fd < 0)
        return pt_fault_errno(fault, errno, "cannot open %s", path);
    while (n > 0 && buf_reserve(out, 65536)) {
        n = read(fd, out->p + out->n, 65536);
        if (n > 0)
            out->n += (size_t)n;
    }
    if (n < 0)
        pt_fault_errno(fault, errno, "cannot read %s", path);
    else if (n > 0)
        pt_fault_set(fault, PT_ERR_TOOBIG, "%s is larger than %u MiB", path, FILE_MAX >> 20);
    close(fd);
    return n == 0 ? PT_ERR_OK : fault->err;
}

void control_apply_file(struct control *c, const char *path)
{
    struct settings_audit row = { .actor = STR("command line"),
                                  .uid = SETTINGS_AUDIT_NO_UID,
                                  .origin = STR("--apply at the start"),
                                  .action = "settings.change",
                                  .target = str_of(path) };
    struct api_change_result result = { 0 };
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct buf document, text;
    struct log_line line;
    uint64_t id;
    enum pt_err err;

    buf_init(&document, FILE_MAX);
    buf_init(&text, 65536);
    settings_errors_init(&result.errors);
    err = read_file(path, &document, &fault);
    if (err == PT_ERR_OK)
        err = control_change(c,
                             &(struct api_change){ .document = buf_str(&document),
                                                   .author = STR("command line"),
                                                   .comment = STR("--apply"),
                                                   .audit = &row,
                                                   .expected = SETTINGS_REVISION_ANY },
                             &result, &fault);
    if (err != PT_ERR_OK) {
        settings_errors_write(&result.errors, &text);
        fprintf(stderr, "postern: the settings of %s were not applied: %s%s%s", path,
                fault.err != PT_ERR_OK ? fault.text : "", fault.err != PT_ERR_OK ? "\n" : "",
                text.n ? buf_cstr(&text) : "");
        if (fault.err == PT_ERR_OK)
            pt_fault_set(&fault, err, "%.200s", text.n ? buf_cstr(&text) : pt_err_text(err));
        fault.text[strcspn(fault.text, "\n")] = 0;
        row.outcome = SETTINGS_AUDIT_REFUSED;
        row.detail = str_of(fault.text);
        row.time_us = clock_wall_us();
        if (c->store)
            PT_IGNORE(settings_audit_add(c->store, &row, &id, NULL), "it is logged below too");
        set_fault(c, &c->apply_fault, &fault);
        log_begin(&line, LOG_ERROR, "settings");
        log_cstr(&line, "file", path);
        log_cstr(&line, "text", fault.text);
        log_end(&line);
    }
    settings_unref(result.settings);
    settings_errors_done(&result.errors);
    if (document.n)
        explicit_bzero(document.p, document.n); /* it may bring a password */
    buf_done(&document);
    buf_done(&text);
}

void control_serve(struct control *c, struct gateway *gateway, struct relay *relay)
{
    pthread_mutex_lock(&c->change);
    c->gateway = gateway;
    c->relay = relay;
    if (gateway && c->current)
        participants_serve(c);
    pthread_mutex_unlock(&c->change);
}

bool control_retry(struct control *c)
{
    bool done;

    confirm_check(c);
    pthread_mutex_lock(&c->change);
    if (!c->current && take_stored(c) && c->gateway)
        participants_serve(c);
    done = c->current && participants_retry(c);
    pthread_mutex_unlock(&c->change);
    return done;
}

void control_stop_listening(struct control *c)
{
    pthread_mutex_lock(&c->change);
    c->stopping = true;
    if (c->gateway && c->current)
        participants_stop_listening(c);
    pthread_mutex_unlock(&c->change);
}

/* ---- changes ---- */

struct settings *control_current(struct control *c)
{
    struct settings *s;

    pthread_mutex_lock(&c->lock);
    s = c->current ? settings_ref(c->current) : NULL;
    pthread_mutex_unlock(&c->lock);
    return s;
}

struct policy_snapshot *control_snapshot(struct control *c)
{
    struct policy_snapshot *s;

    pthread_mutex_lock(&c->lock);
    s = c->snapshot ? policy_snapshot_ref(c->snapshot) : NULL;
    pthread_mutex_unlock(&c->lock);
    return s;
}

/* What the change is called in the audit log, with what is different. */
static struct settings_audit audit_row(struct control *c, const struct api_change *change,
                                       const struct settings *s, struct buf *changes)
{
    struct settings_audit row = { .actor = change->author,
                                  .uid = SETTINGS_AUDIT_NO_UID,
                                  .action = "settings.change",
                                  .detail = change->comment };

    if (change->audit)
        row = *change->audit;
    row.time_us = clock_wall_us();
    if (c->current)
        settings_changes_between(c->current, s, SETTINGS_AUDIT_CHANGES_MAX, changes);
    row.changes = buf_str(changes);
    return row;
}

static int64_t confirm_by(const struct api_change *change)
{
    return change->confirm_within ? clock_wall_us() + change->confirm_within * INT64_C(1000000) : 0;
}

static enum pt_err store_revision(struct control *c, const struct api_change *change,
                                  const struct settings *s, uint64_t *out_revision,
                                  struct pt_fault *fault)
{
    struct buf changes;
    struct settings_audit row;
    struct settings_commit commit = { .author = change->author,
                                      .comment = change->comment,
                                      .time_us = clock_wall_us(),
                                      .expected = change->expected,
                                      .audit = &row,
                                      .confirm_by_us = confirm_by(change) };
    char *document = change->restored_from ? NULL : settings_document_to_store(s);
    enum pt_err err;

    if (!change->restored_from && !document)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for the new settings");
    for (int i = 0; i < SETTINGS_LISTS; i++)
        commit.lists[i] = settings_list_of(s, (enum settings_list_of)i);
    buf_init(&changes, SETTINGS_AUDIT_CHANGES_MAX);
    row = audit_row(c, change, s, &changes);
    err = settings_secrets_keep(c->state->dir, s, fault);
    if (err == PT_ERR_OK && change->restored_from) {
        err =
            settings_store_rollback(c->store, change->restored_from, &commit, out_revision, fault);
    } else if (err == PT_ERR_OK) {
        commit.document = str_of(document);
        err = settings_store_commit(c->store, &commit, out_revision, fault);
    }
    buf_done(&changes);
    free(document);
    return err;
}

/* The store, and that nobody has changed the settings meanwhile. */
static enum pt_err expect_revision(struct control *c, const struct api_change *change,
                                   uint64_t *out_head, struct pt_fault *fault)
{
    enum pt_err err;

    if (c->stopping)
        return pt_fault_set(fault, PT_ERR_CLOSED, "the gateway is shutting down");
    if (!c->store && !open_store(c)) {
        *fault = c->store_fault;
        return fault->err;
    }
    err = settings_store_head(c->store, out_head, fault);
    if (err == PT_ERR_OK && change->expected != SETTINGS_REVISION_ANY &&
        change->expected != *out_head)
        return pt_fault_set(fault, PT_ERR_CONFLICT,
                            "the settings were changed meanwhile: revision %llu is in force, not "
                            "%llu",
                            (unsigned long long)*out_head, (unsigned long long)change->expected);
    return err;
}

/* Prepare, store, publish, release; `s` keeps its one reference. */
static enum pt_err carry_out(struct control *c, const struct api_change *change, struct settings *s,
                             struct api_change_result *out, struct pt_fault *fault)
{
    struct settings_refusal why = { .pointer = NULL };
    struct settings_prepared prepared;
    enum pt_err err = settings_prepare(&c->participants, s, &prepared, &why);

    if (err != PT_ERR_OK) {
        *fault = why.fault;
        if (why.pointer)
            settings_errors_refuse(&out->errors, why.pointer, fault->text);
        return err;
    }
    if (!change->dry_run)
        err = store_revision(c, change, s, &out->revision, fault);
    if (err == PT_ERR_OK && !change->dry_run) {
        settings_set_revision(s, out->revision);
        set_fault(c, &c->write_fault, &(struct pt_fault){ .err = PT_ERR_OK });
        settings_publish(&c->participants, s, &prepared);
        confirm_changed(c);
        /* Who is told that it is in force may connect at once and look. */
        if (c->gateway)
            PT_IGNORE(!gateway_wait_published(c->gateway, PUBLISH_MS), "a busy loop follows");
        make_current(c, settings_ref(s));
        log_text(LOG_INFO, "settings", "revision %llu is in force",
                 (unsigned long long)s->revision);
    }
    settings_release(&c->participants, &prepared);
    return err;
}

static void tell_messages(const struct control *c, struct settings_host *host)
{
    struct gateway_stats stats;

    if (!c->gateway)
        return;
    gateway_get_stats(c->gateway, &stats);
    host->messages = stats.messages;
    host->messages_clear = stats.messages - stats.messages_tls;
}

enum pt_err control_change_locked(struct control *c, const struct api_change *change,
                                  struct api_change_result *out, struct pt_fault *fault)
{
    struct settings *s = NULL;
    struct settings_host host;
    uint64_t head = 0;
    char name[256];
    enum pt_err err = expect_revision(c, change, &head, fault);

    out->revision = head;
    if (err == PT_ERR_OK && !change->dry_run && !change->reverts)
        err = confirm_allows_change(c, fault);
    if (err != PT_ERR_OK)
        return err;
    host = this_host(c, name, c->current ? settings_hazards(c->current) : 0);
    host.in_force = c->current;
    host.secrets_may_be_gone = change->reverts;
    host.confirmed |= change->confirmed;
    memcpy(host.lists, change->lists, sizeof host.lists);
    if (change->stored_form) {
        host.find_list = settings_store_find_list;
        host.find_ctx = c->store;
    }
    if (!change->reverts) {
        certificates_host(c->state, &host);
        host.has_address = net_host_has_address;
    }
    tell_messages(c, &host);
    err = settings_parse(change->document.p, change->document.n, &host, &s, &out->errors);
    if (err == PT_ERR_OK)
        err = carry_out(c, change, s, out, fault);
    if (err == PT_ERR_OK)
        out->settings = s;
    else
        settings_unref(s);
    return err;
}

enum pt_err control_change(struct control *c, const struct api_change *change,
                           struct api_change_result *out, struct pt_fault *fault)
{
    struct pt_fault why = { .err = PT_ERR_OK };
    enum pt_err err;

    pthread_mutex_lock(&c->change);
    err = control_change_locked(c, change, out, &why);
    pthread_mutex_unlock(&c->change);
    if (fault)
        *fault = why;
    return err;
}
