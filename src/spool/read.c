#include <errno.h>
#include <string.h>

#include "base/crc32c.h"
#include "spool/file.h"
#include "spool/internal.h"

/*
 * Content from the disk. The place of a message may change while it is read (cleaning), so it is
 * taken under the lock together with a pin, which keeps the segment from being used again.
 */

static bool pin(struct spool *s, const struct spool_message *m, struct spool_place *out)
{
    bool kept;

    pthread_mutex_lock(&s->lock);
    /* Only what the commit thread changes under the lock. */
    *out = (struct spool_place){
        .segment = m->place.segment,
        .offset = m->place.offset,
        .meta = m->place.meta,
        .content = m->place.content,
        .content_crc = m->place.content_crc,
    };
    kept = out->segment;
    if (kept && !m->file)
        atomic_fetch_add(&out->segment->pins, 1);
    pthread_mutex_unlock(&s->lock);
    return kept;
}

static void unpin(struct spool *s, struct spool_segment *g)
{
    if (atomic_fetch_sub(&g->pins, 1) == 1)
        atomic_store(&s->unpinned, true);
}

/* Reads the whole content: its CRC is over all of it. */
static enum pt_err read_blocks(struct spool *s, const struct spool_place *p,
                               struct block_chain *out)
{
    uint32_t crc = p->segment->keys.body;
    int r = disk_read_blocks(s->disk, p->segment->handle, p->content,
                             p->offset + FORMAT_FRAME_SIZE + p->meta, out);

    if (r)
        return pt_err_from_errno(-r);
    for (const struct block *b = out->first; b; b = b->next)
        crc = crc32c(crc, b->data, b->used);
    return crc == p->content_crc ? PT_ERR_OK : PT_ERR_CORRUPT;
}

static enum pt_err read_inline(struct spool *s, struct spool_read *r, const struct spool_place *p)
{
    enum pt_err err = read_blocks(s, p, &r->content);

    if (err == PT_ERR_OK && (r->offset || r->length < r->content.size))
        block_chain_slice(&r->content, r->offset, r->length);
    return err;
}

static void run(struct spool_job *job)
{
    struct spool_read *r = PT_CONTAINER_OF(job, struct spool_read, job);
    struct spool *s = r->spool;
    struct spool_place p;

    block_chain_init(&r->content);
    if (!pin(s, r->message, &p)) {
        r->result = PT_ERR_NOTFOUND;
    } else if (r->message->file) {
        r->result = spool_file_read(r->message->file, r->offset, r->length, &r->content);
    } else {
        r->result = read_inline(s, r, &p);
        unpin(s, p.segment);
    }
    /* A copy carries damage along as it is; whoever else reads must not see any of it. */
    if (r->result && !(r->result == PT_ERR_CORRUPT && r->keep_damaged))
        block_chain_done(&r->content);
    r->done(r);
}

void spool_read(struct spool *s, struct spool_read *r)
{
    r->spool = s;
    r->job.run = run;
    workers_post(&s->workers, &r->job);
}
