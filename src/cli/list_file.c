#include "cli/list_file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"

enum { REMARKS_SHOWN = 20, PAGE = 1000 };

bool cli_list_read(const char *file, struct buf *out)
{
    FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    size_t n = 1;
    bool ok = in;

    if (!in)
        cli_fail("cannot read %s: %s", file, strerrordesc_np(errno));
    while (ok && n > 0 && buf_reserve(out, 65536)) {
        n = fread(out->p + out->n, 1, 65536, in);
        out->n += n;
    }
    if (ok && ferror(in)) {
        cli_fail("cannot read %s: %s", file, strerrordesc_np(errno));
        ok = false;
    } else if (ok && n > 0) {
        cli_fail("%s is larger than %d MiB; import it in parts", file, CLI_LIST_FILE_MAX >> 20);
        ok = false;
    }
    if (in && in != stdin)
        fclose(in);
    return ok;
}

static void print_error_line(const json_t *e)
{
    fprintf(stderr, "line %" PRIu64 ": ", cli_count(e, "line"));
    out_safe(stderr, str_of(cli_text(e, "text")));
    fprintf(stderr, ": %s\n", cli_text(e, "reason"));
}

/* The lines that are wrong. CLI_FAILED. */
static int print_refused(const struct http_reply *reply, const char *argument)
{
    const char *file = strcmp(argument, "-") == 0 ? "standard input" : argument;
    json_t *problem = http_reply_json(reply), *e;
    const json_t *errors = json_object_get(problem, "errors");
    size_t i, count = json_array_size(errors);

    if (count == 0 || !json_object_get(json_array_get(errors, 0), "line")) {
        cli_problem(reply);
    } else if (count == 1) {
        fprintf(stderr, "postern: %s, ", file);
        print_error_line(json_array_get(errors, 0));
    } else {
        fprintf(stderr, "postern: %s: nothing was imported; wrong are\n", file);
        json_array_foreach((json_t *)errors, i, e)
        {
            fputs("  ", stderr);
            print_error_line(e);
        }
    }
    json_decref(problem);
    return CLI_FAILED;
}

static void print_remark(const json_t *r, const char *key)
{
    const char *between = ": ";

    printf("  line %" PRIu64 ": ", cli_count(r, "line"));
    out_safe(stdout, str_of(cli_text(r, "text")));
    if (json_is_true(json_object_get(r, "normalised"))) {
        printf("%sbecomes %s", between, cli_text(r, key));
        between = ", ";
    }
    if (json_is_true(json_object_get(r, "covered"))) {
        printf("%sis covered by a wider entry", between);
        between = ", ";
    }
    if (json_is_true(json_object_get(r, "contradicted")))
        printf("%sis on the other list too", between);
    putchar('\n');
}

void cli_list_counts(const json_t *report, const char *key)
{
    const json_t *r;
    size_t i;

    printf("added %" PRIu64 ", duplicate %" PRIu64 ", normalised %" PRIu64 ", covered %" PRIu64,
           cli_count(report, "added"), cli_count(report, "duplicate"),
           cli_count(report, "normalised"), cli_count(report, "covered"));
    if (json_object_get(report, "contradicted"))
        printf(", contradicted %" PRIu64, cli_count(report, "contradicted"));
    putchar('\n');
    json_array_foreach(json_object_get(report, "remarks"), i, r)
    {
        if (i == REMARKS_SHOWN) {
            puts("  and more");
            break;
        }
        print_remark(r, key);
    }
}

void cli_list_left_out(const json_t *report)
{
    uint64_t wrong = cli_count(report, "error_count");
    json_t *e;
    size_t i;

    if (wrong)
        fprintf(stderr, "%" PRIu64 " line%s left out:\n", wrong, wrong == 1 ? " was" : "s were");
    json_array_foreach(json_object_get(report, "errors"), i, e)
    {
        fputs("  ", stderr);
        print_error_line(e);
    }
}

int cli_list_send(struct cli *c, struct http_call *call,
                  void (*print)(const json_t *report, const char *list), const char *list)
{
    struct http_reply reply;
    struct pt_fault fault;
    json_t *report;
    int status = CLI_OK;

    if (cli_call(c, call, &reply, &fault) != PT_ERR_OK)
        return cli_fail("%s", fault.text);
    report = reply.status == 200 ? http_reply_json(&reply) : NULL;
    if (reply.status != 200)
        status = print_refused(&reply, c->args[0]);
    else if (!report)
        status = cli_fail("the gateway's answer is not JSON");
    else if (c->json)
        out_json(report, true);
    else
        print(report, list);
    json_decref(report);
    http_reply_done(&reply);
    return status;
}

static bool write_out(void *ctx, struct str octets)
{
    return fwrite(octets.p, 1, octets.n, stdout) == octets.n;
}

int cli_list_export(struct cli *c, const char *target)
{
    struct http_call call = {
        .method = "GET", .accept = "text/plain", .sink = write_out, .target = target
    };
    struct http_reply reply;
    struct pt_fault fault;
    enum pt_err err;
    int status = CLI_OK;

    if (!target)
        return cli_fail("out of memory");
    err = cli_call(c, &call, &reply, &fault);
    if (err)
        return ferror(stdout) ? cli_fail("cannot write the list") : cli_fail("%s", fault.text);
    if (reply.status != 200)
        status = cli_problem(&reply);
    http_reply_done(&reply);
    return status;
}

int cli_list_export_json(struct cli *c, const char *path, json_t *(*show)(const json_t *item))
{
    char cursor[32] = "0", target[256];
    const char *between = "";

    putchar('[');
    while (*cursor) {
        json_t *page, *item;
        size_t i;

        snprintf(target, sizeof target, "%s?limit=%d&cursor=%s", path, PAGE, cursor);
        page = cli_get(c, target);
        if (!page)
            return CLI_FAILED;
        json_array_foreach(json_object_get(page, "items"), i, item)
        {
            json_t *shown = show(item);

            fputs(between, stdout);
            out_json_bare(shown);
            json_decref(shown);
            between = ",\n";
        }
        snprintf(cursor, sizeof cursor, "%s", cli_text(page, "next"));
        json_decref(page);
    }
    puts("]");
    return CLI_OK;
}
