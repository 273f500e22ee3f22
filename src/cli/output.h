#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * cli/output: what reaches a terminal.
 *
 * Addresses, replies and log lines come from strangers. Control characters (C0, DEL, C1), marks
 * that turn the direction of text, and what is no UTF-8 come out as \xNN, so that no message can
 * drive a terminal or forge a line.
 */

void out_safe(FILE *out, struct str text);
void out_safe_add(struct buf *out, struct str text);

/* JSON on one line, or indented for a person; ends with a newline. */
void out_json(const json_t *value, bool pretty);

/* On one line and without the newline. */
void out_json_bare(const json_t *value);

/* "950", "4.2K", "1.3G". */
#define OUT_SIZE 16
void out_size(uint64_t octets, char text[OUT_SIZE]);

/* "45 s", "12 min", "3 h", "2 d". */
void out_age(int64_t seconds, char text[OUT_SIZE]);

/* RFC 3339 in UTC to microseconds since 1970; false when it is none. */
bool out_parse_time(const char *text, int64_t *out_us);

/* "2026-11-24 08:34:34Z" from RFC 3339 text; "-" from NULL. */
void out_time(const char *rfc3339, char text[32]);

/* ---- tables: cells are gathered, then printed with columns as wide as they must be ---- */

enum { OUT_COLUMNS_MAX = 8 };

struct out_table {
    unsigned columns;
    unsigned right;   /* bits: columns aligned to the right */
    struct buf cells; /* private: safe text, NUL after each */
    size_t count;
    unsigned width[OUT_COLUMNS_MAX];
};

/* `titles` has `columns` entries. */
void out_table_init(struct out_table *t, const char *const *titles, unsigned columns,
                    unsigned right);
void out_table_add(struct out_table *t, struct str cell);
void out_table_addf(struct out_table *t, const char *fmt, ...) PT_PRINTF(2, 3);

/* Prints and frees. False when memory was short. */
bool out_table_print(struct out_table *t, FILE *out);

/* Frees it unprinted; a zeroed or printed one may come again. */
void out_table_done(struct out_table *t);
