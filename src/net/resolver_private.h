#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unbound.h>

#include "base/rng.h"
#include "net/exchangers.h"
#include "net/probe.h"
#include "net/resolver.h"

/*
 * Shared by the files of the resolver: its thread (resolver.c), what a query becomes there
 * (lookup.c) and what it asks through (resolver_context.c). All of it belongs to the thread.
 */

/* A configuration that is asked through, with its cache. */
struct net_context {
    struct net_context *next;
    struct ub_ctx *ub;
    unsigned pending; /* lookups under way */
    uint32_t limit_ms;
    struct net_endpoint servers[NET_SERVERS_MAX];
    unsigned server_count; /* 0: asked from the root */
    bool of_system;        /* they stand in resolv.conf, which was `seen` so */
    struct stat seen;
    char *trust_anchor; /* as configured */
};

PT_NODISCARD enum pt_err net_context_new(struct net_context **out,
                                         const struct net_resolver_config *config,
                                         struct pt_fault *fault);

/* One for the same configuration, without what the old one remembers. NULL: it cannot be had. */
struct net_context *net_context_again(const struct net_context *c);

/* Were the servers of the system changed since? */
bool net_context_is_outdated(const struct net_context *c);

/* Waits for its thread to end. NULL is accepted. */
void net_context_free(struct net_context *c);

/* One question of a lookup to the DNS. */
struct net_question {
    struct net_lookup *lookup;
    int id; /* by which it is given up */
    bool open;
    unsigned host; /* whose address is asked for */
    int type;
};

struct net_lookup {
    struct net_lookup *prev, *next; /* of the resolver's list */
    struct net_resolver *resolver;
    struct net_query *query;
    struct net_context *context;
    int64_t until_ns; /* given up then */
    bool enough;      /* NET_QUERY_MAIL: there are MX records */
    bool hurried;     /* a host has an address: the others have not much time */
    unsigned open;    /* questions under way */
    unsigned question_count;
    struct net_question questions[2 * NET_MX_MAX];
    struct net_exchangers hosts;
};

struct net_resolver {
    struct mailbox mailbox;
    pthread_t thread;
    struct rng rng;
    struct net_context *contexts; /* the first is the current one */
    struct net_lookup *lookups;   /* under way */
    unsigned lookup_count;
    struct net_query *first, *last; /* those that wait for their turn */
    _Atomic bool stop;

    struct net_probe probe;
    int64_t look_ns;    /* when a round of it begins; INT64_MAX: not */
    int64_t looked_ns;  /* when the last one ended */
    int64_t checked_ns; /* when resolv.conf was last looked at */
    pthread_mutex_t health_lock;
    struct net_resolver_health health;
};

/* A new context takes over from the current one, for the same configuration. */
void net_resolver_renew(struct net_resolver *r);

/* A query of the current context has ended. */
void net_health_ended(struct net_resolver *r, const struct net_query *q, enum pt_err result);

/* Does what is due. */
void net_health_step(struct net_resolver *r);

/* The current context is another one. */
void net_health_of_new_context(struct net_resolver *r);

/* Begins what `q` asks, through the current context; ends in net_query_answer(), at once or later.
 */
void net_lookup_start(struct net_resolver *r, struct net_query *q);

/* It took too long: ends with what is known. */
void net_lookup_give_up(struct net_lookup *l);

/* Hands `q` back to its owner. */
void net_query_answer(struct net_query *q, enum pt_err result);
