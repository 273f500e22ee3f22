#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "cli/cli.h"
#include "http/client.h"

/*
 * cli/command: what a command is, and the run of one; private to this room.
 */

struct cli;

enum { CLI_OPTIONS_MAX = 12 };

struct cli_option {
    const char *name;  /* "--destination" */
    const char *value; /* "D" in the help; NULL: a flag */
    const char *help;
};

struct cli_command {
    const char *name; /* "queue" */
    const char *verb; /* "list"; NULL: the command has none */
    const char *args; /* for the synopsis: "[ID…]"; NULL: none */
    const char *summary;
    const char *text; /* more, with examples; ends without a newline; NULL: nothing more */
    struct cli_option options[CLI_OPTIONS_MAX];
    int min_args, max_args;    /* -1: any number */
    int (*run)(struct cli *c); /* NULL: an external command */
};

/* The commands in the order of the help; ends with a NULL name. */
extern const struct cli_command cli_commands[];

/* One run. */
struct cli {
    const struct cli_command *command;
    const char *state;
    const char **args;
    int arg_count;
    const char *values[CLI_OPTIONS_MAX]; /* as the command's options; NULL: not given */
    bool json;
    struct http_client *client; /* made when needed */
    char socket[4200];
};

/* The value of an option, "" for a flag that is set, NULL when it was not given. The command must
 * have the option. */
const char *cli_option(const struct cli *c, const char *name);

/* "&name=VALUE" behind a target, where the option was given. */
void cli_add_query(const struct cli *c, struct buf *target, const char *option, const char *name);

/* A number from 1 on: false (and a line on stderr) when it is none. */
PT_NODISCARD bool cli_option_u64(const struct cli *c, const char *name, uint64_t fallback,
                                 uint64_t *out);

/* One line on stderr: "postern: …". Returns CLI_FAILED. */
int cli_fail(const char *fmt, ...) PT_PRINTF(1, 2);

/* The same for wrong usage, with a hint at --help. Returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *fmt, ...) PT_PRINTF(2, 3);

/* ---- members of an answer ---- */

/* "" where it is no string. */
static inline const char *cli_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* 0 where it is no number. */
static inline int64_t cli_number(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

static inline uint64_t cli_count(const json_t *object, const char *key)
{
    return (uint64_t)cli_number(object, key);
}

/* ---- the API (call.c) ---- */

/* One call. PT_ERR_CLOSED: the gateway is down; nothing was printed for any failure. */
PT_NODISCARD enum pt_err cli_call(struct cli *c, const struct http_call *call,
                                  struct http_reply *out, struct pt_fault *fault);

/* GET, and the body as JSON. On failure NULL, and the line is on stderr. */
json_t *cli_get(struct cli *c, const char *target);

/* The same, with *out_down instead of a line on stderr when the gateway is down. */
json_t *cli_get_or_down(struct cli *c, const char *target, bool *out_down);

/* Any call that must answer 2xx: the body as JSON (or null for none). Else NULL, said on stderr. */
json_t *cli_expect(struct cli *c, const struct http_call *call);

/* POST of a JSON body, which is taken; as cli_expect(). */
json_t *cli_post(struct cli *c, const char *target, json_t *body);

/* One page of the queue: `filter` begins with '&' or is empty, `cursor` may be NULL. NULL: said on
 * stderr. */
json_t *cli_queue_page(struct cli *c, const char *filter, const char *cursor, uint64_t limit);

/* What the log says of a message, in order: a new array, or NULL and the line on stderr. */
json_t *cli_trace_events(struct cli *c, const char *id);
void cli_trace_print(const json_t *events);

/* The settings document in a file, "-" for standard input; NULL: said on stderr. */
json_t *cli_read_draft(const char *file);

/* A line for each suspended destination. */
void cli_suspensions_print(const json_t *items);

/* The preview in the answer to a dry run. */
void cli_preview_print(const json_t *preview);

/* Says what a problem document says. Returns CLI_FAILED. */
int cli_problem(const struct http_reply *reply);

/* ---- the commands ---- */

int cli_settings_show(struct cli *c);
int cli_settings_export(struct cli *c);
int cli_settings_apply(struct cli *c);
int cli_settings_history(struct cli *c);
int cli_settings_diff(struct cli *c);
int cli_settings_confirm(struct cli *c);
int cli_settings_rollback(struct cli *c);
int cli_audit(struct cli *c);
int cli_events(struct cli *c);
int cli_admin_add(struct cli *c);
int cli_admin_passwd(struct cli *c);
int cli_admin_list(struct cli *c);
int cli_admin_second_factor(struct cli *c);
int cli_admin_remove(struct cli *c);
int cli_access_test(struct cli *c);
int cli_access_list(struct cli *c);
int cli_access_add(struct cli *c);
int cli_access_remove(struct cli *c);
int cli_access_import(struct cli *c);
int cli_access_export(struct cli *c);
int cli_rules_import(struct cli *c);
int cli_rules_export(struct cli *c);
int cli_tls_install(struct cli *c);
int cli_tls_upload(struct cli *c);
int cli_tls_show(struct cli *c);
int cli_tls_list(struct cli *c);
int cli_tls_remove(struct cli *c);
int cli_tls_check(struct cli *c);
int cli_connections_list(struct cli *c);
int cli_connections_show(struct cli *c);
int cli_connections_disconnect(struct cli *c);
int cli_connections_bans(struct cli *c);
int cli_connections_ban(struct cli *c);
int cli_connections_unban(struct cli *c);
int cli_connections_limits(struct cli *c);
int cli_explain(struct cli *c);
int cli_route_test(struct cli *c);
int cli_explain_ref(struct cli *c, const char *ref);
int cli_queue_list(struct cli *c);
int cli_queue_show(struct cli *c);
int cli_queue_act(struct cli *c); /* retry, hold, release, delete, bounce */
int cli_queue_export(struct cli *c);
int cli_queue_redirect(struct cli *c);
int cli_queue_suspend(struct cli *c);
int cli_queue_resume(struct cli *c);
int cli_queue_suspensions(struct cli *c);
int cli_spool_check(struct cli *c);
int cli_spool_export(struct cli *c);
int cli_trace(struct cli *c);
int cli_status(struct cli *c);
