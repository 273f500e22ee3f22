#include "smtp/dot.h"

#include "smtp/scan.h"

/*
 * Each state is what was just seen:
 *
 *   LINE --'.'--> DOT --CR--> DOT_CR --LF--> END         any other octet after DOT_CR: BARE
 *     |            +--other octet: the dot was stuffing, the octet is content
 *     +--other--> TEXT --CR--> CR --LF--> LINE           any other octet after CR: BARE
 *
 * TEXT, CR and LINE run inside smtp_scan(), which stops at a dot behind a LF and at everything
 * that is BARE. A CR behind a dot need not be held back: either LF follows, and both belong to the
 * end marker, or the message is refused.
 */
enum state { LINE, TEXT, CR, DOT, DOT_CR, OVER };

void smtp_dot_init(struct smtp_dot *dot)
{
    dot->state = LINE;
}

static struct smtp_dot_step over(struct smtp_dot *dot, enum smtp_dot_status status, size_t taken)
{
    dot->state = OVER;
    return (struct smtp_dot_step){ .status = status, .taken = taken };
}

static char octet_before(const struct smtp_dot *dot)
{
    return dot->state == LINE ? '\n' : dot->state == CR ? '\r' : 'x';
}

static enum state state_after(char c)
{
    return c == '\n' ? LINE : c == '\r' ? CR : TEXT;
}

/* Content from in.p[from] to the next octet that needs a thought. The caller looks at that octet
 * when it comes again; here only BARE is told from the stuffed dot. */
static struct smtp_dot_step read_text(struct smtp_dot *dot, struct str in, size_t from, bool dots)
{
    struct str text = str_from(in, from);
    struct smtp_scan scan = smtp_scan(text, octet_before(dot), dots);
    struct smtp_dot_step step = { .status = SMTP_DOT_MORE, .eight_bit = scan.eight_bit };

    if (scan.clean > 0)
        dot->state = (uint8_t)state_after(text.p[scan.clean - 1]);
    if (scan.clean < text.n && !(dots && text.p[scan.clean] == '.' && dot->state == LINE))
        return over(dot, SMTP_DOT_BARE, from + scan.clean);
    step.taken = from + scan.clean;
    step.content = str_head(text, scan.clean);
    return step;
}

struct smtp_dot_step smtp_dot_read(struct smtp_dot *dot, struct str in)
{
    size_t at = 0;

    pt_assert(dot->state != OVER);
    if (at < in.n && dot->state == LINE && in.p[at] == '.') {
        dot->state = DOT;
        at++;
    }
    if (at < in.n && dot->state == DOT) {
        if (in.p[at] == '\r') {
            dot->state = DOT_CR;
            at++;
        } else {
            dot->state = TEXT;
        }
    }
    if (at < in.n && dot->state == DOT_CR)
        return in.p[at] == '\n' ? over(dot, SMTP_DOT_END, at + 1) : over(dot, SMTP_DOT_BARE, at);
    if (at == in.n)
        return (struct smtp_dot_step){ .status = SMTP_DOT_MORE, .taken = at };
    return read_text(dot, in, at, true);
}

struct smtp_dot_step smtp_dot_read_chunk(struct smtp_dot *dot, struct str in)
{
    pt_assert(dot->state == LINE || dot->state == TEXT || dot->state == CR);
    return read_text(dot, in, 0, false);
}

bool smtp_dot_chunks_may_end(const struct smtp_dot *dot)
{
    return dot->state != CR;
}
