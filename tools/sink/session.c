#include "session.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_OCTETS = 4096 };

static void reply(struct session *s, const char *text)
{
    size_t n = strlen(text);

    if (n <= sizeof s->out - s->out_n) {
        memcpy(s->out + s->out_n, text, n);
        s->out_n += n;
    }
}

struct session *session_new(int fd, struct sink_options *options)
{
    struct session *s = malloc(sizeof *s);

    if (!s)
        return NULL;
    memset(s, 0, offsetof(struct session, head));
    s->fd = fd;
    s->options = options;
    options->totals.connections++;
    reply(s, "220 sink.invalid ESMTP ready\r\n");
    return s;
}

void session_free(struct session *s)
{
    store_abandon(&s->file, s->options->store);
    SSL_free(s->ssl);
    close(s->fd);
    free(s);
}

/* ---- content ---- */

static void message_reset(struct session *s)
{
    store_abandon(&s->file, s->options->store);
    s->in_mail = s->failed = false;
    s->recipients = 0;
    s->from[0] = s->to[0] = 0;
    s->size = 0;
    s->head_n = 0;
}

static void content_add(struct session *s, const char *octets, size_t n)
{
    size_t kept = sizeof s->head - s->head_n;

    kept = n < kept ? n : kept;
    memcpy(s->head + s->head_n, octets, kept);
    s->head_n += kept;
    s->size += n;
    if (!s->options->store || s->failed)
        return;
    if (!s->file.f && !store_begin(&s->file, s->options->store))
        s->failed = true;
    if (!s->failed && !store_add(&s->file, octets, n))
        s->failed = true;
}

/* The first line of the Subject field, or "". */
static void subject_of(const struct session *s, char *out, size_t size)
{
    const char *p = s->head, *end = s->head + s->head_n;

    out[0] = 0;
    while (p < end) {
        const char *stop = memchr(p, '\r', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);

        if (n == 0)
            return;
        if (n > 8 && strncasecmp(p, "Subject:", 8) == 0) {
            snprintf(out, size, "%.*s", (int)(n - 8), p + 8);
            return;
        }
        p += n + (stop ? 2 : 0);
    }
}

/* What a stranger wrote is shown without what could drive a terminal. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            *text = '?';
}

static void tell(struct session *s)
{
    char subject[200], at[16];
    time_t now = time(NULL);
    struct tm tm;

    subject_of(s, subject, sizeof subject);
    make_printable(subject);
    make_printable(s->from);
    make_printable(s->to);
    strftime(at, sizeof at, "%H:%M:%S", localtime_r(&now, &tm));
    printf("%s  %s -> %s  %llu octets %s\n", at, s->from, s->to, (unsigned long long)s->size,
           subject);
    fflush(stdout);
}

static void message_end(struct session *s)
{
    content_add(s, "", 0); /* an empty message is one too */
    if (s->options->store && !s->failed && s->file.f && !store_end(&s->file, s->options->store))
        s->failed = true;
    if (s->failed) {
        reply(s, "451 4.3.0 Cannot be stored\r\n");
    } else {
        s->options->totals.messages++;
        s->options->totals.octets += s->size;
        if (!s->options->quiet)
            tell(s);
        reply(s, "250 2.0.0 Taken\r\n");
    }
    message_reset(s);
    s->mode = MODE_COMMAND;
}

/*
 * Content that does not begin behind a CR: up to the next dot at the start of a line, or all of it.
 * Dots are rarer than lines, so it is dots that are looked for.
 */
static size_t take_plain(struct session *s, const char *p, size_t n)
{
    size_t i = 0;

    for (const char *dot; (dot = memchr(p + i, '.', n - i)); i = (size_t)(dot - p) + 1) {
        size_t at = (size_t)(dot - p);

        if (at >= 2 && dot[-1] == '\n' && dot[-2] == '\r') {
            content_add(s, p, at);
            s->matched = 2;
            return at;
        }
    }
    content_add(s, p, n);
    if (n >= 2 && p[n - 1] == '\n' && p[n - 2] == '\r')
        s->matched = 2;
    else if (p[n - 1] == '\r')
        s->matched = 1;
    return n;
}

/* Takes content up to and with its end marker; returns the octets used. `matched` says how much of
 * CRLF "." CRLF stands just before: 2 at the start of a line. */
static size_t take_data(struct session *s, const char *p, size_t n)
{
    size_t i = 0;

    while (i < n) {
        if (s->matched == 0) {
            i += take_plain(s, p + i, n - i);
        } else if (s->matched == 1) {
            s->matched = p[i] == '\n' ? 2 : p[i] == '\r' ? 1 : 0;
            content_add(s, p + i, 1);
            i++;
        } else if (s->matched == 2) {
            /* A dot is held back: it is stuffing, or the end. */
            s->matched = p[i] == '.' ? 3 : 0;
            i += p[i] == '.';
        } else if (s->matched == 3) {
            if (p[i] == '\r') {
                s->matched = 4;
                i++;
            } else {
                s->matched = 0;
            }
        } else if (p[i] == '\n') {
            message_end(s);
            return i + 1;
        } else {
            content_add(s, "\r", 1);
            s->matched = 1;
        }
    }
    return i;
}

static size_t take_chunk(struct session *s, const char *p, size_t n)
{
    size_t part = n < s->chunk_left ? n : (size_t)s->chunk_left;

    content_add(s, p, part);
    s->chunk_left -= part;
    if (s->chunk_left == 0) {
        s->mode = MODE_COMMAND;
        if (s->last_chunk)
            message_end(s);
        else
            reply(s, "250 2.0.0 Go on\r\n");
    }
    return part;
}

/* ---- commands ---- */

/* The path between angle brackets, or what stands in its place. */
static void path_of(const char *argument, char *out, size_t size)
{
    const char *end = strchr(argument, '>');

    snprintf(out, size, "%.*s", end ? (int)(end - argument + 1) : (int)strlen(argument), argument);
}

static void on_mail(struct session *s, const char *argument)
{
    if (s->in_mail) {
        reply(s, "503 5.5.1 One MAIL at a time\r\n");
        return;
    }
    message_reset(s);
    path_of(argument, s->from, sizeof s->from);
    s->in_mail = true;
    reply(s, "250 2.1.0 Sender taken\r\n");
}

static void on_rcpt(struct session *s, const char *argument)
{
    size_t used = strlen(s->to);

    if (!s->in_mail) {
        reply(s, "503 5.5.1 MAIL first\r\n");
        return;
    }
    if (used && used + 2 < sizeof s->to)
        s->to[used++] = ',';
    path_of(argument, s->to + used, sizeof s->to - used);
    s->recipients++;
    reply(s, "250 2.1.5 Recipient taken\r\n");
}

static void on_data(struct session *s)
{
    if (s->recipients == 0) {
        reply(s, "503 5.5.1 RCPT first\r\n");
        return;
    }
    s->mode = MODE_DATA;
    s->matched = 2;
    reply(s, "354 Go ahead\r\n");
}

static void on_bdat(struct session *s, const char *argument)
{
    char *end;

    /* strtoull would take a sign or spaces; a size has neither. */
    if (*argument < '0' || *argument > '9') {
        reply(s, "501 5.5.4 Not a size\r\n");
        return;
    }
    s->chunk_left = strtoull(argument, &end, 10);
    s->last_chunk = strcasecmp(end, " LAST") == 0;
    if (s->recipients == 0 || (*end && !s->last_chunk)) {
        /* The octets come all the same, and cannot be told from commands. */
        reply(s, "503 5.5.1 RCPT first\r\n");
        s->quit = true;
        return;
    }
    s->mode = MODE_CHUNK;
    take_chunk(s, "", 0);
}

static void on_command(struct session *s, char *line)
{
    if (strncasecmp(line, "EHLO ", 5) == 0) {
        message_reset(s);
        reply(s, "250-sink.invalid\r\n");
        if (s->options->tls && !s->ssl)
            reply(s, "250-STARTTLS\r\n");
        reply(s, "250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n"
                 "250-DSN\r\n250-CHUNKING\r\n250 SIZE 0\r\n");
    } else if (strncasecmp(line, "HELO ", 5) == 0) {
        message_reset(s);
        reply(s, "250 sink.invalid\r\n");
    } else if (strncasecmp(line, "MAIL FROM:", 10) == 0) {
        on_mail(s, line + 10);
    } else if (strncasecmp(line, "RCPT TO:", 8) == 0) {
        on_rcpt(s, line + 8);
    } else if (strcasecmp(line, "DATA") == 0) {
        on_data(s);
    } else if (strncasecmp(line, "BDAT ", 5) == 0) {
        on_bdat(s, line + 5);
    } else if (strcasecmp(line, "STARTTLS") == 0 && s->options->tls && !s->ssl) {
        reply(s, "220 2.0.0 Go ahead\r\n");
        s->starts_tls = true;
    } else if (strcasecmp(line, "RSET") == 0) {
        message_reset(s);
        reply(s, "250 2.0.0 Forgotten\r\n");
    } else if (strcasecmp(line, "NOOP") == 0) {
        reply(s, "250 2.0.0 Nothing done\r\n");
    } else if (strcasecmp(line, "QUIT") == 0) {
        reply(s, "221 2.0.0 Bye\r\n");
        s->quit = true;
    } else {
        reply(s, "500 5.5.1 Not understood\r\n");
    }
}

/* Takes one command line; 0 when it is not there in full. */
static size_t take_line(struct session *s, char *p, size_t n)
{
    char *lf = memchr(p, '\n', n < LINE_MAX_OCTETS ? n : LINE_MAX_OCTETS);

    if (!lf) {
        if (n >= LINE_MAX_OCTETS) {
            reply(s, "500 5.5.2 Line too long\r\n");
            s->quit = true;
        }
        return 0;
    }
    if (lf == p || lf[-1] != '\r' || memchr(p, 0, (size_t)(lf - p))) {
        reply(s, "500 5.5.2 Lines end in CR LF and hold no NUL\r\n");
        s->quit = true;
        return (size_t)(lf - p) + 1;
    }
    lf[-1] = 0;
    on_command(s, p);
    return (size_t)(lf - p) + 1;
}

/* ---- the socket ---- */

/* Works off the input as far as there is room for replies. */
static void work(struct session *s)
{
    size_t at = 0, n = 1;

    while (at < s->in_n && !s->quit && s->out_n <= sizeof s->out - OUT_ROOM) {
        if (s->mode == MODE_DATA)
            n = take_data(s, s->in + at, s->in_n - at);
        else if (s->mode == MODE_CHUNK)
            n = take_chunk(s, s->in + at, s->in_n - at);
        else
            n = take_line(s, s->in + at, s->in_n - at);
        if (n == 0)
            break;
        at += n;
    }
    memmove(s->in, s->in + at, s->in_n - at);
    s->in_n -= at;
    s->stuck = n == 0;
}

static bool would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* False when the peer is gone. */
static bool flush(struct session *s)
{
    while (s->out_n) {
        ssize_t n = s->ssl ? secure_write(s->ssl, s->out, s->out_n)
                           : send(s->fd, s->out, s->out_n, MSG_NOSIGNAL);

        if (n < 0)
            return would_wait();
        memmove(s->out, s->out + n, s->out_n - (size_t)n);
        s->out_n -= (size_t)n;
    }
    return true;
}

/* What came with STARTTLS is forgotten. */
static bool start_tls(struct session *s)
{
    s->starts_tls = false;
    s->in_n = 0;
    message_reset(s);
    s->ssl = SSL_new(s->options->tls);
    if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1)
        return false;
    SSL_set_accept_state(s->ssl);
    return true;
}

static bool step(struct session *s)
{
    /* One read a step: what is left is reported again. */
    if (s->out_n == 0) {
        char *room = s->in + s->in_n;
        size_t most = sizeof s->in - s->in_n;
        ssize_t n = s->ssl ? secure_read(s->ssl, room, most) : recv(s->fd, room, most, 0);

        if (n == 0 || (n < 0 && !would_wait()))
            return false;
        s->in_n += n > 0 ? (size_t)n : 0;
    }
    do {
        work(s);
        if (!flush(s))
            return false;
    } while (s->out_n == 0 && s->in_n && !s->stuck && !s->quit);
    if (s->starts_tls && s->out_n == 0)
        return start_tls(s);
    return s->out_n > 0 || !s->quit;
}

/* What OpenSSL holds is not reported again. */
bool session_step(struct session *s)
{
    bool there = step(s);

    while (there && s->ssl && s->out_n == 0 && SSL_pending(s->ssl) > 0)
        there = step(s);
    return there;
}
