#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/str.h"
#include "smtp/dot.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

/*
 * smtp/server: the server's side of one session, without I/O.
 *
 * It takes octets, says what it wants, and appends replies to the caller's buffer. It owns no
 * socket, clock, file or log and calls nobody back. The driver's loop:
 *
 *     for (;;) {
 *         step = smtp_server_feed(s, in, out);
 *         in = str_from(in, step.taken);
 *         if (step.reset)
 *             drop the envelope and the content that were being collected;
 *         switch (step.want) {
 *         case SMTP_WANT_MORE:    read more, come again (nothing of `in` is left, unless
 *                                 step.refused: then feed the rest at once)
 *         case SMTP_WANT_CONTENT: append step.content to the message; feed the rest at once
 *         case SMTP_WANT_HELO … SMTP_WANT_COMMIT:
 *                                 decide, smtp_server_answer(), then feed the rest of `in`, even
 *                                 if it is empty
 *         case SMTP_WANT_TLS:     smtp_server_answer(); if positive: flush `out`, shake hands,
 *                                 smtp_server_tls_started()
 *         case SMTP_WANT_CLOSE:   flush `out`, drain for a short while, close
 *         }
 *     }
 *
 * It promises:
 *   1. Only CRLF ends a line, in commands and in content. A bare CR, a bare LF or a NUL is refused;
 *      nothing of a message with one is ever committed, and in DATA nothing behind it is read.
 *   2. What is answered does not depend on how the stream was cut into reads (but for the one rule
 *      that is about that: octets that came in one read with STARTTLS are an error).
 *   3. The content slices, put together, are the message octet for octet, dot-stuffing removed.
 *   4. No octet of a client's goes into a reply.
 *   5. It allocates for three things only: a command line that did not arrive whole or has to be
 *      kept (freed when it is answered), the words of a failure while content is dropped, and the
 *      name in HELO. When memory is short for a line or a name it answers 421 and ends.
 *
 * Trace headers and the count of Received are not its affair, nor is any policy: those are the
 * caller's verdicts. One thread at a time.
 */

/* Octets of a command line with its CRLF. RFC 5321 4.5.3.1.4 asks for 512, the parameters of the
 * extensions add up to some 1,600 more. */
#define SMTP_SERVER_LINE_MAX 2048u

/* A line that has not ended after so many octets ends the session. */
#define SMTP_SERVER_LINE_GIVE_UP 65536u

/* A message or chunk over the limit is read and dropped so that its end can be answered; a client
 * that goes on for so much longer than the limit is answered and closed. */
#define SMTP_SERVER_DISCARD_MAX (UINT64_C(1) << 30)

struct smtp_server_config {
    struct str hostname;       /* ours, in the greeting and the reply to EHLO */
    struct str greeting;       /* text behind it */
    uint64_t max_message_size; /* octets, announced by SIZE; 0: no limit */
    uint32_t max_recipients;   /* of a transaction, announced as RCPTMAX; 0: no limit */
    uint32_t max_messages;     /* of a session, announced as MAILMAX; 0: no limit */
    /* Errors of syntax and order, unknown commands and refused senders, counted since the last
     * accepted message (or the start): the one that reaches this gets 421 4.7.0 and the session
     * ends. 0: no limit. */
    uint32_t max_errors;
    /* The same for recipients that a verdict refused for good (5yz). */
    uint32_t max_refused;
    bool offers_tls; /* STARTTLS is offered while the session is in clear */
    /* Until then only EHLO, NOOP, STARTTLS and QUIT. The verdict on MAIL is asked for all the same,
     * since another refusal may come first; a positive one is answered 530.
     * Where `offers_tls` is not set nobody can begin it: 454, so that mail waits for a remedy. */
    bool requires_tls;
    /* Stands at the end of what the machine itself refuses by one of these limits (not of what it
     * says about mistakes in the protocol); may differ each time, see smtp_server_step. */
    struct str refusal_tail;
};

#define SMTP_SERVER_MAX_ERRORS 20u
#define SMTP_SERVER_MAX_REFUSED 100u

enum smtp_want {
    SMTP_WANT_MORE,    /* all input is taken */
    SMTP_WANT_HELO,    /* verdict on s->asked.helo */
    SMTP_WANT_MAIL,    /* verdict on s->asked.mail; a positive one begins a transaction */
    SMTP_WANT_RCPT,    /* verdict on s->asked.rcpt */
    SMTP_WANT_DATA,    /* content is about to begin: make a place for it */
    SMTP_WANT_CONTENT, /* `content` belongs to the message; no answer */
    SMTP_WANT_COMMIT,  /* the message is complete: store it, then answer */
    SMTP_WANT_TLS,     /* STARTTLS: may the handshake begin? Not fed until it is over */
    SMTP_WANT_CLOSE,   /* the session is over; feed no more */
};

struct smtp_server_step {
    enum smtp_want want;
    /* The transaction that was open is over without a message (RSET, EHLO, QUIT, bad or too large
     * content, …), seen before `want`. The driver drops what it kept of it. Never set for a
     * transaction that the driver itself ended: by its answer to COMMIT, by fail_content(). */
    bool reset;
    /* The machine has refused something by a limit, in these words and with the refusal_tail; NULL:
     * it has not. Told at once: whatever `want` is, the rest of `in` is still to be fed, and the
     * next refusal uses the tail that is in the config by then. */
    const struct smtp_reply *refused;
    size_t taken;       /* octets of `in` used up */
    struct str content; /* borrowed from `in` */
};

/*
 * Embedded in a session; under 200 octets. Fields are private but for `asked`, which may be read
 * from the step that asks until the answer. Its octets lie in `in` or in the machine: before `in`
 * becomes invalid with the answer outstanding, call smtp_server_hold().
 */
struct smtp_server {
    const struct smtp_server_config *config;
    const struct smtp_reply *end;     /* answers a coming command, see smtp_server_end() */
    const struct smtp_reply *failure; /* answers the end of content that is being dropped */
    const struct smtp_reply *limited; /* said with a tail, to be told with the next step */
    char *held; /* heap: a partial line, the line that is asked about, or a failure in words */
    char *name; /* heap: the name in HELO or EHLO */
    uint64_t max_size; /* of this transaction: the limits when MAIL was taken */
    uint64_t size;     /* octets of content so far */
    uint64_t left;     /* octets of the chunk still to come; octets dropped so far */
    uint32_t max_recipients;
    uint32_t recipients;
    uint32_t messages;
    uint32_t errors;
    uint32_t refused;
    uint16_t held_n;
    uint8_t name_n;
    uint8_t state; /* enum state; written by enter() alone */
    struct smtp_dot dot;
    uint8_t end_when;
    bool tls;         /* the session is encrypted */
    bool begun;       /* a command line was seen */
    bool greeted;     /* HELO or EHLO was accepted */
    bool esmtp;       /* … and it was EHLO */
    bool transaction; /* MAIL was accepted and its transaction goes on */
    bool smtputf8;    /* … with SMTPUTF8 */
    bool rcpt_seen;   /* … and a RCPT was tried */
    bool chunked;     /* … and BDAT has begun */
    bool last;        /* this chunk is the last */
    bool eight_bit;   /* content with octets above 127 was seen */
    bool skipping;    /* the rest of this line is dropped: it was answered */
    bool cr;          /* the line so far ends in CR */
    bool reset;       /* to be told with the next step */
    bool quit;        /* the client said QUIT */
    union {
        struct {
            struct str name;
            bool esmtp; /* EHLO */
        } helo;
        struct smtp_mail mail;
        struct smtp_rcpt rcpt;
    } asked;
};

/* `config` is borrowed until replaced. `tls`: the session is encrypted from its first octet. */
void smtp_server_init(struct smtp_server *s, const struct smtp_server_config *config, bool tls);
void smtp_server_done(struct smtp_server *s);

/* Other settings from the next command on; a running transaction keeps the limits of its MAIL.
 * Nothing of the old config is used any more. */
void smtp_server_set_config(struct smtp_server *s, const struct smtp_server_config *config);

/* First thing in a session, one of the two: the greeting, or a refusal (554, 421) in its place. */
void smtp_server_greet(struct smtp_server *s, struct buf *out);
void smtp_server_refuse(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply);

/* Takes octets from the front of `in`, which may be empty. Not while a verdict, a commit or the
 * handshake is outstanding. */
PT_NODISCARD struct smtp_server_step smtp_server_feed(struct smtp_server *s, struct str in,
                                                      struct buf *out);

/*
 * The answer to HELO, MAIL, RCPT, DATA, COMMIT or STARTTLS. NULL is the machine's own positive
 * reply; a reply with a code below 400 accepts in the caller's words (where there are any: not for
 * HELO and DATA), any other refuses. With 421 the session ends. A DATA that is refused ends the
 * transaction, told as `reset` with the next step (the content of BDAT is dropped first); a COMMIT
 * ends it either way.
 */
void smtp_server_answer(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply);

/* Keeps s->asked valid beyond the life of `in`. False when memory is short: answer then. */
PT_NODISCARD bool smtp_server_hold(struct smtp_server *s);

/* After a RCPT was taken: the content of this transaction may have at most so many octets, if that
 * is less than what MAIL allowed; 0: as it is. */
void smtp_server_limit_size(struct smtp_server *s, uint64_t octets);

/* While content streams: it cannot be stored. The rest is dropped and `reply` answers its end (if
 * memory is too short to keep the words, smtp_reply_cannot_store does). The transaction is over,
 * without `reset`. Once or more often between two feeds; nothing happens outside of content. */
void smtp_server_fail_content(struct smtp_server *s, const struct smtp_reply *reply);

/* The handshake is done: the session begins anew, without a greeting (RFC 3207 section 4.2). */
void smtp_server_tls_started(struct smtp_server *s);

enum smtp_server_when {
    SMTP_WHEN_IDLE,  /* at once, outside of a transaction and between two lines; otherwise with
                        the next command, in a transaction or not */
    SMTP_WHEN_AFTER, /* as the answer to the next command outside of a transaction */
};

/* The session is to end with `reply` (a 421; borrowed until the session is over). True if it is
 * over at once: the reply is in `out`, close as for SMTP_WANT_CLOSE. */
bool smtp_server_end(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply,
                     enum smtp_server_when when);

/* What smtp_server_end() has put off is not to happen after all. */
void smtp_server_go_on(struct smtp_server *s);

/* As smtp_server_timeout(), with a reply of the caller's: the session is over, whatever was under
 * way. */
void smtp_server_break_off(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply);

/* The client was silent too long: 421 4.4.2, and the session is over, whatever was under way. */
void smtp_server_timeout(struct smtp_server *s, struct buf *out);

/* ---- questions ---- */

/* What it is doing, for the log: "waiting for a command", "receiving content", … */
const char *smtp_server_doing(const struct smtp_server *s);

bool smtp_server_idle(const struct smtp_server *s); /* between commands, no transaction, no octet
                                                       of a line */

/* The session is over because the client said QUIT: it sends no more and waits for the close. Any
 * other close has to drain, or what the client is still sending resets the connection before the
 * last reply is read. */
bool smtp_server_quit(const struct smtp_server *s);

bool smtp_server_in_line(const struct smtp_server *s); /* a command line has begun, not ended */
bool smtp_server_in_transaction(const struct smtp_server *s);
bool smtp_server_in_content(const struct smtp_server *s); /* between 354 and its end, in a chunk */
bool smtp_server_esmtp(const struct smtp_server *s);      /* EHLO, not HELO */
bool smtp_server_tls(const struct smtp_server *s);        /* the session is encrypted */
bool smtp_server_eight_bit(const struct smtp_server *s);  /* until the COMMIT is answered */
struct str smtp_server_helo(const struct smtp_server *s); /* empty: none; valid until the next */
uint64_t smtp_server_size(const struct smtp_server *s);   /* octets of content so far */
