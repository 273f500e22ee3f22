#include <stdlib.h>

#include "tls/inner.h"

/*
 * The latest session of each next hop. A small table with one place per hash: what loses its place
 * does a full handshake next time, which is no harm. In TLS 1.3 a ticket should be used once (RFC
 * 8446 appendix C.4), so what is found is taken out; the next one comes with the next handshake.
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
    SSL_SESSION *found = NULL;
    char *name = NULL;

    pthread_mutex_lock(&r->lock);
    if (e->peer && !strcmp(e->peer, peer)) {
        found = e->session;
        if (SSL_SESSION_get_protocol_version(found) == TLS1_3_VERSION) {
            name = e->peer;
            *e = (struct entry){ 0 };
        } else {
            SSL_SESSION_up_ref(found);
        }
    }
    pthread_mutex_unlock(&r->lock);
    free(name);
    return found;
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
