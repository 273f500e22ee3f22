#pragma once
#include <stdint.h>

/*
 * relay/index: queued messages by ID.
 *
 * A treap whose links are in the items. IDs grow with time, so that new messages go in at the right
 * edge, which stays in the processor's cache however long the queue is; pages of a listing follow
 * the order of IDs. Not thread-safe.
 */
struct relay_item;

void relay_index_insert(struct relay_item **root, struct relay_item *item);
void relay_index_remove(struct relay_item **root, struct relay_item *item); /* must be in it */
struct relay_item *relay_index_find(struct relay_item *root, uint64_t id);

/* The item with the smallest ID above `id`, or NULL. */
struct relay_item *relay_index_after(struct relay_item *root, uint64_t id);

/* The item with the largest ID below `id` (0: below none), or NULL. */
struct relay_item *relay_index_before(struct relay_item *root, uint64_t id);
