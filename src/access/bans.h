#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "net/addr.h"

/*
 * access/bans: who is kept out for a while. Lookup and keeping, no verdicts.
 *
 * A ban is for an IPv4 address or the /64 of an IPv6 address (access_client_of() of
 * access/counts.h). Memory is bounded: of ACCESS_BANS_MAX bans those that end soonest give way to
 * new ones, but none that an administrator set. The clock, wall time in microseconds, is passed in.
 * Any thread; while there is no ban a question costs one load. Kept in memory only.
 */

enum { ACCESS_BANS_MAX = 1 << 13 };

enum access_ban_kind {
    ACCESS_BAN_SHADOW,    /* would have been set */
    ACCESS_BAN_AUTOMATIC, /* by too many failures */
    ACCESS_BAN_SET,       /* by an administrator */
};

#define ACCESS_BAN_NOTE 121

struct access_ban {
    struct net_prefix client;
    uint8_t kind; /* enum access_ban_kind */
    int64_t since_us, until_us;
    uint32_t failures;          /* that brought it; 0 where it was set */
    char note[ACCESS_BAN_NOTE]; /* why an administrator set it; "": nothing said */
};

struct access_bans;

struct access_bans *access_bans_new(uint64_t seed); /* NULL: memory is short */
void access_bans_free(struct access_bans *b);       /* NULL is accepted */

/* The ban that this client is under now; false: none. */
bool access_bans_find(struct access_bans *b, const struct net_addr *client, int64_t now_us,
                      struct access_ban *out);

/* Sets or changes one. What an administrator set is not changed by the other kinds, nor a real one
 * by a shadow, nor made shorter by another of its kind that comes by itself. PT_ERR_NOSPACE: all
 * places that it could have are an administrator's. */
PT_NODISCARD enum pt_err access_bans_set(struct access_bans *b, const struct access_ban *ban,
                                         int64_t now_us);

/* False: there was none. */
PT_NODISCARD bool access_bans_lift(struct access_bans *b, const struct net_addr *client,
                                   int64_t now_us);

/* Up to `max` of those that last are written to `out`; returns how many there are. */
uint32_t access_bans_list(struct access_bans *b, int64_t now_us, struct access_ban *out,
                          uint32_t max);
