#include "spool/text.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "spool/spool.h"

struct text {
    struct text *next;
    uint32_t hash, n, refs;
    char octets[];
};

enum { BUCKETS_FIRST = 256 };

static struct {
    pthread_mutex_t lock;
    struct text **buckets;
    uint32_t bucket_count, count;
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* FNV-1a. Who makes many of one hash wins a slow queue for the mail to himself. */
static uint32_t hash_of(struct str s)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}

static struct text **bucket(uint32_t hash)
{
    return &table.buckets[hash & (table.bucket_count - 1)];
}

/* When memory is short the lists only get longer. */
static bool grow(void)
{
    uint32_t count = table.bucket_count ? 2 * table.bucket_count : BUCKETS_FIRST;
    struct text **old = table.buckets, **buckets = calloc(count, sizeof *buckets);
    uint32_t old_count = table.bucket_count;

    if (!buckets)
        return old != NULL;
    table.buckets = buckets;
    table.bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++)
        while (old[i]) {
            struct text *t = old[i];

            old[i] = t->next;
            t->next = *bucket(t->hash);
            *bucket(t->hash) = t;
        }
    free(old);
    return true;
}

static struct text *add(struct str s, uint32_t hash)
{
    struct text *t = malloc(sizeof *t + s.n);

    if (!t)
        return NULL;
    *t = (struct text){ .next = *bucket(hash), .hash = hash, .n = (uint32_t)s.n };
    memcpy(t->octets, s.p, s.n);
    *bucket(hash) = t;
    table.count++;
    return t;
}

struct str text_get(struct str s)
{
    uint32_t hash = hash_of(s);
    struct text *t = NULL;

    if (s.n == 0)
        return STR_NULL;
    pthread_mutex_lock(&table.lock);
    if (table.count < table.bucket_count || grow()) {
        t = *bucket(hash);
        while (t && (t->hash != hash || t->n != s.n || memcmp(t->octets, s.p, s.n) != 0))
            t = t->next;
        if (!t)
            t = add(s, hash);
        if (t)
            t->refs++;
    }
    pthread_mutex_unlock(&table.lock);
    return t ? (struct str){ t->octets, s.n } : STR_NULL;
}

void text_put(struct str s)
{
    struct text *t, **p;

    if (!s.p)
        return;
    t = PT_CONTAINER_OF(s.p, struct text, octets[0]);
    pthread_mutex_lock(&table.lock);
    if (--t->refs == 0) {
        for (p = bucket(t->hash); *p != t; p = &(*p)->next)
            ;
        *p = t->next;
        if (--table.count == 0) { /* a process that ends leaves nothing behind */
            free(table.buckets);
            table.buckets = NULL;
            table.bucket_count = 0;
        }
        free(t);
    }
    pthread_mutex_unlock(&table.lock);
}

void spool_reply_set(struct str *reply, struct str text)
{
    struct str kept = text_get(str_head(text, SPOOL_REPLY_MAX));

    text_put(*reply);
    *reply = kept;
}
