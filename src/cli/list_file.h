#pragma once
#include "cli/command.h"

/*
 * cli/list_file: what files of addresses and of domains have in common: read, sent, reported,
 * written.
 */
enum { CLI_LIST_FILE_MAX = 64 << 20 };

/* "-" is standard input. False: said. `out` was initialised with CLI_LIST_FILE_MAX. */
PT_NODISCARD bool cli_list_read(const char *file, struct buf *out);

/* Sends it; wrong lines are said, the report shown by `print`, or as JSON. The exit status. */
int cli_list_send(struct cli *c, struct http_call *call,
                  void (*print)(const json_t *report, const char *list), const char *list);

/* A report's counts, and the lines that are not taken as they stand: `key` is what an entry is
 * called there. */
void cli_list_counts(const json_t *report, const char *key);

/* On standard error: the lines of a report that were left out. */
void cli_list_left_out(const json_t *report);

/* Prints what a GET of text gives. The exit status. */
int cli_list_export(struct cli *c, const char *target);

/* Prints all items of the list at `path`, page by page, as one JSON array; `show` makes of an item
 * what stands there, a reference. The exit status. */
int cli_list_export_json(struct cli *c, const char *path, json_t *(*show)(const json_t *item));
