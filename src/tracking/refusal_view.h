#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

/*
 * tracking/refusal_view: what is kept of a refusal, and what a reference leads to.
 *
 * Texts are cut at their size, in whole characters. The rule and the list are in words, so that a
 * record can still be read when the rules that made it are gone.
 */

enum { TRACKING_REFUSAL_DAYS = 30 };

struct tracking_refusal {
    uint64_t ref; /* the low 40 bits count */
    int64_t time_us;
    struct net_endpoint client;
    uint64_t revision; /* of the settings that decided; 0: none did */
    uint16_t code;
    bool tls;          /* the session was encrypted */
    char step[40];     /* the rule, or what was short: "connection control", "memory" */
    char list[16];     /* "deny", "permit", "networks", "relay_domains"; "": none */
    char entry[128];   /* of that list; "": none */
    char comment[160]; /* the entry's, as it was then */
    char command[12];  /* "MAIL"; "": the client had only connected */
    char reply[200];   /* its text, with the reference */
    char helo[128];    /* "": not said yet */
    char sender[192];  /* reverse-path; "": null, or none yet: see `command` */
    char recipient[192];
};

/* References that were given out in a span of time, and how many of them were not kept. */
struct tracking_span {
    int64_t from_us, until_us;
    uint64_t given, lost;
};
