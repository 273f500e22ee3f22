#include "settings/list.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "settings/domain.h"

enum { COMMENTS_MAX = 1 << 30, COMMENT_CHUNK = 16 * 1024 };

struct note {
    const char *comment; /* NULL: none */
    int64_t expires_us;  /* 0: never */
};

struct settings_list_private {
    struct settings_entry *entries;
    struct note *notes; /* the first is never used */
    uint32_t note_count;
    struct arena comments;
    char *chunk; /* of the arena: where the next comment goes */
    size_t left;
    const char **patterns;            /* of names, for … */
    struct settings_domains *domains; /* … these; NULL: a list of networks, or empty */
};

/* ---- reading ---- */

struct settings_list *settings_list_ref(const struct settings_list *list)
{
    struct settings_list *mine = (struct settings_list *)list;

    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

static void list_free(struct settings_list *list)
{
    if (!list)
        return;
    if (list->private) {
        free(list->private->entries);
        free(list->private->notes);
        arena_done(&list->private->comments);
        settings_domains_free(list->private->domains);
        free(list->private->patterns);
    }
    free(list->private);
    free(list);
}

void settings_list_unref(const struct settings_list *list)
{
    struct settings_list *mine = (struct settings_list *)list;

    if (list && atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) == 1)
        list_free(mine);
}

static const struct note *note_of(const struct settings_list *list, uint32_t entry)
{
    static const struct note none = { 0 };
    uint32_t at = list->entries[entry].note;

    return at ? &list->private->notes[at] : &none;
}

static bool is_name(const struct settings_list *list, uint32_t entry)
{
    return list->entries[entry].prefix.addr.family == NET_NONE;
}

/* The text of a name stands where others have their comment. */
const char *settings_list_comment(const struct settings_list *list, uint32_t entry)
{
    return is_name(list, entry) ? NULL : note_of(list, entry)->comment;
}

const char *settings_list_pattern(const struct settings_list *list, uint32_t entry)
{
    return is_name(list, entry) ? note_of(list, entry)->comment : "";
}

uint32_t settings_list_find_domain(const struct settings_list *list, struct str domain)
{
    return list->private->domains ? settings_domains_find(list->private->domains, domain)
                                  : SETTINGS_DOMAIN_NONE;
}

int64_t settings_list_expires_us(const struct settings_list *list, uint32_t entry)
{
    return note_of(list, entry)->expires_us;
}

void settings_entry_format(const struct settings_entry *entry, char out[SETTINGS_ENTRY_SIZE])
{
    const uint8_t *o = entry->prefix.addr.octets;
    unsigned length = entry->prefix.length;
    uint32_t mask;

    if (!entry->masked) {
        net_prefix_format(&entry->prefix, out);
        return;
    }
    mask = length ? ~0u << (32 - length) : 0; /* a mask is written with IPv4 only */
    snprintf(out, SETTINGS_ENTRY_SIZE, "%u.%u.%u.%u:%u.%u.%u.%u", o[0], o[1], o[2], o[3],
             mask >> 24, mask >> 16 & 255, mask >> 8 & 255, mask & 255);
}

bool settings_list_all_expired(const struct settings_list *list, int64_t now_us)
{
    for (uint32_t i = 0; i < list->count; i++) {
        int64_t expires = settings_list_expires_us(list, i);

        if (!expires || !now_us || expires > now_us)
            return false;
    }
    return true;
}

size_t settings_list_memory(const struct settings_list *list)
{
    return sizeof *list + sizeof *list->private + list->count * sizeof *list->entries +
           list->private->note_count * sizeof *list->private->notes + list->private->comments.total;
}

static void write_entry_json(const struct settings_list *list, uint32_t entry, struct buf *out)
{
    const struct note *note = note_of(list, entry);
    char text[SETTINGS_ENTRY_SIZE], time[CLOCK_RFC3339_SIZE];

    if (is_name(list, entry)) {
        log_json_string(out, str_of(note->comment));
        return;
    }
    settings_entry_format(&list->entries[entry], text);
    if (!note->comment && !note->expires_us) {
        BUF_LIT(out, "\"");
        buf_add_str(out, str_of(text));
        BUF_LIT(out, "\"");
        return;
    }
    buf_addf(out, "{\"network\":\"%s\"", text);
    if (note->comment) {
        BUF_LIT(out, ",\"comment\":");
        log_json_string(out, str_of(note->comment));
    }
    if (note->expires_us) {
        clock_rfc3339_exact(note->expires_us, time);
        buf_addf(out, ",\"expires\":\"%s\"", time);
    }
    BUF_LIT(out, "}");
}

void settings_list_write_json(const struct settings_list *list, uint32_t from, uint32_t to,
                              struct buf *out)
{
    for (uint32_t i = from; i < to; i++) {
        if (i > 0)
            BUF_LIT(out, ",");
        write_entry_json(list, i, out);
    }
}

/* ---- making one ---- */

static bool start(struct settings_list_builder *b)
{
    if (b->list || b->failed)
        return !b->failed;
    b->list = calloc(1, sizeof *b->list);
    if (b->list)
        b->list->private = calloc(1, sizeof *b->list->private);
    if (!b->list || !b->list->private) {
        free(b->list);
        b->list = NULL;
        b->failed = true;
        return false;
    }
    atomic_init(&b->list->refs, 1);
    arena_init(&b->list->private->comments, COMMENTS_MAX);
    return true;
}

static bool grow(void **array, size_t size, uint32_t *cap, uint32_t need)
{
    uint32_t more = PT_MAX(need, *cap + *cap / 2);
    void *bigger;

    if (need <= *cap)
        return true;
    bigger = realloc(*array, more * size);
    if (!bigger)
        return false;
    *array = bigger;
    *cap = more;
    return true;
}

void settings_list_begin(struct settings_list_builder *b, uint32_t count)
{
    *b = (struct settings_list_builder){ 0 };
    if (!start(b) || count == 0)
        return;
    b->failed =
        !grow((void **)&b->list->private->entries, sizeof(struct settings_entry), &b->cap, count);
}

static const char *keep_comment(struct settings_list_private *p, struct str comment)
{
    char *at;

    if (comment.n + 1 > p->left) {
        p->left = PT_MAX((size_t)COMMENT_CHUNK, comment.n + 1);
        p->chunk = arena_alloc(&p->comments, p->left);
        if (!p->chunk) {
            p->left = 0;
            return NULL;
        }
    }
    at = p->chunk;
    memcpy(at, comment.p, comment.n);
    at[comment.n] = 0;
    p->chunk += comment.n + 1;
    p->left -= comment.n + 1;
    return at;
}

/* 0: memory is short. */
static uint32_t keep_note(struct settings_list_builder *b, struct str comment, int64_t expires_us)
{
    struct settings_list_private *p = b->list->private;
    uint32_t at = p->note_count ? p->note_count : 1;
    struct note note = { .expires_us = expires_us };

    if (!grow((void **)&p->notes, sizeof *p->notes, &b->note_cap, PT_MAX(at + 1, 16u)))
        return 0;
    if (comment.n > 0) {
        note.comment = keep_comment(p, comment);
        if (!note.comment)
            return 0;
    }
    p->notes[at] = note;
    p->note_count = at + 1;
    return at;
}

void settings_list_add(struct settings_list_builder *b, const struct net_prefix *prefix,
                       bool masked, struct str comment, int64_t expires_us)
{
    struct settings_entry entry = { .prefix = *prefix,
                                    .masked = masked && prefix->addr.family == NET_IPV4 };
    struct settings_list_private *p;

    if (!start(b))
        return;
    p = b->list->private;
    if (comment.n > 0 || expires_us) {
        entry.note = keep_note(b, comment, expires_us);
        b->failed |= !entry.note;
    }
    if (b->failed || b->list->count == UINT32_MAX - 1 ||
        !grow((void **)&p->entries, sizeof *p->entries, &b->cap, PT_MAX(b->list->count + 1, 16u))) {
        b->failed = true;
        return;
    }
    p->entries[b->list->count++] = entry;
}

void settings_list_add_pattern(struct settings_list_builder *b, struct str pattern)
{
    static const struct net_prefix none = { .length = 0 };

    settings_list_add(b, &none, false, pattern, 0);
}

void settings_list_add_from(struct settings_list_builder *b, const struct settings_list *list,
                            uint32_t entry)
{
    const struct settings_entry *e = &list->entries[entry];
    const struct note *note = note_of(list, entry);

    settings_list_add(b, &e->prefix, e->masked, str_of(note->comment), note->expires_us);
}

/* The look-up of a list of names. */
static bool index_names(struct settings_list *list)
{
    struct settings_list_private *p = list->private;

    if (list->count == 0 || !is_name(list, 0))
        return true;
    p->patterns = malloc(list->count * sizeof *p->patterns);
    if (!p->patterns)
        return false;
    for (uint32_t i = 0; i < list->count; i++)
        p->patterns[i] = settings_list_pattern(list, i);
    p->domains = settings_domains_new(p->patterns, list->count);
    return p->domains;
}

/* Gives back what growing took too much, and sets what a value shows. */
static bool settle(struct settings_list_builder *b)
{
    struct settings_list *list = b->list;
    struct settings_entry *fit;

    if (list->count > 0 && list->count < b->cap) {
        fit = realloc(list->private->entries, list->count * sizeof *fit);
        if (fit)
            list->private->entries = fit;
    }
    list->entries = list->private->entries;
    return index_names(list) && settings_list_chunks(list, NULL, NULL) == PT_ERR_OK;
}

struct settings_list *settings_list_end(struct settings_list_builder *b)
{
    struct settings_list *list = NULL;

    if (start(b) && settle(b))
        list = b->list;
    else
        list_free(b->list);
    *b = (struct settings_list_builder){ 0 };
    return list;
}
