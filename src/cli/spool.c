/*
 * cli/spool: what is in the spool, with the gateway down.
 *
 * Takes STATE/lock as a gateway does, so that neither works while the other is at it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/msgid.h"
#include "cli/command.h"
#include "cli/output.h"
#include "spool/check.h"

enum { PATH_SIZE = 4096 };

/* The lock's descriptor; -1: said why not on stderr. */
static int lock_state(const struct cli *c)
{
    char path[PATH_SIZE];
    struct stat st;
    int fd;

    snprintf(path, sizeof path, "%s/spool", c->state);
    if (stat(path, &st) < 0) {
        cli_fail("there is no spool in %s", c->state);
        return -1;
    }
    snprintf(path, sizeof path, "%s/lock", c->state);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        cli_fail("cannot open %s: %s", path, strerrordesc_np(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    close(fd);
    cli_fail("a gateway is running on %s: stop it first", c->state);
    return -1;
}

static void tell(void *ctx, uint64_t id, const struct pt_fault *fault)
{
    char text[MSGID_SIZE] = "";

    (void)ctx;
    if (id)
        msgid_format(id, text);
    fprintf(stderr, "damaged: %s%s", text, id ? ": " : "");
    out_safe(stderr, str_of(fault->text));
    fputc('\n', stderr);
}

static void print(const struct cli *c, const struct spool_check *s, const char *what)
{
    if (c->json) {
        json_t *v = json_pack("{s:I, s:I, s:I, s:I, s:I}", "segments", (json_int_t)s->segments,
                              "messages", (json_int_t)s->messages, "octets", (json_int_t)s->octets,
                              "damaged", (json_int_t)s->damaged, "reports", (json_int_t)s->reports);

        out_json(v, true);
        json_decref(v);
        return;
    }
    printf("%" PRIu64 " message%s %s, %" PRIu64 " octets in %" PRIu64 " segment%s", s->messages,
           s->messages == 1 ? "" : "s", what, s->octets, s->segments, s->segments == 1 ? "" : "s");
    if (s->damaged)
        printf("; the content of %" PRIu64 " is lost", s->damaged);
    else
        printf("; nothing is damaged");
    putchar('\n');
}

/* Looks through the spool and, where a folder is named, writes its messages there. False: said. */
static bool look(struct cli *c, const char *export_to, struct spool_check *found)
{
    struct pt_fault fault = { .err = PT_ERR_OK };
    char directory[PATH_SIZE];
    int lock = lock_state(c);
    enum pt_err err;

    if (lock < 0)
        return false;
    snprintf(directory, sizeof directory, "%s/spool", c->state);
    err = export_to ? spool_export(directory, disk_real(), export_to, tell, NULL, found, &fault)
                    : spool_check(directory, disk_real(), tell, NULL, found, &fault);
    close(lock);
    if (err != PT_ERR_OK)
        cli_fail("%s", fault.text);
    return err == PT_ERR_OK;
}

int cli_spool_check(struct cli *c)
{
    struct spool_check found = { 0 };

    if (!look(c, NULL, &found))
        return CLI_FAILED;
    print(c, &found, "kept");
    return found.reports ? CLI_FAILED : CLI_OK;
}

int cli_spool_export(struct cli *c)
{
    struct spool_check found = { 0 };

    if (!look(c, c->args[0], &found))
        return CLI_FAILED;
    print(c, &found, "written");
    return found.damaged ? CLI_FAILED : CLI_OK;
}
