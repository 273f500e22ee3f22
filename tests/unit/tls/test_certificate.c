#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "pki.h"
#include "tls/certificate.h"
#include "tls/store.h"

/* One authority for all tests: root, intermediate, and a certificate of each. */
static struct pki root, middle, leaf, other;

static int set_up(void **state)
{
    root = pki_make(&(struct pki_wish){ .cn = "Test Root", .ca = true });
    middle = pki_make(&(struct pki_wish){ .cn = "Test Intermediate", .ca = true, .issuer = &root });
    leaf = pki_make(&(struct pki_wish){ .cn = "mx.example.com",
                                        .names = "DNS:mx.example.com,IP:192.0.2.1",
                                        .use = "serverAuth",
                                        .issuer = &middle });
    other = pki_make(&(struct pki_wish){ .cn = "other", .names = "DNS:other.example.com" });
    return 0;
}

static int tear_down(void **state)
{
    pki_done(&root);
    pki_done(&middle);
    pki_done(&leaf);
    pki_done(&other);
    return 0;
}

/* ---- helpers ---- */

struct upload {
    struct buf certificate, key, ca;
    struct tls_findings findings;
    struct tls_certificate *c;
};

static void upload_init(struct upload *u)
{
    memset(u, 0, sizeof *u);
    buf_init(&u->certificate, 1 << 22);
    buf_init(&u->key, 1 << 22);
    buf_init(&u->ca, 1 << 22);
}

static void upload_done(struct upload *u)
{
    tls_certificate_unref(u->c);
    buf_done(&u->certificate);
    buf_done(&u->key);
    buf_done(&u->ca);
}

static struct str given(const struct buf *b)
{
    return b->n ? buf_str(b) : STR_NULL;
}

static enum pt_err read_with(struct upload *u, struct str passphrase)
{
    return tls_certificate_read(&u->c,
                                &(struct tls_upload){ .certificate = given(&u->certificate),
                                                      .private_key = given(&u->key),
                                                      .ca_certificate = given(&u->ca),
                                                      .passphrase = passphrase },
                                &u->findings);
}

static enum pt_err read_it(struct upload *u)
{
    return read_with(u, STR_NULL);
}

static const struct tls_finding *find(const struct tls_findings *f, const char *code)
{
    for (uint32_t i = 0; i < f->count; i++) {
        if (!strcmp(f->items[i].code, code))
            return &f->items[i];
    }
    return NULL;
}

static void expect_refused(struct upload *u, enum pt_err err, const char *code,
                           enum tls_field field)
{
    const struct tls_finding *f = find(&u->findings, code);

    assert_int_equal(err, PT_ERR_INVALID);
    if (!f)
        fail_msg("no finding %s; the first is %s: %s", code, u->findings.items[0].code,
                 u->findings.items[0].text);
    assert_true(f->error);
    assert_int_equal(f->field, field);
    assert_true(f->text[0] && f->remedy[0]);
    assert_null(u->c);
    upload_done(u);
}

static void expect_warning(const struct pki_wish *wish, const char *hostname, const char *code)
{
    struct pki p = pki_make(wish);
    struct upload u;

    upload_init(&u);
    pki_pem(&p, &u.certificate);
    pki_key_pem(&p, NULL, &u.key);
    if (wish->issuer == &middle)
        pki_pem(&middle, &u.ca);
    assert_int_equal(read_it(&u), PT_ERR_OK);
    assert_int_equal(u.findings.count, 0);
    tls_certificate_check(u.c, str_of(hostname), clock_wall_us(), &u.findings);
    if (!find(&u.findings, code))
        fail_msg("no finding %s", code);
    assert_int_equal(u.findings.errors, 0);
    upload_done(&u);
    pki_done(&p);
}

/* ---- what is taken ---- */

static void test_the_chain_is_put_in_order(void **state)
{
    const struct tls_certificate_info *i;
    struct upload u;

    upload_init(&u);
    pki_pem(&root, &u.certificate);
    pki_pem(&leaf, &u.certificate);
    pki_key_pem(&leaf, NULL, &u.key);
    pki_pem(&middle, &u.ca);
    pki_pem(&middle, &u.ca);
    assert_int_equal(read_it(&u), PT_ERR_OK);
    i = tls_certificate_info(u.c);
    assert_string_equal(i->subject, "CN=mx.example.com");
    assert_string_equal(i->issuer, "CN=Test Intermediate");
    assert_string_equal(i->key_type, "ECDSA P-256");
    assert_int_equal(i->name_count, 2);
    assert_string_equal(i->names[0], "mx.example.com");
    assert_string_equal(i->names[1], "192.0.2.1");
    assert_int_equal(i->chain_count, 2);
    assert_string_equal(i->chain[0], "CN=Test Intermediate");
    assert_string_equal(i->chain[1], "CN=Test Root");
    assert_int_equal(strlen(i->fingerprint), 64);
    assert_false(i->self_signed);
    assert_false(tls_certificate_is_ca(u.c));
    assert_true(i->not_after_us > clock_wall_us());
    upload_done(&u);
}

static void test_every_spelling_is_the_same_certificate(void **state)
{
    char id[TLS_ID_SIZE] = "";

    for (int spelling = 0; spelling < 6; spelling++) {
        struct upload u;
        struct buf der;
        uint8_t text[4096];
        int n;

        upload_init(&u);
        buf_init(&der, 1 << 16);
        if (spelling == 1 || spelling == 2)
            pki_der(&leaf, &u.certificate);
        else if (spelling == 3)
            pki_der(&leaf, &der);
        else
            pki_pem(&leaf, &u.certificate);
        if (der.n) {
            n = EVP_EncodeBlock(text, (const uint8_t *)der.p, (int)der.n);
            buf_add(&u.certificate, text, (size_t)n);
        }
        if (spelling == 1)
            pki_key_der(&leaf, &u.key);
        else if (spelling == 4)
            pki_key_pem(&leaf, "tr0ub4dor", &u.key);
        else if (spelling == 5)
            pki_key_traditional(&leaf, &u.key);
        else
            pki_key_pem(&leaf, NULL, &u.key);
        assert_int_equal(read_with(&u, STR("tr0ub4dor")), PT_ERR_OK);
        if (id[0])
            assert_string_equal(tls_certificate_id(u.c), id);
        memcpy(id, tls_certificate_id(u.c), sizeof id);
        assert_true(tls_id_valid(str_of(id)));
        buf_done(&der);
        upload_done(&u);
    }
}

static void test_one_file_may_hold_all(void **state)
{
    struct upload u;

    upload_init(&u);
    BUF_LIT(&u.certificate, "Bag Attributes\n    friendlyName: mx\n");
    pki_pem(&leaf, &u.certificate);
    pki_key_pem(&leaf, NULL, &u.certificate);
    pki_pem(&middle, &u.certificate);
    buf_add_str(&u.key, buf_str(&u.certificate));
    assert_int_equal(read_it(&u), PT_ERR_OK);
    assert_int_equal(tls_certificate_info(u.c)->chain_count, 1);
    upload_done(&u);
}

static void test_an_authority_alone(void **state)
{
    struct upload u;

    upload_init(&u);
    pki_pem(&root, &u.ca);
    pki_pem(&middle, &u.ca);
    assert_int_equal(read_it(&u), PT_ERR_OK);
    assert_true(tls_certificate_is_ca(u.c));
    assert_string_equal(tls_certificate_info(u.c)->subject, "CN=Test Root");
    assert_int_equal(tls_certificate_info(u.c)->chain_count, 1);
    upload_done(&u);

    upload_init(&u);
    pki_pem(&leaf, &u.ca);
    expect_refused(&u, read_it(&u), "not_a_ca", TLS_FIELD_CA_CERTIFICATE);
}

/* ---- what is not ---- */

static void test_a_key_of_another_certificate(void **state)
{
    struct upload u;

    upload_init(&u);
    pki_pem(&leaf, &u.certificate);
    pki_key_pem(&other, NULL, &u.key);
    expect_refused(&u, read_it(&u), "key_mismatch", TLS_FIELD_PRIVATE_KEY);
}

static void test_passphrases(void **state)
{
    struct upload u;

    upload_init(&u);
    pki_pem(&leaf, &u.certificate);
    pki_key_pem(&leaf, "right", &u.key);
    expect_refused(&u, read_it(&u), "passphrase_needed", TLS_FIELD_PASSPHRASE);
    upload_init(&u);
    pki_pem(&leaf, &u.certificate);
    pki_key_pem(&leaf, "right", &u.key);
    expect_refused(&u, read_with(&u, STR("wrong")), "wrong_passphrase", TLS_FIELD_PASSPHRASE);
}

static void test_fields_mixed_up(void **state)
{
    struct upload u;

    upload_init(&u);
    pki_key_pem(&leaf, NULL, &u.certificate);
    pki_pem(&leaf, &u.key);
    assert_int_equal(read_it(&u), PT_ERR_INVALID);
    assert_non_null(find(&u.findings, "not_a_certificate"));
    assert_non_null(find(&u.findings, "not_a_key"));
    upload_done(&u);

    upload_init(&u);
    pki_pem(&leaf, &u.certificate);
    expect_refused(&u, read_it(&u), "missing", TLS_FIELD_PRIVATE_KEY);
    upload_init(&u);
    pki_key_pem(&leaf, NULL, &u.key);
    expect_refused(&u, read_it(&u), "missing", TLS_FIELD_CERTIFICATE);
}

static void test_nonsense(void **state)
{
    static const char *const nonsense[] = {
        "x", "0", "-----BEGIN CERTIFICATE-----\nAAAA\n", "MIIB",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(nonsense); i++) {
        struct upload u;

        upload_init(&u);
        buf_add_str(&u.certificate, str_of(nonsense[i]));
        pki_key_pem(&leaf, NULL, &u.key);
        expect_refused(&u, read_it(&u), "unreadable", TLS_FIELD_CERTIFICATE);
        upload_init(&u);
        buf_add_str(&u.key, str_of(nonsense[i]));
        pki_pem(&leaf, &u.certificate);
        expect_refused(&u, read_it(&u), strstr(nonsense[i], "BEGIN") ? "not_a_key" : "unreadable",
                       TLS_FIELD_PRIVATE_KEY);
    }
}

static void test_too_much(void **state)
{
    struct upload u;

    upload_init(&u);
    pki_key_pem(&leaf, NULL, &u.key);
    for (int i = 0; i < TLS_CHAIN_MAX + 4; i++)
        pki_pem(&leaf, &u.certificate);
    expect_refused(&u, read_it(&u), "too_many", TLS_FIELD_CERTIFICATE);
    upload_init(&u);
    pki_pem(&leaf, &u.certificate);
    assert_true(buf_reserve(&u.key, TLS_UPLOAD_MAX + 1));
    memset(u.key.p, 'A', TLS_UPLOAD_MAX + 1);
    u.key.n = TLS_UPLOAD_MAX + 1;
    expect_refused(&u, read_it(&u), "too_big", TLS_FIELD_PRIVATE_KEY);
}

static void test_a_weak_key(void **state)
{
    struct pki weak = pki_make(
        &(struct pki_wish){ .cn = "w", .names = "DNS:w.example.com", .key = PKI_RSA_1024 });
    struct upload u;

    upload_init(&u);
    pki_pem(&weak, &u.certificate);
    pki_key_pem(&weak, NULL, &u.key);
    expect_refused(&u, read_it(&u), "weak_key", TLS_FIELD_PRIVATE_KEY);
    pki_done(&weak);
}

/* ---- what is minded ---- */

static void test_warnings(void **state)
{
    struct pki_wish good = { .cn = "mx", .names = "DNS:mx.example.com", .issuer = &middle }, w;

    expect_warning(&good, "mail.example.com", "name_mismatch");
    expect_warning(&good, "mx.example.com", "chain_incomplete");
    w = good;
    w.from_days = -30, w.to_days = -1;
    expect_warning(&w, "mx.example.com", "expired");
    w.to_days = 10;
    expect_warning(&w, "mx.example.com", "expires_soon");
    w.from_days = 5, w.to_days = 100;
    expect_warning(&w, "mx.example.com", "not_yet_valid");
    w = good;
    w.names = NULL;
    expect_warning(&w, "mx.example.com", "no_names");
    w = good;
    w.issuer = NULL;
    expect_warning(&w, "mx.example.com", "self_signed");
    w = good;
    w.use = "clientAuth";
    expect_warning(&w, "mx.example.com", "not_for_servers");
    w = good;
    w.ca = true;
    expect_warning(&w, "mx.example.com", "is_an_authority");
    w = good;
    w.digest = EVP_sha1();
    expect_warning(&w, "mx.example.com", "weak_signature");
    w = good;
    w.key = PKI_ED25519;
    expect_warning(&w, "mx.example.com", "rare_key");
    w = good;
    w.issuer = &other;
    expect_warning(&w, "mx.example.com", "chain_incomplete");
}

static void test_a_chain_that_ends_early(void **state)
{
    struct pki shortly = pki_make(&(struct pki_wish){
        .cn = "Short", .ca = true, .issuer = &root, .from_days = -10, .to_days = 20 });
    struct pki p = pki_make(
        &(struct pki_wish){ .cn = "mx", .names = "DNS:mx.example.com", .issuer = &shortly });
    struct upload u;

    upload_init(&u);
    pki_pem(&p, &u.certificate);
    pki_key_pem(&p, NULL, &u.key);
    pki_pem(&shortly, &u.ca);
    pki_pem(&other, &u.ca);
    pki_pem(&root, &u.ca);
    assert_int_equal(read_it(&u), PT_ERR_OK);
    tls_certificate_check(u.c, STR("mx.example.com"), clock_wall_us(), &u.findings);
    assert_non_null(find(&u.findings, "outlives_issuer"));
    assert_non_null(find(&u.findings, "not_in_chain"));
    assert_non_null(find(&u.findings, "private_authority"));
    assert_null(find(&u.findings, "chain_incomplete"));
    assert_null(find(&u.findings, "name_mismatch"));
    upload_done(&u);
    pki_done(&p);
    pki_done(&shortly);
}

/* ---- kept ---- */

static void test_the_store(void **state)
{
    char *folder = check_folder_new(), path[512];
    struct tls_certificate *back;
    struct tls_store_entry list[4];
    struct pt_fault fault;
    struct stat st;
    struct upload u;
    uint32_t total;
    FILE *f;

    upload_init(&u);
    pki_pem(&leaf, &u.certificate);
    pki_key_pem(&leaf, NULL, &u.key);
    pki_pem(&middle, &u.ca);
    assert_int_equal(read_it(&u), PT_ERR_OK);
    assert_int_equal(tls_store_list(folder, list, 4, &total, &fault), PT_ERR_OK);
    assert_int_equal(total, 0);
    assert_int_equal(tls_store_put(folder, u.c, &fault), PT_ERR_OK);
    assert_int_equal(tls_store_put(folder, u.c, &fault), PT_ERR_OK);
    assert_int_equal(tls_store_list(folder, list, 4, &total, &fault), PT_ERR_OK);
    assert_int_equal(total, 1);
    assert_string_equal(list[0].id, tls_certificate_id(u.c));
    assert_false(list[0].ca);
    snprintf(path, sizeof path, "%s/tls/%s.pem", folder, list[0].id);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    assert_int_equal(tls_store_get(folder, str_of(list[0].id), &back, &fault), PT_ERR_OK);
    assert_string_equal(tls_certificate_info(back)->subject, "CN=mx.example.com");
    assert_int_equal(tls_certificate_info(back)->chain_count, 1);
    tls_certificate_unref(back);
    assert_int_equal(tls_store_get(folder, STR("../../../etc/pas"), &back, &fault),
                     PT_ERR_NOTFOUND);
    assert_int_equal(tls_store_get(folder, STR("0123456789abcdef"), &back, &fault),
                     PT_ERR_NOTFOUND);

    f = fopen(path, "w");
    fputs("-----BEGIN NOTHING-----\n", f);
    fclose(f);
    assert_int_equal(tls_store_get(folder, str_of(list[0].id), &back, &fault), PT_ERR_CORRUPT);
    assert_non_null(strstr(fault.text, list[0].id));
    assert_int_equal(tls_store_remove(folder, str_of(list[0].id), &fault), PT_ERR_OK);
    assert_int_equal(tls_store_remove(folder, str_of(list[0].id), &fault), PT_ERR_NOTFOUND);
    upload_done(&u);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_chain_is_put_in_order),
        cmocka_unit_test(test_every_spelling_is_the_same_certificate),
        cmocka_unit_test(test_one_file_may_hold_all),
        cmocka_unit_test(test_an_authority_alone),
        cmocka_unit_test(test_a_key_of_another_certificate),
        cmocka_unit_test(test_passphrases),
        cmocka_unit_test(test_fields_mixed_up),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_a_weak_key),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_a_chain_that_ends_early),
        cmocka_unit_test(test_the_store),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
