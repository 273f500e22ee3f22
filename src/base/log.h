#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

/*
 * base/log: what happened, one JSON object a line.
 *
 * Lines go to STATE/log/postern.log through a thread of their own, so that a slow disk never holds
 * up a loop. Up to 8 MiB may wait; beyond that lines are dropped, counted, and the count is logged.
 * The file is rotated at 64 MiB (postern.log.1 … .7). What log_text() says at WARN and
 * ERROR goes to stderr as well, as plain text. Before log_open() and after log_close() only stderr
 * is used.
 *
 * Use:
 *     struct log_line l;
 *     log_begin(&l, LOG_INFO, "delivered");
 *     log_id(&l, message_id);
 *     log_str(&l, "next_hop", name);
 *     log_end(&l);
 *
 * Octets from a peer may be passed as they are: control characters, quotes and ill-formed UTF-8
 * come out as JSON escapes, so that nobody can forge a line or drive a terminal. Any thread.
 */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_line {
    enum log_level level;
    /* private */
    struct buf *text; /* the thread's own line buffer */
    const char *event;
    bool has_id;
};

PT_NODISCARD enum pt_err log_open(const char *directory, struct pt_fault *fault);

/* Writes what waits, ends the thread. */
void log_close(void);

/* Lines below this are not written; the default is LOG_INFO. */
void log_set_level(enum log_level level);

void log_begin(struct log_line *l, enum log_level level, const char *event);
void log_str(struct log_line *l, const char *key, struct str value);
void log_cstr(struct log_line *l, const char *key, const char *value); /* NULL: left out */
void log_u64(struct log_line *l, const char *key, uint64_t value);
void log_id(struct log_line *l, uint64_t message_id); /* key "id" */
void log_end(struct log_line *l);

/* One line of free text, for what is not about a message or a client: key "text". */
void log_text(enum log_level level, const char *event, const char *fmt, ...) PT_PRINTF(3, 4);

/* Appends `value` as a JSON string in quotes, with the escapes said above. */
void log_json_string(struct buf *out, struct str value);

/*
 * From now on `fn` sees each line too, without its end: on the thread that logs it, one at a time,
 * under the log's lock, so it must be quick and log nothing. `has_id`: it is about a message. NULL:
 * no more, and none is under way when this returns. There is one at most.
 */
void log_tap(void (*fn)(void *ctx, const char *event, bool has_id, struct str line), void *ctx);

/* Lines dropped since the start. */
uint64_t log_dropped(void);

/* Waits until all lines logged before this call are written. For tests and for shutdown. */
void log_flush(void);
