#include <stdlib.h>
#include <string.h>

#include "mime/dsn.h"

#include "fuzz.h"

/*
 * The octets, cut at each line feed, are what outsiders have a say in: ENVID, ORCPT, the name in
 * HELO, the next hop's name and its reply; the rest is the message. The first octet chooses the
 * rest. Holds, or the process aborts: no line of ours is broken or too long, the boundary stands
 * where the parts are and nowhere else, and without UTF-8 nothing is beyond ASCII but the message.
 */

enum { LINE_MAX_OCTETS = 998 };

static struct str piece(struct str *rest, size_t max)
{
    ptrdiff_t end = str_find(*rest, '\n', 0);
    struct str p = str_head(*rest, end < 0 ? rest->n : (size_t)end);

    *rest = str_from(*rest, p.n + (end >= 0));
    return str_head(p, max);
}

/* The last part is the original: not ours but for its head. */
static void demand_well_formed(struct str text, bool ascii)
{
    static const char boundary[] = "\r\n--=_00000000000000010000000000000002";
    size_t line = 0;
    unsigned seen = 0;

    for (size_t i = 0; i < text.n; i++) {
        bool at_boundary = text.n - i >= sizeof boundary - 1 &&
                           memcmp(text.p + i, boundary, sizeof boundary - 1) == 0;
        unsigned char c = (unsigned char)text.p[i];

        seen += at_boundary;
        if (seen > 2)
            continue;
        line = c == '\n' ? 0 : line + 1;
        if (line > LINE_MAX_OCTETS || (ascii && c >= 0x80) || (c < 0x20 && !strchr("\r\n\t", c)))
            abort();
        if ((c == '\n') != (i > 0 && text.p[i - 1] == '\r'))
            abort();
    }
    if (seen < 3)
        abort();
}

static void check(const struct mime_dsn *d)
{
    struct block_chain out;
    struct mime_dsn_needs needs;
    char *text;

    block_chain_init(&out);
    if (!mime_dsn_write(&out, d, &needs))
        abort();
    text = malloc(out.size + 1);
    block_chain_copy(&out, 0, text, out.size);
    demand_well_formed((struct str){ text, out.size }, !needs.has_8bit);
    free(text);
    block_chain_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct str in = { (const char *)octets + 1, n ? n - 1 : 0 };
    struct mime_dsn_rcpt rcpt = { .address = STR("b@example.org"), .status = { 5, 1, 1 } };
    struct mime_dsn d = { .hostname = STR("gw.example.com"),
                          .id = STR("0GZK3V9TNQM"),
                          .random = { 1, 2 },
                          .to = STR("s@example.net"),
                          .original_id = STR("0GZK3V9AAAA"),
                          .client = STR("192.0.2.1"),
                          .rcpts = &rcpt,
                          .rcpt_count = 1 };
    struct block_chain original;

    if (n == 0)
        return 0;
    rcpt.action = (enum mime_dsn_action)(octets[0] & 3);
    rcpt.code = octets[0] & 4 ? 550 : 0;
    d.seven_bit = octets[0] & 8;
    d.smtputf8 = octets[0] & 16;
    d.ret = octets[0] >> 6 > SMTP_RET_HDRS ? 0 : octets[0] >> 6;
    d.envid = piece(&in, 100);
    rcpt.orcpt = piece(&in, 500);
    d.helo = piece(&in, 512);
    rcpt.remote = piece(&in, 255);
    rcpt.reply = piece(&in, 512);
    if (octets[0] & 32)
        rcpt.reason = STR("4.4.7 tried for as long as mail is kept here, without success");
    block_chain_init(&original);
    if (!block_chain_add(&original, in))
        abort();
    d.original = in.n ? &original : NULL;
    d.original_size = in.n;
    check(&d);
    block_chain_done(&original);
    return 0;
}
