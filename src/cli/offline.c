#include "cli/offline.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/output.h"
#include "settings/audit.h"
#include "settings/changes.h"
#include "settings/schema.h"
#include "settings/secrets.h"
#include "settings/store.h"

static struct settings_store *open_store(struct cli *c, enum settings_store_mode mode,
                                         enum pt_err *out_err)
{
    struct settings_store *store = NULL;
    struct pt_fault fault = { 0 };

    *out_err = settings_store_open(&store, c->state, mode, &fault);
    if (*out_err == PT_ERR_OK)
        return store;
    /* A missing store is no trouble for those that read; a missing folder is. */
    if (*out_err != PT_ERR_NOTFOUND || mode == SETTINGS_STORE_CREATE ||
        access(c->state, F_OK) != 0) {
        cli_fail("the gateway is down, and %s",
                 access(c->state, F_OK) != 0 ? "its state folder is not there" : fault.text);
        *out_err = PT_ERR_IO;
    }
    return NULL;
}

/* ---- checking ---- */

static void host_facts(struct settings_host *host, char name[256])
{
    if (gethostname(name, 255) != 0)
        name[0] = 0;
    name[255] = 0;
    *host = (struct settings_host){ .hostname = name, .now_us = clock_wall_us() };
}

/* Parses under today's schema; with the store it comes from, it was confirmed when it was
 * committed. NULL: said. */
static struct settings *check(struct cli *c, struct str document, struct settings_store *store,
                              bool warn)
{
    struct settings_errors errors;
    struct settings_host host;
    struct settings *s = NULL;
    struct buf text;
    char name[256];
    enum pt_err err;

    host_facts(&host, name);
    if (store) {
        host.confirmed = SETTINGS_CONFIRM_ALL;
        host.find_list = settings_store_find_list;
        host.find_ctx = store;
    } else {
        host.secret = settings_secret_read;
        host.secret_ctx = (void *)c->state;
    }
    settings_errors_init(&errors);
    err = settings_parse(document.p, document.n, &host, &s, &errors);
    buf_init(&text, 1024 * 1024);
    settings_errors_write(&errors, &text);
    if (err == PT_ERR_OK && warn)
        fwrite(text.p ? text.p : "", 1, text.n, stderr);
    else if (err == PT_ERR_INVALID && errors.error_count == 1 && !errors.more_errors)
        cli_fail("%.*s", (int)str_trim(buf_str(&text)).n, text.p ? text.p : "");
    else if (err == PT_ERR_INVALID)
        cli_fail("the settings cannot be accepted:\n%.*s", (int)str_trim(buf_str(&text)).n,
                 text.p ? text.p : "");
    else if (err)
        cli_fail("%s", pt_err_text(err));
    buf_done(&text);
    settings_errors_done(&errors);
    return s;
}

/* ---- reading ---- */

static json_t *full_document(const struct settings *s)
{
    struct buf text;
    json_t *doc = NULL;

    buf_init(&text, (size_t)1 << 30);
    settings_document_full(s, &text);
    if (!text.failed)
        doc = json_loadb(text.p, text.n, 0, NULL);
    buf_done(&text);
    if (!doc)
        cli_fail("out of memory");
    return doc;
}

json_t *offline_document(struct cli *c)
{
    struct settings_revision r = { 0 };
    struct pt_fault fault = { 0 };
    enum pt_err err;
    struct settings_store *store = open_store(c, SETTINGS_STORE_READ, &err);
    struct settings *s;
    json_t *doc = NULL;

    if (store)
        err = settings_store_current(store, &r, &fault);
    if (err && err != PT_ERR_NOTFOUND) {
        if (store)
            cli_fail("%s", fault.text);
        settings_store_close(store);
        return NULL;
    }
    s = check(c, r.document ? str_of(r.document) : STR("{}"), store, false);
    settings_store_close(store);
    if (s)
        doc = full_document(s);
    settings_unref(s);
    settings_revision_done(&r);
    return doc;
}

json_t *offline_revision(struct cli *c, uint64_t number)
{
    struct settings_revision r = { 0 };
    struct pt_fault fault = { 0 };
    enum pt_err err;
    struct settings_store *store = open_store(c, SETTINGS_STORE_READ, &err);
    json_t *doc = NULL;

    if (store)
        err = settings_store_get(store, number, &r, &fault);
    if (!err)
        err = settings_store_expand(store, &r, &fault);
    settings_store_close(store);
    if (err == PT_ERR_NOTFOUND)
        cli_fail("there is no revision %" PRIu64, number);
    else if (err && store)
        cli_fail("%s", fault.text);
    else if (!err)
        doc = json_loads(r.document, 0, NULL);
    settings_revision_done(&r);
    return doc;
}

static json_t *row_json(const struct settings_revision *r)
{
    char time[CLOCK_RFC3339_SIZE];

    clock_rfc3339(r->time_us, time);
    return json_pack("{s:I, s:s, s:s, s:s, s:o, s:I}", "revision", (json_int_t)r->number, "time",
                     time, "author", r->author, "comment", r->comment, "restored_from",
                     r->restored_from ? json_integer((json_int_t)r->restored_from) : json_null(),
                     "size", (json_int_t)r->size);
}

json_t *offline_history(struct cli *c, uint32_t limit)
{
    struct settings_revision *rows = calloc(limit, sizeof *rows);
    struct pt_fault fault = { 0 };
    enum pt_err err;
    struct settings_store *store = open_store(c, SETTINGS_STORE_READ, &err);
    json_t *items = json_array();
    uint64_t head = 0;
    uint32_t count = 0;

    if (store && rows) {
        err = settings_store_head(store, &head, &fault);
        if (!err)
            err = settings_store_history(store, 0, limit, rows, &count, &fault);
    }
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(items, row_json(&rows[i]));
        settings_revision_done(&rows[i]);
    }
    free(rows);
    settings_store_close(store);
    if (err && err != PT_ERR_NOTFOUND) {
        if (store)
            cli_fail("%s", fault.text);
        json_decref(items);
        return NULL;
    }
    return json_pack("{s:o, s:n, s:I}", "items", items, "next", "total", (json_int_t)head);
}

static json_t *text_or_null(struct str s)
{
    return s.n ? json_stringn(s.p, s.n) : json_null();
}

static json_t *number_or_null(uint64_t number, bool there)
{
    return there ? json_integer((json_int_t)number) : json_null();
}

/* As the API shows it. */
static void add_audit_row(void *user, uint64_t id, const struct settings_audit *a)
{
    json_t *changes = a->changes.n ? json_loadb(a->changes.p, a->changes.n, 0, NULL) : NULL;
    char time[CLOCK_RFC3339_SIZE];
    json_t *v = json_object();

    clock_rfc3339(a->time_us, time);
    json_object_set_new(v, "id", json_integer((json_int_t)id));
    json_object_set_new(v, "time", json_string(time));
    json_object_set_new(v, "actor", text_or_null(a->actor));
    json_object_set_new(v, "uid", number_or_null(a->uid, a->uid != SETTINGS_AUDIT_NO_UID));
    json_object_set_new(v, "origin", text_or_null(a->origin));
    json_object_set_new(v, "action", json_string(a->action));
    json_object_set_new(v, "target", text_or_null(a->target));
    json_object_set_new(v, "outcome", json_string(settings_audit_outcome_name(a->outcome)));
    json_object_set_new(v, "detail", text_or_null(a->detail));
    json_object_set_new(v, "changes", changes ? changes : json_array());
    json_object_set_new(v, "revision", number_or_null(a->revision, a->revision != 0));
    json_array_append_new(user, v);
}

json_t *offline_audit(struct cli *c, const struct settings_audit_filter *filter)
{
    struct pt_fault fault = { 0 };
    enum pt_err err;
    struct settings_store *store = open_store(c, SETTINGS_STORE_READ, &err);
    json_t *items = json_array();
    uint64_t total = 0;
    bool more;

    if (store)
        err = settings_audit_list(store, filter, add_audit_row, items, &total, &more, &fault);
    settings_store_close(store);
    if (err && err != PT_ERR_NOTFOUND) {
        if (store)
            cli_fail("%s", fault.text);
        json_decref(items);
        return NULL;
    }
    return json_pack("{s:o, s:n, s:I}", "items", items, "next", "total", (json_int_t)total);
}

/* ---- changing ---- */

static const char *author(void)
{
    const struct passwd *user = getpwuid(getuid());

    return user ? user->pw_name : "unknown";
}

static int report(uint64_t revision)
{
    printf("the gateway is down: revision %" PRIu64 " will be in force from its next start\n",
           revision);
    return CLI_OK;
}

static struct settings_commit commit_of(const struct cli *c)
{
    return (struct settings_commit){
        .author = str_of(author()),
        .comment = str_of(cli_option(c, "--comment")),
        .time_us = clock_wall_us(),
        .expected = SETTINGS_REVISION_ANY,
    };
}

static struct settings_audit audit_of(const struct settings_commit *commit, const char *action,
                                      const char *target)
{
    return (struct settings_audit){
        .time_us = commit->time_us,
        .actor = commit->author,
        .uid = getuid(),
        .origin = STR("command line, with the gateway down"),
        .action = action,
        .target = str_of(target),
        .detail = commit->comment,
    };
}

/* What is different from the settings that were stored until now; `out` may stay empty. The
 * document has its long lists in it. */
static void changes_from_stored(struct settings_store *store, struct str document, struct buf *out)
{
    struct settings_revision r = { 0 };
    enum pt_err err = settings_store_current(store, &r, NULL);

    if (err == PT_ERR_OK)
        err = settings_store_expand(store, &r, NULL);
    if (err == PT_ERR_OK || err == PT_ERR_NOTFOUND)
        settings_changes_write(r.document ? str_of(r.document) : STR("{}"), document,
                               SETTINGS_AUDIT_CHANGES_MAX, out);
    settings_revision_done(&r);
}

int offline_apply(struct cli *c, struct str document)
{
    struct settings_commit commit = commit_of(c);
    struct settings_audit row = audit_of(&commit, "settings.change", "");
    struct pt_fault fault = { 0 };
    struct settings_store *store;
    struct buf changes, full;
    struct settings *s = check(c, document, NULL, true);
    uint64_t revision;
    enum pt_err err;
    char *text;

    if (!s)
        return CLI_FAILED;
    if (cli_option(c, "--dry-run")) {
        settings_unref(s);
        puts("valid; nothing was changed");
        return CLI_OK;
    }
    text = settings_document_to_store(s);
    if (!text) {
        settings_unref(s);
        return cli_fail("out of memory");
    }
    /* The first settings may come before the first start. */
    if (mkdir(c->state, 0750) != 0 && errno != EEXIST) {
        settings_unref(s);
        free(text);
        return cli_fail("cannot make %s: %s", c->state, strerrordesc_np(errno));
    }
    store = open_store(c, SETTINGS_STORE_CREATE, &err);
    commit.document = str_of(text);
    for (int i = 0; i < SETTINGS_LISTS; i++)
        commit.lists[i] = settings_list_of(s, (enum settings_list_of)i);
    commit.audit = &row;
    buf_init(&changes, SETTINGS_AUDIT_CHANGES_MAX);
    if (store) {
        buf_init(&full, (size_t)1 << 30);
        settings_document_full(s, &full);
        changes_from_stored(store, buf_str(&full), &changes);
        buf_done(&full);
        row.changes = buf_str(&changes);
        err = settings_secrets_keep(c->state, s, &fault);
        if (!err)
            err = settings_store_commit(store, &commit, &revision, &fault);
        if (err)
            cli_fail("%s", fault.text);
    }
    settings_store_close(store);
    buf_done(&changes);
    settings_unref(s);
    free(text);
    return err ? CLI_FAILED : report(revision);
}

int offline_rollback(struct cli *c, uint64_t number)
{
    struct settings_commit commit = commit_of(c);
    struct settings_revision r = { 0 };
    struct pt_fault fault = { 0 };
    enum pt_err err;
    struct settings_store *store = open_store(c, SETTINGS_STORE_READ, &err);
    struct settings *s = NULL;
    bool dry_run = cli_option(c, "--dry-run") != NULL;
    struct settings_audit row;
    struct buf changes;
    char target[40];
    uint64_t revision = 0;

    if (store)
        err = settings_store_get(store, number, &r, &fault);
    if (err == PT_ERR_OK)
        s = check(c, str_of(r.document), store, true);
    settings_store_close(store);
    if (err == PT_ERR_NOTFOUND)
        return cli_fail("there is no revision %" PRIu64, number);
    if (err)
        return store ? cli_fail("%s", fault.text) : CLI_FAILED;
    settings_revision_done(&r);
    if (!s)
        return CLI_FAILED;
    settings_unref(s);
    if (dry_run) {
        puts("valid; nothing was changed");
        return CLI_OK;
    }
    store = open_store(c, SETTINGS_STORE_CREATE, &err);
    if (!store)
        return CLI_FAILED;
    snprintf(target, sizeof target, "revision %" PRIu64, number);
    row = audit_of(&commit, "settings.restore", target);
    commit.audit = &row;
    buf_init(&changes, SETTINGS_AUDIT_CHANGES_MAX);
    if (settings_store_get(store, number, &r, NULL) == PT_ERR_OK &&
        settings_store_expand(store, &r, NULL) == PT_ERR_OK)
        changes_from_stored(store, str_of(r.document), &changes);
    settings_revision_done(&r);
    row.changes = buf_str(&changes);
    err = settings_store_rollback(store, number, &commit, &revision, &fault);
    settings_store_close(store);
    buf_done(&changes);
    return err ? cli_fail("%s", fault.text) : report(revision);
}
