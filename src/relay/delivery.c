#include "relay/delivery.h"

#include <stdlib.h>

#include "relay/connection.h"

/* ---- reading back ---- */

static void reader_arrived(struct mail *mail)
{
    struct relay_reader *reader = PT_CONTAINER_OF(mail, struct relay_reader, mail);
    struct relay_loop *rl = reader->rl;

    rl->jobs--;
    if (reader->owner)
        reader->done(reader, reader->owner);
    else
        relay_reader_end(reader);
    relay_loop_check_stopped(rl);
}

/* On a file worker. */
static void reader_done(struct spool_read *read)
{
    struct relay_reader *reader = PT_CONTAINER_OF(read, struct relay_reader, read);

    net_loop_post(reader->rl->loop, &reader->mail);
}

struct relay_reader *relay_reader_start(struct relay_loop *rl, struct spool_message *m,
                                        uint64_t offset, uint64_t length,
                                        void (*done)(struct relay_reader *reader, void *owner),
                                        void *owner)
{
    struct relay_reader *reader = rl->relay->spool ? malloc(sizeof *reader) : NULL;

    if (!reader)
        return NULL;
    *reader = (struct relay_reader){
        .read = { .message = m, .offset = offset, .length = length, .done = reader_done },
        .mail = { .run = reader_arrived },
        .rl = rl,
        .message = spool_message_ref(m),
        .charged = length,
        .done = done,
        .owner = owner,
    };
    rl->jobs++;
    rl->reading += length;
    spool_read(rl->relay->spool, &reader->read);
    return reader;
}

void relay_reader_end(struct relay_reader *reader)
{
    struct relay_loop *rl = reader->rl;

    rl->reading -= reader->charged;
    block_chain_done(&reader->read.content);
    spool_message_unref(reader->message);
    free(reader);
    if (rl->starved)
        relay_delivery_feed_starved(rl);
}

/* ---- the pieces of a delivery ---- */

static void piece_arrived(struct relay_reader *reader, void *owner);

static void set_piece(struct relay_delivery *d, const struct block_chain *chain)
{
    d->block = chain->first;
    d->at = 0;
}

/* Octets it may ask for now, of those it wants; 0: it waits. */
static uint64_t may_read(const struct relay_delivery *d, uint64_t length)
{
    const struct relay_loop *rl = d->conn->rl;

    if (!rl->reading || rl->reading + length <= rl->relay->config.read_budget)
        return length;
    /* Next hops that are silent must not keep others waiting with what they hold: a connection that
     * has nothing to send gets a little, and one that sends waits with the next message alone. */
    if (d->held || (d->state == RELAY_DELIVERY_LOADING && d->conn->sending))
        return 0;
    return PT_MIN(length, RELAY_PIECE_LEAST);
}

/* Asks for the next piece, if there is one and the budget allows. */
static void ask(struct relay_delivery *d)
{
    struct relay_loop *rl = d->conn->rl;
    uint64_t length = PT_MIN((uint64_t)RELAY_PIECE, d->message->size - d->asked);
    uint64_t granted;

    if (d->reader || d->error || !length)
        return;
    d->starved = true;
    granted = may_read(d, length);
    if (granted)
        d->reader = relay_reader_start(rl, d->message, d->asked, granted, piece_arrived, d);
    if (!d->reader) {
        relay_conn_starve(d->conn);
        return;
    }
    d->starved = false;
    d->asked += granted;
}

void relay_delivery_feed_starved(struct relay_loop *rl)
{
    struct relay_conn *conn;

    while ((conn = rl->starved)) {
        uint64_t before = rl->reading;

        relay_conn_unstarve(conn);
        for (unsigned i = 0; i < RELAY_SLOTS; i++)
            if (conn->slots[i].state != RELAY_DELIVERY_FREE && conn->slots[i].starved)
                ask(&conn->slots[i]);
        if (rl->reading == before)
            break; /* it starves again, behind the others */
    }
}

static void drop_piece(struct relay_delivery *d)
{
    struct relay_loop *rl = d->conn->rl;

    block_chain_done(&d->piece);
    d->block = NULL;
    rl->reading -= d->held;
    d->held = 0;
}

/* The piece that has arrived takes the place of the one that is sent. */
static void swap_piece(struct relay_delivery *d)
{
    struct relay_reader *reader = d->reader;

    d->reader = NULL;
    d->arrived = false;
    drop_piece(d);
    block_chain_move(&d->piece, &reader->read.content);
    d->held = reader->charged;
    reader->charged = 0;
    set_piece(d, &d->piece);
    relay_reader_end(reader);
}

static bool has_arrived(const struct relay_delivery *d)
{
    return d->reader && d->arrived;
}

static void piece_arrived(struct relay_reader *reader, void *owner)
{
    struct relay_delivery *d = owner;

    if (reader->read.result != PT_ERR_OK)
        d->error = reader->read.result;
    else if (reader->read.content.size != reader->charged)
        d->error = PT_ERR_CORRUPT;
    d->arrived = true;
    if (d->state == RELAY_DELIVERY_LOADING) {
        d->state = d->error ? RELAY_DELIVERY_BROKEN : RELAY_DELIVERY_READY;
        if (!d->error)
            swap_piece(d);
    }
    relay_conn_content_ready(d->conn);
}

/* ---- a delivery ---- */

/* Does the header hold octets beyond ASCII? Only what is in memory is looked at; a header that is
 * longer is taken to. */
static bool header_8bit(const struct block *b)
{
    unsigned line_ends = 0;

    for (; b; b = b->next) {
        for (uint32_t i = 0; i < b->used; i++) {
            unsigned char c = (unsigned char)b->data[i];

            if (c >= 0x80)
                return true;
            if (c == '\n' && ++line_ends == 2)
                return false;
            if (c != '\n' && c != '\r')
                line_ends = 0;
        }
    }
    return true;
}

static void fill_mail(struct relay_delivery *d)
{
    const struct spool_message *m = d->message;
    uint32_t flags = relay_message_flags(m);

    d->m.mail = (struct smtp_mail){
        .reverse_path = m->reverse_path,
        .size_given = true,
        .size = m->size,
        .body = flags & (SPOOL_8BIT | SPOOL_BODY_8BITMIME) ? SMTP_BODY_8BITMIME : SMTP_BODY_NONE,
        .ret = m->ret,
        .smtputf8 = flags & SPOOL_SMTPUTF8,
        .envid = m->envid,
    };
    d->m.has_8bit = flags & SPOOL_8BIT;
    for (uint32_t i = 0; i < d->group->count; i++) {
        const struct spool_recipient *r = &m->recipients[d->group->indexes[i]];

        d->m.rcpts[i] = (struct smtp_client_rcpt){
            .rcpt = { .address = r->address, .notify = r->notify, .orcpt = r->orcpt },
        };
    }
}

bool relay_delivery_init(struct relay_delivery *d, struct relay_conn *conn, struct relay_group *g)
{
    *d = (struct relay_delivery){ .conn = conn, .group = g, .message = g->item->message };
    d->m.rcpt_count = g->count;
    d->m.rcpts = g->count == 1 ? &d->one_rcpt : calloc(g->count, sizeof *d->m.rcpts);
    d->results = g->count == 1 ? &d->one_result : calloc(g->count, sizeof *d->results);
    if (!d->m.rcpts || !d->results) {
        free(d->m.rcpts);
        free(d->results);
        return false;
    }
    fill_mail(d);
    /* While a group is busy nobody drops its message's content. */
    if (d->message->cached || !d->message->size) {
        d->asked = d->message->size;
        set_piece(d, &d->message->content);
        d->state = RELAY_DELIVERY_READY;
    } else {
        d->state = RELAY_DELIVERY_LOADING;
        ask(d);
    }
    return true;
}

void relay_delivery_done(struct relay_delivery *d)
{
    if (d->state == RELAY_DELIVERY_FREE)
        return;
    d->state = RELAY_DELIVERY_FREE;
    if (d->reader) {
        if (d->arrived)
            relay_reader_end(d->reader);
        else
            d->reader->owner = NULL;
    }
    d->reader = NULL;
    drop_piece(d);
    if (d->conn->rl->starved)
        relay_delivery_feed_starved(d->conn->rl);
    if (d->m.rcpts != &d->one_rcpt) {
        free(d->m.rcpts);
        free(d->results);
    }
}

bool relay_delivery_header_8bit(const struct relay_delivery *d)
{
    return d->m.has_8bit && header_8bit(d->block);
}

void relay_delivery_start(struct relay_delivery *d, enum smtp_client_way way)
{
    smtp_stuff_init(&d->stuff, way == SMTP_CLIENT_BY_DATA);
    ask(d);
}

/* Slices of the blocks at hand. */
static enum smtp_stuff_status slice_blocks(struct relay_delivery *d, struct iovec *iov, int *count,
                                           int max)
{
    while (d->block) {
        struct str rest = { d->block->data + d->at, d->block->used - d->at };
        size_t before = rest.n;
        enum smtp_stuff_status status;

        if (max - *count < 2)
            return SMTP_STUFF_FULL;
        status = smtp_stuff_next(&d->stuff, &rest, iov, count, max);
        d->at += (uint32_t)(before - rest.n);
        d->given += before - rest.n;
        if (status != SMTP_STUFF_MORE)
            return status;
        d->block = d->block->next;
        d->at = 0;
    }
    return SMTP_STUFF_MORE;
}

static enum relay_slices slice_end(struct relay_delivery *d, struct iovec *iov, int *count, int max)
{
    struct str end;

    if (d->given != d->message->size) {
        d->error = PT_ERR_CORRUPT;
        return RELAY_SLICES_ERROR;
    }
    if (*count == max)
        return RELAY_SLICES_SOME;
    if (!smtp_stuff_end(&d->stuff, &end))
        return RELAY_SLICES_BARE;
    if (end.n)
        iov[(*count)++] = (struct iovec){ .iov_base = (char *)end.p, .iov_len = end.n };
    d->all_given = true;
    return RELAY_SLICES_ALL;
}

enum relay_slices relay_delivery_slices(struct relay_delivery *d, struct iovec *iov, int *count,
                                        int max)
{
    int before = *count;
    enum smtp_stuff_status status;

    if (d->all_given)
        return RELAY_SLICES_ALL;
    if (!d->block && !d->error && d->given < d->message->size) {
        drop_piece(d); /* all of it is sent */
        if (has_arrived(d))
            swap_piece(d);
        ask(d);
    }
    status = slice_blocks(d, iov, count, max);
    if (status == SMTP_STUFF_BARE)
        return RELAY_SLICES_BARE;
    if (status == SMTP_STUFF_FULL)
        return RELAY_SLICES_SOME;
    /* Slices of this piece must be sent before the next takes its place. */
    if (d->given<d->message->size && * count> before)
        return RELAY_SLICES_SOME;
    if (d->given < d->message->size && !d->reader && d->asked == d->message->size)
        d->error = PT_ERR_CORRUPT; /* there is less than the envelope says */
    if (d->given < d->message->size)
        return d->error ? RELAY_SLICES_ERROR : RELAY_SLICES_WAIT;
    return slice_end(d, iov, count, max);
}
