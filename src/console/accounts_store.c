/*
 * console/accounts: the file, read and replaced as a whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "console/accounts.h"

#define FILE_NAME "accounts.json"
#define NEW_NAME "accounts.json.new"
#define LOCK_NAME "accounts.lock"

enum { FILE_MAX = 4 * 1024 * 1024, FORMAT = 1 };

static void stamp_of(const struct stat *st, struct accounts_stamp *out)
{
    *out = (struct accounts_stamp){
        .inode = st->st_ino,
        .size = (uint64_t)st->st_size,
        .mtime_ns = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec,
        .ctime_ns = st->st_ctim.tv_sec * 1000000000LL + st->st_ctim.tv_nsec,
    };
}

static bool file_path(const char *state_directory, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/console/" FILE_NAME, state_directory);

    return n > 0 && (size_t)n < size;
}

bool accounts_are_current(const struct accounts *a, const char *state_directory)
{
    struct accounts_stamp now = { 0 };
    char path[2400];
    struct stat st;

    if (!file_path(state_directory, path, sizeof path))
        return false;
    if (stat(path, &st) == 0)
        stamp_of(&st, &now);
    else if (errno != ENOENT)
        return false;
    return memcmp(&now, &a->stamp, sizeof now) == 0;
}

/* ---- from JSON ---- */

static bool take_text(const json_t *object, const char *key, char *out, size_t size)
{
    const json_t *value = json_object_get(object, key);
    size_t n = json_string_length(value);

    if (!json_is_string(value) || n == 0 || n >= size || strlen(json_string_value(value)) != n)
        return false;
    memcpy(out, json_string_value(value), n + 1);
    return true;
}

static bool take_number(const json_t *object, const char *key, int64_t *out)
{
    const json_t *value = json_object_get(object, key);

    *out = json_integer_value(value);
    return json_is_integer(value) && *out >= 0;
}

static bool take_role(const json_t *object, enum account_role *out)
{
    *out = account_role_of(str_of(json_string_value(json_object_get(object, "role"))));
    return *out != ROLE_NONE;
}

static bool take_octets(const json_t *value, uint8_t *out, size_t size)
{
    size_t n = 0;

    return json_is_string(value) &&
           sodium_hex2bin(out, size, json_string_value(value), json_string_length(value), NULL, &n,
                          NULL) == 0 &&
           n == size;
}

/* Most accounts have none. */
static bool take_second(const json_t *v, struct account_second *out)
{
    const json_t *spares = json_object_get(v, "recovery");
    int64_t used;

    if (!v)
        return true;
    if (!take_octets(json_object_get(v, "key"), out->key, sizeof out->key) ||
        !take_number(v, "used", &used) || !json_is_array(spares) ||
        json_array_size(spares) > ACCOUNT_SPARES_MAX)
        return false;
    out->on = true;
    out->used = (uint64_t)used;
    for (; out->spare_count < json_array_size(spares); out->spare_count++)
        if (!take_octets(json_array_get(spares, out->spare_count), out->spares[out->spare_count],
                         sizeof out->spares[0]))
            return false;
    return true;
}

static bool take_account(const json_t *v, struct account *out)
{
    int64_t serial;
    bool good = take_text(v, "name", out->name, sizeof out->name) &&
                take_text(v, "password", out->hash, sizeof out->hash) && take_role(v, &out->role) &&
                take_number(v, "serial", &serial) && take_number(v, "created", &out->created_us) &&
                take_second(json_object_get(v, "second"), &out->second) &&
                accounts_name_check(str_of(out->name), NULL) == PT_ERR_OK;

    out->serial = good ? (uint64_t)serial : 0;
    return good;
}

static bool take_token(const json_t *v, struct account_token *out)
{
    return take_text(v, "id", out->id, sizeof out->id) &&
           take_text(v, "name", out->name, sizeof out->name) &&
           take_text(v, "owner", out->owner, sizeof out->owner) && take_role(v, &out->role) &&
           take_number(v, "created", &out->created_us) &&
           take_number(v, "expires", &out->expires_us) &&
           take_octets(json_object_get(v, "sha256"), out->hash, sizeof out->hash);
}

static bool take_all(const json_t *root, struct accounts *out)
{
    const json_t *accounts = json_object_get(root, "accounts");
    const json_t *tokens = json_object_get(root, "tokens");
    size_t count = json_array_size(accounts), token_count = json_array_size(tokens);
    int64_t format, next;

    if (!take_number(root, "format", &format) || format != FORMAT ||
        !take_number(root, "next", &next) || !json_is_array(accounts) || !json_is_array(tokens) ||
        count > ACCOUNTS_MAX || token_count > ACCOUNT_TOKENS_MAX)
        return false;
    out->next = (uint64_t)next;
    out->list = calloc(count + 1, sizeof *out->list);
    out->tokens = calloc(token_count + 1, sizeof *out->tokens);
    if (!out->list || !out->tokens)
        return false;
    for (; out->count < count; out->count++)
        if (!take_account(json_array_get(accounts, out->count), &out->list[out->count]))
            return false;
    for (; out->token_count < token_count; out->token_count++)
        if (!take_token(json_array_get(tokens, out->token_count), &out->tokens[out->token_count]))
            return false;
    return true;
}

static enum pt_err read_all(int fd, struct buf *out, const char *path, struct pt_fault *fault)
{
    for (;;) {
        ssize_t n;

        if (!buf_reserve(out, 16 * 1024))
            return pt_fault_set(fault, PT_ERR_CORRUPT, "%s is too large", path);
        n = read(fd, out->p + out->n, 16 * 1024);
        if (n < 0)
            return pt_fault_errno(fault, errno, "cannot read %s", path);
        if (n == 0)
            return PT_ERR_OK;
        out->n += (size_t)n;
    }
}

static enum pt_err load_fd(struct accounts *out, int fd, const char *path, struct pt_fault *fault)
{
    struct buf text;
    struct stat st;
    json_t *root = NULL;
    enum pt_err err;

    buf_init(&text, FILE_MAX);
    err = fstat(fd, &st) != 0 ? pt_fault_errno(fault, errno, "cannot read %s", path)
                              : read_all(fd, &text, path, fault);
    if (err == PT_ERR_OK) {
        stamp_of(&st, &out->stamp);
        root = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, NULL);
        if (!take_all(root, out))
            err = pt_fault_set(fault, PT_ERR_CORRUPT,
                               "%s is damaged: put back a copy, or remove "
                               "it and begin anew with `postern admin add`",
                               path);
    }
    json_decref(root);
    buf_done(&text);
    return err;
}

enum pt_err accounts_load(struct accounts *out, const char *state_directory, struct pt_fault *fault)
{
    char path[2400];
    enum pt_err err;
    int fd;

    *out = (struct accounts){ .next = 1 };
    if (!file_path(state_directory, path, sizeof path))
        return pt_fault_set(fault, PT_ERR_TOOBIG, "the name of the state folder is too long");
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return PT_ERR_OK;
    if (fd < 0)
        return pt_fault_errno(fault, errno, "cannot read %s", path);
    err = load_fd(out, fd, path, fault);
    PT_IGNORE(close(fd), "only read");
    if (err)
        accounts_done(out);
    return err;
}

/* ---- to JSON ---- */

static json_t *second_json(const struct account_second *second)
{
    json_t *spares = json_array();
    char hex[2 * 32 + 1];

    for (size_t i = 0; i < second->spare_count; i++)
        json_array_append_new(spares, json_string(sodium_bin2hex(hex, sizeof hex, second->spares[i],
                                                                 sizeof second->spares[i])));
    return json_pack("{s:s, s:I, s:o}", "key",
                     sodium_bin2hex(hex, sizeof hex, second->key, sizeof second->key), "used",
                     (json_int_t)second->used, "recovery", spares);
}

static json_t *account_json(const struct account *a)
{
    json_t *v = json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", a->name, "role",
                          account_role_name(a->role), "password", a->hash, "serial",
                          (json_int_t)a->serial, "created", (json_int_t)a->created_us);

    if (v && a->second.on && json_object_set_new(v, "second", second_json(&a->second)) != 0) {
        json_decref(v);
        return NULL;
    }
    return v;
}

static json_t *token_json(const struct account_token *t)
{
    char hex[sizeof t->hash * 2 + 1];

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "id", t->id, "name", t->name, "owner",
                     t->owner, "role", account_role_name(t->role), "sha256",
                     sodium_bin2hex(hex, sizeof hex, t->hash, sizeof t->hash), "created",
                     (json_int_t)t->created_us, "expires", (json_int_t)t->expires_us);
}

/* The file's text for free(), or NULL. */
static char *to_text(const struct accounts *a)
{
    json_t *accounts = json_array(), *tokens = json_array(), *root;
    char *text = NULL;
    bool good = true;

    for (size_t i = 0; i < a->count; i++)
        good &= json_array_append_new(accounts, account_json(&a->list[i])) == 0;
    for (size_t i = 0; i < a->token_count; i++)
        good &= json_array_append_new(tokens, token_json(&a->tokens[i])) == 0;
    root = json_pack("{s:i, s:I, s:o, s:o}", "format", FORMAT, "next", (json_int_t)a->next,
                     "accounts", accounts, "tokens", tokens);
    if (root && good)
        text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    return text;
}

/* ---- changing ---- */

/* Whoever owns the folder of the state must be able to read what root made there. */
static void give_to_owner(int fd, int like_fd)
{
    struct stat st;

    if (geteuid() == 0 && fstat(like_fd, &st) == 0)
        PT_IGNORE(fchown(fd, st.st_uid, st.st_gid), "root's then: the console will say so");
}

static enum pt_err open_folder(struct accounts_edit *e, const char *state_directory,
                               struct pt_fault *fault)
{
    bool made = mkdir(e->folder, 0700) == 0;
    int state_fd;

    if (!made && errno != EEXIST)
        return pt_fault_errno(fault, errno, "cannot make %s", e->folder);
    e->folder_fd = open(e->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (e->folder_fd < 0)
        return pt_fault_errno(fault, errno, "cannot open %s", e->folder);
    state_fd = open(state_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state_fd >= 0) {
        if (made) {
            give_to_owner(e->folder_fd, state_fd);
            PT_IGNORE(fsync(state_fd), "the commit syncs what matters");
        }
        PT_IGNORE(close(state_fd), "only synced");
    }
    return PT_ERR_OK;
}

static enum pt_err take_lock(struct accounts_edit *e, struct pt_fault *fault)
{
    e->lock_fd = openat(e->folder_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (e->lock_fd < 0)
        return pt_fault_errno(fault, errno, "cannot open %s/" LOCK_NAME, e->folder);
    give_to_owner(e->lock_fd, e->folder_fd);
    while (flock(e->lock_fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return pt_fault_errno(fault, errno, "cannot lock %s/" LOCK_NAME, e->folder);
    return PT_ERR_OK;
}

enum pt_err accounts_edit_begin(struct accounts_edit *e, const char *state_directory,
                                struct pt_fault *fault)
{
    int n = snprintf(e->folder, sizeof e->folder, "%s/console", state_directory);
    enum pt_err err;

    e->accounts = (struct accounts){ 0 };
    e->folder_fd = e->lock_fd = -1;
    if (n < 0 || (size_t)n >= sizeof e->folder)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "the name of the state folder is too long");
    err = open_folder(e, state_directory, fault);
    if (err == PT_ERR_OK)
        err = take_lock(e, fault);
    if (err == PT_ERR_OK)
        err = accounts_load(&e->accounts, state_directory, fault);
    if (err)
        accounts_edit_cancel(e);
    return err;
}

void accounts_edit_cancel(struct accounts_edit *e)
{
    accounts_done(&e->accounts);
    if (e->lock_fd >= 0)
        PT_IGNORE(close(e->lock_fd), "gives the lock back");
    if (e->folder_fd >= 0)
        PT_IGNORE(close(e->folder_fd), "nothing was written");
    e->folder_fd = e->lock_fd = -1;
}

static bool write_all(int fd, const char *text)
{
    size_t left = strlen(text);

    while (left) {
        ssize_t n = write(fd, text, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        left -= (size_t)n;
    }
    return true;
}

static enum pt_err replace(struct accounts_edit *e, const char *text, struct pt_fault *fault)
{
    int fd =
        openat(e->folder_fd, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good;

    if (fd < 0)
        return pt_fault_errno(fault, errno, "cannot write %s/" NEW_NAME, e->folder);
    give_to_owner(fd, e->folder_fd);
    good = write_all(fd, text) && fsync(fd) == 0;
    good &= close(fd) == 0 && good;
    if (!good || renameat(e->folder_fd, NEW_NAME, e->folder_fd, FILE_NAME) != 0 ||
        fsync(e->folder_fd) != 0)
        return pt_fault_errno(fault, errno, "cannot write %s/" FILE_NAME, e->folder);
    return PT_ERR_OK;
}

enum pt_err accounts_edit_commit(struct accounts_edit *e, struct pt_fault *fault)
{
    char *text = to_text(&e->accounts);
    enum pt_err err =
        text ? replace(e, text, fault) : pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");

    if (text)
        sodium_memzero(text, strlen(text));
    free(text);
    accounts_edit_cancel(e);
    return err;
}
