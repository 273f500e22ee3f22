#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "http/reader.h"

/*
 * One connection's octets: requests are read until one is broken. The first octet says how the
 * stream is cut; the outcome must be that of the stream uncut, and each request must keep what
 * http/reader.h promises.
 */

enum { BODY_MAX = 4096 };

struct outcome {
    unsigned requests;
    size_t taken;
    size_t body_octets, header_octets;
    enum http_read last;
    unsigned status;
};

static void check_request(const struct http_request *q)
{
    pt_assert(q->path.n > 0 && q->path.p[0] == '/');
    pt_assert(q->host.n > 0);
    pt_assert(q->body.n <= BODY_MAX);
    for (size_t i = 0; i < q->header_count; i++) {
        struct str name = q->headers[i].name, value = q->headers[i].value;

        pt_assert(name.n > 0 && !memchr(name.p, ' ', name.n) && !memchr(name.p, ':', name.n));
        pt_assert(value.n == 0 ||
                  (!memchr(value.p, '\n', value.n) && !memchr(value.p, '\r', value.n) &&
                   !memchr(value.p, 0, value.n)));
    }
}

static enum http_read read_one(struct http_reader *r, struct str in, size_t cut, size_t *out_taken)
{
    enum http_read status = HTTP_READ_MORE;
    size_t taken = 0;

    while (status == HTTP_READ_MORE || status == HTTP_READ_HEAD) {
        struct http_step step;
        struct str piece = str_head(str_from(in, taken), cut);

        if (status == HTTP_READ_HEAD && !http_reader_body(r, BODY_MAX))
            status = HTTP_READ_BROKEN;
        if (status == HTTP_READ_BROKEN || (status == HTTP_READ_MORE && piece.n == 0))
            break;
        step = http_reader_feed(r, piece);
        pt_assert(step.taken <= piece.n);
        pt_assert(step.status != HTTP_READ_MORE || step.taken == piece.n);
        taken += step.taken;
        status = step.status;
    }
    *out_taken = taken;
    return status;
}

static struct outcome read_all(struct str in, size_t cut)
{
    struct outcome o = { .last = HTTP_READ_DONE };

    while (o.last == HTTP_READ_DONE && o.taken < in.n) {
        struct http_reader r;
        size_t taken;

        if (!http_reader_init(&r))
            abort();
        o.last = read_one(&r, str_from(in, o.taken), cut, &taken);
        if (o.last == HTTP_READ_DONE) {
            check_request(&r.request);
            o.requests++;
            o.taken += taken;
            o.body_octets += r.request.body.n;
            for (size_t i = 0; i < r.request.header_count; i++)
                o.header_octets += r.request.headers[i].value.n;
        } else {
            o.status = r.status;
        }
        http_reader_done(&r);
    }
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str in = { (const char *)data + 1, n - 1 };
    struct outcome whole, cut;

    if (n < 2)
        return 0;
    whole = read_all(in, in.n);
    cut = read_all(in, 1 + data[0] % 32);
    pt_assert(whole.requests == cut.requests && whole.taken == cut.taken);
    pt_assert(whole.last == cut.last && whole.status == cut.status);
    pt_assert(whole.body_octets == cut.body_octets && whole.header_octets == cut.header_octets);
    return 0;
}
