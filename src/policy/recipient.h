#pragma once
#include <stdbool.h>
#include <stdint.h>

/*
 * policy/recipient: what a recipient's next hop says about it, as a fact (policy_facts.answer).
 */

enum policy_recipient_said {
    POLICY_RECIPIENT_TAKEN = 1,
    POLICY_RECIPIENT_REFUSED, /* for good */
    POLICY_RECIPIENT_UNTOLD,  /* it did not answer, not now, or not about the recipient */
};

enum { POLICY_RECIPIENT_WORDS = 256 };

struct policy_recipient {
    uint8_t said;    /* enum policy_recipient_said */
    bool remembered; /* from an earlier question */
    uint16_t code;   /* the next hop's; 0: none */
    /* What the next hop said, one line of UTF-8 without control characters; untold: why. */
    char words[POLICY_RECIPIENT_WORDS];
};
