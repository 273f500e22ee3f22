/*
 * cli/export: messages of the queue as files.
 *
 * A file appears under its name only when it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/msgid.h"
#include "cli/command.h"

enum { PAGE = 500, PATH_SIZE = 4096 };

struct export
{
    struct cli *c;
    const char *directory;
    uint64_t written;
    int fd;
    int error; /* of the write that failed; 0: none */
};

static bool write_all(void *ctx, struct str octets)
{
    struct export *e = ctx;

    while (octets.n) {
        ssize_t n = write(e->fd, octets.p, octets.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            e->error = n < 0 ? errno : ENOSPC;
            return false;
        }
        octets = str_from(octets, (size_t)n);
    }
    return true;
}

/* Fetches the content into the open file. */
static int fetch(struct export *e, const char *id)
{
    char target[64];
    struct http_call call = { .method = "GET", .target = target, .sink = write_all, .sink_ctx = e };
    struct http_reply reply;
    struct pt_fault fault;
    enum pt_err err;

    snprintf(target, sizeof target, "/api/v1/queue/%s/content", id);
    err = cli_call(e->c, &call, &reply, &fault);
    if (err)
        return e->error ? cli_fail("cannot write %s: %s", id, strerrordesc_np(e->error))
                        : cli_fail("%s", fault.text);
    if (reply.status != 200) {
        cli_problem(&reply);
        http_reply_done(&reply);
        return CLI_FAILED;
    }
    http_reply_done(&reply);
    return CLI_OK;
}

static int export_one(struct export *e, uint64_t number)
{
    char id[MSGID_SIZE], path[PATH_SIZE], part[PATH_SIZE + 8];
    int status;

    msgid_format(number, id);
    if (snprintf(path, sizeof path, "%s/%s.eml", e->directory, id) >= (int)sizeof path)
        return cli_fail("the name of the folder is too long");
    snprintf(part, sizeof part, "%s.part", path);
    e->error = 0;
    e->fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (e->fd < 0)
        return cli_fail("cannot write %s: %s", part, strerrordesc_np(errno));
    status = fetch(e, id);
    if (close(e->fd) != 0 && status == CLI_OK)
        status = cli_fail("cannot write %s: %s", part, strerrordesc_np(errno));
    if (status == CLI_OK && rename(part, path) != 0)
        status = cli_fail("cannot write %s: %s", path, strerrordesc_np(errno));
    if (status != CLI_OK)
        PT_IGNORE(unlink(part), "it may not be there");
    e->written += status == CLI_OK;
    return status;
}

/* To standard output: more than one would run into each other. */
static int export_to_stdout(struct cli *c)
{
    struct export e = { .c = c, .fd = STDOUT_FILENO };
    uint64_t number;
    char id[MSGID_SIZE];

    if (c->arg_count != 1)
        return cli_usage(c->command, "--to - takes one ID");
    if (!msgid_parse(str_of(c->args[0]), &number))
        return cli_fail("%s is no message ID", c->args[0]);
    msgid_format(number, id);
    return fetch(&e, id);
}

static int export_ids(struct export *e)
{
    int status = CLI_OK;

    for (int i = 0; i < e->c->arg_count; i++) {
        uint64_t number;

        if (!msgid_parse(str_of(e->c->args[i]), &number))
            status = cli_fail("%s is no message ID", e->c->args[i]);
        else if (export_one(e, number) != CLI_OK)
            status = CLI_FAILED;
    }
    return status;
}

/* The messages of one page; a message that has left the queue meanwhile is passed over aloud. */
static int export_page(struct export *e, const json_t *items)
{
    int status = CLI_OK;
    const json_t *m;
    size_t i;

    json_array_foreach(items, i, m)
    {
        uint64_t number;
        const char *id = json_string_value(json_object_get(m, "id"));

        if (!id || !msgid_parse(str_of(id), &number))
            return cli_fail("the gateway's answer has no message ID");
        if (export_one(e, number) != CLI_OK)
            status = CLI_FAILED;
        if (e->error)
            break; /* the disk is full: the next one would fail too */
    }
    return status;
}

static int export_listed(struct export *e)
{
    const char *destination = cli_option(e->c, "--destination");
    char cursor[64] = "";
    struct buf filter;
    int status = CLI_OK;
    bool more = true;

    buf_init(&filter, 16384);
    if (destination) {
        BUF_LIT(&filter, "&destination=");
        http_target_add(&filter, str_of(destination));
    }
    while (more && !e->error) {
        json_t *list = cli_queue_page(e->c, buf_cstr(&filter), cursor, PAGE);
        const char *next = json_string_value(json_object_get(list, "next"));

        more = next != NULL;
        snprintf(cursor, sizeof cursor, "%s", next ? next : "");
        if (!list || export_page(e, json_object_get(list, "items")) != CLI_OK)
            status = CLI_FAILED;
        json_decref(list);
    }
    buf_done(&filter);
    return status;
}

int cli_queue_export(struct cli *c)
{
    struct export e = { .c = c, .directory = cli_option(c, "--to") };
    int ways = (c->arg_count > 0) + (cli_option(c, "--all") != NULL) +
               (cli_option(c, "--destination") != NULL);
    int status;

    if (ways != 1)
        return cli_usage(c->command, "say which: IDs, --destination D or --all");
    if (!e.directory)
        e.directory = ".";
    if (strcmp(e.directory, "-") == 0)
        return export_to_stdout(c);
    status = c->arg_count ? export_ids(&e) : export_listed(&e);
    printf("%" PRIu64 " message%s written to %s\n", e.written, e.written == 1 ? "" : "s",
           e.directory);
    return status;
}
