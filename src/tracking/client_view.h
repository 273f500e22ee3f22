#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

/*
 * tracking/client_view: what is known of a client that was here lately.
 *
 * One record an address. Names are in lower case; one that is longer than its place is not kept.
 * Of the domains in its envelopes the latest are kept, the latest first.
 */

enum {
    TRACKING_NAME_SIZE = 64,
    TRACKING_SENDERS = 4,
    TRACKING_RECIPIENTS = 8,
    TRACKING_CLIENTS_MAX = 1000000,
    TRACKING_CLIENT_DAYS = 7,
};

struct tracking_client {
    struct net_addr address;
    bool mail;     /* it has tried to begin a transaction, the last time … */
    bool tls;      /* … encrypted */
    uint16_t code; /* of its latest refusal, by `step`; 0: none since its latest message */
    uint8_t sender_count, recipient_count;
    int64_t first_us, last_us;
    uint32_t connections, messages, refusals; /* UINT32_MAX: that or more */
    uint32_t messages_max;                    /* in one connection */
    uint32_t recipients_max;                  /* of one message */
    uint64_t size_max;                        /* octets of one message */
    char step[40];
    char helo[TRACKING_NAME_SIZE];                            /* the latest; "": none was said */
    char senders[TRACKING_SENDERS][TRACKING_NAME_SIZE];       /* domains */
    char recipients[TRACKING_RECIPIENTS][TRACKING_NAME_SIZE]; /* domains, refused ones too */
};
