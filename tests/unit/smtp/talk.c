#include "talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct talk_options talk_defaults(void)
{
    return (struct talk_options){
        .config = {
            .hostname = STR("gw.example.com"),
            .greeting = STR("ESMTP ready"),
            .max_message_size = 1000,
            .max_recipients = 3,
            .max_errors = SMTP_SERVER_MAX_ERRORS,
            .max_refused = SMTP_SERVER_MAX_REFUSED,
        },
    };
}

static const struct smtp_reply refused = { 550, { 5, 7, 1 }, { "no", 2 } };
static const struct smtp_reply deferred = { 451, { 4, 7, 1 }, { "later", 5 } };
static const struct smtp_reply no_storage = { 452, { 4, 3, 1 }, { "full", 4 } };
static const struct smtp_reply goodbye = { 421, { 4, 7, 0 }, { "enough", 6 } };

static const struct smtp_reply *verdict(struct str who)
{
    return str_starts_nocase(who, STR("refused"))    ? &refused
           : str_starts_nocase(who, STR("deferred")) ? &deferred
           : str_starts_nocase(who, STR("goodbye"))  ? &goodbye
                                                     : NULL;
}

static void note(struct talk *t, const char *what)
{
    if (t->events.n)
        buf_add_char(&t->events, ' ');
    buf_add_str(&t->events, str_of(what));
}

static void note_value(struct talk *t, struct str value)
{
    buf_add_char(&t->events, '(');
    buf_add_str(&t->events, value);
    buf_add_char(&t->events, ')');
}

static void answer(struct talk *t, const struct smtp_reply *reply)
{
    /* A copy that dies at once: the machine may keep nothing of it. */
    struct smtp_reply copy;
    char *text = NULL;

    if (reply) {
        copy = *reply;
        text = str_dup(reply->text);
        copy.text.p = text;
        buf_addf(&t->events, "!%d", reply->code);
        smtp_server_answer(&t->server, &t->replies, &copy);
        memset(text, 'X', copy.text.n);
        free(text);
    } else {
        smtp_server_answer(&t->server, &t->replies, NULL);
    }
}

static void note_mail(struct talk *t, const struct smtp_mail *m)
{
    note(t, "MAIL");
    note_value(t, m->reverse_path);
    if (m->size_given)
        buf_addf(&t->events, "size=%llu", (unsigned long long)m->size);
    if (m->body)
        buf_addf(&t->events, "body=%d", m->body);
    if (m->ret)
        buf_addf(&t->events, "ret=%d", m->ret);
    if (m->smtputf8)
        BUF_LIT(&t->events, "utf8");
    if (m->envid.n) {
        BUF_LIT(&t->events, "envid=");
        buf_add_str(&t->events, m->envid);
    }
}

static void note_rcpt(struct talk *t, const struct smtp_rcpt *r)
{
    note(t, "RCPT");
    note_value(t, r->address);
    if (r->notify)
        buf_addf(&t->events, "notify=%d", r->notify);
    if (r->orcpt.n) {
        BUF_LIT(&t->events, "orcpt=");
        buf_add_str(&t->events, r->orcpt);
    }
}

static void ask(struct talk *t, enum smtp_want want)
{
    struct smtp_server *s = &t->server;

    switch (want) {
    case SMTP_WANT_HELO:
        note(t, s->asked.helo.esmtp ? "EHLO" : "HELO");
        note_value(t, s->asked.helo.name);
        answer(t, verdict(s->asked.helo.name));
        break;
    case SMTP_WANT_MAIL:
        note_mail(t, &s->asked.mail);
        t->nodata = str_starts_nocase(s->asked.mail.reverse_path, STR("nodata"));
        answer(t, verdict(s->asked.mail.reverse_path));
        break;
    case SMTP_WANT_RCPT:
        note_rcpt(t, &s->asked.rcpt);
        answer(t, verdict(s->asked.rcpt.address));
        break;
    case SMTP_WANT_DATA:
        note(t, "DATA");
        answer(t, t->nodata ? &no_storage : NULL);
        break;
    case SMTP_WANT_COMMIT:
        assert_int_equal(smtp_server_size(s), t->content.n);
        assert_int_equal(smtp_server_eight_bit(s), str_has_8bit(buf_str(&t->content)));
        note(t, "STORE");
        note_value(t, buf_str(&t->content));
        answer(t, str_starts_nocase(buf_str(&t->content), STR("nocommit"))
                      ? &smtp_reply_cannot_store
                      : NULL);
        buf_clear(&t->content);
        break;
    default:
        fail();
    }
}

static void content(struct talk *t, struct str octets)
{
    struct str fails = STR("nostore");
    struct smtp_reply words = no_storage;
    char *text;

    buf_add_str(&t->content, octets);
    if (t->content.n < fails.n || !str_starts_nocase(buf_str(&t->content), fails))
        return;
    text = str_dup(words.text);
    words.text.p = text;
    smtp_server_fail_content(&t->server, &words);
    memset(text, 'X', words.text.n);
    free(text);
    note(t, "FAIL");
    buf_clear(&t->content);
}

/* One read: `in` is a copy that lies alone in memory, so that a look beyond it is found. */
static struct str turn(struct talk *t, const struct talk_options *o, struct str in)
{
    char *copy = malloc(in.n ? in.n : 1);
    struct smtp_server_step step;

    if (in.n)
        memcpy(copy, in.p, in.n);
    step = smtp_server_feed(&t->server, (struct str){ copy, in.n }, &t->replies);
    assert_true(step.taken <= in.n);
    if (step.reset) {
        note(t, "RESET");
        buf_clear(&t->content);
    }
    if (step.want == SMTP_WANT_CONTENT) {
        assert_true(step.content.n > 0);
        assert_true(step.content.p >= copy && step.content.p + step.content.n <= copy + step.taken);
        content(t, step.content);
    } else if (step.want == SMTP_WANT_TLS) {
        note(t, "TLS");
        smtp_server_answer(&t->server, &t->replies, o->no_tls);
        if (!o->no_tls)
            smtp_server_tls_started(&t->server);
    } else if (step.want == SMTP_WANT_CLOSE) {
        note(t, "CLOSE");
        t->closed = true;
    } else if (step.want != SMTP_WANT_MORE) {
        if (o->hold) {
            assert_true(smtp_server_hold(&t->server));
            memset(copy, 'X', in.n);
        }
        ask(t, step.want);
    } else {
        assert_int_equal(step.taken, in.n);
        t->waits = true;
    }
    free(copy);
    return str_from(in, step.taken);
}

void talk_feed(struct talk *t, const struct talk_options *o, struct str wire)
{
    size_t seen = 0;

    while (!t->closed && seen < wire.n) {
        size_t n = o->cut ? o->cut : wire.n;
        struct str in;

        if (o->split > seen && o->split - seen < n)
            n = o->split - seen;
        in = str_head(str_from(wire, seen), n);
        seen += in.n;
        do {
            t->waits = false;
            in = turn(t, o, in);
        } while (!t->closed && !t->waits);
    }
}

void talk_run(struct talk *t, const struct talk_options *o, struct str wire)
{
    *t = (struct talk){ 0 };
    buf_init(&t->replies, 1 << 20);
    buf_init(&t->codes, 1 << 20);
    buf_init(&t->events, 1 << 20);
    buf_init(&t->content, 1 << 20);
    smtp_server_init(&t->server, &o->config, o->tls);
    smtp_server_greet(&t->server, &t->replies);
    talk_feed(t, o, wire);
    talk_read_replies(t);
}

void talk_done(struct talk *t)
{
    smtp_server_done(&t->server);
    buf_done(&t->replies);
    buf_done(&t->codes);
    buf_done(&t->events);
    buf_done(&t->content);
}

/* "d.ddd.ddd " at the front, or 0. */
static size_t status_length(struct str line)
{
    size_t i = 0;
    int dots = 0;

    for (; i < line.n && (line.p[i] == '.' || (line.p[i] >= '0' && line.p[i] <= '9')); i++)
        dots += line.p[i] == '.';
    return dots == 2 && i < line.n && line.p[i] == ' ' ? i : 0;
}

static void check_line(struct str line)
{
    assert_true(line.n >= 4 && line.n <= 510);
    for (size_t i = 0; i < line.n; i++)
        assert_true((unsigned char)line.p[i] >= ' ' && line.p[i] != 127);
    for (size_t i = 0; i < 3; i++)
        assert_true(line.p[i] >= '0' && line.p[i] <= '9');
    assert_true(line.p[3] == ' ' || line.p[3] == '-');
}

void talk_read_replies(struct talk *t)
{
    struct str all = buf_str(&t->replies), first = STR_NULL;

    buf_clear(&t->codes);
    while (all.n) {
        ptrdiff_t cr = str_find(all, '\r', 0);
        struct str line, status;

        assert_true(cr >= 0 && (size_t)cr + 1 < all.n && all.p[cr + 1] == '\n');
        line = str_head(all, (size_t)cr);
        all = str_from(all, (size_t)cr + 2);
        check_line(line);
        if (first.n)
            assert_memory_equal(first.p, line.p, 3);
        first = line.p[3] == '-' ? line : STR_NULL;
        if (line.p[3] == '-')
            continue;
        status = str_from(line, 4);
        status = str_head(status, status_length(status));
        if (t->codes.n)
            buf_add_char(&t->codes, ' ');
        buf_add(&t->codes, line.p, 3);
        if (status.n) {
            buf_add_char(&t->codes, '/');
            buf_add_str(&t->codes, status);
        }
    }
    assert_true(first.n == 0);
}

static void expect(const struct talk_options *o, const struct talk_case *c, struct str wire)
{
    struct talk t;
    struct buf codes;

    buf_init(&codes, 1 << 16);
    buf_addf(&codes, "220%s%s", c->codes[0] ? " " : "", c->codes);
    talk_run(&t, o, wire);
    if (!str_eq(buf_str(&t.codes), buf_str(&codes)) ||
        !str_eq(buf_str(&t.events), str_of(c->events))) {
        print_message("%s (cut %zu, split %zu, hold %d)\n  codes    %s\n  expected %s\n"
                      "  events   %s\n  expected %s\n",
                      c->name, o->cut, o->split, o->hold, buf_cstr(&t.codes), buf_cstr(&codes),
                      buf_cstr(&t.events), c->events);
        fail();
    }
    buf_done(&codes);
    talk_done(&t);
}

void talk_check(const struct talk_options *options, const struct talk_case *c)
{
    struct talk_options o = *options;
    struct str wire = c->wire;

    expect(&o, c, wire);
    o.hold = true;
    for (o.cut = 1; o.cut < wire.n && o.cut < 80; o.cut++) {
        o.hold = !o.hold;
        expect(&o, c, wire);
    }
    o.cut = 0;
    for (o.split = 1; o.split < wire.n && o.split < 600; o.split++) {
        o.hold = !o.hold;
        expect(&o, c, wire);
    }
}
