#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "spool/spool.h"

/*
 * spool/format: docs/spool-format.md as functions on octets. No I/O, no state.
 *
 * Encoders write where the caller made sure that there is room; decoders take any octets whatever
 * and say false when they are not what they should be.
 */

#define FORMAT_PAGE 4096u
#define FORMAT_DATA 8192u /* where the first batch begins */
#define FORMAT_FRAME_SIZE 40u
#define FORMAT_COMMIT_META 16u
#define FORMAT_COMMIT_SIZE (FORMAT_FRAME_SIZE + FORMAT_COMMIT_META)
#define FORMAT_HEADER_SIZE 64u
#define FORMAT_TRAILER_SIZE 64u
#define FORMAT_ENTRY_SIZE 24u
#define FORMAT_SEAL_ENTRY 16u
#define FORMAT_PIECE 65536u /* of a large file, each with a CRC of its own */
#define FORMAT_ID_MARGIN (UINT64_C(1) << 20)
#define FORMAT_SEGMENT_MIN (16u * FORMAT_PAGE)
#define FORMAT_SEGMENT_MAX (UINT64_C(1) << 34) /* offsets / 8 fit in 32 bits */

enum frame_type {
    FRAME_MESSAGE = 1,
    FRAME_OUTCOME = 2,
    FRAME_HOLD = 3,
    FRAME_RELEASE = 4,
    FRAME_ROUTE = 5,
    FRAME_DELETE = 6,
    FRAME_DONE = 7,
    FRAME_COMMIT = 8,
    FRAME_SEAL = 9,
};
enum { FRAME_MERGED = 1 };

/* What ties the frames of one epoch to their segment. */
struct format_keys {
    uint32_t tag;
    uint32_t head; /* start value for the CRCs of headers */
    uint32_t body;
};

struct format_header {
    bool in_use;
    uint64_t epoch;
    struct format_keys keys;
    uint64_t size;
    uint64_t id_mark;
};

struct format_frame {
    uint32_t meta;
    uint32_t content;
    uint64_t id;
    uint32_t page; /* on which its batch begins */
    uint16_t index;
    uint8_t type;
    uint8_t flags;
    uint32_t meta_crc;
    uint32_t content_crc;
    uint32_t head_crc;
};

struct format_trailer {
    uint64_t epoch;
    uint64_t end;
    uint64_t start;
    uint32_t count;
    uint32_t entries_crc;
    struct format_keys keys;
    uint64_t id_mark;
};

struct format_entry {
    uint64_t id;
    uint64_t offset;
    uint32_t meta;
    uint32_t content;
    uint8_t type;
    uint8_t flags;
};

struct format_commit {
    uint32_t count;
    uint32_t crc;
    uint64_t durable;
};

enum format_header_state { FORMAT_HEADER_OK, FORMAT_HEADER_BAD, FORMAT_HEADER_OTHER_VERSION };

static inline uint64_t format_align(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

/* What a frame takes, zeros behind it included. */
static inline uint64_t format_extent(uint32_t meta, uint32_t content)
{
    return format_align(FORMAT_FRAME_SIZE + (uint64_t)meta + content, 8);
}

/* What a footer takes at the end of a segment. */
static inline uint64_t format_footer_size(uint64_t entries)
{
    return format_align(entries * FORMAT_ENTRY_SIZE + FORMAT_TRAILER_SIZE, FORMAT_PAGE);
}

void format_put32(char *p, uint32_t v);
void format_put64(char *p, uint64_t v);
uint32_t format_get32(const char *p);
uint64_t format_get64(const char *p);

void format_header_write(char out[FORMAT_HEADER_SIZE], const struct format_header *h);
enum format_header_state format_header_read(const char in[FORMAT_HEADER_SIZE],
                                            struct format_header *out);

/* Sets f->head_crc too. */
void format_frame_write(char out[FORMAT_FRAME_SIZE], struct format_frame *f,
                        const struct format_keys *keys);
bool format_frame_read(const char in[FORMAT_FRAME_SIZE], struct format_frame *out,
                       const struct format_keys *keys);

void format_trailer_write(char out[FORMAT_TRAILER_SIZE], const struct format_trailer *t);
bool format_trailer_read(const char in[FORMAT_TRAILER_SIZE], struct format_trailer *out);

void format_entry_write(char out[FORMAT_ENTRY_SIZE], const struct format_entry *e);
void format_entry_read(const char in[FORMAT_ENTRY_SIZE], struct format_entry *out);

void format_commit_write(char out[FORMAT_COMMIT_META], const struct format_commit *c);
void format_commit_read(const char in[FORMAT_COMMIT_META], struct format_commit *out);

/* ---- envelopes and outcomes ---- */

/* A recipient's state as the log has it. */
struct format_state {
    uint8_t state;
    uint16_t code;
    uint32_t attempts;
    int64_t next_attempt_us;
    struct str reply;
    bool delay_told;
    bool settling; /* not in the log: the batch under way makes it final */
};

/* What an envelope says beyond the message's own fields. */
struct format_envelope {
    uint64_t generation;
    uint64_t file_id; /* 0: the content follows */
    uint32_t file_crc;
    uint32_t flags; /* enum spool_flags, as the log has them */
};

/* Octets that suffice for the envelope of `m`; with `states` when it is merged. */
uint64_t format_envelope_bound(const struct spool_message *m, const struct format_state *states);
/* Returns where it ended. */
char *format_envelope_write(char *out, const struct spool_message *m,
                            const struct format_envelope *e, const struct format_state *states);

/* Fills a new message with what the octets say, from memory of its own; the ID is the caller's.
 * INVALID: the octets are not an envelope. NOMEM. */
PT_NODISCARD enum pt_err format_envelope_read(struct str in, bool merged, struct spool_message *m,
                                              struct format_envelope *out);

uint64_t format_outcomes_bound(const struct spool_outcome *outcomes, uint32_t count);
char *format_outcomes_write(char *out, const struct spool_outcome *outcomes, uint32_t count);

uint64_t format_routes_bound(const struct spool_route *routes, uint32_t count);
char *format_routes_write(char *out, const struct spool_route *routes, uint32_t count);

/* The same of those of `count` recipients that are sent anywhere; nothing at all if none is, or
 * `next_hops` is NULL. */
uint64_t format_next_hops_bound(const struct str *next_hops, uint32_t count);
char *format_next_hops_write(char *out, const struct str *next_hops, uint32_t count);

/* Reads one after the other; false at the end or when the octets are wrong (`bad`). */
struct format_outcome_reader {
    struct str in;
    uint64_t left;
    bool bad;
};
void format_outcomes_begin(struct format_outcome_reader *r, struct str in);
bool format_outcomes_next(struct format_outcome_reader *r, struct spool_outcome *out);
bool format_routes_next(struct format_outcome_reader *r, struct spool_route *out);
