#pragma once
#include "spool/format.h"
#include "spool/spool.h"

/*
 * spool/message: what the rooms' other files need of message objects beyond spool.h.
 */

enum spool_life {
    LIFE_NEW,     /* not in the log */
    LIFE_WRITING, /* in the batch under way */
    LIFE_KEPT,    /* the log has it */
    LIFE_LEAVING, /* kept; its end is in the batch under way */
    LIFE_GONE,    /* done with, or refused */
};

/* What the log says of the recipients, once it has said something that did not end the message.
 * The replies are texts (spool/text.h). */
struct spool_states {
    uint32_t count;
    struct str *next_hops; /* texts, as spool_message.next_hops; NULL: all empty */
    struct format_state of[];
};

/* Memory of just this size, aligned for anything, freed with the message. NULL when memory is
 * short. */
char *spool_message_memory(struct spool_message *m, uint64_t n);

/* The states of a kept message, all queued when nothing was said yet. NULL when memory is
 * short. */
struct spool_states *spool_states_get(struct spool_message *m);
/* Takes over one outcome. False when memory is short: then the reply is empty. */
bool spool_states_set(struct spool_states *s, const struct spool_outcome *o);
/* Room for where they are sent. False when memory is short. */
PT_NODISCARD bool spool_states_make_routes(struct spool_states *s);
/* Takes over one such, for which there is room. */
void spool_states_route(struct spool_states *s, const struct spool_route *r);
void spool_states_free(struct spool_states *s);

static inline bool spool_state_is_final(uint8_t state)
{
    return state == SPOOL_DELIVERED || state == SPOOL_FAILED;
}
