#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/resolver.h"
#include "relay/balance.h"

/*
 * relay/dial: finds a next hop that takes a connection.
 *
 * The candidates of a destination are its next hops in order of preference, each with all its
 * addresses, or its mail exchangers by priority. Names are resolved as they are needed. Endpoints
 * that failed lately are tried after all others. Of a host with IPv4 and IPv6 one family is waited
 * for half a second at most while the other was not tried (RFC 8305). This gateway itself is no
 * candidate, nor are mail exchangers that are not better than it (RFC 5321 5.1).
 */

struct relay_conn;

struct relay_candidate {
    struct net_endpoint endpoint;
    uint32_t hash;
    uint8_t hop;  /* of the destination's hops, by number; 0 with MX */
    bool skipped; /* failed lately: for the second pass */
    bool tried;
    bool hurried; /* was not waited for long, since its host has the other family too: once more
                   * after all others */
    char *host;
};

struct relay_question;

struct relay_dial {
    struct relay_candidate *list;
    uint32_t count, room;
    uint8_t rank[RELAY_BALANCE_MAX]; /* the destination's hops in the order they are tried */
    bool ranked;
    uint32_t next_hop;               /* the next of `rank` to look up */
    uint8_t hop;                     /* the one that was looked up last */
    bool looked_up;                  /* nothing more to ask */
    bool second;                     /* the second pass */
    uint32_t prefer;                 /* endpoint to try first, or 0 */
    struct relay_candidate *brief;   /* under way, and not waited for long; NULL: none */
    struct relay_question *question; /* under way */
};

/* Tries the next candidate; ends in relay_conn_dialled(), _exhausted() or _hopeless(), at once or
 * later. conn->reason says why the last one failed. */
void relay_dial_next(struct relay_conn *conn);

/* The candidate just tried once more, then as above. */
void relay_dial_again(struct relay_conn *conn);

/* The candidate just tried, for people: "mx.example.com (192.0.2.1:25)". */
enum { RELAY_DIAL_NAME_SIZE = 320 };
void relay_dial_name(const struct relay_conn *conn, char out[RELAY_DIAL_NAME_SIZE]);

/* Is there another candidate to try? */
bool relay_dial_has_more(const struct relay_conn *conn);

/* No other address of the host just tried is tried any more. */
void relay_dial_leave_host(struct relay_conn *conn);

/* The candidate just tried is avoided for a while. */
void relay_dial_mark(struct relay_conn *conn, bool bad);

/* The socket that connects is writable, or its time is up. */
void relay_dial_connected(struct relay_conn *conn);
void relay_dial_timed_out(struct relay_conn *conn);

void relay_dial_done(struct relay_conn *conn);
