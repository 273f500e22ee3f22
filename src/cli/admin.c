/*
 * cli/admin: the accounts of the console, changed in their file, whether it runs or not.
 */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/output.h"
#include "console/accounts.h"
#include "settings/audit.h"

/* ---- the password ---- */

enum { LINE_SIZE = ACCOUNT_PASSWORD_MAX + 3 };

/* One line of standard input without its end. False: there is none, or it is too long. */
static bool read_line(char out[LINE_SIZE])
{
    size_t n = 0;
    int c;

    while ((c = getchar()) != EOF && c != '\n')
        if (n < LINE_SIZE - 1)
            out[n++] = (char)c;
    if (n > 0 && out[n - 1] == '\r')
        n--;
    out[n] = 0;
    return n > 0 && n <= ACCOUNT_PASSWORD_MAX && strlen(out) == n;
}

static bool ask(const char *question, char out[LINE_SIZE])
{
    struct termios before, silent;
    bool good;

    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return false;
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    fputs(question, stderr);
    PT_IGNORE(tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent), "then it is seen");
    good = read_line(out);
    PT_IGNORE(tcsetattr(STDIN_FILENO, TCSAFLUSH, &before), "as it was");
    fputc('\n', stderr);
    return good;
}

/* Asked for twice at a terminal. CLI_OK with the hash, or said. */
static int password_hash(const char *name, char hash[136])
{
    char first[LINE_SIZE], second[LINE_SIZE];
    struct pt_fault fault = { 0 };
    bool terminal = isatty(STDIN_FILENO), same = true;
    enum pt_err err = PT_ERR_OK;

    if (terminal ? !ask("Password: ", first) : !read_line(first))
        return cli_fail("no password of 1 to %d octets was given%s", ACCOUNT_PASSWORD_MAX,
                        terminal ? "" : " on standard input");
    if (terminal)
        same = ask("The same again: ", second) && strcmp(first, second) == 0;
    if (same)
        err = accounts_password_check(str_of(name), str_of(first), &fault);
    if (same && !err)
        err = accounts_password_hash(str_of(first), hash, &fault);
    explicit_bzero(first, sizeof first);
    explicit_bzero(second, sizeof second);
    if (!same)
        return cli_fail("the two passwords differ; nothing was changed");
    return err ? cli_fail("%s", fault.text) : CLI_OK;
}

/* ---- one change ---- */

/* The way back in must work with a broken database too: then only the audit log lacks it. */
static void record(struct cli *c, const char *action, const char *name, const char *detail)
{
    const struct passwd *user = getpwuid(getuid());
    struct settings_store *store = NULL;
    struct pt_fault fault = { 0 };
    struct settings_audit row = {
        .time_us = clock_wall_us(),
        .actor = str_of(user ? user->pw_name : "unknown"),
        .uid = getuid(),
        .origin = STR("command line"),
        .action = action,
        .target = str_of(name),
        .detail = str_of(detail),
        .outcome = SETTINGS_AUDIT_DONE,
    };
    uint64_t id;
    enum pt_err err = settings_store_open(&store, c->state, SETTINGS_STORE_CREATE, &fault);

    if (!err)
        err = settings_audit_add(store, &row, &id, &fault);
    settings_store_close(store);
    if (err)
        fprintf(stderr, "postern: done, but not in the audit log: %s\n", fault.text);
}

static int begin(struct cli *c, struct accounts_edit *e)
{
    struct pt_fault fault = { 0 };

    /* The first account may come before the first start. */
    if (mkdir(c->state, 0750) != 0 && errno != EEXIST)
        return cli_fail("cannot make %s: %s", c->state, strerrordesc_np(errno));
    if (accounts_edit_begin(e, c->state, &fault) != PT_ERR_OK)
        return cli_fail("%s", fault.text);
    return CLI_OK;
}

static int commit(struct cli *c, struct accounts_edit *e, const char *action, const char *detail)
{
    struct pt_fault fault = { 0 };

    if (accounts_edit_commit(e, &fault) != PT_ERR_OK)
        return cli_fail("%s", fault.text);
    record(c, action, c->args[0], detail);
    return CLI_OK;
}

static struct account *find(struct accounts_edit *e, const char *name)
{
    struct account *found = accounts_find(&e->accounts, str_of(name));

    if (!found) {
        accounts_edit_cancel(e);
        fputs("postern: there is no account ", stderr);
        out_safe(stderr, str_of(name));
        fputc('\n', stderr);
    }
    return found;
}

int cli_admin_add(struct cli *c)
{
    const char *role_text = cli_option(c, "--role");
    enum account_role role = role_text ? account_role_of(str_of(role_text)) : ROLE_ADMINISTRATOR;
    struct accounts_edit e;
    struct pt_fault fault = { 0 };
    char hash[136];
    int status;

    if (role == ROLE_NONE)
        return cli_usage(c->command, "--role is administrator, operator or viewer");
    /* What is wrong with the name is said before a password is asked for. */
    if (accounts_name_check(str_of(c->args[0]), &fault) != PT_ERR_OK)
        return cli_fail("%s", fault.text);
    status = password_hash(c->args[0], hash);
    if (status == CLI_OK)
        status = begin(c, &e);
    if (status != CLI_OK)
        return status;
    if (accounts_add(&e.accounts, str_of(c->args[0]), role, hash, clock_wall_us(), &fault) !=
        PT_ERR_OK) {
        accounts_edit_cancel(&e);
        return cli_fail("%s", fault.text);
    }
    status = commit(c, &e, "admins.add", account_role_name(role));
    if (status == CLI_OK)
        printf("%s is an account now, as %s\n", c->args[0], account_role_name(role));
    return status;
}

int cli_admin_passwd(struct cli *c)
{
    struct accounts_edit e;
    struct account *account;
    char hash[136];
    int status = begin(c, &e);

    if (status != CLI_OK)
        return status;
    if (!find(&e, c->args[0]))
        return CLI_FAILED;
    accounts_edit_cancel(&e); /* nobody waits while a person types */
    status = password_hash(c->args[0], hash);
    if (status == CLI_OK)
        status = begin(c, &e);
    if (status != CLI_OK)
        return status;
    account = find(&e, c->args[0]);
    if (!account)
        return CLI_FAILED;
    accounts_set_password(&e.accounts, account, hash);
    status = commit(c, &e, "admins.password", "");
    if (status == CLI_OK)
        printf("%s has a new password, and is logged out everywhere\n", c->args[0]);
    return status;
}

int cli_admin_second_factor(struct cli *c)
{
    struct accounts_edit e;
    struct account *account;
    int status;

    if (!cli_option(c, "--off"))
        return cli_usage(c->command, "only --off is possible here: its owner begins one in the "
                                     "console");
    status = begin(c, &e);
    if (status != CLI_OK)
        return status;
    account = find(&e, c->args[0]);
    if (!account)
        return CLI_FAILED;
    if (!account->second.on) {
        accounts_edit_cancel(&e);
        printf("%s has no second factor\n", c->args[0]);
        return CLI_OK;
    }
    accounts_set_second(&e.accounts, account, &(struct account_second){ 0 });
    status = commit(c, &e, "admins.second_factor", "off");
    if (status == CLI_OK)
        printf("%s logs in with the password alone now, and is logged out everywhere\n",
               c->args[0]);
    return status;
}

int cli_admin_remove(struct cli *c)
{
    struct accounts_edit e;
    struct account *account;
    int status = begin(c, &e);
    bool last;

    if (status != CLI_OK)
        return status;
    account = find(&e, c->args[0]);
    if (!account)
        return CLI_FAILED;
    last = account->role == ROLE_ADMINISTRATOR && accounts_administrators(&e.accounts) == 1;
    if (last && !cli_option(c, "--yes")) {
        accounts_edit_cancel(&e);
        return cli_fail("%s is the last administrator; nobody could manage the gateway in the "
                        "console any more (--yes removes it all the same)",
                        c->args[0]);
    }
    accounts_remove(&e.accounts, account);
    status = commit(c, &e, "admins.remove", "");
    if (status == CLI_OK)
        printf("%s is no account any more%s\n", c->args[0],
               last ? "; there is no administrator now: see `postern admin add`" : "");
    return status;
}

/* ---- listing ---- */

static json_t *list_json(const struct accounts *a)
{
    json_t *items = json_array();
    char time[CLOCK_RFC3339_SIZE];

    for (size_t i = 0; i < a->count; i++) {
        clock_rfc3339(a->list[i].created_us, time);
        json_array_append_new(items,
                              json_pack("{s:s, s:s, s:s, s:b}", "name", a->list[i].name, "role",
                                        account_role_name(a->list[i].role), "created", time,
                                        "second_factor", a->list[i].second.on));
    }
    return json_pack("{s:o, s:n, s:I}", "items", items, "next", "total", (json_int_t)a->count);
}

static int list_table(const struct accounts *a)
{
    static const char *const titles[] = { "NAME", "ROLE", "SECOND FACTOR", "CREATED" };
    char stored[CLOCK_RFC3339_SIZE], shown[32];
    struct out_table t;

    out_table_init(&t, titles, PT_ARRAY_LEN(titles), 0);
    for (size_t i = 0; i < a->count; i++) {
        clock_rfc3339(a->list[i].created_us, stored);
        out_time(stored, shown);
        out_table_add(&t, str_of(a->list[i].name));
        out_table_add(&t, str_of(account_role_name(a->list[i].role)));
        out_table_add(&t, a->list[i].second.on ? STR("yes") : STR("no"));
        out_table_add(&t, str_of(shown));
    }
    return out_table_print(&t, stdout) ? CLI_OK : cli_fail("out of memory");
}

int cli_admin_list(struct cli *c)
{
    struct accounts accounts;
    struct pt_fault fault = { 0 };
    int status = CLI_OK;

    if (accounts_load(&accounts, c->state, &fault) != PT_ERR_OK)
        return cli_fail("%s", fault.text);
    if (c->json) {
        json_t *list = list_json(&accounts);

        out_json(list, true);
        json_decref(list);
    } else if (accounts.count == 0) {
        puts("there is no account: see `postern admin add`");
    } else {
        status = list_table(&accounts);
    }
    accounts_done(&accounts);
    return status;
}
