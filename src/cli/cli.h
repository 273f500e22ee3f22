#pragma once
#include <stdbool.h>
#include <stdio.h>

/*
 * cli: the command line.
 *
 * One table of commands, from which --help is made and by which they are found. Commands speak the
 * API on STATE/api.sock; those of `settings` open the store themselves when the gateway is down.
 * Exit status: 0 done; 1 refused or failed, with one line on stderr; 2 wrong usage.
 */

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* A command that lives elsewhere (daemon: run, gateway, console). */
struct cli_external {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is "postern", argv[1] the command */
};

/*
 * Runs argv and returns the exit status. "--help", "--version", usage errors and the help of all
 * commands, external ones included, are handled here: an external command is called only for a
 * real run. `externals` ends with a NULL name; NULL: there are none, and such commands are refused.
 */
int cli_main(int argc, char **argv, const struct cli_external *externals);

/* Prints the help of one command, or of all with NULL. False: there is no such command. */
bool cli_help(FILE *out, const char *command);

/* $POSTERN_STATE, or the default: ./state in a checkout (a folder with meson.build in it),
 * /var/lib/postern otherwise. Never NULL. */
const char *cli_default_state(void);
