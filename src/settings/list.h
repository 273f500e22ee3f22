#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "net/addr.h"

/*
 * settings/list: the deny or permit list, or the relay domains, as an immutable, reference-counted
 * value.
 *
 * A list may have a million entries, so revisions share it: a list is known by the hash of its
 * content, a document in the store names a long one by that hash, and a revision that leaves it
 * alone holds the same value in memory. An entry takes 24 octets; comment and expiry, which few
 * have, stand apart. Any thread may read; threads hold references.
 *
 * A list is one of networks, or one of names: domain patterns in the form of settings/domain.h.
 * The entries of names have no prefix (family NET_NONE), comment or expiry.
 *
 * For the store a list is cut into chunks of text at places that its own entries determine, so
 * that a list with one entry more shares all its chunks but one with the list before. The hash of a
 * list is that over the hashes of its chunks.
 */

/* Longer lists are not part of a document in the store, only named there. */
#define SETTINGS_LIST_INLINE_MAX 64u
#define SETTINGS_COMMENT_MAX 500u

/* The lists that a document may only name. */
enum settings_list_of {
    SETTINGS_LIST_DENY,
    SETTINGS_LIST_PERMIT,
    SETTINGS_LIST_RELAY_DOMAINS,
    SETTINGS_LISTS,
};

enum { SETTINGS_HASH_SIZE = 32 };

/* SHA-256 */
struct settings_hash {
    uint8_t octets[SETTINGS_HASH_SIZE];
};

struct settings_entry {
    struct net_prefix prefix;
    uint8_t masked; /* IPv4, written with a dotted mask */
    uint32_t note;  /* private: 0, or which note it has */
};

struct settings_list {
    const struct settings_entry *entries;
    uint32_t count;
    struct settings_hash hash;
    struct settings_list_private *private;
    _Atomic uint32_t refs; /* private */
};

struct settings_list *settings_list_ref(const struct settings_list *list);
void settings_list_unref(const struct settings_list *list); /* NULL is accepted */

static inline bool settings_hash_eq(const struct settings_hash *a, const struct settings_hash *b)
{
    return memcmp(a->octets, b->octets, sizeof a->octets) == 0;
}

/* NULL: none. */
const char *settings_list_comment(const struct settings_list *list, uint32_t entry);
int64_t settings_list_expires_us(const struct settings_list *list, uint32_t entry); /* 0: never */

/* The entry in its normal form: "192.0.2.1", "192.0.2.0/24", "192.0.2.0:255.255.255.0". */
#define SETTINGS_ENTRY_SIZE NET_PREFIX_SIZE
void settings_entry_format(const struct settings_entry *entry, char out[SETTINGS_ENTRY_SIZE]);

/* A list of names: the pattern, and which one fits a domain best (settings_domains_find()). */
const char *settings_list_pattern(const struct settings_list *list, uint32_t entry);
uint32_t settings_list_find_domain(const struct settings_list *list, struct str domain);

/* True if every entry has expired by then, as it is for an empty list. */
bool settings_list_all_expired(const struct settings_list *list, int64_t now_us);

/* Octets of memory in use. */
size_t settings_list_memory(const struct settings_list *list);

/* The entries from `from` to before `to` as elements of a JSON array, comma before each but the
 * first of the list. */
void settings_list_write_json(const struct settings_list *list, uint32_t from, uint32_t to,
                              struct buf *out);

/* ---- making one ---- */

struct settings_list_builder {
    struct settings_list *list; /* NULL: memory is short, or nothing was added yet */
    uint32_t cap, note_cap;
    bool failed;
};

/* Room for `count` entries is made at once. */
void settings_list_begin(struct settings_list_builder *b, uint32_t count);

/* An empty comment is none. */
void settings_list_add(struct settings_list_builder *b, const struct net_prefix *prefix,
                       bool masked, struct str comment, int64_t expires_us);

/* A domain pattern. */
void settings_list_add_pattern(struct settings_list_builder *b, struct str pattern);

/* Adds an entry of another list as it is. */
void settings_list_add_from(struct settings_list_builder *b, const struct settings_list *list,
                            uint32_t entry);

/* With one reference; NULL when memory was short. The builder is done with either way. */
struct settings_list *settings_list_end(struct settings_list_builder *b);

/* ---- chunks ---- */

/* Shows each chunk in order; false from `show` ends it. PT_ERR_OK, PT_ERR_NOMEM, or PT_ERR_CLOSED:
 * ended by `show`. */
PT_NODISCARD enum pt_err settings_list_chunks(const struct settings_list *list,
                                              bool (*show)(void *ctx, const struct settings_hash *h,
                                                           struct str text),
                                              void *ctx);

/* Adds a chunk's entries. False: that is no chunk. */
PT_NODISCARD bool settings_list_add_chunk(struct settings_list_builder *b, struct str text);

/* SHA-256 of octets. False: memory is short. */
PT_NODISCARD bool settings_hash_of(struct str octets, struct settings_hash *out);

/* ---- names in documents ---- */

/* "sha256:" and 64 hexadecimal digits. */
#define SETTINGS_LIST_NAME_SIZE 72
void settings_list_name(const struct settings_hash *hash, char out[SETTINGS_LIST_NAME_SIZE]);
PT_NODISCARD bool settings_list_name_parse(struct str name, struct settings_hash *out);
