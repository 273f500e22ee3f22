#pragma once
#include <stdint.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * base/msgid: the ID of a message as people see it.
 *
 * Inside it is a 64-bit number, given out by the spool and never used twice. Outside it is eleven
 * characters of Crockford's base 32 (digits and capital letters without I, L, O, U), which sort as
 * the numbers do. Numbers from 2^55 on do not occur (the year 3111, see spool/).
 */
#define MSGID_SIZE 12 /* with the NUL */

void msgid_format(uint64_t id, char out[MSGID_SIZE]);

/* Accepts small letters, and I, L for 1 and O for 0 as a person may copy them. */
PT_NODISCARD bool msgid_parse(struct str text, uint64_t *out);
