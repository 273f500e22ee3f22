#include "api/event_ring.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    uint64_t at; /* octets ever written before it */
    uint32_t size;
    uint8_t type;
};

struct event_ring {
    char *octets;
    size_t octets_max;
    uint64_t written; /* octets ever */
    struct slot *slots;
    uint32_t slots_max;
    uint64_t first, next;        /* numbers: what is kept is [first, next) */
    uint64_t gone[EVENT_TYPES];  /* that came before `first` */
    uint64_t total[EVENT_TYPES]; /* that came before `next` */
};

static const char *const names[EVENT_TYPES] = {
    [EVENT_SETTINGS] = "settings",       [EVENT_PENDING] = "pending", [EVENT_STATUS] = "status",
    [EVENT_CONNECTIONS] = "connections", [EVENT_QUEUE] = "queue",     [EVENT_MESSAGE] = "message",
    [EVENT_REFUSAL] = "refusal",
};

const char *event_type_name(enum event_type type)
{
    return names[type];
}

static unsigned type_of(struct str name)
{
    for (unsigned type = 0; type < EVENT_TYPES; type++)
        if (str_eq(name, str_of(names[type])))
            return 1u << type;
    return 0;
}

bool event_types_parse(struct str list, unsigned *out)
{
    unsigned mask = 0;

    for (size_t at = 0; at <= list.n;) {
        ptrdiff_t comma = str_find(list, ',', at);
        size_t end = comma < 0 ? list.n : (size_t)comma;
        unsigned type = type_of((struct str){ list.p + at, end - at });

        if (!type)
            return false;
        mask |= type;
        at = end + 1;
    }
    *out = mask;
    return true;
}

struct event_ring *event_ring_new(size_t octets, uint32_t events)
{
    struct event_ring *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->octets_max = octets;
    r->slots_max = events;
    r->octets = malloc(octets);
    r->slots = calloc(events, sizeof *r->slots);
    /* Numbers begin at 1: none before it has been given out. */
    r->first = r->next = 1;
    if (r->octets && r->slots)
        return r;
    event_ring_free(r);
    return NULL;
}

void event_ring_free(struct event_ring *r)
{
    if (!r)
        return;
    free(r->octets);
    free(r->slots);
    free(r);
}

static struct slot *slot_of(const struct event_ring *r, uint64_t number)
{
    return &r->slots[number % r->slots_max];
}

/* Lets the oldest go until there is room for one more of that size. */
static void make_room(struct event_ring *r, size_t size)
{
    while (r->first < r->next) {
        const struct slot *oldest = slot_of(r, r->first);

        if (r->next - r->first < r->slots_max && r->written + size - oldest->at <= r->octets_max)
            return;
        r->gone[oldest->type]++;
        r->first++;
    }
}

void event_ring_add(struct event_ring *r, enum event_type type, struct str text)
{
    size_t at = (size_t)(r->written % r->octets_max);
    size_t before_end = PT_MIN(text.n, r->octets_max - at);

    pt_assert(text.n <= r->octets_max / 2);
    r->total[type]++;
    make_room(r, text.n);
    memcpy(r->octets + at, text.p, before_end);
    memcpy(r->octets, text.p + before_end, text.n - before_end);
    *slot_of(r, r->next) =
        (struct slot){ .at = r->written, .size = (uint32_t)text.n, .type = (uint8_t)type };
    r->written += text.n;
    r->next++;
}

void event_cursor_now(const struct event_ring *r, struct event_cursor *out)
{
    out->next = r->next;
    out->unknown = 0;
    memcpy(out->passed, r->total, sizeof out->passed);
}

bool event_cursor_behind(const struct event_ring *r, uint64_t number, struct event_cursor *out)
{
    if (number >= r->next)
        return false;
    out->next = number + 1;
    memcpy(out->passed, r->gone, sizeof out->passed);
    for (uint64_t n = r->first; n < out->next; n++)
        out->passed[slot_of(r, n)->type]++;
    out->unknown = r->first > out->next ? r->first - out->next : 0;
    return true;
}

uint64_t event_ring_missed(const struct event_ring *r, struct event_cursor *c, unsigned mask)
{
    uint64_t missed = c->unknown;

    if (c->next >= r->first)
        return 0;
    for (unsigned type = 0; type < EVENT_TYPES; type++)
        if (mask & (1u << type))
            missed += r->gone[type] - c->passed[type];
    c->next = r->first;
    c->unknown = 0;
    memcpy(c->passed, r->gone, sizeof c->passed);
    return missed;
}

bool event_ring_read(const struct event_ring *r, struct event_cursor *c, unsigned mask,
                     struct event *out)
{
    pt_assert(c->next >= r->first);
    while (c->next < r->next) {
        const struct slot *s = slot_of(r, c->next);
        size_t at = (size_t)(s->at % r->octets_max);
        size_t before_end = PT_MIN((size_t)s->size, r->octets_max - at);

        c->passed[s->type]++;
        out->number = c->next++;
        if (!(mask & (1u << s->type)))
            continue;
        out->type = (enum event_type)s->type;
        out->text[0] = (struct str){ r->octets + at, before_end };
        out->text[1] = (struct str){ r->octets, s->size - before_end };
        return true;
    }
    return false;
}
