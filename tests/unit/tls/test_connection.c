#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "net/loop.h"
#include "net/stream.h"
#include "pki.h"
#include "tls/certificate.h"
#include "tls/handshake.h"

static struct pki root, leaf, rsa, client, stranger;
static struct net_loop *loop;
static struct tls_handshaker *handshaker;

static struct tls_certificate *certificate(const struct pki *p, const struct pki *ca)
{
    struct buf certificate, key, chain;
    struct tls_certificate *c = NULL;
    struct tls_findings findings;

    buf_init(&certificate, 1 << 16);
    buf_init(&key, 1 << 16);
    buf_init(&chain, 1 << 16);
    if (p) {
        pki_pem(p, &certificate);
        pki_key_pem(p, NULL, &key);
    }
    if (ca)
        pki_pem(ca, &chain);
    assert_int_equal(tls_certificate_read(
                         &c,
                         &(struct tls_upload){ .certificate = p ? buf_str(&certificate) : STR_NULL,
                                               .private_key = p ? buf_str(&key) : STR_NULL,
                                               .ca_certificate = ca ? buf_str(&chain) : STR_NULL },
                         &findings),
                     PT_ERR_OK);
    buf_done(&certificate);
    buf_done(&key);
    buf_done(&chain);
    return c;
}

static int set_up(void **state)
{
    struct pt_fault fault;

    signal(SIGPIPE, SIG_IGN);
    root = pki_make(&(struct pki_wish){ .cn = "Root", .ca = true });
    leaf = pki_make(&(struct pki_wish){
        .cn = "mx", .names = "DNS:mx.example.com,IP:192.0.2.1", .issuer = &root });
    rsa = pki_make(&(struct pki_wish){
        .cn = "mx rsa", .names = "DNS:mx.example.com", .key = PKI_RSA_2048, .issuer = &root });
    client = pki_make(
        &(struct pki_wish){ .cn = "client", .names = "DNS:client.example.com", .issuer = &root });
    stranger = pki_make(&(struct pki_wish){ .cn = "stranger", .names = "DNS:mx.example.com" });
    loop = net_loop_new(0);
    assert_int_equal(tls_handshaker_new(&handshaker, 2, 4, &fault), PT_ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    tls_handshaker_free(handshaker);
    net_loop_free(loop);
    pki_done(&root);
    pki_done(&leaf);
    pki_done(&rsa);
    pki_done(&client);
    pki_done(&stranger);
    return 0;
}

/* ---- a pair of ends ---- */

struct end {
    struct tls_handshake h;
    bool over;
};

struct pair {
    struct end server, client;
    struct tls_info server_info, client_info;
};

static void on_done(struct tls_handshake *h)
{
    PT_CONTAINER_OF(h, struct end, h)->over = true;
}

static void start(struct end *e, struct tls_connection *c, int fd)
{
    assert_non_null(c);
    memset(e, 0, sizeof *e);
    e->h.connection = c;
    e->h.fd = fd;
    e->h.timeout_ns = INT64_C(20000000000);
    e->h.home = loop;
    e->h.done = on_done;
    assert_true(tls_handshaker_take(handshaker, 0));
    tls_handshake_begin(handshaker, &e->h);
}

static void pair_open(struct pair *p, struct tls_server *s, struct tls_client *c, const char *name)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    start(&p->server, tls_connection_accept(s, fds[0]), fds[0]);
    start(&p->client, tls_connection_connect(c, fds[1], str_of(name), STR("mx:25")), fds[1]);
    while (!p->client.over || (!p->server.over && p->client.h.result == PT_ERR_OK))
        net_loop_turn(loop, 100);
    if (p->client.h.result != PT_ERR_OK)
        shutdown(fds[1], SHUT_RDWR);
    while (!p->server.over)
        net_loop_turn(loop, 100);
    tls_connection_info(p->server.h.connection, &p->server_info);
    tls_connection_info(p->client.h.connection, &p->client_info);
}

static void pair_close(struct pair *p)
{
    tls_connection_free(p->server.h.connection);
    tls_connection_free(p->client.h.connection);
    close(p->server.h.fd);
    close(p->client.h.fd);
}

static struct tls_server *server_of(const struct pki *const *list, uint32_t count,
                                    struct tls_tickets *tickets)
{
    struct tls_certificate *c[4];
    struct tls_server *s;
    struct pt_fault fault;

    for (uint32_t i = 0; i < count; i++)
        c[i] = certificate(list[i], NULL);
    assert_int_equal(tls_server_new(&s,
                                    &(struct tls_server_config){ .certificates = c,
                                                                 .certificate_count = count,
                                                                 .tickets = tickets },
                                    &fault),
                     PT_ERR_OK);
    for (uint32_t i = 0; i < count; i++)
        tls_certificate_unref(c[i]);
    return s;
}

static struct tls_client *client_of(const struct pki *ca, bool verify)
{
    struct tls_certificate *trusted = ca ? certificate(NULL, ca) : NULL;
    struct tls_client *c;
    struct pt_fault fault;

    assert_int_equal(
        tls_client_new(&c, &(struct tls_client_config){ .ca = trusted, .verify = verify }, &fault),
        PT_ERR_OK);
    tls_certificate_unref(trusted);
    return c;
}

/* ---- handshakes ---- */

static void test_a_handshake(void **state)
{
    struct tls_server *s = server_of((const struct pki *[]){ &leaf }, 1, NULL);
    struct tls_client *c = client_of(&root, true);
    struct pair p;

    pair_open(&p, s, c, "mx.example.com");
    assert_int_equal(p.client.h.result, PT_ERR_OK);
    assert_int_equal(p.server.h.result, PT_ERR_OK);
    assert_string_equal(p.client_info.version, "TLSv1.3");
    assert_string_equal(p.server_info.cipher, p.client_info.cipher);
    assert_true(p.client_info.bits >= 128);
    assert_true(p.client_info.verified);
    assert_string_equal(p.client_info.subject, "CN=mx");
    assert_false(p.client_info.resumed);
    assert_string_equal(p.server_info.subject, "");
    assert_false(p.server_info.verified);
    pair_close(&p);
    tls_server_unref(s);
    tls_client_unref(c);
}

static void expect_denied(const struct pki *shown, const char *name, const char *why)
{
    struct tls_server *s = server_of(&shown, 1, NULL);
    struct tls_client *strict = client_of(&root, true), *easy = client_of(&root, false);
    struct pair p;

    pair_open(&p, s, strict, name);
    assert_int_equal(p.client.h.result, PT_ERR_DENIED);
    if (!strstr(p.client.h.fault.text, why))
        fail_msg("%s", p.client.h.fault.text);
    pair_close(&p);
    /* Whoever does not insist gets TLS all the same, and is told. */
    pair_open(&p, s, easy, name);
    assert_int_equal(p.client.h.result, PT_ERR_OK);
    assert_false(p.client_info.verified);
    assert_non_null(strstr(p.client_info.unverified, why));
    pair_close(&p);
    tls_server_unref(s);
    tls_client_unref(strict);
    tls_client_unref(easy);
}

static void test_what_does_not_verify(void **state)
{
    struct pki old = pki_make(&(struct pki_wish){ .cn = "old",
                                                  .names = "DNS:mx.example.com",
                                                  .from_days = -20,
                                                  .to_days = -10,
                                                  .issuer = &root });

    expect_denied(&leaf, "other.example.com", "hostname mismatch");
    expect_denied(&leaf, "192.0.2.2", "IP address mismatch");
    expect_denied(&stranger, "mx.example.com", "self-signed certificate");
    expect_denied(&old, "mx.example.com", "certificate has expired");
    pki_done(&old);
}

static void test_tickets_outlive_certificates(void **state)
{
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_server *s = server_of((const struct pki *[]){ &leaf }, 1, tickets);
    struct tls_client *c = client_of(&root, true);
    struct pair p;
    char octet;

    tls_tickets_rotate(tickets, 0);
    for (int i = 0; i < 4; i++) {
        struct net_stream from, to;

        pair_open(&p, s, c, "mx.example.com");
        assert_int_equal(p.client.h.result, PT_ERR_OK);
        assert_int_equal(p.client_info.resumed, i == 1 || i == 2);
        assert_true(p.client_info.verified);
        tls_stream(&from, p.server.h.connection, p.server.h.fd);
        tls_stream(&to, p.client.h.connection, p.client.h.fd);
        /* The ticket of TLS 1.3 comes with the first octets. */
        assert_int_equal(net_stream_writev(&from, &(struct iovec){ (char *)"x", 1 }, 1), 1);
        assert_int_equal(net_stream_read(&to, &octet, 1), 1);
        net_stream_close(&from);
        net_stream_close(&to);
        if (i == 0) {
            tls_server_unref(s);
            s = server_of((const struct pki *[]){ &leaf }, 1, tickets);
        }
        /* After one rotation a ticket still counts, after three its key is gone. */
        tls_tickets_rotate(tickets, INT64_C(3600000000) * (i + 1));
        if (i == 2) {
            tls_tickets_rotate(tickets, INT64_C(3600000000) * 10);
            tls_tickets_rotate(tickets, INT64_C(3600000000) * 20);
        }
    }
    tls_server_unref(s);
    tls_client_unref(c);
    tls_tickets_free(tickets);
}

static void test_two_kinds_of_keys(void **state)
{
    struct tls_server *s = server_of((const struct pki *[]){ &rsa, &leaf }, 2, NULL);
    struct tls_client *c = client_of(&root, true);
    struct pair p;

    pair_open(&p, s, c, "mx.example.com");
    assert_int_equal(p.client.h.result, PT_ERR_OK);
    assert_string_equal(p.client_info.subject, "CN=mx");
    pair_close(&p);
    tls_server_unref(s);
    tls_client_unref(c);
}

/* ---- octets ---- */

static void test_octets_both_ways(void **state)
{
    struct tls_server *s = server_of((const struct pki *[]){ &leaf }, 1, NULL);
    struct tls_client *c = client_of(&root, true);
    enum { SIZE = 3 << 20 };
    char *sent = malloc(SIZE), *got = malloc(SIZE), octet;
    size_t out = 0, in = 0;
    struct net_stream from, to;
    struct tls_info info;
    struct pair p;

    pair_open(&p, s, c, "mx.example.com");
    tls_stream(&from, p.client.h.connection, p.client.h.fd);
    tls_stream(&to, p.server.h.connection, p.server.h.fd);
    assert_true(tls_stream_info(&from, &info));
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (char)(i * 31 + (i >> 12));
    assert_int_equal(net_stream_read(&to, got, SIZE), NET_STREAM_AGAIN);
    assert_false(net_stream_pending(&to));
    while (in < SIZE) {
        /* Many small pieces, then a large one, as a reply before content. */
        struct iovec iov[3] = { { sent + out, PT_MIN((size_t)7, SIZE - out) },
                                { NULL, 0 },
                                { NULL, 0 } };
        ssize_t n;

        iov[1] = (struct iovec){ sent + out + iov[0].iov_len,
                                 PT_MIN((size_t)1000, SIZE - out - iov[0].iov_len) };
        iov[2] = (struct iovec){ (char *)iov[1].iov_base + iov[1].iov_len,
                                 SIZE - out - iov[0].iov_len - iov[1].iov_len };
        n = out < SIZE ? net_stream_writev(&from, iov, 3) : NET_STREAM_AGAIN;
        assert_int_not_equal(n, NET_STREAM_ERROR);
        out += n > 0 ? (size_t)n : 0;
        n = net_stream_read(&to, got + in, PT_MIN((size_t)5000, SIZE - in));
        assert_int_not_equal(n, NET_STREAM_ERROR);
        in += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(sent, got, SIZE);
    net_stream_close(&from);
    assert_int_equal(net_stream_read(&to, &octet, 1), 0);
    net_stream_close(&to);
    free(sent);
    free(got);
    tls_server_unref(s);
    tls_client_unref(c);
}

static void test_an_end_without_a_word(void **state)
{
    struct tls_server *s = server_of((const struct pki *[]){ &leaf }, 1, NULL);
    struct tls_client *c = client_of(&root, true);
    struct net_stream to;
    struct pair p;
    char octet;

    pair_open(&p, s, c, "mx.example.com");
    tls_stream(&to, p.server.h.connection, p.server.h.fd);
    shutdown(p.client.h.fd, SHUT_RDWR);
    assert_int_equal(net_stream_read(&to, &octet, 1), 0);
    net_stream_close(&to);
    tls_connection_free(p.client.h.connection);
    close(p.client.h.fd);
    tls_server_unref(s);
    tls_client_unref(c);
}

/* ---- limits ---- */

static void test_limits(void **state)
{
    struct tls_server *s = server_of((const struct pki *[]){ &leaf }, 1, NULL);
    struct end ends[5];
    int fds[5][2];

    for (int i = 0; i < 5; i++)
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds[i]), 0);
    for (int i = 0; i < 4; i++)
        start(&ends[i], tls_connection_accept(s, fds[i][0]), fds[i][0]);
    assert_int_equal(tls_handshaker_busy(handshaker), 4);
    memset(&ends[4], 0, sizeof ends[4]);
    assert_false(tls_handshaker_take(handshaker, 0));
    /* One hears nonsense, one is left, one is ended by its owner, one has no time. */
    assert_int_equal(write(fds[0][1], "EHLO client\r\n", 13), 13);
    close(fds[1][1]);
    shutdown(fds[2][0], SHUT_RDWR);
    while (!ends[0].over || !ends[1].over || !ends[2].over)
        net_loop_turn(loop, 100);
    assert_int_equal(ends[0].h.result, PT_ERR_INVALID);
    assert_int_equal(ends[1].h.result, PT_ERR_CLOSED);
    assert_int_equal(ends[2].h.result, PT_ERR_CLOSED);
    shutdown(fds[3][0], SHUT_RDWR);
    while (!ends[3].over)
        net_loop_turn(loop, 100);
    assert_int_equal(tls_handshaker_busy(handshaker), 0);

    close(fds[4][1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds[4]), 0);
    ends[4].h = (struct tls_handshake){ .connection = tls_connection_accept(s, fds[4][0]),
                                        .fd = fds[4][0],
                                        .timeout_ns = 1000000,
                                        .home = loop,
                                        .done = on_done };
    assert_true(tls_handshaker_take(handshaker, 0));
    tls_handshake_begin(handshaker, &ends[4].h);
    while (!ends[4].over)
        net_loop_turn(loop, 100);
    assert_int_equal(ends[4].h.result, PT_ERR_TIMEOUT);
    for (int i = 0; i < 5; i++) {
        tls_connection_free(ends[i].h.connection);
        close(fds[i][0]);
        if (i != 1)
            close(fds[i][1]);
    }
    tls_server_unref(s);
}

/* ---- certificates of clients ---- */

/* A client with a certificate: plain OpenSSL, since our clients have none. */
static int connect_with(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);
    char octet;
    int n;

    SSL_set_fd(ssl, fd);
    n = SSL_connect(ssl);
    if (n == 1)
        n = SSL_read(ssl, &octet, 1);
    SSL_free(ssl);
    return n;
}

struct dial {
    SSL_CTX *ctx;
    int fd, result;
};

/* Nobody takes all places; whoever comes later finds one. */
static void test_no_peer_takes_all(void **state)
{
    struct tls_handshaker *h = NULL;
    struct net_addr a = { NET_IPV4, { 192, 0, 2, 1 } }, b = { NET_IPV4, { 192, 0, 2, 2 } };
    struct net_addr net = { NET_IPV6, { 0x20, 1, 0xd, 0xb8, [15] = 1 } }, same = net, any = { 0 };
    uint64_t first = tls_handshake_peer(&a), second = tls_handshake_peer(&b);
    struct pt_fault fault;

    (void)state;
    same.octets[15] = 2;
    assert_true(first != second);
    assert_true(tls_handshake_peer(&net) == tls_handshake_peer(&same));
    assert_true(tls_handshake_peer(&any) != 0);
    assert_int_equal(tls_handshaker_new(&h, 1, 16, &fault), PT_ERR_OK);
    for (int i = 0; i < 8; i++)
        assert_true(tls_handshaker_take(h, first));
    assert_false(tls_handshaker_take(h, first));
    for (int i = 0; i < 2; i++)
        assert_true(tls_handshaker_take(h, second));
    assert_false(tls_handshaker_take(h, second));
    /* Nobody in particular: up to the last. */
    for (int i = 0; i < 6; i++)
        assert_true(tls_handshaker_take(h, 0));
    assert_false(tls_handshaker_take(h, 0));
    tls_handshaker_give(h, second);
    assert_true(tls_handshaker_take(h, second));
    for (int i = 0; i < 8; i++)
        tls_handshaker_give(h, first);
    assert_int_equal(tls_handshaker_busy(h), 8);
    assert_true(tls_handshaker_take(h, first));
    tls_handshaker_free(h);
}

static void *dial(void *arg)
{
    struct dial *d = arg;

    d->result = connect_with(d->ctx, d->fd);
    return NULL;
}

static void expect_client(enum tls_client_certificates mode, const struct pki *shown, bool served,
                          bool verified)
{
    struct tls_certificate *own = certificate(&leaf, NULL), *ca = certificate(NULL, &root);
    struct dial d = { .ctx = SSL_CTX_new(TLS_client_method()) };
    struct tls_server *s;
    struct net_stream stream;
    struct tls_info info;
    struct pt_fault fault;
    struct end e;
    pthread_t id;
    int fds[2];

    assert_int_equal(tls_server_new(&s,
                                    &(struct tls_server_config){ .certificates = &own,
                                                                 .certificate_count = 1,
                                                                 .client_certificates = mode,
                                                                 .client_ca = ca },
                                    &fault),
                     PT_ERR_OK);
    if (shown) {
        SSL_CTX_use_certificate(d.ctx, shown->x);
        SSL_CTX_use_PrivateKey(d.ctx, shown->key);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    d.fd = fds[1];
    start(&e, tls_connection_accept(s, fds[0]), fds[0]);
    pthread_create(&id, NULL, dial, &d);
    while (!e.over)
        net_loop_turn(loop, 100);
    assert_int_equal(e.h.result == PT_ERR_OK, served);
    tls_connection_info(e.h.connection, &info);
    assert_int_equal(info.verified, verified);
    if (verified)
        assert_string_equal(info.subject, "CN=client");
    tls_stream(&stream, e.h.connection, fds[0]);
    if (served)
        assert_int_equal(net_stream_writev(&stream, &(struct iovec){ (char *)"x", 1 }, 1), 1);
    net_stream_close(&stream);
    pthread_join(id, NULL);
    assert_int_equal(d.result == 1, served);
    close(fds[1]);
    SSL_CTX_free(d.ctx);
    tls_server_unref(s);
    tls_certificate_unref(own);
    tls_certificate_unref(ca);
}

static void test_certificates_of_clients(void **state)
{
    expect_client(TLS_CLIENT_CERTIFICATES_OFF, &client, true, false);
    expect_client(TLS_CLIENT_CERTIFICATES_REQUEST, NULL, true, false);
    expect_client(TLS_CLIENT_CERTIFICATES_REQUEST, &stranger, true, false);
    expect_client(TLS_CLIENT_CERTIFICATES_REQUEST, &client, true, true);
    expect_client(TLS_CLIENT_CERTIFICATES_REQUIRE, NULL, false, false);
    expect_client(TLS_CLIENT_CERTIFICATES_REQUIRE, &stranger, false, false);
    expect_client(TLS_CLIENT_CERTIFICATES_REQUIRE, &client, true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_handshake),
        cmocka_unit_test(test_what_does_not_verify),
        cmocka_unit_test(test_tickets_outlive_certificates),
        cmocka_unit_test(test_two_kinds_of_keys),
        cmocka_unit_test(test_octets_both_ways),
        cmocka_unit_test(test_an_end_without_a_word),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_peer_takes_all),
        cmocka_unit_test(test_certificates_of_clients),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
