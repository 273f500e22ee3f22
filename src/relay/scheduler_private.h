#pragma once
#include "relay/scheduler.h"

/*
 * What the files of the scheduler share (scheduler.c, grouping.c, scheduler_admin.c). Same rules.
 */

/* ---- groups.c: groups and the lists they are in ---- */

struct relay_group *relay_group_new(struct relay_sched *s);
PT_NODISCARD bool relay_group_add(struct relay_group *g, uint32_t index);

/* Off its list and heap; in no list afterwards. */
void relay_group_unlink(struct relay_sched *s, struct relay_group *g);

/* Into a list of its destination; into the heap as well when deferred. */
void relay_group_link(struct relay_sched *s, struct relay_group *g, enum relay_group_state state,
                      bool in_front);

/* Where it belongs by the message's hold and the time of its next attempt. */
void relay_group_link_by_time(struct relay_sched *s, struct relay_group *g, int64_t now_us);

/* Frees a group that is in no list and not among its item's. */
void relay_group_free(struct relay_sched *s, struct relay_group *g);

/* Makes it one of the item's groups. */
void relay_group_join(struct relay_group *g, struct relay_item *item);

/* Takes it out of its item's groups; it must be in no list. */
void relay_group_leave(struct relay_group *g);

struct relay_item *relay_item_new(struct relay_sched *s, struct spool_message *m);
/* Out of the index, its message released. It must have no groups. */
void relay_item_free(struct relay_sched *s, struct relay_item *item);
/* What its content takes in memory: whole blocks. */
uint64_t relay_item_content_cost(const struct relay_item *item);
void relay_item_uncache(struct relay_sched *s, struct relay_item *item);

/* ---- destination.c ---- */

/* False: memory is short. */
PT_NODISCARD bool relay_dest_table_add(struct relay_dest_table *t, struct relay_dest *d);
void relay_dest_discard(struct relay_dest *d);

/* ---- destination_route.c: the destinations of routes ---- */

/* Found or made, with the limits of the route; NULL when memory is short. `route` NULL: no route
 * fits. `domain` matters for MX and without a route only. */
struct relay_dest *relay_dest_for_route(struct relay_sched *s, const struct settings_route *route,
                                        struct str domain);

/* The same where an administrator has sent the recipient elsewhere, "HOST:PORT": what the route
 * demands is demanded there. */
struct relay_dest *relay_dest_for_redirect(struct relay_sched *s,
                                           const struct settings_route *route, struct str next_hop);

/* ---- suspend.c ---- */

/* A destination is new: is it suspended? */
void relay_suspension_meets(struct relay_sched *s, struct relay_dest *d);
void relay_suspensions_done(struct relay_sched *s);

/* ---- grouping.c: by the routes of today ---- */

/* Behind the last "@"; .p NULL: there is none. */
struct str relay_domain_of(struct str address);

/* Where the routes lead; where a recipient goes. NULL when memory is short. */
struct relay_dest *relay_dest_by_route(struct relay_sched *s, struct str address);
struct relay_dest *relay_dest_of(struct relay_sched *s, const struct spool_message *m,
                                 uint32_t index);

/* Adds groups, in no list yet, for those of the `count` recipients in `indexes` (NULL: all) that
 * are not done. On false nothing is added. */
PT_NODISCARD bool relay_group_recipients(struct relay_sched *s, struct relay_item *item,
                                         const uint32_t *indexes, uint32_t count,
                                         struct relay_group **out);

/* Replaces the group, which is in no list, by groups of today's routes, and links them by time.
 * `mixed`: its recipients are due at different times. */
void relay_group_reroute(struct relay_sched *s, struct relay_group *g, bool mixed, int64_t now_us);

/* ---- gather.c: the recipients of a message taken together ---- */

/* Those groups of the item that `fits` (NULL: all) and are not in delivery, as one group that is;
 * NULL: none is left. A group that cannot be joined for want of memory stays where it is. */
struct relay_group *relay_gather(struct relay_sched *s, struct relay_item *item,
                                 bool (*fits)(const struct relay_group *g));
