#include "gateway_hop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway_world.h"

/*
 * A next hop's side of a connection. It speaks as RFC 5321 has it, and at each step, with the
 * chance its hop has at the moment, does something else.
 *
 * A message that is taken counts as confirmed once its client has read the whole reply. Until then,
 * or when the connection has become nonsense before, its delivery may be repeated.
 */

enum { LINE_MAX_OCTETS = 4096, CONFIRMATIONS_MAX = 16, TO_MAX = 16 };
static const int64_t second_ns = 1000000000;

enum state { COMMANDS, DATA, CHUNK, DEAF };

struct confirmation {
    uint64_t at; /* octets sent when the reply is complete */
    struct sim_rcpt *rcpts[RCPTS_MAX];
    unsigned count;
};

struct talk {
    enum state state;
    bool poisoned; /* something was said that no client can make sense of */
    bool pipelining, chunking, dsn, extended;
    unsigned rcpt_max;
    uint64_t sent;
    int64_t slow_ns; /* every reply waits for that long from now on */
    char line[LINE_MAX_OCTETS];
    size_t line_n;
    struct buf content;
    uint64_t chunk_left;
    bool chunk_last, chunk_refused;

    bool has_mail;
    char from[48];
    char to[TO_MAX][48];
    unsigned to_count;

    struct confirmation confirmations[CONFIRMATIONS_MAX];
    unsigned confirmation_count;
};

/* ---- saying ---- */

static void say(struct link *l, const char *text)
{
    struct talk *t = l->talk;

    t->sent += strlen(text);
    link_send(l, text, strlen(text), world->net.now_ns + t->slow_ns);
}

static void close_link(struct link *l)
{
    link_end(l, PACKET_END, world->net.now_ns + l->talk->slow_ns);
    l->talk->state = DEAF;
}

static void say_much(struct link *l)
{
    static char endless[70000];

    if (one_in(2)) { /* a line without an end */
        memset(endless, 'x', sizeof endless - 1);
        memcpy(endless, "250 ", 4);
        say(l, endless);
    } else { /* lines without an end */
        for (int i = 0; i < 210; i++)
            say(l, "250-and so on\r\n");
    }
}

static bool chance(const struct link *l)
{
    const struct sim_hop *h = &world->hops[l->hop];

    return !h->saint && !world->calm && below(100) < h->percent;
}

enum misdeed { NONE, BRIEF, GOODBYE, LATER, NEVER, OVER };

/* What this step does instead: a temporary or a permanent refusal is left to the caller; after
 * OVER nothing more is to be done with this connection (it may be gone). */
static enum misdeed misbehave(struct link *l)
{
    struct talk *t = l->talk;

    if (!chance(l))
        return NONE;
    switch (below(13)) {
    case 0:
    case 1:
        return LATER;
    case 2:
        return NEVER;
    case 3:
        say(l, "421 4.3.2 closing\r\n");
        close_link(l);
        return OVER;
    case 4:
        close_link(l);
        return OVER;
    case 5:
        link_break(l);
        return OVER;
    case 6:
        t->state = DEAF; /* silent */
        return OVER;
    case 7:
        l->stalled = !l->client_closed; /* takes nothing, and is silent */
        t->state = DEAF;
        return OVER;
    case 8:
        say(l, one_in(2) ? "999 nonsense\r\n" : "250-a\r\n251 b\r\n");
        break;
    case 9:
        say(l, one_in(2) ? "\r\n" : "\x01\xff\x80 hello\r\n");
        break;
    case 10:
        say_much(l);
        break;
    case 11:
        t->slow_ns = (int64_t)(1 + below(900)) * second_ns;
        return NONE;
    default:
        say(l, "451-4.3.0 one\r\n451 4.3.0 two\r\n");
        return BRIEF;
    }
    t->poisoned = true;
    t->state = DEAF;
    return OVER;
}

static bool refuse(struct link *l, enum misdeed deed)
{
    if (deed == LATER)
        say(l, one_in(2) ? "450 4.2.1 later\r\n" : "452 out of everything\r\n");
    else if (deed == NEVER)
        say(l, one_in(2) ? "550 5.1.1 never\r\n" : "554 no\r\n");
    return deed != NONE;
}

/* ---- the envelope ---- */

void hop_greet(struct link *l)
{
    struct sim_hop *h = &world->hops[l->hop];
    enum misdeed deed;

    l->talk = calloc(1, sizeof *l->talk);
    pt_assert(l->talk);
    buf_init(&l->talk->content, 4 << 20);
    if (h->slow && !world->calm)
        l->talk->slow_ns = (int64_t)below(200) * second_ns;
    deed = misbehave(l);
    if (deed == OVER)
        return;
    if (refuse(l, deed))
        close_link(l);
    else
        say(l, "220 hop ESMTP\r\n");
}

static void hello(struct link *l, const char *line)
{
    struct talk *t = l->talk;
    struct sim_hop *h = &world->hops[l->hop];
    enum misdeed deed = misbehave(l);
    char reply[256];

    if (deed == OVER || refuse(l, deed))
        return;
    t->has_mail = false;
    if (strncasecmp(line, "HELO", 4) == 0) {
        h->lacks_8bit = true;
        say(l, "250 hop\r\n");
        return;
    }
    t->pipelining = !one_in(4);
    t->chunking = one_in(3);
    t->dsn = one_in(2);
    snprintf(reply, sizeof reply, "250-hop\r\n%s%s%s", t->pipelining ? "250-PIPELINING\r\n" : "",
             t->chunking ? "250-CHUNKING\r\n" : "", t->dsn ? "250-DSN\r\n" : "");
    if (h->saint || world->calm || !one_in(10))
        strcat(reply, "250-8BITMIME\r\n");
    else
        h->lacks_8bit = true;
    t->rcpt_max = 0;
    if (one_in(8)) {
        t->rcpt_max = 1 + (unsigned)below(2);
        snprintf(reply + strlen(reply), 64, "250-LIMITS MAILMAX=%u RCPTMAX=%u\r\n",
                 1 + (unsigned)below(4), t->rcpt_max);
    }
    if (!h->saint && !world->calm && one_in(15)) {
        uint64_t size = 3000 + below(5000);

        h->smallest_size = h->smallest_size ? PT_MIN(h->smallest_size, size) : size;
        snprintf(reply + strlen(reply), 64, "250-SIZE %u\r\n", (unsigned)size);
    }
    strcat(reply, "250 HELP\r\n");
    say(l, reply);
}

/* What stands between angle brackets. */
static bool path_of(const char *line, char out[48])
{
    const char *from = strchr(line, '<'), *to = from ? strchr(from, '>') : NULL;

    if (!to || to - from > 47)
        return false;
    memcpy(out, from + 1, (size_t)(to - from) - 1);
    out[to - from - 1] = 0;
    return true;
}

static void mail(struct link *l, const char *line)
{
    struct talk *t = l->talk;
    enum misdeed deed;

    if (t->has_mail)
        world_fail("a second MAIL in one transaction");
    if (!path_of(line, t->from))
        world_fail("MAIL without a path: %s", line);
    deed = misbehave(l);
    if (deed == OVER)
        return;
    if (deed == NEVER)
        model_mail_refused(t->from);
    if (refuse(l, deed))
        return;
    t->has_mail = true;
    t->to_count = 0;
    buf_clear(&t->content);
    say(l, "250 2.1.0 ok\r\n");
}

static void rcpt(struct link *l, const char *line)
{
    struct talk *t = l->talk;
    char address[48];
    enum misdeed deed;

    if (!path_of(line, address))
        world_fail("RCPT without a path: %s", line);
    if (!t->has_mail) {
        say(l, "503 5.5.1 MAIL first\r\n");
        return;
    }
    if (t->rcpt_max && t->to_count >= t->rcpt_max)
        world_fail("more recipients than RCPTMAX");
    deed = misbehave(l);
    if (deed == OVER)
        return;
    if (deed == NEVER)
        model_refused(address);
    if (refuse(l, deed))
        return;
    pt_assert(t->to_count < TO_MAX);
    memcpy(t->to[t->to_count++], address, sizeof address);
    say(l, "250 2.1.5 ok\r\n");
}

/* ---- the content ---- */

static void refuse_all(struct link *l, enum misdeed deed)
{
    struct talk *t = l->talk;

    if (deed == NEVER)
        for (unsigned i = 0; i < t->to_count; i++)
            model_refused(t->to[i]);
}

static void data(struct link *l)
{
    struct talk *t = l->talk;
    enum misdeed deed;

    if (!t->has_mail || (!t->to_count && one_in(2))) {
        say(l, "503 5.5.1 no\r\n");
        t->has_mail = false;
        return;
    }
    deed = misbehave(l);
    if (deed == OVER)
        return;
    refuse_all(l, deed);
    if (deed == BRIEF || refuse(l, deed)) {
        t->has_mail = false;
        return;
    }
    say(l, "354 go on\r\n");
    t->state = DATA;
}

static void expect_confirmation(struct link *l, struct sim_rcpt *const *rcpts, unsigned count)
{
    struct talk *t = l->talk;
    struct confirmation *c = &t->confirmations[t->confirmation_count++];

    pt_assert(t->confirmation_count < CONFIRMATIONS_MAX);
    c->at = t->sent;
    c->count = count;
    memcpy(c->rcpts, rcpts, count * sizeof(struct sim_rcpt *));
}

static int64_t lost_since(const struct link *l)
{
    return l->client_closed ? l->closed_us : mono_us();
}

/* The message is kept; what the client hears of it is another matter. */
static void keep(struct link *l)
{
    struct talk *t = l->talk;
    struct sim_rcpt *rcpts[RCPTS_MAX];
    unsigned count = t->to_count;
    bool heard = true;

    model_taken(l->hop, t->from, t->to, count, t->content.p, t->content.n, rcpts);
    t->has_mail = false;
    t->to_count = 0;
    if (chance(l)) {
        heard = false;
        switch (below(5)) {
        case 0:
            t->state = DEAF;
            break;
        case 1:
            close_link(l);
            break;
        case 2:
            for (unsigned i = 0; i < count; i++)
                model_lost(rcpts[i], lost_since(l));
            link_break(l);
            return;
        case 3:
            say(l, "2");
            close_link(l);
            break;
        default:
            t->slow_ns = (int64_t)(1 + below(900)) * second_ns;
            heard = true;
            break;
        }
    }
    if (heard)
        say(l, "250 2.0.0 kept\r\n");
    if (heard && !l->client_closed && !t->poisoned)
        expect_confirmation(l, rcpts, count);
    else
        for (unsigned i = 0; i < count; i++)
            model_lost(rcpts[i], lost_since(l));
}

static void content_ends(struct link *l)
{
    struct talk *t = l->talk;
    enum misdeed deed;

    t->state = COMMANDS;
    if (!t->to_count) { /* RFC 2920 3.1: a lone dot after all were refused */
        if (t->content.n)
            world_fail("content for nobody");
        t->has_mail = false;
        say(l, "554 5.5.1 no valid recipients\r\n");
        return;
    }
    deed = misbehave(l);
    if (deed == OVER)
        return;
    refuse_all(l, deed);
    if (deed == BRIEF || refuse(l, deed)) {
        t->has_mail = false;
        return;
    }
    keep(l);
}

static void chunk_ends(struct link *l)
{
    struct talk *t = l->talk;
    bool last = t->chunk_last;

    t->state = COMMANDS;
    if (t->chunk_refused)
        say(l, "503 5.5.1 no valid recipients\r\n");
    else if (last)
        content_ends(l);
    else
        say(l, "250 2.0.0 more\r\n");
}

static void bdat(struct link *l, const char *line)
{
    struct talk *t = l->talk;
    char *end;

    if (!t->chunking)
        world_fail("BDAT was not offered");
    t->chunk_left = strtoull(line + 5, &end, 10);
    t->chunk_last = strncasecmp(end, " LAST", 5) == 0;
    t->chunk_refused = !t->has_mail || !t->to_count;
    t->state = CHUNK;
    if (!t->chunk_left)
        chunk_ends(l);
}

static void content_line(struct link *l, const char *line, size_t n)
{
    struct talk *t = l->talk;

    if (n == 1 && line[0] == '.') {
        content_ends(l);
        return;
    }
    if (n && line[0] == '.') {
        line++;
        n--;
    }
    buf_add(&t->content, line, n);
    buf_add(&t->content, "\r\n", 2);
}

/* ---- reading ---- */

static void command(struct link *l, const char *line)
{
    struct talk *t = l->talk;

    if (strncasecmp(line, "EHLO", 4) == 0 || strncasecmp(line, "HELO", 4) == 0) {
        hello(l, line);
    } else if (strncasecmp(line, "MAIL FROM:", 10) == 0) {
        mail(l, line);
    } else if (strncasecmp(line, "RCPT TO:", 8) == 0) {
        rcpt(l, line);
    } else if (strcasecmp(line, "DATA") == 0) {
        data(l);
    } else if (strncasecmp(line, "BDAT ", 5) == 0) {
        bdat(l, line);
    } else if (strcasecmp(line, "RSET") == 0) {
        t->has_mail = false;
        if (misbehave(l) != OVER)
            say(l, "250 ok\r\n");
    } else if (strcasecmp(line, "QUIT") == 0) {
        if (misbehave(l) == OVER)
            return;
        say(l, "221 bye\r\n");
        close_link(l);
    } else {
        world_fail("a command that is none: %.60s", line);
    }
}

/* Lines may be as long as they like in content. */
static size_t take_line(struct link *l, const char *octets, size_t n)
{
    struct talk *t = l->talk;
    const char *lf = memchr(octets, '\n', n);
    size_t part = lf ? (size_t)(lf - octets) + 1 : n;

    pt_assert(t->line_n + part < sizeof t->line);
    memcpy(t->line + t->line_n, octets, part);
    t->line_n += part;
    if (!lf)
        return part;
    if (t->line_n < 2 || t->line[t->line_n - 2] != '\r')
        world_fail("a line without CR");
    t->line[t->line_n - 2] = 0;
    n = t->line_n - 2;
    t->line_n = 0;
    world_note(3000 + (uint64_t)n);
    if (t->state == DATA)
        content_line(l, t->line, n);
    else
        command(l, t->line);
    return part;
}

static size_t take_chunk(struct link *l, const char *octets, size_t n)
{
    struct talk *t = l->talk;

    n = PT_MIN(n, (size_t)t->chunk_left);
    if (!t->chunk_refused)
        buf_add(&t->content, octets, n);
    t->chunk_left -= n;
    if (!t->chunk_left)
        chunk_ends(l);
    return n;
}

void hop_take(struct link *l, const char *octets, size_t n)
{
    /* Every step may end the talk, and then the link too if the client has closed. */
    struct talk *t = l->talk;

    while (n && t->state != DEAF) {
        size_t part = t->state == CHUNK ? take_chunk(l, octets, n) : take_line(l, octets, n);

        octets += part;
        n -= part;
        if (!link_exists(l) || l->talk != t)
            return;
    }
}

/* ---- ends ---- */

static void lose_confirmations(struct link *l)
{
    struct talk *t = l->talk;

    for (unsigned i = 0; i < t->confirmation_count; i++)
        for (unsigned k = 0; k < t->confirmations[i].count; k++)
            model_lost(t->confirmations[i].rcpts[k], lost_since(l));
    t->confirmation_count = 0;
}

void hop_was_read(struct link *l)
{
    struct talk *t = l->talk;
    unsigned done = 0;

    if (!t)
        return;
    while (done < t->confirmation_count && t->confirmations[done].at <= l->read) {
        for (unsigned k = 0; k < t->confirmations[done].count; k++)
            model_confirmed(t->confirmations[done].rcpts[k], t->dsn);
        done++;
    }
    t->confirmation_count -= done;
    memmove(t->confirmations, t->confirmations + done,
            t->confirmation_count * sizeof t->confirmations[0]);
}

void hop_client_gone(struct link *l)
{
    if (l->talk)
        lose_confirmations(l);
}

void hop_forget(struct link *l)
{
    struct talk *t = l->talk;

    if (!t)
        return;
    lose_confirmations(l);
    buf_done(&t->content);
    free(t);
    l->talk = NULL;
}

void hop_dies(struct sim_hop *h)
{
    for (unsigned i = 0; i < LINKS_MAX; i++) {
        struct link *l = world->net.links[i];

        if (l && l->hop == h->index && !l->connecting && l->talk)
            link_break(l);
    }
}
