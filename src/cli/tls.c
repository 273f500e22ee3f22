/*
 * cli/tls: the SMTP server's certificate from the command line.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/output.h"

enum { FILE_MAX = 1 << 20 };

/* ---- install ---- */

static bool is_text(struct str s)
{
    return !memchr(s.p, 0, s.n) && str_is_utf8(s);
}

static void add_base64(struct buf *out, struct str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < s.n; i += 3) {
        uint32_t v = (uint32_t)(uint8_t)s.p[i] << 16;

        if (i + 1 < s.n)
            v |= (uint32_t)(uint8_t)s.p[i + 1] << 8;
        if (i + 2 < s.n)
            v |= (uint8_t)s.p[i + 2];
        buf_add_char(out, digits[v >> 18]);
        buf_add_char(out, digits[v >> 12 & 63]);
        buf_add_char(out, i + 1 < s.n ? digits[v >> 6 & 63] : '=');
        buf_add_char(out, i + 2 < s.n ? digits[v & 63] : '=');
    }
}

/* False: said. */
static bool read_file(const char *path, struct buf *out)
{
    FILE *in = fopen(path, "re");
    bool good = in != NULL;
    size_t n = 0;

    if (in && buf_reserve(out, FILE_MAX + 1)) {
        n = fread(out->p, 1, FILE_MAX + 1, in);
        out->n = n;
    }
    good = good && !ferror(in);
    if (!good)
        cli_fail("cannot read %s: %s", path, strerrordesc_np(errno));
    else if (n > FILE_MAX)
        cli_fail("%s is larger than %d MiB: this is no certificate or key", path, FILE_MAX >> 20);
    if (in)
        fclose(in);
    return good && n <= FILE_MAX;
}

static void forget(struct buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_done(b);
}

/* The file that an option names becomes a member: PEM as it is, DER in base64. False: said. */
static bool add_file(struct cli *c, json_t *body, const char *option, const char *key, bool line)
{
    const char *path = cli_option(c, option);
    struct buf octets, text;
    struct str value;
    bool good;

    if (!path)
        return true;
    buf_init(&octets, FILE_MAX + 1);
    buf_init(&text, 2 * FILE_MAX);
    good = read_file(path, &octets);
    value = buf_str(&octets);
    if (line) /* a passphrase ends with its line */
        value = str_head(value, (size_t)(value.n ? strcspn(buf_cstr(&octets), "\r\n") : 0));
    if (good && !is_text(value)) {
        /* All at once: growing would leave copies of a key behind. */
        if (buf_reserve(&text, value.n / 3 * 4 + 4))
            add_base64(&text, value);
        value = buf_str(&text);
    }
    if (good)
        json_object_set_new(body, key, json_stringn(value.p ? value.p : "", value.n));
    forget(&octets);
    forget(&text);
    return good;
}

static void print_findings(const json_t *certificate)
{
    const json_t *f;
    size_t i;

    json_array_foreach(json_object_get(certificate, "findings"), i, f)
    {
        printf("%s: ", cli_text(f, "severity"));
        out_safe(stdout, str_of(cli_text(f, "detail")));
        putchar(' ');
        out_safe(stdout, str_of(cli_text(f, "remedy")));
        putchar('\n');
    }
}

static void print_names(const json_t *certificate)
{
    const json_t *name;
    size_t i;

    json_array_foreach(json_object_get(certificate, "names"), i, name)
    {
        if (i)
            fputs(", ", stdout);
        out_safe(stdout, str_of(json_string_value(name)));
    }
}

static void print_days(const json_t *certificate)
{
    const char *end = cli_text(certificate, "not_after");
    int64_t us = 0, days;

    if (!out_parse_time(end, &us))
        return;
    days = (us - clock_wall_us()) / (INT64_C(86400) * 1000000);
    if (us < clock_wall_us())
        printf("expired on %.10s", end);
    else
        printf("until %.10s, %" PRId64 " day%s", end, days, days == 1 ? "" : "s");
}

/* Lines of a certificate, each behind `indent`. */
static void print_certificate(const json_t *c, const char *indent)
{
    printf("%ssubject      ", indent);
    out_safe(stdout, str_of(cli_text(c, "subject")));
    printf("\n%snames        ", indent);
    print_names(c);
    printf("\n%sissuer       ", indent);
    out_safe(stdout, str_of(cli_text(c, "issuer")));
    printf("\n%skey          %s\n%svalid        ", indent, cli_text(c, "key_type"), indent);
    print_days(c);
    printf("\n%sfingerprint  %s\n", indent, cli_text(c, "fingerprint"));
}

/* NULL: said. */
static char *upload_text(struct cli *c, bool confirmed)
{
    json_t *body = json_object();
    char *text = NULL;

    if (add_file(c, body, "--cert", "certificate", false) &&
        add_file(c, body, "--key", "private_key", false) &&
        add_file(c, body, "--ca", "ca_certificate", false) &&
        add_file(c, body, "--passphrase-file", "passphrase", true)) {
        if (confirmed)
            json_object_set_new(body, "confirm", json_pack("[s]", "expired_certificate"));
        text = json_dumps(body, JSON_COMPACT);
        if (!text)
            cli_fail("out of memory");
    }
    json_decref(body);
    return text;
}

int cli_tls_install(struct cli *c)
{
    struct http_call call = { .method = "PUT", .type = "application/json" };
    json_t *answer, *certificate;
    struct buf target;
    char *text;

    if (!cli_option(c, "--cert") || !cli_option(c, "--key"))
        return cli_usage(c->command, "--cert FILE and --key FILE are needed");
    text = upload_text(c, cli_option(c, "--yes") != NULL);
    if (!text)
        return CLI_FAILED;
    buf_init(&target, 65536);
    BUF_LIT(&target, "/api/v1/tls/server");
    if (cli_option(c, "--comment")) {
        BUF_LIT(&target, "?comment=");
        http_target_add(&target, str_of(cli_option(c, "--comment")));
    }
    call.target = buf_cstr(&target);
    call.body = str_of(text);
    answer = cli_expect(c, &call);
    buf_done(&target);
    explicit_bzero(text, strlen(text));
    free(text);
    if (!answer)
        return CLI_FAILED;
    certificate = json_object_get(answer, "certificate");
    if (c->json) {
        out_json(answer, true);
    } else {
        printf("certificate %s is in force since revision %" PRIu64 "\n",
               cli_text(certificate, "id"),
               (uint64_t)json_integer_value(json_object_get(answer, "revision")));
        print_certificate(certificate, "  ");
        print_findings(certificate);
        if (!json_is_true(json_object_get(answer, "offered")))
            puts("STARTTLS is offered once connections.tls.incoming is true");
    }
    json_decref(answer);
    return CLI_OK;
}

/* ---- upload ---- */

int cli_tls_upload(struct cli *c)
{
    json_t *answer;
    char *text;

    if (!cli_option(c, "--cert") != !cli_option(c, "--key") ||
        (!cli_option(c, "--cert") && !cli_option(c, "--ca")))
        return cli_usage(c->command, "--cert FILE and --key FILE are needed, or --ca FILE alone");
    text = upload_text(c, false);
    if (!text)
        return CLI_FAILED;
    answer = cli_expect(c, &(struct http_call){ .method = "POST",
                                                .target = "/api/v1/tls/certificates",
                                                .type = "application/json",
                                                .body = str_of(text) });
    explicit_bzero(text, strlen(text));
    free(text);
    if (!answer)
        return CLI_FAILED;
    if (c->json) {
        out_json(answer, true);
    } else {
        printf("%s %s is uploaded\n",
               strcmp(cli_text(answer, "kind"), "ca") == 0 ? "CA" : "certificate",
               cli_text(answer, "id"));
        print_certificate(answer, "  ");
        print_findings(answer);
        printf("it counts once the settings name it: %s\n",
               strcmp(cli_text(answer, "kind"), "ca") == 0
                   ? "connections.tls.client_ca, or the ca of a route"
                   : "connections.tls.certificate");
    }
    json_decref(answer);
    return CLI_OK;
}

/* ---- show ---- */

static void print_one_served(const json_t *served)
{
    const json_t *certificate = json_object_get(served, "certificate");
    bool implicit = json_is_true(json_object_get(served, "implicit"));
    const char *how = implicit                                            ? "TLS at once"
                      : json_is_true(json_object_get(served, "starttls")) ? "STARTTLS"
                                                                          : "no STARTTLS";

    printf("served on %s", cli_text(served, "address"));
    if (*cli_text(served, "key_type"))
        printf(" to clients with %s", cli_text(served, "key_type"));
    printf(": %s", how);
    if (json_is_object(certificate))
        printf(", %s, %s\n", cli_text(served, "version"), cli_text(served, "cipher"));
    else
        puts(implicit || json_is_true(json_object_get(served, "starttls")) ? ", no handshake" : "");
    if (*cli_text(served, "error")) {
        fputs("  ", stdout);
        out_safe(stdout, str_of(cli_text(served, "error")));
        putchar('\n');
    }
    if (json_is_object(certificate))
        print_certificate(certificate, "  ");
}

static void print_served(const json_t *answer)
{
    const json_t *one;
    size_t i;

    print_one_served(json_object_get(answer, "served"));
    json_array_foreach(json_object_get(answer, "also_served"), i, one) print_one_served(one);
    if (*cli_text(answer, "alarm"))
        printf("ALARM: %s\n", cli_text(answer, "alarm"));
    else
        puts(json_is_true(json_object_get(answer, "matches"))
                 ? "  this is what is configured"
                 : "  so it cannot be told whether this is what is configured");
}

static void print_configured(const json_t *configured)
{
    const json_t *list = json_object_get(configured, "certificates"), *c;
    bool incoming = json_is_true(json_object_get(configured, "incoming"));
    size_t i;

    printf("incoming TLS: %s\n", !incoming ? "off"
                                 : json_is_true(json_object_get(configured, "incoming_required"))
                                     ? "required"
                                     : "offered");
    if (json_is_integer(json_object_get(configured, "implicit_port")))
        printf("TLS from the first octet: port %" PRId64 "\n",
               (int64_t)json_integer_value(json_object_get(configured, "implicit_port")));
    if (json_array_size(list) == 0)
        puts("no certificate is in force: postern tls install --cert FILE --key FILE");
    json_array_foreach(list, i, c)
    {
        printf("certificate %s\n", cli_text(c, "id"));
        print_certificate(c, "  ");
        print_findings(c);
    }
    if (!incoming && json_array_size(list))
        puts("STARTTLS is offered once connections.tls.incoming is true");
}

int cli_tls_show(struct cli *c)
{
    json_t *answer = cli_get(c, "/api/v1/tls/server");
    bool alarm;

    if (!answer)
        return CLI_FAILED;
    alarm = *cli_text(answer, "alarm");
    if (c->json) {
        out_json(answer, true);
    } else {
        print_configured(json_object_get(answer, "configured"));
        print_served(answer);
    }
    json_decref(answer);
    return alarm ? CLI_FAILED : CLI_OK;
}

/* ---- list, remove ---- */

int cli_tls_list(struct cli *c)
{
    static const char *const titles[] = { "ID", "KIND", "IN USE", "UNTIL", "KEY", "SUBJECT" };
    json_t *answer = cli_get(c, "/api/v1/tls/certificates");
    const json_t *one;
    struct out_table t;
    size_t i;

    if (!answer)
        return CLI_FAILED;
    if (c->json) {
        out_json(answer, true);
    } else if (json_array_size(json_object_get(answer, "items")) == 0) {
        puts("no certificates");
    } else {
        out_table_init(&t, titles, 6, 0);
        json_array_foreach(json_object_get(answer, "items"), i, one)
        {
            out_table_add(&t, str_of(cli_text(one, "id")));
            out_table_add(&t, str_of(cli_text(one, "kind")));
            out_table_add(&t,
                          json_is_true(json_object_get(one, "in_use")) ? STR("yes") : STR("no"));
            out_table_add(&t, str_head(str_of(cli_text(one, "not_after")), 10));
            out_table_add(&t, str_of(cli_text(one, "key_type")));
            out_table_add(&t, str_of(cli_text(one, "subject")));
        }
        out_table_print(&t, stdout);
    }
    json_decref(answer);
    return CLI_OK;
}

int cli_tls_remove(struct cli *c)
{
    struct buf target;
    json_t *answer;

    buf_init(&target, 16384);
    BUF_LIT(&target, "/api/v1/tls/certificates/");
    http_target_add(&target, str_of(c->args[0]));
    answer = cli_expect(c, &(struct http_call){ .method = "DELETE", .target = buf_cstr(&target) });
    buf_done(&target);
    if (!answer)
        return CLI_FAILED;
    json_decref(answer);
    printf("certificate %s is removed\n", c->args[0]);
    return CLI_OK;
}
