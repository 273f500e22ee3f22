#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/str.h"

/*
 * api/event_ring: the last events, for any number of readers.
 *
 * One ring of fixed size keeps them, each with its number; a reader is a position in it. So readers
 * cost nothing, none holds up another or the writer, and who is too slow is told how many of those
 * that matter to him have gone. No lock: one thread at a time.
 */

enum event_type {
    EVENT_SETTINGS,
    EVENT_PENDING,
    EVENT_STATUS,
    EVENT_CONNECTIONS,
    EVENT_QUEUE,
    EVENT_MESSAGE,
    EVENT_REFUSAL,
    EVENT_TYPES
};

enum { EVENT_STATES = EVENT_QUEUE + 1, EVENT_ALL = (1 << EVENT_TYPES) - 1 };

/* "settings" */
const char *event_type_name(enum event_type type);

/* "message,status" as a set of 1 << type; false: one of them is none. */
PT_NODISCARD bool event_types_parse(struct str names, unsigned *out);

struct event_ring;

/* NULL when memory is short. */
struct event_ring *event_ring_new(size_t octets, uint32_t events);
void event_ring_free(struct event_ring *r); /* NULL is accepted */

/* `text` has at most half of the ring's octets. */
void event_ring_add(struct event_ring *r, enum event_type type, struct str text);

struct event_cursor {
    uint64_t next;                /* number of the event to be read */
    uint64_t passed[EVENT_TYPES]; /* events of before, by type */
    uint64_t unknown;             /* missed ones, of whatever type */
};

/* What comes from now on. */
void event_cursor_now(const struct event_ring *r, struct event_cursor *out);

/* What came behind event `number`; false: there has been none of that number. */
PT_NODISCARD bool event_cursor_behind(const struct event_ring *r, uint64_t number,
                                      struct event_cursor *out);

/* How many of the types in `mask` have left before they could be read, with those that had left
 * when the cursor was made, whose types are not known any more; it goes on at the oldest that is
 * there. */
uint64_t event_ring_missed(const struct event_ring *r, struct event_cursor *c, unsigned mask);

struct event {
    uint64_t number;
    enum event_type type;
    struct str text[2]; /* in two parts where it lies over the end; valid until the next add */
};

/* The next event of the types in `mask`; false: none has come yet. Ask for missed ones first. */
PT_NODISCARD bool event_ring_read(const struct event_ring *r, struct event_cursor *c, unsigned mask,
                                  struct event *out);
