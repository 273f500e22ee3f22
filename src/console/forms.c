/*
 * console/forms: the start page, log-in, log-out, and the first administrator.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "console/inner.h"
#include "console/page.h"

static const char html[] = "text/html; charset=utf-8";

static void answer_page(struct http_exchange *x, unsigned status, struct buf *page)
{
    page_end(page);
    if (page->failed)
        http_problem(x, 503, "out of memory");
    else
        http_answer_text(x, status, html, buf_str(page));
    buf_done(page);
}

static void go_to(struct http_exchange *x, const char *where)
{
    http_answer_empty(x, 303);
    http_header_add(x, "Location", where);
}

static void add_wrong(struct buf *page, const char *wrong)
{
    if (!wrong)
        return;
    BUF_LIT(page, "<p class=\"wrong\" role=\"alert\">");
    page_text(page, str_of(wrong));
    BUF_LIT(page, "</p>\n");
}

/* ---- the start page ---- */

static void add_row(struct buf *page, const char *title, struct str value)
{
    BUF_LIT(page, "<tr><th scope=\"row\">");
    page_text(page, str_of(title));
    BUF_LIT(page, "<td>");
    page_text(page, value);
    BUF_LIT(page, "\n");
}

static void start_job(struct http_exchange *x)
{
    struct who who;
    struct buf page;

    if (who_asks(x, &who) != PT_ERR_OK || who.by_token) {
        go_to(x, "/login");
        return;
    }
    buf_init(&page, 64 * 1024);
    page_begin(&page, "Postern runs");
    BUF_LIT(&page, "<table>\n");
    add_row(&page, "Logged in as", str_of(who.name));
    add_row(&page, "Role", str_of(account_role_name(who.role)));
    BUF_LIT(&page,
            "</table>\n"
            "<p><a href=\"/api/v1/status\">Status</a> · <a href=\"/api/v1/settings\">Settings</a> "
            "· <a href=\"/api/v1/queue\">Queue</a> · <a href=\"/api/v1/audit\">Audit log</a> · "
            "<a href=\"/api/v1/openapi.json\">The API</a></p>\n"
            "<p>The command line does all of it too: <code>postern --help</code>.</p>\n"
            "<form method=\"post\" action=\"/logout\">"
            "<input type=\"hidden\" name=\"csrf\" value=\"");
    page_text(&page, str_of(who.csrf));
    BUF_LIT(&page, "\">\n<button>Log out</button></form>\n");
    answer_page(x, 200, &page);
}

void page_start(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, start_job);
}

/* ---- log-in ---- */

static void show_login(struct http_exchange *x, unsigned status, const char *wrong)
{
    struct buf page;

    buf_init(&page, 64 * 1024);
    page_begin(&page, "Log in");
    add_wrong(&page, wrong);
    BUF_LIT(&page,
            "<form method=\"post\" action=\"/login\">\n"
            "<label for=\"name\">Name</label>\n"
            "<input id=\"name\" name=\"name\" autocomplete=\"username\" autocapitalize=\"none\" "
            "spellcheck=\"false\" required autofocus>\n"
            "<label for=\"password\">Password</label>\n"
            "<input id=\"password\" name=\"password\" type=\"password\" "
            "autocomplete=\"current-password\" required>\n"
            "<button>Log in</button>\n</form>\n"
            "<p>A forgotten password is replaced on the gateway's host: "
            "<code>postern admin passwd NAME</code>.</p>\n");
    answer_page(x, status, &page);
}

static void login_page_job(struct http_exchange *x)
{
    struct console *c = console_of(x);
    struct buf page;
    bool none = console_refresh(c) == PT_ERR_OK;

    pthread_mutex_lock(&c->lock);
    none &= c->accounts.count == 0;
    pthread_mutex_unlock(&c->lock);
    if (!none) {
        show_login(x, 200, NULL);
        return;
    }
    buf_init(&page, 64 * 1024);
    page_begin(&page, "Nobody has an account yet");
    BUF_LIT(&page, "<p>Open the link that the gateway printed when it started, on the line that "
                   "begins with <code>setup</code>, or make the first account on its host:</p>\n"
                   "<p><code>postern admin add NAME</code></p>\n");
    answer_page(x, 200, &page);
}

void page_login(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, login_page_job);
}

static bool is_form(const struct http_exchange *x)
{
    return str_starts_nocase(http_request_header(x->request, "content-type"),
                             STR("application/x-www-form-urlencoded"));
}

static void login_form_job(struct http_exchange *x)
{
    char name_room[ACCOUNT_NAME_MAX * 3], password_room[ACCOUNT_PASSWORD_MAX * 3];
    char csrf[ACCOUNT_SECRET_SIZE], wrong[80], seconds[16];
    struct str name = STR_NULL, password = STR_NULL, body = x->request->body;
    unsigned wait;

    if (!is_form(x) || !page_field(body, "name", name_room, sizeof name_room, &name) ||
        !page_field(body, "password", password_room, sizeof password_room, &password)) {
        show_login(x, 400, "Name and password are needed.");
        return;
    }
    switch (login_check(x, name, password, csrf, &wait)) {
    case LOGIN_OK:
        go_to(x, "/");
        break;
    case LOGIN_WRONG:
        show_login(x, 401, "Name or password is wrong.");
        break;
    case LOGIN_LATER:
        snprintf(wrong, sizeof wrong, "Too many tries. Try again in %u s.", wait);
        snprintf(seconds, sizeof seconds, "%u", wait);
        http_header_add(x, "Retry-After", seconds);
        show_login(x, 429, wrong);
        break;
    case LOGIN_IMPOSSIBLE:
        show_login(x, 503, "The accounts cannot be read; the console's log says why.");
        break;
    }
    sodium_memzero(password_room, sizeof password_room);
}

void page_login_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, login_form_job);
}

static void logout_form_job(struct http_exchange *x)
{
    char room[ACCOUNT_SECRET_SIZE * 3];
    struct str csrf = STR_NULL;
    struct who who;

    if (who_asks(x, &who) == PT_ERR_OK && !who.by_token) {
        if (!is_form(x) || !page_field(x->request->body, "csrf", room, sizeof room, &csrf) ||
            csrf.n != strlen(who.csrf) || sodium_memcmp(csrf.p, who.csrf, csrf.n) != 0) {
            http_problem(x, 403, "The form is not from this console.");
            return;
        }
        who_forget(x);
    }
    who_clear_cookie(x);
    go_to(x, "/login");
}

void page_logout_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, logout_form_job);
}

/* ---- the first administrator ---- */

/* Under no lock: the accounts are read. */
static bool may_set_up(struct console *c, struct str token)
{
    size_t n = strlen(c->setup_token);
    bool right = token.n == n && sodium_memcmp(token.p, c->setup_token, n) == 0;

    right &= console_refresh(c) == PT_ERR_OK;
    pthread_mutex_lock(&c->lock);
    right &= c->accounts.count == 0;
    pthread_mutex_unlock(&c->lock);
    return right;
}

static void no_set_up(struct http_exchange *x)
{
    struct buf page;

    buf_init(&page, 64 * 1024);
    page_begin(&page, "This link is of no use");
    BUF_LIT(&page,
            "<p>It is spent, or it is of an earlier start. <a href=\"/login\">Log in</a>, or "
            "make an account on the gateway's host: "
            "<code>postern admin add NAME</code></p>\n");
    answer_page(x, 403, &page);
}

static void show_set_up(struct http_exchange *x, unsigned status, struct str name,
                        const char *wrong)
{
    struct buf page;

    buf_init(&page, 64 * 1024);
    page_begin(&page, "The first administrator");
    add_wrong(&page, wrong);
    BUF_LIT(&page, "<form method=\"post\" action=\"/setup\">\n"
                   "<input type=\"hidden\" name=\"token\" value=\"");
    page_text(&page, str_of(console_of(x)->setup_token));
    BUF_LIT(&page, "\">\n<label for=\"name\">Name</label>\n"
                   "<input id=\"name\" name=\"name\" autocomplete=\"username\" "
                   "autocapitalize=\"none\" spellcheck=\"false\" required autofocus value=\"");
    page_text(&page, name);
    BUF_LIT(&page, "\">\n<label for=\"password\">Password, at least 8 characters</label>\n"
                   "<input id=\"password\" name=\"password\" type=\"password\" minlength=\"8\" "
                   "autocomplete=\"new-password\" required>\n"
                   "<label for=\"again\">The same again</label>\n"
                   "<input id=\"again\" name=\"again\" type=\"password\" minlength=\"8\" "
                   "autocomplete=\"new-password\" required>\n"
                   "<button>Make the account</button>\n</form>\n");
    answer_page(x, status, &page);
}

static void set_up_job(struct http_exchange *x)
{
    if (may_set_up(console_of(x), http_exchange_query(x, "token")))
        show_set_up(x, 200, STR("admin"), NULL);
    else
        no_set_up(x);
}

void page_setup(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, set_up_job);
}

/* Makes it, if there is still none: the file is locked meanwhile. Without the gateway it is made
 * all the same, or nobody could ever get in to see what is wrong. */
static enum pt_err make_first(struct console *c, struct str name, struct str password,
                              struct pt_fault *fault)
{
    struct accounts_edit e;
    char hash[136];
    enum pt_err err = accounts_password_check(name, password, fault);

    if (!err)
        err = accounts_password_hash(password, hash, fault);
    if (!err)
        err = accounts_edit_begin(&e, c->state_directory, fault);
    if (err)
        return err;
    err = e.accounts.count
              ? PT_ERR_DENIED
              : accounts_add(&e.accounts, name, ROLE_ADMINISTRATOR, hash, clock_wall_us(), fault);
    if (!err)
        return accounts_edit_commit(&e, fault);
    accounts_edit_cancel(&e);
    return err;
}

static void set_up_form_job(struct http_exchange *x)
{
    char rooms[4][ACCOUNT_PASSWORD_MAX * 3], csrf[ACCOUNT_SECRET_SIZE], actor[80];
    struct str token = STR_NULL, name = STR_NULL, password = STR_NULL, again = STR_NULL;
    struct str body = x->request->body;
    struct pt_fault fault = { 0 };
    unsigned wait;
    enum pt_err err;
    bool whole = page_field(body, "name", rooms[1], sizeof rooms[1], &name) &
                 page_field(body, "password", rooms[2], sizeof rooms[2], &password) &
                 page_field(body, "again", rooms[3], sizeof rooms[3], &again);

    if (!is_form(x) || !page_field(body, "token", rooms[0], sizeof rooms[0], &token) ||
        !may_set_up(console_of(x), token)) {
        no_set_up(x);
        return;
    }
    if (!whole || !str_eq(password, again)) {
        show_set_up(x, 422, name, whole ? "The two passwords differ." : "Something is missing.");
        return;
    }
    err = make_first(console_of(x), name, password, &fault);
    if (err == PT_ERR_DENIED) {
        no_set_up(x);
    } else if (err) {
        show_set_up(x, err == PT_ERR_INVALID ? 422 : 503, name, fault.text);
    } else {
        snprintf(actor, sizeof actor, "%.*s", STR_FMT(name));
        PT_IGNORE(record(x, actor, "admins.add", actor, "done", "by the set-up link", NULL),
                  "the way in comes first");
        go_to(x, login_check(x, name, password, csrf, &wait) == LOGIN_OK ? "/" : "/login");
    }
    sodium_memzero(rooms, sizeof rooms);
}

void page_setup_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, set_up_form_job);
}
