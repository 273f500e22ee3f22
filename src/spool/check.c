#include "spool/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgid.h"

enum { READ_AT_ONCE = 1 << 20, LINE_MAX_OCTETS = 256 << 20 };

struct look {
    struct spool *spool;
    struct spool_message **messages;
    uint64_t count, room;
    bool failed; /* memory is short */
    void (*tell)(void *ctx, uint64_t id, const struct pt_fault *fault);
    void *ctx;
    struct spool_check *out;
};

static void on_damaged(void *ctx, uint64_t id, const struct pt_fault *fault)
{
    struct look *l = ctx;

    l->out->reports++;
    if (l->tell)
        l->tell(l->ctx, id, fault);
}

static void on_recovered(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    struct look *l = ctx;

    if (l->count + count > l->room) {
        uint64_t room = PT_MAX(2 * l->room, l->count + count);
        struct spool_message **bigger = realloc(l->messages, room * sizeof *bigger);

        if (!bigger) {
            l->failed = true;
            return;
        }
        l->messages = bigger;
        l->room = room;
    }
    for (uint32_t i = 0; i < count; i++)
        l->messages[l->count++] = spool_message_ref(messages[i]);
}

static enum pt_err look_begin(struct look *l, const char *directory, struct disk *disk,
                              struct pt_fault *fault)
{
    struct spool_config config = {
        .directory = directory,
        .disk = disk,
        .segment_size = 64u << 20,
        .read_only = true,
        .manual = true,
        .recovered = on_recovered,
        .damaged = on_damaged,
        .ctx = l,
    };
    struct spool_stats stats;
    enum pt_err err = spool_open(&l->spool, &config, fault);

    if (err)
        return err;
    if (l->failed)
        return pt_fault_set(fault, PT_ERR_NOMEM, "reading %s", directory);
    spool_get_stats(l->spool, &stats);
    l->out->segments = stats.segments;
    l->out->messages = l->count;
    return PT_ERR_OK;
}

static void look_end(struct look *l)
{
    spool_close(l->spool);
    while (l->count)
        spool_message_unref(l->messages[--l->count]);
    free(l->messages);
}

static void on_read(struct spool_read *r)
{
}

/* Reads all of the content, handing it on piece by piece. */
static enum pt_err read_through(struct look *l, struct spool_message *m,
                                enum pt_err (*take)(void *ctx, const struct block_chain *c),
                                void *ctx)
{
    uint64_t at = 0;
    enum pt_err err = PT_ERR_OK;

    while (err == PT_ERR_OK && at < m->size) {
        struct spool_read r = {
            .message = m, .offset = at, .length = READ_AT_ONCE, .done = on_read
        };

        spool_read(l->spool, &r);
        err = r.result;
        if (err == PT_ERR_OK && r.content.size == 0)
            err = PT_ERR_CORRUPT;
        at += r.content.size;
        if (err == PT_ERR_OK && take)
            err = take(ctx, &r.content);
        block_chain_done(&r.content);
    }
    return err;
}

static void report_content(struct look *l, uint64_t id, enum pt_err err)
{
    struct pt_fault fault;

    l->out->damaged++;
    pt_fault_set(&fault, err, "the content cannot be read back: %s", pt_err_text(err));
    on_damaged(l, id, &fault);
}

enum pt_err spool_check(const char *directory, struct disk *disk,
                        void (*tell)(void *ctx, uint64_t id, const struct pt_fault *fault),
                        void *ctx, struct spool_check *out, struct pt_fault *fault)
{
    struct look l = { .tell = tell, .ctx = ctx, .out = out };
    enum pt_err err;

    *out = (struct spool_check){ 0 };
    err = look_begin(&l, directory, disk, fault);
    for (uint64_t i = 0; i < l.count && err == PT_ERR_OK; i++) {
        struct spool_message *m = l.messages[i];
        enum pt_err wrong = read_through(&l, m, NULL, NULL);

        out->octets += m->size;
        if (wrong)
            report_content(&l, m->id, wrong);
    }
    look_end(&l);
    return err;
}

/* ---- export ---- */

static void add_key(struct buf *b, const char *key)
{
    if (b->p[b->n - 1] != '{')
        buf_add_char(b, ',');
    log_json_string(b, str_of(key));
    buf_add_char(b, ':');
}

static void add_str(struct buf *b, const char *key, struct str value)
{
    add_key(b, key);
    log_json_string(b, value);
}

static void add_number(struct buf *b, const char *key, uint64_t value)
{
    add_key(b, key);
    buf_add_u64(b, value);
}

static void add_time(struct buf *b, const char *key, int64_t wall_us)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_rfc3339(wall_us, text);
    add_str(b, key, str_of(text));
}

static void add_recipient(struct buf *b, const struct spool_recipient *r)
{
    static const char states[][12] = { "queued", "delivered", "failed", "in_doubt" };

    BUF_LIT(b, "{");
    add_str(b, "address", r->address);
    if (r->orcpt.n)
        add_str(b, "orcpt", r->orcpt);
    add_number(b, "notify", r->notify);
    add_str(b, "state", str_of(states[r->state & 3]));
    add_number(b, "attempts", r->attempts);
    if (r->next_attempt_us > 0)
        add_time(b, "next_attempt", r->next_attempt_us);
    if (r->code)
        add_number(b, "code", r->code);
    if (r->reply.n)
        add_str(b, "reply", r->reply);
    BUF_LIT(b, "}");
}

static void add_envelope(struct buf *b, const struct spool_message *m)
{
    char id[MSGID_SIZE];

    msgid_format(m->id, id);
    BUF_LIT(b, "{");
    add_str(b, "id", str_of(id));
    add_time(b, "received", m->received_us);
    add_number(b, "size", m->size);
    add_number(b, "flags", m->flags);
    add_number(b, "ret", m->ret);
    add_str(b, "reverse_path", m->reverse_path);
    if (m->envid.n)
        add_str(b, "envid", m->envid);
    add_str(b, "client", m->client);
    add_str(b, "helo", m->helo);
    add_key(b, "recipients");
    BUF_LIT(b, "[");
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (i)
            buf_add_char(b, ',');
        add_recipient(b, &m->recipients[i]);
    }
    BUF_LIT(b, "]}\n");
}

static int write_octets(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

static enum pt_err write_chain(void *ctx, const struct block_chain *c)
{
    int r = 0;

    for (const struct block *b = c->first; b && r == 0; b = b->next)
        r = write_octets(*(int *)ctx, b->data, b->used);
    return r ? pt_err_from_errno(-r) : PT_ERR_OK;
}

static enum pt_err write_envelope(int fd, const struct spool_message *m)
{
    struct buf line;
    enum pt_err err;
    int r;

    buf_init(&line, LINE_MAX_OCTETS);
    add_envelope(&line, m);
    r = line.failed ? -ENOMEM : write_octets(fd, line.p, line.n);
    err = r ? pt_err_from_errno(-r) : PT_ERR_OK;
    buf_done(&line);
    return err;
}

/* One message; what cannot be read back leaves no file. */
static enum pt_err export_one(struct look *l, struct spool_message *m, int target, int envelopes,
                              struct pt_fault *fault)
{
    char id[MSGID_SIZE], name[MSGID_SIZE + 8];
    enum pt_err err;
    int fd;

    msgid_format(m->id, id);
    snprintf(name, sizeof name, "%s.eml", id);
    fd = openat(target, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return pt_fault_errno(fault, errno, "%s", name);
    err = read_through(l, m, write_chain, &fd);
    if (close(fd) < 0 && err == PT_ERR_OK)
        err = pt_err_from_errno(errno);
    if (err == PT_ERR_CORRUPT) {
        report_content(l, m->id, err);
        PT_IGNORE(unlinkat(target, name, 0) < 0, "it is reported as lost");
        return PT_ERR_OK;
    }
    if (err == PT_ERR_OK)
        err = write_envelope(envelopes, m);
    l->out->octets += m->size;
    return err ? pt_fault_set(fault, err, "%s: %s", name, pt_err_text(err)) : PT_ERR_OK;
}

static enum pt_err export_all(struct look *l, int target, struct pt_fault *fault)
{
    enum pt_err err = PT_ERR_OK;
    int envelopes =
        openat(target, "envelopes.jsonl", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (envelopes < 0)
        return pt_fault_errno(fault, errno, "envelopes.jsonl");
    for (uint64_t i = 0; i < l->count && err == PT_ERR_OK; i++)
        err = export_one(l, l->messages[i], target, envelopes, fault);
    if (close(envelopes) < 0 && err == PT_ERR_OK)
        err = pt_fault_errno(fault, errno, "envelopes.jsonl");
    return err;
}

enum pt_err spool_export(const char *directory, struct disk *disk, const char *target,
                         void (*tell)(void *ctx, uint64_t id, const struct pt_fault *fault),
                         void *ctx, struct spool_check *out, struct pt_fault *fault)
{
    struct look l = { .tell = tell, .ctx = ctx, .out = out };
    enum pt_err err;
    int fd;

    *out = (struct spool_check){ 0 };
    if (mkdir(target, 0700) < 0 && errno != EEXIST)
        return pt_fault_errno(fault, errno, "making %s", target);
    fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return pt_fault_errno(fault, errno, "opening %s", target);
    err = look_begin(&l, directory, disk, fault);
    if (err == PT_ERR_OK)
        err = export_all(&l, fd, fault);
    look_end(&l);
    close(fd);
    return err;
}
