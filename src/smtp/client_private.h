#pragma once
#include "base/arena.h"
#include "smtp/client.h"
#include "smtp/client_command.h"
#include "smtp/client_reply.h"

/*
 * smtp/client_private: the inside of the client machine.
 *
 * client.c holds the events and what the driver calls; client_hello.c the connection (greeting to
 * READY, RSET, QUIT), client_auth.c its AUTH; client_tx.c one transaction (MAIL to the reply to the
 * end of data); client_end.c the ends of everything.
 */

/*
 * One message under way. Which reply comes next follows from the flags, see client_tx_awaits();
 * replies come in the order of the commands (RFC 2920 3.1), so nothing else need be remembered.
 */
struct client_tx {
    struct smtp_client_message *m; /* NULL: the slot is free */
    struct arena texts;            /* what the results' texts point at */
    uint32_t next_rcpt;            /* the first whose RCPT is not written */
    uint32_t next_reply;           /* no reply to RCPT has come for it and those behind it */
    uint32_t next_end;             /* LMTP: no reply to the end of data has */
    uint32_t owed;                 /* RCPT commands without a reply */
    uint32_t accepted;
    uint8_t way;        /* enum smtp_client_way */
    bool ahead;         /* begun before the reply to the last message's end of data */
    bool mail_answered; /* the peer has said something about it */
    bool refused;       /* MAIL was: the other replies are counted, not read */
    bool asked;         /* DATA or BDAT is written */
    bool data_answered; /* 354 has come */
    bool lone_dot;      /* 354 though nobody was accepted */
    bool content_out;   /* the CONTENT event is due or given */
    bool content_ended; /* its last octet is handed out */
    bool over;          /* all results stand */
};

enum client_auth_step {
    CLIENT_AUTH_PLAIN,          /* asked for PLAIN, without the message */
    CLIENT_AUTH_LOGIN_USER,     /* asked for LOGIN */
    CLIENT_AUTH_LOGIN_PASSWORD, /* the user is said */
    CLIENT_AUTH_LAST,           /* all is said */
};

struct client_auth {
    uint8_t step; /* enum client_auth_step */
    bool done, refused, login_tried;
    uint16_t user_n, password_n;
    char user[SMTP_CLIENT_SECRET_MAX];
    char password[SMTP_CLIENT_SECRET_MAX];
};

struct smtp_client {
    enum smtp_client_state state;
    unsigned flags;
    uint32_t max_messages;
    uint32_t bdat_eager_max;
    uint32_t messages; /* begun */
    bool secured;
    bool pipelining; /* offered and wanted */
    bool served;     /* a transaction was answered on this connection */
    bool reset_due;  /* the peer may still hold an open transaction */
    bool ready_due;  /* events not yet returned */
    bool content_due;
    bool starttls_due;
    bool ended;
    uint8_t current;             /* the slot whose replies come now */
    struct client_tx *releasing; /* its texts were given with DONE */
    struct client_tx tx[2];
    struct smtp_client_message *subject;
    struct smtp_client_peer peer;
    struct client_auth *auth; /* NULL: none */
    struct smtp_client_result ending;
    struct client_reply reply;
    char ending_text[SMTP_CLIENT_TEXT_MAX];
    char hostname[256];
};

static inline struct client_tx *client_current(struct smtp_client *c)
{
    return &c->tx[c->current];
}

/* The only writer of the state. */
void client_enter(struct smtp_client *c, enum smtp_client_state state);

/* ---- client_end.c ---- */

/* The peer's answer made no sense or the world failed: everything under way ends with RETRY. */
void client_give_up(struct smtp_client *c, struct str status, struct str reason);

/* The peer's reply just read ends the connection: 421, or one that came too early. */
void client_dismissed(struct smtp_client *c);

/* The same in pieces, for other ends: c->ending is set and its text kept, messages under way get
 * it, the state becomes CLOSED; client_part() says QUIT before. */
void client_ending_text(struct smtp_client *c, struct str text);
void client_ending_reason(struct smtp_client *c, struct str status, struct str reason,
                          const char *phrase);
void client_settle_all(struct smtp_client *c, bool in_doubt);
void client_end(struct smtp_client *c);
void client_part(struct smtp_client *c, struct buf *out);

/* The reply just read as a result. Its text is the reader's: to be kept before the next read. */
struct smtp_client_result client_reply_result(const struct smtp_client *c);

/* ---- client_hello.c ---- */

/* A complete reply, not 421, has come while no message is under way. `in`: what follows it. */
void client_connection_reply(struct smtp_client *c, const struct str *in, struct buf *out);

/* ---- client_auth.c ---- */

PT_NODISCARD bool client_auth_new(struct smtp_client *c, struct str user, struct str password);
void client_auth_free(struct smtp_client *c);

/* EHLO is answered, and there is `auth` that is not done. */
void client_auth_begin(struct smtp_client *c, struct buf *out);
void client_auth_reply(struct smtp_client *c, struct buf *out);

/* ---- client_tx.c ---- */

enum client_await {
    CLIENT_AWAIT_NOTHING,
    CLIENT_AWAIT_MAIL,
    CLIENT_AWAIT_RCPT,
    CLIENT_AWAIT_DATA,
    CLIENT_AWAIT_END,
};

enum client_await client_tx_awaits(const struct client_tx *t);
enum smtp_client_state client_tx_state(const struct client_tx *t);

/* Writes the first commands, or ends a message that this peer cannot be given. */
void client_tx_begin(struct smtp_client *c, struct client_tx *t, struct smtp_client_message *m,
                     struct buf *out);

/* A complete reply, not 421, has come for the current transaction. */
void client_tx_reply(struct smtp_client *c, struct buf *out);

/* LMTP: the answer to the end of data for the next of those who were accepted; true: the last. */
bool client_tx_answered(struct client_tx *t, const struct smtp_client_result *result);

/* Gives `result` to all recipients without one. */
void client_tx_settle(struct client_tx *t, const struct smtp_client_result *result);
