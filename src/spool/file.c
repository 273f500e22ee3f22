#include "spool/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "spool/internal.h"

/*
 * Large content. One worker at a time has a file (`busy`); what is submitted meanwhile waits in the
 * file's own list, in order.
 */

enum { TABLE_MAX = 64 << 20, WRITE_IOV = 256 };

void spool_file_name(uint64_t id, const char *suffix, char out[FILE_NAME_SIZE])
{
    snprintf(out, FILE_NAME_SIZE, "%016llx%s", (unsigned long long)id, suffix);
}

static struct spool_file *file_new(struct spool *s, uint64_t id)
{
    struct spool_file *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    spool_ref(s);
    f->spool = s;
    f->id = id;
    f->handle = -1;
    f->crc = (uint32_t)id;
    pthread_mutex_init(&f->lock, NULL);
    buf_init(&f->table, TABLE_MAX);
    atomic_init(&f->refs, 1);
    return f;
}

struct spool_file *spool_file_new(struct spool *s)
{
    return file_new(s, spool_new_id(s));
}

struct spool_file *spool_file_found(struct spool *s, uint64_t id, uint64_t size, uint32_t crc)
{
    struct spool_file *f = file_new(s, id);

    if (!f)
        return NULL;
    f->size = size;
    f->table_crc = crc;
    f->kept = f->adopted = true;
    return f;
}

static void file_unref(struct spool_file *f)
{
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    if (f->handle >= 0)
        f->spool->disk->close(f->spool->disk, f->handle);
    buf_done(&f->table);
    pthread_mutex_destroy(&f->lock);
    spool_unref(f->spool);
    free(f);
}

/* ---- writing ---- */

static int open_new(struct spool_file *f)
{
    struct disk *d = f->spool->disk;
    char name[FILE_NAME_SIZE];
    int r = d->open_nameless(d, f->spool->large);

    if (r == -EOPNOTSUPP) {
        spool_file_name(f->id, ".new", name);
        r = d->open(d, f->spool->large, name, DISK_CREATE);
        f->named = r >= 0;
    }
    f->handle = r;
    return r < 0 ? r : 0;
}

static void end_piece(struct spool_file *f)
{
    char crc[4];

    format_put32(crc, f->crc);
    buf_add(&f->table, crc, sizeof crc);
    f->crc = (uint32_t)f->id;
}

/* Sums what is appended, piece by piece. */
static void sum(struct spool_file *f, uint64_t at, const char *octets, uint64_t n)
{
    while (n) {
        uint64_t part = PT_MIN(n, FORMAT_PIECE - at % FORMAT_PIECE);

        f->crc = crc32c(f->crc, octets, part);
        at += part;
        octets += part;
        n -= part;
        if (at % FORMAT_PIECE == 0)
            end_piece(f);
    }
}

static int append(struct spool_file *f, const struct block_chain *c)
{
    struct disk *d = f->spool->disk;
    struct iovec iov[WRITE_IOV];
    const struct block *b = c->first;

    while (b) {
        uint64_t n = 0;
        int count = 0, r;

        for (; b && count < WRITE_IOV; b = b->next) {
            sum(f, f->size + n, b->data, b->used);
            iov[count++] = (struct iovec){ (void *)b->data, b->used };
            n += b->used;
        }
        r = disk_write_all(d, f->handle, iov, count, f->size);
        if (r)
            return r;
        f->size += n;
    }
    return 0;
}

/* Durable under its name. */
static int finish(struct spool_file *f)
{
    struct spool *s = f->spool;
    struct disk *d = s->disk;
    char made[FILE_NAME_SIZE], final[FILE_NAME_SIZE];
    struct iovec iov;
    int r;

    if (f->size % FORMAT_PIECE)
        end_piece(f);
    if (f->table.failed)
        return -ENOMEM;
    f->table_crc = crc32c((uint32_t)f->id, f->table.p, f->table.n);
    iov = (struct iovec){ f->table.p, f->table.n };
    r = disk_write_all(d, f->handle, &iov, 1, f->size);
    if (r == 0)
        r = d->sync(d, f->handle);
    if (r)
        return r;
    spool_file_name(f->id, ".new", made);
    spool_file_name(f->id, ".eml", final);
    r = f->named ? d->rename(d, s->large, made, final) : d->link(d, f->handle, s->large, final);
    if (r)
        return r;
    f->kept = true; /* from here on it has to be unlinked, whatever comes */
    r = d->sync_directory(d, s->large);
    d->close(d, f->handle);
    f->handle = -1;
    return r;
}

static enum pt_err do_op(struct spool_file *f, struct spool_file_op *op)
{
    int r = 0;

    if (f->error)
        return f->error;
    if (f->handle < 0 && !f->kept)
        r = open_new(f);
    else if (f->kept)
        r = -EINVAL;
    if (r == 0)
        r = append(f, &op->content);
    if (r == 0 && op->finish)
        r = finish(f);
    if (r)
        f->error = pt_err_from_errno(-r);
    return f->error;
}

static struct spool_file_op *next_op(struct spool_file *f)
{
    struct spool_file_op *op;

    pthread_mutex_lock(&f->lock);
    op = f->first;
    if (op) {
        f->first = op->next;
        if (!f->first)
            f->last = NULL;
    } else {
        f->busy = false;
    }
    pthread_mutex_unlock(&f->lock);
    return op;
}

static void write_run(struct spool_job *job)
{
    struct spool_file *f = PT_CONTAINER_OF(job, struct spool_file, job);
    struct spool_file_op *op;

    while ((op = next_op(f))) {
        op->result = do_op(f, op);
        block_chain_done(&op->content);
        op->done(op); /* may drop the file: our reference holds it */
    }
    file_unref(f);
}

void spool_file_submit(struct spool *s, struct spool_file_op *op)
{
    struct spool_file *f = op->file;
    bool start;

    op->next = NULL;
    pthread_mutex_lock(&f->lock);
    if (f->last)
        f->last->next = op;
    else
        f->first = op;
    f->last = op;
    start = !f->busy;
    f->busy = true;
    pthread_mutex_unlock(&f->lock);
    if (!start)
        return;
    atomic_fetch_add(&f->refs, 1);
    f->job.run = write_run;
    workers_post(&s->workers, &f->job);
}

/* ---- removing ---- */

static void remove_run(struct spool_job *job)
{
    struct spool_file *f = PT_CONTAINER_OF(job, struct spool_file, removal);
    struct disk *d = f->spool->disk;
    char name[FILE_NAME_SIZE];

    spool_file_name(f->id, f->kept ? ".eml" : ".new", name);
    PT_IGNORE(d->unlink(d, f->spool->large, name), "the next start removes what is left");
    file_unref(f);
}

void spool_file_remove(struct spool_file *f)
{
    atomic_fetch_add(&f->refs, 1);
    f->removal.run = remove_run;
    workers_post(&f->spool->workers, &f->removal);
}

void spool_file_leave(struct spool_file *f)
{
    /* After the spool was closed the next start removes it. */
    if (!f->adopted && (f->kept || f->named) && !atomic_load(&f->spool->closed))
        spool_file_remove(f);
    file_unref(f);
}

void spool_file_drop(struct spool *s, struct spool_file *file)
{
    if (file)
        spool_file_leave(file);
}

/* ---- reading ---- */

/* The CRCs of the pieces, checked against the envelope; kept for the next read. */
static enum pt_err read_table(struct spool_file *f, int handle, uint64_t size)
{
    struct disk *d = f->spool->disk;
    uint64_t n = (size + FORMAT_PIECE - 1) / FORMAT_PIECE * 4;
    struct buf table;
    int r;

    if (f->table.n == n)
        return PT_ERR_OK;
    buf_init(&table, TABLE_MAX);
    if (!buf_reserve(&table, n))
        return PT_ERR_NOMEM;
    r = disk_read_all(d, handle, table.p, n, size);
    table.n = n;
    if (r || crc32c((uint32_t)f->id, table.p, n) != f->table_crc) {
        buf_done(&table);
        return r && r != -EIO ? pt_err_from_errno(-r) : PT_ERR_CORRUPT;
    }
    buf_done(&f->table);
    f->table = table;
    return PT_ERR_OK;
}

/* A sum under way over what is read; it is compared where a piece ends. */
struct check {
    const struct spool_file *file;
    uint64_t at;
    uint32_t crc;
};

static bool check_add(struct check *c, const char *octets, uint64_t n)
{
    const struct spool_file *f = c->file;

    while (n) {
        uint64_t piece = c->at / FORMAT_PIECE;
        uint64_t part = PT_MIN(n, FORMAT_PIECE - c->at % FORMAT_PIECE);

        c->crc = crc32c(c->crc, octets, part);
        c->at += part;
        octets += part;
        n -= part;
        if (c->at % FORMAT_PIECE && c->at != f->size)
            continue;
        if (c->crc != format_get32(f->table.p + piece * 4))
            return false;
        c->crc = (uint32_t)f->id;
    }
    return true;
}

/* Whole pieces, straight into blocks. */
static enum pt_err read_pieces(struct spool_file *f, int handle, uint64_t at, uint64_t end,
                               struct block_chain *out)
{
    struct check check = { .file = f, .at = at, .crc = (uint32_t)f->id };

    int r = disk_read_blocks(f->spool->disk, handle, end - at, at, out);

    if (r)
        return r == -EIO ? PT_ERR_CORRUPT : pt_err_from_errno(-r);
    for (const struct block *b = out->first; b; b = b->next)
        if (!check_add(&check, b->data, b->used))
            return PT_ERR_CORRUPT;
    return PT_ERR_OK;
}

/* The pieces that hold these octets, cut to size. Nothing is left in `out` on failure. */
static enum pt_err read_range(struct spool_file *f, int handle, uint64_t offset, uint64_t n,
                              struct block_chain *out)
{
    uint64_t start = offset - offset % FORMAT_PIECE;
    uint64_t end = PT_MIN(f->size, (offset + n + FORMAT_PIECE - 1) / FORMAT_PIECE * FORMAT_PIECE);
    struct block_chain content = { 0 };
    enum pt_err err = read_pieces(f, handle, start, end, &content);

    if (err == PT_ERR_OK) {
        block_chain_slice(&content, offset - start, n);
        block_chain_move(out, &content);
    }
    block_chain_done(&content);
    return err;
}

enum pt_err spool_file_read(struct spool_file *f, uint64_t offset, uint64_t n,
                            struct block_chain *out)
{
    struct disk *d = f->spool->disk;
    char name[FILE_NAME_SIZE];
    enum pt_err err;
    int handle;

    if (offset >= f->size)
        return PT_ERR_OK;
    spool_file_name(f->id, ".eml", name);
    handle = d->open(d, f->spool->large, name, DISK_READ);
    if (handle < 0)
        return handle == -ENOENT ? PT_ERR_CORRUPT : pt_err_from_errno(-handle);
    pthread_mutex_lock(&f->lock); /* two deliveries may read the table at once */
    err = read_table(f, handle, f->size);
    pthread_mutex_unlock(&f->lock);
    if (err == PT_ERR_OK)
        err = read_range(f, handle, offset, PT_MIN(n, f->size - offset), out);
    d->close(d, handle);
    return err;
}
