/*
 * console/accounts: accounts and tokens as values. The file is in accounts_store.c.
 */
#include "console/accounts.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGON_OPS = 2, ARGON_MEMORY = 19 * 1024 * 1024 };

_Static_assert(crypto_pwhash_STRBYTES <= sizeof((struct account *)0)->hash, "room for a hash");
_Static_assert(crypto_hash_sha256_BYTES == sizeof((struct account_token *)0)->hash, "SHA-256");

static const char *const role_names[] = {
    [ROLE_NONE] = "none",
    [ROLE_VIEWER] = "viewer",
    [ROLE_OPERATOR] = "operator",
    [ROLE_ADMINISTRATOR] = "administrator",
};

const char *account_role_name(enum account_role role)
{
    return role_names[role];
}

enum account_role account_role_of(struct str name)
{
    for (enum account_role role = ROLE_VIEWER; role <= ROLE_ADMINISTRATOR; role++)
        if (str_eq(name, str_of(role_names[role])))
            return role;
    return ROLE_NONE;
}

void accounts_done(struct accounts *a)
{
    if (a->list)
        sodium_memzero(a->list, a->count * sizeof *a->list);
    free(a->list);
    free(a->tokens);
    memset(a, 0, sizeof *a);
}

/* ---- looking up ---- */

struct account *accounts_find(const struct accounts *a, struct str name)
{
    for (size_t i = 0; i < a->count; i++)
        if (str_eq(name, str_of(a->list[i].name)))
            return &a->list[i];
    return NULL;
}

struct account_token *accounts_token_find(const struct accounts *a, struct str id)
{
    for (size_t i = 0; i < a->token_count; i++)
        if (str_eq(id, str_of(a->tokens[i].id)))
            return &a->tokens[i];
    return NULL;
}

const struct account_token *accounts_token_check(const struct accounts *a, struct str secret,
                                                 int64_t now_us, enum account_role *out_role)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    const struct account_token *found = NULL;
    const struct account *owner;

    crypto_hash_sha256(hash, (const unsigned char *)secret.p, secret.n);
    for (size_t i = 0; i < a->token_count; i++)
        if (sodium_memcmp(hash, a->tokens[i].hash, sizeof hash) == 0)
            found = &a->tokens[i];
    if (!found || (found->expires_us && found->expires_us <= now_us))
        return NULL;
    owner = accounts_find(a, str_of(found->owner));
    if (!owner)
        return NULL;
    *out_role = PT_MIN(owner->role, found->role);
    return found;
}

size_t accounts_administrators(const struct accounts *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->count; i++)
        n += a->list[i].role == ROLE_ADMINISTRATOR;
    return n;
}

/* ---- changing ---- */

enum pt_err accounts_add(struct accounts *a, struct str name, enum account_role role,
                         const char *hash, int64_t now_us, struct pt_fault *fault)
{
    enum pt_err err = accounts_name_check(name, fault);
    struct account *longer, *new;

    if (err)
        return err;
    if (accounts_find(a, name))
        return pt_fault_set(fault, PT_ERR_EXISTS, "there is an account %.*s already",
                            STR_FMT(name));
    if (a->count == ACCOUNTS_MAX)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "there are %d accounts, and no more may be",
                            ACCOUNTS_MAX);
    longer = realloc(a->list, (a->count + 1) * sizeof *a->list);
    if (!longer)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    a->list = longer;
    new = &longer[a->count++];
    *new = (struct account){ .role = role, .serial = a->next++, .created_us = now_us };
    memcpy(new->name, name.p, name.n);
    snprintf(new->hash, sizeof new->hash, "%s", hash);
    return PT_ERR_OK;
}

void accounts_set_password(struct accounts *a, struct account *account, const char *hash)
{
    snprintf(account->hash, sizeof account->hash, "%s", hash);
    account->serial = a->next++;
}

void accounts_set_role(struct accounts *a, struct account *account, enum account_role role)
{
    if (account->role == role)
        return;
    account->role = role;
    account->serial = a->next++;
}

void accounts_set_second(struct accounts *a, struct account *account,
                         const struct account_second *second)
{
    account->second = *second;
    account->serial = a->next++;
}

void accounts_remove(struct accounts *a, struct account *account)
{
    for (size_t i = 0; i < a->token_count;) {
        if (strcmp(a->tokens[i].owner, account->name) == 0)
            accounts_token_remove(a, &a->tokens[i]);
        else
            i++;
    }
    *account = a->list[--a->count];
}

void accounts_token_remove(struct accounts *a, struct account_token *token)
{
    *token = a->tokens[--a->token_count];
}

/* What a person may call a token: anything that is one line. */
static enum pt_err token_name_check(struct str name, struct pt_fault *fault)
{
    bool bad = name.n == 0 || name.n > ACCOUNT_NAME_MAX || !str_is_utf8(name);

    for (size_t i = 0; i < name.n; i++)
        bad |= (unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7f;
    if (bad)
        return pt_fault_set(fault, PT_ERR_INVALID,
                            "the name of a token is 1 to %d octets of UTF-8 on one line",
                            ACCOUNT_NAME_MAX);
    return PT_ERR_OK;
}

enum pt_err accounts_token_add(struct accounts *a, const struct account *owner, struct str name,
                               enum account_role role, int64_t now_us, int64_t expires_us,
                               char secret[ACCOUNT_SECRET_SIZE], const struct account_token **out,
                               struct pt_fault *fault)
{
    enum pt_err err = token_name_check(name, fault);
    struct account_token *longer, *new;

    if (err)
        return err;
    if (a->token_count == ACCOUNT_TOKENS_MAX)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "there are %d tokens, and no more may be",
                            ACCOUNT_TOKENS_MAX);
    longer = realloc(a->tokens, (a->token_count + 1) * sizeof *a->tokens);
    if (!longer)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    a->tokens = longer;
    new = &longer[a->token_count++];
    *new = (struct account_token){ .role = role, .created_us = now_us, .expires_us = expires_us };
    snprintf(new->id, sizeof new->id, "t%llu", (unsigned long long)a->next++);
    memcpy(new->name, name.p, name.n);
    memcpy(new->owner, owner->name, sizeof new->owner);
    accounts_secret(secret);
    crypto_hash_sha256(new->hash, (const unsigned char *)secret, strlen(secret));
    *out = new;
    return PT_ERR_OK;
}

/* ---- names and passwords ---- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

enum pt_err accounts_name_check(struct str name, struct pt_fault *fault)
{
    bool good = name.n > 0 && name.n <= ACCOUNT_NAME_MAX && is_alnum(name.p[0]);

    for (size_t i = 0; i < name.n; i++)
        good &= is_alnum(name.p[i]) || (name.p[i] && strchr("._-@+", name.p[i]));
    if (!good)
        return pt_fault_set(fault, PT_ERR_INVALID,
                            "the name of an account is 1 to %d letters, digits and . _ - @ +, and "
                            "begins with a letter or digit",
                            ACCOUNT_NAME_MAX);
    return PT_ERR_OK;
}

enum pt_err accounts_password_check(struct str name, struct str password, struct pt_fault *fault)
{
    if (password.n < ACCOUNT_PASSWORD_MIN)
        return pt_fault_set(fault, PT_ERR_INVALID, "the password needs at least %d characters",
                            ACCOUNT_PASSWORD_MIN);
    if (password.n > ACCOUNT_PASSWORD_MAX)
        return pt_fault_set(fault, PT_ERR_INVALID, "the password has more than %d octets",
                            ACCOUNT_PASSWORD_MAX);
    if (str_eq_nocase(name, password))
        return pt_fault_set(fault, PT_ERR_INVALID, "the password is the name of the account");
    return PT_ERR_OK;
}

static void sodium_begin(void)
{
    pt_assert(sodium_init() >= 0);
}

enum pt_err accounts_password_hash(struct str password, char out[136], struct pt_fault *fault)
{
    sodium_begin();
    if (crypto_pwhash_str_alg(out, password.p, password.n, ARGON_OPS, ARGON_MEMORY,
                              crypto_pwhash_ALG_ARGON2ID13) != 0)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    return PT_ERR_OK;
}

bool accounts_password_matches(const struct account *account, struct str password)
{
    /* Of a random password that nobody knows. */
    static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$mXgwXgRdsWlpVqF3f9Xj4w$"
                                 "2cQzq4mRW0H6nrb9v0u9K3c8sV6e1d5jQ0mVZJkZ2uA";
    bool right;

    sodium_begin();
    if (password.n > ACCOUNT_PASSWORD_MAX)
        password.n = ACCOUNT_PASSWORD_MAX + 1; /* matches nothing, at a bounded cost */
    right = crypto_pwhash_str_verify(account ? account->hash : nobody, password.p ? password.p : "",
                                     password.n) == 0;
    return right && account;
}

void accounts_secret(char out[ACCOUNT_SECRET_SIZE])
{
    unsigned char octets[32];

    sodium_begin();
    randombytes_buf(octets, sizeof octets);
    sodium_bin2base64(out, ACCOUNT_SECRET_SIZE, octets, sizeof octets,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(octets, sizeof octets);
}
