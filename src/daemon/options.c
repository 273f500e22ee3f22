#include "daemon/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"

enum { OPT_STATE = 256, OPT_CONSOLE, OPT_APPLY, OPT_READY_FD };

static const struct option known[] = {
    { "state", required_argument, NULL, OPT_STATE },
    { "console", required_argument, NULL, OPT_CONSOLE },
    { "apply", required_argument, NULL, OPT_APPLY },
    { "ready-fd", required_argument, NULL, OPT_READY_FD },
    { NULL, 0, NULL, 0 },
};

static enum options_result wrong(const char *command, const char *what, const char *value)
{
    fprintf(stderr, "postern: %s: %s%s%s (see \"postern %s --help\")\n", command, what,
            value ? " " : "", value ? value : "", command);
    return OPTIONS_WRONG;
}

static enum options_result take(struct daemon_options *o, const char *command, int opt)
{
    uint64_t fd;

    switch (opt) {
    case OPT_STATE:
        o->state = optarg;
        break;
    case OPT_CONSOLE:
        if (strcmp(command, "gateway") == 0)
            return wrong(command, "has no option --console", NULL);
        o->console = optarg;
        break;
    case OPT_APPLY:
        if (strcmp(command, "console") == 0)
            return wrong(command, "has no option --apply", NULL);
        o->apply = optarg;
        break;
    case OPT_READY_FD:
        if (!str_to_u64(str_of(optarg), &fd) || fd > 1023)
            return wrong(command, "--ready-fd is not a descriptor:", optarg);
        o->ready_fd = (int)fd;
        break;
    default:
        return wrong(command, "unknown option or missing value:", optarg ? optarg : NULL);
    }
    return OPTIONS_OK;
}

enum options_result options_parse(struct daemon_options *o, int argc, char **argv)
{
    const char *command = argv[1];
    int opt;

    *o = (struct daemon_options){ .state = cli_default_state(),
                                  .console = "127.0.0.1:8025",
                                  .ready_fd = -1 };
    opterr = 0;
    optind = 2;
    while ((opt = getopt_long(argc, argv, "+", known, NULL)) != -1) {
        enum options_result result;

        if (opt == '?')
            return wrong(command, "unknown option or missing value:", argv[optind - 1]);
        result = take(o, command, opt);
        if (result != OPTIONS_OK)
            return result;
    }
    if (optind < argc)
        return wrong(command, "takes no argument, but got", argv[optind]);
    return OPTIONS_OK;
}
