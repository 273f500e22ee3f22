#pragma once
#include "spool/disk.h"
#include "spool/spool.h"

/*
 * spool/check: what is in a spool whose gateway is down. Both change nothing in it, and wait for
 * the disk: for commands.
 */

struct spool_check {
    uint64_t segments;
    uint64_t messages;
    uint64_t octets;  /* of their content */
    uint64_t damaged; /* messages whose content is lost */
    uint64_t reports; /* calls of `tell` */
};

/* Reads everything, content included. `tell` (may be NULL) is called for each damage; `id` 0: not
 * known. OK also when there is damage: see the counts. */
PT_NODISCARD enum pt_err spool_check(const char *directory, struct disk *disk,
                                     void (*tell)(void *ctx, uint64_t id,
                                                  const struct pt_fault *fault),
                                     void *ctx, struct spool_check *out, struct pt_fault *fault);

/* Writes each kept message to TARGET/ID.eml, as it was received, and its envelope as one line of
 * JSON to TARGET/envelopes.jsonl. TARGET is made; a file that is there already is an error. A
 * message whose content is lost is told and passed over. */
PT_NODISCARD enum pt_err spool_export(const char *directory, struct disk *disk, const char *target,
                                      void (*tell)(void *ctx, uint64_t id,
                                                   const struct pt_fault *fault),
                                      void *ctx, struct spool_check *out, struct pt_fault *fault);
