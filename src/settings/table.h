#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/*
 * settings/table: the one table that describes the document. For this room only.
 *
 * A node is a key with the values it may have. check.c walks a document along it, reference.c tells
 * it. What one value alone cannot show stands in rules.c.
 */

enum schema_type { SCHEMA_OBJECT, SCHEMA_INTEGER, SCHEMA_BOOLEAN, SCHEMA_STRING, SCHEMA_LIST };

enum {
    SCHEMA_NULLABLE = 1,    /* null is a value; without a default it means "not given", and an
                               object that is not given stays away */
    SCHEMA_REQUIRED = 2,    /* must be given wherever its object is */
    SCHEMA_ONE_OR_LIST = 4, /* LIST: an element stands for a list of one */
    SCHEMA_HOST_NAME = 8,   /* the default is the name of this host */
    SCHEMA_SECRET = 16,     /* an error never repeats the value */
};

/* A string that has passed has at most so many octets, NUL included. */
#define SCHEMA_TEXT_SIZE 1024

enum schema_verdict {
    SCHEMA_BAD,     /* *note may say why */
    SCHEMA_GOOD,    /* keep it as it is */
    SCHEMA_REPLACE, /* keep `out` instead; a *note is a warning */
};

/* What a string must be. The check leaves *note NULL or sets it to a constant text. */
struct schema_format {
    const char *expect;      /* completes "must be …" */
    const char *json_format; /* JSON Schema "format", or NULL */
    enum schema_verdict (*check)(struct str in, char out[SCHEMA_TEXT_SIZE], const char **note);
};

struct schema_node {
    const char *key; /* NULL: the end of a list of children; "": an element */
    enum schema_type type;
    unsigned flags;
    int64_t min, max;                   /* INTEGER: the value; STRING: octets; LIST: elements */
    const char *const *choices;         /* STRING: these, ended by NULL, … */
    const struct schema_format *format; /* … or what passes this; both NULL: any text */
    const char *fallback;               /* the default as JSON; NULL: none, the key stays away */
    const char *unless; /* the default holds only where this other member is not given */
    const struct schema_node *children; /* OBJECT */
    const struct schema_node *item;     /* LIST */
    const char *shorthand; /* OBJECT: a string stands for an object with this member alone */
    const char *unit;      /* INTEGER, for people */
    const char *summary;   /* what it means, in sentences */
};

/* The document itself. */
extern const struct schema_node schema_root;

/* A list of entries by itself. */
extern const struct schema_node schema_entries;

/* Formats: table_formats.c. */
extern const struct schema_format schema_hostname, schema_domain_pattern, schema_network,
    schema_time, schema_address, schema_host, schema_server, schema_anchor, schema_id, schema_line,
    schema_greeting;
