#include <stdlib.h>

#include "smtp/server.h"

#include "fuzz.h"

/*
 * The client says what the fuzzer wants. Input: one octet of flags, one that seeds the cuts, eight
 * that are the driver's verdicts in turn, then the client's octets.
 *
 * The session is played three times: in one read, octet by octet, and in random reads where the
 * input is gone before a verdict is given. Holds, or the process aborts:
 *   - replies, events and stored messages are the same all three times (but where content fails to
 *     be stored, which depends on how much of it was seen);
 *   - a message that came by DATA is what a plain decoder makes of the octets behind DATA, and ends
 *     where that one ends;
 *   - no stored content has a NUL, a bare CR or a bare LF;
 *   - replies are lines of at most 512 octets that end in CRLF, printable and nothing else;
 *   - nothing is stored that was reset, and nothing is asked outside of a transaction.
 */

enum { HEAD = 10, FLAG_TLS = 1, FLAG_REQUIRE = 2, FLAG_FAIL = 4, FLAG_LIMITS = 8, FLAG_END = 16 };

struct input {
    uint8_t flags, cut;
    const uint8_t *verdicts; /* eight */
    struct str wire;
};

struct driver {
    const struct input *input;
    struct smtp_server server;
    struct smtp_server_config config;
    struct buf replies, log, content;
    size_t at;        /* octets of the wire that the machine took */
    size_t data_from; /* where content by DATA begins; 0: by BDAT, or none */
    unsigned asked;   /* verdicts given */
    uint32_t seed;
    bool transaction, closed, waits;
};

static const struct smtp_reply no_storage = { 452, { 4, 3, 1 }, { "full", 4 } };
static const struct smtp_reply shutting_down = { 421, { 4, 3, 2 }, { "down", 4 } };

static void demand(bool what)
{
    if (!what)
        abort();
}

static const struct smtp_reply *verdict(struct driver *d)
{
    static const struct smtp_reply no[] = {
        { 550, { 5, 7, 1 }, { "a\r\nb\xFF", 5 } },
        { 451, { 4, 7, 1 }, { "later", 5 } },
        { 250, { 2, 0, 0 }, { "in other words", 14 } },
        { 421, { 4, 7, 0 }, { "enough", 6 } },
    };
    unsigned n = d->asked++;
    unsigned bits = d->input->verdicts[n % 8];

    /* Mostly yes: deep sessions find more. */
    return bits & 0xF0 ? NULL : &no[(bits + n / 8) % 4];
}

static void note(struct driver *d, const char *what, struct str value)
{
    buf_add_str(&d->log, str_of(what));
    buf_add_char(&d->log, '(');
    buf_add_str(&d->log, value);
    buf_add_char(&d->log, ')');
}

/* RFC 5321 4.5.2, line by line. The octets behind the end, or STR_NULL where something is bare. */
static struct str plain_decode(struct str wire, struct buf *out)
{
    while (wire.n) {
        ptrdiff_t lf = str_find(wire, '\n', 0);
        struct str line = str_head(wire, (size_t)lf + 1);

        demand(lf >= 0);
        if (lf == 0 || line.p[lf - 1] != '\r' || str_find(line, '\r', 0) != lf - 1 ||
            str_find(line, 0, 0) >= 0)
            return STR_NULL;
        wire = str_from(wire, line.n);
        if (str_eq(line, STR(".\r\n")))
            return wire;
        buf_add_str(out, line.p[0] == '.' ? str_from(line, 1) : line);
    }
    return STR_NULL;
}

static void check_content(struct driver *d)
{
    struct str c = buf_str(&d->content);

    for (size_t i = 0; i < c.n; i++) {
        demand(c.p[i] != 0);
        demand(c.p[i] != '\n' || (i && c.p[i - 1] == '\r'));
        demand(c.p[i] != '\r' || (i + 1 < c.n && c.p[i + 1] == '\n'));
    }
    demand(smtp_server_size(&d->server) == c.n);
    demand(smtp_server_eight_bit(&d->server) == str_has_8bit(c));
    if (d->data_from) {
        struct str all = str_head(d->input->wire, d->at);
        struct buf plain;

        buf_init(&plain, SIZE_MAX / 2);
        demand(plain_decode(str_from(all, d->data_from), &plain).p == all.p + all.n);
        demand(str_eq(buf_str(&plain), c));
        buf_done(&plain);
    }
}

static void answer(struct driver *d, const struct smtp_reply *reply)
{
    smtp_server_answer(&d->server, &d->replies, reply);
}

static void ask(struct driver *d, enum smtp_want want)
{
    struct smtp_server *s = &d->server;
    const struct smtp_reply *v = verdict(d);
    bool yes = !v || v->code < 400;

    switch (want) {
    case SMTP_WANT_HELO:
        note(d, s->asked.helo.esmtp ? "EHLO" : "HELO", s->asked.helo.name);
        break;
    case SMTP_WANT_MAIL:
        demand(!d->transaction);
        note(d, "MAIL", s->asked.mail.reverse_path);
        note(d, "ENVID", s->asked.mail.envid);
        /* In clear where TLS is required no verdict begins one. */
        d->transaction = yes && (!s->config->requires_tls || smtp_server_tls(s));
        buf_clear(&d->content);
        break;
    case SMTP_WANT_RCPT:
        demand(d->transaction);
        note(d, "RCPT", s->asked.rcpt.address);
        note(d, "ORCPT", s->asked.rcpt.orcpt);
        break;
    case SMTP_WANT_DATA: {
        size_t before = d->replies.n;

        demand(d->transaction && d->content.n == 0);
        note(d, "DATA", STR_NULL);
        answer(d, v);
        /* 354 tells DATA from BDAT. */
        d->data_from = yes && d->replies.n > before ? d->at : 0;
        return;
    }
    case SMTP_WANT_COMMIT:
        demand(d->transaction);
        check_content(d);
        note(d, "STORE", buf_str(&d->content));
        d->transaction = false;
        break;
    default:
        abort();
    }
    answer(d, v);
}

static void act(struct driver *d, const struct smtp_server_step *step)
{
    if (step->reset) {
        demand(d->transaction);
        d->transaction = false;
        note(d, "RESET", STR_NULL);
    }
    if (step->want == SMTP_WANT_CONTENT) {
        demand(d->transaction && step->content.n > 0);
        buf_add_str(&d->content, step->content);
        if ((d->input->flags & FLAG_FAIL) && d->content.n > d->input->verdicts[0]) {
            smtp_server_fail_content(&d->server, &no_storage);
            d->transaction = false;
        }
    } else if (step->want == SMTP_WANT_TLS) {
        demand(!d->transaction);
        note(d, "TLS", STR_NULL);
        smtp_server_answer(&d->server, &d->replies, NULL);
        smtp_server_tls_started(&d->server);
    } else if (step->want == SMTP_WANT_CLOSE) {
        demand(!d->transaction);
        d->closed = true;
    } else if (step->want == SMTP_WANT_MORE) {
        d->waits = true;
    } else {
        ask(d, step->want);
    }
}

/* One read, of a copy that lies alone in memory. */
static void read_once(struct driver *d, size_t n, bool hold)
{
    size_t end = d->at + n;

    d->waits = false;
    while (!d->closed && !d->waits) {
        struct str in = str_from(str_head(d->input->wire, end), d->at);
        char *copy = malloc(in.n + 1);
        struct smtp_server_step step;

        demand(copy != NULL);
        memcpy(copy, in.p, in.n);
        step = smtp_server_feed(&d->server, (struct str){ copy, in.n }, &d->replies);
        demand(step.taken <= in.n);
        demand(step.want != SMTP_WANT_MORE || step.taken == in.n);
        d->at += step.taken;
        if (hold && step.want != SMTP_WANT_CONTENT) {
            demand(smtp_server_hold(&d->server));
            memset(copy, 'X', in.n);
        }
        act(d, &step);
        free(copy);
    }
}

static void play(struct driver *d, const struct input *input, size_t cut, bool random)
{
    *d = (struct driver){ .input = input, .seed = input->cut };
    d->config = (struct smtp_server_config){
        .hostname = STR("gw"),
        .greeting = STR("hello"),
        .max_message_size = input->flags & FLAG_LIMITS ? 60 : 0,
        .max_recipients = input->flags & FLAG_LIMITS ? 2 : 0,
        .max_messages = input->flags & FLAG_LIMITS ? 2 : 0,
        .max_errors = input->flags & FLAG_LIMITS ? 4 : 0,
        .max_refused = input->flags & FLAG_LIMITS ? 3 : 0,
        .offers_tls = input->flags & FLAG_TLS,
        .requires_tls = input->flags & FLAG_REQUIRE,
    };
    buf_init(&d->replies, SIZE_MAX / 2);
    buf_init(&d->log, SIZE_MAX / 2);
    buf_init(&d->content, SIZE_MAX / 2);
    smtp_server_init(&d->server, &d->config, false);
    smtp_server_greet(&d->server, &d->replies);
    while (!d->closed && d->at < input->wire.n) {
        size_t left = input->wire.n - d->at;

        if (random) {
            d->seed = d->seed * 1664525u + 1013904223u;
            cut = 1 + (d->seed >> 16) % 97;
        }
        read_once(d, cut < left ? cut : left, random);
    }
    if (!d->closed && (input->flags & FLAG_END) &&
        smtp_server_end(&d->server, &d->replies, &shutting_down, SMTP_WHEN_IDLE))
        demand(!d->transaction);
    if (smtp_server_idle(&d->server))
        demand(d->server.held == NULL && !d->transaction);
    smtp_server_timeout(&d->server, &d->replies);
}

static void check_replies(struct str all)
{
    while (all.n) {
        ptrdiff_t cr = str_find(all, '\r', 0);

        demand(cr >= 4 && cr <= 510 && (size_t)cr + 1 < all.n && all.p[cr + 1] == '\n');
        for (ptrdiff_t i = 0; i < cr; i++)
            demand(all.p[i] >= ' ' && all.p[i] <= '~');
        demand(all.p[3] == ' ' || all.p[3] == '-');
        all = str_from(all, (size_t)cr + 2);
    }
}

static void done(struct driver *d)
{
    smtp_server_done(&d->server);
    buf_done(&d->replies);
    buf_done(&d->log);
    buf_done(&d->content);
}

static void demand_same(const struct driver *a, const struct driver *b)
{
    demand(str_eq(buf_str(&a->replies), buf_str(&b->replies)));
    demand(str_eq(buf_str(&a->log), buf_str(&b->log)));
    demand(a->at == b->at && a->closed == b->closed);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct driver whole, single, random;
    struct input input;

    if (n < HEAD)
        return 0;
    input = (struct input){
        octets[0], octets[1], octets + 2, { (const char *)octets + HEAD, n - HEAD }
    };
    play(&whole, &input, input.wire.n, false);
    play(&single, &input, 1, false);
    play(&random, &input, 0, true);
    check_replies(buf_str(&whole.replies));
    check_replies(buf_str(&single.replies));
    check_replies(buf_str(&random.replies));
    /* What came in one read with STARTTLS is refused: that depends on the cut, and is meant to. */
    if (!(input.flags & (FLAG_FAIL | FLAG_TLS))) {
        demand_same(&whole, &single);
        demand_same(&whole, &random);
    }
    done(&whole);
    done(&single);
    done(&random);
    return 0;
}
