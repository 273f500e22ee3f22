#pragma once
#include <stdbool.h>

/*
 * daemon/options: what the long-running commands were told on the command line.
 */
struct daemon_options {
    const char *state;   /* never NULL */
    const char *console; /* "HOST:PORT"; run and console */
    const char *apply;   /* settings file to commit before serving, or NULL */
    int ready_fd;        /* where a supervised child says that it serves; -1: nobody asks */
};

enum options_result { OPTIONS_OK, OPTIONS_WRONG };

/* Reads argv[2…]; --help was dealt with before (cli_main()). On OPTIONS_WRONG one line was printed
 * to stderr. */
enum options_result options_parse(struct daemon_options *o, int argc, char **argv);
