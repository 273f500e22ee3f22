#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "smtp/envelope.h"

/*
 * smtp/client: the machine that hands messages to a next hop.
 *
 * One machine is one connection, used for many messages. It owns no socket, clock or file: it is
 * given the peer's octets, appends the commands it wants sent to a buffer and tells its driver
 * what happened, one event at a time. It never trusts the peer: whatever comes, each recipient of
 * each message ends with exactly one result.
 *
 * The driver's part:
 *
 *     after every read, and after begin(), lost(), content_fail(), quit(), noop(), secured():
 *         while ((event = smtp_client_step(c, &in, &out)) != SMTP_CLIENT_MORE)
 *             ...act on the event...
 *         send `out` (write and read are independent: it reads while it cannot write)
 *
 *     READY    begin a message (if smtp_client_can_begin()), quit, or wait
 *     CONTENT  send the message's content behind what is in `out` now: with SMTP_CLIENT_BY_DATA
 *              through smtp/stuff.h, ended by its terminator; with SMTP_CLIENT_BY_BDAT as it is,
 *              checked by the same module. When the stream has taken the last octet, terminator
 *              included: smtp_client_content_end(). What begin() appends to `out` meanwhile goes
 *              behind the content: the next MAIL in the write of the last dot (RFC 2920 3.1)
 *     DONE     the results stand in the message; it is the driver's again. If its content was not
 *              sent to the end, nothing more of it may be: CLOSE follows
 *     STARTTLS handshake now, then smtp_client_secured(); on failure smtp_client_lost()
 *     CLOSE    close the connection; smtp_client_ending() says why. Nothing comes after it
 *
 * Decisions on replies:
 *   - A reply line ends with CRLF or LF: on this side the leniency splits nothing that we pass on.
 *     A line without a code of 2xx–5xx, lines of one reply with different codes, a line beyond
 *     64 KiB (of a shorter one the first 2,048 octets count), a reply beyond 200 lines, a reply to
 * nothing or, step by step, one that was there before its command: the connection is given up.
 *   - 552 to RCPT counts as 452 (RFC 5321 4.5.3.1.10). 421 ends the connection at any step.
 *   - Texts are folded to one line of at most SMTP_CLIENT_TEXT_MAX octets; control characters and
 *     ill-formed UTF-8 become '?'. The peer's enhanced status stays where it was, in front.
 *   - 354 after every recipient was refused: a lone dot, its reply ignored (RFC 2920 3.1).
 *   - Whatever a next hop says to AUTH, the connection ends with RETRY: it is our password that it
 *     does not like, not the message.
 */

#define SMTP_CLIENT_TEXT_MAX 512u
#define SMTP_CLIENT_SECRET_MAX 255u

enum smtp_client_flags {
    SMTP_CLIENT_PIPELINE = 1, /* use PIPELINING where offered */
    SMTP_CLIENT_AHEAD = 2,    /* let the next message begin while the content of the last is sent,
                                 where PIPELINING is used */
    SMTP_CLIENT_BDAT = 4,     /* use CHUNKING where offered */
    SMTP_CLIENT_LMTP = 8,     /* LMTP: LHLO, a reply per recipient after the dot (RFC 2033) */
    SMTP_CLIENT_TLS = 16,     /* use STARTTLS where offered */
    SMTP_CLIENT_TLS_ONLY = 32 /* give the connection up where STARTTLS is not offered or refused */
};

struct smtp_client_config {
    struct str hostname;   /* for EHLO; copied */
    unsigned flags;        /* SMTP_CLIENT_… */
    uint32_t max_messages; /* per connection; 0: no limit of ours */
    /* Content up to this size goes out behind BDAT without waiting for the replies to MAIL and
     * RCPT; 0: it always waits. */
    uint32_t bdat_eager_max;
    /* AUTH before anything else, over TLS only: where that cannot be, or the next hop does not take
     * it, the connection is given up. Copied, and wiped when the machine is freed; each at most
     * SMTP_CLIENT_SECRET_MAX octets, none of them NUL. `user` empty: no AUTH. */
    struct str user, password;
};

enum smtp_client_outcome {
    SMTP_CLIENT_PENDING, /* no result yet; never after DONE */
    SMTP_CLIENT_SENT,    /* the next hop has taken responsibility */
    SMTP_CLIENT_RETRY,   /* not now */
    SMTP_CLIENT_FAILED,  /* never */
};

struct smtp_client_result {
    uint8_t outcome; /* enum smtp_client_outcome */
    bool in_doubt;   /* with RETRY: the end of data was sent, no reply to it came */
    bool untried;    /* with RETRY: nothing was learnt about this recipient; no attempt to count */
    uint8_t status[3]; /* enhanced status (RFC 3463); { class, 0, 0 } where the peer gave none */
    uint16_t code;     /* the peer's; 0: the reason is ours, not the peer's words */
    struct str text;   /* one line; begins with the enhanced status if there is one */
};

struct smtp_client_rcpt {
    struct smtp_rcpt rcpt;
    struct smtp_client_result result; /* written by the machine */
};

/*
 * One message for this next hop. Given up from begin() to DONE; what it points at stays where it
 * is until then. A result's text belongs to the machine and is valid until the step after DONE.
 *
 * `mail.size` is the number of octets of the content as it stands in the spool (size_given must be
 * set). Parameters go out only where the peer offers their extension: SIZE, BODY, SMTPUTF8; RET,
 * ENVID, NOTIFY and ORCPT with DSN. Refused without a word to the peer: content above its SIZE
 * (5.3.4); 8-bit content without 8BITMIME (5.6.3); an address beyond ASCII, or a header beyond
 * ASCII under SMTPUTF8, without SMTPUTF8 (5.6.7: a recipient's address fails that recipient, the
 * rest fails all); an address that no command can carry (5.1.3, 5.1.7).
 */
struct smtp_client_message {
    struct smtp_mail mail;
    bool has_8bit;    /* the content has octets above 127 */
    bool header_8bit; /* its header has: matters with mail.smtputf8 */
    struct smtp_client_rcpt *rcpts;
    uint32_t rcpt_count; /* at least 1 */
    /* Nothing is to be sent: MAIL and RCPT, then RSET. A recipient that is taken gets SENT with the
     * words of the reply to RCPT; no CONTENT event comes. */
    bool question;
    bool mail_refused; /* written by the machine: the results are the reply to MAIL */
};

/* What the peer offered with EHLO. */
struct smtp_client_peer {
    bool pipelining, eightbitmime, smtputf8, chunking, dsn, enhancedstatuscodes, starttls, size;
    bool auth_plain, auth_login;
    uint64_t size_max;        /* 0: no fixed maximum */
    uint32_t mail_max;        /* LIMITS (RFC 9422) MAILMAX: messages per connection; 0: not said */
    uint32_t rcpt_max;        /* RCPTMAX: recipients per message; those beyond get RETRY, untried */
    uint32_t rcpt_domain_max; /* RCPTDOMAINMAX: the driver's affair */
};

enum smtp_client_event {
    SMTP_CLIENT_MORE, /* nothing more without input */
    SMTP_CLIENT_READY_EVENT,
    SMTP_CLIENT_CONTENT_EVENT,
    SMTP_CLIENT_DONE_EVENT,
    SMTP_CLIENT_STARTTLS_EVENT,
    SMTP_CLIENT_CLOSE_EVENT,
};

enum smtp_client_state {
#define X(name, seconds, phrase) SMTP_CLIENT_STATE_##name,
#include "smtp/client_states.tbl.h"
#undef X
};

enum smtp_client_way { SMTP_CLIENT_BY_DATA, SMTP_CLIENT_BY_BDAT };

struct smtp_client;

/* A machine that waits for the greeting; NULL when memory is short. */
struct smtp_client *smtp_client_new(const struct smtp_client_config *config);
void smtp_client_free(struct smtp_client *c); /* NULL is accepted; never with messages given up */

/* Takes the peer's octets from the front of `in` until something happens or none are left.
 * If `out` has failed (memory), the connection is given up. */
enum smtp_client_event smtp_client_step(struct smtp_client *c, struct str *in, struct buf *out);

/* May a message be begun now? In READY, or ahead: from the CONTENT event of the message before to
 * its DONE. Never beyond the limit of messages (ours or MAILMAX): when READY comes and this is
 * false, quit. */
bool smtp_client_can_begin(const struct smtp_client *c);
void smtp_client_begin(struct smtp_client *c, struct smtp_client_message *m, struct buf *out);

/* The message that the CONTENT or DONE event just returned speaks of. */
struct smtp_client_message *smtp_client_subject(const struct smtp_client *c);

/* How its content goes out; with CONTENT. */
enum smtp_client_way smtp_client_way(const struct smtp_client *c);

/* The stream has taken the last octet of the content: from here on a loss leaves it in doubt. */
void smtp_client_content_end(struct smtp_client *c);

/* The content cannot be had, or holds what must never go out: its recipients end with `outcome`
 * (RETRY or FAILED), `status` and `text` (which must begin with that status; borrowed until DONE),
 * and the connection ends, because a started message cannot be taken back. */
void smtp_client_content_fail(struct smtp_client *c, enum smtp_client_outcome outcome,
                              const uint8_t status[3], struct str text);

/* The connection is gone or given up: closed, an error, the time limit. `reason` as in "connection
 * timed out"; the state's phrase is added. Every message under way ends; a message that had not
 * been answered at all on a connection that served before is untried. */
void smtp_client_lost(struct smtp_client *c, struct str reason);

/* TLS stands (after the STARTTLS event): forgets what was offered in clear, says EHLO again. */
void smtp_client_secured(struct smtp_client *c, struct buf *out);

/* Only in READY. After quit, CLOSE comes with the peer's answer; the driver may as well close as
 * soon as `out` is sent. After noop, READY comes again. */
void smtp_client_quit(struct smtp_client *c, struct buf *out);
void smtp_client_noop(struct smtp_client *c, struct buf *out);

enum smtp_client_state smtp_client_state(const struct smtp_client *c);

/* Seconds without progress until the driver should call smtp_client_lost(). */
unsigned smtp_client_time_limit(const struct smtp_client *c);

/* "MAIL", "sending MAIL FROM". */
const char *smtp_client_state_name(enum smtp_client_state state);
const char *smtp_client_state_phrase(enum smtp_client_state state);

const struct smtp_client_peer *smtp_client_peer(const struct smtp_client *c);

/* The connection ended because the user or the password was refused for good. */
bool smtp_client_auth_refused(const struct smtp_client *c);

/* Messages begun on this connection. */
uint32_t smtp_client_messages(const struct smtp_client *c);

/* Why the connection ended; outcome SENT: in good order. The text is valid as long as `c`. */
const struct smtp_client_result *smtp_client_ending(const struct smtp_client *c);

/* The enhanced status in front of a reply's text, if its class fits the code; otherwise
 * { code / 100, 0, 0 } and false. For what was stored as code and text. */
bool smtp_client_status(uint16_t code, struct str text, uint8_t out_status[3]);
