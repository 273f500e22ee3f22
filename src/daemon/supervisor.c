#include "daemon/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/defs.h"

enum {
    RESTART_FIRST_MS = 500,
    RESTART_MAX_MS = 30000,
    STEADY_MS = 60000, /* a child that lived this long starts with the first pause again */
    EXIT_REFUSED = 1,  /* a gateway that says so is not started again */
};

struct child {
    const char *command; /* "gateway", "console" */
    pid_t pid;           /* 0: not running */
    int ready_fd;        /* reads the child's line; -1: said, or not running */
    char ready[1024];    /* what it said */
    size_t ready_len;
    bool is_ready;
    int64_t started_ms, start_at_ms;
    int pause_ms;
    int status; /* as waitpid() gave it */
};

struct supervisor {
    const struct daemon_options *o;
    struct child gateway, console;
    int signals;
    bool stopping, announced;
    int exit_status;
};

static int64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* ---- starting ---- */

static void exec_child(const struct supervisor *s, const struct child *c, int ready_fd)
{
    char fd_text[16];
    const char *argv[12];
    int n = 0;
    sigset_t none;

    /* The child must not outlive the supervisor, also when that is killed. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == 1)
        _exit(0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(fd_text, sizeof fd_text, "%d", ready_fd);
    argv[n++] = "postern";
    argv[n++] = c->command;
    argv[n++] = "--state";
    argv[n++] = s->o->state;
    argv[n++] = "--ready-fd";
    argv[n++] = fd_text;
    if (c == &s->gateway && s->o->apply && c->started_ms == 0) {
        argv[n++] = "--apply";
        argv[n++] = s->o->apply;
    }
    if (c == &s->console) {
        argv[n++] = "--console";
        argv[n++] = s->o->console;
    }
    argv[n] = NULL;
    execv("/proc/self/exe", (char **)argv);
    fprintf(stderr, "postern: cannot start the %s: %s\n", c->command, strerrordesc_np(errno));
    _exit(127);
}

static void start(struct supervisor *s, struct child *c)
{
    int fds[2];
    pid_t pid;

    c->start_at_ms = now_ms() + c->pause_ms;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        fprintf(stderr, "postern: cannot start the %s: %s\n", c->command, strerrordesc_np(errno));
        return;
    }
    pid = fork();
    if (pid == 0) {
        PT_IGNORE(fcntl(fds[1], F_SETFD, 0), "the child then cannot say that it is ready");
        exec_child(s, c, fds[1]);
    }
    close(fds[1]);
    if (pid < 0) {
        fprintf(stderr, "postern: cannot start the %s: %s\n", c->command, strerrordesc_np(errno));
        close(fds[0]);
        return;
    }
    c->pid = pid;
    c->ready_fd = fds[0];
    c->ready_len = 0;
    c->started_ms = now_ms();
    c->start_at_ms = 0;
}

/* ---- what children say ---- */

static void announce(struct supervisor *s)
{
    if (s->announced || !s->gateway.is_ready || !s->console.is_ready)
        return;
    s->announced = true;
    printf("ready smtp=%s console=%s\n", s->gateway.ready, s->console.ready);
    fflush(stdout);
}

/* The console's line is its URL and, as long as there is no account, the link that makes the first
 * one: another one at each of its starts. */
static void take_setup(struct child *c)
{
    char *space = strchr(c->ready, ' ');

    if (!space)
        return;
    *space = 0;
    printf("setup %s\n", space + 1);
    fflush(stdout);
}

static void read_ready(struct supervisor *s, struct child *c)
{
    ssize_t n = read(c->ready_fd, c->ready + c->ready_len, sizeof c->ready - 1 - c->ready_len);

    if (n > 0)
        c->ready_len += (size_t)n;
    c->ready[c->ready_len] = 0;
    if (n > 0 && !strchr(c->ready, '\n') && c->ready_len < sizeof c->ready - 1)
        return;
    c->is_ready = strchr(c->ready, '\n') != NULL;
    c->ready[strcspn(c->ready, "\n")] = 0;
    close(c->ready_fd);
    c->ready_fd = -1;
    if (c == &s->console)
        take_setup(c);
    announce(s);
}

/* ---- ends ---- */

static void pass_on(struct supervisor *s, int signal)
{
    if (s->gateway.pid)
        kill(s->gateway.pid, signal);
    if (s->console.pid)
        kill(s->console.pid, signal);
}

static void ended(struct supervisor *s, struct child *c, int status)
{
    int64_t lived = now_ms() - c->started_ms;

    c->pid = 0;
    c->status = status;
    c->is_ready = false;
    if (c->ready_fd >= 0)
        close(c->ready_fd);
    c->ready_fd = -1;
    if (s->stopping)
        return;
    if (c == &s->gateway && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_REFUSED) {
        /* It has said why, on stderr; trying again would say the same. */
        s->exit_status = EXIT_REFUSED;
        s->stopping = true;
        pass_on(s, SIGTERM);
        return;
    }
    c->pause_ms = lived > STEADY_MS || c->pause_ms == 0 ? RESTART_FIRST_MS : c->pause_ms * 2;
    c->pause_ms = PT_MIN(c->pause_ms, RESTART_MAX_MS);
    c->start_at_ms = now_ms() + c->pause_ms;
    if (WIFSIGNALED(status))
        fprintf(stderr, "postern: the %s was ended by signal %d (%s); starting it again in %d ms\n",
                c->command, WTERMSIG(status), strsignal(WTERMSIG(status)), c->pause_ms);
    else
        fprintf(stderr, "postern: the %s ended with status %d; starting it again in %d ms\n",
                c->command, WEXITSTATUS(status), c->pause_ms);
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->gateway.pid)
            ended(s, &s->gateway, status);
        else if (pid == s->console.pid)
            ended(s, &s->console, status);
    }
}

static void on_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        pass_on(s, SIGTERM); /* the children know what a second one means */
        s->stopping = true;
    }
    reap(s);
}

/* ---- the loop ---- */

static int wait_ms(const struct supervisor *s)
{
    const struct child *all[] = { &s->gateway, &s->console };
    int64_t next = -1;

    for (size_t i = 0; i < PT_ARRAY_LEN(all); i++) {
        int64_t in = all[i]->start_at_ms - now_ms();

        if (all[i]->pid || s->stopping)
            continue;
        in = PT_MAX(in, 0);
        if (next < 0 || in < next)
            next = in;
    }
    return (int)next;
}

static void start_due(struct supervisor *s)
{
    struct child *all[] = { &s->gateway, &s->console };

    for (size_t i = 0; i < PT_ARRAY_LEN(all); i++)
        if (!all[i]->pid && !s->stopping && all[i]->start_at_ms <= now_ms())
            start(s, all[i]);
}

static int take_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervisor_run(const struct daemon_options *o)
{
    struct supervisor s = {
        .o = o,
        .gateway = { .command = "gateway", .ready_fd = -1 },
        .console = { .command = "console", .ready_fd = -1 },
    };

    s.signals = take_signals();
    if (s.signals < 0) {
        fprintf(stderr, "postern: cannot wait for signals: %s\n", strerrordesc_np(errno));
        return 1;
    }
    for (;;) {
        struct pollfd fds[3];

        start_due(&s);
        if (s.stopping && !s.gateway.pid && !s.console.pid)
            break;
        fds[0] = (struct pollfd){ s.signals, POLLIN, 0 };
        fds[1] = (struct pollfd){ s.gateway.ready_fd, POLLIN, 0 };
        fds[2] = (struct pollfd){ s.console.ready_fd, POLLIN, 0 };
        PT_IGNORE(poll(fds, PT_ARRAY_LEN(fds), wait_ms(&s)) < 0, "an interrupted wait is short");
        if (s.gateway.ready_fd >= 0 && fds[1].revents)
            read_ready(&s, &s.gateway);
        if (s.console.ready_fd >= 0 && fds[2].revents)
            read_ready(&s, &s.console);
        on_signals(&s);
    }
    close(s.signals);
    if (s.exit_status == 0 && WIFEXITED(s.gateway.status))
        s.exit_status = WEXITSTATUS(s.gateway.status);
    return s.exit_status;
}
