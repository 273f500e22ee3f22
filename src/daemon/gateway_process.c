#include "daemon/gateway_process.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/block.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "daemon/descriptors.h"
#include "daemon/notify.h"
#include "daemon/outgoing.h"
#include "daemon/process.h"
#include "daemon/recipients.h"
#include "daemon/suspensions.h"
#include "net/host.h"
#include "spool/disk.h"

enum {
    RETRY_MS = 1000,
    GRACE_MS = 10000, /* for a message under way */
    STOP_ALL_MS = 25000,
    HANDSHAKES_MAX = 256, /* of TLS, at a time; each takes some 50 KiB and a place of its own */
    OUTGOING_HANDSHAKES_MAX = 65536, /* the limits on connections bound them already */
};
static const uint64_t segment_size = 64u << 20;

/* ---- start ---- */

static int take_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Routes for a gateway whose settings cannot be read: none, so that mail waits. */
static struct settings *no_routes(void)
{
    static const char document[] = "{\"delivery\":{\"routes\":[]}}";
    struct settings_host host = { .confirmed = SETTINGS_CONFIRM_ALL };
    struct settings_errors errors;
    struct settings *s = NULL;

    settings_errors_init(&errors);
    PT_IGNORE(settings_parse(document, sizeof document - 1, &host, &s, &errors), "NULL tells");
    settings_errors_done(&errors);
    return s;
}

static bool start_relay(struct process *p)
{
    struct settings *s = control_current(&p->control);
    struct relay_clients *clients = outgoing_clients(&p->control);
    struct rng rng;

    if (!s)
        s = no_routes();
    if (!s) {
        relay_clients_unref(clients);
        return false;
    }
    rng_seed_from_system(&rng);
    p->relay = relay_new(&(struct relay_config){ .loops = p->loop_count,
                                                 .settings = s,
                                                 .resolver = p->control.resolver,
                                                 .handshaker = p->outgoing,
                                                 .clients = clients,
                                                 .cache_budget = p->memory.cached,
                                                 .read_budget = p->memory.reading,
                                                 .seed = rng_next(&rng) });
    settings_unref(s);
    relay_clients_unref(clients);
    return p->relay != NULL;
}

static enum pt_err start_spool(struct process *p, struct pt_fault *fault)
{
    char directory[STATE_PATH_SIZE];

    state_path(&p->state, "spool", directory);
    return spool_open(&p->spool,
                      &(struct spool_config){ .directory = directory,
                                              .disk = disk_real(),
                                              .segment_size = segment_size,
                                              .now_us = clock_wall_us(),
                                              .committed = relay_committed,
                                              .recovered = relay_recovered,
                                              .ctx = p->relay },
                      fault);
}

static void *loop_main(void *ctx)
{
    struct loop_thread *t = ctx;
    char name[16];

    snprintf(name, sizeof name, "loop %u", net_loop_index(t->loop));
    prctl(PR_SET_NAME, name);
    net_loop_run(t->loop);
    block_thread_done();
    return NULL;
}

static bool make_loops(struct process *p)
{
    for (unsigned i = 0; i < p->loop_count; i++) {
        struct loop_thread *t = &p->loops[i];

        t->loop = net_loop_new(i);
        if (!t->loop)
            return false;
        t->gateway_loop = gateway_loop_new(p->gateway, t->loop);
        t->relay_loop = relay_loop_new(p->relay, t->loop);
        if (!t->gateway_loop || !t->relay_loop)
            return false;
    }
    return true;
}

static bool run_loops(struct process *p)
{
    for (unsigned i = 0; i < p->loop_count; i++) {
        if (pthread_create(&p->loops[i].thread, NULL, loop_main, &p->loops[i]) != 0)
            return false;
        p->loops[i].running = true;
    }
    return true;
}

/* What handles mail: all of it, or nothing is left behind. */
static enum pt_err start_mail(struct process *p, struct pt_fault *fault)
{
    enum pt_err err =
        tls_handshaker_new(&p->outgoing, p->loop_count, OUTGOING_HANDSHAKES_MAX, fault);

    if (err != PT_ERR_OK)
        return err;
    if (!start_relay(p))
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory or descriptors to start");
    suspensions_load(p);
    err = start_spool(p, fault);
    if (err != PT_ERR_OK)
        return err;
    relay_set_spool(p->relay, p->spool);
    err = tls_handshaker_new(&p->handshaker, p->loop_count, HANDSHAKES_MAX, fault);
    if (err != PT_ERR_OK)
        return err;
    p->recipients = (struct gateway_recipients){ p, recipients_ask };
    p->gateway = gateway_new(&(struct gateway_config){ .spool = p->spool,
                                                       .loops = p->loop_count,
                                                       .sessions_max = descriptors_for_sessions(),
                                                       .memory_max = p->memory.receiving,
                                                       .handshaker = p->handshaker,
                                                       .tracking = p->tracking,
                                                       .resolver = p->control.resolver,
                                                       .recipients = &p->recipients });
    if (!p->gateway || !make_loops(p) || !run_loops(p))
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory or descriptors to start");
    control_serve(&p->control, p->gateway, p->relay);
    atomic_store(&p->serving, true);
    return PT_ERR_OK;
}

/* Ends what handles mail, in whatever state its start was left. `last`: for good. */
static void end_mail(struct process *p, bool last)
{
    control_serve(&p->control, NULL, NULL);
    for (unsigned i = 0; i < p->loop_count; i++)
        if (p->loops[i].running) {
            net_loop_stop(p->loops[i].loop);
            pthread_join(p->loops[i].thread, NULL);
        }
    if (last)
        net_resolver_stop(p->control.resolver); /* it would answer to loops that are gone */
    /* What sessions and deliveries have given away comes back with them. */
    tls_handshaker_free(p->handshaker);
    tls_handshaker_free(p->outgoing);
    if (p->relay)
        relay_forget_handshaker(p->relay);
    /* The spool goes first among the rest: its last commit may still report to the loops, whose
     * mailboxes are read once more below. */
    if (p->spool) {
        spool_close(p->spool);
        relay_set_spool(p->relay, NULL);
    }
    for (unsigned i = 0; i < p->loop_count; i++) {
        struct loop_thread *t = &p->loops[i];

        if (t->loop)
            net_loop_turn(t->loop, 0);
        relay_loop_free(t->relay_loop);
        gateway_loop_free(t->gateway_loop);
        net_loop_free(t->loop);
        *t = (struct loop_thread){ .running = false };
    }
    relay_free(p->relay);
    gateway_free(p->gateway);
    p->spool = NULL;
    p->relay = NULL;
    p->gateway = NULL;
    p->handshaker = p->outgoing = NULL;
}

/* ---- serving ---- */

static void say_ready(struct process *p, struct daemon_options *o)
{
    char name[NET_ENDPOINT_SIZE], line[NET_ENDPOINT_SIZE + 2];

    listening_name(&p->control.listening, name);
    snprintf(line, sizeof line, "%s\n", name);
    notify_supervisor(&o->ready_fd, line);
    log_text(LOG_INFO, "ready", "SMTP on %s", name);
}

/* How many signals have come; up to `timeout_ms` is waited for one, for a mail, or until addresses
 * of this host come or go. */
static unsigned wait_signals(struct process *p, int signals, int timeout_ms)
{
    struct pollfd fds[3] = { { signals, POLLIN, 0 },
                             { mailbox_fd(&p->mailbox), POLLIN, 0 },
                             { p->control.host_watch, POLLIN, 0 } };
    struct signalfd_siginfo info;
    unsigned n = 0;

    PT_IGNORE(poll(fds, PT_ARRAY_LEN(fds), timeout_ms) < 0, "an interrupted wait is short");
    mailbox_drain(&p->mailbox);
    if (fds[2].revents && net_host_watch_read(p->control.host_watch))
        p->control.host_news = true;
    while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
        n++;
    return n;
}

/* False: not yet; why is in spool_fault, and logged once for each reason. */
static bool try_mail(struct process *p)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    bool news;

    if (start_mail(p, &fault) != PT_ERR_OK)
        end_mail(p, false);
    pthread_mutex_lock(&p->control.lock);
    news = fault.err != PT_ERR_OK && strcmp(p->spool_fault.text, fault.text) != 0;
    p->spool_fault = fault;
    pthread_mutex_unlock(&p->control.lock);
    if (news)
        log_text(LOG_ERROR, "start", "mail is not served: %s", fault.text);
    return fault.err == PT_ERR_OK;
}

/* Under `postern run` the console is our sibling and runs as we do; under a service manager it has
 * a user of its own, postern-console. */
static uint32_t console_uid(const struct daemon_options *o)
{
    const struct passwd *user = o->ready_fd >= 0 ? NULL : getpwnam("postern-console");

    if (o->ready_fd >= 0)
        return geteuid();
    return user ? user->pw_uid : UINT32_MAX;
}

/* Without its spool the gateway takes no mail, but the administrator gets in and sees why. */
static enum pt_err start(struct process *p, const struct daemon_options *o, struct pt_fault *fault)
{
    char tracking[STATE_PATH_SIZE];
    struct api_deps deps;

    pthread_mutex_init(&p->truth.lock, NULL);
    control_init(&p->control, &p->state);
    state_path(&p->state, "tracking", tracking);
    p->tracking = tracking_new(tracking);
    if (!p->tracking)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory or threads to start");
    if (o->apply)
        control_apply_file(&p->control, o->apply);
    control_keep_defaults(&p->control);
    PT_IGNORE(try_mail(p), "tried again by serve()");
    process_api_deps(p, &deps);
    deps.console_uid = console_uid(o);
    return api_new(&p->api, &deps, fault);
}

/* What no budget counts, such as the records of a very long queue, shows in the end. */
static void watch_memory(struct process *p)
{
    bool is_short = memory_resident("") > p->memory.alarm;

    if (is_short != p->memory_short)
        log_text(is_short ? LOG_WARN : LOG_INFO, "memory",
                 is_short ? "little memory is left: new mail is answered 452"
                          : "there is memory again: new mail is accepted");
    p->memory_short = is_short;
    gateway_set_memory_short(p->gateway, is_short);
}

static void serve(struct process *p, struct daemon_options *o, int signals)
{
    bool ready = false;

    do {
        if (!atomic_load(&p->serving) && !try_mail(p))
            continue;
        watch_memory(p);
        if (control_retry(&p->control) && !ready) {
            ready = true;
            say_ready(p, o);
        }
    } while (wait_signals(p, signals, RETRY_MS) == 0);
}

/* ---- stop ---- */

static void on_drained(void *ctx)
{
    struct process *p = ctx;

    atomic_store(&p->drained, true);
    mailbox_wake(&p->mailbox);
}

static void on_stopped(void *ctx)
{
    struct process *p = ctx;

    atomic_store(&p->stopped, true);
    mailbox_wake(&p->mailbox);
}

/* Waits for sessions and deliveries to end; a second signal or the time limit ends the wait. */
static void drain(struct process *p, int signals)
{
    int64_t until = clock_mono_ns() + STOP_ALL_MS * INT64_C(1000000);

    notify_service("STOPPING=1");
    log_text(LOG_INFO, "stopping", "asked to stop");
    control_stop_listening(&p->control);
    gateway_drain(p->gateway, GRACE_MS, on_drained, p);
    relay_stop(p->relay, on_stopped, p);
    while (!atomic_load(&p->drained) || !atomic_load(&p->stopped)) {
        int64_t left = (until - clock_mono_ns()) / 1000000;

        if (left <= 0 || wait_signals(p, signals, (int)left) > 0)
            break;
    }
}

static unsigned loops_wanted(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores < 1 ? 1 : (unsigned)PT_MIN(cores, (long)LOOPS_MAX);
}

int gateway_process_run(struct daemon_options *o)
{
    static struct process p;
    struct pt_fault fault = { .err = PT_ERR_OK };
    char log_directory[STATE_PATH_SIZE];
    int signals = take_signals();
    enum pt_err err;

    umask(027);
    descriptors_raise_limit();
    p.started_us = clock_wall_us();
    p.loop_count = loops_wanted();
    memory_plan_make(&p.memory, "", p.loop_count);
    err = state_open(&p.state, o->state, &fault);
    if (err == PT_ERR_OK)
        err = state_lock(&p.state, &fault);
    if (err == PT_ERR_OK && (signals < 0 || !mailbox_init(&p.mailbox)))
        err = pt_fault_set(&fault, PT_ERR_NOMEM, "no descriptors to start");
    if (err != PT_ERR_OK) {
        fprintf(stderr, "postern: %s\n", fault.text);
        return 1;
    }
    state_path(&p.state, "log", log_directory);
    if (log_open(log_directory, &fault) != PT_ERR_OK)
        fprintf(stderr, "postern: %s; going on with the log on stderr\n", fault.text);
    err = start(&p, o, &fault);
    if (err == PT_ERR_OK) {
        notify_service("READY=1");
        serve(&p, o, signals);
        if (atomic_load(&p.serving))
            drain(&p, signals);
    } else {
        fprintf(stderr, "postern: %s\n", fault.text);
    }
    api_free(p.api);
    end_mail(&p, true);
    tracking_free(p.tracking);
    control_done(&p.control);
    log_text(LOG_INFO, "stopped", "the gateway has ended");
    log_close();
    return err == PT_ERR_OK ? 0 : 1;
}
