#include "relay/moves_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "relay/relay_private.h"
#include "relay/scheduler_private.h"

enum { KEY_MAX = 16384, STEP = 200, MEMORY = 8 << 20, SLOTS = 512 };

struct move {
    struct relay_move m;
    uint64_t last_id; /* the message that was counted last */
};

struct moves {
    const struct settings *before, *after;
    struct buf from, to;
    struct arena arena;
    struct move moves[RELAY_MOVES_MAX];
    uint16_t slots[SLOTS]; /* by hash: number of a move and 1; 0: none */
    uint32_t count;
    uint64_t more, last_more;
    bool failed;
};

/* ---- are they the same? ---- */

static bool same_route(struct moves *w, const struct settings_route *a,
                       const struct settings_route *b)
{
    buf_clear(&w->from);
    buf_clear(&w->to);
    return strcmp(a->domain, b->domain) == 0 && relay_dest_key(a, STR(""), &w->from) &&
           relay_dest_key(b, STR(""), &w->to) && str_eq(buf_str(&w->from), buf_str(&w->to));
}

static bool same_routes(struct moves *w)
{
    if (w->before->route_count != w->after->route_count)
        return false;
    for (uint32_t i = 0; i < w->before->route_count; i++)
        if (!same_route(w, &w->before->routes[i], &w->after->routes[i]))
            return false;
    return true;
}

/* ---- counting ---- */

static struct move *find(struct moves *w, bool waits)
{
    struct str from = buf_str(&w->from), to = buf_str(&w->to);
    uint64_t hash = str_hash_nocase(from) * 31 + str_hash_nocase(to);
    uint32_t at = (uint32_t)(hash % SLOTS);
    struct move *m;

    for (; w->slots[at]; at = (at + 1) % SLOTS) {
        m = &w->moves[w->slots[at] - 1];
        if (str_eq(str_of(m->m.from), from) && str_eq(str_of(m->m.to), to))
            return m;
    }
    if (w->count == RELAY_MOVES_MAX)
        return NULL;
    m = &w->moves[w->count];
    m->m = (struct relay_move){ .from = arena_str(&w->arena, from).p,
                                .to = arena_str(&w->arena, to).p,
                                .waits = waits };
    if (!m->m.from || !m->m.to) {
        w->failed = true;
        return NULL;
    }
    w->slots[at] = (uint16_t)++w->count;
    return m;
}

static void count(struct moves *w, uint64_t id, bool waits)
{
    struct move *m = find(w, waits);

    if (m && m->last_id != id)
        m->m.messages++;
    else if (!m && w->last_more != id)
        w->more++;
    *(m ? &m->last_id : &w->last_more) = id;
}

static bool key_of(const struct settings *s, struct str domain, struct buf *out, bool *out_none)
{
    const struct settings_route *route = settings_route_for(s, domain);

    *out_none = !route;
    buf_clear(out);
    return relay_dest_key(route, domain, out);
}

static void look_at(struct moves *w, const struct relay_item *item)
{
    const struct spool_message *m = item->message;

    for (uint32_t i = 0; i < m->recipient_count && !w->failed; i++) {
        const struct spool_recipient *r = &m->recipients[i];
        struct str domain = relay_domain_of(r->address);
        char ascii[SETTINGS_DOMAIN_SIZE];
        bool none;

        if ((r->state != SPOOL_QUEUED && r->state != SPOOL_IN_DOUBT) ||
            (m->next_hops && m->next_hops[i].n))
            continue;
        if (str_has_8bit(domain) && settings_domain_normalise(domain, ascii))
            domain = str_of(ascii);
        if (!key_of(w->before, domain, &w->from, &none) || !key_of(w->after, domain, &w->to, &none))
            w->failed = true;
        else if (!str_eq(buf_str(&w->from), buf_str(&w->to)))
            count(w, m->id, none);
    }
}

static void walk(struct relay *r, struct moves *w)
{
    struct relay_item *item = NULL;
    uint64_t cursor = 0;

    do {
        uint32_t left = STEP;

        relay_lock(r);
        while (left && !w->failed && (item = relay_sched_after(&r->sched, cursor))) {
            cursor = item->id;
            look_at(w, item);
            left -= PT_MIN(left, PT_MAX(item->message->recipient_count, 1u));
        }
        relay_unlock(r);
    } while (item && !w->failed);
}

enum pt_err relay_moves(struct relay *r, const struct settings *before,
                        const struct settings *after, relay_move_fn *show, void *user,
                        uint64_t *out_more)
{
    struct moves *w = calloc(1, sizeof *w);
    enum pt_err err;

    if (!w)
        return PT_ERR_NOMEM;
    w->before = before;
    w->after = after;
    buf_init(&w->from, KEY_MAX);
    buf_init(&w->to, KEY_MAX);
    arena_init(&w->arena, MEMORY);
    if (!same_routes(w))
        walk(r, w);
    err = w->failed ? PT_ERR_NOMEM : PT_ERR_OK;
    for (uint32_t i = 0; i < w->count && !err; i++)
        show(user, &w->moves[i].m);
    *out_more = w->more;
    buf_done(&w->from);
    buf_done(&w->to);
    arena_done(&w->arena);
    free(w);
    return err;
}
