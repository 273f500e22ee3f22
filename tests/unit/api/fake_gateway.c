#include "fake_gateway.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "policy/policy.h"
#include "settings/store.h"

struct fake_gateway fake;
static struct settings *current;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- settings ---- */

static struct settings *get_current(void *ctx)
{
    struct settings *s;

    pthread_mutex_lock(&lock);
    s = fake.no_settings ? NULL : settings_ref(current);
    pthread_mutex_unlock(&lock);
    return s;
}

static struct policy_snapshot *snapshot(void *ctx)
{
    struct settings *s = get_current(ctx);
    struct policy_snapshot *snap = s ? policy_snapshot_new(s, NULL, 0) : NULL;

    settings_unref(s);
    return snap;
}

/* Entries of length 8 were hit. */
static void entry_hits(void *ctx, enum policy_which which, const struct net_prefix *entry,
                       uint64_t *out_hits, int64_t *out_last_us)
{
    *out_hits = entry->length == 8 ? 7 : 0;
    *out_last_us = entry->length == 8 ? 1700000000000000 : 0;
}

static void settings_pending(void *ctx, struct settings_pending *out)
{
    *out = fake.pending;
}

static enum pt_err settings_confirm(void *ctx, bool revert, const struct settings_audit *audit,
                                    uint64_t *out_revision, struct pt_fault *fault)
{
    if (fake.pending.revision == 0)
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "No change waits.");
    *out_revision = revert ? fake.pending.before : fake.pending.revision;
    fake.pending.revision = 0;
    return PT_ERR_OK;
}

static void publish(struct settings *s)
{
    pthread_mutex_lock(&lock);
    settings_unref(current);
    current = settings_ref(s);
    pthread_mutex_unlock(&lock);
}

static enum pt_err store(const struct api_change *change, struct settings *s, uint64_t *out)
{
    struct settings_store *db;
    struct settings_commit commit = {
        .author = change->author,
        .comment = change->comment,
        .time_us = clock_wall_us(),
        .expected = change->expected,
        .audit = change->audit,
        .lists = { s->control.deny_list, s->control.permit_list, s->message_rules.relay_domains },
    };
    char *text = settings_document_to_store(s);
    enum pt_err err = settings_store_open(&db, fake.directory, SETTINGS_STORE_CREATE, NULL);

    commit.document = str_of(text);
    if (!err && change->restored_from)
        err = settings_store_rollback(db, change->restored_from, &commit, out, NULL);
    else if (!err)
        err = settings_store_commit(db, &commit, out, NULL);
    settings_store_close(db);
    free(text);
    return err;
}

static struct settings_list *find_list(void *ctx, const struct settings_hash *hash)
{
    struct settings_list *list = NULL;
    struct settings_store *db;

    if (settings_store_open(&db, fake.directory, SETTINGS_STORE_READ, NULL) == PT_ERR_OK)
        list = settings_store_find_list(db, hash);
    settings_store_close(db);
    return list;
}

static enum pt_err apply(void *ctx, const struct api_change *change, struct api_change_result *out,
                         struct pt_fault *fault)
{
    struct settings_host host = { .hostname = "fake.example",
                                  .in_force = current,
                                  .confirmed = change->confirmed,
                                  .lists = { change->lists[0], change->lists[1], change->lists[2] },
                                  .find_list = change->stored_form ? find_list : NULL };
    enum pt_err err;

    if (fake.intruders) {
        fake.intruders--;
        settings_set_revision(current, current->revision + 1);
    }
    if (change->restored_from)
        host.confirmed = SETTINGS_CONFIRM_ALL;
    out->revision = current->revision;
    err =
        settings_parse(change->document.p, change->document.n, &host, &out->settings, &out->errors);
    if (err)
        return err;
    if (change->expected != SETTINGS_REVISION_ANY && change->expected != current->revision)
        return pt_fault_set(fault, PT_ERR_CONFLICT, "revision %d is in force", (int)out->revision);
    if (fake.participant)
        return pt_fault_set(fault, fake.participant, "port 25 is in use");
    if (change->dry_run)
        return PT_ERR_OK;
    err = store(change, out->settings, &out->revision);
    if (err)
        return err;
    settings_set_revision(out->settings, out->revision);
    publish(out->settings);
    return PT_ERR_OK;
}

/* ---- queue ---- */

static const struct api_recipient recipients[] = {
    { .address = { "ann@example.com", 15 },
      .destination = { "relay:25", 8 },
      .state = "deferred",
      .attempts = 2,
      .next_attempt_us = 1700000000000000,
      .code = 451,
      .reply = { "451 no\x1b[2J \xff", 12 } },
    { .address = { "bob@example.com", 15 }, .destination = { "relay:25", 8 }, .state = "queued" },
};

static const struct api_message messages[] = {
    { 1001,
      1600000000000000,
      5,
      false,
      false,
      { "a@x.example", 11 },
      { "192.0.2.1", 9 },
      { "x.example", 9 },
      recipients,
      2,
      0,
      2,
      2 },
    { 1002,
      1600000000000001,
      FAKE_LONG,
      true,
      false,
      { "b@x.example", 11 },
      { NULL, 0 },
      { NULL, 0 },
      recipients,
      1,
      0,
      1,
      1 },
    { 1003,
      1600000000000002,
      5,
      false,
      true,
      { NULL, 0 },
      { NULL, 0 },
      { NULL, 0 },
      recipients + 1,
      1,
      0,
      1,
      1 },
};

static enum pt_err list(void *ctx, const struct api_queue_filter *f, api_message_fn *show,
                        void *user, uint64_t *out_total)
{
    uint32_t shown = 0;
    uint64_t total = 0;

    for (size_t i = 0; i < PT_ARRAY_LEN(messages); i++) {
        const struct api_message *m = &messages[i];

        if ((f->state == API_QUEUE_HELD && !m->held) ||
            (f->sender.p && !str_eq(f->sender, m->reverse_path)))
            continue;
        total++;
        if (m->id > f->after && shown < f->limit) {
            shown++;
            if (!show(user, m))
                shown = f->limit;
        }
    }
    fake.filter = *f;
    fake.counts += out_total != NULL;
    if (out_total)
        *out_total = total;
    return PT_ERR_OK;
}

static enum pt_err show(void *ctx, uint64_t id, uint32_t first, uint32_t max, api_message_fn *fn,
                        void *user)
{
    fake.first_recipient = first;
    fake.recipients_max = max;
    for (size_t i = 0; i < PT_ARRAY_LEN(messages); i++) {
        if (messages[i].id == id) {
            fn(user, &messages[i]);
            return PT_ERR_OK;
        }
    }
    return fake.status.spool.loading ? PT_ERR_AGAIN : PT_ERR_NOTFOUND;
}

static enum pt_err act(void *ctx, enum api_queue_action action, const struct api_queue_selection *s,
                       uint64_t *out_count, struct pt_fault *fault)
{
    if (fake.status.spool.loading && s->id_count != 1)
        return PT_ERR_AGAIN;
    fake.action = action;
    fake.acted_all = s->all;
    fake.acted_count = s->id_count;
    snprintf(fake.acted_destination, sizeof fake.acted_destination, "%.*s", (int)s->destination.n,
             s->destination.p ? s->destination.p : "");
    *out_count = 0;
    for (uint32_t i = 0; i < s->id_count && i < 8; i++) {
        fake.acted[i] = s->ids[i];
        *out_count += s->ids[i] > 1000 && s->ids[i] < 1004;
    }
    if (s->all || s->destination.p)
        *out_count = 3;
    return s->id_count == 1 && *out_count == 0
               ? pt_fault_set(fault, PT_ERR_NOTFOUND, "there is no such message")
               : PT_ERR_OK;
}

static enum pt_err content(void *ctx, uint64_t id, uint64_t offset, uint32_t max,
                           struct block_chain *out)
{
    uint64_t size = id == 1002 ? FAKE_LONG : 5;

    if (id == 1003)
        return PT_ERR_CORRUPT;
    for (uint64_t at = offset; at < size && at < offset + max; at++) {
        char c = (char)('a' + at % 23);

        if (!block_chain_add(out, (struct str){ &c, 1 }))
            return PT_ERR_NOMEM;
    }
    return PT_ERR_OK;
}

static enum pt_err queue_moves(void *ctx, const struct settings *before,
                               const struct settings *after, relay_move_fn *fn, void *user,
                               uint64_t *out_more)
{
    *out_more = 0;
    return PT_ERR_OK;
}

static bool suspensions(void *ctx, void (*fn)(void *user, const struct api_suspension *s),
                        void *user)
{
    fn(user, &(struct api_suspension){ .destination = "mx:slow.example",
                                       .reason = "they move",
                                       .by = "root",
                                       .since_us = INT64_C(1800000000000000) });
    return true;
}

static void destinations(void *ctx, void (*fn)(void *user, const struct api_destination *d),
                         void *user)
{
    fn(user, &(struct api_destination){
                 .name = "relay:25", .ready = 1, .deferred = 1, .held = 1, .error = "refused" });
}

/* ---- live connections ---- */

static const struct api_connection connections[] = {
    { .id = 2001,
      .client = { { NET_IPV4, { 192, 0, 2, 1 } }, 40001 },
      .since_us = 1700000000000000,
      .state = "waiting for a command",
      .helo = "x\xff.example",
      .esmtp = true,
      .messages = 3,
      .octets_in = 1000,
      .octets_out = 500,
      .idle_seconds = 7 },
    { .id = 2002,
      .client = { { NET_IPV4, { 192, 0, 2, 200 } }, 40002 },
      .since_us = 1700000001000000,
      .state = "receiving content",
      .ends = "an administrator",
      .helo = "" },
    { .id = 2003,
      .client = { { NET_IPV6, { 0x20, 1, 0xD, 0xB8 } }, 40003 },
      .since_us = 1700000002000000,
      .state = "waiting for a command",
      .helo = "" },
};

static enum pt_err connections_list(void *ctx, const struct api_connection_filter *f,
                                    api_connection_fn *fn, void *user, uint64_t *out_total)
{
    uint32_t shown = 0;

    *out_total = 0;
    for (size_t i = 0; i < PT_ARRAY_LEN(connections); i++) {
        const struct api_connection *c = &connections[i];

        if (f->address.addr.family != NET_NONE && !net_prefix_has(&f->address, &c->client.addr))
            continue;
        ++*out_total;
        if (c->id > f->after && shown++ < f->limit)
            fn(user, c);
    }
    return PT_ERR_OK;
}

static enum pt_err connection_show(void *ctx, uint64_t id, api_connection_fn *fn, void *user)
{
    if (id < 2001 || id > 2003)
        return PT_ERR_NOTFOUND;
    fn(user, &connections[id - 2001]);
    return PT_ERR_OK;
}

static enum pt_err connection_end(void *ctx, uint64_t id, bool now, bool *out_gone)
{
    *out_gone = now || id != 2002;
    return id < 2001 || id > 2003 ? PT_ERR_NOTFOUND : PT_ERR_OK;
}

/* ---- the rest ---- */

static bool queue_loading(void *ctx)
{
    return fake.status.spool.loading;
}

static void status(void *ctx, struct api_status *out)
{
    *out = fake.status;
}

static void metrics(void *ctx, struct buf *out)
{
    BUF_LIT(out, "x_total 1\n");
}

static void test_address(void *ctx, const struct net_addr *address, struct api_decision *out)
{
    out->accept = !net_addr_is_loopback(address);
    out->list = "deny";
    if (!out->accept)
        snprintf(out->entry, sizeof out->entry, "127.0.0.0/8");
}

static enum pt_err refusal_find(void *ctx, struct str ref, struct tracking_refusal *out,
                                struct tracking_span *span, struct pt_fault *fault)
{
    *out = fake.refusal;
    *span = (struct tracking_span){ 1700000000000000, 1700000060000000, 500, 400 };
    return fake.refusal_err;
}

static enum pt_err clients_each(void *ctx,
                                bool (*show_client)(void *user, const struct tracking_client *c),
                                void *user, struct pt_fault *fault)
{
    for (uint32_t i = 0; i < fake.client_count; i++)
        if (!show_client(user, &fake.clients[i]))
            break;
    return PT_ERR_OK;
}

static struct policy_snapshot *draft_snapshot(void *ctx, const struct settings *s)
{
    return policy_snapshot_new(s, NULL, 0);
}

struct api *fake_start(void)
{
    struct settings_host host = { .hostname = "fake.example" };
    struct api_deps deps = {
        .state_directory = fake.directory,
        .version = "1.2.3",
        .started_us = clock_wall_us() - 5000000,
        .console_uid = UINT32_MAX,
        .settings_current = get_current,
        .settings_apply = apply,
        .settings_pending = settings_pending,
        .settings_confirm = settings_confirm,
        .queue_loading = queue_loading,

        .snapshot = snapshot,
        .entry_hits = entry_hits,
        .queue_list = list,
        .queue_show = show,
        .queue_act = act,
        .queue_content = content,
        .queue_destinations = destinations,
        .suspensions = suspensions,
        .queue_moves = queue_moves,
        .connections_list = connections_list,
        .connection_show = connection_show,
        .connection_end = connection_end,
        .status = status,
        .metrics = metrics,
        .refusal_find = refusal_find,
        .clients_each = clients_each,
        .draft_snapshot = draft_snapshot,
        .test_address = test_address,
    };
    struct settings_errors errors;
    const char *tmp = getenv("TMPDIR");
    struct api *api = NULL;

    fake = (struct fake_gateway){ 0 };
    fake.status.spool.accepting = true;
    fake.status.listener_count = 1;
    fake.status.listeners[0].listening = true;
    snprintf(fake.directory, sizeof fake.directory, "%s/postern-api-XXXXXX", tmp ? tmp : "/tmp");
    settings_errors_init(&errors);
    if (!mkdtemp(fake.directory) ||
        settings_parse("{}", 2, &host, &current, &errors) != PT_ERR_OK ||
        api_new(&api, &deps, NULL) != PT_ERR_OK)
        return NULL;
    settings_errors_done(&errors);
    snprintf(fake.socket, sizeof fake.socket, "%s/api.sock", fake.directory);
    return api;
}

void fake_stop(struct api *api)
{
    static const char *const files[] = { "settings.db", "settings.db-wal", "settings.db-shm" };
    char path[400];

    api_free(api);
    settings_unref(current);
    current = NULL;
    for (size_t i = 0; i < PT_ARRAY_LEN(files); i++) {
        snprintf(path, sizeof path, "%s/%s", fake.directory, files[i]);
        unlink(path);
    }
    rmdir(fake.directory);
}
