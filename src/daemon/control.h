#pragma once
#include <pthread.h>
#include <stdbool.h>

#include "api/api.h"
#include "base/err.h"
#include "daemon/listening.h"
#include "daemon/state.h"
#include "gateway/gateway.h"
#include "net/resolver.h"
#include "relay/relay.h"
#include "settings/participant.h"
#include "settings/settings.h"
#include "settings/store.h"
#include "tls/context.h"

/*
 * daemon/control: the settings in force.
 *
 * Reads them at start, applies changes, and keeps trying what the world refused: a listening socket
 * whose address or port is not to be had yet. Who takes part in a change is registered by
 * daemon/participants. One change at a time; everything here may wait, so it
 * is called from the main thread and from job threads, never from a loop that serves sessions.
 */
struct control {
    const struct state *state;
    struct gateway *gateway; /* NULL: mail is not served yet */
    struct relay *relay;
    struct net_resolver *resolver; /* NULL: there is none, see resolver_fault */
    struct tls_tickets *tickets;   /* of all contexts; NULL: no resumption */

    pthread_mutex_t change;       /* held during a change */
    struct settings_store *store; /* NULL: see store_fault */
    struct settings_participants participants;
    struct listening listening;
    bool
        relay_behind; /* memory was short: mail goes by the routes of before, see control_retry() */
    bool stopping;    /* control_stop_listening() was called */
    enum net_resolver_state resolver_state; /* as the log has it */
    int host_watch; /* tells of the addresses of this host (net/host.h); -1: nobody does */
    bool host_news; /* the main thread's own: it has told something */
    struct net_prefix *host_nets; /* that were seen last */
    uint32_t host_net_count;

    pthread_mutex_t lock;                    /* guards what follows, for readers; held briefly */
    struct settings *current;                /* NULL: none could be read, see settings_fault */
    struct policy_snapshot *snapshot;        /* of `current` */
    struct tls_server *tls;                  /* what sessions begin TLS with; NULL: nothing */
    struct relay_clients *outgoing;          /* what deliveries begin it with; NULL: nothing */
    struct pt_fault store_fault;             /* err OK: no trouble */
    struct pt_fault write_fault;             /* the store could be read, but not written */
    struct pt_fault settings_fault;          /* why the stored settings could not be used */
    struct pt_fault listen_fault;            /* why we do not listen */
    struct pt_fault tls_fault;               /* why there is no certificate to serve */
    struct pt_fault outgoing_fault;          /* why TLS to some next hops cannot be had */
    struct pt_fault resolver_fault;          /* what is wrong with the resolver's settings */
    struct settings_pending pending;         /* what waits to be confirmed; revision 0: nothing */
    struct pt_fault confirm_fault;           /* why it could not go back though its time is over */
    struct pt_fault apply_fault;             /* why the file of --apply was not taken */
    char listening_on[4][NET_ENDPOINT_SIZE]; /* what we listen on now */
    bool listening_tls[4];                   /* and where TLS begins with the first octet */
    unsigned listening_count;
};

/* Opens the store and reads the settings. Never fails: what is wrong stands in the faults. */
void control_init(struct control *c, const struct state *state);
void control_done(struct control *c);

/* Without any revision: makes the defaults one, so that their loss can be noticed. Before there is
 * a spool. */
void control_keep_defaults(struct control *c);

/* Commits the settings file of --apply; the reason why not is in apply_fault and on stderr.
 * Before control_serve(). */
void control_apply_file(struct control *c, const char *path);

/* Who takes over settings from now on; the current ones at once, listening included. NULL, NULL:
 * nobody (any more). */
void control_serve(struct control *c, struct gateway *gateway, struct relay *relay);

/* Tries again what could not be had; true when there is nothing (more) to try. */
bool control_retry(struct control *c);

/* Closes the listening sockets, for good: no change opens one any more. */
void control_stop_listening(struct control *c);

/* api_deps' settings_apply and settings_current. */
enum pt_err control_change(struct control *c, const struct api_change *change,
                           struct api_change_result *out, struct pt_fault *fault);
struct settings *control_current(struct control *c);

/* control_change() for who holds `change` already. */
enum pt_err control_change_locked(struct control *c, const struct api_change *change,
                                  struct api_change_result *out, struct pt_fault *fault);

/* A reference to the snapshot in force, or NULL. */
struct policy_snapshot *control_snapshot(struct control *c);
