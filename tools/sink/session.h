#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "../secure.h"
#include "store.h"

/*
 * One SMTP client of the sink. Every well-formed command is accepted, so is every message. Only
 * CRLF ends a line; the end of data is CRLF "." CRLF and nothing else.
 *
 * Written apart from the gateway on purpose: what the gateway sends is judged by other code than
 * its own.
 */

struct sink_totals {
    uint64_t connections, messages, octets;
};

struct sink_options {
    const char *store; /* a Maildir to write messages to; NULL: only counted */
    bool quiet;        /* no line per message */
    SSL_CTX *tls;      /* for STARTTLS; NULL: it is not offered */
    struct sink_totals totals;
};

enum session_mode { MODE_COMMAND, MODE_DATA, MODE_CHUNK };

enum { IN_SIZE = 65536, OUT_SIZE = 8192, OUT_ROOM = 512, HEAD_SIZE = 4096 };

struct session {
    int fd;
    SSL *ssl;        /* NULL: in clear */
    bool starts_tls; /* once the output is written */
    struct sink_options *options;
    enum session_mode mode;
    bool quit;    /* closed once the output is written */
    bool in_mail; /* MAIL was accepted */
    bool failed;  /* this message cannot be stored: told at its end */
    bool last_chunk;
    bool stuck;       /* what is in `in` is no whole command yet */
    unsigned matched; /* octets of CRLF "." CRLF seen in DATA */
    uint64_t chunk_left;
    unsigned recipients;
    char from[400];
    char to[1200]; /* as many as fit, separated by commas */
    uint64_t size;
    struct store_file file;
    size_t head_n, in_n, out_n;
    char head[HEAD_SIZE]; /* the beginning of the content, for its subject */
    char in[IN_SIZE];
    char out[OUT_SIZE];
};

/* NULL when memory is short. The greeting is ready to be sent. Owns `fd`. */
struct session *session_new(int fd, struct sink_options *options);
void session_free(struct session *s);

/* Reads and writes as long as nothing would wait. False: the session is over, free it. */
bool session_step(struct session *s);

/* True while output waits: then the descriptor is to be watched for writing, else for reading. */
static inline bool session_wants_write(const struct session *s)
{
    return s->out_n > 0;
}
