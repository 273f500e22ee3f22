#include <stdlib.h>

#include "tls/inner.h"

/*
 * The latest session of each next hop. A small table with one place per hash: what loses its place
 * does a full handshake next time, which is no harm. What is found stays, in TLS 1.3 too: a ticket
 * should be used once there, so that nobody can tell two connections for those of one client, but a
 * mail server says itself who it is; and connections to one next hop are opened by the dozen, to
 * servers that send no new ticket when an old one was shown.
 */

struct entry {
    char *peer;
    SSL_SESSION *session;
};

struct tls_resume {
    pthread_mutex_t lock;
    struct entry entries[TLS_RESUME_MAX];
};

struct tls_resume *tls_resume_new(void)
{
    struct tls_resume *r = calloc(1, sizeof *r);

    if (r)
        pthread_mutex_init(&r->lock, NULL);
    return r;
}

void tls_resume_free(struct tls_resume *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < TLS_RESUME_MAX; i++) {
        SSL_SESSION_free(r->entries[i].session);
        free(r->entries[i].peer);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct entry *place(struct tls_resume *r, const char *peer)
{
    return &r->entries[str_hash_nocase(str_of(peer)) % TLS_RESUME_MAX];
}

/* Puts a session into its place, or takes it out; what was there is given back to be freed without
 * the lock. */
static struct entry exchange(struct tls_resume *r, const char *peer, struct entry with)
{
    struct entry *e = place(r, peer), old;

    pthread_mutex_lock(&r->lock);
    old = *e;
    *e = with;
    pthread_mutex_unlock(&r->lock);
    return old;
}

void tls_resume_keep(struct tls_resume *r, const char *peer, SSL_SESSION *session)
{
    struct entry e = { strdup(peer), session }, old;

    if (!e.peer) {
        SSL_SESSION_free(session);
        return;
    }
    old = exchange(r, peer, e);
    SSL_SESSION_free(old.session);
    free(old.peer);
}

SSL_SESSION *tls_resume_find(struct tls_resume *r, const char *peer)
{
    struct entry *e = place(r, peer);
    SSL_SESSION *found = NULL, *copy;

    pthread_mutex_lock(&r->lock);
    if (e->peer && !strcmp(e->peer, peer)) {
        found = e->session;
        SSL_SESSION_up_ref(found);
    }
    pthread_mutex_unlock(&r->lock);
    if (!found)
        return NULL;
    /* OpenSSL spoils what a handshake of TLS 1.3 was begun with: a copy. */
    copy = SSL_SESSION_dup(found);
    SSL_SESSION_free(found);
    return copy;
}

void tls_resume_forget(struct tls_resume *r, const char *peer)
{
    struct entry *e = place(r, peer), old = { 0 };

    pthread_mutex_lock(&r->lock);
    if (e->peer && !strcmp(e->peer, peer)) {
        old = *e;
        *e = (struct entry){ 0 };
    }
    pthread_mutex_unlock(&r->lock);
    SSL_SESSION_free(old.session);
    free(old.peer);
}
