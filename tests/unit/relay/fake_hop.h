#pragma once
#include "base/buf.h"
#include "net/addr.h"
#include "net/loop.h"
#include "tls/connection.h"

/*
 * A next hop on the loopback, on the test's own loop, that takes messages and misbehaves as told.
 *
 * For each step ("greeting", each command line, "." for the end of data) `answer` may give a reply
 * of its own (one or more lines, each ended by CRLF), or one of the acts below; NULL: the usual.
 */

struct fake_hop;

extern const char HOP_CLOSE[];  /* closes the connection */
extern const char HOP_RESET[];  /* resets it */
extern const char HOP_SILENT[]; /* says nothing any more, keeps it open */
extern const char HOP_TAKE[];   /* at the end of data: takes the message and closes */

struct fake_message {
    char from[320];
    char to[1024];      /* accepted ones, separated by spaces */
    struct buf content; /* unstuffed */
};

enum { FAKE_MESSAGES_MAX = 600 };

struct fake_hop {
    struct net_loop *loop;
    struct net_watch watch;
    struct net_endpoint endpoint;
    const char *(*answer)(struct fake_hop *hop, unsigned session, const char *line);
    void *user;
    struct tls_server *tls; /* for STARTTLS; NULL: it is not known. Borrowed */
    unsigned handshakes;    /* that went well */
    bool chats;             /* takes STARTTLS, and answers the handshake with text */
    bool stalls;            /* or not at all */
    unsigned clear;         /* messages that were begun in clear */
    const char *extensions; /* EHLO lines behind the first: "250-PIPELINING\r\n250 8BITMIME\r\n" */
    bool lmtp;              /* LHLO, and for each recipient an answer to ". ADDRESS" */
    bool stop_reading;      /* takes nothing from the sockets */
    struct net_endpoint client; /* of the last session */
    unsigned sessions;          /* so far */
    unsigned open;              /* now */
    unsigned reads;             /* that gave something */
    unsigned chunks;            /* messages that came by BDAT */
    uint32_t count;
    struct fake_message messages[FAKE_MESSAGES_MAX];
    struct fake_session *list;
};

struct fake_hop *fake_hop_new(struct net_loop *loop);
void fake_hop_free(struct fake_hop *hop);

/* Stops listening: connections are refused from now on. */
void fake_hop_close_listener(struct fake_hop *hop);

const struct fake_message *fake_hop_find(const struct fake_hop *hop, const char *to);
