#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "gateway/patience.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/stream.h"
#include "policy/policy.h"
#include "smtp/server.h"

/*
 * gateway/session: one client's connection. Within the room only; the loop's thread.
 *
 * An idle session keeps no buffer: input is read into the loop's, output is written from the
 * loop's. Only what could not be used at once (commands behind a commit, replies to a client that
 * does not read) is kept in memory of its own until it can be.
 */

struct gateway_loop;
struct asking;
struct transaction;
struct secure;

enum session_phase {
    SESSION_OPEN,       /* reads and answers */
    SESSION_COMMITTING, /* the spool has its message; input is kept, not used */
    SESSION_ASKING,     /* MAIL waits for the DNS, RCPT for the next hop; the same */
    SESSION_BEHIND,     /* the disk is behind, or memory short: not reading */
    SESSION_SECURING,   /* 220 is on its way out, or the TLS handshake goes on elsewhere */
    SESSION_CLOSING,    /* the last reply is on its way out */
};

/* Why it is to end with its next command; the later ones prevail. */
enum session_ending {
    SESSION_GOES_ON,
    SESSION_NOT_PERMITTED, /* by rules of now; taken back when they change again */
    SESSION_DISCONNECTED,  /* by an administrator */
    SESSION_SHUT_DOWN,
};

/* The last words to a client that is not permitted any more. */
struct session_farewell {
    struct smtp_reply reply;
    char text[POLICY_TEXT_MAX];
};

struct session {
    struct net_watch watch;
    struct net_stream stream;
    struct gateway_loop *loop;
    struct session *prev, *next;
    struct smtp_server smtp;
    struct transaction *transaction; /* NULL: none */
    struct secure *secure;           /* while SESSION_SECURING */
    struct asking *asking;           /* while SESSION_ASKING */
    char *kept;                      /* input not used yet */
    struct buf *unsent;              /* replies the socket did not take */
    struct net_endpoint client;
    struct session_farewell *farewell; /* NULL unless SESSION_NOT_PERMITTED */
    const char *how;                   /* it ended, for the log; NULL: nothing special */
    uint64_t id;                       /* ascending in time, not used again after a restart */
    uint64_t octets_in, octets_out;
    uint64_t data; /* octets of content so far */
    uint32_t kept_n;
    uint32_t messages; /* accepted */
    int64_t started_ns;
    struct patience patience;
    uint8_t phase;   /* enum session_phase */
    uint8_t ending;  /* enum session_ending */
    uint8_t counted; /* for limits_ended() */
    bool lost;       /* the connection broke, or ended within a transaction */
    bool known;      /* the name in HELO is in the DNS */
    bool no_more;    /* the client has closed its side; what it sent before is still answered */
};

/* A client that policy has let in: greets it, with `tls` after the handshake. Takes the socket.
 * `counted`: as limits_admit() gave it. */
void session_start(struct gateway_loop *l, int fd, const struct net_endpoint *peer, bool tls,
                   uint8_t counted);

/* TLS stands, or does not: then the session ends. */
void session_secured(struct session *s, const struct pt_fault *fault);

/* Closes at once, whatever is under way. The session is gone afterwards. */
void session_close(struct session *s);

/* The spool has answered for its message. */
void session_committed(struct session *s, enum pt_err result);

/* What its MAIL waits for is known. */
void session_asked(struct session *s);

/* The disk has caught up: reading may go on. */
void session_resume(struct session *s);

/* ---- endings (ending.c) ---- */

/* The machine has put its last words into the output: writes them and closes. (session.c) */
void session_say_and_close(struct session *s);

/* The connection is not worth a word any more. (session.c) */
void session_fail(struct session *s);

/* The loop has other settings. */
void session_settings_changed(struct session *s);

/* Once a second: ends a session whose client was silent or slow for too long, as of `now_ns`. */
void session_sweep(struct session *s, int64_t now_ns);

/* An administrator wants it gone: 421 4.3.2 at once where the client is between two commands and
 * outside a transaction, otherwise with its next command. With `now` at once, whatever is under
 * way, but for a message that is being stored: then after that. True: it is gone. */
bool session_disconnect(struct session *s, bool now);

/* Adds what it is encrypted with, and who the client has shown to be; nothing in clear.
 * (session.c) */
struct log_line;
void session_log_tls(const struct session *s, struct log_line *line);

/* What it is doing, in words: constant text. */
const char *session_doing(const struct session *s);

/* Ends it with 421 as soon as its transaction is over, or at once. */
void session_shut_down(struct session *s, bool at_once);

static inline struct session *session_next(const struct session *s)
{
    return s->next;
}

/* Frees the structures kept for new sessions. */
void session_free_spare(struct gateway_loop *l);
