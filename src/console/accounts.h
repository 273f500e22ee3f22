#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

/*
 * console/accounts: who may log in to the console, and the tokens of programs.
 *
 * All of it is one small file, STATE/console/accounts.json (0600), replaced as a whole. Console and
 * command line both change it, under a lock beside it, so that `postern admin` works with the
 * console down and up. Passwords stand in it as Argon2id, tokens as SHA-256. Everything here waits
 * for the disk: never on an event loop.
 */

enum account_role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMINISTRATOR };

/* "viewer", "operator", "administrator". */
const char *account_role_name(enum account_role role);
enum account_role account_role_of(struct str name); /* ROLE_NONE: there is no such role */

enum {
    ACCOUNTS_MAX = 1000,
    ACCOUNT_TOKENS_MAX = 1000,
    ACCOUNT_NAME_MAX = 64,
    ACCOUNT_PASSWORD_MIN = 8, /* octets */
    ACCOUNT_PASSWORD_MAX = 1024,
    ACCOUNT_SECRET_SIZE = 48, /* 256 bits as text, with its NUL */
    ACCOUNT_KEY_SIZE = 20,
    ACCOUNT_SPARES_MAX = 10,
};

/* The second factor; see console/totp.h. */
struct account_second {
    bool on;
    uint8_t key[ACCOUNT_KEY_SIZE];
    uint64_t used;                          /* the step of time of the last code that counted */
    uint8_t spares[ACCOUNT_SPARES_MAX][32]; /* recovery codes as SHA-256 */
    uint8_t spare_count;
};

struct account {
    char name[ACCOUNT_NAME_MAX + 1];
    char hash[136];
    enum account_role role;
    struct account_second second;
    /* Another one after each change of password, role or second factor, never used again. */
    uint64_t serial;
    int64_t created_us;
};

struct account_token {
    char id[20];
    char name[ACCOUNT_NAME_MAX + 1];
    char owner[ACCOUNT_NAME_MAX + 1]; /* the account it belongs to, and ends with */
    unsigned char hash[32];
    enum account_role role; /* at most; never more than the owner's */
    int64_t created_us;
    int64_t expires_us; /* 0: never */
};

/* Tells whether the file is another one than before. */
struct accounts_stamp {
    uint64_t inode, size;
    int64_t mtime_ns, ctime_ns;
};

struct accounts {
    struct account *list;
    size_t count;
    struct account_token *tokens;
    size_t token_count;
    uint64_t next; /* serial */
    struct accounts_stamp stamp;
};

/* ---- reading ---- */

/* No file is no accounts. PT_ERR_CORRUPT: it is there and cannot be understood. */
PT_NODISCARD enum pt_err accounts_load(struct accounts *out, const char *state_directory,
                                       struct pt_fault *fault);
void accounts_done(struct accounts *a);

/* True if the file is still the one that was loaded. */
bool accounts_are_current(const struct accounts *a, const char *state_directory);

/* NULL: there is none. Valid until the next change. */
struct account *accounts_find(const struct accounts *a, struct str name);
struct account_token *accounts_token_find(const struct accounts *a, struct str id);

/* The token with this secret, if it has not expired and its owner is there; `*out_role` is what it
 * may do now. */
const struct account_token *accounts_token_check(const struct accounts *a, struct str secret,
                                                 int64_t now_us, enum account_role *out_role);

size_t accounts_administrators(const struct accounts *a);

/* ---- changing: begin, change in memory, commit or cancel ---- */

struct accounts_edit {
    struct accounts accounts;
    char folder[2400];
    int folder_fd, lock_fd;
};

/* Makes STATE/console if it is missing, locks and loads. STATE must exist. */
PT_NODISCARD enum pt_err accounts_edit_begin(struct accounts_edit *e, const char *state_directory,
                                             struct pt_fault *fault);
/* On the disk when it returns; ends the edit also if it fails. */
PT_NODISCARD enum pt_err accounts_edit_commit(struct accounts_edit *e, struct pt_fault *fault);
void accounts_edit_cancel(struct accounts_edit *e);

/* `hash` is of accounts_password_hash(). PT_ERR_EXISTS, PT_ERR_INVALID (the name), PT_ERR_TOOBIG
 * (too many). */
PT_NODISCARD enum pt_err accounts_add(struct accounts *a, struct str name, enum account_role role,
                                      const char *hash, int64_t now_us, struct pt_fault *fault);
void accounts_set_password(struct accounts *a, struct account *account, const char *hash);
void accounts_set_role(struct accounts *a, struct account *account, enum account_role role);
void accounts_set_second(struct accounts *a, struct account *account,
                         const struct account_second *second);
/* With its tokens. */
void accounts_remove(struct accounts *a, struct account *account);

/* `secret` receives what is to be told once. */
PT_NODISCARD enum pt_err accounts_token_add(struct accounts *a, const struct account *owner,
                                            struct str name, enum account_role role, int64_t now_us,
                                            int64_t expires_us, char secret[ACCOUNT_SECRET_SIZE],
                                            const struct account_token **out,
                                            struct pt_fault *fault);
void accounts_token_remove(struct accounts *a, struct account_token *token);

/* ---- names and passwords ---- */

/* Letters and digits of ASCII and . _ - @ +, beginning with a letter or digit. */
PT_NODISCARD enum pt_err accounts_name_check(struct str name, struct pt_fault *fault);

PT_NODISCARD enum pt_err accounts_password_check(struct str name, struct str password,
                                                 struct pt_fault *fault);

/* Argon2id with 19 MiB and two passes: some 25 ms of a processor. */
PT_NODISCARD enum pt_err accounts_password_hash(struct str password, char out[136],
                                                struct pt_fault *fault);

/* The same cost for every `account`, also for NULL, which never matches. */
PT_NODISCARD bool accounts_password_matches(const struct account *account, struct str password);

/* 256 random bits as text that needs no escape anywhere. */
void accounts_secret(char out[ACCOUNT_SECRET_SIZE]);
