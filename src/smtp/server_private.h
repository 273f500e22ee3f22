#pragma once
#include "smtp/command.h"
#include "smtp/server.h"

/*
 * smtp/server_private: what the files of the server machine share.
 *
 *   server.c          states, the feed loop, answers, the end of a session
 *   server_line.c     octets to command lines
 *   server_command.c  what each command does
 *   server_content.c  DATA and BDAT
 */

/* X(state, want, may follow, doing). A state that wants a verdict, a handshake or the close is left
 * only by the driver's answer. */
#define SMTP_SERVER_STATES(X)                                                                      \
    X(NEW, MORE, B(COMMAND) | B(CLOSED), "before the greeting")                                    \
    X(COMMAND, MORE,                                                                               \
      B(ASK_HELO) | B(ASK_MAIL) | B(ASK_RCPT) | B(ASK_DATA) | B(CHUNK) | B(DROP_CHUNK) | B(TLS) |  \
          B(CLOSED),                                                                               \
      "waiting for a command")                                                                     \
    X(ASK_HELO, HELO, B(COMMAND) | B(CLOSED), "deciding on HELO")                                  \
    X(ASK_MAIL, MAIL, B(COMMAND) | B(CLOSED), "deciding on MAIL")                                  \
    X(ASK_RCPT, RCPT, B(COMMAND) | B(CLOSED), "deciding on RCPT")                                  \
    X(ASK_DATA, DATA, B(CONTENT) | B(CHUNK) | B(DROP_CHUNK) | B(COMMAND) | B(CLOSED),              \
      "preparing for content")                                                                     \
    X(CONTENT, MORE, B(DROP_CONTENT) | B(ASK_COMMIT) | B(CLOSED), "receiving content")             \
    X(CHUNK, MORE, B(COMMAND) | B(DROP_CHUNK) | B(ASK_COMMIT) | B(CLOSED), "receiving a chunk")    \
    X(DROP_CONTENT, MORE, B(COMMAND) | B(CLOSED), "dropping content")                              \
    X(DROP_CHUNK, MORE, B(COMMAND) | B(CLOSED), "dropping a chunk")                                \
    X(ASK_COMMIT, COMMIT, B(COMMAND) | B(CLOSED), "storing a message")                             \
    X(TLS, TLS, B(COMMAND) | B(CLOSED), "starting TLS")                                            \
    X(CLOSED, CLOSE, 0, "closed")

enum state {
#define X(state, want, follow, doing) STATE_##state,
    SMTP_SERVER_STATES(X)
#undef X
};

/* One call of smtp_server_feed(): what is left to read, where replies go, what will be returned. */
struct turn {
    struct str in;
    struct buf *out;
    struct str content; /* set by content states: to be returned now */
};

/* server.c */
void smtp_server_enter(struct smtp_server *s, enum state state);

/* Ends the transaction, if one is open: by its message, or told to the driver as `reset`. */
void smtp_server_end_transaction(struct smtp_server *s);
void smtp_server_drop_transaction(struct smtp_server *s);

/* A reply and the end of the session. */
void smtp_server_close(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply);

/* Writes a reply; one that refuses by a limit gets its tail. */
void smtp_server_say(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply);

/* Counts an error of the client's. True: it was one too many, and the session is over. */
bool smtp_server_count_error(struct smtp_server *s, struct buf *out);

/* Counts it, and replies unless the session is over. */
void smtp_server_mistake(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply);

/* Frees the line, or what else is held. */
void smtp_server_release(struct smtp_server *s);

/* server_line.c: takes octets up to and with the next line end from t->in. True: `out_line` is a
 * command line without its CRLF, in the input or held. False: all input is taken or the session is
 * over. */
bool smtp_server_take_line(struct smtp_server *s, struct turn *t, struct str *out_line);

/* TLS is required and not there. */
static inline bool smtp_server_needs_tls(const struct smtp_server *s)
{
    return s->config->requires_tls && !s->tls;
}

/* What whoever comes without it is told. */
static inline const struct smtp_reply *smtp_server_tls_reply(const struct smtp_server *s)
{
    return s->config->offers_tls ? &smtp_reply_need_tls : &smtp_reply_tls_lacking;
}

/* server_command.c */
void smtp_server_run(struct smtp_server *s, struct turn *t, struct str line);
void smtp_server_write_hello(struct smtp_server *s, struct buf *out);

/* server_content.c: each takes from t->in as the state says, until it is empty, the state is left
 * or t->content is set. */
void smtp_server_read_content(struct smtp_server *s, struct turn *t);
void smtp_server_read_chunk(struct smtp_server *s, struct turn *t);
void smtp_server_drop_content(struct smtp_server *s, struct turn *t);
void smtp_server_drop_chunk(struct smtp_server *s, struct turn *t);

/* BDAT with a size that was understood: the chunk comes whatever is thought of it. */
void smtp_server_begin_chunk(struct smtp_server *s, uint64_t size, bool last);
void smtp_server_refuse_chunk(struct smtp_server *s, uint64_t size, const struct smtp_reply *reply);

/* The driver's answer to DATA. */
void smtp_server_data_answered(struct smtp_server *s, struct buf *out,
                               const struct smtp_reply *reply);
