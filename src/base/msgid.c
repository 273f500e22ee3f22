#include "base/msgid.h"

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void msgid_format(uint64_t id, char out[MSGID_SIZE])
{
    pt_assert(id < (UINT64_C(1) << 55));
    for (int i = MSGID_SIZE - 2; i >= 0; i--) {
        out[i] = digits[id & 31];
        id >>= 5;
    }
    out[MSGID_SIZE - 1] = 0;
}

static int digit_of(char c)
{
    const char *at;

    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'I' || c == 'L')
        c = '1';
    if (c == 'O')
        c = '0';
    at = c ? memchr(digits, c, sizeof digits - 1) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool msgid_parse(struct str text, uint64_t *out)
{
    uint64_t id = 0;

    if (text.n != MSGID_SIZE - 1)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int d = digit_of(text.p[i]);

        if (d < 0)
            return false;
        id = id << 5 | (uint64_t)d;
    }
    *out = id;
    return true;
}
