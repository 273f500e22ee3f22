#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * settings/domain: which of many domain patterns fits a domain best.
 *
 * A pattern is "example.com", "*.example.com" for all below it at any depth but not itself, or
 * "*". The most specific one wins: the name itself, then the longest "*.", then "*".
 * Immutable once made; any thread. A lookup allocates nothing.
 */

struct settings_domains;

#define SETTINGS_DOMAIN_NONE UINT32_MAX

/* Patterns are in the form of settings_domain_normalise(); they are borrowed, and must outlive the
 * set. Of equal patterns the first counts. NULL: memory is short. */
struct settings_domains *settings_domains_new(const char *const *patterns, uint32_t count);
void settings_domains_free(struct settings_domains *d); /* NULL is accepted */

/* The index of exactly that pattern, the first of equal ones, or SETTINGS_DOMAIN_NONE. */
uint32_t settings_domains_index(const struct settings_domains *d, const char *pattern);

/* The index of the best pattern, or SETTINGS_DOMAIN_NONE. `domain` is normalised; whatever is no
 * domain name (an address literal) is looked up as STR_NULL and fits "*" alone. */
uint32_t settings_domains_find(const struct settings_domains *d, struct str domain);
