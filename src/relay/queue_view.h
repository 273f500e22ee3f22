#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/*
 * relay/queue_view: the queue as an administrator sees and changes it.
 *
 * Any thread. Each step holds the scheduler's lock for a bounded time; rows are copied and shown
 * without it, so that a listing of a long queue never holds up a delivery and is not a snapshot of
 * one moment. What is shown is borrowed for the time of the call that shows it.
 *
 * A destination's name is that of relay/destination.h: "mx:example.com" or the next hops as
 * "relay1.example:25,relay2.example:25". For a selection the domain alone will do for "mx:", and
 * what a route demands, behind the first slash, may be left out.
 */

struct relay;

struct relay_view_recipient {
    struct str address;
    struct str destination; /* empty: done with */
    const char *state; /* "queued", "deferred", "delivering", "in_doubt", "delivered", "failed" */
    uint32_t attempts;
    int64_t next_attempt_us; /* 0: at once, or never */
    uint16_t code;           /* of the last reply; 0: none */
    struct str reply;
    struct str redirected; /* an administrator sends it there, "HOST:PORT"; empty: nowhere else */
    bool suspended;        /* its destination is */
};

struct relay_view_message {
    uint64_t id;
    int64_t received_us;
    uint64_t size;
    bool held;
    bool own;                /* a notice of ours */
    struct str reverse_path; /* empty: null */
    struct str client;
    struct str helo;
    const struct relay_view_recipient *recipients; /* those that are shown */
    uint32_t recipient_count;
    uint32_t first_recipient; /* the number of the first that is shown, with relay_view_show() */
    uint32_t recipients_total;
    uint32_t recipients_waiting; /* of these, neither delivered nor failed */
};

/* A recipient's state, and a message's: it is in every state that one of its recipients is in. */
enum relay_view_state {
    RELAY_VIEW_ANY,
    RELAY_VIEW_QUEUED,     /* not tried yet */
    RELAY_VIEW_DEFERRED,   /* to be tried again */
    RELAY_VIEW_DELIVERING, /* just now */
    RELAY_VIEW_IN_DOUBT,
    RELAY_VIEW_HELD, /* by an administrator: the message as a whole */
    RELAY_VIEW_STATES,
};

/* Which messages; what is not set (.p NULL, 0) matches all. */
struct relay_view_filter {
    struct str destination;
    struct str sender; /* the whole address, letters in any case; "" or "<>": the null path */
    struct str recipient;
    enum relay_view_state state;
    int64_t received_before_us, received_after_us; /* 0: any */
    bool newest_first;       /* the oldest is first otherwise; IDs are in the order of receipt */
    uint64_t after;          /* the cursor: what comes behind this ID; 0: from the beginning */
    uint32_t limit;          /* 0: no limit */
    uint32_t recipients_max; /* shown of each message, those that wait first; 0: all */
};

/* Shows one message; false: enough. */
typedef bool relay_view_fn(void *user, const struct relay_view_message *m);

/* `out_total` (may be NULL): how many match in all, the cursor and limit aside. With a filter that
 * takes a walk over the queue: ask for it once, not for every page. */
PT_NODISCARD enum pt_err relay_view_list(struct relay *r, const struct relay_view_filter *filter,
                                         relay_view_fn *fn, void *user, uint64_t *out_total);

/* One message with at most `max` of its recipients (0: all), from number `first`, in the order of
 * the envelope. */
PT_NODISCARD enum pt_err relay_view_show(struct relay *r, uint64_t id, uint32_t first, uint32_t max,
                                         relay_view_fn *fn, void *user);

enum relay_view_action {
    RELAY_VIEW_RETRY, /* due now; held messages stay held */
    RELAY_VIEW_HOLD,
    RELAY_VIEW_RELEASE,
    RELAY_VIEW_DELETE,
    RELAY_VIEW_BOUNCE,   /* given up now, with a notice to the sender */
    RELAY_VIEW_REDIRECT, /* to `next_hop` of the selection */
};

/* Exactly one of: ids, destination, all. */
struct relay_view_selection {
    const uint64_t *ids;
    uint32_t id_count;
    struct str destination;
    bool all;
    /* With REDIRECT, as relay_view_next_hop() has written it: to there; empty: to where the routes
     * lead. By destination those recipients alone are meant that go there; when it is taken back,
     * those too that would. */
    struct str next_hop;
};

/*
 * Returns when it is durable, so it waits: not from a loop. NOTFOUND: the only ID named is not
 * queued, or there is no such destination. Another error: it holds in this run and the spool will
 * be asked again to store it. `out_count`: messages changed.
 */
PT_NODISCARD enum pt_err relay_view_act(struct relay *r, enum relay_view_action action,
                                        const struct relay_view_selection *selection,
                                        uint64_t *out_count);

/* A next hop as it is kept, from "HOST" or "HOST:PORT". NULL, or what is wrong with it. */
enum { RELAY_VIEW_NEXT_HOP = 300 };
const char *relay_view_next_hop(struct relay *r, struct str text, char out[RELAY_VIEW_NEXT_HOP]);

/* ---- suspended destinations: relay/suspend.h ---- */

enum { RELAY_VIEW_NAME = 1024 };

struct relay_view_suspension {
    const char *destination;
    const char *reason; /* "": none was given */
    const char *by;
    int64_t since_us, until_us; /* until 0: until it is resumed */
};

/* The destination that an administrator means, by its name, its place or its domain; it may have no
 * mail yet. NOTFOUND: there is none that the routes lead to; INVALID: mail for that domain goes to
 * one that others share. The fault says which. */
PT_NODISCARD enum pt_err relay_view_destination_name(struct relay *r, struct str text,
                                                     char out[RELAY_VIEW_NAME],
                                                     struct pt_fault *fault);

/* From now on, in place of another of the same name. NOSPACE: there are too many; NOMEM. */
PT_NODISCARD enum pt_err relay_view_suspend(struct relay *r, const struct relay_view_suspension *s);
bool relay_view_is_suspended(struct relay *r, struct str destination);
bool relay_view_resume(struct relay *r, struct str destination); /* false: it was not suspended */

/* Shows all, the newest first, without the lock. Returns false when memory is short. */
typedef void relay_view_suspension_fn(void *user, const struct relay_view_suspension *s);
bool relay_view_suspensions(struct relay *r, relay_view_suspension_fn *fn, void *user);

/* ---- destinations ---- */

struct relay_view_destination {
    const char *name;
    uint64_t ready, deferred, busy, held; /* groups of recipients */
    uint32_t connections;
    uint32_t limit;         /* connections allowed now */
    int64_t rests_until_us; /* 0: it does not */
    const char *error;      /* the last trouble; "": none */
    int64_t error_at_us;
    bool suspended;
    int64_t suspended_until_us; /* 0: until it is resumed */
};

/* Shows those that have anything queued, a connection or a rest. */
typedef bool relay_view_destination_fn(void *user, const struct relay_view_destination *d);
PT_NODISCARD enum pt_err relay_view_destinations(struct relay *r, relay_view_destination_fn *fn,
                                                 void *user);

/* The message, referenced, for whoever wants its content (spool_read); NULL: not queued. */
struct spool_message *relay_view_message_ref(struct relay *r, uint64_t id);
