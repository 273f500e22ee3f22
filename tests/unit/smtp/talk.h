#pragma once
#include "smtp/server.h"

/*
 * A session with the server machine, played from octets: a small driver that decides by the names
 * it is asked about, and writes down what happened in a form that a table can hold.
 *
 * Verdicts, by the local part (or the name in HELO):
 *   refused → 550 5.7.1      deferred → 451 4.7.1      goodbye → 421 4.7.0      else yes
 * A sender "nodata" has its DATA refused (452 4.3.1). Content that begins with "nostore" fails
 * while it streams (452 4.3.1), with "nocommit" at the commit (451 4.3.0).
 *
 * What happened:
 *   codes   "220 250 250/2.1.0 354 …": of every reply the code and enhanced status
 *   events  "EHLO(name) MAIL(a@b) RCPT(c@d) DATA STORE(content) RESET TLS CLOSE", in order
 * An answer to the driver stands in `events` as "!550" behind what it answers, where it is no.
 */
struct talk_options {
    struct smtp_server_config config;
    struct str hostname;
    size_t cut;   /* octets a read; 0: all at once */
    size_t split; /* one more cut after so many octets; 0: none */
    bool hold;    /* let the input go before a verdict is given */
    bool tls;
    const struct smtp_reply *no_tls; /* the answer to STARTTLS; NULL: it may begin */
};

struct talk {
    struct smtp_server server;
    struct buf replies; /* raw */
    struct buf codes;
    struct buf events;
    struct buf content;
    bool closed;
    bool waits;  /* private: for more octets */
    bool nodata; /* private: the sender said so */
};

struct talk_options talk_defaults(void);

/* Plays the whole of `wire`; the session stays open at its end, unless the machine closed it. */
void talk_run(struct talk *t, const struct talk_options *o, struct str wire);

/* More octets. */
void talk_feed(struct talk *t, const struct talk_options *o, struct str wire);
void talk_done(struct talk *t);

/* Fills `codes` from `replies`, and checks the form of each line: CRLF at its end and nowhere
 * else, at most 512 octets, printable, code and status alike over the lines of a reply. */
void talk_read_replies(struct talk *t);

struct talk_case {
    const char *name;
    struct str wire;   /* behind the greeting */
    const char *codes; /* without the "220" of the greeting */
    const char *events;
};

/* Plays it whole and in every cut, with and without hold. */
void talk_check(const struct talk_options *o, const struct talk_case *c);
