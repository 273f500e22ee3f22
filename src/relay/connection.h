#pragma once
#include "relay/delivery.h"
#include "relay/dial.h"

/*
 * relay/connection: one connection to a next hop, from the first address tried to its end.
 *
 *     DIALLING → TALKING ⇄ IDLE → (QUITTING →) gone      (TALKING: a TLS handshake in between)
 *
 * It is opened for a destination that has more ready messages than connections, tries the
 * candidates of its dial in order, and pulls messages only once a next hop has greeted it. A next
 * hop that fails before it has answered for any message (refused, silent, 421, nonsense) is left
 * for the next candidate, with the messages in hand. After its last message it stays idle for some
 * seconds. Everything runs on the loop's thread.
 */

enum { RELAY_SLOTS = 3, RELAY_IOV_MAX = 48 };

enum relay_phase {
    RELAY_CONN_DIALLING,
    RELAY_CONN_TALKING,
    RELAY_CONN_IDLE,
    RELAY_CONN_QUITTING, /* no longer counted with its destination */
};

struct relay_conn {
    struct relay_loop *rl;
    struct relay_conn *next, *prev;           /* of the loop */
    struct relay_conn *idle_next, *idle_prev; /* while idle */
    struct relay_conn *starved_next;
    struct relay_dest *dest;     /* NULL while quitting */
    uint8_t phase;               /* enum relay_phase */
    struct relay_asking *asking; /* it asks and delivers nothing: see relay/asking.h; or NULL */
    bool established;            /* the scheduler no longer counts it as connecting */
    bool aborting;               /* the gateway stops: what is not past its final dot goes back */
    bool is_starved;
    bool has_work;   /* while idle: its destination has some */
    bool timed_out;  /* the candidate that is tried now kept silent */
    bool yields;     /* takes no more, so that another destination gets its place */
    bool progress;   /* since the time limit was set */
    int64_t free_ns; /* when the message before was done: the next takes its time from here */
    uint32_t served; /* messages that the next hop has answered for, on this connection */

    uint8_t demand;              /* enum settings_route_tls, never DEFAULT; of this candidate */
    bool ready;                  /* it has taken our greeting, under TLS where there is TLS */
    bool tls_failed;             /* the handshake did, see `tls_failure` */
    bool tls_avoided;            /* in clear, because TLS failed or cannot be had */
    uint32_t clear_endpoint;     /* is tried without TLS by this connection; 0: none */
    struct tls_client *tls;      /* a reference; NULL: no TLS */
    struct relay_secure *secure; /* a handshake is under way: see relay/secure.h */

    struct relay_dial dial;
    const char *host;  /* of the candidate tried last; NULL: none yet */
    uint32_t endpoint; /* relay_endpoint_hash() */
    uint8_t hop;       /* of the destination's, by number */
    bool on_hop;       /* it is counted there */
    char peer[NET_ENDPOINT_SIZE];
    struct net_stream stream; /* fd -1: none */
    struct net_watch watch;
    struct net_timer timer;
    int64_t deadline_ns, armed_ns; /* 0: not armed */
    struct smtp_client *client;
    struct buf out; /* commands */
    size_t cut;     /* with `sending`: how much of `out` goes before the content */
    bool blocked;   /* the socket takes nothing now */

    struct relay_group *pulled[RELAY_PULL_MAX + RELAY_SLOTS];
    uint32_t pulled_first, pulled_count;
    struct relay_delivery slots[RELAY_SLOTS];
    struct relay_delivery *upcoming;    /* prepared, not begun */
    struct relay_delivery *sending;     /* its content goes out now */
    struct iovec slices[RELAY_IOV_MAX]; /* content described and not sent */
    int slice_first, slice_count;

    char reason[RELAY_ERROR_SIZE]; /* why the last candidate failed */
    char tls_failure[RELAY_ERROR_SIZE];
};

/* It goes to that one of the destination's hops from now on. */
void relay_conn_on_hop(struct relay_conn *conn, uint8_t hop);

/* Opens one for `d`, which the scheduler has counted as connecting. `prefer`: endpoint to try
 * first, or 0. */
void relay_conn_open(struct relay_loop *rl, struct relay_dest *d, uint32_t prefer);

/* The same for a destination of callouts. Takes `asking`, which may be NULL; false: memory is
 * short, and it is freed. The connection may have ended already. */
PT_NODISCARD bool relay_conn_open_asking(struct relay_loop *rl, struct relay_dest *d,
                                         struct relay_asking *asking);

/* An idle connection looks for work; true if it found some. */
bool relay_conn_pump(struct relay_conn *conn);

/* An idle connection ends. */
void relay_conn_end_idle(struct relay_conn *conn);

/* The loop stops: ends it at once unless it is past a final dot. `force`: even then. */
void relay_conn_stop(struct relay_conn *conn, bool force);

/* Frees it, whatever it does; groups stay busy. For the end of the loop only. */
void relay_conn_drop(struct relay_conn *conn);

/* ---- from delivery.c ---- */

/* A piece of content has come, or will not. The connection may be gone afterwards. */
void relay_conn_content_ready(struct relay_conn *conn);
void relay_conn_starve(struct relay_conn *conn);
void relay_conn_unstarve(struct relay_conn *conn);

/* ---- from dial.c ---- */

/* The next hop's socket is connected, or no candidate is left. */
void relay_conn_dialled(struct relay_conn *conn);
void relay_conn_exhausted(struct relay_conn *conn);

/* The domain can never be delivered to: its messages fail. */
void relay_conn_hopeless(struct relay_conn *conn, const char *text);

void relay_conn_set_deadline(struct relay_conn *conn, int64_t after_ms);
