#include "relay/suspend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/scheduler_private.h"

static bool keeps(const struct relay_suspension *p, const struct relay_dest *d)
{
    struct str name = str_of(p->name), key = str_of(d->key);

    return str_eq_nocase(name, key) || str_eq_nocase(name, relay_dest_place(key));
}

static void attach(struct relay_sched *s, struct relay_suspension *p, struct relay_dest *d)
{
    d->suspension = p;
    d->suspension_next = p->dests;
    p->dests = d;
    atomic_store_explicit(&d->suspended, true, memory_order_relaxed);
    relay_dest_refresh(&s->dests, d);
}

void relay_suspension_meets(struct relay_sched *s, struct relay_dest *d)
{
    for (struct relay_suspension *p = s->suspensions; p && !d->suspension; p = p->next)
        if (keeps(p, d))
            attach(s, p, d);
}

static void free_suspension(struct relay_suspension *p)
{
    free((char *)p->name);
    free((char *)p->reason);
    free((char *)p->by);
    free(p);
}

void relay_suspensions_done(struct relay_sched *s)
{
    while (s->suspensions) {
        struct relay_suspension *p = s->suspensions;

        s->suspensions = p->next;
        free_suspension(p);
    }
}

static void find_first_end(struct relay_sched *s)
{
    s->suspensions_end_us = INT64_MAX;
    for (const struct relay_suspension *p = s->suspensions; p; p = p->next)
        if (p->until_us)
            s->suspensions_end_us = PT_MIN(s->suspensions_end_us, p->until_us);
}

const struct relay_suspension *relay_sched_suspension(const struct relay_sched *s, struct str name)
{
    const struct relay_suspension *p = s->suspensions;

    while (p && !str_eq_nocase(str_of(p->name), name))
        p = p->next;
    return p;
}

bool relay_sched_resume(struct relay_sched *s, struct str name)
{
    struct relay_suspension **link = &s->suspensions, *p;
    struct relay_dest *d, *next;

    while (*link && !str_eq_nocase(str_of((*link)->name), name))
        link = &(*link)->next;
    p = *link;
    if (!p)
        return false;
    *link = p->next;
    s->suspension_count--;
    for (d = p->dests; d; d = next) {
        next = d->suspension_next;
        d->suspension = NULL;
        d->suspension_next = NULL;
        atomic_store_explicit(&d->suspended, false, memory_order_relaxed);
        relay_suspension_meets(s, d); /* the place may be suspended beside the full name */
        relay_dest_refresh(&s->dests, d);
    }
    free_suspension(p);
    find_first_end(s);
    return true;
}

enum pt_err relay_sched_suspend(struct relay_sched *s, const struct relay_suspension *like)
{
    struct str name = str_of(like->name);
    struct relay_suspension *p;
    bool replaces = relay_sched_suspension(s, name) != NULL;

    if (!replaces && s->suspension_count >= RELAY_SUSPENSIONS_MAX)
        return PT_ERR_NOSPACE;
    p = calloc(1, sizeof *p);
    if (!p)
        return PT_ERR_NOMEM;
    p->name = str_dup(name);
    p->reason = str_dup(str_of(like->reason));
    p->by = str_dup(str_of(like->by));
    p->since_us = like->since_us;
    p->until_us = like->until_us;
    if (!p->name || !p->reason || !p->by) {
        free_suspension(p);
        return PT_ERR_NOMEM;
    }
    if (replaces)
        relay_sched_resume(s, name);
    p->next = s->suspensions;
    s->suspensions = p;
    s->suspension_count++;
    for (struct relay_dest *d = relay_dest_at_place(&s->dests, relay_dest_place(name)); d;
         d = d->hash_next)
        if (!d->suspension && keeps(p, d))
            attach(s, p, d);
    find_first_end(s);
    return PT_ERR_OK;
}

bool relay_sched_suspension_over(struct relay_sched *s, int64_t now_us,
                                 char out_name[RELAY_SUSPENSION_NAME])
{
    const struct relay_suspension *p = s->suspensions;

    if (s->suspensions_end_us > now_us)
        return false;
    while (p && !(p->until_us && p->until_us <= now_us))
        p = p->next;
    if (!p)
        return false;
    snprintf(out_name, RELAY_SUSPENSION_NAME, "%s", p->name);
    return relay_sched_resume(s, str_of(out_name));
}
