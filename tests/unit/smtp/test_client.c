#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "smtp/client.h"
#include "smtp/stuff.h"

/*
 * Conversations. A driver begins the messages one after the other (ahead where allowed) and quits
 * when none are left; `peer` is what the next hop says, a turn each; `sent` is all that goes out;
 * `log` is what happened:
 *
 *     ready  tls  a@x=SENT:250:2.1.5 Ok  (in doubt: a@x=RETRY?, untried: a@x=RETRY~)
 *     close=OUTCOME:code:text
 */

enum { MESSAGES_MAX = 4, TURNS_MAX = 12 };

enum finish { QUIT, LOST, STAY };

struct message_spec {
    const char *rcpts; /* "a@x b@x"; NULL: no message */
    const char *from;  /* NULL: s@x */
    const char *content;
    struct smtp_mail mail;
    uint8_t notify;
    const char *orcpt;
    bool has_8bit, header_8bit, question;
};

struct conversation {
    const char *name;
    unsigned flags;
    uint32_t max_messages;
    uint32_t eager;
    const char *user; /* "": none; its password is "pass word" */
    struct message_spec messages[MESSAGES_MAX];
    const char *peer[TURNS_MAX + 1];
    enum finish finish; /* after the last turn */
    const char *sent;
    const char *log;
};

#define PLAIN "220 mx ESMTP\r\n", "250 mx\r\n"
#define OFFERS(list) "220 mx ESMTP\r\n", "250-mx\r\n" list
#define PIPELINING OFFERS("250 PIPELINING\r\n")
#define CHUNKING OFFERS("250-PIPELINING\r\n250 CHUNKING\r\n")
#define P SMTP_CLIENT_PIPELINE
#define A SMTP_CLIENT_AHEAD
#define B SMTP_CLIENT_BDAT
#define TLS SMTP_CLIENT_TLS_ONLY
#define SECURED(list) OFFERS("250 STARTTLS\r\n"), "220 go\r\n", "250-mx\r\n250-PIPELINING\r\n" list
#define SECURED_SENT "EHLO gw\r\nSTARTTLS\r\nEHLO gw\r\n"
#define CONTENT "Subject: x\r\n\r\nhi\r\n"

#include "client_conversations.tbl.h"

struct driver {
    const struct conversation *conv;
    struct smtp_client *client;
    struct buf out, sent, log;
    struct arena memory;
    struct smtp_client_message messages[MESSAGES_MAX];
    unsigned begun, done;
    bool closed;
};

static void flush(struct driver *d)
{
    buf_add_str(&d->sent, buf_str(&d->out));
    buf_clear(&d->out);
}

static const char *content_of(const struct message_spec *spec)
{
    return spec->content ? spec->content : CONTENT;
}

static void fill_message(struct driver *d, unsigned i)
{
    const struct message_spec *spec = &d->conv->messages[i];
    struct smtp_client_message *m = &d->messages[i];
    struct str rest = str_of(spec->rcpts);

    m->mail = spec->mail;
    m->mail.reverse_path = str_of(spec->from ? spec->from : "s@x");
    m->mail.size_given = true;
    if (!m->mail.size)
        m->mail.size = strlen(content_of(spec));
    m->has_8bit = spec->has_8bit;
    m->header_8bit = spec->header_8bit;
    m->question = spec->question;
    m->rcpts = arena_zalloc(&d->memory, 1000 * sizeof *m->rcpts);
    while (rest.n) {
        ptrdiff_t space = str_find(rest, ' ', 0);
        struct str address = str_head(rest, space < 0 ? rest.n : (size_t)space);

        m->rcpts[m->rcpt_count++].rcpt = (struct smtp_rcpt){ .address = address,
                                                             .notify = spec->notify,
                                                             .orcpt = str_of(spec->orcpt) };
        rest = str_from(rest, address.n + (space >= 0));
    }
}

static bool begin_next(struct driver *d)
{
    if (d->begun == MESSAGES_MAX || !d->conv->messages[d->begun].rcpts ||
        !smtp_client_can_begin(d->client))
        return false;
    fill_message(d, d->begun);
    smtp_client_begin(d->client, &d->messages[d->begun], &d->out);
    d->begun++;
    return true;
}

/* Returns false when the content may not go out. */
static bool send_content(struct driver *d, unsigned i)
{
    struct str content = str_of(content_of(&d->conv->messages[i])), end;
    struct smtp_stuff stuff;
    struct iovec iov[16];
    int count = 0;

    flush(d);
    smtp_stuff_init(&stuff, smtp_client_way(d->client) == SMTP_CLIENT_BY_DATA);
    if (smtp_stuff_next(&stuff, &content, iov, &count, 16) != SMTP_STUFF_MORE ||
        !smtp_stuff_end(&stuff, &end))
        return false;
    while (begin_next(d))
        continue;
    for (int k = 0; k < count; k++)
        buf_add(&d->sent, iov[k].iov_base, iov[k].iov_len);
    buf_add_str(&d->sent, end);
    smtp_client_content_end(d->client);
    return true;
}

static void log_result(struct buf *log, const struct smtp_client_result *r)
{
    static const char *const names[] = { "PENDING", "SENT", "RETRY", "FAILED" };
    uint8_t status[3];

    buf_addf(log, "%s%s%s:%u:%.*s\n", names[r->outcome], r->in_doubt ? "?" : "",
             r->untried ? "~" : "", r->code, STR_FMT(r->text));
    PT_IGNORE(smtp_client_status(r->code, r->text, status), "class alone is a status too");
    if (r->outcome)
        assert_memory_equal(status, r->status, 3);
    assert_true(!r->in_doubt || !r->untried);
}

static void log_message(struct driver *d)
{
    struct smtp_client_message *m = smtp_client_subject(d->client);

    assert_ptr_equal(m, &d->messages[d->done]);
    d->done++;
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        buf_add_str(&d->log, m->rcpts[i].rcpt.address);
        buf_add_char(&d->log, '=');
        log_result(&d->log, &m->rcpts[i].result);
        if (m->mail_refused && m->question) {
            d->log.n--;
            BUF_LIT(&d->log, " (MAIL)\n");
        }
    }
}

static void act(struct driver *d, enum smtp_client_event event)
{
    switch (event) {
    case SMTP_CLIENT_READY_EVENT:
        if (!begin_next(d) && d->conv->finish == QUIT)
            smtp_client_quit(d->client, &d->out);
        break;
    case SMTP_CLIENT_CONTENT_EVENT:
        if (!send_content(d, d->done))
            smtp_client_content_fail(d->client, SMTP_CLIENT_FAILED, (uint8_t[]){ 5, 6, 0 },
                                     STR("5.6.0 bare"));
        break;
    case SMTP_CLIENT_DONE_EVENT:
        log_message(d);
        break;
    case SMTP_CLIENT_STARTTLS_EVENT:
        BUF_LIT(&d->log, "tls\n");
        smtp_client_secured(d->client, &d->out);
        break;
    case SMTP_CLIENT_CLOSE_EVENT:
        BUF_LIT(&d->log, "close=");
        log_result(&d->log, smtp_client_ending(d->client));
        d->closed = true;
        break;
    case SMTP_CLIENT_MORE:
        break;
    }
}

static void feed(struct driver *d, struct str octets)
{
    enum smtp_client_event event;

    while (!d->closed) {
        event = smtp_client_step(d->client, &octets, &d->out);
        if (event == SMTP_CLIENT_MORE)
            break;
        act(d, event);
    }
    flush(d);
}

static void driver_init(struct driver *d, const struct conversation *conv)
{
    struct smtp_client_config config = { .hostname = STR("gw"),
                                         .flags = conv->flags,
                                         .max_messages = conv->max_messages,
                                         .bdat_eager_max = conv->eager,
                                         .user = str_of(conv->user),
                                         .password = STR("pass word") };

    *d = (struct driver){ .conv = conv, .client = smtp_client_new(&config) };
    assert_non_null(d->client);
    buf_init(&d->out, 1 << 20);
    buf_init(&d->sent, 1 << 20);
    buf_init(&d->log, 1 << 20);
    arena_init(&d->memory, SIZE_MAX);
}

static void driver_done(struct driver *d)
{
    smtp_client_free(d->client);
    buf_done(&d->out);
    buf_done(&d->sent);
    buf_done(&d->log);
    arena_done(&d->memory);
}

/* Plays the conversation with the peer's turns cut into reads of `size` octets. */
static void play(struct driver *d, size_t size)
{
    for (size_t turn = 0; turn < TURNS_MAX && d->conv->peer[turn]; turn++) {
        struct str octets = str_of(d->conv->peer[turn]);

        while (octets.n) {
            struct str read = str_head(octets, size);

            octets = str_from(octets, read.n);
            feed(d, read);
        }
    }
    if (d->conv->finish == LOST) {
        smtp_client_lost(d->client, STR("connection closed"));
        feed(d, STR(""));
    }
}

static void every_cut_of_the_peer_gives_the_same_conversation(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(conversations); i++)
        for (size_t size = 1; size < 80; size = size < 8 ? size + 1 : size * 3) {
            struct driver d;

            print_message("%s, %zu at a time\n", conversations[i].name, size);
            driver_init(&d, &conversations[i]);
            play(&d, size);
            assert_string_equal(buf_cstr(&d.sent), conversations[i].sent);
            assert_string_equal(buf_cstr(&d.log), conversations[i].log);
            assert_int_equal(d.begun, d.done);
            driver_done(&d);
        }
}

/* Wherever the connection dies, each recipient has one result; it is in doubt only if the end of
 * its content was sent, and never both in doubt and untried. */
static void a_loss_at_every_octet_ends_everything(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(conversations); i++) {
        struct conversation conv = conversations[i];

        conv.finish = LOST;
        for (size_t turn = 0; turn < TURNS_MAX && conversations[i].peer[turn]; turn++) {
            size_t n = strlen(conversations[i].peer[turn]);

            for (size_t cut = 0; cut < n; cut++) {
                char part[4096];
                struct driver d;

                memcpy(part, conversations[i].peer[turn], cut);
                part[cut] = 0;
                conv.peer[turn] = part;
                conv.peer[turn + 1] = NULL;
                driver_init(&d, &conv);
                play(&d, 4096);
                assert_true(d.closed);
                assert_int_equal(d.begun, d.done);
                assert_null(strstr(buf_cstr(&d.log), "PENDING"));
                driver_done(&d);
            }
            memcpy(conv.peer, conversations[i].peer, sizeof conv.peer);
        }
    }
}

/* ---- many recipients ---- */

static void append(struct buf *b, const char *before, const char *after, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        buf_addf(b, "%sr%03u@x%s", before, i, after);
}

static void many_recipients_go_in_groups(void **state)
{
    struct conversation conv = { .flags = P, .peer = { PIPELINING }, .finish = STAY };
    struct buf rcpts, expected;
    struct driver d;

    (void)state;
    buf_init(&rcpts, 1 << 20);
    buf_init(&expected, 1 << 20);
    append(&rcpts, "", " ", 0, 250);
    rcpts.n--;
    conv.messages[0].rcpts = buf_cstr(&rcpts);
    driver_init(&d, &conv);
    play(&d, 4096);
    BUF_LIT(&expected, "EHLO gw\r\nMAIL FROM:<s@x>\r\n");
    append(&expected, "RCPT TO:<", ">\r\n", 0, 100);
    assert_string_equal(buf_cstr(&d.sent), buf_cstr(&expected));

    feed(&d, STR("250 Ok\r\n"));
    for (int i = 0; i < 49; i++)
        feed(&d, STR("250 Ok\r\n"));
    assert_string_equal(buf_cstr(&d.sent), buf_cstr(&expected));
    feed(&d, STR("550 5.1.1 who?\r\n"));
    append(&expected, "RCPT TO:<", ">\r\n", 100, 150);
    assert_string_equal(buf_cstr(&d.sent), buf_cstr(&expected));

    for (int i = 50; i < 250; i++)
        feed(&d, STR("250 Ok\r\n"));
    append(&expected, "RCPT TO:<", ">\r\n", 150, 250);
    BUF_LIT(&expected, "DATA\r\n");
    assert_string_equal(buf_cstr(&d.sent), buf_cstr(&expected));

    feed(&d, STR("354 go\r\n"));
    feed(&d, STR("250 2.0.0 taken\r\n"));
    for (unsigned i = 0; i < 250; i++) {
        const struct smtp_client_result *r = &d.messages[0].rcpts[i].result;

        assert_int_equal(r->outcome, i == 49 ? SMTP_CLIENT_FAILED : SMTP_CLIENT_SENT);
    }
    assert_int_equal(smtp_client_state(d.client), SMTP_CLIENT_STATE_READY);
    driver_done(&d);
    buf_done(&rcpts);
    buf_done(&expected);
}

/* ---- states ---- */

/* Step by step an answer that is there before its command gives the connection up: the one to the
 * next command would be taken for that to the content. A good-bye may come at any time. */
static void an_answer_before_its_command_counts_for_nothing(void **state)
{
    struct conversation early = { .messages = { { .rcpts = "a@x b@x" } },
                                  .peer = { PLAIN, "250 Ok\r\n", "250 Ok\r\n250 early\r\n" } };
    struct conversation bye = { .messages = { { .rcpts = "a@x" } },
                                .peer = { PLAIN, "250 Ok\r\n421 4.3.2 bye\r\n" } };
    struct driver d;

    (void)state;
    driver_init(&d, &early);
    play(&d, 4096);
    assert_int_equal(smtp_client_state(d.client), SMTP_CLIENT_STATE_CLOSED);
    assert_non_null(strstr(buf_cstr(&d.log), "b@x=RETRY:0:4.5.0 the next hop gave an answer"));
    driver_done(&d);

    driver_init(&d, &bye);
    play(&d, 4096);
    assert_string_equal(buf_cstr(&d.log), "a@x=RETRY:421:4.3.2 bye\nclose=RETRY:421:4.3.2 bye\n");
    driver_done(&d);
}

static void the_state_names_what_is_waited_for(void **state)
{
    struct conversation conv = { .flags = 0,
                                 .messages = { { .rcpts = "a@x b@x" } },
                                 .finish = QUIT };
    static const struct {
        const char *peer;
        enum smtp_client_state state;
        unsigned limit;
    } steps[] = {
        { "220 mx\r\n", SMTP_CLIENT_STATE_EHLO, 300 },
        { "500 what?\r\n", SMTP_CLIENT_STATE_HELO, 300 },
        { "250 mx\r\n", SMTP_CLIENT_STATE_MAIL, 300 },
        { "250 ok\r\n", SMTP_CLIENT_STATE_RCPT, 300 },
        { "250 ok\r\n", SMTP_CLIENT_STATE_RCPT, 300 },
        { "250 ok\r\n", SMTP_CLIENT_STATE_DATA, 120 },
        { "354 go\r\n", SMTP_CLIENT_STATE_DOT, 600 },
        { "250 ok\r\n", SMTP_CLIENT_STATE_QUIT, 10 },
        { "221 bye\r\n", SMTP_CLIENT_STATE_CLOSED, 0 },
    };
    struct driver d;

    (void)state;
    driver_init(&d, &conv);
    assert_int_equal(smtp_client_state(d.client), SMTP_CLIENT_STATE_GREETING);
    assert_int_equal(smtp_client_time_limit(d.client), 300); /* RFC 5321 4.5.3.2.1 and so on */
    for (size_t i = 0; i < PT_ARRAY_LEN(steps); i++) {
        feed(&d, str_of(steps[i].peer));
        assert_int_equal(smtp_client_state(d.client), steps[i].state);
        assert_int_equal(smtp_client_time_limit(d.client), steps[i].limit);
    }
    assert_string_equal(smtp_client_state_name(SMTP_CLIENT_STATE_DOT), "DOT");
    assert_string_equal(smtp_client_state_phrase(SMTP_CLIENT_STATE_DOT),
                        "sending end of data: message may be delivered more than once");
    driver_done(&d);
}

static void offers_are_understood(void **state)
{
    struct conversation conv = { .peer = { OFFERS("250-pipelining\r\n250-SIZE 1000\r\n"
                                                  "250-8BITMIME\r\n250-SmtpUtf8\r\n250-CHUNKING\r\n"
                                                  "250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"
                                                  "250-STARTTLS\r\n250-X-ODD\r\n250-AUTH=X\r\n"
                                                  "250 LIMITS MAILMAX=3 rcptmax=70000000000 "
                                                  "RCPTDOMAINMAX=1 NEW=x MAILMAX\r\n") },
                                 .finish = STAY };
    struct conversation none = { .peer = { PLAIN }, .finish = STAY };
    const struct smtp_client_peer *peer;
    struct driver d;

    (void)state;
    driver_init(&d, &conv);
    play(&d, 4096);
    peer = smtp_client_peer(d.client);
    assert_true(peer->pipelining && peer->size && peer->eightbitmime && peer->smtputf8);
    assert_true(peer->chunking && peer->dsn && peer->enhancedstatuscodes && peer->starttls);
    assert_int_equal(peer->size_max, 1000);
    assert_int_equal(peer->mail_max, 3);
    assert_int_equal(peer->rcpt_max, UINT32_MAX);
    assert_int_equal(peer->rcpt_domain_max, 1);
    driver_done(&d);

    driver_init(&d, &none);
    play(&d, 4096);
    peer = smtp_client_peer(d.client);
    assert_false(peer->pipelining || peer->size || peer->eightbitmime || peer->smtputf8);
    assert_false(peer->chunking || peer->dsn || peer->enhancedstatuscodes || peer->starttls);
    driver_done(&d);
}

static void noop_comes_back_to_ready(void **state)
{
    struct conversation conv = { .peer = { PLAIN }, .finish = STAY };
    struct driver d;

    (void)state;
    driver_init(&d, &conv);
    play(&d, 4096);
    smtp_client_noop(d.client, &d.out);
    feed(&d, STR(""));
    assert_int_equal(smtp_client_state(d.client), SMTP_CLIENT_STATE_NOOP);
    assert_false(smtp_client_can_begin(d.client));
    feed(&d, STR("500 what?\r\n"));
    assert_true(smtp_client_can_begin(d.client));
    assert_string_equal(buf_cstr(&d.sent), "EHLO gw\r\nNOOP\r\n");
    driver_done(&d);
}

/* Behind TLS, up to where AUTH is to be said. */
static struct smtp_client *secured(const char *user, struct str password, struct buf *out)
{
    struct smtp_client_config config = {
        .hostname = STR("gw"), .flags = TLS, .user = str_of(user), .password = password
    };
    struct smtp_client *c = smtp_client_new(&config);
    struct str in = STR("220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n");

    assert_non_null(c);
    assert_int_equal(smtp_client_step(c, &in, out), SMTP_CLIENT_STARTTLS_EVENT);
    smtp_client_secured(c, out);
    in = STR("250-mx\r\n250 AUTH PLAIN\r\n");
    buf_clear(out);
    assert_int_equal(smtp_client_step(c, &in, out), SMTP_CLIENT_MORE);
    return c;
}

/* RFC 4954 section 4: a command line has its limit, the line behind a challenge has not. */
static void a_long_password_does_not_go_into_the_command(void **state)
{
    char long_one[SMTP_CLIENT_SECRET_MAX];
    struct smtp_client *c;
    struct buf out;
    struct str in;

    (void)state;
    memset(long_one, 'x', sizeof long_one);
    buf_init(&out, 4096);
    for (size_t n = 1; n <= sizeof long_one; n++) {
        char user[SMTP_CLIENT_SECRET_MAX + 1];

        memset(user, 'u', n);
        user[n] = 0;
        buf_clear(&out);
        c = secured(user, (struct str){ long_one, n }, &out);
        if ((2 * n + 4) / 3 * 4 + sizeof "AUTH PLAIN \r\n" - 1 <= 512) {
            assert_int_equal(out.n, (2 * n + 4) / 3 * 4 + sizeof "AUTH PLAIN \r\n" - 1);
        } else {
            assert_true(str_eq(buf_str(&out), STR("AUTH PLAIN\r\n")));
            buf_clear(&out);
            in = STR("334 \r\n");
            assert_int_equal(smtp_client_step(c, &in, &out), SMTP_CLIENT_MORE);
            assert_int_equal(out.n, (2 * n + 4) / 3 * 4 + 2);
        }
        in = STR("535 no\r\n");
        assert_int_equal(smtp_client_step(c, &in, &out), SMTP_CLIENT_CLOSE_EVENT);
        assert_true(smtp_client_auth_refused(c));
        assert_null(
            memmem(smtp_client_ending(c)->text.p, smtp_client_ending(c)->text.n, "xxxxxxxx", 8));
        smtp_client_free(c);
    }
    buf_done(&out);
}

static void no_memory_for_commands_ends_the_connection(void **state)
{
    char from[101];
    struct conversation conv = { .messages = { { .rcpts = "a@x", .from = from } },
                                 .peer = { PLAIN } };
    struct driver d;

    (void)state;
    memset(from, 'a', 100);
    from[100] = 0;
    driver_init(&d, &conv);
    d.out.max = 64;
    play(&d, 4096);
    assert_true(d.closed);
    assert_string_equal(buf_cstr(&d.log),
                        "a@x=RETRY:0:4.3.0 out of memory while sending MAIL FROM\n"
                        "close=RETRY:0:4.3.0 out of memory while sending MAIL FROM\n");
    driver_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_of_the_peer_gives_the_same_conversation),
        cmocka_unit_test(a_loss_at_every_octet_ends_everything),
        cmocka_unit_test(many_recipients_go_in_groups),
        cmocka_unit_test(an_answer_before_its_command_counts_for_nothing),
        cmocka_unit_test(the_state_names_what_is_waited_for),
        cmocka_unit_test(offers_are_understood),
        cmocka_unit_test(noop_comes_back_to_ready),
        cmocka_unit_test(a_long_password_does_not_go_into_the_command),
        cmocka_unit_test(no_memory_for_commands_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
