#pragma once
#include <stdint.h>

#include "base/str.h"
#include "net/addr.h"

/*
 * console/throttle: how often a password may be tried.
 *
 * Each address (of IPv6 each /64) has some tries at once and then one every twelve seconds; each
 * account the same against all addresses together from which nobody has logged in to it before. So
 * strangers cannot lock its owner out: who comes from a known address, or from this host, meets
 * only the limit of that address, and no limit lasts longer than its interval. A try counts from
 * its beginning, so that many at once are no way around; a good one is given back. The caller holds
 * a lock and gives the time (monotonic).
 */

struct throttle;

enum {
    THROTTLE_ADDRESS_TRIES = 6,
    THROTTLE_ADDRESS_S = 12,
    THROTTLE_ACCOUNT_TRIES = 12,
    THROTTLE_ACCOUNT_S = 6,
    THROTTLE_CODE_TRIES = 5,
    THROTTLE_CODE_S = 60,
};

struct throttle *throttle_new(void); /* NULL when memory is short */
void throttle_free(struct throttle *t);

/* 0: try, and it is counted; otherwise the seconds to wait, and nothing is counted. */
unsigned throttle_try(struct throttle *t, const struct net_addr *from, struct str name,
                      int64_t now_ns);

/* The try says nothing against who made it: the password was right, and something else is still
 * missing. */
void throttle_give_back(struct throttle *t, const struct net_addr *from, struct str name);

/* The same for codes of a second factor, for an account, wherever its owner comes from: to get this
 * far one must know the password. */
unsigned throttle_try_code(struct throttle *t, struct str name, int64_t now_ns);
void throttle_good_code(struct throttle *t, struct str name);

/* The try was good. */
void throttle_good(struct throttle *t, const struct net_addr *from, struct str name);
