#include <stdlib.h>

#include "base/arena.h"
#include "smtp/client.h"
#include "smtp/stuff.h"

#include "fuzz.h"

/*
 * The next hop says what the fuzzer wants. Input: one octet of flags, one that says how the rest is
 * cut into reads and when the connection is lost, then the peer's octets. Three messages are
 * offered; with AUTH the second of them is a question.
 *
 * Holds, or the process aborts: every recipient of every message that was begun has a result when
 * the machine closes, DONE comes once for each and in order, the machine closes, and nothing goes
 * out with a CR or LF outside CRLF, and the password only behind a handshake.
 */

enum { MESSAGES = 3, RCPTS = 3 };

static const struct str contents[MESSAGES] = { STR("a: b\r\n\r\n.x\r\n"), STR("no end"),
                                               STR(".\r\n") };
static const struct str addresses[RCPTS] = { STR("a@x"), STR("\xc3\xb6@x"), STR("\"b c\"@x") };

struct driver {
    struct smtp_client *client;
    struct smtp_client_message messages[MESSAGES];
    struct smtp_client_rcpt rcpts[MESSAGES][RCPTS];
    struct buf out, sent;
    unsigned begun, done;
    bool closed, auth, secured;
};

static void demand(bool what)
{
    if (!what)
        abort();
}

static void flush(struct driver *d)
{
    buf_add_str(&d->sent, buf_str(&d->out));
    buf_clear(&d->out);
}

static bool begin(struct driver *d)
{
    unsigned i = d->begun;

    if (i == MESSAGES || !smtp_client_can_begin(d->client))
        return false;
    for (unsigned k = 0; k < RCPTS; k++)
        d->rcpts[i][k].rcpt = (struct smtp_rcpt){ .address = addresses[k], .notify = (uint8_t)i };
    d->messages[i] = (struct smtp_client_message){ .mail = { .reverse_path = STR("s@x"),
                                                             .size_given = true,
                                                             .size = contents[i].n,
                                                             .envid = STR("id") },
                                                   .rcpts = d->rcpts[i],
                                                   .rcpt_count = RCPTS,
                                                   .question = d->auth && i == 1 };
    d->begun++;
    smtp_client_begin(d->client, &d->messages[i], &d->out);
    return true;
}

static void send_content(struct driver *d)
{
    struct str content = contents[smtp_client_subject(d->client) - d->messages], end;
    struct smtp_stuff stuff;
    struct iovec iov[16];
    int count = 0;

    demand(smtp_client_subject(d->client) == &d->messages[d->done]);
    demand(!smtp_client_subject(d->client)->question);
    flush(d);
    smtp_stuff_init(&stuff, smtp_client_way(d->client) == SMTP_CLIENT_BY_DATA);
    demand(smtp_stuff_next(&stuff, &content, iov, &count, 16) == SMTP_STUFF_MORE);
    demand(smtp_stuff_end(&stuff, &end));
    for (int i = 0; i < count; i++)
        buf_add(&d->sent, iov[i].iov_base, iov[i].iov_len);
    buf_add_str(&d->sent, end);
    begin(d);
    smtp_client_content_end(d->client);
}

static void done(struct driver *d)
{
    struct smtp_client_message *m = smtp_client_subject(d->client);

    demand(m == &d->messages[d->done]);
    d->done++;
    for (unsigned k = 0; k < RCPTS; k++) {
        const struct smtp_client_result *r = &m->rcpts[k].result;

        demand(r->outcome >= SMTP_CLIENT_SENT && r->outcome <= SMTP_CLIENT_FAILED);
        demand(r->outcome == SMTP_CLIENT_RETRY || (!r->in_doubt && !r->untried));
        demand(r->text.n <= SMTP_CLIENT_TEXT_MAX && str_is_utf8(r->text));
        for (size_t i = 0; i < r->text.n; i++)
            demand((unsigned char)r->text.p[i] >= 0x20);
    }
}

static void run(struct driver *d, struct str in)
{
    enum smtp_client_event event;

    while ((event = smtp_client_step(d->client, &in, &d->out)) != SMTP_CLIENT_MORE) {
        if (event == SMTP_CLIENT_READY_EVENT && !begin(d))
            smtp_client_quit(d->client, &d->out);
        else if (event == SMTP_CLIENT_CONTENT_EVENT)
            send_content(d);
        else if (event == SMTP_CLIENT_DONE_EVENT)
            done(d);
        else if (event == SMTP_CLIENT_STARTTLS_EVENT) {
            d->secured = true;
            smtp_client_secured(d->client, &d->out);
        } else if (event == SMTP_CLIENT_CLOSE_EVENT) {
            d->closed = true;
            break;
        }
    }
    flush(d);
}

static void check_line_ends(struct str sent)
{
    for (size_t i = 0; i < sent.n; i++) {
        demand(sent.p[i] != '\r' || (i + 1 < sent.n && sent.p[i + 1] == '\n'));
        demand(sent.p[i] != '\n' || (i > 0 && sent.p[i - 1] == '\r'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_client_config config = { .hostname = STR("gw") };
    struct driver d = { .done = 0 };
    struct str octets;
    size_t cut;

    if (size < 2)
        return 0;
    octets = (struct str){ (const char *)data + 2, size - 2 };
    cut = data[1] ? data[1] : size;
    config.flags = data[0] & 31;
    config.bdat_eager_max = data[0] & 64 ? 10 : 0;
    config.max_messages = data[0] & 128 ? 2 : 0;
    d.auth = data[0] & 32;
    if (d.auth) {
        config.user = STR("me");
        config.password = STR("pass word");
        config.flags |= data[0] & 64 ? SMTP_CLIENT_TLS_ONLY : 0;
    }
    d.client = smtp_client_new(&config);
    demand(d.client != NULL);
    buf_init(&d.out, 1 << 20);
    buf_init(&d.sent, 1 << 20);
    while (octets.n && !d.closed) {
        struct str read = str_head(octets, cut);

        octets = str_from(octets, read.n);
        run(&d, read);
    }
    if (!d.closed) {
        smtp_client_lost(d.client, STR("connection closed"));
        run(&d, STR(""));
    }
    demand(d.closed && d.begun == d.done);
    demand(!d.sent.failed);
    check_line_ends(buf_str(&d.sent));
    demand(d.secured || !d.sent.n || !memmem(d.sent.p, d.sent.n, "AUTH", 4));
    smtp_client_free(d.client);
    buf_done(&d.out);
    buf_done(&d.sent);
    return 0;
}
