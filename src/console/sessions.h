#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "console/accounts.h"

/*
 * console/sessions: who is logged in with a browser.
 *
 * In memory only, under the hash of the identifier. A session ends when it was idle too long, when
 * it is too old, at a log-out, and when its account changed (another serial, or gone). The caller
 * holds a lock around all of it and gives the time (monotonic).
 */

struct sessions;

enum {
    SESSIONS_MAX = 1024,
    SESSIONS_OF_ONE_MAX = 32, /* beyond it the one idle longest ends */
    SESSION_IDLE_S = 30 * 60,
    SESSION_LIFE_S = 12 * 60 * 60,
};

struct session {
    unsigned char hash[32];
    char csrf[ACCOUNT_SECRET_SIZE];
    char name[ACCOUNT_NAME_MAX + 1]; /* empty: the place is free */
    uint64_t serial;
    int64_t since_ns, seen_ns;
    uint8_t key[ACCOUNT_KEY_SIZE]; /* of a second factor, offered and not confirmed yet */
    bool offered;
};

struct sessions *sessions_new(void); /* NULL when memory is short */
void sessions_free(struct sessions *s);

/* A new session with identifiers nobody has seen before; `id` receives what goes into the cookie.
 * The result is valid until the lock is given back. */
const struct session *sessions_add(struct sessions *s, const struct account *account,
                                   int64_t now_ns, char id[ACCOUNT_SECRET_SIZE]);

/* The session of an identifier; NULL: there is none (any more). `accounts` NULL: without looking at
 * its account. */
const struct session *sessions_peek(struct sessions *s, const struct accounts *accounts,
                                    struct str id, int64_t now_ns);

/* The same as a request of its owner, which sets its clock of idleness anew. */
const struct session *sessions_find(struct sessions *s, const struct accounts *accounts,
                                    struct str id, int64_t now_ns);

/* Keeps a key with the session until it is confirmed, and gives it; false: none was offered. */
void sessions_offer(struct sessions *s, struct str id, const uint8_t key[ACCOUNT_KEY_SIZE]);
PT_NODISCARD bool sessions_offered(struct sessions *s, struct str id,
                                   uint8_t key[ACCOUNT_KEY_SIZE]);

void sessions_end(struct sessions *s, struct str id);
void sessions_end_all(struct sessions *s, struct str name);
