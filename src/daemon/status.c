#include "daemon/status.h"

#include <linux/magic.h>
#include <stdio.h>
#include <sys/statfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/process.h"
#include "daemon/status_tls.h"
#include "net/host.h"

#ifndef OVERLAYFS_SUPER_MAGIC
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#endif

static void warn(struct api_status *out, bool red, const char *remedy, const char *fmt, ...)
    PT_PRINTF(4, 5);

static void add_warning(struct api_status *out, bool red, const char *remedy, const char *fmt,
                        va_list args)
{
    struct api_warning *w;

    if (out->warning_count == API_WARNINGS_MAX)
        return;
    w = &out->warnings[out->warning_count++];
    vsnprintf(w->text, sizeof w->text, fmt, args);
    snprintf(w->remedy, sizeof w->remedy, "%s", remedy);
    w->red = red;
}

static void warn(struct api_status *out, bool red, const char *remedy, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_warning(out, red, remedy, fmt, args);
    va_end(args);
}

void status_warn(struct api_status *out, bool red, const char *remedy, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_warning(out, red, remedy, fmt, args);
    va_end(args);
}

static void settings_warnings(struct control *c, struct api_status *out)
{
    if (c->store_fault.err != PT_ERR_OK)
        warn(out, true,
             "put STATE/settings.db back from a backup, or move settings.db* away and then "
             "\"postern "
             "settings apply FILE\"; it is tried again by itself",
             "the settings database cannot be used, no mail is accepted: %s", c->store_fault.text);
    else if (c->settings_fault.err != PT_ERR_OK)
        warn(out, true,
             "\"postern settings apply FILE\", or \"postern settings rollback N\" to one of the "
             "history",
             "the stored settings cannot be used, no mail is accepted: %s", c->settings_fault.text);
    else if (c->write_fault.err != PT_ERR_OK)
        warn(out, false, "mend what the text names, then restart the gateway",
             "the settings cannot be changed now: %s", c->write_fault.text);
    if (c->apply_fault.err != PT_ERR_OK)
        warn(out, true, "correct the file, then \"postern settings apply FILE\"",
             "the file of --apply was not taken: %s", c->apply_fault.text);
    if (c->pending.revision) {
        char until[CLOCK_RFC3339_SIZE];

        clock_rfc3339(c->pending.confirm_by_us, until);
        warn(out, c->confirm_fault.err != PT_ERR_OK,
             "\"postern settings confirm\" keeps it; \"postern settings confirm --revert\" goes "
             "back "
             "now",
             "settings revision %llu waits to be confirmed until %.19sZ%s%s",
             (unsigned long long)c->pending.revision, until,
             c->confirm_fault.err != PT_ERR_OK ? "; going back fails: " : "",
             c->confirm_fault.err != PT_ERR_OK ? c->confirm_fault.text : "");
    }
    if (c->listen_fault.err != PT_ERR_OK)
        warn(out, true, "it is tried again every second; or choose another address or port",
             "not listening: %s", c->listen_fault.text);
    if (c->tls_fault.err != PT_ERR_OK)
        warn(
            out, true,
            "\"postern tls install\" puts a certificate into force; the one that is named is tried "
            "again every second",
            "TLS is not offered to clients: %s", c->tls_fault.text);
    if (c->outgoing_fault.err != PT_ERR_OK)
        warn(out, true,
             "upload the CA that the route names once more; it is tried again every second",
             "mail of routes with \"tls\": \"verify\" waits: %s", c->outgoing_fault.text);
    if (c->resolver_fault.err != PT_ERR_OK)
        warn(out, true, "correct \"resolver\" in the settings, or what the text names",
             "DNS answers are not validated: %s", c->resolver_fault.text);
}

static void resolver(struct control *c, struct api_status *out)
{
    struct net_resolver_health h;

    if (!c->resolver)
        return;
    net_resolver_health(c->resolver, &h);
    if (h.state == NET_RESOLVER_SILENT)
        warn(out, true,
             "mend the way to them, or name others in \"resolver.servers\"; they are asked again "
             "every few seconds, and mail that needs no DNS goes on",
             "the DNS does not answer, mail that needs it waits: %s", h.servers);
    else if (h.state == NET_RESOLVER_FAILING)
        warn(out, false,
             h.bogus ? "see that the clock of this host is right and that its DNS servers pass "
                       "signatures on; for a private server without them set "
                       "\"resolver.trust_anchor\" to \"none\", or to its DS"
                     : "ask the DNS servers for the name; others can be named in "
                       "\"resolver.servers\"",
             "the last %u questions to the DNS failed, mail waits: %s", (unsigned)h.failures,
             h.reason);
}

static bool has_source(const struct settings *s, uint32_t before, const struct net_addr *a)
{
    for (uint32_t i = 0; i < before; i++)
        if (net_addr_eq(&s->routes[i].source, a))
            return true;
    return false;
}

/* Addresses come and go with their interfaces, after the settings were taken. */
static void sources(struct control *c, struct api_status *out)
{
    struct settings *s = control_current(c);

    for (uint32_t i = 0; s && i < s->route_count; i++) {
        const struct net_addr *a = &s->routes[i].source;
        char text[NET_ADDR_SIZE];

        if (a->family == NET_NONE || has_source(s, i, a) || net_host_has_address(a))
            continue;
        net_addr_format(a, text);
        warn(out, true,
             "give the address back to an interface, or choose another source; mail waits until "
             "then",
             "mail for \"%s\" does not leave: %s, the source of delivery.routes.%u, is no address "
             "of this host",
             s->routes[i].domain, text, (unsigned)i);
    }
    settings_unref(s);
}

static void listeners(struct control *c, struct api_status *out)
{
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->listening_count && i < PT_ARRAY_LEN(c->listening_on); i++) {
        struct api_listener *l = &out->listeners[out->listener_count++];

        snprintf(l->address, sizeof l->address, "%s", c->listening_on[i]);
        l->listening = true;
    }
    if (c->listen_fault.err != PT_ERR_OK) {
        struct api_listener *l = &out->listeners[out->listener_count++];

        snprintf(l->address, sizeof l->address, "%s", "SMTP");
        snprintf(l->error, sizeof l->error, "%s", c->listen_fault.text);
    }
    settings_warnings(c, out);
    pthread_mutex_unlock(&c->lock);
}

static void disk(const struct process *p, struct api_status *out)
{
    char directory[STATE_PATH_SIZE];
    struct statfs fs;

    state_path(&p->state, "spool", directory);
    if (statfs(directory, &fs) < 0)
        return;
    out->spool.disk_free = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    out->spool.disk_size = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
    if (fs.f_type == TMPFS_MAGIC)
        warn(out, false, "put the state folder on a disk",
             "the spool lies in memory (tmpfs): accepted mail does not survive a restart of this "
             "host");
    else if (fs.f_type == OVERLAYFS_SUPER_MAGIC)
        warn(out, false, "mount a volume at the state folder",
             "the spool lies on a container's own layer (overlay): accepted mail is lost with the "
             "container");
}

static void tracking(struct process *p, struct api_status *out)
{
    struct tracking_stats t;

    tracking_get_stats(p->tracking, &t);
    if (t.fault.err != PT_ERR_OK)
        warn(out, false, "mend what the text names; it is tried again by itself, and mail flows",
             "references of refusals and facts of clients are not kept: %s", t.fault.text);
}

static void spool(struct process *p, struct api_status *out)
{
    struct spool_stats s;

    spool_get_stats(p->spool, &s);
    out->spool.messages = s.messages;
    out->spool.segments = s.segments;
    out->spool.free_segments = s.free_segments;
    out->spool.accepting = s.accepting;
    out->spool.loading = s.loading;
    out->spool.found = s.found;
    out->spool.loaded = s.loaded;
    if (s.fault.err != PT_ERR_OK)
        snprintf(out->spool.fault, sizeof out->spool.fault, "%s", s.fault.text);
    if (!s.accepting)
        warn(out, true, "free space or mend the disk; it is tried again by itself",
             "the spool accepts no mail: %s", s.fault.text);
}

static void memory(const struct process *p, const struct gateway_stats *g,
                   const struct relay_stats *r, struct api_status *out)
{
    out->memory.limit = p->memory.limit;
    out->memory.source = memory_source_name(p->memory.source);
    out->memory.resident = memory_resident("");
    out->memory.receiving = g->memory_used;
    out->memory.receiving_max = g->memory_max;
    out->memory.cached = r->cached_octets;
    out->memory.cached_max = p->memory.cached;
    out->memory.reading = r->reading_octets;
    out->memory.reading_max = p->memory.reading * p->loop_count;
    if (g->memory_short)
        warn(out, false, "give the gateway more memory, or make the queue shorter",
             "little memory is left, new mail is answered 452 4.3.1");
}

static void not_serving(struct process *p, struct api_status *out)
{
    pthread_mutex_lock(&p->control.lock);
    settings_warnings(&p->control, out);
    snprintf(out->spool.fault, sizeof out->spool.fault, "%s",
             p->spool_fault.err != PT_ERR_OK ? p->spool_fault.text : "it is being opened");
    warn(out, true, "mend what the text names; it is tried again every second",
         "mail is not served yet: %s", out->spool.fault);
    pthread_mutex_unlock(&p->control.lock);
}

static void sessions(struct process *p, const struct gateway_stats *g, struct api_status *out)
{
    struct settings *s = control_current(&p->control);

    if (s && g->sessions_max && s->interface.max_connections > g->sessions_max)
        warn(out, false,
             "raise the limit on open files (LimitNOFILE=, ulimit -n), or lower the value",
             "connections.interface.max_connections is %u, but the system's limit on open files "
             "leaves room for %llu",
             (unsigned)s->interface.max_connections, (unsigned long long)g->sessions_max);
    settings_unref(s);
}

void process_status(struct process *p, struct api_status *out)
{
    struct gateway_stats g;
    struct relay_stats r;

    tracking(p, out);
    if (!atomic_load(&p->serving)) {
        not_serving(p, out);
        status_tls(p, NULL, out);
        disk(p, out);
        return;
    }
    gateway_get_stats(p->gateway, &g);
    relay_get_stats(p->relay, &r);
    out->sessions = g.sessions;
    out->sessions_total = g.connections;
    out->sessions_system = g.sessions_max;
    out->messages_accepted = g.messages;
    out->messages_delivered = r.delivered;
    sessions(p, &g, out);
    listeners(&p->control, out);
    sources(&p->control, out);
    resolver(&p->control, out);
    spool(p, out);
    disk(p, out);
    memory(p, &g, &r, out);
    status_tls(p, &g, out);
    if (log_dropped() > 0)
        warn(out, false, "look at the disk of STATE/log", "%llu log lines were dropped",
             (unsigned long long)log_dropped());
    if (r.unsaved > 0)
        warn(out, false, "it is tried again by itself; see the spool's fault",
             "%llu outcomes could not be stored yet", (unsigned long long)r.unsaved);
}
