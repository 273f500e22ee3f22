#include "spool/format.h"

#include <string.h>

#include "base/crc32c.h"
#include "spool/message.h"
#include "spool/text.h"

/* ---- numbers ---- */

static void put16(char *p, uint16_t v)
{
    p[0] = (char)v;
    p[1] = (char)(v >> 8);
}

static uint16_t get16(const char *p)
{
    return (uint16_t)((unsigned char)p[0] | (unsigned char)p[1] << 8);
}

void format_put32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> 8 * i);
}

void format_put64(char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (char)(v >> 8 * i);
}

uint32_t format_get32(const char *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

uint64_t format_get64(const char *p)
{
    return format_get32(p) | (uint64_t)format_get32(p + 4) << 32;
}

enum { VAR_MAX = 10 };

static char *put_var(char *p, uint64_t v)
{
    for (; v >= 128; v >>= 7)
        *p++ = (char)(v | 128);
    *p++ = (char)v;
    return p;
}

static char *put_str(char *p, struct str s)
{
    p = put_var(p, s.n);
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

/* Takes from the front of `in`; a reader that has failed gives zeros and stays failed. */
struct reader {
    struct str in;
    bool bad;
};

static uint8_t get_u8(struct reader *r)
{
    uint8_t v;

    if (r->in.n < 1) {
        r->bad = true;
        return 0;
    }
    v = (uint8_t)r->in.p[0];
    r->in = str_from(r->in, 1);
    return v;
}

static uint64_t get_var(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t octet = get_u8(r);

        if (r->bad || (shift == 63 && octet > 1))
            break;
        v |= (uint64_t)(octet & 127) << shift;
        if (octet < 128)
            return v;
    }
    r->bad = true;
    return 0;
}

static uint64_t get_var_max(struct reader *r, uint64_t max)
{
    uint64_t v = get_var(r);

    if (v > max)
        r->bad = true;
    return r->bad ? 0 : v;
}

static struct str get_str(struct reader *r)
{
    uint64_t n = get_var_max(r, r->in.n);
    struct str s;

    if (r->bad || n > r->in.n) { /* the length itself took octets */
        r->bad = true;
        return STR_NULL;
    }
    s = str_head(r->in, n);
    r->in = str_from(r->in, n);
    return s;
}

/* ---- segment header, trailer, entries ---- */

static void put_keys(char *p, const struct format_keys *k)
{
    format_put32(p, k->tag);
    format_put32(p + 4, k->head);
    format_put32(p + 8, k->body);
}

static struct format_keys get_keys(const char *p)
{
    return (struct format_keys){ format_get32(p), format_get32(p + 4), format_get32(p + 8) };
}

enum { VERSION = 1, STATE_FREE = 1, STATE_IN_USE = 2 };

void format_header_write(char out[FORMAT_HEADER_SIZE], const struct format_header *h)
{
    memset(out, 0, FORMAT_HEADER_SIZE);
    memcpy(out, "PTRNSEG1", 8);
    format_put32(out + 8, VERSION);
    format_put32(out + 12, h->in_use ? STATE_IN_USE : STATE_FREE);
    format_put64(out + 16, h->epoch);
    put_keys(out + 24, &h->keys);
    format_put64(out + 40, h->size);
    format_put64(out + 48, h->id_mark);
    format_put32(out + 60, crc32c(0, out, 60));
}

enum format_header_state format_header_read(const char in[FORMAT_HEADER_SIZE],
                                            struct format_header *out)
{
    uint32_t state = format_get32(in + 12);

    if (memcmp(in, "PTRNSEG1", 8) != 0 || format_get32(in + 60) != crc32c(0, in, 60))
        return FORMAT_HEADER_BAD;
    if (format_get32(in + 8) != VERSION)
        return FORMAT_HEADER_OTHER_VERSION;
    if (state != STATE_FREE && state != STATE_IN_USE)
        return FORMAT_HEADER_BAD;
    *out = (struct format_header){
        .in_use = state == STATE_IN_USE,
        .epoch = format_get64(in + 16),
        .keys = get_keys(in + 24),
        .size = format_get64(in + 40),
        .id_mark = format_get64(in + 48),
    };
    return FORMAT_HEADER_OK;
}

void format_trailer_write(char out[FORMAT_TRAILER_SIZE], const struct format_trailer *t)
{
    memcpy(out, "PTRNFOOT", 8);
    format_put64(out + 8, t->epoch);
    format_put64(out + 16, t->end);
    format_put64(out + 24, t->start);
    format_put32(out + 32, t->count);
    format_put32(out + 36, t->entries_crc);
    put_keys(out + 40, &t->keys);
    format_put64(out + 52, t->id_mark);
    format_put32(out + 60, crc32c(0, out, 60));
}

bool format_trailer_read(const char in[FORMAT_TRAILER_SIZE], struct format_trailer *out)
{
    if (memcmp(in, "PTRNFOOT", 8) != 0 || format_get32(in + 60) != crc32c(0, in, 60))
        return false;
    *out = (struct format_trailer){
        .epoch = format_get64(in + 8),
        .end = format_get64(in + 16),
        .start = format_get64(in + 24),
        .count = format_get32(in + 32),
        .entries_crc = format_get32(in + 36),
        .keys = get_keys(in + 40),
        .id_mark = format_get64(in + 52),
    };
    return true;
}

void format_entry_write(char out[FORMAT_ENTRY_SIZE], const struct format_entry *e)
{
    format_put64(out, e->id);
    format_put32(out + 8, (uint32_t)(e->offset / 8));
    format_put32(out + 12, e->meta);
    format_put32(out + 16, e->content);
    out[20] = (char)e->type;
    out[21] = (char)e->flags;
    put16(out + 22, 0);
}

void format_entry_read(const char in[FORMAT_ENTRY_SIZE], struct format_entry *out)
{
    *out = (struct format_entry){
        .id = format_get64(in),
        .offset = (uint64_t)format_get32(in + 8) * 8,
        .meta = format_get32(in + 12),
        .content = format_get32(in + 16),
        .type = (uint8_t)in[20],
        .flags = (uint8_t)in[21],
    };
}

/* ---- frames ---- */

void format_frame_write(char out[FORMAT_FRAME_SIZE], struct format_frame *f,
                        const struct format_keys *keys)
{
    format_put32(out, f->meta);
    format_put32(out + 4, f->content);
    format_put64(out + 8, f->id);
    format_put32(out + 16, keys->tag);
    format_put32(out + 20, f->page);
    put16(out + 24, f->index);
    out[26] = (char)f->type;
    out[27] = (char)f->flags;
    format_put32(out + 28, f->meta_crc);
    format_put32(out + 32, f->content_crc);
    f->head_crc = crc32c(keys->head, out, 36);
    format_put32(out + 36, f->head_crc);
}

bool format_frame_read(const char in[FORMAT_FRAME_SIZE], struct format_frame *out,
                       const struct format_keys *keys)
{
    uint32_t crc = format_get32(in + 36);

    if (format_get32(in + 16) != keys->tag || crc != crc32c(keys->head, in, 36))
        return false;
    *out = (struct format_frame){
        .meta = format_get32(in),
        .content = format_get32(in + 4),
        .id = format_get64(in + 8),
        .page = format_get32(in + 20),
        .index = get16(in + 24),
        .type = (uint8_t)in[26],
        .flags = (uint8_t)in[27],
        .meta_crc = format_get32(in + 28),
        .content_crc = format_get32(in + 32),
        .head_crc = crc,
    };
    return true;
}

void format_commit_write(char out[FORMAT_COMMIT_META], const struct format_commit *c)
{
    format_put32(out, c->count);
    format_put32(out + 4, c->crc);
    format_put64(out + 8, c->durable);
}

void format_commit_read(const char in[FORMAT_COMMIT_META], struct format_commit *out)
{
    *out = (struct format_commit){
        .count = format_get32(in),
        .crc = format_get32(in + 4),
        .durable = format_get64(in + 8),
    };
}

/* ---- states ---- */

enum { STATE_BOUND = 1 + 3 * VAR_MAX + VAR_MAX, STATE_DELAY_TOLD = 16 };

static struct str cut_reply(struct str reply)
{
    return str_head(reply, SPOOL_REPLY_MAX);
}

static char *put_state(char *p, const struct format_state *s)
{
    *p++ = (char)(s->state | (s->delay_told ? STATE_DELAY_TOLD : 0));
    p = put_var(p, s->code);
    p = put_var(p, s->attempts);
    p = put_var(p, (uint64_t)s->next_attempt_us);
    return put_str(p, cut_reply(s->reply));
}

static struct format_state get_state(struct reader *r)
{
    struct format_state s = { .state = get_u8(r) };

    s.delay_told = s.state & STATE_DELAY_TOLD;
    s.state &= (uint8_t)~STATE_DELAY_TOLD;
    if (s.state > SPOOL_IN_DOUBT)
        r->bad = true;
    s.code = (uint16_t)get_var_max(r, UINT16_MAX);
    s.attempts = (uint32_t)get_var_max(r, UINT32_MAX);
    s.next_attempt_us = (int64_t)get_var(r);
    s.reply = get_str(r);
    return s;
}

uint64_t format_outcomes_bound(const struct spool_outcome *outcomes, uint32_t count)
{
    uint64_t n = VAR_MAX;

    for (uint32_t i = 0; i < count; i++)
        n += VAR_MAX + STATE_BOUND + cut_reply(outcomes[i].reply).n;
    return n;
}

char *format_outcomes_write(char *out, const struct spool_outcome *outcomes, uint32_t count)
{
    out = put_var(out, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct spool_outcome *o = &outcomes[i];
        const struct format_state s = {
            .state = o->state,
            .code = o->code,
            .attempts = o->attempts,
            .next_attempt_us = o->next_attempt_us,
            .reply = o->reply,
            .delay_told = o->delay_told,
        };

        out = put_var(out, o->recipient);
        out = put_state(out, &s);
    }
    return out;
}

void format_outcomes_begin(struct format_outcome_reader *r, struct str in)
{
    struct reader reader = { .in = in };

    r->left = get_var(&reader);
    r->in = reader.in;
    r->bad = reader.bad;
}

bool format_outcomes_next(struct format_outcome_reader *r, struct spool_outcome *out)
{
    struct reader reader = { .in = r->in, .bad = r->bad };
    struct format_state s;
    uint32_t recipient;

    if (r->bad || r->left == 0) {
        r->bad = r->bad || r->in.n != 0;
        return false;
    }
    recipient = (uint32_t)get_var_max(&reader, UINT32_MAX);
    s = get_state(&reader);
    r->in = reader.in;
    r->bad = reader.bad;
    r->left--;
    if (r->bad)
        return false;
    *out = (struct spool_outcome){ recipient,         s.state, s.code,      s.attempts,
                                   s.next_attempt_us, s.reply, s.delay_told };
    return true;
}

/* ---- where recipients are sent ---- */

static char *put_route(char *out, uint32_t recipient, struct str next_hop)
{
    out = put_var(out, recipient);
    return put_str(out, next_hop);
}

uint64_t format_routes_bound(const struct spool_route *routes, uint32_t count)
{
    uint64_t n = VAR_MAX;

    for (uint32_t i = 0; i < count; i++)
        n += 2 * VAR_MAX + routes[i].next_hop.n;
    return n;
}

char *format_routes_write(char *out, const struct spool_route *routes, uint32_t count)
{
    out = put_var(out, count);
    for (uint32_t i = 0; i < count; i++)
        out = put_route(out, routes[i].recipient, routes[i].next_hop);
    return out;
}

static uint32_t count_sent(const struct str *next_hops, uint32_t count)
{
    uint32_t n = 0;

    for (uint32_t i = 0; next_hops && i < count; i++)
        n += next_hops[i].n != 0;
    return n;
}

uint64_t format_next_hops_bound(const struct str *next_hops, uint32_t count)
{
    uint64_t n = VAR_MAX;

    if (!count_sent(next_hops, count))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        n += next_hops[i].n ? 2 * VAR_MAX + next_hops[i].n : 0;
    return n;
}

char *format_next_hops_write(char *out, const struct str *next_hops, uint32_t count)
{
    uint32_t sent = count_sent(next_hops, count);

    if (!sent)
        return out;
    out = put_var(out, sent);
    for (uint32_t i = 0; i < count; i++)
        if (next_hops[i].n)
            out = put_route(out, i, next_hops[i]);
    return out;
}

bool format_routes_next(struct format_outcome_reader *r, struct spool_route *out)
{
    struct reader reader = { .in = r->in, .bad = r->bad };
    struct spool_route route;

    if (r->bad || r->left == 0) {
        r->bad = r->bad || r->in.n != 0;
        return false;
    }
    route.recipient = (uint32_t)get_var_max(&reader, UINT32_MAX);
    route.next_hop = get_str(&reader);
    r->in = reader.in;
    r->bad = reader.bad;
    r->left--;
    if (r->bad)
        return false;
    *out = route;
    return true;
}

/* ---- envelopes ---- */

uint64_t format_envelope_bound(const struct spool_message *m, const struct format_state *states)
{
    uint64_t n = 12 * VAR_MAX + 8;

    n += m->reverse_path.n + m->envid.n + m->client.n + m->helo.n;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        n += 2 * VAR_MAX + 1 + m->recipients[i].address.n + m->recipients[i].orcpt.n;
        if (states)
            n += STATE_BOUND + cut_reply(states[i].reply).n;
    }
    return n;
}

char *format_envelope_write(char *out, const struct spool_message *m,
                            const struct format_envelope *e, const struct format_state *states)
{
    out = put_var(out, e->generation);
    out = put_var(out, (uint64_t)m->received_us);
    out = put_var(out, m->size);
    out = put_var(out, e->flags);
    *out++ = (char)m->ret;
    out = put_var(out, e->file_id);
    if (e->file_id) {
        format_put32(out, e->file_crc);
        out += 4;
    }
    out = put_str(out, m->reverse_path);
    out = put_str(out, m->envid);
    out = put_str(out, m->client);
    out = put_str(out, m->helo);
    out = put_var(out, m->recipient_count);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        const struct spool_recipient *r = &m->recipients[i];

        out = put_str(out, r->address);
        out = put_str(out, r->orcpt);
        *out++ = (char)r->notify;
        if (states)
            out = put_state(out, &states[i]);
    }
    return out;
}

static void get_head(struct reader *r, struct spool_message *m, struct format_envelope *e)
{
    e->generation = get_var(r);
    m->received_us = (int64_t)get_var(r);
    m->size = get_var(r);
    e->flags = m->flags = (uint32_t)get_var_max(r, UINT32_MAX);
    m->ret = get_u8(r);
    e->file_id = get_var(r);
    e->file_crc = 0;
    if (e->file_id) {
        if (r->in.n >= 4) {
            e->file_crc = format_get32(r->in.p);
            r->in = str_from(r->in, 4);
        } else {
            r->bad = true;
        }
    }
    m->reverse_path = get_str(r);
    m->envid = get_str(r);
    m->client = get_str(r);
    m->helo = get_str(r);
}

/* Its strings still point into the log's octets. */
static void get_recipient(struct reader *r, bool merged, struct spool_recipient *out)
{
    *out = (struct spool_recipient){ .address = get_str(r), .orcpt = get_str(r) };
    out->notify = get_u8(r);
    if (merged) {
        struct format_state s = get_state(r);

        out->state = s.state;
        out->code = s.code;
        out->attempts = s.attempts;
        out->next_attempt_us = s.next_attempt_us;
        out->reply = s.reply;
        out->delay_told = s.delay_told;
    }
}

/* One piece of memory for recipients and strings, so that a message that waits takes little. */
struct packer {
    char *at;
};

static void pack(struct packer *p, struct str *s)
{
    if (s->n == 0) {
        *s = STR_NULL;
        return;
    }
    memcpy(p->at, s->p, s->n);
    p->at[s->n] = 0;
    s->p = p->at;
    p->at += s->n + 1;
}

enum pt_err format_envelope_read(struct str in, bool merged, struct spool_message *m,
                                 struct format_envelope *out)
{
    struct reader r = { .in = in }, recipients;
    struct packer packer;
    uint64_t count, strings;
    char *memory;

    get_head(&r, m, out);
    count = get_var_max(&r, r.in.n / 3); /* each takes at least three octets */
    strings = m->reverse_path.n + m->envid.n + m->client.n + m->helo.n + 4;
    recipients = r;
    for (uint64_t i = 0; i < count && !r.bad; i++) {
        struct spool_recipient one;

        get_recipient(&r, merged, &one);
        strings += one.address.n + one.orcpt.n + 2;
    }
    if (r.bad || r.in.n)
        return PT_ERR_INVALID;
    memory = spool_message_memory(m, count * sizeof(struct spool_recipient) + strings);
    if (!memory)
        return PT_ERR_NOMEM;
    m->recipients = (struct spool_recipient *)(void *)memory;
    m->recipient_count = (uint32_t)count;
    packer.at = memory + count * sizeof(struct spool_recipient);
    pack(&packer, &m->reverse_path);
    pack(&packer, &m->envid);
    pack(&packer, &m->client);
    pack(&packer, &m->helo);
    for (uint64_t i = 0; i < count; i++) {
        struct spool_recipient *one = &m->recipients[i];

        get_recipient(&recipients, merged, one);
        pack(&packer, &one->address);
        pack(&packer, &one->orcpt);
        one->reply = text_get(str_head(one->reply, SPOOL_REPLY_MAX));
    }
    return PT_ERR_OK;
}
