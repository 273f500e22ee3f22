#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/addr.h"
#include "net/loop.h"

/*
 * gateway_net: the kernel's network, the event library and the DNS as a simulation.
 *
 * It defines net_loop_…, net_watch_…, net_timer_…, net_stream_connect() and net_resolve() in place
 * of those of src/net. Time stands still while something can run and jumps to the next event
 * otherwise. Octets take their time, in both directions, and come in pieces; a peer that takes
 * nothing fills the window.
 */

enum { LINKS_MAX = 256, TIMERS_MAX = 512, QUESTIONS_MAX = 256, WINDOW = 64 << 10 };

struct packet {
    struct packet *next;
    int64_t at_ns;
    uint8_t kind; /* enum packet_kind */
    uint32_t n;
    char octets[];
};

enum packet_kind { PACKET_OCTETS, PACKET_END, PACKET_RESET };

struct way {
    struct packet *first, *last;
    int64_t last_ns; /* packets do not overtake each other */
};

struct talk; /* gateway_hop.c */

/* One connection. */
struct link {
    bool used;
    unsigned hop;
    bool connecting;
    int64_t decided_ns; /* when the connect ends; INT64_MAX: never */
    int connect_errno;
    struct net_watch *watch;
    bool client_closed;
    int64_t closed_us; /* when, by the monotonic clock; 0: by the end of the process */
    struct way to_hop, to_client;
    struct buf received;
    uint64_t read; /* octets that the client has taken so far */
    bool ended;
    int broken; /* errno */
    uint32_t in_flight;
    bool stalled; /* the next hop takes nothing any more */
    struct talk *talk;
};

struct net_loop {
    unsigned index;
    bool woken; /* callbacks ran: the hooks are due */
    struct mail *first, **last;
    unsigned hook_count;
    struct {
        void (*fn)(void *ctx);
        void *ctx;
    } hooks[8];
};

struct question {
    int64_t at_ns;
    struct net_query *query;
};

struct sim_net {
    int64_t now_ns;
    struct link *links[LINKS_MAX];
    struct net_timer *timers[TIMERS_MAX];
    unsigned timer_count;
    struct question questions[QUESTIONS_MAX];
    unsigned question_count;
    bool dns_fails;
};

/* Runs one callback of some loop that has one, its hooks behind it; false: none has. */
bool sim_net_run_one(void);

/* The moment of the next event; INT64_MAX: there is none. */
int64_t sim_net_next(void);

/* Time goes on to `at_ns`; what is due happens. */
void sim_net_advance(int64_t at_ns);

/* Runs mails and answers questions until there are none: for the end of a process. */
void sim_net_flush(void);

/* Connections that either side holds. */
unsigned sim_net_links(void);

void sim_net_done(void);

/* ---- the next hops' side ---- */

/* Sends, not before `at_ns`. */
void link_send(struct link *l, const char *octets, size_t n, int64_t at_ns);
void link_end(struct link *l, enum packet_kind kind, int64_t at_ns);
bool link_exists(const struct link *l);
/* Everything on its way is lost, and the client's next call fails. */
void link_break(struct link *l);
