#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "net/addr.h"

/*
 * gateway/live_view: the sessions of now, for an administrator.
 *
 * The loops are asked by mail and answer in slices between their other work; nothing stops. What
 * comes back is not one moment of all loops, but each session as its loop saw it. Any thread but a
 * loop's: these functions wait for the loops, which must be running.
 */

struct gateway;

struct gateway_live {
    uint64_t id; /* ascending in time; none comes again after a restart */
    struct net_endpoint client;
    int64_t since_us;  /* wall time */
    const char *state; /* what it is doing, in words; constant text */
    const char *ends;  /* why it will end with its next command; NULL: it goes on */
    char helo[256];    /* "": not said yet */
    bool esmtp;
    char tls_version[16], tls_cipher[48]; /* "": in clear */
    char tls_subject[160];                /* of the client's certificate; "": it showed none */
    char tls_unverified[120];             /* why that one is not to be trusted; "": it is */
    uint32_t messages;                    /* accepted */
    uint64_t octets_in, octets_out;
    uint64_t content; /* octets of the message under way */
    uint32_t idle_seconds;
};

struct gateway_live_filter {
    struct net_prefix address; /* family NET_NONE: all */
    uint64_t after;            /* sessions with a larger ID, ascending */
};

/* Up to `max` sessions that match are written to `out`; `*out_count` is how many, `*out_total` how
 * many match whatever `after` says. */
PT_NODISCARD enum pt_err gateway_live_list(struct gateway *g,
                                           const struct gateway_live_filter *filter,
                                           struct gateway_live *out, uint32_t max,
                                           uint32_t *out_count, uint64_t *out_total);

/* PT_ERR_NOTFOUND: there is no such session (any more). */
PT_NODISCARD enum pt_err gateway_live_show(struct gateway *g, uint64_t id,
                                           struct gateway_live *out);

/* See session_disconnect(); `*out_gone`: it is gone, else it ends with its next command. */
PT_NODISCARD enum pt_err gateway_live_disconnect(struct gateway *g, uint64_t id, bool now,
                                                 bool *out_gone);
