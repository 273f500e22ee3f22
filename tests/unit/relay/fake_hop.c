#include "fake_hop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char HOP_CLOSE[] = "close", HOP_RESET[] = "reset", HOP_SILENT[] = "silent",
           HOP_TAKE[] = "take";

struct fake_session {
    struct fake_session *next;
    struct fake_hop *hop;
    struct net_watch watch;
    struct net_stream stream;
    struct tls_connection *handshake; /* under way */
    bool starts_tls, secured;
    unsigned number;
    struct buf in, out;
    bool mail, data, bdat, silent, take, gone;
    size_t taken; /* of `in` */
    size_t chunk; /* octets of a BDAT chunk still to come */
    struct fake_message m;
    unsigned accepted;
};

static void on_io(struct net_watch *w, unsigned ready);

static void end(struct fake_session *s, bool reset)
{
    struct linger hard = { 1, 0 };

    if (s->gone)
        return;
    if (reset)
        setsockopt(s->watch.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    net_watch_close(&s->watch);
    tls_connection_free(s->handshake);
    s->handshake = NULL;
    net_stream_close(&s->stream);
    s->gone = true;
    s->hop->open--;
}

static void say(struct fake_session *s, const char *line, const char *usual)
{
    const char *text = s->hop->answer ? s->hop->answer(s->hop, s->number, line) : NULL;

    if (s->silent || s->gone)
        return;
    if (!text)
        text = usual;
    if (text == HOP_TAKE) {
        s->take = true;
        text = HOP_CLOSE;
    }
    if (text == HOP_SILENT)
        s->silent = true;
    else if (text == HOP_CLOSE || text == HOP_RESET) {
        PT_IGNORE(net_stream_writev(&s->stream, &(struct iovec){ s->out.p, s->out.n }, 1) < 0,
                  "may be gone");
        end(s, text == HOP_RESET);
    } else
        buf_add_str(&s->out, str_of(text));
}

static bool accepted(const struct fake_session *s, size_t before)
{
    return !s->silent && !s->gone && s->out.n > before && s->out.p[before] == '2';
}

static void copy_path(char *out, size_t max, struct str line)
{
    ptrdiff_t a = str_find(line, '<', 0), b = str_find(line, '>', 0);
    size_t used = strlen(out);

    pt_assert(a >= 0 && b > a);
    snprintf(out + used, max - used, "%s%.*s", used ? " " : "", (int)(b - a - 1), line.p + a + 1);
}

static void new_message(struct fake_session *s)
{
    buf_done(&s->m.content);
    s->m = (struct fake_message){ 0 };
    buf_init(&s->m.content, 64 << 20);
    s->accepted = 0;
}

static void on_command(struct fake_session *s, struct str line, const char *text)
{
    size_t before = s->out.n;
    char hello[512];

    if (str_starts_nocase(line, s->hop->lmtp ? STR("LHLO") : STR("EHLO"))) {
        snprintf(hello, sizeof hello, "250-hop.example\r\n%s", s->hop->extensions);
        say(s, text, hello);
    } else if (str_starts_nocase(line, STR("MAIL"))) {
        s->mail = false;
        s->accepted = 0;
        say(s, text, "250 2.1.0 ok\r\n");
        s->hop->clear += !s->secured;
        if (accepted(s, before)) {
            new_message(s);
            s->mail = true;
            copy_path(s->m.from, sizeof s->m.from, line);
        }
    } else if (str_starts_nocase(line, STR("RCPT"))) {
        say(s, text, s->mail ? "250 2.1.5 ok\r\n" : "503 5.5.1 MAIL first\r\n");
        if (accepted(s, before)) {
            copy_path(s->m.to, sizeof s->m.to, line);
            s->accepted++;
        }
    } else if (str_starts_nocase(line, STR("DATA"))) {
        say(s, text, s->accepted ? "354 go on\r\n" : "554 5.5.1 no valid recipients\r\n");
        s->data = !s->gone && !s->silent && s->out.n > before && s->out.p[before] == '3';
    } else if (str_starts_nocase(line, STR("BDAT"))) {
        pt_assert(sscanf(text, "BDAT %zu LAST", &s->chunk) == 1 && s->accepted);
        s->bdat = true;
    } else if (s->hop->tls && str_starts_nocase(line, STR("STARTTLS"))) {
        say(s, text, "220 2.0.0 go\r\n");
        s->starts_tls = accepted(s, before);
    } else if (str_starts_nocase(line, STR("QUIT"))) {
        say(s, text, "221 2.0.0 bye\r\n");
    } else {
        s->mail = false; /* RSET */
        s->accepted = 0;
        say(s, text, "250 2.0.0 ok\r\n");
    }
}

static void keep_message(struct fake_session *s)
{
    pt_assert(s->hop->count < FAKE_MESSAGES_MAX);
    s->hop->messages[s->hop->count++] = s->m;
    s->m = (struct fake_message){ 0 };
}

/* RFC 2033 4.2 */
static bool answer_each(struct fake_session *s)
{
    struct str rest = str_of(s->m.to);
    bool any = false;
    char step[400];

    while (rest.n && !s->gone && !s->silent) {
        ptrdiff_t space = str_find(rest, ' ', 0);
        struct str address = str_head(rest, space < 0 ? rest.n : (size_t)space);
        size_t before = s->out.n;

        snprintf(step, sizeof step, ". %.*s", STR_FMT(address));
        say(s, step, "250 2.0.0 delivered\r\n");
        any |= accepted(s, before);
        rest = str_from(rest, address.n + (space >= 0));
    }
    return any;
}

static void on_content_line(struct fake_session *s, struct str line, const char *text)
{
    size_t before = s->out.n;

    if (str_eq(line, STR("."))) {
        s->data = s->mail = false;
        s->accepted = 0;
        if (s->hop->lmtp) {
            if (answer_each(s))
                keep_message(s);
            return;
        }
        say(s, text, "250 2.0.0 queued\r\n");
        if (s->take || accepted(s, before))
            keep_message(s);
        return;
    }
    if (line.n && line.p[0] == '.')
        line = str_from(line, 1);
    buf_add_str(&s->m.content, line);
    BUF_LIT(&s->m.content, "\r\n");
}

/* The octets of a chunk; true when it is complete. */
static bool take_chunk(struct fake_session *s)
{
    size_t n = PT_MIN(s->chunk, s->in.n - s->taken);

    buf_add(&s->m.content, s->in.p + s->taken, n);
    s->taken += n;
    s->chunk -= n;
    if (s->chunk)
        return false;
    s->bdat = false;
    s->hop->chunks++;
    on_content_line(s, STR("."), ".");
    return !s->gone;
}

static bool take_line(struct fake_session *s)
{
    struct str rest = str_from(buf_str(&s->in), s->taken);
    ptrdiff_t lf = str_find(rest, '\n', 0);
    char text[1024];
    struct str line;

    if (lf < 0)
        return false;
    line = str_head(rest, (size_t)lf);
    s->taken += (size_t)lf + 1;
    pt_assert(line.n && line.p[line.n - 1] == '\r');
    line.n--;
    snprintf(text, sizeof text, "%.*s", (int)PT_MIN(line.n, sizeof text - 1), line.p);
    if (s->data)
        on_content_line(s, line, text);
    else
        on_command(s, line, text);
    return !s->gone;
}

static void flush(struct fake_session *s)
{
    ssize_t n;

    if (s->gone || !s->out.n)
        return;
    n = net_stream_writev(&s->stream, &(struct iovec){ s->out.p, s->out.n }, 1);
    if (n > 0)
        buf_drop(&s->out, (size_t)n);
}

static void shake_hands(struct fake_session *s)
{
    unsigned wanted = 0;
    struct pt_fault fault;
    enum pt_err err = tls_connection_handshake(s->handshake, &wanted, &fault);

    if (err == PT_ERR_AGAIN) {
        net_watch_want(&s->watch, wanted);
    } else if (err == PT_ERR_OK) {
        tls_stream(&s->stream, s->handshake, s->stream.fd);
        s->handshake = NULL;
        s->secured = true;
        s->hop->handshakes++;
        net_watch_want(&s->watch, NET_READ);
        if (net_stream_pending(&s->stream))
            net_watch_fire(&s->watch);
    } else {
        end(s, false);
    }
}

static void on_io(struct net_watch *w, unsigned ready)
{
    struct fake_session *s = PT_CONTAINER_OF(w, struct fake_session, watch);
    ssize_t n;

    (void)ready;
    if (s->handshake) {
        shake_hands(s);
        return;
    }
    if (s->hop->stop_reading) {
        net_watch_want(&s->watch, 0);
        return;
    }
    pt_assert(buf_reserve(&s->in, 65536));
    n = net_stream_read(&s->stream, s->in.p + s->in.n, 65536);
    if (n == NET_STREAM_AGAIN)
        return;
    if (n <= 0) {
        end(s, false);
        return;
    }
    s->hop->reads++;
    s->in.n += (size_t)n;
    if (s->silent)
        return;
    while (s->bdat ? take_chunk(s) : take_line(s))
        ;
    buf_drop(&s->in, s->taken);
    s->taken = 0;
    flush(s);
    if (s->starts_tls && !s->gone && (s->hop->chats || s->hop->stalls)) {
        s->silent = true;
        if (s->hop->chats)
            BUF_LIT(&s->out, "500 what do you mean by that? what do you mean by that?\r\n");
        flush(s);
        s->starts_tls = false;
    } else if (s->starts_tls && !s->gone) {
        s->starts_tls = false;
        s->handshake = tls_connection_accept(s->hop->tls, s->stream.fd);
        pt_assert(s->handshake);
    } else if (!s->gone && net_stream_pending(&s->stream)) {
        net_watch_fire(&s->watch);
    }
}

static void on_accept(struct net_watch *w, unsigned ready)
{
    struct fake_hop *hop = PT_CONTAINER_OF(w, struct fake_hop, watch);
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    int fd = accept4(w->fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct fake_session *s;

    (void)ready;
    if (fd < 0)
        return;
    s = calloc(1, sizeof *s);
    pt_assert(s);
    s->hop = hop;
    s->number = hop->sessions++;
    pt_assert(net_from_sockaddr((struct sockaddr *)&from, &hop->client));
    hop->open++;
    s->next = hop->list;
    hop->list = s;
    buf_init(&s->in, 64 << 20);
    buf_init(&s->out, 1 << 20);
    net_stream_socket(&s->stream, fd);
    net_watch_init(&s->watch, hop->loop, fd, on_io);
    net_watch_want(&s->watch, NET_READ);
    say(s, "greeting", "220 hop.example ESMTP\r\n");
    flush(s);
}

struct fake_hop *fake_hop_new(struct net_loop *loop)
{
    struct fake_hop *hop = calloc(1, sizeof *hop);
    struct sockaddr_storage at;
    struct net_endpoint any = { .addr = { .family = NET_IPV4, .octets = { 127, 0, 0, 1 } } };
    socklen_t n = net_to_sockaddr(&any, &at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    pt_assert(hop && fd >= 0 && bind(fd, (struct sockaddr *)&at, n) == 0 && listen(fd, 100) == 0);
    n = sizeof at;
    pt_assert(getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    pt_assert(net_from_sockaddr((struct sockaddr *)&at, &hop->endpoint));
    hop->loop = loop;
    hop->extensions = "250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n";
    net_watch_init(&hop->watch, loop, fd, on_accept);
    net_watch_want(&hop->watch, NET_READ);
    return hop;
}

void fake_hop_close_listener(struct fake_hop *hop)
{
    int fd = hop->watch.fd;

    if (fd < 0)
        return;
    net_watch_close(&hop->watch);
    close(fd);
}

void fake_hop_free(struct fake_hop *hop)
{
    if (!hop)
        return;
    fake_hop_close_listener(hop);
    while (hop->list) {
        struct fake_session *s = hop->list;

        hop->list = s->next;
        end(s, false);
        buf_done(&s->m.content);
        buf_done(&s->in);
        buf_done(&s->out);
        free(s);
    }
    for (uint32_t i = 0; i < FAKE_MESSAGES_MAX; i++)
        buf_done(&hop->messages[i].content);
    free(hop);
}

const struct fake_message *fake_hop_find(const struct fake_hop *hop, const char *to)
{
    for (uint32_t i = 0; i < hop->count; i++)
        if (strcmp(hop->messages[i].to, to) == 0)
            return &hop->messages[i];
    return NULL;
}
