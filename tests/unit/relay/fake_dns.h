#pragma once
#include "net/resolver.h"

/*
 * A resolver that knows what it is told, in place of the thread that asks the DNS. Answers come in
 * the next turn of the loop. One at a time.
 */
struct fake_answer {
    enum net_query_kind kind;
    const char *name;
    enum pt_err result;
    bool null_mx;
    const char *reason;
    struct net_endpoint targets[4]; /* ports are not looked at */
    const char *hosts[4];
    uint16_t priorities[4];
    uint32_t target_count;
};

extern struct fake_answer fake_dns[8];
extern uint32_t fake_dns_count, fake_dns_questions;

/* While set, an answer is kept back (one), until it is posted by hand. */
extern bool fake_dns_holds;
extern struct net_query *fake_dns_held;

#define FAKE_RESOLVER ((struct net_resolver *)(void *)fake_dns)
