/*
 * The numbers of all rooms, for Prometheus. A job thread of the API calls it; each room is asked
 * once and holds a lock no longer than it takes to add up.
 */
#include "daemon/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/limits_api.h"
#include "daemon/version.h"
#include "relay/callout.h"
#include "tracking/metrics.h"

/* ---- the process ---- */

/* Newer kernels tell the number in st_size; before that every entry is looked at. */
static uint64_t open_descriptors(void)
{
    struct stat st;
    DIR *directory;
    uint64_t n = 0;

    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (uint64_t)st.st_size;
    directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        n++;
    if (directory)
        closedir(directory);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the one that looks */
}

static void memory(struct buf *out)
{
    unsigned long long whole = 0, resident = 0;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *f = fopen("/proc/self/statm", "re");

    if (f && fscanf(f, "%llu %llu", &whole, &resident) == 2) {
        metrics_gauge(out, "process_virtual_memory_bytes", "Address space in use.", whole * page);
        metrics_gauge(out, "process_resident_memory_bytes", "Memory in use.", resident * page);
    }
    if (f)
        fclose(f);
}

static void process(const struct process *p, struct buf *out)
{
    struct rusage use = { 0 };
    struct rlimit limit = { 0 };

    PT_IGNORE(getrusage(RUSAGE_SELF, &use), "zero then");
    PT_IGNORE(getrlimit(RLIMIT_NOFILE, &limit), "zero then");
    metrics_family(out, "process_cpu_seconds_total", METRICS_COUNTER, "CPU time, user and system.");
    metrics_sample_us(out, "process_cpu_seconds_total",
                      (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000 +
                          (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec));
    metrics_family(out, "process_start_time_seconds", METRICS_GAUGE,
                   "When the process started, in seconds since 1970.");
    metrics_sample_us(out, "process_start_time_seconds", (uint64_t)p->started_us);
    metrics_gauge(out, "process_open_fds", "File descriptors in use.", open_descriptors());
    metrics_gauge(out, "process_max_fds", "File descriptors that may be in use.", limit.rlim_cur);
    memory(out);
    metrics_family(out, "postern_build_info", METRICS_GAUGE, "Always 1; the label is the version.");
    metrics_sample(out, "postern_build_info", "version", STR(POSTERN_VERSION), 1);
}

/* ---- settings and health ---- */

static void settings(struct process *p, struct buf *out)
{
    struct settings *s = control_current(&p->control);
    unsigned listeners;

    pthread_mutex_lock(&p->control.lock);
    listeners = p->control.listening_count;
    pthread_mutex_unlock(&p->control.lock);
    metrics_gauge(out, "postern_settings_in_force",
                  "1, or 0 where the stored settings cannot be used.", s != NULL);
    metrics_gauge(out, "postern_settings_revision", "Revision of the settings in force.",
                  s ? s->revision : 0);
    metrics_gauge(out, "postern_listeners", "Listening SMTP sockets.", listeners);
    metrics_gauge(out, "postern_serving", "1 when mail is handled, 0 while its start fails.",
                  atomic_load(&p->serving));
    metrics_counter(out, "postern_log_dropped_lines_total", "Log lines that could not be written.",
                    log_dropped());
    settings_unref(s);
}

/* ---- sessions ---- */

static void sessions(const struct gateway_stats *g, struct buf *out)
{
    metrics_gauge(out, "postern_sessions", "SMTP sessions now.", g->sessions);
    metrics_counter(out, "postern_connections_total", "Connections that became a session.",
                    g->connections);
    metrics_family(out, "postern_connections_refused_total", METRICS_COUNTER,
                   "Connections that did not become a session, by the step that refused them.");
    metrics_sample(out, "postern_connections_refused_total", "step", STR("connection_control"),
                   g->refused);
    metrics_sample(out, "postern_connections_refused_total", "step", STR("max_connections"),
                   g->over_limit);
    metrics_counter(out, "postern_messages_accepted_total", "Messages answered 250.", g->messages);
    metrics_counter(out, "postern_messages_accepted_tls_total", "Those that came encrypted.",
                    g->messages_tls);
    metrics_counter(out, "postern_messages_accepted_bytes_total", "Content of these messages.",
                    g->octets);
    metrics_counter(out, "postern_messages_rejected_total",
                    "Messages answered otherwise at the end of data.", g->rejected_messages);
    metrics_gauge(out, "postern_memory_receiving_bytes", "Content being received, in memory.",
                  g->memory_used);
    metrics_gauge(out, "postern_memory_receiving_max_bytes", "The budget of that memory.",
                  g->memory_max);
    metrics_gauge(out, "postern_memory_short", "1 while new transactions are put off for memory.",
                  g->memory_short);
}

/* ---- TLS ---- */

static void tls(struct process *p, const struct gateway_stats *g, struct buf *out)
{
    struct control *c = &p->control;
    struct tls_certificate *const *all = NULL;
    uint32_t count = 0;

    metrics_family(out, "postern_tls_handshakes_total", METRICS_COUNTER,
                   "TLS handshakes with clients, by outcome.");
    metrics_sample(out, "postern_tls_handshakes_total", "outcome", STR("done"), g->handshakes);
    metrics_sample(out, "postern_tls_handshakes_total", "outcome", STR("failed"),
                   g->failed_handshakes);
    metrics_gauge(out, "postern_tls_handshakes", "TLS handshakes with clients under way.",
                  tls_handshaker_busy(p->handshaker));
    pthread_mutex_lock(&c->lock);
    if (c->tls)
        all = tls_server_certificates(c->tls, &count);
    if (count)
        metrics_family(out, "postern_tls_certificate_expiry_seconds", METRICS_GAUGE,
                       "When a certificate in force, or one of its chain, expires, in seconds "
                       "since 1970.");
    for (uint32_t i = 0; i < count; i++)
        metrics_sample(out, "postern_tls_certificate_expiry_seconds", "id",
                       str_of(tls_certificate_id(all[i])),
                       (uint64_t)PT_MAX(tls_certificate_info(all[i])->chain_not_after_us / 1000000,
                                        INT64_C(0)));
    pthread_mutex_unlock(&c->lock);
}

/* ---- who was refused ---- */

static void tracking(struct process *p, struct buf *out)
{
    struct tracking_stats t;

    tracking_get_stats(p->tracking, &t);
    metrics_counter(out, "postern_refusals_kept_total",
                    "Refusals whose reference can be looked up.", t.refusals);
    metrics_counter(out, "postern_refusals_not_kept_total",
                    "Refusals of which only some are kept, because they were too many at once.",
                    t.refusals_lost);
    metrics_counter(out, "postern_clients_not_kept_total",
                    "Clients there was no room for when they came.", t.clients_lost);
}

/* ---- questions about recipients ---- */

static void recipient_checks(struct process *p, struct buf *out)
{
    struct relay_callout_stats c;

    relay_callout_get_stats(p->relay, &c);
    metrics_family(out, "postern_recipient_questions_total", METRICS_COUNTER,
                   "Questions to next hops about recipients, by what was said.");
    metrics_sample(out, "postern_recipient_questions_total", "answer", STR("taken"), c.taken);
    metrics_sample(out, "postern_recipient_questions_total", "answer", STR("refused"), c.refused);
    metrics_sample(out, "postern_recipient_questions_total", "answer", STR("none"), c.untold);
    metrics_counter(out, "postern_recipient_answers_remembered_total",
                    "Recipients answered from memory, without a question.", c.remembered);
    metrics_gauge(out, "postern_recipient_questions_waiting",
                  "Recipients that are being asked about.", c.waiting);
    metrics_gauge(out, "postern_recipients_remembered", "Recipients whose answer is remembered.",
                  c.entries);
}

/* ---- the queue ---- */

static void delivery_tls(const struct relay_stats *r, struct buf *out)
{
    metrics_family(out, "postern_delivery_tls_handshakes_total", METRICS_COUNTER,
                   "TLS handshakes with next hops, by what came of them.");
    metrics_sample(out, "postern_delivery_tls_handshakes_total", "result", STR("verified"),
                   r->tls_verified);
    metrics_sample(out, "postern_delivery_tls_handshakes_total", "result", STR("unverified"),
                   r->tls_handshakes - r->tls_verified);
    metrics_sample(out, "postern_delivery_tls_handshakes_total", "result", STR("failed"),
                   r->tls_failures);
    metrics_counter(out, "postern_delivery_tls_resumed_total", "Handshakes that resumed a session.",
                    r->tls_resumed);
    metrics_counter(out, "postern_delivery_tls_fallbacks_total",
                    "Next hops tried again in clear, since TLS failed and was not demanded.",
                    r->tls_fallbacks);
    metrics_counter(out, "postern_delivery_tls_unmet_total",
                    "Connections given up because the route's demand for TLS was not met.",
                    r->tls_unmet);
    metrics_counter(out, "postern_delivery_auth_refused_total",
                    "Next hops that refused the user or the password of a route.", r->auth_refused);
    metrics_counter(out, "postern_recipients_delivered_tls_total",
                    "Recipients delivered to over TLS.", r->delivered_tls);
}

static void queue(const struct relay_stats *r, struct buf *out)
{
    const struct {
        struct str state;
        uint64_t groups;
    } groups[] = { { STR("ready"), r->ready },
                   { STR("deferred"), r->deferred },
                   { STR("delivering"), r->busy },
                   { STR("held"), r->held } };
    const struct {
        struct str outcome;
        uint64_t recipients;
    } outcomes[] = { { STR("delivered"), r->delivered },
                     { STR("deferred"), r->deferrals },
                     { STR("failed"), r->failed },
                     { STR("in_doubt"), r->in_doubt } };

    metrics_gauge(out, "postern_queue_messages", "Messages in the queue.", r->messages);
    metrics_gauge(out, "postern_queue_suspensions",
                  "Destinations that an administrator has suspended.", r->suspensions);
    metrics_family(out, "postern_queue_groups", METRICS_GAUGE,
                   "Groups of recipients of one message for one destination, by state.");
    for (size_t i = 0; i < PT_ARRAY_LEN(groups); i++)
        metrics_sample(out, "postern_queue_groups", "state", groups[i].state, groups[i].groups);
    metrics_family(out, "postern_recipients_total", METRICS_COUNTER,
                   "Attempts to deliver to a recipient, by outcome.");
    for (size_t i = 0; i < PT_ARRAY_LEN(outcomes); i++)
        metrics_sample(out, "postern_recipients_total", "outcome", outcomes[i].outcome,
                       outcomes[i].recipients);
    metrics_counter(out, "postern_bounces_total", "Delivery status notifications made.",
                    r->bounces);
    metrics_gauge(out, "postern_outcomes_unsaved", "Outcomes that could not be stored yet.",
                  r->unsaved);
    metrics_gauge(out, "postern_delivery_connections", "Connections to next hops now.",
                  r->connections);
    metrics_counter(out, "postern_delivery_connects_total",
                    "Connects to next hops that were tried.", r->connects);
    metrics_counter(out, "postern_delivery_connect_failures_total", "Those of them that failed.",
                    r->connect_failures);
    delivery_tls(r, out);
    metrics_gauge(out, "postern_memory_queue_bytes", "Content of queued messages in memory.",
                  r->cached_octets);
}

/* ---- the spool ---- */

static void disk(const struct process *p, struct buf *out)
{
    char directory[STATE_PATH_SIZE];
    struct statfs fs;

    state_path(&p->state, "spool", directory);
    if (statfs(directory, &fs) < 0)
        return;
    metrics_gauge(out, "postern_spool_disk_free_bytes", "Free space where the spool is.",
                  (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize);
    metrics_gauge(out, "postern_spool_disk_size_bytes", "Size of that file system.",
                  (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize);
}

static void spool(const struct process *p, struct buf *out)
{
    struct spool_stats s;

    spool_get_stats(p->spool, &s);
    metrics_gauge(out, "postern_spool_messages", "Messages kept.", s.messages);
    metrics_family(out, "postern_spool_segments", METRICS_GAUGE, "Segments of the log, by state.");
    metrics_sample(out, "postern_spool_segments", "state", STR("used"), s.segments);
    metrics_sample(out, "postern_spool_segments", "state", STR("free"), s.free_segments);
    metrics_counter(out, "postern_spool_batches_total", "Batches committed.", s.batches);
    metrics_counter(out, "postern_spool_syncs_total", "Syncs of the log.", s.syncs);
    metrics_counter(out, "postern_spool_operations_total", "Operations in these batches.",
                    s.operations);
    metrics_counter(out, "postern_spool_written_bytes_total", "Octets written to the log.",
                    s.octets_written);
    metrics_gauge(out, "postern_spool_accepting", "1 when new messages are taken.", s.accepting);
}

void process_metrics(struct process *p, struct buf *out)
{
    struct gateway_stats g;
    struct relay_stats r;

    process(p, out);
    settings(p, out);
    disk(p, out);
    tracking(p, out);
    if (!atomic_load(&p->serving))
        return;
    gateway_get_stats(p->gateway, &g);
    relay_get_stats(p->relay, &r);
    sessions(&g, out);
    limits_metrics(p, out);
    tls(p, &g, out);
    queue(&r, out);
    recipient_checks(p, out);
    spool(p, out);
}
