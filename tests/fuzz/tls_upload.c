#include <stdlib.h>

#include "fuzz.h"
#include "tls/certificate.h"

/*
 * What an administrator uploads: octets of any kind as certificate, key, CA, or all in one. What is
 * taken must describe, check and write itself, and be the same after it was read back.
 */

static void look_at(struct tls_certificate *c, struct tls_findings *f)
{
    struct tls_certificate *again = NULL;
    struct buf pem;

    tls_certificate_check(c, STR("mx.example.com"), INT64_C(1764000000000000), f);
    buf_init(&pem, 4 << 20);
    tls_certificate_write(c, &pem);
    if (!pem.failed) {
        struct tls_upload u = { 0 };

        if (tls_certificate_is_ca(c))
            u.ca_certificate = buf_str(&pem);
        else
            u.certificate = u.private_key = buf_str(&pem);
        if (tls_certificate_read(&again, &u, f) != PT_ERR_OK ||
            strcmp(tls_certificate_id(c), tls_certificate_id(again)))
            abort();
    }
    tls_certificate_unref(again);
    tls_wipe(&pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_certificate *c = NULL;
    struct tls_findings f;
    struct tls_upload u = { 0 };
    struct str all = { (const char *)data, size };

    if (size == 0)
        return 0;
    all = str_from(all, 1);
    if (data[0] & 1)
        u.certificate = all;
    if (data[0] & 2)
        u.private_key = all;
    if (data[0] & 4)
        u.ca_certificate = all;
    if (data[0] & 8)
        u.passphrase = STR("passphrase");
    if (!(data[0] & 7))
        return 0;
    if (tls_certificate_read(&c, &u, &f) == PT_ERR_OK)
        look_at(c, &f);
    else if (f.errors == 0)
        abort();
    tls_certificate_unref(c);
    return 0;
}
