#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "tls/inner.h"

/*
 * Three keys: the one that makes tickets, and the two before it, whose tickets are still taken.
 * The lock is held for a copy of 80 octets, once per handshake.
 */
enum { KEYS = 3 };

struct ticket_key {
    uint8_t name[16], cipher[32], mac[32];
    bool there;
};

struct tls_tickets {
    pthread_mutex_t lock;
    struct ticket_key keys[KEYS]; /* the newest first */
    int64_t made_us;
};

static bool fill(struct ticket_key *k)
{
    k->there = RAND_bytes(k->name, sizeof k->name) == 1 &&
               RAND_priv_bytes(k->cipher, sizeof k->cipher) == 1 &&
               RAND_priv_bytes(k->mac, sizeof k->mac) == 1;
    return k->there;
}

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    t->made_us = INT64_MIN;
    if (fill(&t->keys[0]))
        return t;
    tls_tickets_free(t);
    return NULL;
}

void tls_tickets_free(struct tls_tickets *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    OPENSSL_cleanse(t->keys, sizeof t->keys);
    free(t);
}

void tls_tickets_rotate(struct tls_tickets *t, int64_t now_us)
{
    struct ticket_key fresh;

    pthread_mutex_lock(&t->lock);
    if (t->made_us == INT64_MIN)
        t->made_us = now_us;
    if (now_us - t->made_us >= INT64_C(1000000) * TLS_TICKET_SECONDS / 2 && fill(&fresh)) {
        memmove(&t->keys[1], &t->keys[0], (KEYS - 1) * sizeof t->keys[0]);
        t->keys[0] = fresh;
        t->made_us = now_us;
    }
    pthread_mutex_unlock(&t->lock);
    OPENSSL_cleanse(&fresh, sizeof fresh);
}

/* The newest, or the one of that name; its place, or -1. */
static int find(struct tls_tickets *t, const uint8_t *name, struct ticket_key *out)
{
    int at = -1;

    pthread_mutex_lock(&t->lock);
    for (int i = 0; i < KEYS && at < 0; i++) {
        if (t->keys[i].there && (!name || !memcmp(t->keys[i].name, name, sizeof out->name)))
            at = i;
    }
    if (at >= 0)
        *out = t->keys[at];
    pthread_mutex_unlock(&t->lock);
    return at;
}

static int set_up(struct ticket_key *k, uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                  int making)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof k->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"sha256", 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv, making) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb() wants it: 1 good, 2 good but to be renewed, 0 not
 * known, -1 failed. */
static int on_ticket(SSL *ssl, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int making)
{
    struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key k;
    int at = find(t, making ? NULL : name, &k), good;

    if (at < 0)
        return making ? -1 : 0;
    if (making) {
        memcpy(name, k.name, sizeof k.name);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
    }
    good = set_up(&k, iv, cipher, mac, making);
    OPENSSL_cleanse(&k, sizeof k);
    if (!good)
        return -1;
    return at > 0 ? 2 : 1;
}

bool tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx)
{
    SSL_CTX_set_app_data(ctx, t);
    SSL_CTX_set_timeout(ctx, TLS_TICKET_SECONDS);
    return SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}
