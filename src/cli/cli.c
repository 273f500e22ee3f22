/*
 * cli: finds the command, reads its options, runs it.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/command.h"

/* ---- saying what is wrong ---- */

int cli_fail(const char *fmt, ...)
{
    va_list args;

    fputs("postern: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_FAILED;
}

int cli_usage(const struct cli_command *command, const char *fmt, ...)
{
    va_list args;

    fputs("postern: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, " (see: postern %s%s%s%s--help)\n", command ? command->name : "",
            command ? " " : "", command && command->verb ? command->verb : "",
            command && command->verb ? " " : "");
    return CLI_USAGE;
}

/* ---- where the state is ---- */

/* True if this program lies in the build folder of a checkout. */
static bool in_checkout(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof "/meson.build");
    char *slash;

    if (n <= 0)
        return false;
    path[n] = 0;
    for (int up = 0; up < 2; up++) {
        slash = strrchr(path, '/');
        if (!slash)
            return false;
        *slash = 0;
    }
    memcpy(path + strlen(path), "/meson.build", sizeof "/meson.build");
    return access(path, F_OK) == 0;
}

const char *cli_default_state(void)
{
    const char *named = getenv("POSTERN_STATE");

    if (named && *named)
        return named;
    return in_checkout() ? "./state" : "/var/lib/postern";
}

/* ---- options ---- */

const char *cli_option(const struct cli *c, const char *name)
{
    for (int i = 0; i < CLI_OPTIONS_MAX && c->command->options[i].name; i++)
        if (strcmp(c->command->options[i].name, name) == 0)
            return c->values[i];
    pt_panic(__FILE__, __LINE__, name);
}

bool cli_option_u64(const struct cli *c, const char *name, uint64_t fallback, uint64_t *out)
{
    const char *text = cli_option(c, name);

    *out = fallback;
    if (!text || (str_to_u64(str_of(text), out) && *out > 0))
        return true;
    cli_usage(c->command, "%s must be a number from 1", name);
    return false;
}

/* Where the value of option `arg` goes; NULL: there is no such option. */
static const char **find_option(struct cli *c, struct str name, const char **out_value_name)
{
    *out_value_name = "DIR";
    if (str_eq(name, STR("--state")))
        return &c->state;
    for (int i = 0; i < CLI_OPTIONS_MAX && c->command->options[i].name; i++) {
        if (!str_eq(name, str_of(c->command->options[i].name)))
            continue;
        *out_value_name = c->command->options[i].value;
        if (strcmp(c->command->options[i].name, "--json") == 0)
            c->json = true;
        return &c->values[i];
    }
    return NULL;
}

/* One "--name", "--name VALUE" or "--name=VALUE" at argv[*at]. CLI_OK, or the exit status. */
static int read_option(struct cli *c, int argc, char **argv, int *at)
{
    struct str arg = str_of(argv[*at]);
    ptrdiff_t eq = str_find(arg, '=', 0);
    struct str name = eq < 0 ? arg : str_head(arg, (size_t)eq);
    const char *value_name;
    const char **place = find_option(c, name, &value_name);

    if (!place)
        return cli_usage(c->command, "unknown option %.*s", STR_FMT(name));
    if (!value_name) {
        if (eq >= 0)
            return cli_usage(c->command, "%.*s takes no value", STR_FMT(name));
        *place = "";
        return CLI_OK;
    }
    if (eq >= 0) {
        *place = arg.p + eq + 1;
    } else {
        if (*at + 1 >= argc)
            return cli_usage(c->command, "%s needs a value", argv[*at]);
        *place = argv[++*at];
    }
    if (**place == 0)
        return cli_usage(c->command, "%.*s needs a value", STR_FMT(name));
    return CLI_OK;
}

static int read_arguments(struct cli *c, int argc, char **argv, int at)
{
    bool options = true;

    for (; at < argc; at++) {
        if (options && strcmp(argv[at], "--") == 0) {
            options = false;
        } else if (options && argv[at][0] == '-' && argv[at][1]) {
            int status = read_option(c, argc, argv, &at);

            if (status != CLI_OK)
                return status;
        } else {
            c->args[c->arg_count++] = argv[at];
        }
    }
    if (c->arg_count < c->command->min_args)
        return cli_usage(c->command, "%s is missing", c->command->args);
    if (c->command->max_args >= 0 && c->arg_count > c->command->max_args)
        return cli_usage(c->command, "too many arguments");
    return CLI_OK;
}

/* ---- finding and running ---- */

static bool asks_for_help(int argc, char **argv, int from)
{
    for (int i = from; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            return false;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

/* The command that argv names; *out_rest is where its arguments begin. */
static const struct cli_command *find_command(int argc, char **argv, int *out_rest, bool *out_group)
{
    *out_group = false;
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (strcmp(c->name, argv[1]) != 0)
            continue;
        *out_group = true;
        if (c->verb && (argc < 3 || strcmp(c->verb, argv[2]) != 0))
            continue;
        *out_rest = c->verb ? 3 : 2;
        return c;
    }
    return NULL;
}

static int run_external(const struct cli_command *command, const struct cli_external *externals,
                        int argc, char **argv)
{
    for (const struct cli_external *e = externals; e && e->name; e++)
        if (strcmp(e->name, command->name) == 0)
            return e->run(argc, argv);
    return cli_fail("this program has no %s command", command->name);
}

static int run_command(const struct cli_command *command, int argc, char **argv, int rest)
{
    struct cli c = { .command = command };
    int status;

    c.args = calloc((size_t)argc + 1, sizeof *c.args);
    if (!c.args)
        return cli_fail("out of memory");
    c.state = cli_default_state();
    status = read_arguments(&c, argc, argv, rest);
    if (status == CLI_OK)
        status = command->run(&c);
    if (fflush(stdout) != 0 && status == CLI_OK)
        status = cli_fail("cannot write the output");
    http_client_free(c.client);
    free(c.args);
    return status;
}

static int run_help(int argc, char **argv)
{
    char name[80];

    if (argc < 3) {
        cli_help(stdout, NULL);
        return CLI_OK;
    }
    snprintf(name, sizeof name, "%s%s%s", argv[2], argc > 3 ? " " : "", argc > 3 ? argv[3] : "");
    if (cli_help(stdout, name))
        return CLI_OK;
    return cli_usage(NULL, "there is no command %s", name);
}

int cli_main(int argc, char **argv, const struct cli_external *externals)
{
    const struct cli_command *command;
    bool group;
    int rest = 2;

    if (argc < 2) {
        cli_help(stderr, NULL);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        printf("postern %s\n", POSTERN_VERSION);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return run_help(argc, argv);
    command = find_command(argc, argv, &rest, &group);
    if (!command && group && asks_for_help(argc, argv, 2)) {
        cli_help(stdout, argv[1]);
        return CLI_OK;
    }
    if (!command && group) {
        fprintf(stderr, "postern: %s needs one of its commands (see: postern %s --help)\n", argv[1],
                argv[1]);
        return CLI_USAGE;
    }
    if (!command)
        return cli_usage(NULL, "there is no command %s", argv[1]);
    if (asks_for_help(argc, argv, rest)) {
        char name[80];

        snprintf(name, sizeof name, "%s%s%s", command->name, command->verb ? " " : "",
                 command->verb ? command->verb : "");
        cli_help(stdout, name);
        return CLI_OK;
    }
    return command->run ? run_command(command, argc, argv, rest)
                        : run_external(command, externals, argc, argv);
}
