#include "sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/rng.h"

enum { SECTOR = 512, NAME_SIZE = 40, HANDLES = 4096 };

/* One sector as an unsynced write left it. */
struct image {
    struct image *next;
    uint64_t sector;
    char octets[SECTOR];
};

struct node {
    struct node *next; /* of all */
    bool is_directory;
    int handles;

    /* A file: as the cache has it, as the disk has it; both `room` long. */
    char *seen, *kept;
    uint64_t seen_size, kept_size, room;
    struct image *first, *last; /* unsynced, in order */

    struct entry *entries; /* a directory */
    struct change *changes, *last_change;
};

struct entry {
    struct entry *next;
    char name[NAME_SIZE];
    struct node *seen, *kept; /* NULL: there is none */
};

/* An unsynced change of up to two entries, which come together. */
struct change {
    struct change *next;
    struct entry *entry[2];
    struct node *node[2];
};

struct sim_disk {
    struct disk face;
    struct rng rng;
    struct node *nodes, *root;
    struct image *spare_images;
    struct node *handles[HANDLES];
    bool crashed, can_nameless;
    uint64_t calls, crash_at, fail_one_in, fail_from, fail_to, capacity;
};

static struct sim_disk *self(struct disk *face)
{
    return PT_CONTAINER_OF(face, struct sim_disk, face);
}

static void *must(void *p)
{
    pt_assert(p);
    return p;
}

/* ---- fate ---- */

enum fate { GO, STOP_BEFORE, STOP_AFTER, FAIL };

/* What becomes of the next call that changes something. */
static enum fate next_fate(struct sim_disk *d)
{
    if (d->crashed)
        return STOP_BEFORE;
    d->calls++;
    if (d->calls == d->crash_at) {
        d->crashed = true;
        return rng_below(&d->rng, 2) ? STOP_BEFORE : STOP_AFTER;
    }
    if (d->fail_one_in && rng_below(&d->rng, d->fail_one_in) == 0)
        return FAIL;
    if (d->calls >= d->fail_from && d->calls < d->fail_to)
        return FAIL;
    return GO;
}

static int some_error(struct sim_disk *d)
{
    return rng_below(&d->rng, 4) ? -EIO : -ENOSPC;
}

/* ---- nodes and handles ---- */

static struct node *node_new(struct sim_disk *d, bool is_directory)
{
    struct node *n = must(calloc(1, sizeof *n));

    n->is_directory = is_directory;
    n->next = d->nodes;
    d->nodes = n;
    return n;
}

static void forget_images(struct sim_disk *d, struct node *n)
{
    if (n->last) {
        n->last->next = d->spare_images;
        d->spare_images = n->first;
    }
    n->first = n->last = NULL;
}

static void node_free(struct sim_disk *d, struct node *n)
{
    forget_images(d, n);
    while (n->entries) {
        struct entry *e = n->entries;

        n->entries = e->next;
        free(e);
    }
    while (n->changes) {
        struct change *c = n->changes;

        n->changes = c->next;
        free(c);
    }
    free(n->seen);
    free(n->kept);
    free(n);
}

static int handle_new(struct sim_disk *d, struct node *n)
{
    for (int i = 0; i < HANDLES; i++)
        if (!d->handles[i]) {
            d->handles[i] = n;
            n->handles++;
            return i;
        }
    return -EMFILE;
}

static struct node *node_of(struct sim_disk *d, int handle)
{
    pt_assert(handle >= 0 && handle < HANDLES && d->handles[handle]);
    return d->handles[handle];
}

static struct entry *find_entry(struct node *directory, const char *name, bool make)
{
    struct entry *e = directory->entries;

    while (e && strcmp(e->name, name) != 0)
        e = e->next;
    if (e || !make)
        return e;
    e = must(calloc(1, sizeof *e));
    snprintf(e->name, sizeof e->name, "%s", name);
    e->next = directory->entries;
    directory->entries = e;
    return e;
}

static void change(struct node *directory, struct entry *a, struct node *to_a, struct entry *b,
                   struct node *to_b)
{
    struct change *c = must(calloc(1, sizeof *c));

    *c = (struct change){ .entry = { a, b }, .node = { to_a, to_b } };
    a->seen = to_a;
    if (b)
        b->seen = to_b;
    if (directory->last_change)
        directory->last_change->next = c;
    else
        directory->changes = c;
    directory->last_change = c;
}

/* ---- files ---- */

static void make_room(struct node *n, uint64_t size)
{
    uint64_t room = PT_MAX(n->room, (uint64_t)16384);

    while (room < size)
        room *= 2;
    if (room == n->room)
        return;
    n->seen = must(realloc(n->seen, room));
    n->kept = must(realloc(n->kept, room));
    memset(n->seen + n->room, 0, room - n->room);
    memset(n->kept + n->room, 0, room - n->room);
    n->room = room;
}

static void put_image(struct sim_disk *d, struct node *n, uint64_t sector)
{
    struct image *i = d->spare_images;

    if (i)
        d->spare_images = i->next;
    else
        i = must(malloc(sizeof *i));
    i->next = NULL;
    i->sector = sector;
    memcpy(i->octets, n->seen + sector * SECTOR, SECTOR);
    if (n->last)
        n->last->next = i;
    else
        n->first = i;
    n->last = i;
}

static void put_octets(struct sim_disk *d, struct node *n, const char *octets, uint64_t length,
                       uint64_t at)
{
    if (length == 0)
        return;
    make_room(n, at + length + SECTOR);
    memcpy(n->seen + at, octets, length);
    n->seen_size = PT_MAX(n->seen_size, at + length);
    for (uint64_t s = at / SECTOR; s <= (at + length - 1) / SECTOR; s++)
        put_image(d, n, s);
}

/* Each unsynced sector by itself: on the disk with a chance of `percent`. */
static void land(struct sim_disk *d, struct node *n, uint64_t percent)
{
    for (struct image *i = n->first; i; i = i->next)
        if (rng_below(&d->rng, 100) < percent)
            memcpy(n->kept + i->sector * SECTOR, i->octets, SECTOR);
    if (rng_below(&d->rng, 100) < percent)
        n->kept_size = n->seen_size;
    forget_images(d, n);
}

/* Each unsynced change by itself. What does not get there stays to be synced, unless `last`. */
static void land_changes(struct sim_disk *d, struct node *n, uint64_t percent, bool last)
{
    struct change **at = &n->changes;

    n->last_change = NULL;
    while (*at) {
        struct change *c = *at;
        bool lands = rng_below(&d->rng, 100) < percent;

        for (int k = 0; k < 2 && lands; k++)
            if (c->entry[k])
                c->entry[k]->kept = c->node[k];
        if (!last) {
            n->last_change = c;
            at = &c->next;
            continue;
        }
        *at = c->next;
        free(c);
    }
}

static uint64_t some_percent(struct sim_disk *d)
{
    static const uint64_t choices[] = { 0, 10, 50, 90, 97, 100 };

    return choices[rng_below(&d->rng, PT_ARRAY_LEN(choices))];
}

/* ---- the face ---- */

static int sim_open_directory(struct disk *face, const char *path, bool make)
{
    struct sim_disk *d = self(face);

    return d->crashed ? -EIO : handle_new(d, d->root);
}

static int sim_open_subdirectory(struct disk *face, int directory, const char *name, bool make)
{
    struct sim_disk *d = self(face);
    struct entry *e = find_entry(node_of(d, directory), name, true);

    if (d->crashed)
        return -EIO;
    if (!e->seen && !make)
        return -ENOENT;
    if (!e->seen)
        e->seen = e->kept = node_new(d, true); /* made and synced in one */
    return handle_new(d, e->seen);
}

static bool named(const struct sim_disk *d, const struct node *n)
{
    for (const struct node *dir = d->nodes; dir; dir = dir->next) {
        for (const struct entry *e = dir->entries; e; e = e->next)
            if (e->seen == n || e->kept == n)
                return true;
        for (const struct change *c = dir->changes; c; c = c->next)
            if (c->node[0] == n || c->node[1] == n)
                return true;
    }
    return n == d->root;
}

/* Names that are gone from the cache and from the disk. */
static void drop_entries(struct node *dir)
{
    for (struct entry **at = &dir->entries; *at && !dir->changes;) {
        struct entry *e = *at;

        if (e->seen || e->kept) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        free(e);
    }
}

static void collect_garbage(struct sim_disk *d)
{
    for (struct node *n = d->nodes; n; n = n->next)
        drop_entries(n);
    for (struct node **at = &d->nodes; *at;) {
        struct node *n = *at;

        if (n->handles || named(d, n)) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        node_free(d, n);
    }
}

static uint64_t sum(const struct sim_disk *d)
{
    uint64_t n = 0;

    for (const struct node *f = d->nodes; f; f = f->next)
        n += f->seen_size;
    return n;
}

static uint64_t used(struct sim_disk *d)
{
    collect_garbage(d);
    return sum(d);
}

/* Whether files may grow by so much. */
static bool has_room(struct sim_disk *d, uint64_t octets)
{
    return !d->capacity || sum(d) + octets <= d->capacity || used(d) + octets <= d->capacity;
}

static int sim_open(struct disk *face, int directory, const char *name, enum disk_open how)
{
    struct sim_disk *d = self(face);
    struct node *dir = node_of(d, directory);
    struct entry *e = find_entry(dir, name, how == DISK_CREATE);
    enum fate fate;

    if (how != DISK_CREATE)
        return d->crashed ? -EIO : e && e->seen ? handle_new(d, e->seen) : -ENOENT;
    fate = next_fate(d);
    if (fate == STOP_BEFORE || fate == FAIL)
        return fate == FAIL ? some_error(d) : -EIO;
    if (e->seen)
        return -EEXIST;
    change(dir, e, node_new(d, false), NULL, NULL);
    return fate == STOP_AFTER ? -EIO : handle_new(d, e->seen);
}

static int sim_open_nameless(struct disk *face, int directory)
{
    struct sim_disk *d = self(face);
    enum fate fate = next_fate(d);

    if (fate != GO)
        return fate == FAIL ? some_error(d) : -EIO;
    return d->can_nameless ? handle_new(d, node_new(d, false)) : -EOPNOTSUPP;
}

static void sim_close(struct disk *face, int handle)
{
    struct sim_disk *d = self(face);

    node_of(d, handle)->handles--;
    d->handles[handle] = NULL;
}

static int64_t sim_read(struct disk *face, int handle, const struct iovec *iov, int n,
                        uint64_t offset)
{
    struct sim_disk *d = self(face);
    struct node *f = node_of(d, handle);
    uint64_t got = 0;

    if (d->crashed)
        return -EIO;
    for (int i = 0; i < n && offset + got < f->seen_size; i++) {
        uint64_t part = PT_MIN((uint64_t)iov[i].iov_len, f->seen_size - offset - got);

        memcpy(iov[i].iov_base, f->seen + offset + got, part);
        got += part;
    }
    return (int64_t)got;
}

static int64_t sim_write(struct disk *face, int handle, const struct iovec *iov, int n,
                         uint64_t offset)
{
    struct sim_disk *d = self(face);
    struct node *f = node_of(d, handle);
    enum fate fate = next_fate(d);
    uint64_t total = 0, most, done = 0;

    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    if (fate == STOP_BEFORE)
        return -EIO;
    if (offset + total > f->seen_size && !has_room(d, offset + total - f->seen_size))
        return -ENOSPC;
    /* A failed write may have done something, a good one may be short. */
    most = fate == FAIL ? rng_below(&d->rng, total + 1) : total;
    if (fate == GO && rng_below(&d->rng, 50) == 0)
        most = 1 + rng_below(&d->rng, total);
    for (int i = 0; i < n && done < most; i++) {
        uint64_t part = PT_MIN((uint64_t)iov[i].iov_len, most - done);

        put_octets(d, f, iov[i].iov_base, part, offset + done);
        done += part;
    }
    if (fate == FAIL)
        return some_error(d);
    return fate == GO ? (int64_t)done : -EIO;
}

static int sim_sync(struct disk *face, int handle)
{
    struct sim_disk *d = self(face);
    struct node *f = node_of(d, handle);
    enum fate fate = next_fate(d);

    if (fate == STOP_BEFORE)
        return -EIO;
    if (fate == FAIL) {
        land(d, f, some_percent(d));
        return some_error(d);
    }
    land(d, f, 100);
    return fate == GO ? 0 : -EIO;
}

static int sim_forget(struct disk *face, int handle)
{
    struct sim_disk *d = self(face);
    struct node *f = node_of(d, handle);

    if (d->crashed)
        return -EIO;
    if (f->first) /* a dirty page stays */
        return 0;
    memcpy(f->seen, f->kept, f->room);
    f->seen_size = f->kept_size;
    return 0;
}

static int64_t sim_size(struct disk *face, int handle)
{
    struct sim_disk *d = self(face);

    return d->crashed ? -EIO : (int64_t)node_of(d, handle)->seen_size;
}

/* Changes entries; the end of link, rename and unlink. */
static int change_as(struct sim_disk *d, enum fate fate, struct node *dir, struct entry *a,
                     struct node *to_a, struct entry *b, struct node *to_b)
{
    if (fate == STOP_BEFORE)
        return -EIO;
    if (fate == FAIL)
        return some_error(d);
    change(dir, a, to_a, b, to_b);
    return fate == GO ? 0 : -EIO;
}

static int sim_link(struct disk *face, int handle, int directory, const char *name)
{
    struct sim_disk *d = self(face);
    struct node *dir = node_of(d, directory);
    struct entry *e = find_entry(dir, name, true);

    if (e->seen)
        return -EEXIST;
    return change_as(d, next_fate(d), dir, e, node_of(d, handle), NULL, NULL);
}

static int sim_rename(struct disk *face, int directory, const char *from, const char *to)
{
    struct sim_disk *d = self(face);
    struct node *dir = node_of(d, directory);
    struct entry *a = find_entry(dir, from, true), *b = find_entry(dir, to, true);

    if (!a->seen)
        return d->crashed ? -EIO : -ENOENT;
    return change_as(d, next_fate(d), dir, b, a->seen, a, NULL);
}

static int sim_unlink(struct disk *face, int directory, const char *name)
{
    struct sim_disk *d = self(face);
    struct node *dir = node_of(d, directory);
    struct entry *e = find_entry(dir, name, true);

    if (!e->seen)
        return d->crashed ? -EIO : -ENOENT;
    return change_as(d, next_fate(d), dir, e, NULL, NULL, NULL);
}

static int sim_sync_directory(struct disk *face, int directory)
{
    struct sim_disk *d = self(face);
    struct node *dir = node_of(d, directory);
    enum fate fate = next_fate(d);

    if (fate == STOP_BEFORE)
        return -EIO;
    land_changes(d, dir, fate == FAIL ? some_percent(d) : 100, fate != FAIL);
    return fate == FAIL ? some_error(d) : fate == GO ? 0 : -EIO;
}

static int sim_list(struct disk *face, int directory, int (*each)(void *ctx, const char *name),
                    void *ctx)
{
    struct sim_disk *d = self(face);
    int r = 0;

    if (d->crashed)
        return -EIO;
    for (struct entry *e = node_of(d, directory)->entries; e && r == 0; e = e->next)
        if (e->seen)
            r = each(ctx, e->name);
    return r;
}

static void sim_random(struct disk *face, void *out, uint64_t n)
{
    struct sim_disk *d = self(face);
    unsigned char *p = out;

    while (n--)
        *p++ = (unsigned char)rng_next(&d->rng);
}

/* ---- outside ---- */

struct sim_disk *sim_disk_new(uint64_t seed)
{
    struct sim_disk *d = must(calloc(1, sizeof *d));

    d->face = (struct disk){
        .open_directory = sim_open_directory,
        .open_subdirectory = sim_open_subdirectory,
        .open = sim_open,
        .open_nameless = sim_open_nameless,
        .close = sim_close,
        .read = sim_read,
        .write = sim_write,
        .sync = sim_sync,
        .forget = sim_forget,
        .size = sim_size,
        .link = sim_link,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .sync_directory = sim_sync_directory,
        .list = sim_list,
        .random = sim_random,
    };
    d->can_nameless = true;
    rng_seed(&d->rng, seed);
    d->root = node_new(d, true);
    return d;
}

void sim_disk_free(struct sim_disk *d)
{
    while (d->nodes) {
        struct node *n = d->nodes;

        d->nodes = n->next;
        node_free(d, n);
    }
    while (d->spare_images) {
        struct image *i = d->spare_images;

        d->spare_images = i->next;
        free(i);
    }
    free(d);
}

struct disk *sim_disk_face(struct sim_disk *d)
{
    return &d->face;
}

void sim_disk_crash_in(struct sim_disk *d, uint64_t n)
{
    d->crash_at = n ? d->calls + n : 0;
}

void sim_disk_stop(struct sim_disk *d)
{
    d->crashed = true;
}

bool sim_disk_crashed(const struct sim_disk *d)
{
    return d->crashed;
}

static void lose_power(struct sim_disk *d)
{
    uint64_t percent = some_percent(d);

    for (struct node *n = d->nodes; n; n = n->next) {
        if (n->is_directory) {
            land_changes(d, n, percent, true);
            for (struct entry *e = n->entries; e; e = e->next)
                e->seen = e->kept;
        } else {
            land(d, n, percent);
            if (n->room)
                memcpy(n->seen, n->kept, n->room);
            n->seen_size = n->kept_size;
        }
    }
}

void sim_disk_restart(struct sim_disk *d, bool power_lost)
{
    if (power_lost)
        lose_power(d);
    memset(d->handles, 0, sizeof d->handles);
    for (struct node *n = d->nodes; n; n = n->next)
        n->handles = 0;
    collect_garbage(d);
    d->crashed = false;
    d->crash_at = 0;
}

void sim_disk_fail_one_in(struct sim_disk *d, uint64_t n)
{
    d->fail_one_in = n;
}

void sim_disk_fail_in(struct sim_disk *d, uint64_t n, uint64_t count)
{
    d->fail_from = d->calls + n;
    d->fail_to = d->fail_from + count;
}

void sim_disk_capacity(struct sim_disk *d, uint64_t octets)
{
    d->capacity = octets;
}

void sim_disk_nameless(struct sim_disk *d, bool can)
{
    d->can_nameless = can;
}

uint64_t sim_disk_calls(const struct sim_disk *d)
{
    return d->calls;
}

uint64_t sim_disk_used(struct sim_disk *d)
{
    return used(d);
}

static void copy_kept(struct sim_disk *to, struct node *into, const struct node *from)
{
    for (const struct entry *e = from->entries; e; e = e->next) {
        struct entry *copy;
        struct node *n;

        if (!e->kept)
            continue;
        n = node_new(to, e->kept->is_directory);
        copy = find_entry(into, e->name, true);
        copy->seen = copy->kept = n;
        if (n->is_directory) {
            copy_kept(to, n, e->kept);
        } else if (e->kept->room) {
            make_room(n, e->kept->room);
            memcpy(n->seen, e->kept->kept, e->kept->room);
            memcpy(n->kept, e->kept->kept, e->kept->room);
            n->seen_size = n->kept_size = e->kept->kept_size;
        }
    }
}

struct sim_disk *sim_disk_kept(const struct sim_disk *d)
{
    struct sim_disk *copy = sim_disk_new(1);

    copy_kept(copy, copy->root, d->root);
    return copy;
}
