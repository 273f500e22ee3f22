#include "fuzz.h"

#include <string.h>

#include "http/reply.h"

/* The head of an answer: the outcome does not depend on how the octets were cut, and what is kept
 * of it is clean. The first octet says how it is cut. */

static enum http_reply_status read_all(struct http_reply_reader *r, struct str in, size_t cut,
                                       size_t *out_taken)
{
    enum http_reply_status status = HTTP_REPLY_MORE;

    *out_taken = 0;
    while (status == HTTP_REPLY_MORE && *out_taken < in.n) {
        struct str rest = str_from(in, *out_taken);
        size_t taken = 0;

        status = http_reply_reader_feed(r, str_head(rest, PT_MIN(cut, rest.n)), &taken);
        pt_assert(taken <= PT_MIN(cut, rest.n));
        pt_assert(status != HTTP_REPLY_MORE || taken == PT_MIN(cut, rest.n));
        *out_taken += taken;
    }
    return status;
}

static void check_clean(const char *text)
{
    for (; *text; text++)
        pt_assert((unsigned char)*text >= 0x20 || *text == '\t');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_reply_reader whole, cut;
    enum http_reply_status status;
    struct str in;
    size_t taken, cut_taken;

    if (n < 1)
        return 0;
    in = (struct str){ (const char *)data + 1, n - 1 };
    http_reply_reader_init(&whole);
    http_reply_reader_init(&cut);
    status = read_all(&whole, in, in.n + 1, &taken);
    pt_assert(read_all(&cut, in, 1 + data[0] % 32, &cut_taken) == status);
    if (status == HTTP_REPLY_DONE) {
        pt_assert(taken == cut_taken);
        pt_assert(memcmp(&whole.head, &cut.head, sizeof whole.head) == 0);
        pt_assert(whole.head.status >= 200 && whole.head.status <= 599);
        check_clean(whole.head.type);
        check_clean(whole.head.etag);
        check_clean(whole.head.disposition);
    }
    http_reply_reader_done(&whole);
    http_reply_reader_done(&cut);
    return 0;
}
