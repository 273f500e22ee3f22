#pragma once
#include "base/str.h"

/*
 * spool/text: replies of next hops, each kept once, however many recipients got it. A queue full of
 * mail for one destination waits for one reason.
 *
 * Any thread. The octets never change and are not ended by NUL.
 */

/* A reference to the text; .p NULL: it is empty, or memory is short. */
struct str text_get(struct str s);
/* Gives it back; an empty one is accepted. */
void text_put(struct str s);
