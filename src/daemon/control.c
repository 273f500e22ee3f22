#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/host.h"

enum { INTERFACES_MAX = 256, FILE_MAX = SETTINGS_DOCUMENT_MAX };

/* ---- small parts ---- */

static struct settings_host this_host(char name[256], unsigned confirmed)
{
    net_host_name(name);
    return (struct settings_host){ .hostname = name,
                                   .now_us = clock_wall_us(),
                                   .confirmed = confirmed };
}

static struct policy_snapshot *snapshot_of(const struct settings *s)
{
    struct net_interface *i = calloc(INTERFACES_MAX, sizeof *i);
    struct net_prefix *nets = calloc(INTERFACES_MAX, sizeof *nets);
    struct policy_snapshot *snapshot = NULL;

    if (i && nets) {
        uint32_t n = net_host_interfaces(i, INTERFACES_MAX);

        for (uint32_t k = 0; k < n; k++)
            nets[k] = i[k].prefix;
        snapshot = policy_snapshot_new(s, nets, n);
    }
    free(i);
    free(nets);
    return snapshot;
}

static void set_fault(struct control *c, struct pt_fault *which, const struct pt_fault *fault)
{
    pthread_mutex_lock(&c->lock);
    *which = *fault;
    pthread_mutex_unlock(&c->lock);
}

static struct net_resolver_config resolver_config(const struct settings *s)
{
    return (struct net_resolver_config){ .servers = s->resolver.servers,
                                         .server_count = s->resolver.server_count,
                                         .trust_anchor = s->resolver.trust_anchor };
}

/* The resolver follows; what it cannot take is said in the status, the old one goes on. */
static void configure_resolver(struct control *c, const struct settings *s)
{
    struct net_resolver_config config = resolver_config(s);
    struct pt_fault fault = { .err = PT_ERR_OK };

    if (c->resolver && net_resolver_configure(c->resolver, &config, &fault) != PT_ERR_OK)
        log_text(LOG_ERROR, "resolver", "%s", fault.text);
    set_fault(c, &c->resolver_fault, &fault);
}

/* Takes over the references to `s` and `snapshot`. */
static void make_current(struct control *c, struct settings *s, struct policy_snapshot *snapshot)
{
    struct policy_snapshot *old_snapshot;
    struct settings *old;

    pthread_mutex_lock(&c->lock);
    old = c->current;
    old_snapshot = c->snapshot;
    c->current = s;
    c->snapshot = snapshot;
    c->settings_fault.err = PT_ERR_OK;
    c->apply_fault.err = PT_ERR_OK;
    pthread_mutex_unlock(&c->lock);
    settings_unref(old);
    policy_snapshot_unref(old_snapshot);
}

/* Takes over `l`; the old sockets are closed once the loops have let go of them. */
static void publish_all(struct control *c, struct listening *l, const struct pt_fault *listen_fault)
{
    gateway_publish(c->gateway, c->snapshot, l->listeners, l->count);
    if (!relay_set_settings(c->relay, c->current))
        log_text(LOG_ERROR, "settings",
                 "out of memory: mail goes by the routes of before until settings are saved again");
    listening_release(&c->listening);
    c->listening = *l;
    pthread_mutex_lock(&c->lock);
    c->listen_fault = *listen_fault;
    c->listening_count = l->count;
    for (unsigned i = 0; i < l->count && i < PT_ARRAY_LEN(c->listening_on); i++)
        net_endpoint_format(&l->listeners[i]->listener.endpoint, c->listening_on[i]);
    pthread_mutex_unlock(&c->lock);
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
    host = this_host(name, SETTINGS_CONFIRM_ALL);
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

static void open_resolver(struct control *c)
{
    struct net_resolver_config config = { 0 };
    struct pt_fault fault = { .err = PT_ERR_OK };

    if (c->current)
        config = resolver_config(c->current);
    if (net_resolver_new(&c->resolver, &config, &fault) == PT_ERR_OK)
        return;
    log_text(LOG_ERROR, "resolver", "%s", fault.text);
    set_fault(c, &c->resolver_fault, &fault);
    /* Mail can go out with answers that nobody validated; the status says so in red. */
    config = (struct net_resolver_config){ .trust_anchor = "none" };
    if (net_resolver_new(&c->resolver, &config, &fault) != PT_ERR_OK)
        c->resolver = NULL;
}

void control_init(struct control *c, const struct state *state)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct policy_snapshot *snapshot;
    struct settings *s = NULL;

    *c = (struct control){ .state = state };
    pthread_mutex_init(&c->change, NULL);
    pthread_mutex_init(&c->lock, NULL);
    listening_adopt(&c->listening);
    if (!open_store(c)) {
        c->settings_fault = c->store_fault;
        log_text(LOG_ERROR, "settings", "%s", c->store_fault.text);
    } else if (load(c, &s, &fault) != PT_ERR_OK) {
        c->settings_fault = fault;
        log_text(LOG_ERROR, "settings", "%s", fault.text);
    } else {
        snapshot = snapshot_of(s);
        if (snapshot)
            make_current(c, s, snapshot);
        else
            settings_unref(s);
    }
    open_resolver(c);
}

void control_done(struct control *c)
{
    listening_release(&c->listening);
    settings_store_close(c->store);
    settings_unref(c->current);
    policy_snapshot_unref(c->snapshot);
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
    struct api_change_result result = { 0 };
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct buf document, text;
    struct log_line line;
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
        set_fault(c, &c->apply_fault, &fault);
        log_begin(&line, LOG_ERROR, "settings");
        log_cstr(&line, "file", path);
        log_cstr(&line, "text", fault.text);
        log_end(&line);
    }
    settings_unref(result.settings);
    settings_errors_done(&result.errors);
    buf_done(&document);
    buf_done(&text);
}

static bool listen_now(struct control *c)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct listening l = { .count = 0 };

    if (listening_prepare(&c->listening, c->current, &l, &fault) != PT_ERR_OK) {
        if (c->listen_fault.err == PT_ERR_OK || strcmp(c->listen_fault.text, fault.text) != 0)
            log_text(LOG_ERROR, "listen", "%s", fault.text);
        l.count = 0;
    }
    publish_all(c, &l, &fault);
    return fault.err == PT_ERR_OK;
}

void control_serve(struct control *c, struct gateway *gateway, struct relay *relay)
{
    pthread_mutex_lock(&c->change);
    c->gateway = gateway;
    c->relay = relay;
    if (gateway && c->current)
        PT_IGNORE(listen_now(c), "tried again by control_retry_listening()");
    pthread_mutex_unlock(&c->change);
}

bool control_retry_listening(struct control *c)
{
    bool done = true;

    pthread_mutex_lock(&c->change);
    if (!c->current)
        done = false;
    else if (c->listen_fault.err != PT_ERR_OK)
        done = listen_now(c);
    pthread_mutex_unlock(&c->change);
    return done;
}

void control_stop_listening(struct control *c)
{
    struct pt_fault none = { .err = PT_ERR_OK };
    struct listening nothing = { .count = 0 };

    pthread_mutex_lock(&c->change);
    c->stopping = true;
    if (c->gateway && c->current)
        publish_all(c, &nothing, &none);
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

static enum pt_err store_revision(struct control *c, const struct api_change *change,
                                  const struct settings *s, uint64_t *out_revision,
                                  struct pt_fault *fault)
{
    struct settings_commit commit = { .author = change->author,
                                      .comment = change->comment,
                                      .time_us = clock_wall_us(),
                                      .expected = change->expected };
    enum pt_err err = PT_ERR_NOMEM;
    char *document;

    if (change->restored_from)
        return settings_store_rollback(c->store, change->restored_from, &commit, out_revision,
                                       fault);
    document = settings_document_to_store(s);
    if (document) {
        commit.document = str_of(document);
        err = settings_store_commit(c->store, &commit, out_revision, fault);
    }
    free(document);
    return err;
}

/* What the loops do not have yet when there is no gateway yet (--apply): stored only. */
static void put_into_force(struct control *c, struct settings *s, struct policy_snapshot *snapshot,
                           struct listening *l)
{
    struct pt_fault none = { .err = PT_ERR_OK };

    make_current(c, settings_ref(s), snapshot);
    configure_resolver(c, s);
    if (c->gateway)
        publish_all(c, l, &none);
    else
        listening_release(l);
    log_text(LOG_INFO, "settings", "revision %llu is in force", (unsigned long long)s->revision);
}

static enum pt_err change_locked(struct control *c, const struct api_change *change,
                                 struct api_change_result *out, struct pt_fault *fault)
{
    struct policy_snapshot *snapshot = NULL;
    struct listening l = { .count = 0 };
    struct settings *s = NULL;
    struct settings_host host;
    uint64_t head = 0;
    char name[256];
    enum pt_err err;

    if (c->stopping)
        return pt_fault_set(fault, PT_ERR_CLOSED, "the gateway is shutting down");
    if (!c->store && !open_store(c)) {
        *fault = c->store_fault;
        return fault->err;
    }
    err = settings_store_head(c->store, &head, fault);
    if (err != PT_ERR_OK)
        return err;
    out->revision = head;
    if (change->expected != SETTINGS_REVISION_ANY && change->expected != head)
        return pt_fault_set(fault, PT_ERR_CONFLICT,
                            "the settings were changed meanwhile: revision %llu is in force, not "
                            "%llu",
                            (unsigned long long)head, (unsigned long long)change->expected);
    host = this_host(name, c->current ? settings_hazards(c->current) : 0);
    err = settings_parse(change->document.p, change->document.n, &host, &s, &out->errors);
    if (err != PT_ERR_OK)
        return err;
    err = listening_prepare(&c->listening, s, &l, fault);
    if (err == PT_ERR_OK) {
        snapshot = snapshot_of(s);
        if (!snapshot)
            err = pt_fault_set(fault, PT_ERR_NOMEM, "no memory for the new settings");
    }
    if (err == PT_ERR_OK && !change->dry_run)
        err = store_revision(c, change, s, &out->revision, fault);
    if (err == PT_ERR_OK && !change->dry_run) {
        settings_set_revision(s, out->revision);
        put_into_force(c, s, snapshot, &l);
    } else {
        listening_release(&l);
        policy_snapshot_unref(snapshot);
    }
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
    err = change_locked(c, change, out, &why);
    pthread_mutex_unlock(&c->change);
    if (fault)
        *fault = why;
    return err;
}
