#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "smtp/client.h"
#include "smtp/server.h"
#include "smtp/stuff.h"

/*
 * Our client machine talks to our server machine. Whatever both agree upon, in whatever pieces the
 * octets travel: what the server stores is what the client was given, once, for the recipients
 * that were accepted, and each recipient's result is the server's verdict.
 */

enum { MESSAGES = 6, RCPTS_MAX = 4 };

struct spec {
    const char *rcpts[RCPTS_MAX + 1]; /* those that begin with "no" or "later" are refused */
    struct str content;
    const char *from; /* refused if it begins with "no" */
    bool has_8bit;
};

static const struct spec specs[MESSAGES] = {
    { { "a@x" }, STR("Subject: 1\r\n\r\nhello\r\n"), "s@x" },
    { { "b@x", "no@x", "later@x", "c@x" }, STR(".\r\n..\r\n.\r\n\r\n.hi\r\n.\r\n"), "s@x" },
    { { "no1@x", "no2@x" }, STR("Subject: 3\r\n\r\nnobody\r\n"), "s@x" },
    { { "d@x" }, STR("Subject: 4\r\n\r\ncaf\xc3\xa9\r\n"), "", true },
    { { "e@x", "f@x" }, STR("Subject: 5\r\n\r\nrefused\r\n"), "no@x" },
    { { "\"q r\"@x" }, STR("MAIL FROM:<a@x>\r\nDATA\r\n.\r\n"), "s@x" },
};

struct talk {
    struct smtp_client *client;
    struct smtp_server server;
    struct smtp_server_config config;
    struct buf to_server, to_client, out;
    struct smtp_client_message messages[MESSAGES];
    struct smtp_client_rcpt rcpts[MESSAGES][RCPTS_MAX];
    unsigned begun, done;
    bool closed, server_closed;
    bool stored_one[MESSAGES];
    /* What the server has of the transaction under way, and of all before. */
    struct buf envelope, content, stored;
};

/* ---- the server's driver ---- */

static const struct smtp_reply *verdict(struct str address)
{
    static const struct smtp_reply no = { 550, { 5, 1, 1 }, STR("No") };
    static const struct smtp_reply later = { 450, { 4, 2, 1 }, STR("Later") };

    if (str_starts_nocase(address, STR("no")))
        return &no;
    return str_starts_nocase(address, STR("later")) ? &later : NULL;
}

static void answer_mail(struct talk *t)
{
    const struct smtp_reply *reply = verdict(t->server.asked.mail.reverse_path);

    buf_clear(&t->envelope);
    buf_clear(&t->content);
    if (!reply)
        buf_add_str(&t->envelope, t->server.asked.mail.reverse_path);
    smtp_server_answer(&t->server, &t->to_client, reply);
}

static void answer_rcpt(struct talk *t)
{
    const struct smtp_reply *reply = verdict(t->server.asked.rcpt.address);

    if (!reply) {
        buf_add_char(&t->envelope, ' ');
        buf_add_str(&t->envelope, t->server.asked.rcpt.address);
    }
    smtp_server_answer(&t->server, &t->to_client, reply);
}

static void commit(struct talk *t)
{
    for (unsigned i = 0; i < MESSAGES; i++)
        if (str_eq(buf_str(&t->content), specs[i].content)) {
            assert_false(t->stored_one[i]);
            t->stored_one[i] = true;
        }
    buf_add_str(&t->stored, buf_str(&t->envelope));
    BUF_LIT(&t->stored, "\n");
    buf_add_str(&t->stored, buf_str(&t->content));
    BUF_LIT(&t->stored, "\n");
    buf_clear(&t->content);
    smtp_server_answer(&t->server, &t->to_client, NULL);
}

static void serve(struct talk *t, struct str in)
{
    for (;;) {
        struct smtp_server_step step = smtp_server_feed(&t->server, in, &t->to_client);

        in = str_from(in, step.taken);
        if (step.reset)
            buf_clear(&t->content);
        switch (step.want) {
        case SMTP_WANT_MORE:
            assert_int_equal(in.n, 0);
            return;
        case SMTP_WANT_CONTENT:
            buf_add_str(&t->content, step.content);
            break;
        case SMTP_WANT_HELO:
        case SMTP_WANT_DATA:
            smtp_server_answer(&t->server, &t->to_client, NULL);
            break;
        case SMTP_WANT_MAIL:
            answer_mail(t);
            break;
        case SMTP_WANT_RCPT:
            answer_rcpt(t);
            break;
        case SMTP_WANT_COMMIT:
            commit(t);
            break;
        case SMTP_WANT_TLS:
            fail();
            break;
        case SMTP_WANT_CLOSE:
            t->server_closed = true;
            return;
        }
    }
}

/* ---- the client's driver ---- */

static void flush(struct talk *t)
{
    buf_add_str(&t->to_server, buf_str(&t->out));
    buf_clear(&t->out);
}

static bool begin_next(struct talk *t)
{
    unsigned i = t->begun;
    struct smtp_client_message *m = &t->messages[i];

    if (i == MESSAGES || !smtp_client_can_begin(t->client))
        return false;
    *m = (struct smtp_client_message){ .mail = { .reverse_path = str_of(specs[i].from),
                                                 .size_given = true,
                                                 .size = specs[i].content.n },
                                       .has_8bit = specs[i].has_8bit,
                                       .rcpts = t->rcpts[i] };
    for (; specs[i].rcpts[m->rcpt_count]; m->rcpt_count++)
        m->rcpts[m->rcpt_count].rcpt.address = str_of(specs[i].rcpts[m->rcpt_count]);
    t->begun++;
    smtp_client_begin(t->client, m, &t->out);
    return true;
}

static void send_content(struct talk *t)
{
    struct str content = specs[smtp_client_subject(t->client) - t->messages].content, end;
    struct smtp_stuff stuff;
    struct iovec iov[32];
    int count = 0;

    flush(t);
    begin_next(t);
    smtp_stuff_init(&stuff, smtp_client_way(t->client) == SMTP_CLIENT_BY_DATA);
    assert_int_equal(smtp_stuff_next(&stuff, &content, iov, &count, 32), SMTP_STUFF_MORE);
    assert_true(smtp_stuff_end(&stuff, &end));
    for (int i = 0; i < count; i++)
        buf_add(&t->to_server, iov[i].iov_base, iov[i].iov_len);
    buf_add_str(&t->to_server, end);
    smtp_client_content_end(t->client);
}

/* The results are the server's verdicts. */
static void check_verdicts(struct talk *t, unsigned message)
{
    const struct spec *spec = &specs[message];
    struct smtp_client_message *m = &t->messages[message];
    const struct smtp_reply *mail = verdict(str_of(spec->from));

    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        const struct smtp_client_result *r = &m->rcpts[i].result;
        const struct smtp_reply *expected = mail ? mail : verdict(str_of(spec->rcpts[i]));

        assert_int_equal(r->code, expected ? expected->code : 250);
        assert_int_equal(r->outcome, !expected               ? SMTP_CLIENT_SENT
                                     : expected->code == 550 ? SMTP_CLIENT_FAILED
                                                             : SMTP_CLIENT_RETRY);
        assert_false(r->in_doubt || r->untried);
        if (expected)
            assert_memory_equal(r->status, expected->status, 3);
    }
}

static void deliver(struct talk *t, struct str in)
{
    enum smtp_client_event event;

    while (!t->closed && (event = smtp_client_step(t->client, &in, &t->out)) != SMTP_CLIENT_MORE) {
        if (event == SMTP_CLIENT_READY_EVENT && !begin_next(t))
            smtp_client_quit(t->client, &t->out);
        else if (event == SMTP_CLIENT_CONTENT_EVENT)
            send_content(t);
        else if (event == SMTP_CLIENT_DONE_EVENT)
            assert_ptr_equal(smtp_client_subject(t->client), &t->messages[t->done++]);
        t->closed = event == SMTP_CLIENT_CLOSE_EVENT;
    }
    flush(t);
}

/* ---- both ---- */

static void start(struct talk *t, unsigned flags, uint32_t eager)
{
    struct smtp_client_config config = { .hostname = STR("gw"),
                                         .flags = flags,
                                         .bdat_eager_max = eager };

    *t = (struct talk){ .client = smtp_client_new(&config),
                        .config = { .hostname = STR("mx"),
                                    .greeting = STR("ESMTP"),
                                    .max_message_size = 100000,
                                    .max_recipients = 100 } };
    assert_non_null(t->client);
    buf_init(&t->to_server, 1 << 20);
    buf_init(&t->to_client, 1 << 20);
    buf_init(&t->out, 1 << 20);
    buf_init(&t->envelope, 1 << 20);
    buf_init(&t->content, 1 << 20);
    buf_init(&t->stored, 1 << 20);
    smtp_server_init(&t->server, &t->config, false);
    smtp_server_greet(&t->server, &t->to_client);
}

static void stop(struct talk *t)
{
    smtp_client_free(t->client);
    smtp_server_done(&t->server);
    buf_done(&t->to_server);
    buf_done(&t->to_client);
    buf_done(&t->out);
    buf_done(&t->envelope);
    buf_done(&t->content);
    buf_done(&t->stored);
}

/* Takes up to `size` octets from the front of `b` to `piece`. */
static struct str take(struct buf *b, size_t size, char *piece)
{
    struct str s = { piece, PT_MIN(size, b->n) };

    memcpy(piece, b->p, s.n);
    buf_drop(b, s.n);
    return s;
}

/* Lets them talk, octets travelling in pieces of those sizes. */
static void talk(struct talk *t, size_t to_server, size_t to_client)
{
    char piece[4096];

    while (t->to_server.n || t->to_client.n) {
        if (t->to_client.n)
            deliver(t, take(&t->to_client, to_client, piece));
        if (t->to_server.n && !t->server_closed)
            serve(t, take(&t->to_server, to_server, piece));
    }
}

static const char expected[] = "s@x a@x\nSubject: 1\r\n\r\nhello\r\n\n"
                               "s@x b@x c@x\n.\r\n..\r\n.\r\n\r\n.hi\r\n.\r\n\n"
                               " d@x\nSubject: 4\r\n\r\ncaf\xc3\xa9\r\n\n"
                               "s@x \"q r\"@x\nMAIL FROM:<a@x>\r\nDATA\r\n.\r\n\n";

static const unsigned ways[] = {
    0,
    SMTP_CLIENT_PIPELINE,
    SMTP_CLIENT_PIPELINE | SMTP_CLIENT_AHEAD,
    SMTP_CLIENT_BDAT,
    SMTP_CLIENT_PIPELINE | SMTP_CLIENT_BDAT,
    SMTP_CLIENT_PIPELINE | SMTP_CLIENT_AHEAD | SMTP_CLIENT_BDAT,
};

static void what_is_given_is_stored(void **state)
{
    static const size_t sizes[] = { 1, 2, 3, 7, 20, 64, 4096 };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(ways) * 2; i++)
        for (size_t k = 0; k < PT_ARRAY_LEN(sizes) * PT_ARRAY_LEN(sizes); k++) {
            size_t to_server = sizes[k % PT_ARRAY_LEN(sizes)];
            size_t to_client = sizes[k / PT_ARRAY_LEN(sizes)];
            struct talk t;

            print_message("flags %u, eager %zu, %zu there, %zu back\n", ways[i / 2], i % 2 * 1000,
                          to_server, to_client);
            start(&t, ways[i / 2], (uint32_t)(i % 2) * 1000);
            talk(&t, to_server, to_client);
            assert_true(t.closed && t.server_closed);
            assert_int_equal(t.done, MESSAGES);
            for (unsigned m = 0; m < MESSAGES; m++)
                check_verdicts(&t, m);
            assert_int_equal(smtp_client_ending(t.client)->code, 221);
            assert_string_equal(buf_cstr(&t.stored), expected);
            stop(&t);
        }
}

/* Lets them talk until `budget` octets have come back; all that the client wrote arrives, then the
 * connection is lost. False: they were done before. */
static bool talk_and_lose(struct talk *t, size_t budget)
{
    char piece[4096];

    while (t->to_server.n || t->to_client.n) {
        if (t->to_server.n && !t->server_closed)
            serve(t, take(&t->to_server, sizeof piece, piece));
        if (t->to_client.n && budget == 0) {
            smtp_client_lost(t->client, STR("connection closed"));
            deliver(t, STR(""));
            return true;
        }
        if (t->to_client.n)
            deliver(t, take(&t->to_client, 1, piece));
        budget--;
    }
    return false;
}

/* A message that was stored is known as sent, or in doubt; one that was not is never called sent,
 * and what is called untried left no trace. */
static void check_knowledge(const struct talk *t)
{
    assert_int_equal(t->begun, t->done);
    for (unsigned i = 0; i < t->begun; i++)
        for (uint32_t k = 0; k < t->messages[i].rcpt_count; k++) {
            const struct smtp_client_result *r = &t->rcpts[i][k].result;
            bool refused = verdict(str_of(specs[i].from)) || verdict(str_of(specs[i].rcpts[k]));

            assert_int_not_equal(r->outcome, SMTP_CLIENT_PENDING);
            if (r->outcome == SMTP_CLIENT_SENT)
                assert_true(t->stored_one[i] && !refused);
            else if (t->stored_one[i] && !refused)
                assert_true(r->in_doubt);
            if (r->untried)
                assert_false(t->stored_one[i]);
        }
}

static void a_loss_anywhere_leaves_no_unknown_copy(void **state)
{
    unsigned losses = 0;

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(ways) * 2; i++)
        for (size_t budget = 0;; budget++) {
            struct talk t;
            bool lost;

            start(&t, ways[i / 2], (uint32_t)(i % 2) * 1000);
            lost = talk_and_lose(&t, budget);
            assert_true(t.closed);
            check_knowledge(&t);
            stop(&t);
            losses += lost;
            if (!lost)
                break;
        }
    assert_true(losses > 1000);
}

/* MAILMAX (RFC 9422): the client quits by itself. */
static void a_limit_that_the_server_announces_is_kept(void **state)
{
    struct talk t;

    (void)state;
    start(&t, SMTP_CLIENT_PIPELINE | SMTP_CLIENT_AHEAD, 0);
    t.config.max_messages = 1;
    while (t.to_server.n || t.to_client.n) {
        char piece[4096];

        if (t.to_client.n)
            deliver(&t, take(&t.to_client, sizeof piece, piece));
        if (t.to_server.n && !t.server_closed)
            serve(&t, take(&t.to_server, sizeof piece, piece));
    }
    assert_int_equal(smtp_client_peer(t.client)->mail_max, 1);
    assert_int_equal(t.done, 1);
    assert_int_equal(t.begun, 1);
    assert_true(t.closed);
    assert_int_equal(smtp_client_ending(t.client)->outcome, SMTP_CLIENT_SENT);
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_is_stored),
        cmocka_unit_test(a_loss_anywhere_leaves_no_unknown_copy),
        cmocka_unit_test(a_limit_that_the_server_announces_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
