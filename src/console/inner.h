#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "console/accounts.h"
#include "console/console.h"
#include "console/sessions.h"
#include "console/throttle.h"
#include "http/server.h"
#include "http/work.h"
#include "net/loop.h"

/*
 * console/inner: the console and what its parts ask of each other. Within the room only.
 *
 * Everything that asks who somebody is runs on a thread of a pool, because it looks at the file of
 * the accounts; the loop only decides how long a body may be.
 */

struct secure;
struct passing;

/* The streams of events that pass through; on the loop's thread. */
struct streams {
    struct passing *first;
    unsigned count;
    struct net_timer timer;
    struct http_task task; /* looks at the accounts */
    struct mail mail;
    bool looking; /* the task is under way */
};

struct console {
    struct net_loop *loop;
    struct http_server *server;
    struct http_work *work;   /* what waits for the gateway or the disk */
    struct http_work *logins; /* what hashes passwords: few at a time, 19 MiB each */
    struct secure *secure;    /* NULL: plain HTTP */
    struct streams streams;
    void (*ready)(void *ctx, const char *url, const char *setup_url);
    void *ctx;
    char state_directory[4096];
    char socket[4200];
    char url[400];
    char setup_token[ACCOUNT_SECRET_SIZE]; /* made at each start */

    /* Around reading the file of the accounts; taken before `lock`. */
    pthread_mutex_t refresh_lock;
    enum pt_err accounts_err; /* why they are not to be had */
    struct pt_fault accounts_fault;

    pthread_mutex_t lock; /* around all below, never while anything waits */
    struct accounts accounts;
    struct sessions *sessions;
    struct throttle *throttle;
};

static inline struct console *console_of(const struct http_exchange *x)
{
    return x->ctx;
}

/* Reads the accounts again if their file changed. Takes both locks; on a pool's thread. */
PT_NODISCARD enum pt_err console_refresh(struct console *c);

/* ---- who asks (who.c) ---- */

enum { WHO_ACTOR_SIZE = 3 * ACCOUNT_NAME_MAX };

struct who {
    char name[ACCOUNT_NAME_MAX + 1];
    enum account_role role;
    char actor[WHO_ACTOR_SIZE]; /* for the audit log: "ann", "ann (token backup)" */
    bool by_token;
    char csrf[ACCOUNT_SECRET_SIZE]; /* of the session */
    int64_t left_s;                 /* of the session or token; -1: no end */
};

/* PT_ERR_NOTFOUND: nobody; other errors: it cannot be told. */
PT_NODISCARD enum pt_err who_asks(struct http_exchange *x, struct who *out);

/*
 * The same for a resource of the API that needs `least`, with the token against forged requests
 * (X-CSRF-Token) where a changing request comes with a cookie. False: answered with 401, 403, 503.
 */
PT_NODISCARD bool who_may(struct http_exchange *x, enum account_role least, struct who *out);

/* On the loop, from memory alone: whose body would it be? ROLE_NONE: a stranger's. Good for nothing
 * but how much of it is read. */
enum account_role who_seems(struct http_exchange *x);

/* On the loop, from memory alone: would this request still be let in, with the role that it had?
 * No sign of life for its session. */
PT_NODISCARD bool who_is_still(struct http_exchange *x, const struct who *was);

/* The session's identifier in the cookie; .p NULL: none, or more than one. */
struct str who_cookie(const struct http_exchange *x);

/* Ends any session that the request came with. */
void who_forget(struct http_exchange *x);

void who_set_cookie(struct http_exchange *x, const char *id);
void who_clear_cookie(struct http_exchange *x);

/* ---- logging in (login.c) ---- */

enum login_result { LOGIN_OK, LOGIN_WRONG, LOGIN_CODE, LOGIN_LATER, LOGIN_IMPOSSIBLE };

enum second_result {
    SECOND_RIGHT, /* also where none is needed */
    SECOND_SPARE, /* a recovery code, which is spent now */
    SECOND_NEEDED,
    SECOND_WRONG,
    SECOND_NONE, /* a code was sent, and the account has no second factor */
    SECOND_LATER,
};

struct login {
    struct str name, password, code;
    char csrf[ACCOUNT_SECRET_SIZE]; /* of the new session */
    unsigned wait;                  /* seconds, with LOGIN_LATER */
    enum second_result second;      /* with LOGIN_CODE: why not */
};

/* Checks password and code, makes a session and sets its cookie. On a thread of `logins`. */
enum login_result login_check(struct http_exchange *x, struct login *l);

/* A new session for the account as it was checked; false: it has changed since. */
PT_NODISCARD bool login_enter(struct http_exchange *x, const struct account *account,
                              char csrf[ACCOUNT_SECRET_SIZE]);

/* Of who asks, with a copy of the account; throttled as at the log-in. False: answered. */
PT_NODISCARD bool password_is_right(struct http_exchange *x, const struct who *who,
                                    struct str password, struct account *out);

/* 429 */
void answer_later(struct http_exchange *x, unsigned wait);

/* ---- the second factor (second.c) ---- */

/* Of an account whose password was right; what is used up is kept, also in `account`. */
enum second_result second_check(struct http_exchange *x, struct account *account, struct str code,
                                unsigned *out_wait);

/* True if it was right; else answered, with `status` where the code is missing or wrong. */
PT_NODISCARD bool second_answer(struct http_exchange *x, enum second_result result, unsigned wait,
                                unsigned status);

void second_post(struct http_exchange *x);
void second_put(struct http_exchange *x);
void second_delete(struct http_exchange *x);

void login_post(struct http_exchange *x);
void logout_post(struct http_exchange *x);
void me_get(struct http_exchange *x);
void me_password_put(struct http_exchange *x);

/* ---- accounts and tokens (admins.c, tokens.c) ---- */

void admins_get(struct http_exchange *x);
void admins_post(struct http_exchange *x);
void admin_patch(struct http_exchange *x);
void admin_delete(struct http_exchange *x);
void tokens_get(struct http_exchange *x);
void tokens_post(struct http_exchange *x);
void token_delete(struct http_exchange *x);

/* A member of a JSON object as text; .p NULL: not there, or no text. */
struct str json_text(const json_t *object, const char *key);

/* True if all members are among `names` (NULL ends them); false: answered with 422, naming it. */
PT_NODISCARD bool json_only(struct http_exchange *x, const json_t *object,
                            const char *const *names);

/* 422 with one error. */
void answer_invalid(struct http_exchange *x, const char *pointer, const char *detail);

/* The answer that fits an error of ours. */
void answer_fault(struct http_exchange *x, const struct pt_fault *fault);

/* Begins a change of the accounts; false: answered. */
PT_NODISCARD bool change_begin(struct http_exchange *x, struct accounts_edit *e);

/* Writes it down in the gateway's audit log and then commits: what cannot be recorded is not done.
 * Ends the edit. False: answered. */
PT_NODISCARD bool change_commit(struct http_exchange *x, struct accounts_edit *e, const char *actor,
                                const char *action, const char *target, const char *detail);

/* ---- the gateway (pass.c) ---- */

/* What tells the gateway on whose behalf it is asked: header lines. */
struct voice {
    char actor[WHO_ACTOR_SIZE + 20];
    char client[NET_ADDR_SIZE + 20];
    const char *lines[3];
};

void voice_speak_for(struct voice *v, const struct http_exchange *x, const char *actor);

/* Passes a request on to api.sock, composed anew. A route that streams. */
void pass_on(struct http_exchange *x);

void streams_init(struct console *c);
void streams_stop(struct console *c); /* hangs up; before the server ends */

/* A row of the audit log (record.c). PT_ERR_CLOSED and others: it could not be written. */
PT_NODISCARD enum pt_err record(struct http_exchange *x, const char *actor, const char *action,
                                const char *target, const char *outcome, const char *detail,
                                struct pt_fault *fault);

/* ---- the first administrator (setup.c) ---- */

void setup_get(struct http_exchange *x);
void setup_post(struct http_exchange *x);

/* The description of the API with what the console adds to it (describe.c). */
void describe_get(struct http_exchange *x);

/* ---- HTTPS (secure.c) ---- */

/* With STATE/console/certificate.pem, or one made for the purpose (STATE/console/self-signed.pem).
 */
PT_NODISCARD enum pt_err secure_new(struct secure **out, struct console *c,
                                    const struct net_endpoint *at, struct pt_fault *fault);
/* Ends the handshakes; what was done of them comes back in the loop's next turn. */
void secure_stop(struct secure *s); /* NULL is accepted */
void secure_free(struct secure *s); /* behind that turn; NULL is accepted */

/* For http_server_config.accepted, with the console as context. */
void secure_accepted(void *ctx, int fd, const struct net_endpoint *peer);

/* One of the names in the certificate? */
bool secure_has_name(const struct secure *s, struct str host);
