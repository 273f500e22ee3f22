#include <stdlib.h>

#include "mime/header.h"

#include "fuzz.h"

/*
 * The first octet says where the message is cut. Holds, or the process aborts: whole, cut in
 * pieces of that size and octet by octet the scan finds the same, and the header it names is not
 * longer than the message.
 */

static struct mime_header scan(struct str content, size_t size)
{
    struct mime_header h;

    mime_header_init(&h);
    while (content.n) {
        struct str piece = str_head(content, size);

        mime_header_feed(&h, piece);
        content = str_from(content, piece.n);
    }
    mime_header_end(&h);
    return h;
}

static void demand_same(const struct mime_header *a, const struct mime_header *b)
{
    if (a->size != b->size || a->received != b->received || a->has_8bit != b->has_8bit ||
        a->has_date != b->has_date || a->has_from != b->has_from ||
        a->auto_submitted != b->auto_submitted ||
        !str_eq(mime_header_message_id(a), mime_header_message_id(b)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct mime_header whole, cut, single;
    struct str content;

    if (n == 0)
        return 0;
    content = (struct str){ (const char *)octets + 1, n - 1 };
    whole = scan(content, n);
    cut = scan(content, 1u + octets[0]);
    single = scan(content, 1);
    demand_same(&whole, &cut);
    demand_same(&whole, &single);
    if (!whole.done || whole.size > content.n)
        abort();
    return 0;
}
