/*
 * cli/help: what --help prints, made from the table of commands.
 */
#include <string.h>

#include "base/defs.h"
#include "cli/command.h"

enum { SUMMARY_COLUMN = 30 };

/* "queue retry [ID…]", and its width on the terminal. */
static int title(const struct cli_command *c, char *out, size_t room)
{
    int n = snprintf(out, room, "%s%s%s%s%s", c->name, c->verb ? " " : "", c->verb ? c->verb : "",
                     c->args ? " " : "", c->args ? c->args : "");
    int width = 0;

    for (int i = 0; i < n && (size_t)i < room; i++)
        width += ((unsigned char)out[i] & 0xc0) != 0x80;
    return width;
}

static void help_top(FILE *out)
{
    const char *group = NULL;

    fputs("Postern, an SMTP gateway.\n\n"
          "Usage: postern COMMAND [OPTIONS]\n\n",
          out);
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        char text[80];
        int width = title(c, text, sizeof text);

        if (group && strcmp(group, c->name) != 0 &&
            (c->verb || c[-1].verb || !c->run != !c[-1].run))
            fputc('\n', out);
        group = c->name;
        fprintf(out, "  %s%*s  %s\n", text, PT_MAX(0, SUMMARY_COLUMN - width), "", c->summary);
    }
    fputs("\nOptions of every command:\n"
          "  --state DIR  the folder that holds everything the gateway keeps\n"
          "               ($POSTERN_STATE, else /var/lib/postern, or ./state from a checkout)\n"
          "  --help       what the command does\n"
          "  --version    the version\n\n"
          "Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n",
          out);
}

static void help_options(FILE *out, const struct cli_command *c)
{
    fputs("\nOptions:\n", out);
    for (const struct cli_option *o = c->options; o < c->options + CLI_OPTIONS_MAX && o->name;
         o++) {
        char text[80];
        int n = snprintf(text, sizeof text, "%s%s%s", o->name, o->value ? " " : "",
                         o->value ? o->value : "");

        fprintf(out, "  %s%*s  %s\n", text, PT_MAX(0, 20 - n), "", o->help);
    }
    fprintf(out, "  %-20s  %s\n", "--state DIR",
            "the folder that holds everything the gateway keeps");
}

static void help_one(FILE *out, const struct cli_command *c)
{
    char text[80];

    title(c, text, sizeof text);
    fprintf(out, "Usage: postern %s [OPTIONS]\n\n%c%s.\n", text,
            c->summary[0] >= 'a' && c->summary[0] <= 'z' ? c->summary[0] - 32 : c->summary[0],
            c->summary + 1);
    if (c->text)
        fprintf(out, "\n%s\n", c->text);
    help_options(out, c);
}

/* A group such as "queue": its commands. */
static void help_group(FILE *out, const char *name)
{
    fprintf(out, "Usage: postern %s COMMAND [OPTIONS]\n\n", name);
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        char text[80];
        int width;

        if (strcmp(c->name, name) != 0)
            continue;
        width = title(c, text, sizeof text);
        fprintf(out, "  %s%*s  %s\n", text, PT_MAX(0, SUMMARY_COLUMN - width), "", c->summary);
    }
    fprintf(out, "\n`postern %s COMMAND --help` tells more.\n", name);
}

bool cli_help(FILE *out, const char *command)
{
    const char *space = command ? strchr(command, ' ') : NULL;
    size_t n = command ? (space ? (size_t)(space - command) : strlen(command)) : 0;

    if (!command) {
        help_top(out);
        return true;
    }
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (strlen(c->name) != n || memcmp(c->name, command, n) != 0)
            continue;
        if (c->verb && !space) {
            help_group(out, c->name);
            return true;
        }
        if (c->verb && strcmp(c->verb, space + 1) != 0)
            continue;
        help_one(out, c);
        return true;
    }
    return false;
}
