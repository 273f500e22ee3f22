#pragma once
#include <stdbool.h>
#include <stdint.h>

/*
 * relay/balance: which of a route's next hops takes the next messages.
 *
 * Those with the lowest order come first. Those with the same order share what there is by weight:
 * smooth weighted round robin over messages. A connection is kept for some messages all the same,
 * so a next hop may be ahead of its share by RELAY_BALANCE_AHEAD of them before it is another's
 * turn. One that failed lately has no share until it is tried again and makes up for nothing then;
 * one that is slower than its share, although it has the connections for it, holds up nobody.
 *
 * Pure; time is passed in, chance only at the beginning.
 */

enum { RELAY_BALANCE_AHEAD = 16, RELAY_BALANCE_MAX = 64 };

struct relay_share {
    uint32_t order, weight;
    int64_t credit;        /* private: how far it is behind its share, in messages times weights */
    int64_t down_until_us; /* it failed lately */
    uint32_t connections;  /* to it now */
};

/* Where each of them begins in the round; `random` is any number. */
void relay_balance_begin(struct relay_share *shares, uint32_t count, uint64_t random);

/* The order in which a new connection tries them, as indexes. */
void relay_balance_rank(const struct relay_share *shares, uint32_t count, int64_t now_us,
                        uint8_t out[RELAY_BALANCE_MAX]);

/* How many messages `hop` may take now; 0: it is another's turn. `limit`: connections that all of
 * them may have. */
uint32_t relay_balance_room(const struct relay_share *shares, uint32_t count, uint32_t hop,
                            uint32_t limit, int64_t now_us);

/* `hop` took so many; negative: gave them back. */
void relay_balance_took(struct relay_share *shares, uint32_t count, uint32_t hop, int32_t messages,
                        int64_t now_us);
