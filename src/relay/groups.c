#include <stdlib.h>
#include <string.h>

#include "relay/index.h"
#include "relay/scheduler_private.h"

/* Freed groups and items that are kept for the next message, so that a gateway in its stride
 * allocates nothing here. */
enum { KEEP_FREE = 4096 };

struct relay_group *relay_group_new(struct relay_sched *s)
{
    struct relay_group *g = s->free_groups;
    uint64_t entries = 2u * (uint64_t)s->dests.count + 1u; /* each has a rest and a pace */

    for (unsigned i = 0; i < RELAY_GROUP_STATES; i++)
        entries += s->groups[i];
    /* Room in the heap for every group and destination there is: deferring cannot fail. Groups
     * made but not linked yet are few; the margin covers a message with many of them. */
    if (entries > UINT32_MAX / 4 || !due_heap_reserve(&s->due, (uint32_t)entries + s->unlinked + 1))
        return NULL;
    if (g) {
        s->free_groups = g->next;
        s->free_group_count--;
    } else {
        g = malloc(sizeof *g);
        if (!g)
            return NULL;
    }
    *g = (struct relay_group){ .state = RELAY_GROUP_STATES };
    g->indexes = g->inline_indexes;
    due_init(&g->due, RELAY_DUE_GROUP);
    s->unlinked++;
    return g;
}

/* Room doubles each time the count reaches a power of two. */
bool relay_group_add(struct relay_group *g, uint32_t index)
{
    uint32_t n = g->count;

    if (n >= PT_ARRAY_LEN(g->inline_indexes) && (n & (n - 1)) == 0) {
        bool in_group = g->indexes == g->inline_indexes;
        uint32_t *more = realloc(in_group ? NULL : g->indexes, 2u * n * sizeof *more);

        if (!more)
            return false;
        if (in_group)
            memcpy(more, g->inline_indexes, sizeof g->inline_indexes);
        g->indexes = more;
    }
    g->indexes[g->count++] = index;
    return true;
}

void relay_group_free(struct relay_sched *s, struct relay_group *g)
{
    pt_assert(g->state == RELAY_GROUP_STATES && !due_waits(&g->due));
    s->unlinked--;
    if (g->indexes != g->inline_indexes)
        free(g->indexes);
    if (s->free_group_count >= KEEP_FREE) {
        free(g);
        return;
    }
    g->next = s->free_groups;
    s->free_groups = g;
    s->free_group_count++;
}

void relay_group_join(struct relay_group *g, struct relay_item *item)
{
    g->sibling = item->groups;
    g->sibling_prev = NULL;
    if (item->groups)
        item->groups->sibling_prev = g;
    item->groups = g;
}

void relay_group_leave(struct relay_group *g)
{
    *(g->sibling_prev ? &g->sibling_prev->sibling : &g->item->groups) = g->sibling;
    if (g->sibling)
        g->sibling->sibling_prev = g->sibling_prev;
    g->sibling = g->sibling_prev = NULL;
}

/* ---- lists ---- */

static struct relay_group_list *list_of(const struct relay_group *g, enum relay_group_state state)
{
    if (state == RELAY_GROUP_READY && g->big)
        return &g->dest->ready_big;
    if (state == RELAY_GROUP_DEFERRED && g->unreachable)
        return &g->dest->unreachable;
    return &g->dest->lists[state];
}

void relay_group_unlink(struct relay_sched *s, struct relay_group *g)
{
    struct relay_group_list *list = list_of(g, g->state);

    *(g->prev ? &g->prev->next : &list->first) = g->next;
    *(g->next ? &g->next->prev : &list->last) = g->prev;
    list->count--;
    s->groups[g->state]--;
    s->unlinked++;
    g->next = g->prev = NULL;
    if (g->state == RELAY_GROUP_DEFERRED)
        due_remove(&s->due, &g->due);
    if (g->state == RELAY_GROUP_BUSY) {
        g->item->busy--;
        g->dest->big_busy -= g->big;
    }
    g->state = RELAY_GROUP_STATES;
    relay_dest_refresh(&s->dests, g->dest);
}

void relay_group_link(struct relay_sched *s, struct relay_group *g, enum relay_group_state state,
                      bool in_front)
{
    struct relay_group_list *list = list_of(g, state);

    if (in_front) {
        g->prev = NULL;
        g->next = list->first;
        *(list->first ? &list->first->prev : &list->last) = g;
        list->first = g;
    } else {
        g->next = NULL;
        g->prev = list->last;
        *(list->last ? &list->last->next : &list->first) = g;
        list->last = g;
    }
    list->count++;
    s->groups[state]++;
    s->unlinked--;
    g->state = (uint8_t)state;
    if (state == RELAY_GROUP_DEFERRED)
        due_push(&s->due, &g->due);
    if (state == RELAY_GROUP_BUSY) {
        g->item->busy++;
        g->dest->big_busy += g->big;
    }
    relay_dest_refresh(&s->dests, g->dest);
}

void relay_group_link_by_time(struct relay_sched *s, struct relay_group *g, int64_t now_us)
{
    /* Further ahead than any plan of ours reaches: another clock has said so. */
    if (g->due.at_us > now_us && g->due.at_us - now_us > 2 * s->retry.ceiling_us)
        g->due.at_us = now_us;
    if (g->item->message->flags & SPOOL_HELD)
        relay_group_link(s, g, RELAY_GROUP_HELD, false);
    else if (g->due.at_us > now_us)
        relay_group_link(s, g, RELAY_GROUP_DEFERRED, false);
    else
        relay_group_link(s, g, RELAY_GROUP_READY, false);
}

/* ---- items ---- */

struct relay_item *relay_item_new(struct relay_sched *s, struct spool_message *m)
{
    struct relay_item *item = s->free_items;

    if (item) {
        s->free_items = item->left;
        s->free_item_count--;
    } else {
        item = malloc(sizeof *item);
        if (!item)
            return NULL;
    }
    *item = (struct relay_item){ .id = m->id, .message = spool_message_ref(m) };
    relay_index_insert(&s->index, item);
    s->messages++;
    return item;
}

uint64_t relay_item_content_cost(const struct relay_item *item)
{
    return (item->message->size + BLOCK_ROOM - 1) / BLOCK_ROOM * BLOCK_SIZE;
}

void relay_item_uncache(struct relay_sched *s, struct relay_item *item)
{
    if (!item->counted)
        return;
    pt_assert(!item->busy);
    item->counted = false;
    s->cached -= relay_item_content_cost(item);
    spool_message_uncache(item->message);
}

void relay_item_free(struct relay_sched *s, struct relay_item *item)
{
    pt_assert(!item->groups && !item->busy);
    relay_index_remove(&s->index, item);
    s->messages--;
    if (item->counted)
        s->cached -= relay_item_content_cost(item);
    spool_message_unref(item->message);
    if (s->free_item_count >= KEEP_FREE) {
        free(item);
        return;
    }
    item->left = s->free_items;
    s->free_items = item;
    s->free_item_count++;
}
