#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "console/console.h"
#include "daemon/gateway_process.h"
#include "daemon/notify.h"
#include "daemon/options.h"
#include "daemon/supervisor.h"
#include "daemon/version.h"

static int run_command(int argc, char **argv)
{
    struct daemon_options o;
    struct pt_fault fault;

    if (options_parse(&o, argc, argv) != OPTIONS_OK)
        return CLI_USAGE;
    if (console_listen_check(o.console, &fault) != PT_ERR_OK) {
        fprintf(stderr, "postern: run: %s\n", fault.text);
        return fault.err == PT_ERR_INVALID ? CLI_USAGE : CLI_FAILED;
    }
    return supervisor_run(&o);
}

static int gateway_command(int argc, char **argv)
{
    struct daemon_options o;

    if (options_parse(&o, argc, argv) != OPTIONS_OK)
        return CLI_USAGE;
    return gateway_process_run(&o);
}

/* ---- the console ---- */

static struct console *running_console;

static void on_signal(int number)
{
    (void)number;
    console_stop(running_console);
}

static void console_ready(void *ctx, const char *url, const char *setup_url)
{
    struct daemon_options *o = ctx;
    char line[1024];

    /* Alone it says itself what `postern run` says for it otherwise. */
    if (setup_url && o->ready_fd < 0) {
        printf("setup %s\n", setup_url);
        PT_IGNORE(fflush(stdout) != 0, "nobody reads it");
    }
    snprintf(line, sizeof line, "%s%s%s\n", url, setup_url ? " " : "", setup_url ? setup_url : "");
    notify_supervisor(&o->ready_fd, line);
    notify_service("READY=1");
}

static int console_command(int argc, char **argv)
{
    struct daemon_options o;
    struct pt_fault fault;
    struct sigaction action = { .sa_handler = on_signal };
    int listen_fd;

    if (options_parse(&o, argc, argv) != OPTIONS_OK)
        return CLI_USAGE;
    if (notify_listen_fds(&listen_fd, 1) == 0)
        listen_fd = -1;
    if (console_new(&running_console,
                    &(struct console_config){ .state_directory = o.state,
                                              .listen = o.console,
                                              .version = POSTERN_VERSION,
                                              .listen_fd = listen_fd,
                                              .ready = console_ready,
                                              .ctx = &o },
                    &fault) != PT_ERR_OK) {
        fprintf(stderr, "postern: console: %s\n", fault.text);
        return fault.err == PT_ERR_INVALID ? CLI_USAGE : CLI_FAILED;
    }
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    console_run(running_console);
    /* One more signal would stop what is being freed. */
    action.sa_handler = SIG_IGN;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    console_free(running_console);
    return CLI_OK;
}

int main(int argc, char **argv)
{
    static const struct cli_external externals[] = {
        { "run", run_command },
        { "gateway", gateway_command },
        { "console", console_command },
        { NULL, NULL },
    };

    return cli_main(argc, argv, externals);
}
